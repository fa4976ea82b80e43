// Package resolver asks DNS servers for the addresses of names, and says what to believe of their answers.
//
// A Resolver asks for A and AAAA of a name. A Keeper holds on to the last good addresses while a server fails. Marks
// tell addresses that many share (CDNs, parking, public resolvers) and reserved ones from others. Servers and the owners
// of names are not trusted: whatever they send, the answer is bounded and its strings are host names.
package resolver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// The defaults of Config.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultAttempts = 2
	DefaultPerZone  = 1.0
	DefaultSockets  = 4
	DefaultCache    = 10_000

	// MaxServers, MaxAttempts, MaxSockets and MaxCache bound what may be asked for.
	MaxServers  = 16
	MaxAttempts = 10
	MaxSockets  = 64
	MaxCache    = 1_000_000

	// Unlimited is a PerZone that spaces nothing.
	Unlimited = -1.0
)

// systemServers is where the system says whom it asks.
const systemServers = "/etc/resolv.conf"

// The errors that callers may want to know.
var (
	// ErrClosed is what Resolve gives after Close.
	ErrClosed = errors.New("resolver is closed")
	// ErrUnreachable says that no server could be asked, which tells nothing about the name.
	ErrUnreachable = errors.New("no DNS server is reachable")
)

// Config says whom to ask, and how. The zero value asks the system's servers.
type Config struct {
	// Servers are literal addresses: "127.0.0.1", "127.0.0.1:53", "[::1]:53", "tcp://ADDR" for TCP alone, "tls://ADDR#NAME"
	// for DNS over TLS (RFC 7858), where NAME is what the certificate must be for, the address if it is missing. The first
	// that answers stays the first to be asked. Empty means the servers of the system's resolv.conf.
	Servers []string
	// Timeout is how long one attempt may take; 0 means DefaultTimeout.
	Timeout time.Duration
	// Attempts is how often each server is asked before a question counts as failed; 0 means DefaultAttempts.
	Attempts int
	// PerZone is how many queries a second are sent about the names of one registered zone, repeats included; 0 means
	// DefaultPerZone, below 0 is without limit. Asking for a name takes two, so the first answer takes a second.
	PerZone float64
	// Sockets is how many UDP sockets each server has; 0 means DefaultSockets.
	Sockets int
	// Cache is how many answers are kept; 0 means DefaultCache.
	Cache int
	// Source is the local address to ask from, such as one that the network's own alerts make an exception for: who looks
	// up names of pools looks infected. The zero Addr leaves it to the system. It must be of the servers' family.
	Source netip.Addr
	// RootCAs are the authorities that DNS over TLS trusts; nil means the system's.
	RootCAs *x509.CertPool
	// Now gives the time for Answer.At and the cache; nil means time.Now. Timeouts and PerZone go by the real clock.
	Now func() time.Time
}

// Resolver asks for names. It is safe for concurrent use.
type Resolver struct {
	cfg   Config
	limit *limiter
	cache *cache
	slots chan struct{} // one for each name under way

	once    sync.Once
	system  string // the file with the system's servers
	servers []*server
	lost    error // why there are no servers

	first atomic.Int32 // the server to ask first
	// life ends with Close, and with it whoever waits.
	life context.Context
	end  context.CancelFunc
}

// New makes a resolver. It does no I/O: the system's servers are read, and sockets opened, when they are needed.
func New(cfg Config) (*Resolver, error) {
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.Sockets < 0 || cfg.Cache < 0 {
		return nil, errors.New("resolver: a negative number")
	}
	if len(cfg.Servers) > MaxServers || cfg.Attempts > MaxAttempts || cfg.Sockets > MaxSockets || cfg.Cache > MaxCache {
		return nil, fmt.Errorf("resolver: more than %d servers, %d attempts, %d sockets or %d answers in the cache",
			MaxServers, MaxAttempts, MaxSockets, MaxCache)
	}
	setDefault(&cfg.Timeout, DefaultTimeout)
	setDefault(&cfg.Attempts, DefaultAttempts)
	setDefault(&cfg.PerZone, DefaultPerZone)
	setDefault(&cfg.Sockets, DefaultSockets)
	setDefault(&cfg.Cache, DefaultCache)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Resolver{
		cfg:    cfg,
		limit:  newLimiter(cfg.PerZone),
		cache:  newCache(cfg.Cache),
		slots:  make(chan struct{}, cfg.Sockets*perSocket),
		system: systemServers,
	}
	var err error
	if r.servers, err = parseServers(cfg.Servers, cfg); err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	r.life, r.end = context.WithCancel(context.Background())
	return r, nil
}

// setDefault replaces a zero.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func parseServers(list []string, cfg Config) ([]*server, error) {
	var out []*server
	for _, s := range list {
		sv, err := parseServer(s, cfg)
		if err != nil {
			return nil, err
		}
		out = append(out, sv)
	}
	return out, nil
}

// ready finds the servers once.
func (r *Resolver) ready() error {
	r.once.Do(func() {
		if len(r.servers) > 0 {
			return
		}
		system, err := dns.ClientConfigFromFile(r.system)
		if err != nil {
			r.lost = fmt.Errorf("read the system's DNS servers: %w", err)
			return
		}
		list := system.Servers[:min(len(system.Servers), MaxServers)]
		if len(list) == 0 {
			r.lost = fmt.Errorf("%s names no server", r.system)
			return
		}
		r.servers, r.lost = parseServers(list, r.cfg)
	})
	if r.life.Err() != nil {
		return ErrClosed
	}
	return r.lost
}

// Close ends all connections. Who waits in Resolve gets ErrClosed.
func (r *Resolver) Close() error {
	r.end()
	r.once.Do(func() {}) // nobody looks for servers any more
	for _, s := range r.servers {
		s.close()
	}
	return nil
}

// Resolve gives the addresses of a name, from the cache while its TTL lasts. A failure of the servers (Answer.Code) is
// an answer too. There is an error only if there is none: ErrName for what is no public host name, ErrUnreachable,
// ErrClosed, or ctx's; it wraps them. The answer and its slices belong to the caller.
func (r *Resolver) Resolve(ctx context.Context, name string) (Answer, error) {
	host, err := Normalise(name)
	if err != nil {
		return Answer{}, fmt.Errorf("resolve %s: %w", quote(name), err)
	}
	a, cached := r.cache.get(host, r.cfg.Now())
	if !cached {
		if a, err = r.resolve(ctx, host); err != nil {
			return Answer{}, fmt.Errorf("resolve %s: %w", host, err)
		}
		r.cache.put(a)
	}
	a.Chain, a.Addrs = slices.Clone(a.Chain), slices.Clone(a.Addrs)
	return a, nil
}

// maxQuote is how many bytes of a bad name an error repeats.
const maxQuote = 80

// quote gives a bad name as printable ASCII.
func quote(name string) string {
	return fmt.Sprintf("%+q", name[:min(len(name), maxQuote)])
}

// resolve asks for both types, round by round until no CNAME is left to follow.
func (r *Resolver) resolve(ctx context.Context, host string) (Answer, error) {
	if err := r.ready(); err != nil {
		return Answer{}, err
	}
	a := &walk{question: question{host, dns.TypeA}}
	aaaa := &walk{question: question{host, dns.TypeAAAA}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	for {
		// Every round lengthens the chain of each open walk, and a chain has an end.
		var open []*walk
		for _, w := range []*walk{a, aaaa} {
			if !w.done {
				open = append(open, w)
			}
		}
		if len(open) == 0 {
			break
		}
		replies, err := r.exchange(ctx, open)
		if r.life.Err() != nil {
			return Answer{}, ErrClosed
		}
		if err != nil {
			return Answer{}, err
		}
		for i, w := range open {
			w.take(host, replies[i])
		}
	}
	answer := merge(host, a, aaaa)
	if answer.Code == unreachable {
		return Answer{}, ErrUnreachable
	}
	answer.At = r.cfg.Now()
	return answer, nil
}

// exchange puts each walk's question to one server after the other until there is an answer or the attempts are used up.
func (r *Resolver) exchange(ctx context.Context, walks []*walk) ([]reply, error) {
	asks := make([]ask, len(walks))
	for i, w := range walks {
		asks[i] = ask{question: w.question, reply: reply{code: unreachable}}
	}
	first := int(r.first.Load())
	for attempt := range r.cfg.Attempts * len(r.servers) {
		n := (first + attempt) % len(r.servers)
		var open []*ask
		for i := range asks {
			if !asks[i].reply.code.Final() {
				open = append(open, &asks[i])
			}
		}
		if len(open) == 0 {
			break
		}
		answered, err := r.try(ctx, r.servers[n], open)
		if err != nil {
			return nil, err
		}
		if answered && n != first {
			r.first.Store(int32(n))
		}
	}
	out := make([]reply, len(asks))
	for i := range asks {
		out[i] = asks[i].reply
	}
	return out, nil
}

// ask is a question and the best that came of it.
type ask struct {
	question
	reply  reply
	noEDNS bool
}

// try puts the questions to one server once, both at once if no limit spaces them. It is true if one has its answer;
// the error is ctx's.
func (r *Resolver) try(ctx context.Context, s *server, asks []*ask) (answered bool, err error) {
	if r.limit == nil {
		return r.put(ctx, s, asks, s.stream)
	}
	for i := range asks {
		if err := r.limit.wait(ctx, zoneOf(asks[i].name)); err != nil {
			return false, err
		}
		ok, err := r.put(ctx, s, asks[i:i+1], s.stream)
		if err != nil {
			return false, err
		}
		answered = answered || ok
	}
	return answered, nil
}

// put sends questions and waits for their replies. What was truncated is asked again by TCP, after its turn.
func (r *Resolver) put(ctx context.Context, s *server, asks []*ask, stream bool) (answered bool, err error) {
	got, err := r.roundTrip(ctx, s, asks, stream)
	if err != nil {
		return false, err
	}
	var again []*ask
	for i, q := range asks {
		g := got[i]
		q.noEDNS = q.noEDNS || g.noEDNS
		switch {
		case g.truncated && !stream:
			again = append(again, q)
		case g.code.Final():
			answered = true
		}
		if rank(g.code) <= rank(q.reply.code) {
			q.reply = g
			if g.code != unreachable && g.code != Timeout {
				q.reply.server = s.label
			}
		}
	}
	for i := range again {
		if err := r.limit.wait(ctx, zoneOf(again[i].name)); err != nil {
			return false, err
		}
		ok, err := r.put(ctx, s, again[i:i+1], true)
		if err != nil {
			return false, err
		}
		answered = answered || ok
	}
	return answered, nil
}

// roundTrip gives the reply to each question; one that did not come has code Timeout, or unreachable if it could not.
func (r *Resolver) roundTrip(ctx context.Context, s *server, asks []*ask, stream bool) ([]reply, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out := make([]reply, len(asks))
	for i := range out {
		out[i].code = unreachable
	}
	begun := time.Now()
	c, err := r.connect(ctx, s, stream, len(asks))
	if err != nil {
		return out, ctx.Err()
	}
	defer c.release()
	done := make(chan arrival, len(asks))
	ids := make([]uint16, len(asks))
	left := 0
	for i, q := range asks {
		if ids[i], err = c.send(&call{question: q.question, index: i, done: done}, !q.noEDNS, r.cfg.Timeout); err == nil {
			out[i].code = Timeout
			left++
		}
	}
	if left == 0 {
		return out, nil
	}
	timer := time.NewTimer(r.cfg.Timeout - time.Since(begun))
	defer timer.Stop()
	for left > 0 {
		select {
		case got := <-done:
			out[got.index] = got.reply
			left--
			continue
		case <-timer.C:
			err = nil
		case <-ctx.Done():
			err = ctx.Err()
		}
		for i := range asks {
			if out[i].code == Timeout {
				c.forget(ids[i])
			}
		}
		if stream && err == nil && c.silent(begun) {
			c.fail() // it may be dead without having told; the next attempt opens another
		}
		return out, err
	}
	return out, nil
}

// connect gives a connection to the server for n questions, within the time of one attempt.
func (r *Resolver) connect(ctx context.Context, s *server, stream bool, n int) (*conn, error) {
	if !stream {
		return s.datagram(ctx, n)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return s.streamed(ctx, n)
}

// Package watch tells when somebody mines for a wallet that is on a watch list: once a day for each wallet, client and
// server, by webhook, e-mail, or whatever else is given to it.
//
// Wallets are seen in plain logins alone. Who sees them calls Watcher.See, which never waits; each way of telling has a
// queue and a goroutine of its own, so that a mail server that hangs holds up nothing else.
package watch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/wallets"
)

// The bounds of a watcher.
const (
	// DefaultQueue is how many events wait for each notifier.
	DefaultQueue = 256
	// DefaultSeen is how many wallets, clients, servers and days are remembered, so as not to be told again.
	DefaultSeen = 100_000
	// DefaultAttempts is how often an event is tried, and DefaultPause the time before the second attempt; each further
	// pause is twice as long, up to MaxPause. A quarter is left to chance.
	DefaultAttempts = 5
	DefaultPause    = 2 * time.Second
	MaxPause        = time.Minute
	// MaxSightingText is how many bytes of a sighting's agent and source are kept.
	MaxSightingText = 128
)

// Sighting is a login that was seen.
type Sighting struct {
	// Time is when, by the sensor's clock.
	Time time.Time
	// Login is what the client said.
	Login wallets.Login
	// Client logged in at Server. Either may be missing.
	Client netip.Addr
	Server minecanary.Endpoint
	// Agent is the mining software's name for itself, and Source who saw it, such as a sensor.
	Agent, Source string
}

// Event is what is told of a sighting. Its JSON is what webhooks and topics get. All strings are printable and bounded.
type Event struct {
	// ID is the same for all sightings of a wallet, client and server on a day (UTC): 32 hexadecimal digits.
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Wallet string    `json:"wallet"`
	Coins  []string  `json:"coins"`
	Label  string    `json:"label,omitempty"`
	Note   string    `json:"note,omitempty"`
	Worker string    `json:"worker,omitempty"`
	Client string    `json:"client,omitempty"`
	Server string    `json:"server,omitempty"`
	Agent  string    `json:"agent,omitempty"`
	Source string    `json:"source,omitempty"`
}

// Notifier is a way of telling. Notify is called by one goroutine at a time, may be called again with the same event, and
// returns when ctx ends. An error for which errors.Is(err, ErrPermanent) holds is not tried again.
type Notifier interface {
	// Name is for logs and metrics: a word.
	Name() string
	Notify(ctx context.Context, e Event) error
}

// ErrPermanent is in errors of deliveries that would fail again.
var ErrPermanent = errors.New("not tried again")

// Options are what a watcher is made of; zero values stand for the defaults.
type Options struct {
	Notifiers []Notifier
	Queue     int
	Seen      int
	Attempts  int
	Pause     time.Duration
	// Failed, if not nil, is told of every event that could not be delivered, by the goroutine of its notifier.
	Failed func(notifier string, e Event, err error)
}

// Stats counts what a watcher did. Delivered, Failed and Dropped count for each notifier: Failed after the last attempt,
// Dropped because its queue was full or the watcher ended. Seen counts sightings of watched wallets, Repeated those that
// were told before.
type Stats struct {
	Seen, Repeated, Delivered, Failed, Dropped uint64
}

// Watcher looks for watched wallets. Its methods may be called by several goroutines at once.
type Watcher struct {
	options Options
	list    atomic.Pointer[List]
	queues  []chan Event

	mu        sync.Mutex
	now, past map[[sha256.Size]byte]struct{} // two generations of what was told

	seen, repeated, delivered, failed, dropped atomic.Uint64
}

// New makes a watcher with an empty list. Nothing is told before Run.
func New(o Options) *Watcher {
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Seen <= 0 {
		o.Seen = DefaultSeen
	}
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Pause <= 0 {
		o.Pause = DefaultPause
	}
	w := &Watcher{options: o, now: map[[sha256.Size]byte]struct{}{}}
	for range o.Notifiers {
		w.queues = append(w.queues, make(chan Event, o.Queue))
	}
	return w
}

// SetList replaces the watch list.
func (w *Watcher) SetList(l *List) { w.list.Store(l) }

// Stats gives the counters.
func (w *Watcher) Stats() Stats {
	return Stats{w.seen.Load(), w.repeated.Load(), w.delivered.Load(), w.failed.Load(), w.dropped.Load()}
}

// See takes a sighting and tells whether it becomes an event. It never waits: if the queue of every notifier is full the
// event is dropped and forgotten, so that the next sighting is told.
func (w *Watcher) See(s Sighting) bool {
	if !s.Login.Valid && !s.Login.Unchecked {
		return false
	}
	entry, ok := w.list.Load().Match(s.Login.Wallet, s.Time)
	if !ok {
		return false
	}
	w.seen.Add(1)
	e := Event{
		Time: s.Time.UTC(), Wallet: entry.Wallet, Coins: s.Login.Coins, Label: entry.Label, Note: entry.Note,
		Worker: printable(s.Login.Worker), Agent: printable(s.Agent), Source: printable(s.Source),
	}
	if s.Client.IsValid() {
		e.Client = minecanary.CanonicalAddr(s.Client).String()
	}
	if s.Server.Addr.IsValid() {
		e.Server = minecanary.NewEndpoint(s.Server.Addr, s.Server.Port, s.Server.Transport).String()
	}
	key := sha256.Sum256([]byte(strings.Join([]string{e.Wallet, e.Client, e.Server, e.Time.Format(time.DateOnly)}, "\n")))
	const idBytes = 16
	e.ID = hex.EncodeToString(key[:idBytes])

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told(key) {
		w.repeated.Add(1)
		return false
	}
	taken := len(w.queues) == 0
	for _, q := range w.queues {
		select {
		case q <- e:
			taken = true
		default:
			w.dropped.Add(1)
		}
	}
	if taken {
		w.remember(key)
	}
	return taken
}

// told tells whether a key is remembered.
func (w *Watcher) told(key [sha256.Size]byte) bool {
	_, now := w.now[key]
	_, past := w.past[key]
	return now || past
}

// remember adds a key. Half of the bound is one generation: when it is full the older one is forgotten.
func (w *Watcher) remember(key [sha256.Size]byte) {
	if len(w.now) >= max(w.options.Seen/2, 1) {
		w.past, w.now = w.now, map[[sha256.Size]byte]struct{}{}
	}
	w.now[key] = struct{}{}
}

// Run tells events until ctx ends; what waits then is dropped. It is called once.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i, n := range w.options.Notifiers {
		all.Go(func() { w.run(ctx, n, w.queues[i]) })
	}
	all.Wait()
}

func (w *Watcher) run(ctx context.Context, n Notifier, queue chan Event) {
	for {
		select {
		case <-ctx.Done():
			w.dropped.Add(uint64(len(queue)))
			return
		case e := <-queue:
			err := w.deliver(ctx, n, e)
			switch {
			case err == nil:
				w.delivered.Add(1)
			case ctx.Err() != nil:
				w.dropped.Add(1)
			default:
				w.failed.Add(1)
				if w.options.Failed != nil {
					w.options.Failed(n.Name(), e, err)
				}
			}
		}
	}
}

// deliver tries until an attempt succeeds, or none can.
func (w *Watcher) deliver(ctx context.Context, n Notifier, e Event) error {
	pause := w.options.Pause
	for attempt := 1; ; attempt++ {
		err := n.Notify(ctx, e)
		if err == nil || attempt == w.options.Attempts || errors.Is(err, ErrPermanent) {
			return err
		}
		timer := time.NewTimer(pause - pause/8 + rand.N(pause/4+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = min(2*pause, MaxPause)
	}
}

// printable keeps the printable ASCII characters of s, at most MaxSightingText of them.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < MaxSightingText; i++ {
		if c := s[i]; ' ' <= c && c <= '~' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

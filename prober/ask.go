package prober

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/dialect"
)

// mode says whether an endpoint is asked over TLS.
type mode uint8

const (
	undecided mode = iota
	plain
	secured
)

// probe is one endpoint being asked. All of it belongs to the goroutine of run.
type probe struct {
	*Prober
	ep      minecanary.Endpoint
	cost    minecanary.ProbeCost
	opts    ProbeOptions
	cfg     Config // the prober's, with the probe's timeout
	order   []dialect.Dialect
	began   time.Time // by the prober's clock
	started time.Time // by the system's, for the duration
	mode    mode
	queue   []task // to be asked once the mode is decided
	again   []task // the last of all: other forms of what was closed upon
	held    []task // asked only if the server speaks HTTP
	hello   *task  // the one ClientHello that decides the mode, until it is sent
	begun   int
	running map[int]*running
	stopped bool // no connection is begun any more
	cancel  context.CancelFunc
	talks   []Talk   // in the order of their ends
	no      *refusal // of the endpoint's budget
	failed  error    // of the audit trail
	unasked bool     // some dialect was not asked
	lines   bool     // it speaks in lines
	http    bool     // it speaks HTTP
	jarm    string   // its fingerprint, or why there is none
}

// running is a connection under way.
type running struct {
	task  task
	heard bool
	quiet bool
}

// event comes from a talk's goroutine; done is set on its last.
type event struct {
	id     int
	signal signal
	done   *Talk
}

// run asks until there is a proof, a protocol answer that cannot come from a pool, or nothing left to ask.
//
// Whether the server speaks TLS is found out with one ClientHello: at once if there is a hint, otherwise when the first
// plain question draws no byte. Then the dialects follow, each on its own connection; a second connection is opened
// beside one that is quiet, so that the waits overlap.
func (p *probe) run(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	p.queue = make([]task, 0, len(p.order))
	for _, d := range p.order {
		p.queue = append(p.queue, p.task(d))
	}
	p.order = nil
	if len(p.queue) == 0 {
		p.no = &refusal{reason: "no dialect was named that can be asked"}
		return
	}
	p.hold()
	if len(p.queue) == 0 {
		p.queue, p.held = p.held, nil
	}
	first := p.queue[0]
	hello := first
	hello.tls = true
	p.queue[0].listen = true
	events := make(chan event)
	p.running = make(map[int]*running)
	if p.opts.TLS || likelyTLS(p.ep.Port) {
		p.begin(ctx, events, hello)
	} else {
		p.hello = &hello
		p.begin(ctx, events, p.queue[0])
		p.queue = p.queue[1:]
	}
	for len(p.running) > 0 {
		e := <-events
		r := p.running[e.id]
		switch {
		case e.done != nil:
			delete(p.running, e.id)
			p.end(r, *e.done)
		case e.signal == heard:
			r.heard = true
			if p.mode == undecided && !r.task.tls {
				p.mode, p.hello = plain, nil
			}
		case e.signal == shook:
			if p.mode == undecided {
				p.mode = secured
				// What the handshake's connection asks need not be asked again.
				p.queue = slices.DeleteFunc(p.queue, func(t task) bool { return t.dialect == r.task.dialect })
			}
		case e.signal == quiet:
			r.quiet = true
		}
		p.next(ctx, events)
	}
	p.unasked = p.unasked || len(p.queue) > 0
}

// task makes the task of a dialect.
func (p *probe) task(d dialect.Dialect) task {
	host := p.opts.Name
	if host == "" {
		host = p.ep.Addr.String()
	}
	target := dialect.Target{Agent: p.cfg.Agent, Host: host, Port: strconv.Itoa(int(p.ep.Port))}
	t := task{dialect: d.Name, http: d.HTTP}
	if d.Session != nil {
		t.session = func() dialect.Session { return d.Session(target) }
		return t
	}
	t.write = func(t *task) {
		t.requests = d.Ask(target)
		if d.Again != nil {
			t.again = d.Again(target)
		}
		if d.Confirm != nil {
			t.confirm = d.Confirm(target)
		}
	}
	return t
}

// next begins what may be begun now.
func (p *probe) next(ctx context.Context, events chan<- event) {
	for !p.stopped && ctx.Err() == nil && len(p.running) < MaxParallel {
		idle := true
		for _, r := range p.running {
			idle = idle && r.quiet
		}
		switch {
		case !idle:
			return
		case p.mode == undecided && p.hello != nil:
			t := *p.hello
			p.hello = nil
			p.begin(ctx, events, t)
		case p.mode == undecided:
			// The ClientHello is out; end decides when it fails.
			return
		default:
			t, ok := p.pop()
			if !ok {
				return
			}
			t.tls = p.mode == secured
			p.begin(ctx, events, t)
		}
	}
}

// pop gives the next task.
func (p *probe) pop() (task, bool) {
	for _, queue := range []*[]task{&p.queue, &p.again} {
		for len(*queue) > 0 {
			t := (*queue)[0]
			*queue = (*queue)[1:]
			if queue == &p.again && t.tls != (p.mode == secured) {
				continue // closed upon because it came in the wrong mode
			}
			return t, true
		}
	}
	return task{}, false
}

// begin makes one connection, if the endpoint's budget has one.
func (p *probe) begin(ctx context.Context, events chan<- event, t task) {
	g, err := p.purse.Connect(ctx, p.cost)
	if p.no = refused(p.cost, g, err, p.now()); p.no != nil {
		p.stopped, p.unasked = true, true
		return
	}
	if t.write != nil {
		t.write(&t)
		t.write = nil
	}
	p.begun++
	id := p.begun
	p.running[id] = &running{task: t}
	s := &speaker{
		cfg: &p.cfg, guard: p.guard, addr: addrPort(p.ep), name: p.opts.Name,
		signal: func(s signal) { events <- event{id: id, signal: s} },
	}
	go func() {
		talk := s.talk(ctx, t)
		events <- event{id: id, done: &talk}
	}()
}

// end draws the conclusions of a talk.
func (p *probe) end(r *running, talk Talk) {
	p.talks = append(p.talks, talk)
	if err := p.audit.Append(p.record(talk)); err != nil {
		p.failed = fmt.Errorf("write audit record: %w", err)
		p.stop()
		return
	}
	level := talk.Finding.Level
	switch {
	case level == dialect.Proof, level == dialect.Negative && !talk.HTTP && !p.strong():
		p.stop()
		return
	case talk.Outcome.unconnected(), talk.Outcome == CutOff:
		p.stopped, p.unasked = true, true
		return
	case talk.Outcome == OverBounds:
		p.stopped, p.unasked = true, true // no pool says so much; it is not asked for more
		return
	case talk.WantsTLS && p.mode != secured:
		// It said so itself: no ClientHello has to find it out.
		p.mode, p.hello = secured, nil
		t := r.task
		t.tls, t.listen = true, false
		p.queue = slices.Insert(p.queue, 0, t)
		return
	case r.task.listen && talk.BytesSent == 0 && talk.BytesRead > 0 && !talk.HTTP && !talk.Noise:
		p.stopped, p.unasked = true, true // it spoke first, and in nothing that we know
		return
	}
	p.branch(r.task, talk)
	if p.mode == undecided && r.task.tls && talk.Outcome == NoHandshake {
		p.mode = plain
	}
	if level == dialect.Strong && r.task.confirm != nil {
		p.queue = slices.Insert(p.queue, 0, task{dialect: r.task.dialect, requests: r.task.confirm, brief: true})
	}
	if r.task.again != nil && !r.heard && (talk.Outcome == Closed || talk.Outcome == Reset) {
		p.again = append(p.again, task{dialect: r.task.dialect, requests: r.task.again, tls: r.task.tls})
	}
}

// hold takes the dialects over HTTP out of the queue until the server speaks it, unless it stands where HTTP is
// customary or somebody asked for them.
func (p *probe) hold() {
	if len(p.opts.Dialects) > 0 || likelyHTTP(p.ep.Port) || p.queue[0].http && p.opts.First != "" {
		return
	}
	p.queue = slices.DeleteFunc(p.queue, func(t task) bool {
		if t.http {
			p.held = append(p.held, t)
		}
		return t.http
	})
}

// branch follows what the server has shown itself to speak: who answers HTTP is asked over HTTP alone, and who answers in
// lines in lines alone. An answer in HTTP to HTTP tells nothing of lines: there are pools that take both on one port. Noise
// of the length of a Stratum V2 handshake calls for that next.
func (p *probe) branch(asked task, talk Talk) {
	switch {
	case talk.HTTP && !asked.http && !p.http && !p.lines:
		p.http = true
		p.queue = append(p.queue, p.held...)
		p.queue, p.held = slices.DeleteFunc(p.queue, func(t task) bool { return !t.http }), nil
		p.again = nil
	case talk.Lines && !p.lines && !p.http:
		p.lines = true
		p.queue = slices.DeleteFunc(p.queue, func(t task) bool { return t.session != nil })
	case talk.Noise:
		slices.SortStableFunc(p.queue, func(a, b task) int { return rank(b.dialect) - rank(a.dialect) })
	}
}

// rank puts Stratum V2 before the others.
func rank(name string) int {
	if name == dialect.StratumV2 {
		return 1
	}
	return 0
}

// stop ends all connections and begins no more.
func (p *probe) stop() {
	p.stopped = true
	p.cancel()
}

// strong tells whether any connection said what only pools are known to say.
func (p *probe) strong() bool {
	return slices.ContainsFunc(p.talks, func(t Talk) bool { return t.Finding.Level == dialect.Strong })
}

// record is the line of the audit trail for a connection.
func (p *probe) record(t Talk) audit.Record {
	rec := p.intent()
	rec.Time, rec.Event = t.Started, audit.EventConnection
	if t.Local.IsValid() {
		rec.Local = t.Local.String()
	}
	rec.TLS, rec.Dialect = t.TLS, t.Dialect
	rec.BytesSent, rec.BytesRead = t.BytesSent, t.BytesRead
	rec.DurationMS = t.Duration.Milliseconds()
	rec.Outcome = string(t.Outcome)
	rec.Verdict = string(minecanary.Inconclusive)
	switch t.Finding.Level {
	case dialect.Proof:
		rec.Verdict, rec.Dialect = string(minecanary.Confirmed), t.Finding.Dialect
	case dialect.Negative:
		rec.Verdict = string(minecanary.NotPool)
	}
	return rec
}

// intent is the line of the audit trail that stands before the first packet.
func (p *probe) intent() audit.Record {
	rec := audit.Record{Time: p.began.UTC(), Event: audit.EventProbe, Why: p.opts.Why, Endpoint: p.ep.String()}
	if p.opts.Client.IsValid() {
		rec.Client = p.opts.Client.String()
	}
	return rec
}

// addrPort gives the literal address that is dialled.
func addrPort(ep minecanary.Endpoint) netip.AddrPort {
	return netip.AddrPortFrom(minecanary.CanonicalAddr(ep.Addr), ep.Port)
}

// likelyTLS tells the ports on which pools customarily speak TLS: HTTPS, and those of MoneroOcean, HashVault and
// Nanopool. A wrong guess costs one connection.
func likelyTLS(port uint16) bool {
	switch port {
	case 443, 8443, 9443, 10443, 14433, 20128:
		return true
	}
	return false
}

// likelyHTTP tells the ports on which HTTP is customary, those of coin daemons among them (Bitcoin, Namecoin and P2Pool,
// Ethereum, Monero).
func likelyHTTP(port uint16) bool {
	switch port {
	case 80, 443, 8080, 8443, 8000, 8332, 9332, 8545, 18081, 18332:
		return true
	}
	return false
}

// firstDialect gives the dialect that is customary on a port, "" if there is none. It only changes the order.
func firstDialect(port uint16) string {
	switch port {
	case 5555, 7777, 10128, 14433, 14444, 20128, 45560, 45700: // SupportXMR, MoneroOcean, HashVault
		return dialect.CryptoNote
	case 4444, 8008: // Ethermine, dwarfpool
		return dialect.Ethproxy
	}
	return ""
}

// order gives the dialects, of those that can be asked, in the order in which they are: that of harmlessness, the port's
// customary one first. What it gives may be the list it was given, and is not to be changed.
//
// After inconclusive probes another one begins each time, because there are servers (p2pool) that shut a stranger out
// for minutes when the first line is not of their dialect.
func order(asked []dialect.Dialect, port uint16, opts ProbeOptions) []dialect.Dialect {
	if len(opts.Dialects) > 0 {
		asked = slices.DeleteFunc(slices.Clone(asked), func(d dialect.Dialect) bool { return !slices.Contains(opts.Dialects, d.Name) })
	}
	begin := opts.First
	if !slices.ContainsFunc(asked, func(d dialect.Dialect) bool { return d.Name == begin }) {
		begin = firstDialect(port) // some dialects are only recognised
	}
	if i := slices.IndexFunc(asked, func(d dialect.Dialect) bool { return d.Name == begin }); i > 0 {
		asked = slices.Concat(asked[i:i+1], asked[:i], asked[i+1:])
	}
	if len(asked) == 0 {
		return nil
	}
	tried := opts.skip % len(asked)
	if tried == 0 {
		return asked
	}
	return slices.Concat(asked[tried:], asked[:tried])
}

package enrich

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/score"
)

// idleAfter: a partition at its end that brought nothing for so long (wall clock) does not hold back the watermark.
const idleAfter = 30 * time.Second

// Config is how an engine decides. Durations are event time unless told otherwise.
type Config struct {
	// Report is the length of the epoch-aligned report windows.
	Report time.Duration
	// Inactive is the gap between slices that ends a suspect's stretch, Active how far back a score reaches at most
	// before the newest slice.
	Inactive, Active time.Duration
	// Lateness is how long records may come after newer ones.
	Lateness time.Duration
	// Keep is how long suspects that were worth a question, or whose endpoint is confirmed or blocked, stay after they
	// fell silent; 0: until the store's bound.
	Keep time.Duration
	// Suspected reports what only the score accuses as well.
	Suspected bool
	// Finite says that the input ends: nothing expires and nothing is reported before the end, so that each window is
	// told once, with its full count.
	Finite bool
	// SaveEvery is how often the state is saved (wall clock); 0: only at the end.
	SaveEvery time.Duration
	// AtEnd tells whether everything a partition has at the moment was read by this process; nil: never.
	AtEnd func(partition string) bool
	// Partitions names the partitions that are read, by whatever process; nil: those that brought something. As long as
	// it names none nothing is decided.
	Partitions func() []string
	// Restart starts a partition anew of which the state has lost something; nil where that cannot be.
	Restart func(partition string)
	// Warn hears of failures that the run survives; nil: nobody does.
	Warn func(what string, err error)
	// Now is the wall clock.
	Now func() time.Time
}

// Input is one batch on its way through the engine, in the order of its partition.
type Input struct {
	Batch *Batch
	// Ack is called once everything the batch caused is safe.
	Ack func(ctx context.Context, err error) error
	// Release, if set, is called as soon as the batch was applied and Slices may be used again.
	Release func()
}

// Stats are the engine's counters.
type Stats struct {
	Batches, Repeated uint64
	// Given counts batches that were given up because their partition is started anew.
	Given   uint64
	Slices  uint64
	Allowed uint64 // slices to endpoints on the allow list
	// Future counts batches with a record from more than maxAhead ahead of the wall clock, which does not move the
	// watermark.
	Future uint64
	Hits   map[minecanary.HitStatus]uint64
	// Suspected counts suspects that only the score accuses, reported or not; in a live run once per decision.
	Suspected             int
	Asked, Queued, Pushed uint64 // endpoints asked, waiting, left out because the queue was full
	Verdicts              map[minecanary.VerdictStatus]uint64
	// Newest is the end of the newest record, Unix microseconds; Saved is when the state was saved.
	Newest int64
	Saved  time.Time
	// Decided is the event time before which all windows that this process has to decide were decided, Unix microseconds;
	// 0 if it has none to decide.
	Decided int64
	// Names and Facts are how many are held, FactsDropped how many were left out for the bounds.
	Names, Facts int
	FactsDropped uint64
	Store        StoreStats
}

// Engine decides, on the goroutine of Run.
type Engine struct {
	cfg    Config
	store  Store
	scorer score.Scorer
	sinks  []Sink
	lists  Lists
	known  func(minecanary.Endpoint, time.Time) (Known, bool)
	// poolName, resolver, keeper and remark are those of Deps.
	poolName func(name string, port uint16, at time.Time) (string, bool)
	resolver func(netip.Addr) bool
	keeper   FactKeeper
	remark   func(*minecanary.Hit) []minecanary.Evidence
	facts    *factTable
	names    *nameTable
	reach    *reach // nil if nothing is published
	// factsVersion is up to where the keeper's facts are known, pulled when that was asked last.
	factsVersion uint64
	pulled       time.Time
	// inspect takes what others want to know of the state, which is this goroutine's.
	inspect chan func(context.Context)
	publish Publisher
	asker   *asker

	joiner  Joiner        // the store, if it gains from batches together
	took    atomic.Int64  // nanoseconds that the last batches took to apply
	allowed atomic.Uint64 // slices to endpoints on the allow list

	annotator Annotator
	notes     map[minecanary.Pair]Annotated

	report  int64 // microseconds
	newest  map[string]progress
	ended   map[string]time.Time         // since when a partition that was not heard of is at its end
	looked  map[int]time.Time            // when a shard's windows were decided last
	expired time.Time                    // when expired verdicts were looked for last
	gone    map[minecanary.Endpoint]bool // told as expired
	told    uint64                       // version of the verdicts that were published
	// unpublished tells that answers came since they were published, published is when that was.
	unpublished bool
	published   time.Time
	changed     bool // something is not saved yet
	acks        []func(context.Context, error) error
	saved       time.Time
	saves       int
	pending     []minecanary.Hit
	stats       Stats

	mu    sync.Mutex
	shown Stats
}

type progress struct {
	newest int64
	at     time.Time
}

// Deps are what an engine works with. Verifier, Lists and Publisher may be nil.
type Deps struct {
	Store  Store
	Scorer score.Scorer
	Sinks  []Sink
	Lists  Lists
	// Known tells whether an endpoint was a known pool's at a time (event time); nil if there is no catalogue.
	Known func(ep minecanary.Endpoint, at time.Time) (Known, bool)
	// PoolName tells whether a name was a known pool's at a time (event time), by one printable line. Port is the
	// server's; 0 asks whether it is on any. nil if there is no catalogue.
	PoolName func(name string, port uint16, at time.Time) (reason string, ok bool)
	// Resolver tells whether an address asks for names on behalf of others; nil: none does.
	Resolver func(netip.Addr) bool
	// Facts keeps what sightings say; nil: this process alone, until it ends.
	Facts FactKeeper
	// Remark gives what else there is to say of a hit; nil: nothing.
	Remark    func(h *minecanary.Hit) []minecanary.Evidence
	Verifier  Verifier
	Publisher Publisher
	// Annotator gets the records that touch confirmed and known endpoints; nil if nobody wants them.
	Annotator Annotator
	// Queue holds the questions if other processes ask as well; nil: they are held here.
	Queue Queue
	// Workers is how many endpoints are asked at the same time.
	Workers int
}

// New gives an engine.
func New(cfg Config, deps Deps) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Engine{
		annotator: deps.Annotator, notes: map[minecanary.Pair]Annotated{},
		cfg: cfg, store: deps.Store, scorer: deps.Scorer, sinks: deps.Sinks, lists: deps.Lists, known: deps.Known, publish: deps.Publisher,
		poolName: deps.PoolName, resolver: deps.Resolver, keeper: deps.Facts, remark: deps.Remark,
		facts: newFactTable(), names: newNameTable(),
		report: max(1, cfg.Report.Microseconds()), inspect: make(chan func(context.Context)),
		newest: map[string]progress{}, ended: map[string]time.Time{}, looked: map[int]time.Time{}, gone: map[minecanary.Endpoint]bool{},
		stats: Stats{
			Hits:     map[minecanary.HitStatus]uint64{},
			Verdicts: map[minecanary.VerdictStatus]uint64{},
		},
	}
	e.joiner, _ = deps.Store.(Joiner)
	if deps.Publisher != nil && !cfg.Finite {
		e.reach = newReach()
	}
	if deps.Verifier != nil {
		e.asker = newAsker(deps.Verifier, max(1, deps.Workers), cfg.Now)
		if cfg.Finite {
			e.asker.patience = finitePatience
		}
		e.asker.queue, e.asker.warn = deps.Queue, cfg.Warn
	}
	return e
}

// Run applies inputs until the channel is closed, which says that the input has ended for good: then every endpoint worth
// it is asked and every window decided. It returns early when the context ends, after saving what was applied.
func (e *Engine) Run(ctx context.Context, in <-chan Input) (err error) {
	if err := e.start(ctx); err != nil {
		return err
	}
	var answers <-chan answer
	if e.asker != nil {
		stop := e.asker.start(ctx)
		defer stop()
		answers = e.asker.answers
	}
	defer e.tell()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	groups, stop := e.groups(ctx, in)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return e.end(ctx)
		case g, ok := <-groups:
			if !ok {
				if ctx.Err() != nil {
					return e.end(ctx)
				}
				return e.finish(ctx)
			}
			if err := e.apply(ctx, g); err != nil {
				return e.interrupted(ctx, err)
			}
		case a := <-answers:
			if err := e.answer(ctx, a); err != nil {
				return err
			}
		case ask := <-e.inspect:
			ask(ctx)
		case <-tick.C:
			e.tell()
			if err := e.advance(ctx); err != nil {
				return err
			}
		}
		// The first batch is saved at once: from then on a position is known, and a log that is rotated away before the
		// next save will be found again.
		first := e.saves == 0 && e.stats.Batches > 0
		if e.cfg.SaveEvery > 0 && e.changed && (first || e.cfg.Now().Sub(e.saved) >= e.cfg.SaveEvery) {
			if err := e.save(ctx); err != nil {
				return err
			}
		}
	}
}

// interrupted saves what was applied if it is the context's end that stopped the work: what it stopped in comes again.
func (e *Engine) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return e.end(ctx)
	}
	return err
}

// start takes up where the state left off: suspects that were worth a question are asked again.
func (e *Engine) start(ctx context.Context) error {
	e.saved = e.cfg.Now()
	if err := e.pullFacts(ctx); err != nil {
		return err
	}
	if e.asker != nil && e.asker.queue == nil {
		if err := e.store.Each(ctx, nil, func(s *Suspect) bool { e.consider(ctx, s, false); return true }); err != nil {
			return err
		}
	}
	if e.cfg.Finite {
		return nil // what an earlier run published stands until this one knows better
	}
	return e.republish(ctx)
}

// end saves the state on the way out; the context may have ended already.
func (e *Engine) end(ctx context.Context) error {
	if e.unpublished && !e.cfg.Finite {
		if err := e.republish(context.WithoutCancel(ctx)); err != nil {
			return errors.Join(err, e.save(context.WithoutCancel(ctx)))
		}
	}
	return e.save(context.WithoutCancel(ctx))
}

// maxJoined bounds the batches that are applied together; one of 20,000 records takes some 5 MB.
const maxJoined = 8

// Joins is how many inputs besides the first the engine takes at a time: as many should be ready for it.
func (e *Engine) Joins() int {
	if e.joiner == nil {
		return 0
	}
	return maxJoined - 1
}

// maxLinger bounds the wait for batches to apply together.
const maxLinger = 200 * time.Millisecond

// group is what is applied together.
type group struct {
	inputs []Input
	apply  func(ctx context.Context, touched func(*Suspect)) ([]Outcome, error)
}

// groups makes groups of the inputs until they or the context end. While one is applied the next is made. stop waits for
// what is under way.
func (e *Engine) groups(ctx context.Context, in <-chan Input) (out <-chan group, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	groups, done := make(chan group), make(chan struct{})
	go func() {
		defer close(done)
		var held *Input
		for {
			var first Input
			if held != nil {
				first, held = *held, nil
			} else {
				var ok bool
				select {
				case first, ok = <-in:
				case <-ctx.Done():
					return
				}
				if !ok {
					close(groups)
					return
				}
			}
			g := group{inputs: []Input{first}}
			if e.joiner != nil {
				g.inputs, held = e.join(ctx, first, in)
			}
			if err := e.prepare(ctx, &g); err != nil {
				g.apply = func(context.Context, func(*Suspect)) ([]Outcome, error) { return nil, err }
			}
			select {
			case groups <- g:
			case <-ctx.Done():
				return
			}
		}
	}()
	return groups, func() {
		cancel()
		<-done
	}
}

// join adds inputs of other partitions: those that come while as much time passes as half of the last batches took, so that
// the busier the store is the more it is spared. One of a partition that is among them already is held for the next group.
func (e *Engine) join(ctx context.Context, first Input, in <-chan Input) (joined []Input, held *Input) {
	joined = append(make([]Input, 0, maxJoined), first)
	linger := time.NewTimer(min(time.Duration(e.took.Load())/2, maxLinger))
	defer linger.Stop()
	for len(joined) < maxJoined {
		select {
		case next, ok := <-in:
			if !ok {
				return joined, nil // the next look at the channel sees it as well
			}
			if slices.ContainsFunc(joined, func(i Input) bool { return i.Batch.Partition == next.Batch.Partition }) {
				return joined, &next
			}
			joined = append(joined, next)
		case <-linger.C:
			return joined, nil
		case <-ctx.Done():
			return joined, nil
		}
	}
	return joined, nil
}

// prepare does what needs no knowledge of the state.
func (e *Engine) prepare(ctx context.Context, g *group) error {
	batches := make([]*Batch, len(g.inputs))
	for i, in := range g.inputs {
		batches[i] = in.Batch
		if e.lists != nil {
			e.dropAllowed(in.Batch)
		}
		if e.reach != nil {
			e.reach.see(in.Batch.Slices, e.cfg.Now().Add(maxAhead).UnixMicro())
		}
		if err := e.sight(ctx, in.Batch); err != nil {
			return err
		}
	}
	if e.joiner != nil {
		g.apply = e.joiner.Gather(batches)
		return nil
	}
	g.apply = func(ctx context.Context, touched func(*Suspect)) ([]Outcome, error) {
		applied, err := e.store.Apply(ctx, batches[0], touched)
		switch {
		case errors.Is(err, ErrRestart):
			return []Outcome{Stale}, nil
		case applied:
			return []Outcome{Applied}, err
		}
		return []Outcome{Repeated}, err
	}
	return nil
}

func (e *Engine) apply(ctx context.Context, g group) error {
	ahead := e.cfg.Now().Add(maxAhead).UnixMicro()
	for _, in := range g.inputs {
		if in.Batch.Newest > ahead {
			e.stats.Future++
			in.Batch.Newest = ahead
		}
	}
	began := time.Now()
	outcomes, err := g.apply(ctx, e.touch(ctx))
	e.took.Store(int64(time.Since(began)))
	if err != nil {
		return fmt.Errorf("apply a batch of %s: %w", g.inputs[0].Batch.Partition, err)
	}
	for i, in := range g.inputs {
		if err := e.applied(ctx, in, outcomes[i]); err != nil {
			return err
		}
	}
	clear(e.notes)
	if err := e.write(ctx); err != nil {
		return err
	}
	return e.advance(ctx)
}

// applied notes what became of an input.
func (e *Engine) applied(ctx context.Context, in Input, outcome Outcome) error {
	if in.Release != nil {
		defer in.Release()
	}
	b := in.Batch
	switch outcome {
	case Stale:
		e.stats.Given++
		if in.Ack == nil {
			return nil
		}
		return in.Ack(ctx, ErrRestart)
	case Applied:
		e.stats.Slices += uint64(len(b.Slices))
	case Repeated:
		e.stats.Repeated++
	}
	e.stats.Batches++
	e.progress(b)
	if e.annotator != nil {
		if err := e.annotate(ctx, b); err != nil {
			return err
		}
	}
	switch {
	case in.Ack == nil:
	case e.cfg.Finite:
		// Nothing is kept of an interrupted finite run, so there is nothing to wait for.
		if err := in.Ack(ctx, nil); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	default:
		e.acks = append(e.acks, in.Ack)
	}
	return nil
}

// maxAhead is how far ahead of the wall clock a record may be and still move the watermark: a sensor with a wrong clock
// must not decide windows that have not ended.
const maxAhead = time.Hour

// progress notes how far a partition has come.
func (e *Engine) progress(b *Batch) {
	e.changed = true
	p := e.newest[b.Partition]
	e.newest[b.Partition] = progress{newest: max(p.newest, b.Newest), at: e.cfg.Now()}
}

// dropAllowed takes out the slices to endpoints that the allow list names.
func (e *Engine) dropAllowed(b *Batch) {
	now := e.cfg.Now()
	b.Keep(func(s *minecanary.Slices) bool {
		_, ok := e.lists.Allowed(s.Server, now)
		if ok {
			e.allowed.Add(1)
		}
		return !ok
	})
}

// annotate hands the records of a batch that touch confirmed or known endpoints to those who want them.
func (e *Engine) annotate(ctx context.Context, b *Batch) error {
	var out []Annotated
	for i := range b.Records {
		if a, ok := e.notes[b.Slices[i].Pair]; ok && len(b.Records[i]) > 0 {
			a.Record = b.Records[i]
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil
	}
	if err := e.annotator.Annotate(ctx, out); err != nil {
		return fmt.Errorf("annotate records: %w", err)
	}
	return nil
}

// note keeps what is to be said of a suspect's records in this batch.
func (e *Engine) note(s *Suspect, g ground) {
	seen := chain(s.Segments, 0, e.cfg)
	e.notes[s.Pair] = Annotated{
		Pair: s.Pair, Status: g.status, Verdict: g.verdict, Evidence: g.evidence,
		Scorer: e.scorer.Name(), Score: e.scorer.Points(s.Server.Port, &seen), Threshold: e.scorer.Threshold(),
	}
}

// touch is what happens to every suspect that a batch touches; nil if nothing does.
func (e *Engine) touch(ctx context.Context) func(*Suspect) {
	if e.cfg.Finite && e.asker == nil {
		return nil
	}
	now := e.cfg.Now()
	return func(s *Suspect) {
		if !e.cfg.Finite {
			if ground := e.ground(ctx, s, now); ground.status != "" {
				if e.annotator != nil {
					e.note(s, ground)
				}
				e.reportOpen(s, ground)
				// Who is only known is asked like any other: the answer may prove it, or show that it is none.
				e.consider(ctx, s, ground.renew)
				return
			}
		}
		e.consider(ctx, s, false)
	}
}

// consider queues a suspect's endpoint for a question if one of its stretches is worth it, or to renew a verdict. Only a
// real two-way session is worth one: asking on behalf of others would only get a refusal that stands in their way.
func (e *Engine) consider(ctx context.Context, s *Suspect, renew bool) {
	if e.asker == nil {
		return
	}
	best, why := -1.0, "its verdict expires"
	var seen minecanary.Aggregate
	for i := range s.Segments {
		a := chain(s.Segments, i, e.cfg)
		if a.ServerPackets == 0 || a.ServerPayload == 0 || a.Pure() == 0 && !renew {
			continue
		}
		if points := e.scorer.Points(s.Server.Port, &a); points > best {
			best, seen = points, a
		}
	}
	facts := e.sightedOf(s)
	switch {
	case best >= e.scorer.Threshold():
		why = fmt.Sprintf("%s score %g of %g", e.scorer.Name(), best, e.scorer.Threshold())
	case facts.ask != "" && twoWay(s):
		why, best = facts.ask, max(best, e.scorer.Threshold())
	case !renew || seen.Records == 0:
		return
	}
	if facts.payload {
		best += e.scorer.Threshold() // before those that only the score speaks against
	}
	now := e.cfg.Now()
	if !e.worthAsking(ctx, s.Server, now) {
		return
	}
	if e.lists != nil {
		if _, ok := e.lists.Allowed(s.Server, now); ok {
			return
		}
	}
	q := minecanary.Question{
		Endpoint: s.Server, Client: s.Client, Reply: true, Payload: true,
		TLS: seen.Services&minecanary.ServiceTLS != 0, Why: why,
	}
	if e.known != nil {
		if k, ok := e.known(s.Server, time.UnixMicro(seen.Last)); ok {
			q.Name, q.First = k.Name, k.Dialect
		}
	}
	if v, ok, err := e.store.Verdict(ctx, s.Server); q.Name == "" && (err != nil || !ok || v.Status != minecanary.Inconclusive) {
		// A name that somebody used may be junk: where it led to nothing the server is asked without.
		q.Name = e.names.of(s.Server)
	}
	e.asker.offer(q, best)
}

// twoWay tells whether data went both ways by the records of connections. A line of a payload is no record: a single packet
// with a made-up sender has a sensor write one.
func twoWay(s *Suspect) bool {
	return slices.ContainsFunc(s.Segments, func(seg Segment) bool {
		a := &seg.Aggregate
		return a.ClientPackets > 0 && a.ClientPayload > 0 && a.ServerPackets > 0 && a.ServerPayload > 0
	})
}

// blockedFor is how long a refusal of our own keeps an endpoint from being offered again: a budget that is used up for
// one client may have room for another.
const blockedFor = time.Minute

// worthAsking tells whether a verdict is missing, has expired, is a refusal of our own of some time ago, or is a confirmed
// one in the last quarter of its time.
func (e *Engine) worthAsking(ctx context.Context, ep minecanary.Endpoint, now time.Time) bool {
	v, ok, err := e.store.Verdict(ctx, ep)
	if err != nil || !ok {
		return true
	}
	switch {
	case v.Status == minecanary.Confirmed && !e.cfg.Finite:
		return now.After(v.Expires.Add(-v.Expires.Sub(v.At) / 4))
	case v.Status == minecanary.Blocked:
		return now.After(v.At.Add(blockedFor))
	}
	return !v.Valid(now)
}

// ground is why a suspect is reported whatever its score; an empty status means it is not.
type ground struct {
	status   minecanary.HitStatus
	verdict  minecanary.Verdict
	evidence []minecanary.Evidence
	// silent: a verdict says that this is no pool, or the allow list that nobody wants to know. allowed: the list.
	silent, allowed bool
	// renew: the verdict is about to expire.
	renew bool
}

func (e *Engine) ground(ctx context.Context, s *Suspect, now time.Time) (g ground) {
	facts := e.sightedOf(s)
	if v, ok, err := e.store.Verdict(ctx, s.Server); err == nil && ok {
		g.verdict = v
		if v.Valid(now) {
			switch v.Status {
			case minecanary.Confirmed:
				if spoke(s) {
					g.status = minecanary.HitConfirmed
				}
				g.renew = e.worthAsking(ctx, s.Server, now)
			case minecanary.NotPool, minecanary.Node:
				g.silent = true
			}
		}
	}
	if e.lists != nil {
		if why, ok := e.lists.Blocked(s.Server, now); ok {
			g.evidence = append(g.evidence, minecanary.Evidence{
				Kind: "block-list", Strength: minecanary.Strong, At: now, Summary: why,
			})
			if g.status == "" {
				g.status = minecanary.HitKnown
			}
		}
		if _, ok := e.lists.Allowed(s.Server, now); ok {
			g.status, g.silent, g.allowed = "", true, true
		}
	}
	// A server that talks of mining to its client and of something else to us is a pool that hides. All else that is known
	// beforehand counts less than what the server proved to be.
	if facts.payload || !g.silent {
		g.evidence = append(g.evidence, facts.evidence...)
		if facts.known && g.status == "" && !g.allowed {
			g.status = minecanary.HitKnown
		}
	}
	if e.known != nil && !g.silent && spoke(s) {
		if k, ok := e.known(s.Server, time.UnixMicro(latest(s))); ok && k.Reason != "" {
			g.evidence = append(g.evidence, minecanary.Evidence{Kind: "catalogue", Strength: minecanary.Strong, At: now, Summary: k.Reason})
			if g.status == "" {
				g.status = minecanary.HitKnown
			}
		}
	}
	// The first of them is given as the reason.
	slices.SortStableFunc(g.evidence, func(a, b minecanary.Evidence) int { return cmp.Compare(weight(a.Strength), weight(b.Strength)) })
	return g
}

// weight orders strengths, the strongest first.
func weight(s minecanary.Strength) int {
	switch s {
	case minecanary.Proof:
		return 0
	case minecanary.Strong:
		return 1
	}
	return 2
}

// latest gives the end of a suspect's last slice, Unix microseconds.
func latest(s *Suspect) int64 {
	var last int64
	for i := range s.Segments {
		last = max(last, s.Segments[i].Aggregate.Last)
	}
	return last
}

// spoke tells whether a connection was ever made: the server sent a packet, or, where a sensor sees one direction alone,
// the client sent data. A scan or a blocked attempt is neither.
func spoke(s *Suspect) bool {
	for i := range s.Segments {
		if a := &s.Segments[i].Aggregate; a.ServerPackets > 0 || a.ClientPayload > 0 {
			return true
		}
	}
	return false
}

// reportOpen reports every window that was not reported yet, or for a weaker reason: at the first sight of a confirmed or
// known endpoint.
func (e *Engine) reportOpen(s *Suspect, g ground) {
	for i := 0; i < len(s.Segments); {
		w := windowAt(s.Segments, i)
		if w.told < g.status.Strength() {
			e.pending = append(e.pending, e.hit(s, w, g))
			w.reported(s.Segments, g.status)
		}
		i = w.end
	}
}

// answer takes in a verdict.
func (e *Engine) answer(ctx context.Context, a answer) error {
	v := a.verdict
	e.stats.Verdicts[v.Status]++
	defer e.asker.done(v.Endpoint)
	old, ok, err := e.store.Verdict(ctx, v.Endpoint)
	if err != nil {
		return fmt.Errorf("verdict of %s: %w", v.Endpoint, err)
	}
	now := e.cfg.Now()
	if ok && old.Status == minecanary.Confirmed && old.Valid(now) {
		if v.Status == minecanary.Inconclusive || v.Status == minecanary.Blocked {
			return nil // a failed probe proves nothing
		}
		if v.Status == minecanary.Confirmed {
			v.FirstConfirmed = old.FirstConfirmed
		}
	}
	if v.Status == minecanary.Confirmed && v.FirstConfirmed.IsZero() {
		v.FirstConfirmed = v.At
	}
	// Told before it is kept: whoever is killed in between asks once more, and nobody misses it.
	if err := e.tellVerdicts(ctx, []minecanary.Verdict{v}, nil); err != nil {
		return err
	}
	if err := e.store.PutVerdict(ctx, v); err != nil {
		return fmt.Errorf("keep the verdict of %s: %w", v.Endpoint, err)
	}
	e.changed = true
	if ok && old.Status == minecanary.Confirmed && v.Status != minecanary.Confirmed {
		if err := e.tellVerdicts(ctx, nil, []minecanary.Endpoint{v.Endpoint}); err != nil {
			return err
		}
	}
	if v.Status == minecanary.Confirmed && !e.cfg.Finite {
		var full error
		err := e.store.Clients(ctx, v.Endpoint, func(s *Suspect) {
			if g := e.ground(ctx, s, now); g.status != "" {
				e.reportOpen(s, g)
			}
			if len(e.pending) >= maxPending {
				full = errors.Join(full, e.write(ctx))
			}
		})
		if err = errors.Join(err, full); err != nil {
			return fmt.Errorf("clients of %s: %w", v.Endpoint, err)
		}
	}
	if err := e.write(ctx); err != nil {
		return err
	}
	e.unpublished = e.unpublished || v.Status == minecanary.Confirmed || old.Status == minecanary.Confirmed
	return nil
}

// publishEvery is the least time between two publications: answers come in swarms, when verdicts are renewed.
const publishEvery = time.Second

// republish hands the verdicts to the publisher. A feed that cannot be written is no reason to stop looking at records: a
// live run tells of it and goes on, as the publisher's heartbeat tries again.
func (e *Engine) republish(ctx context.Context) error {
	if e.publish == nil {
		return nil
	}
	e.told, e.unpublished, e.published = e.store.VerdictsVersion(), false, e.cfg.Now()
	vs, err := e.store.Verdicts(ctx)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := e.publish.Publish(context.WithoutCancel(ctx), vs); err != nil {
		if e.cfg.Finite {
			return fmt.Errorf("publish: %w", err)
		}
		if e.cfg.Warn != nil {
			e.cfg.Warn("publish", err)
		}
	}
	return nil
}

// own is how far the partitions have come as far as this process knows.
func (e *Engine) own() []Progress {
	now := e.cfg.Now()
	atEnd := func(name string) bool { return e.cfg.AtEnd != nil && e.cfg.AtEnd(name) }
	var out []Progress
	for name, p := range e.newest {
		out = append(out, Progress{Partition: name, Newest: p.newest, Heard: true, Idle: now.Sub(p.at) >= idleAfter && atEnd(name)})
	}
	if e.cfg.Partitions != nil {
		names := e.cfg.Partitions()
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if _, heard := e.newest[name]; heard {
				continue
			}
			// What was handed over may still be on its way here: only a while at the end tells that nothing comes.
			if !atEnd(name) {
				delete(e.ended, name)
			} else if _, ok := e.ended[name]; !ok {
				e.ended[name] = now
			}
			since, ok := e.ended[name]
			out = append(out, Progress{Partition: name, Idle: ok && now.Sub(since) >= idleAfter})
		}
	}
	return out
}

// Watermark is the event time (Unix microseconds) up to which everything has come: the lowest of the partitions, minus
// the lateness. Partitions that have nothing more to give at the moment, or no connection records at all, are left out;
// one that has something to give and was not heard of yet holds it back. 0 or less: nothing is known.
func Watermark(progress []Progress, lateness time.Duration) int64 {
	lowest, highest := int64(-1), int64(0)
	for _, p := range progress {
		if !p.Heard && !p.Idle {
			return 0
		}
		highest = max(highest, p.Newest)
		if p.Newest == 0 || p.Idle {
			continue
		}
		if lowest < 0 || p.Newest < lowest {
			lowest = p.Newest
		}
	}
	if lowest < 0 {
		lowest = highest
	}
	return lowest - lateness.Microseconds()
}

const (
	// reopenEvery is how often (wall clock) windows that late records opened again are decided anew.
	reopenEvery = time.Minute
	// expireEvery is how often expired verdicts are looked for, expireGrace how long after its end a verdict may be
	// renewed before it is told as expired.
	expireEvery, expireGrace = 30 * time.Second, time.Minute
)

// advance decides the windows that the watermark has passed.
func (e *Engine) advance(ctx context.Context) error {
	now := e.cfg.Now()
	if e.cfg.Finite {
		return nil
	}
	own := e.own()
	shards, restart, err := e.store.Shards(ctx, own)
	if err != nil {
		return fmt.Errorf("look at the state: %w", err)
	}
	for _, name := range restart {
		if e.cfg.Restart != nil {
			e.cfg.Restart(name)
		}
	}
	due := map[Window][]Shard{}
	if len(shards) > 0 {
		e.stats.Decided = math.MaxInt64
	}
	if len(own) == 0 {
		shards = nil
	}
	for _, sh := range shards {
		e.stats.Decided = min(e.stats.Decided, int64(sh.Decided)*e.report)
		mark := Watermark(sh.Progress, e.cfg.Lateness)
		if mark <= 0 {
			continue
		}
		limit := max(Window(mark/e.report), sh.Decided)
		if limit == sh.Decided && (!sh.Reopened || now.Sub(e.looked[sh.ID]) < reopenEvery) {
			continue
		}
		e.looked[sh.ID] = now
		due[limit] = append(due[limit], sh)
	}
	if now.Sub(e.pulled) >= pullFactsEvery {
		e.pulled = now
		if err := e.pullFacts(ctx); err != nil {
			return err
		}
	}
	if (e.unpublished || e.store.VerdictsVersion() != e.told) && now.Sub(e.published) >= publishEvery {
		// This process has found something, or another has.
		if err := e.republish(ctx); err != nil {
			return err
		}
	}
	if now.Sub(e.expired) >= expireEvery {
		e.expired = now
		if err := e.expire(ctx, now); err != nil {
			return err
		}
	}
	if len(due) == 0 {
		return nil
	}
	for limit, list := range due {
		ids := make([]int, len(list))
		for i, sh := range list {
			ids[i] = sh.ID
		}
		if err := e.decide(ctx, ids, limit, true); err != nil {
			return err
		}
		for _, sh := range list {
			e.store.Decided(sh, limit)
		}
		e.changed = true
	}
	return e.store.DropVerdicts(ctx, now.Add(-e.cfg.Keep))
}

// expire tells the sinks of confirmed verdicts that have ended, and again of those that were renewed after all: another
// process may have done it while this one told the contrary.
func (e *Engine) expire(ctx context.Context, now time.Time) error {
	if !slices.ContainsFunc(e.sinks, func(s Sink) bool { _, ok := s.(VerdictSink); return ok }) {
		return nil
	}
	all, err := e.store.Verdicts(ctx)
	if err != nil {
		return fmt.Errorf("look for expired verdicts: %w", err)
	}
	var ended []minecanary.Endpoint
	var renewed []minecanary.Verdict
	gone := map[minecanary.Endpoint]bool{}
	for _, v := range all {
		switch {
		case v.Status != minecanary.Confirmed:
		case v.Valid(now):
			if e.gone[v.Endpoint] {
				renewed = append(renewed, v)
			}
		case v.Valid(now.Add(-expireGrace)):
		default:
			gone[v.Endpoint] = true
			if !e.gone[v.Endpoint] {
				ended = append(ended, v.Endpoint)
			}
		}
	}
	e.gone = gone
	return e.tellVerdicts(ctx, renewed, ended)
}

// tellVerdicts hands verdicts to the sinks that want them.
func (e *Engine) tellVerdicts(ctx context.Context, probed []minecanary.Verdict, ended []minecanary.Endpoint) error {
	if len(probed)+len(ended) == 0 {
		return nil
	}
	return e.eachSink(ctx, func(ctx context.Context, s Sink) error {
		v, ok := s.(VerdictSink)
		if !ok {
			return nil
		}
		if len(probed) > 0 {
			if err := v.Probed(ctx, probed); err != nil {
				return fmt.Errorf("write verdicts: %w", err)
			}
		}
		if len(ended) > 0 {
			if err := v.Expired(ctx, ended); err != nil {
				return fmt.Errorf("withdraw pools: %w", err)
			}
		}
		return nil
	})
}

// eachSink works on all sinks at the same time: each takes as long as its own service.
func (e *Engine) eachSink(ctx context.Context, do func(context.Context, Sink) error) error {
	if len(e.sinks) == 1 {
		return do(ctx, e.sinks[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range e.sinks {
		g.Go(func() error { return do(ctx, s) })
	}
	return g.Wait()
}

// decide closes every window before limit: it is reported if a verdict, a list or the score says so. What the watermark has
// left behind leaves the state, if it may.
func (e *Engine) decide(ctx context.Context, shards []int, limit Window, leave bool) error {
	var full error
	now := e.cfg.Now()
	err := e.store.Each(ctx, shards, func(s *Suspect) bool {
		if full != nil {
			return true
		}
		g := e.ground(ctx, s, now)
		if e.closeAll(s, g, limit, leave) {
			e.stats.Suspected++
		}
		if len(e.pending) >= maxPending {
			full = e.write(ctx)
		}
		return !leave || e.keep(s, g, limit)
	})
	return errors.Join(err, full, e.write(ctx))
}

// closeAll decides the windows of one suspect before limit, from the oldest, each as if it were the only one that has
// just ended: how many windows the watermark passed at once must not show. It tells whether only the score accuses any.
func (e *Engine) closeAll(s *Suspect, g ground, limit Window, leave bool) (suspected bool) {
	for end := len(s.Segments); end > 0; {
		begin := end - 1
		for begin > 0 && s.Segments[begin-1].Window == s.Segments[begin].Window {
			begin--
		}
		end = begin
		w := windowAt(s.Segments, begin)
		if w.window >= limit {
			break
		}
		if w.closed {
			continue
		}
		if leave {
			e.keep(s, g, w.window) // what had left by then
		}
		e.changed = true
		suspected = e.close(s, w, g) || suspected
	}
	return suspected
}

// maxPending bounds the hits held before they are handed to the sinks.
const maxPending = 1000

// close decides one window of one suspect, and tells whether only the score accuses it.
func (e *Engine) close(s *Suspect, w window, g ground) (suspected bool) {
	best, _ := e.best(s, w)
	suspicious := best >= e.scorer.Threshold()
	s.Marked = s.Marked || suspicious
	switch {
	case g.status != "":
		if w.sum.Records <= 1 && w.told >= g.status.Strength() {
			break // told with its full count already
		}
		if w.sum.Records > 1 && !e.cfg.Finite {
			// Whoever has an endpoint like this is told at first sight. Should the note of that be lost (a failover of the
			// shared state), the full count must not come under the number of the first report.
			w.reports = max(w.reports, 1)
		}
		e.pending = append(e.pending, e.hit(s, w, g))
		w.reported(s.Segments, g.status)
	case suspicious && !g.silent:
		suspected = true
		if !e.cfg.Suspected {
			break
		}
		g.status = minecanary.HitSuspected
		e.pending = append(e.pending, e.hit(s, w, g))
		w.reported(s.Segments, g.status)
	}
	for i := w.begin; i < w.end; i++ {
		s.Segments[i].Closed = true
	}
	return suspected
}

// best is the highest score of a window's stretches that have a pure slice, and that stretch; -1 if none has.
func (e *Engine) best(s *Suspect, w window) (points float64, seen minecanary.Aggregate) {
	points = -1
	for i := w.begin; i < w.end; i++ {
		a := chain(s.Segments, i, e.cfg)
		if i == w.begin {
			seen = a
		}
		if a.Pure() == 0 {
			continue
		}
		if p := e.scorer.Points(s.Server.Port, &a); p > points {
			points, seen = p, a
		}
	}
	return points, seen
}

// keep tells whether a suspect stays, and cuts off what no score and no late verdict can need any more. It looks only at
// the windows before limit and at the time limit stands for, as if nothing had come since: how far ahead the state was
// when the windows were decided must not show.
func (e *Engine) keep(s *Suspect, g ground, limit Window) bool {
	held := s.Marked || g.status != ""
	if held && e.cfg.Keep == 0 {
		return true
	}
	stay := e.cfg.Inactive
	if held {
		stay = max(stay, e.cfg.Keep)
	}
	silent := int64(limit)*e.report - stay.Microseconds()
	decided, newest := len(s.Segments), int64(0)
	for i := len(s.Segments) - 1; i >= 0 && s.Segments[i].Window < limit; i-- {
		decided, newest = i, max(newest, s.Segments[i].Aggregate.Last)
	}
	n := len(s.Segments)
	switch {
	case decided == n:
	case newest < silent:
		n, s.Marked = decided, false
	default:
		// A score reaches back by the active timeout from a slice that is at most the silence away.
		for n > decided && s.Segments[n-1].Aggregate.Last < silent-e.cfg.Active.Microseconds() {
			n--
		}
	}
	s.Segments = s.Segments[:n]
	return n > 0
}

// write hands the pending hits to every sink.
func (e *Engine) write(ctx context.Context) error {
	if len(e.pending) == 0 {
		return nil
	}
	err := e.eachSink(ctx, func(ctx context.Context, s Sink) error {
		if err := s.Write(ctx, e.pending); err != nil {
			return fmt.Errorf("write hits: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range e.pending {
		e.stats.Hits[e.pending[i].Status]++
	}
	e.pending = e.pending[:0]
	return nil
}

// save makes what was applied durable: first what it caused, then the state with its positions, then the source hears
// of it.
func (e *Engine) save(ctx context.Context) error {
	e.saved = e.cfg.Now()
	e.saves++
	e.changed = false
	if err := e.write(ctx); err != nil {
		return err
	}
	err := e.eachSink(ctx, func(ctx context.Context, s Sink) error {
		if err := s.Flush(ctx); err != nil {
			return fmt.Errorf("flush hits: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.store.Save(ctx); err != nil {
		return err
	}
	for _, ack := range e.acks {
		if err := ack(ctx, nil); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	clear(e.acks)
	e.acks = e.acks[:0]
	return nil
}

// finish ends a run whose input has ended: every endpoint still worth it is asked, then every window is decided.
func (e *Engine) finish(ctx context.Context) error {
	if e.asker != nil {
		err := e.store.Each(ctx, nil, func(s *Suspect) bool { e.consider(ctx, s, false); return true })
		if err != nil {
			return err
		}
		for !e.asker.idle() {
			select {
			case <-ctx.Done():
				return errors.Join(ctx.Err(), e.end(ctx))
			case a := <-e.asker.answers:
				if err := e.answer(ctx, a); err != nil {
					return err
				}
			}
		}
	}
	if err := e.decide(ctx, nil, e.last(), false); err != nil {
		return err
	}
	if err := e.republish(ctx); err != nil {
		return err
	}
	return e.save(ctx)
}

// last is the window after the newest record: everything before it has ended with the input.
func (e *Engine) last() Window {
	if e.cfg.Finite {
		return ^Window(0)
	}
	last := Window(0)
	for _, p := range e.newest {
		last = max(last, Window(p.newest/e.report)+1)
	}
	return last
}

// Asking tells how many endpoints were asked and how many wait; safe from any goroutine.
func (e *Engine) Asking() (asked, waiting uint64) {
	if e.asker == nil {
		return 0, 0
	}
	asked, waiting, _ = e.asker.counts()
	return asked, waiting
}

// Stats are the counters as of the last second, or exactly when Run has returned; safe from any goroutine.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shown
}

// tell makes the counters of this moment the ones that others see.
func (e *Engine) tell() {
	s := e.stats
	s.Allowed = e.allowed.Load()
	s.Hits, s.Verdicts = maps.Clone(s.Hits), maps.Clone(s.Verdicts)
	s.Saved, s.Store = e.saved, e.store.Stats()
	s.Names = e.names.len()
	s.Facts, s.FactsDropped = e.facts.len()
	for _, p := range e.newest {
		s.Newest = max(s.Newest, p.newest)
	}
	if e.asker != nil {
		s.Asked, s.Queued, s.Pushed = e.asker.counts()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shown = s
}

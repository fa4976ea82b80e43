package enrich

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

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
	// AtEnd tells whether everything a partition has at the moment was read; nil: never.
	AtEnd func(partition string) bool
	// Partitions names the partitions that are read; nil: those that brought something.
	Partitions func() []string
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
	Slices            uint64
	Allowed           uint64 // slices to endpoints on the allow list
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
	Store  StoreStats
}

// Engine decides, on the goroutine of Run.
type Engine struct {
	cfg     Config
	store   Store
	scorer  score.Scorer
	sinks   []Sink
	lists   Lists
	publish Publisher
	asker   *asker

	report  int64 // microseconds
	newest  map[string]progress
	decided Window    // windows before it were decided
	dirty   bool      // one of them has got new data
	looked  time.Time // when windows were decided last
	changed bool      // something is not saved yet
	acks    []func(context.Context, error) error
	saved   time.Time
	saves   int
	pending []minecanary.Hit
	stats   Stats

	mu   sync.Mutex
	told Stats
}

type progress struct {
	newest int64
	at     time.Time
}

// Deps are what an engine works with. Verifier, Lists and Publisher may be nil.
type Deps struct {
	Store     Store
	Scorer    score.Scorer
	Sinks     []Sink
	Lists     Lists
	Verifier  Verifier
	Publisher Publisher
	// Workers is how many endpoints are asked at the same time.
	Workers int
}

// New gives an engine.
func New(cfg Config, deps Deps) *Engine {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Engine{
		cfg: cfg, store: deps.Store, scorer: deps.Scorer, sinks: deps.Sinks, lists: deps.Lists, publish: deps.Publisher,
		report: max(1, cfg.Report.Microseconds()),
		newest: map[string]progress{},
		stats: Stats{
			Hits:     map[minecanary.HitStatus]uint64{},
			Verdicts: map[minecanary.VerdictStatus]uint64{},
		},
	}
	if deps.Verifier != nil {
		e.asker = newAsker(deps.Verifier, max(1, deps.Workers), cfg.Now)
		if cfg.Finite {
			e.asker.patience = finitePatience
		}
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
	for {
		select {
		case <-ctx.Done():
			return e.end(ctx)
		case input, ok := <-in:
			if !ok {
				if ctx.Err() != nil {
					return e.end(ctx)
				}
				return e.finish(ctx)
			}
			if err := e.apply(ctx, input); err != nil {
				return err
			}
		case a := <-answers:
			if err := e.answer(ctx, a); err != nil {
				return err
			}
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

// start takes up where the state left off: suspects that were worth a question are asked again.
func (e *Engine) start(ctx context.Context) error {
	e.saved = e.cfg.Now()
	if e.asker != nil {
		if err := e.store.Each(ctx, func(s *Suspect) bool { e.consider(ctx, s, false); return true }); err != nil {
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
	return e.save(context.WithoutCancel(ctx))
}

func (e *Engine) apply(ctx context.Context, in Input) error {
	b := in.Batch
	if e.lists != nil {
		e.dropAllowed(b)
	}
	touched := e.touch(ctx)
	applied, err := e.store.Apply(ctx, b, touched)
	if err != nil {
		return fmt.Errorf("apply a batch of %s: %w", b.Partition, err)
	}
	e.stats.Batches++
	if applied {
		e.stats.Slices += uint64(len(b.Slices))
	} else {
		e.stats.Repeated++
	}
	e.progress(b)
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
	if in.Release != nil {
		in.Release()
	}
	if err := e.write(ctx); err != nil {
		return err
	}
	return e.advance(ctx)
}

// maxAhead is how far ahead of the wall clock a record may be and still move the watermark: a sensor with a wrong clock
// must not decide windows that have not ended.
const maxAhead = time.Hour

// progress notes how far a partition has come.
func (e *Engine) progress(b *Batch) {
	e.changed = true
	now := e.cfg.Now()
	newest := b.Newest
	if ahead := now.Add(maxAhead).UnixMicro(); newest > ahead {
		e.stats.Future++
		newest = ahead
	}
	p := e.newest[b.Partition]
	e.newest[b.Partition] = progress{newest: max(p.newest, newest), at: now}
	if e.cfg.Finite {
		return
	}
	for i := range b.Slices {
		if Window(b.Slices[i].End/e.report) < e.decided {
			e.dirty = true
			break
		}
	}
}

// dropAllowed takes out the slices to endpoints that the allow list names.
func (e *Engine) dropAllowed(b *Batch) {
	now := e.cfg.Now()
	kept := b.Slices[:0]
	for i := range b.Slices {
		if _, ok := e.lists.Allowed(b.Slices[i].Server, now); ok {
			e.stats.Allowed++
			continue
		}
		kept = append(kept, b.Slices[i])
	}
	b.Slices = kept
}

// touch is what happens to every suspect that a batch touches; nil if nothing does.
func (e *Engine) touch(ctx context.Context) func(*Suspect) {
	if e.cfg.Finite && e.asker == nil {
		return nil
	}
	return func(s *Suspect) {
		if !e.cfg.Finite {
			if ground := e.ground(ctx, s); ground.status != "" {
				e.reportOpen(s, ground)
				if ground.renew {
					e.consider(ctx, s, true)
				}
				return
			}
		}
		e.consider(ctx, s, false)
	}
}

// consider queues a suspect's endpoint for a question if one of its stretches is worth it, or to renew a verdict. Only a
// real two-way session is worth one: asking on behalf of others would only get a refusal that stands in their way.
func (e *Engine) consider(ctx context.Context, s *Suspect, renew bool) {
	if e.asker == nil || !e.worthAsking(ctx, s.Server) {
		return
	}
	if e.lists != nil {
		if _, ok := e.lists.Allowed(s.Server, e.cfg.Now()); ok {
			return
		}
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
	if best >= e.scorer.Threshold() {
		why = fmt.Sprintf("%s score %g of %g", e.scorer.Name(), best, e.scorer.Threshold())
	} else if !renew || seen.Records == 0 {
		return
	}
	e.asker.offer(minecanary.Question{
		Endpoint: s.Server, Client: s.Client, Reply: true, Payload: true,
		TLS: seen.Services&minecanary.ServiceTLS != 0, Why: why,
	}, best)
}

// blockedFor is how long a refusal of our own keeps an endpoint from being offered again: a budget that is used up for
// one client may have room for another.
const blockedFor = time.Minute

// worthAsking tells whether a verdict is missing, has expired, is a refusal of our own of some time ago, or is a confirmed
// one in the last quarter of its time.
func (e *Engine) worthAsking(ctx context.Context, ep minecanary.Endpoint) bool {
	v, ok, err := e.store.Verdict(ctx, ep)
	if err != nil || !ok {
		return true
	}
	now := e.cfg.Now()
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
	// silent: a verdict says that this is no pool.
	silent bool
	// renew: the verdict is about to expire.
	renew bool
}

func (e *Engine) ground(ctx context.Context, s *Suspect) (g ground) {
	now := e.cfg.Now()
	if v, ok, err := e.store.Verdict(ctx, s.Server); err == nil && ok {
		g.verdict = v
		if v.Valid(now) {
			switch v.Status {
			case minecanary.Confirmed:
				if spoke(s) {
					g.status = minecanary.HitConfirmed
				}
				g.renew = e.worthAsking(ctx, s.Server)
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
			g.status, g.silent = "", true
		}
	}
	return g
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
	if err := e.store.PutVerdict(ctx, v); err != nil {
		return fmt.Errorf("keep the verdict of %s: %w", v.Endpoint, err)
	}
	e.changed = true
	if v.Status == minecanary.Confirmed && !e.cfg.Finite {
		var full error
		err := e.store.Clients(ctx, v.Endpoint, func(s *Suspect) {
			if g := e.ground(ctx, s); g.status != "" {
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
	if v.Status == minecanary.Confirmed || old.Status == minecanary.Confirmed {
		return e.republish(ctx)
	}
	return nil
}

// republish hands the verdicts to the publisher. A feed that cannot be written is no reason to stop looking at records: a
// live run tells of it and goes on, as the publisher's heartbeat tries again.
func (e *Engine) republish(ctx context.Context) error {
	if e.publish == nil {
		return nil
	}
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

// watermark is the event time (Unix microseconds) up to which everything has come: the lowest of the partitions, minus
// the lateness. Partitions that have nothing more to give at the moment, or no connection records at all, are left out;
// one that has something to give and was not heard of yet holds it back. 0 or less: nothing is known.
func (e *Engine) watermark() int64 {
	lowest, highest := int64(-1), int64(0)
	now := e.cfg.Now()
	atEnd := func(name string) bool { return e.cfg.AtEnd != nil && e.cfg.AtEnd(name) }
	for name, p := range e.newest {
		highest = max(highest, p.newest)
		if p.newest == 0 || now.Sub(p.at) >= idleAfter && atEnd(name) {
			continue
		}
		if lowest < 0 || p.newest < lowest {
			lowest = p.newest
		}
	}
	if e.cfg.Partitions != nil {
		for _, name := range e.cfg.Partitions() {
			if _, heard := e.newest[name]; !heard && !atEnd(name) {
				return 0
			}
		}
	}
	if lowest < 0 {
		lowest = highest
	}
	return lowest - e.cfg.Lateness.Microseconds()
}

// reopenEvery is how often (wall clock) windows that late records opened again are decided anew.
const reopenEvery = time.Minute

// advance decides the windows that the watermark has passed.
func (e *Engine) advance(ctx context.Context) error {
	if e.cfg.Finite {
		return nil
	}
	mark := e.watermark()
	if mark <= 0 {
		return nil
	}
	limit := max(Window(mark/e.report), e.decided)
	now := e.cfg.Now()
	if limit == e.decided && (!e.dirty || now.Sub(e.looked) < reopenEvery) {
		return nil
	}
	e.decided, e.dirty, e.looked = limit, false, now
	if err := e.decide(ctx, limit); err != nil {
		return err
	}
	return e.store.DropVerdicts(ctx, e.cfg.Now().Add(-e.cfg.Keep))
}

// decide closes every window before limit: it is reported if a verdict, a list or the score says so. What the watermark has
// left behind leaves the state.
func (e *Engine) decide(ctx context.Context, limit Window) error {
	var full error
	err := e.store.Each(ctx, func(s *Suspect) bool {
		if full != nil {
			return true
		}
		g, suspected := e.ground(ctx, s), 0
		for i := 0; i < len(s.Segments); {
			w := windowAt(s.Segments, i)
			i = w.end
			if w.window >= limit || w.closed {
				continue
			}
			e.changed = true
			if e.close(s, w, g) {
				suspected = 1
			}
		}
		e.stats.Suspected += suspected
		if len(e.pending) >= maxPending {
			full = e.write(ctx)
		}
		return e.cfg.Finite || e.keep(s, g, e.decided)
	})
	return errors.Join(err, full, e.write(ctx))
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
	for _, sink := range e.sinks {
		if err := sink.Write(ctx, e.pending); err != nil {
			return fmt.Errorf("write hits: %w", err)
		}
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
	for _, sink := range e.sinks {
		if err := sink.Flush(ctx); err != nil {
			return fmt.Errorf("flush hits: %w", err)
		}
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
		err := e.store.Each(ctx, func(s *Suspect) bool { e.consider(ctx, s, false); return true })
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
	if err := e.decide(ctx, e.last()); err != nil {
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
	last := e.decided
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
	return e.told
}

// tell makes the counters of this moment the ones that others see.
func (e *Engine) tell() {
	s := e.stats
	s.Hits, s.Verdicts = maps.Clone(s.Hits), maps.Clone(s.Verdicts)
	s.Saved, s.Store = e.saved, e.store.Stats()
	for _, p := range e.newest {
		s.Newest = max(s.Newest, p.newest)
	}
	if e.asker != nil {
		s.Asked, s.Queued, s.Pushed = e.asker.counts()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = s
}

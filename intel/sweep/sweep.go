// Package sweep keeps the history of the catalogue alive: it looks the names of pools up and asks their endpoints, each on
// its own schedule, and writes down what came of it.
//
// What is due follows from what was last written, so a restart goes on where it stood. A name or endpoint is asked by one
// goroutine at a time, and never before its time, however long a round takes.
package sweep

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
)

// Defaults and bounds of Config.
const (
	// DefaultResolveEvery and DefaultProbeEvery are sMaSheD's.
	DefaultResolveEvery = 30 * time.Minute
	DefaultProbeEvery   = 3 * time.Hour
	// DefaultParallel is how many names or endpoints are asked at the same time, MaxParallel the most.
	DefaultParallel = 16
	MaxParallel     = 1024
	// Jitter is how much of its interval a time is moved by, earlier or later, so that no two rounds are alike.
	Jitter = 0.1
	// MaxEndpoints is how many endpoints (address and port) are kept on the schedule; others are counted.
	MaxEndpoints = 200_000
)

// Resolver looks names up (package resolver).
type Resolver interface {
	Resolve(ctx context.Context, name string) (resolver.Answer, error)
}

// Verifier asks an endpoint.
type Verifier interface {
	Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error)
}

// Config says what is swept, by whom, and how often.
type Config struct {
	// Catalog gives the catalogue in use.
	Catalog func() *catalog.Catalog
	// Resolver looks names up; nil looks nothing up.
	Resolver Resolver
	// Verifier asks endpoints; nil asks nobody.
	Verifier Verifier
	// Book is where everything is written, Index learns of it too.
	Book  *history.DB
	Index *lookup.Index
	// Mark says what an address is beside a pool's; addresses that are something else are not asked. nil takes all.
	Mark lookup.Marker
	// ResolveEvery and ProbeEvery are the intervals; 0 means the defaults.
	ResolveEvery, ProbeEvery time.Duration
	// Parallel is how many are asked at the same time; 0 means DefaultParallel.
	Parallel int
	// PerSecond is how many endpoints are begun a second; 0 is without limit. It is what the prober allows the catalogue,
	// which refuses what comes faster.
	PerSecond float64
	// Share is what this process has in common with others that sweep the same; nil sweeps alone.
	Share Share
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Warn hears of what failed and goes on; nil drops it.
	Warn func(error)
}

// Status is what a sweeper did and will do.
type Status struct {
	// Names and Endpoints are on the schedule; NamesDue and EndpointsDue are overdue now.
	Names        int `json:"names"`
	NamesDue     int `json:"names_due"`
	Endpoints    int `json:"endpoints"`
	EndpointsDue int `json:"endpoints_due"`
	// Resolved counts lookups, Unresolved those of them that failed, Probed verdicts by their word since the start, Left
	// endpoints beyond MaxEndpoints.
	Resolved   uint64                              `json:"resolved"`
	Unresolved uint64                              `json:"unresolved"`
	Probed     map[minecanary.VerdictStatus]uint64 `json:"probed"`
	Left       int                                 `json:"left,omitempty"`
	// LastResolved and LastAsked are when the last answer came; zero if none did since the start.
	LastResolved time.Time `json:"last_resolved,omitzero"`
	LastAsked    time.Time `json:"last_asked,omitzero"`
	// Heard counts answers that other processes told (Config.Share); Untold are those that wait to be told to them.
	Heard  uint64 `json:"-"`
	Untold int    `json:"-"`
}

// Sweeper sweeps. Run, Resolve and Ask may be called from several goroutines.
type Sweeper struct {
	cfg  Config
	seed maphash.Seed
	pace *rate.Limiter

	mu sync.Mutex
	// busy has the names and endpoints that are being asked, or whose answer is not written yet.
	busy      map[any]bool
	loaded    bool
	beliefs   map[string]resolver.Belief
	names     map[string]time.Time // when it is due
	endpoints map[minecanary.Endpoint]target
	// extra are endpoints beside the catalogue's that somebody wants asked, once.
	extra  map[minecanary.Endpoint]bool
	status Status

	// id tells this process from the others, lease is how long it claims what it asks.
	id    string
	lease time.Duration
	// wanted is since when somebody wants a name or an endpoint asked. What others asked before does not do.
	wanted map[any]time.Time
	// untold waits to be told to others. aloneUntil is set while the Share does not answer.
	untold     []told
	aloneUntil time.Time
	// telling is held by who tells others, hearing by who takes in what they told, up to the version heard.
	telling, hearing sync.Mutex
	heard            uint64

	// hurryNames, hurryEndpoints and hurryShare wake Run.
	hurryNames, hurryEndpoints, hurryShare chan struct{}
}

// target is an endpoint on the schedule.
type target struct {
	name, pool, dialect string
	tls                 bool
	due                 time.Time
}

// New makes a sweeper; it does no I/O.
func New(cfg Config) *Sweeper {
	cfg.ResolveEvery = cmp.Or(cfg.ResolveEvery, DefaultResolveEvery)
	cfg.ProbeEvery = cmp.Or(cfg.ProbeEvery, DefaultProbeEvery)
	cfg.Parallel = min(max(cmp.Or(cfg.Parallel, DefaultParallel), 1), MaxParallel)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Warn == nil {
		cfg.Warn = func(error) {}
	}
	pace := rate.NewLimiter(rate.Inf, 1)
	if cfg.PerSecond > 0 {
		pace.SetLimit(rate.Limit(cfg.PerSecond))
	}
	return &Sweeper{
		cfg: cfg, pace: pace, seed: maphash.MakeSeed(), busy: map[any]bool{}, beliefs: map[string]resolver.Belief{}, names: map[string]time.Time{},
		endpoints: map[minecanary.Endpoint]target{}, extra: map[minecanary.Endpoint]bool{},
		hurryNames: make(chan struct{}, 1), hurryEndpoints: make(chan struct{}, 1), status: Status{Probed: map[minecanary.VerdictStatus]uint64{}},
		id: rand.Text(), lease: leaseOf(cfg), wanted: map[any]time.Time{}, hurryShare: make(chan struct{}, 1),
	}
}

// idle is how long Run waits at most before it looks at the catalogue again: it may have changed.
const idle = time.Minute

// Run sweeps until the context ends, which is no error. Names do not wait for endpoints, nor the other way. Where sweeps
// are shared it also hears of the other processes, whether it sweeps anything itself or not.
func (s *Sweeper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.repeat(ctx, s.stepNames, s.hurryNames) })
	g.Go(func() error { return s.repeat(ctx, s.stepEndpoints, s.hurryEndpoints) })
	g.Go(func() error { return s.follow(ctx) })
	return g.Wait()
}

func (s *Sweeper) repeat(ctx context.Context, step func(context.Context) (time.Time, error), hurry <-chan struct{}) error {
	for {
		next, err := step(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // to be ended is how it ends
		}
		if errors.Is(err, history.ErrClosed) {
			return err // there is nothing any more to write to
		}
		if err != nil {
			// The history cannot be written for now. What was not noted is due again.
			s.cfg.Warn(err)
			next = time.Time{}
		}
		wait := idle
		if !next.IsZero() {
			wait = min(max(next.Sub(s.cfg.Now()), time.Second), idle)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hurry:
		case <-time.After(wait):
		}
	}
}

// MaxExtra is how many endpoints beside the catalogue's may wait to be asked.
const MaxExtra = 10_000

// Errors of orders; compare with errors.Is.
var (
	// ErrNobody tells that names are not looked up, or endpoints not asked, by this sweeper.
	ErrNobody = errors.New("that is not swept here")
	// ErrTooMany tells that MaxExtra endpoints would wait, so that nothing of the order was taken.
	ErrTooMany = errors.New("too many endpoints wait to be asked")
)

// Soon makes names and endpoints due at once for Run, and returns. Names that the catalogue does not have are left out;
// endpoints that it does not lead to are asked without a name. The error is ErrNobody, ErrTooMany or the history's; then
// nothing was taken.
func (s *Sweeper) Soon(names []string, endpoints []minecanary.Endpoint) error {
	if len(names) > 0 && s.cfg.Resolver == nil || len(endpoints) > 0 && s.cfg.Verifier == nil {
		return ErrNobody
	}
	if err := s.prepare(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	extra := map[minecanary.Endpoint]bool{}
	for _, ep := range endpoints {
		if _, ok := s.endpoints[ep]; !ok && !s.extra[ep] {
			extra[ep] = true
		}
	}
	if len(s.extra)+len(extra) > MaxExtra {
		return ErrTooMany
	}
	maps.Copy(s.extra, extra)
	now := s.cfg.Now()
	for _, n := range names {
		if _, ok := s.names[n]; ok {
			s.names[n], s.wanted[n] = time.Time{}, now
		}
	}
	for _, ep := range endpoints {
		s.wanted[ep] = now
		if t, ok := s.endpoints[ep]; ok {
			t.due = time.Time{}
			s.endpoints[ep] = t
		}
	}
	for _, hurry := range []chan struct{}{s.hurryNames, s.hurryEndpoints} {
		select {
		case hurry <- struct{}{}:
		default:
		}
	}
	return nil
}

// Step asks all that is due now, names first, and gives when something is due next: the zero time for never. The error is
// the history's, or the context's.
func (s *Sweeper) Step(ctx context.Context) (next time.Time, err error) {
	names, err := s.stepNames(ctx)
	if err != nil {
		return time.Time{}, err
	}
	endpoints, err := s.stepEndpoints(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if names.IsZero() || !endpoints.IsZero() && endpoints.Before(names) {
		names = endpoints
	}
	return names, nil
}

func (s *Sweeper) stepNames(ctx context.Context) (next time.Time, err error) {
	if s.cfg.Resolver == nil {
		return time.Time{}, nil
	}
	if err := s.exchange(ctx); err != nil {
		return time.Time{}, err
	}
	if err := s.prepare(); err != nil {
		return time.Time{}, err
	}
	if err := s.resolve(ctx, s.dueNames(), s.nameDue); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.names {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, nil
}

func (s *Sweeper) stepEndpoints(ctx context.Context) (next time.Time, err error) {
	if s.cfg.Verifier == nil {
		return time.Time{}, nil
	}
	if err := s.exchange(ctx); err != nil {
		return time.Time{}, err
	}
	if err := s.prepare(); err != nil {
		return time.Time{}, err
	}
	if err := s.ask(ctx, s.dueEndpoints(), s.endpointDue); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.endpoints {
		if next.IsZero() || t.due.Before(next) {
			next = t.due
		}
	}
	return next, nil
}

// prepare reads what is known, once, and makes the schedule.
func (s *Sweeper) prepare() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	s.plan()
	return nil
}

// beliefs is the bucket of the history where what is believed of names is kept.
const beliefBucket = "belief"

// load reads what was believed when the last process ended, and up to where it had heard of others, with the lock held.
func (s *Sweeper) load() error {
	if s.loaded {
		return nil
	}
	err := s.cfg.Book.View(func(v *history.View) error {
		heard, err := v.Get(sharedBucket, heardKey)
		if err != nil {
			return err
		}
		if heard != nil {
			if err := json.Unmarshal(heard, &s.heard); err != nil {
				return fmt.Errorf("version of what others told: %w", err)
			}
		}
		for after := ""; ; {
			docs, err := v.List(beliefBucket, "", after, 1000)
			if err != nil || len(docs) == 0 {
				return err
			}
			for _, d := range docs {
				after = d.Key
				var b resolver.Belief
				if err := json.Unmarshal(d.JSON, &b); err != nil {
					return fmt.Errorf("belief of %s: %w", d.Key, err)
				}
				s.beliefs[d.Key] = b
			}
		}
	})
	s.loaded = err == nil
	return err
}

// jitter moves an interval by up to Jitter, each key and time differently.
func (s *Sweeper) jitter(key string, last time.Time, every time.Duration) time.Time {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(key)
	maphash.WriteComparable(&h, last.UnixNano())
	part := float64(h.Sum64()%2001)/1000 - 1
	return last.Add(every + time.Duration(part*Jitter*float64(every)))
}

// plan puts the names of the catalogue and the endpoints of their addresses on the schedule, and takes off what is gone,
// with the lock held.
func (s *Sweeper) plan() {
	now := s.cfg.Now()
	c := s.cfg.Catalog()
	names := make(map[string]time.Time, len(s.names))
	endpoints := make(map[minecanary.Endpoint]target, len(s.endpoints))
	s.status.Left = 0
	put := func(r catalog.Row, addr netip.Addr) {
		if r.Endpoint.Port == 0 {
			return
		}
		ep := minecanary.NewEndpoint(addr, r.Endpoint.Port, minecanary.TCP)
		if _, ok := endpoints[ep]; ok {
			return
		}
		if len(endpoints) == MaxEndpoints {
			s.status.Left++
			return
		}
		t := target{name: r.Server.Name, pool: r.Pool.Name, dialect: r.Endpoint.Dialect, tls: r.Endpoint.TLS}
		if old, ok := s.endpoints[ep]; ok {
			t.due = old.due
		} else if last := s.cfg.Index.LastAnswer(ep); !last.IsZero() {
			t.due = s.jitter(ep.String(), last, s.cfg.ProbeEvery)
		}
		if s.extra[ep] {
			t.due = time.Time{}
			delete(s.extra, ep)
		}
		endpoints[ep] = t
	}
	for _, host := range c.Hosts() {
		rows := c.Host(host)
		if addr := rows[0].Server.Address; addr.IsValid() {
			for _, r := range rows {
				put(r, addr)
			}
			continue
		}
		due, ok := s.names[host]
		if b := s.beliefs[host]; !ok && !b.At.IsZero() {
			due = s.jitter(host, b.At, s.cfg.ResolveEvery)
		}
		names[host] = due
		for _, a := range s.cfg.Index.AddressesOf(host, now) {
			if a.Mark != "" {
				continue // who answers there is not the pool alone
			}
			for _, r := range rows {
				put(r, a.Addr)
			}
		}
	}
	s.names, s.endpoints = names, endpoints
	maps.DeleteFunc(s.wanted, func(key any, _ time.Time) bool {
		switch key := key.(type) {
		case string:
			_, ok := names[key]
			return !ok
		case minecanary.Endpoint:
			_, ok := endpoints[key]
			return !ok && !s.extra[key]
		}
		return true
	})
	s.status.Names, s.status.Endpoints = len(names), len(endpoints)
}

// waiting is what is due, and since when.
type waiting[K any] struct {
	key   K
	since time.Time
}

// longest gives the keys, those that wait for the longest time first.
func longest[K any](all []waiting[K], compare func(a, b K) int) []K {
	slices.SortFunc(all, func(a, b waiting[K]) int { return cmp.Or(a.since.Compare(b.since), compare(a.key, b.key)) })
	keys := make([]K, len(all))
	for i, w := range all {
		keys[i] = w.key
	}
	return keys
}

// dueNames gives the names that are due, the longest overdue first. The lock is not held while they are put in order.
func (s *Sweeper) dueNames() []string {
	now := s.cfg.Now()
	var due []waiting[string]
	s.mu.Lock()
	for name, at := range s.names {
		if !at.After(now) {
			due = append(due, waiting[string]{name, at})
		}
	}
	s.mu.Unlock()
	return longest(due, cmp.Compare[string])
}

func (s *Sweeper) dueEndpoints() []minecanary.Endpoint {
	now := s.cfg.Now()
	var due []waiting[minecanary.Endpoint]
	s.mu.Lock()
	for ep, t := range s.endpoints {
		if !t.due.After(now) {
			due = append(due, waiting[minecanary.Endpoint]{ep, t.due})
		}
	}
	for ep := range s.extra {
		due = append(due, waiting[minecanary.Endpoint]{ep, time.Time{}})
	}
	s.mu.Unlock()
	return longest(due, minecanary.Endpoint.Compare)
}

// nameDue and endpointDue tell, with the lock held, whether it is still time: somebody else may have asked since the round
// began.
func (s *Sweeper) nameDue(name string) bool {
	due, ok := s.names[name]
	return ok && !due.After(s.cfg.Now())
}

func (s *Sweeper) endpointDue(ep minecanary.Endpoint) bool {
	t, ok := s.endpoints[ep]
	return ok && !t.due.After(s.cfg.Now()) || s.extra[ep]
}

// always is for what is asked whatever the schedule says.
func always[K any](K) bool { return true }

// claim tells whether a name or an endpoint may be asked and is not being asked already, and that it is now.
func claim[K any](s *Sweeper, key K, may func(K) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[key] || !may(key) {
		return false
	}
	s.busy[key] = true
	return true
}

// release ends a claim, with the lock held.
func (s *Sweeper) release(key any) { delete(s.busy, key) }

// Enabled tells whether anything is swept.
func (s *Sweeper) Enabled() bool { return s.cfg.Resolver != nil || s.cfg.Verifier != nil }

// Status tells what was done and what is due.
func (s *Sweeper) Status() Status {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	for _, at := range s.names {
		if !at.After(now) {
			st.NamesDue++
		}
	}
	st.EndpointsDue = len(s.extra)
	for _, t := range s.endpoints {
		if !t.due.After(now) {
			st.EndpointsDue++
		}
	}
	st.Probed, st.Untold = maps.Clone(s.status.Probed), len(s.untold)
	return st
}

// group is how many answers are written in one transaction at most: each waits for the disk.
const group = 256

// each calls ask for every item on parallel goroutines, and write with up to group results at a time, in one goroutine;
// done gets them afterwards, written or not. What was asked when the context ended is written. Nothing more is asked when
// writing fails.
func each[T, R any](ctx context.Context, parallel int, items []T, ask func(context.Context, T) (R, bool), write func([]R) error, done func([]R)) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan R)
	written := make(chan error, 1)
	go func() {
		var err error
		var batch []R
		flush := time.NewTicker(time.Second)
		defer flush.Stop()
		put := func() {
			if len(batch) > 0 && err == nil {
				if err = write(batch); err != nil {
					stop()
				}
			}
			done(batch)
			batch = nil
		}
		for {
			select {
			case r, ok := <-results:
				if !ok {
					put()
					written <- err
					return
				}
				if batch = append(batch, r); len(batch) == group {
					put()
				}
			case <-flush.C:
				put()
			}
		}
	}()
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, item := range items {
		if asking.Err() != nil {
			break
		}
		g.Go(func() error {
			if asking.Err() != nil {
				return nil // it ended while this one waited for its turn
			}
			if r, ok := ask(asking, item); ok {
				results <- r
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	close(results)
	return errors.Join(<-written, ctx.Err())
}

// keep passes on what the history did with an observation, but for one that it refuses: a clock that was wrong, or a
// verdict that is none, must not end the others.
func (s *Sweeper) keep(err error) error {
	if errors.Is(err, history.ErrInvalid) {
		s.cfg.Warn(fmt.Errorf("history: %w", err))
		return nil
	}
	return err
}

// Resolve looks names up now, whatever the schedule says. Names that the catalogue does not have, and those that are being
// looked up already, are left out.
func (s *Sweeper) Resolve(ctx context.Context, names ...string) error {
	if s.cfg.Resolver == nil {
		return ErrNobody
	}
	if err := s.prepare(); err != nil {
		return err
	}
	s.mu.Lock()
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := s.names[n]; return !ok })
	s.mu.Unlock()
	return s.resolve(ctx, known, always)
}

type answered struct {
	name   string
	belief resolver.Belief
	seen   history.Observation
}

func (s *Sweeper) resolve(ctx context.Context, names []string, may func(string) bool) error {
	var down atomic.Bool // no server can be reached: the others of this round would learn the same
	ask := func(ctx context.Context, name string) (answered, bool) {
		if down.Load() || !begin(ctx, s, name, may) {
			return answered{}, false
		}
		a, err := s.cfg.Resolver.Resolve(ctx, name)
		r, ok := s.answer(name, a, err, ctx.Err() != nil, &down)
		if !ok {
			s.giveBack(ctx, name)
		}
		return r, ok
	}
	write := func(all []answered) error {
		err := s.cfg.Book.Update(context.WithoutCancel(ctx), func(tx *history.Tx) error {
			for _, r := range all {
				if err := s.keep(tx.Resolved(r.seen)); err != nil {
					return err
				}
				if s.believesNewer(r) {
					continue
				}
				doc, err := json.Marshal(r.belief)
				if err != nil {
					return err
				}
				if err := tx.Put(beliefBucket, r.name, doc); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("history of names: %w", err)
		}
		var news []told
		now := s.cfg.Now()
		for _, r := range all {
			newer := s.believesNewer(r)
			s.mu.Lock()
			if !newer {
				s.beliefs[r.name] = r.belief
			}
			// From now, not from when the server answered: the resolver gives an answer again while its TTL lasts.
			s.nameNext(r.name, s.cfg.ResolveEvery)
			s.satisfied(r.name)
			s.mu.Unlock()
			news = append(news, s.answerEvent(r, now)...)
		}
		s.tell(ctx, news...)
		return s.cfg.Book.View(func(v *history.View) error {
			for _, r := range all {
				if err := s.cfg.Index.UpdateName(v, r.name, s.cfg.Mark); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return each(ctx, s.cfg.Parallel, names, ask, write, func(all []answered) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range all {
			s.release(r.name)
		}
	})
}

// answer takes what a lookup gave. It is false if there is nothing to write; then the name has its next time already, unless
// the round was ended.
func (s *Sweeper) answer(name string, a resolver.Answer, err error, ended bool, down *atomic.Bool) (answered, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ended {
			return answered{}, false
		}
		s.status.Resolved++
		s.status.Unresolved++
		s.nameNext(name, min(s.cfg.ResolveEvery, 5*time.Minute))
		if !errors.Is(err, resolver.ErrUnreachable) || !down.Swap(true) {
			s.cfg.Warn(err)
		}
		return answered{}, false
	}
	s.status.Resolved++
	if a.At.After(s.status.LastResolved) {
		s.status.LastResolved = a.At
	}
	if !a.Code.Final() {
		s.status.Unresolved++
	}
	if s.cfg.Share != nil && a.At.Before(s.beliefs[name].At) {
		// The resolver still had an answer from before the one that another process told.
		s.nameNext(name, s.cfg.ResolveEvery)
		s.satisfied(name)
		return answered{}, false
	}
	b := resolver.Keeper{}.Next(s.beliefs[name], a)
	return answered{name, b, observation(a, b)}, true
}

// believesNewer tells whether something newer than an answer was heard from another process since it was taken.
func (s *Sweeper) believesNewer(r answered) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Share != nil && r.belief.At.Before(s.beliefs[r.name].At)
}

// nameNext makes a name due again after an interval if it is on the schedule, with the lock held.
func (s *Sweeper) nameNext(name string, every time.Duration) {
	if _, ok := s.names[name]; ok {
		s.names[name] = s.jitter(name, s.cfg.Now(), every)
	}
}

// observation is what the history is told of an answer. Of a failure, and of a first "no such name", it takes the word
// alone: they end no address.
func observation(a resolver.Answer, b resolver.Belief) history.Observation {
	o := history.Observation{Name: a.Name, At: a.At, Code: strings.ToUpper(string(a.Code))}
	addrs := b.Addrs()
	switch {
	case a.Loop:
		o.Code = "LOOP"
	case !a.Code.Final():
	case len(a.Addrs) == 0 && len(addrs) > 0:
		o.Code = "DENIED"
	default:
		o.Addrs, o.Chain = addrs, a.Chain
	}
	return o
}

// Ask asks endpoints now, whatever the schedule says; those that the catalogue does not lead to are asked without a name.
// Those that are being asked already are left out.
func (s *Sweeper) Ask(ctx context.Context, endpoints ...minecanary.Endpoint) error {
	if s.cfg.Verifier == nil {
		return ErrNobody
	}
	if err := s.prepare(); err != nil {
		return err
	}
	return s.ask(ctx, endpoints, always)
}

type asked struct {
	endpoint minecanary.Endpoint
	verdict  minecanary.Verdict
	name     string
}

// retry is when an endpoint that our own rules refused is tried again at the earliest, and at the latest.
const retryFirst, retryLast = time.Minute, time.Hour

func (s *Sweeper) ask(ctx context.Context, endpoints []minecanary.Endpoint, may func(minecanary.Endpoint) bool) error {
	ask := func(ctx context.Context, ep minecanary.Endpoint) (asked, bool) {
		if !begin(ctx, s, ep, may) {
			return asked{}, false
		}
		if s.pace.Wait(ctx) != nil { // only the context ends the wait
			s.giveBack(ctx, ep)
			return asked{}, false
		}
		s.mu.Lock()
		t := s.endpoints[ep]
		s.mu.Unlock()
		v, err := s.cfg.Verifier.Verify(ctx, minecanary.Question{
			Endpoint: ep, Catalogue: true, TLS: t.tls, Name: t.name, First: t.dialect, Why: "the catalogue has it as a server of " + cmp.Or(t.pool, "a pool"),
		})
		r, ok := s.verdict(asked{ep, v, t.name}, err, ctx.Err() != nil)
		if !ok {
			s.giveBack(ctx, ep)
		}
		return r, ok
	}
	write := func(all []asked) error {
		err := s.cfg.Book.Update(context.WithoutCancel(ctx), func(tx *history.Tx) error {
			for _, r := range all {
				if err := s.keep(tx.Probed(history.ProbeOf(r.verdict, r.name))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("history of endpoints: %w", err)
		}
		var news []told
		now := s.cfg.Now()
		for _, r := range all {
			s.mu.Lock()
			s.endpointNext(r.endpoint, s.cfg.ProbeEvery)
			s.satisfied(r.endpoint)
			s.mu.Unlock()
			news = append(news, s.probeEvent(r, now)...)
		}
		s.tell(ctx, news...)
		return s.cfg.Book.View(func(v *history.View) error {
			for _, r := range all {
				if err := s.cfg.Index.LoadEndpoint(v, r.endpoint); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return each(ctx, s.cfg.Parallel, endpoints, ask, write, func(all []asked) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range all {
			s.release(r.endpoint)
		}
	})
}

// verdict takes what an endpoint answered. It is false if there is nothing to write; then the endpoint has its next time
// already, unless the round was ended.
func (s *Sweeper) verdict(r asked, err error, ended bool) (asked, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended {
		return asked{}, false
	}
	now := s.cfg.Now()
	if err != nil {
		s.cfg.Warn(fmt.Errorf("ask %s: %w", r.endpoint, err))
		r.verdict = minecanary.Verdict{Status: minecanary.Blocked}
	}
	s.status.Probed[r.verdict.Status]++
	s.status.LastAsked = now
	if ownRefusal(r.verdict.Status) {
		// Our own refusal says nothing about the endpoint.
		s.endpointNext(r.endpoint, min(max(r.verdict.Expires.Sub(now), retryFirst), retryLast))
		if r.verdict.Expires.After(now.Add(retryLast)) {
			delete(s.extra, r.endpoint) // a rule refused, not a budget
		}
		return asked{}, false
	}
	delete(s.extra, r.endpoint)
	return r, true
}

// endpointNext makes an endpoint due again after an interval if it is on the schedule, with the lock held.
func (s *Sweeper) endpointNext(ep minecanary.Endpoint, every time.Duration) {
	if t, ok := s.endpoints[ep]; ok {
		t.due = s.jitter(ep.String(), s.cfg.Now(), every)
		s.endpoints[ep] = t
	}
}

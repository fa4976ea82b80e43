package sweep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/resolver"
)

// Share lets several processes sweep as if they were one: who has a claim on a name or endpoint asks it, and tells the
// others what came of it. It is all that a sweeper has in common with others: history and schedule are each process's own.
// Its methods may be called from several goroutines.
type Share interface {
	// Claim takes a key for a time, unless another process has it: then ok is false. What this process has already it takes
	// anew. version is that of the newest event at this moment (see Since).
	Claim(ctx context.Context, key string, lease time.Duration) (ok bool, version uint64, err error)
	// Tell tells events to all processes in this order, and ends this process's claims of the keys in done, both or neither.
	// What is told twice, because a reply was lost, is in Since twice.
	Tell(ctx context.Context, events [][]byte, done []string) error
	// Since gives events that were told after a version, the oldest first, and the version to go on from: there may be more
	// as long as there are any. Version 0 is before the oldest that is kept. The events of this process are among them.
	Since(ctx context.Context, version uint64) (events [][]byte, now uint64, err error)
}

// Times and bounds of what is shared.
const (
	// ClaimFor is how long a process that died keeps the others from what it was asking; the wait for its turn (PerSecond)
	// comes on top. It is longer than an answer takes: a slow server's 45 s, or a name's place behind those of its zone.
	ClaimFor = 5 * time.Minute
	// claimAgain is when to look again at what another process is asking.
	claimAgain = time.Minute
	// ShareTimeout is how long a round waits for one answer of the Share at most, ShareAgain how long it is left alone after
	// one that did not come: until then this process sweeps as if it were the only one.
	ShareTimeout = 2 * time.Second
	ShareAgain   = 30 * time.Second
	// hearEvery is how often Run takes in what others told.
	hearEvery = 5 * time.Second
	// MaxEvent bounds one event in bytes; one that is longer is told without its evidence, or not at all.
	MaxEvent = 128 << 10
	// MaxUntold bounds the events that wait for a Share that is away, in bytes; the oldest go.
	MaxUntold = 8 << 20
	// tellBytes is how much is told in one call, but for one event that is longer.
	tellBytes = 1 << 20
)

// eventVersion is the form of events; those of another one are left out.
const eventVersion = 1

// event is what one process tells the others: either of a name or of an endpoint.
type event struct {
	Version int `json:"v"`
	// By is the process that tells it, a random word.
	By string `json:"by"`
	// Done is when the answer was taken, by the clock of that process.
	Done time.Time `json:"done"`
	Name *named    `json:"name,omitempty"`
	// Probe is of an endpoint. Swept tells that its schedule asked, and not somebody's suspicion.
	Probe *history.Probe `json:"probe,omitempty"`
	Swept bool           `json:"swept,omitempty"`
}

// named is what a lookup gave: the observation but for its addresses, which are those of the belief.
type named struct {
	Name   string          `json:"name"`
	At     time.Time       `json:"at"`
	Code   string          `json:"code"`
	Chain  []string        `json:"chain,omitempty"`
	Belief resolver.Belief `json:"belief"`
}

// observation is what the history is told of it.
func (n *named) observation() history.Observation {
	o := history.Observation{Name: n.Name, At: n.At, Code: n.Code}
	if n.Code == history.NoError || n.Code == history.NXDomain {
		o.Addrs, o.Chain = n.Belief.Addrs(), n.Chain
	}
	return o
}

var errEvent = errors.New("it is no event of a sweep")

// encode writes an event within MaxEvent.
func (e event) encode() ([]byte, error) {
	e.Version = eventVersion
	b, err := json.Marshal(e)
	if err == nil && len(b) > MaxEvent && e.Probe != nil {
		short := *e.Probe
		short.Evidence = nil
		e.Probe = &short
		b, err = json.Marshal(e)
	}
	if err == nil && len(b) > MaxEvent {
		err = fmt.Errorf("it has %d bytes, and %d may be told", len(b), MaxEvent)
	}
	return b, err
}

// parseEvent reads an event. What is in it is for the history to judge.
func parseEvent(b []byte) (event, error) {
	var e event
	if len(b) > MaxEvent {
		return event{}, errEvent
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return event{}, fmt.Errorf("%w: %w", errEvent, err)
	}
	if e.Version != eventVersion || (e.Name == nil) == (e.Probe == nil) || e.Done.IsZero() {
		return event{}, errEvent
	}
	if e.Name != nil {
		name, err := history.CanonicalName(e.Name.Name)
		if err != nil {
			return event{}, fmt.Errorf("%w: %w", errEvent, err)
		}
		e.Name.Name = name
	} else {
		ep := e.Probe.Endpoint
		if !ep.Addr.IsValid() || ep.Port == 0 {
			return event{}, errEvent
		}
		e.Probe.Endpoint = minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport)
	}
	return e, nil
}

// shareKey is a name or an endpoint as processes call it.
func shareKey(key any) string {
	if ep, ok := key.(minecanary.Endpoint); ok {
		return "e:" + ep.String()
	}
	return fmt.Sprint("n:", key)
}

// told is what waits to be told: an event, a claim that ends, or both.
type told struct {
	event []byte
	key   string
}

// begin claims a name or endpoint here and among all processes, and tells whether it is to be asked now.
func begin[K comparable](ctx context.Context, s *Sweeper, key K, may func(K) bool) bool {
	if !claim(s, key, may) {
		return false
	}
	if s.claimShared(ctx, key, func() bool { return may(key) }) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(key)
	return false
}

// claimShared claims a key among all processes. What others told before they gave it back is taken in first, so nothing is
// asked that one of them has just asked.
func (s *Sweeper) claimShared(ctx context.Context, key any, may func() bool) bool {
	if s.alone() {
		return true
	}
	asking, cancel := context.WithTimeout(ctx, ShareTimeout)
	ok, version, err := s.cfg.Share.Claim(asking, shareKey(key), s.lease)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		s.away(err)
		return true // to ask twice is better than never
	}
	s.reached()
	if !ok {
		s.later(key)
		return false
	}
	err = s.hear(ctx, version)
	s.mu.Lock()
	still := may()
	s.mu.Unlock()
	if err == nil && still && ctx.Err() == nil {
		return true
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Warn(err)
	}
	s.tell(ctx, told{key: shareKey(key)})
	return false
}

// giveBack ends a claim without anything to tell.
func (s *Sweeper) giveBack(ctx context.Context, key any) {
	s.tell(ctx, told{key: shareKey(key)})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(key)
}

// later puts off what another process is asking.
func (s *Sweeper) later(key any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notBefore(key, s.cfg.Now().Add(claimAgain))
}

// notBefore moves what is due earlier, if it is on the schedule, with the lock held.
func (s *Sweeper) notBefore(key any, at time.Time) {
	switch key := key.(type) {
	case string:
		if due, ok := s.names[key]; ok && due.Before(at) {
			s.names[key] = at
		}
	case minecanary.Endpoint:
		if t, ok := s.endpoints[key]; ok && t.due.Before(at) {
			t.due = at
			s.endpoints[key] = t
		}
	}
}

// alone tells whether this process goes on by itself: it shares with nobody, or the Share did not answer just now.
func (s *Sweeper) alone() bool {
	if s.cfg.Share == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Now().Before(s.aloneUntil)
}

// away notes that the Share does not answer, and tells of the first time of a row.
func (s *Sweeper) away(err error) {
	s.mu.Lock()
	first := s.aloneUntil.IsZero()
	s.aloneUntil = s.cfg.Now().Add(ShareAgain)
	s.mu.Unlock()
	if first {
		s.cfg.Warn(fmt.Errorf("sweeps are not shared for now, going on alone: %w", err))
	}
}

// reached notes that the Share answered.
func (s *Sweeper) reached() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aloneUntil = time.Time{}
}

// TellVerdicts lets the other processes know what endpoints answered that were asked for another reason than the schedule.
// It does not wait: Run tells them. Verdicts that only say that our own guard or budget refused are left out.
func (s *Sweeper) TellVerdicts(verdicts []minecanary.Verdict) {
	if s.cfg.Share == nil {
		return
	}
	all := make([]told, 0, len(verdicts))
	for i := range verdicts {
		if v := &verdicts[i]; !ownRefusal(v.Status) {
			p := history.ProbeOf(*v, "")
			all = append(all, s.toldOf(event{Done: v.At, Probe: &p}, "")...)
		}
	}
	s.enqueue(all)
	select {
	case s.hurryShare <- struct{}{}:
	default:
	}
}

// ownRefusal tells a status that says nothing about an endpoint.
func ownRefusal(s minecanary.VerdictStatus) bool {
	return s == minecanary.Blocked || s == minecanary.Unknown || s == ""
}

// toldOf makes what is told of an event and a claim that ends with it; the claim alone if the event cannot be told.
func (s *Sweeper) toldOf(e event, key string) []told {
	if s.cfg.Share == nil {
		return nil
	}
	e.By = s.id
	e.Done = e.Done.UTC()
	b, err := e.encode()
	if err != nil {
		s.cfg.Warn(fmt.Errorf("tell others of a sweep: %w", err))
		b = nil
	}
	return []told{{b, key}}
}

// enqueue adds what is to be told, within MaxUntold.
func (s *Sweeper) enqueue(all []told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untold = append(s.untold, all...)
	s.bound()
}

// bound drops the oldest of what is untold beyond MaxUntold, with the lock held.
func (s *Sweeper) bound() {
	size := 0
	for i, t := range slices.Backward(s.untold) {
		if size += len(t.event) + len(t.key); size > MaxUntold {
			s.untold = slices.Clone(s.untold[i+1:])
			return
		}
	}
}

// tell tells others what waits and what comes with it. While the Share is away events wait on, and claims run out by
// themselves.
func (s *Sweeper) tell(ctx context.Context, all ...told) {
	if s.cfg.Share == nil {
		return
	}
	s.enqueue(all)
	s.telling.Lock()
	defer s.telling.Unlock()
	for !s.alone() {
		some := s.untoldSome()
		if len(some) == 0 {
			return
		}
		var events [][]byte
		var done []string
		for _, t := range some {
			if t.event != nil {
				events = append(events, t.event)
			}
			if t.key != "" {
				done = append(done, t.key)
			}
		}
		// Also when the round was ended: nobody shall wait for the claims.
		telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), ShareTimeout)
		err := s.cfg.Share.Tell(telling, events, done)
		cancel()
		if err == nil {
			s.reached()
			continue
		}
		s.away(err)
		s.mu.Lock()
		again := make([]told, 0, len(events)+len(s.untold))
		for _, e := range events {
			again = append(again, told{event: e})
		}
		s.untold = append(again, s.untold...)
		s.bound()
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A claim that is not ended now must not be later: by then it may be another one on the same key.
	for i := range s.untold {
		s.untold[i].key = ""
	}
	s.untold = slices.DeleteFunc(s.untold, func(t told) bool { return t.event == nil })
}

// untoldSome takes the oldest of what is untold.
func (s *Sweeper) untoldSome() []told {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < min(len(s.untold), group) && size < tellBytes {
		size += len(s.untold[n].event)
		n++
	}
	some := s.untold[:n:n]
	s.untold = slices.Clone(s.untold[n:])
	return some
}

// follow tells others and hears of them until the context ends.
func (s *Sweeper) follow(ctx context.Context) error {
	if s.cfg.Share == nil {
		return nil
	}
	tick := time.NewTicker(hearEvery)
	defer tick.Stop()
	for {
		if err := s.exchange(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, history.ErrClosed) {
				return err
			}
			s.cfg.Warn(err)
		}
		select {
		case <-ctx.Done():
			s.tell(ctx) // what the others have not heard yet
			return nil
		case <-tick.C:
		case <-s.hurryShare:
		}
	}
}

// exchange tells others what waits, and takes in what they told. The error is the history's.
func (s *Sweeper) exchange(ctx context.Context) error {
	s.tell(ctx)
	return s.hear(ctx, 0)
}

// Where the history has the version up to which others were heard.
const (
	sharedBucket = "sweep"
	heardKey     = "heard"
)

// hear takes in what others told, unless it was taken in up to this version already; 0 looks in any case. The error is the
// history's.
func (s *Sweeper) hear(ctx context.Context, version uint64) error {
	if s.alone() {
		return nil
	}
	s.hearing.Lock()
	defer s.hearing.Unlock()
	s.mu.Lock()
	err := s.load()
	s.mu.Unlock()
	if err != nil || version != 0 && version == s.heard {
		return err
	}
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, ShareTimeout)
		list, now, err := s.cfg.Share.Since(asking, s.heard)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				s.away(err)
			}
			return nil
		}
		s.reached()
		if err := s.takeIn(ctx, s.foreign(list), now); err != nil {
			return fmt.Errorf("history of what others found: %w", err)
		}
		s.heard = now
		if len(list) == 0 {
			return nil
		}
	}
	return nil
}

// foreign reads the events of others; what cannot be read is told and left out.
func (s *Sweeper) foreign(list [][]byte) []event {
	var all []event
	for _, b := range list {
		e, err := parseEvent(b)
		if err != nil {
			s.cfg.Warn(fmt.Errorf("hear of others' sweeps: %w", err))
		} else if e.By != s.id {
			all = append(all, e)
		}
	}
	return all
}

// takeIn writes what others found with the times at which they did, moves the schedule, and notes the version. Events that
// were taken in before change nothing.
func (s *Sweeper) takeIn(ctx context.Context, all []event, version uint64) error {
	if len(all) == 0 {
		return nil
	}
	newer := map[string]resolver.Belief{} // than what was believed here
	var taken []event
	err := s.cfg.Book.Update(ctx, func(tx *history.Tx) error {
		for _, e := range all {
			var err error
			if e.Name != nil {
				err = s.takeInName(tx, e.Name, newer)
			} else {
				err = tx.Probed(*e.Probe)
			}
			if err == nil {
				taken = append(taken, e)
			}
			if err := s.keep(err); err != nil {
				return err
			}
		}
		doc, err := json.Marshal(version)
		if err != nil {
			return err
		}
		return tx.Put(sharedBucket, heardKey, doc)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	maps.Copy(s.beliefs, newer)
	for _, e := range taken {
		s.heardOf(e)
	}
	s.status.Heard += uint64(len(taken))
	s.mu.Unlock()
	known := s.cfg.Catalog()
	return s.cfg.Book.View(func(v *history.View) error {
		for _, e := range taken {
			var err error
			switch {
			case e.Probe != nil:
				err = s.cfg.Index.LoadEndpoint(v, e.Probe.Endpoint)
			case len(known.Host(e.Name.Name)) == 0: // another process has more in its catalogue
			case newer[e.Name.Name].At.Equal(e.Name.Belief.At):
				err = s.cfg.Index.UpdateName(v, e.Name.Name, s.cfg.Mark)
			default:
				err = s.cfg.Index.LoadName(v, e.Name.Name, s.cfg.Mark)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// takeInName writes a lookup, and what to believe if that is newer than what is believed.
func (s *Sweeper) takeInName(tx *history.Tx, n *named, newer map[string]resolver.Belief) error {
	if err := tx.Resolved(n.observation()); err != nil {
		return err
	}
	b, ok := newer[n.Name]
	if !ok {
		s.mu.Lock()
		b = s.beliefs[n.Name]
		s.mu.Unlock()
	}
	if !n.Belief.At.After(b.At) {
		return nil
	}
	doc, err := json.Marshal(n.Belief)
	if err != nil {
		return err
	}
	newer[n.Name] = n.Belief
	return tx.Put(beliefBucket, n.Name, doc)
}

// heardOf moves the schedule: what another process asked is not due here before its time, unless somebody wants it asked
// since. It is called with the lock held.
func (s *Sweeper) heardOf(e event) {
	var key any
	var word string
	every := s.cfg.ProbeEvery
	switch {
	case e.Name != nil:
		key, word, every = e.Name.Name, e.Name.Name, s.cfg.ResolveEvery
	case e.Swept:
		key, word = e.Probe.Endpoint, e.Probe.Endpoint.String()
	default:
		return
	}
	done := e.Done
	if now := s.cfg.Now(); done.After(now) {
		done = now // its clock is ahead
	}
	if wanted, ok := s.wanted[key]; ok {
		if done.Before(wanted) {
			return
		}
		s.satisfied(key)
	}
	s.notBefore(key, s.jitter(word, done, every))
}

// satisfied notes that what somebody wanted asked was, with the lock held.
func (s *Sweeper) satisfied(key any) {
	delete(s.wanted, key)
	if ep, ok := key.(minecanary.Endpoint); ok {
		delete(s.extra, ep)
	}
}

// leaseOf is how long a claim holds: a turn of all that are asked at the same time, and ClaimFor.
func leaseOf(cfg Config) time.Duration {
	turn := 0.0
	if cfg.PerSecond > 0 {
		turn = float64(cfg.Parallel) / cfg.PerSecond
	}
	return ClaimFor + time.Duration(min(turn, time.Hour.Seconds())*float64(time.Second))
}

// answerEvent and probeEvent are what others are told of what was just written.
func (s *Sweeper) answerEvent(r answered, done time.Time) []told {
	n := named{Name: r.name, At: r.seen.At, Code: cmp.Or(r.seen.Code, history.NoError), Chain: r.seen.Chain, Belief: r.belief}
	return s.toldOf(event{Done: done, Name: &n}, shareKey(r.name))
}

func (s *Sweeper) probeEvent(r asked, done time.Time) []told {
	p := history.ProbeOf(r.verdict, r.name)
	return s.toldOf(event{Done: done, Probe: &p, Swept: true}, shareKey(r.endpoint))
}

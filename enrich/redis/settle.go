package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// mark is what is to be changed of a stored suspect, told in a way that holds whatever others add to it in between.
type mark struct {
	// told: at least these numbers for all segments of a window.
	told map[enrich.Window]flags
	// closed and gone name segments by what they hold: one that has grown since is not meant.
	closed, gone []minecanary.Aggregate
	// marked is the mark of the suspect; nil leaves it.
	marked *bool
}

func (m *mark) empty() bool {
	return len(m.told) == 0 && len(m.closed) == 0 && len(m.gone) == 0 && m.marked == nil
}

// transform gives the stored form that a mark makes of another: none if no segment is left.
func (m *mark) transform(s *Store, raw string) ([]byte, error) {
	segs, err := decode(raw, nil)
	if err != nil {
		return nil, err
	}
	marked := slices.ContainsFunc(segs, func(g segment) bool { return g.marked })
	if m.marked != nil {
		marked = *m.marked
	}
	kept := segs[:0]
	for _, g := range segs {
		if slices.Contains(m.gone, g.aggregate) {
			continue
		}
		if t, ok := m.told[g.window(s.report)]; ok {
			g.reports, g.told = max(g.reports, t.reports), max(g.told, t.told)
		}
		if slices.Contains(m.closed, g.aggregate) {
			g.closed, g.reopened = true, false
		}
		g.marked = false
		kept = append(kept, g)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	kept[0].marked = marked
	return encode(kept, nil), nil
}

// show shows a stored suspect, with what is marked but not stored yet, and gives what the callback changed, added to what
// was marked before; nil for nothing. later tells that a report is among it, which must not be stored before the sinks
// have it.
func (s *Store) show(ctx context.Context, shard int, pair minecanary.Pair, raw string, fn func(*enrich.Suspect) bool) (m *mark, later bool, err error) {
	if s.segs, err = decode(raw, s.segs); err != nil {
		return nil, false, fmt.Errorf("%s at %s: %w", pair.Client, pair.Server, err)
	}
	if len(s.marks) > 0 {
		m = s.marks[pair]
	}
	decided := s.shards[shard].decided
	v := enrich.Suspect{Pair: pair, Segments: s.view[:0]}
	s.before = s.before[:0]
	reopened := false
	for i := range s.segs {
		g := &s.segs[i]
		v.Marked = v.Marked || g.marked
		w := g.window(s.report)
		one := enrich.Segment{
			Window: w, Aggregate: g.aggregate, ClientPort: g.port, UID: g.uid, Reports: g.reports, Told: g.told,
			Closed: g.closed || w < decided && !g.reopened,
		}
		if m != nil {
			if slices.Contains(m.gone, g.aggregate) {
				continue
			}
			if t, ok := m.told[w]; ok {
				one.Reports, one.Told = max(one.Reports, t.reports), max(one.Told, t.told)
			}
			one.Closed = one.Closed || slices.Contains(m.closed, g.aggregate)
		}
		if one.Sensor, err = s.sensorName(ctx, g.sensor); err != nil {
			return nil, false, err
		}
		reopened = reopened || g.reopened
		v.Segments = append(v.Segments, one)
		s.before = append(s.before, flags{one.Reports, one.Told, one.Closed})
	}
	if m != nil && m.marked != nil {
		v.Marked = *m.marked
	}
	s.view = v.Segments
	if len(v.Segments) == 0 {
		return m, false, nil
	}
	all, marked := v.Segments, v.Marked
	if !fn(&v) {
		v.Segments = nil
	}
	change := func() {
		if m == nil {
			m = &mark{}
		}
	}
	for i := range all {
		if i >= len(v.Segments) {
			change()
			m.gone = append(m.gone, all[i].Aggregate)
			continue
		}
		seg, old := &v.Segments[i], s.before[i]
		told := seg.Reports != old.reports || seg.Told != old.told
		if told {
			change()
			if m.told == nil {
				m.told = map[enrich.Window]flags{}
			}
			m.told[seg.Window] = flags{reports: seg.Reports, told: seg.Told}
			later = true
		}
		// That a window without a report is closed follows from what the shard has decided.
		if seg.Closed && (!old.closed && (told || reopened) || told) {
			change()
			m.closed = append(m.closed, seg.Aggregate)
		}
	}
	if len(v.Segments) > 0 && v.Marked != marked {
		change()
		is := v.Marked
		m.marked = &is
	}
	return m, later, nil
}

// change is a suspect that is to be changed.
type change struct {
	shard  int
	inc    string // incarnation of the shard that the key belongs to
	key    string
	client string
	pair   minecanary.Pair
	mark   *mark
	raw    string // as read; "" if it has to be read
}

// Each implements enrich.Store. Changes without a report are stored at once, the others with the next Save.
func (s *Store) Each(ctx context.Context, shards []int, fn func(*enrich.Suspect) bool) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	wanted := make([]bool, s.cfg.Shards)
	for i := range wanted {
		wanted[i] = shards == nil || slices.Contains(shards, i)
	}
	if err := s.deciding(ctx, shards); err != nil {
		return err
	}
	return s.suspectKeys(ctx, wanted, func(list []change) error {
		var due []change
		err := s.read(ctx, list, func(c change) error {
			_, pending := s.marks[c.pair]
			m, later, err := s.show(ctx, c.shard, c.pair, c.raw, fn)
			switch {
			case err != nil:
				return err
			case m == nil || m.empty():
			case later || pending:
				s.marks[c.pair] = m
			default:
				c.mark = m
				due = append(due, c)
			}
			return nil
		})
		if err != nil {
			return err
		}
		_, err = s.settle(ctx, due)
		return err
	})
}

// deciding tells shards that their windows are being decided.
func (s *Store) deciding(ctx context.Context, shards []int) error {
	return s.run(ctx, len(shards), func(p redis.Pipeliner, k int) redis.Cmder {
		i := shards[k]
		return decidingScript.EvalSha(ctx, p, []string{s.key(i, "m")}, s.incOf(i), s.shards[i].newest/s.report, s.name)
	}, func(int, redis.Cmder) error { return nil })
}

// read hands over the suspects of endpoints.
func (s *Store) read(ctx context.Context, endpoints []change, fn func(change) error) error {
	return s.run(ctx, len(endpoints), func(p redis.Pipeliner, i int) redis.Cmder {
		return p.HGetAll(ctx, endpoints[i].key)
	}, func(i int, cmd redis.Cmder) error {
		for client, raw := range cmd.(*redis.MapStringStringCmd).Val() {
			c := endpoints[i]
			addr, ok := readAddr([]byte(client))
			if !ok {
				return errValue
			}
			c.client, c.raw, c.pair.Client = client, raw, addr
			if err := fn(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// suspectKeys hands over the keys of the wanted shards' endpoints, a page at a time; some more than once.
func (s *Store) suspectKeys(ctx context.Context, wanted []bool, fn func([]change) error) error {
	s.mu.Lock()
	incs := slices.Clone(s.inc)
	s.mu.Unlock()
	var list []change
	return s.keys(ctx, func(keys []string) error {
		list = list[:0]
		for _, key := range keys {
			shard, ep, ok := s.pairOf(key, incs)
			if ok && wanted[shard] {
				list = append(list, change{shard: shard, inc: incs[shard], key: key, pair: minecanary.Pair{Server: ep}})
			}
		}
		if err := fn(list); err != nil {
			return err
		}
		return s.renew(ctx)
	})
}

// ownError is the failure of what is done with keys, not of a server or of the way to it.
type ownError struct{ error }

// keys hands over the keys of all suspects, a page at a time, on one goroutine at a time. A place in a scan means nothing
// to another server, so the scan of a server that failed on the way begins anew, on whoever is in its place.
func (s *Store) keys(ctx context.Context, fn func([]string) error) error {
	pattern := s.cfg.Prefix + "{*}e*"
	scan := func(ctx context.Context, c *redis.Client, fn func([]string) error) error {
		conn := c.Conn() // never another server's
		defer func() { _ = conn.Close() }()
		for cursor := uint64(0); ; {
			keys, next, err := conn.Scan(ctx, cursor, pattern, page).Result()
			if err != nil {
				return err
			}
			if err := fn(keys); err != nil {
				return ownError{err}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	var mu sync.Mutex
	done := map[string]bool{}
	all := func() error {
		switch c := s.client.(type) {
		case *redis.Client:
			return scan(ctx, c, fn)
		case *redis.ClusterClient:
			return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
				addr := c.Options().Addr
				mu.Lock()
				was := done[addr]
				mu.Unlock()
				if was {
					return nil
				}
				err := scan(ctx, c, func(keys []string) error {
					mu.Lock()
					defer mu.Unlock()
					return fn(keys)
				})
				mu.Lock()
				defer mu.Unlock()
				done[addr] = err == nil
				return err
			})
		}
		return ownError{errors.New("redis: unknown client")}
	}
	var wait backoff
	for {
		err := all()
		if own := (ownError{}); errors.As(err, &own) {
			return own.error
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || permanent(err) {
			return fmt.Errorf("redis: %w", err)
		}
		s.failing(err)
		if c, ok := s.client.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

// learn asks for the incarnation of shards that this process has not met yet.
func (s *Store) learn(ctx context.Context) error {
	var unknown []int
	s.mu.Lock()
	for i, inc := range s.inc {
		if inc == "" {
			unknown = append(unknown, i)
		}
	}
	s.mu.Unlock()
	return s.run(ctx, len(unknown), func(p redis.Pipeliner, k int) redis.Cmder {
		return p.HGet(ctx, s.key(unknown[k], "m"), "i")
	}, func(k int, cmd redis.Cmder) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.inc[unknown[k]] == "" {
			s.inc[unknown[k]] = cmd.(*redis.StringCmd).Val()
		}
		return nil
	})
}

// settle stores changes, again on top of what others stored in between, until all are in. It gives the number of suspects
// that were removed.
func (s *Store) settle(ctx context.Context, list []change) (removed int, err error) {
	for len(list) > 0 {
		n := min(len(list), 64*settleMost)
		some, err := s.settleSome(ctx, list[:n])
		if removed += some; err != nil {
			return removed, err
		}
		list = list[n:]
	}
	return removed, nil
}

func (s *Store) settleSome(ctx context.Context, list []change) (removed int, err error) {
	for len(list) > 0 {
		var unread []int
		for i := range list {
			if list[i].raw == "" {
				unread = append(unread, i)
			}
		}
		err := s.run(ctx, len(unread), func(p redis.Pipeliner, k int) redis.Cmder {
			c := &list[unread[k]]
			return p.HGet(ctx, c.key, c.client)
		}, func(k int, cmd redis.Cmder) error {
			list[unread[k]].raw = cmd.(*redis.StringCmd).Val()
			return nil
		})
		if err != nil {
			return removed, err
		}
		// One call per shard and settleMost suspects.
		type group struct {
			keys  []string
			args  []any
			items []int
		}
		open := map[int]*group{}
		var groups []*group
		for i := range list {
			c := &list[i]
			if c.raw == "" {
				continue // it has left
			}
			becomes, err := c.mark.transform(s, c.raw)
			if err != nil {
				return removed, fmt.Errorf("%s at %s: %w", c.pair.Client, c.pair.Server, err)
			}
			if string(becomes) == c.raw {
				continue
			}
			g := open[c.shard]
			if g == nil || len(g.items) == settleMost || g.args[0] != c.inc {
				g = &group{keys: []string{s.key(c.shard, "m")}, args: []any{c.inc}}
				open[c.shard] = g
				groups = append(groups, g)
			}
			g.keys = append(g.keys, c.key)
			g.args = append(g.args, c.client, c.raw, becomes)
			g.items = append(g.items, i)
		}
		var again []change
		err = s.run(ctx, len(groups), func(p redis.Pipeliner, k int) redis.Cmder {
			return settleScript.EvalSha(ctx, p, groups[k].keys, groups[k].args...)
		}, func(k int, cmd redis.Cmder) error {
			done, err := cmd.(*redis.Cmd).Text()
			if err != nil {
				return fmt.Errorf("redis: %w", err)
			}
			for j, i := range groups[k].items {
				switch {
				case j >= len(done): // the shard was lost, and the suspect with it
				case done[j] == '0':
					c := list[i]
					c.raw = ""
					again = append(again, c)
				case done[j] == '2':
					removed++
					s.shards[list[i].shard].suspects--
				}
			}
			return nil
		})
		if err != nil {
			return removed, err
		}
		list = again
	}
	return removed, nil
}

// Save implements enrich.Store: it stores what callbacks changed, then what was decided.
func (s *Store) Save(ctx context.Context) error {
	list := make([]change, 0, len(s.marks))
	for pair, m := range s.marks {
		endpoint := appendEndpoint(nil, pair.Server)
		i := shardOf(endpoint, s.cfg.Shards)
		list = append(list, change{
			shard: i, inc: s.incOf(i), key: s.key(i, "e"+s.incOf(i)) + string(endpoint), client: string(appendAddr(nil, pair.Client)), pair: pair, mark: m,
		})
	}
	if _, err := s.settle(ctx, list); err != nil {
		return err
	}
	clear(s.marks)
	err := s.run(ctx, len(s.decided), func(p redis.Pipeliner, k int) redis.Cmder {
		d := s.decided[k]
		return decidedScript.EvalSha(ctx, p, []string{s.key(d.shard, "m")}, s.incOf(d.shard), int64(d.limit), d.reopened, s.name)
	}, func(k int, _ redis.Cmder) error {
		d := s.decided[k]
		s.shards[d.shard].decided = max(s.shards[d.shard].decided, d.limit)
		s.shards[d.shard].settled = d.reopened
		return nil
	})
	s.decided = s.decided[:0]
	return err
}

// bound gives up the least suspicious suspects when there are too many.
func (s *Store) bound(ctx context.Context) error {
	if s.suspects() <= s.cfg.Max {
		return nil
	}
	return s.drop(ctx, 0)
}

// suspects is how many there are, as far as this process knows.
func (s *Store) suspects() int {
	total := int64(0)
	for i := range s.shards {
		total += s.shards[i].suspects
	}
	return int(total)
}

// dropLock is how long a process that gives up suspects keeps others from doing it as well, unless it tells that it goes
// on.
const dropLock = 30 * time.Second

// candidate is a suspect that may have to go: that of the lowest rank, and among equals the one that was seen last the
// longest time ago.
type candidate struct {
	rank float64
	last int64
	pair minecanary.Pair
}

func (a candidate) compare(b candidate) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.last, b.last), a.pair.Compare(b.pair))
}

// errEnough ends a look at all suspects early.
var errEnough = errors.New("enough was seen")

// lock takes or keeps the lock of drop; 0 gives it back.
func (s *Store) lock(ctx context.Context, hold time.Duration) (mine bool, err error) {
	err = s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return lockScript.EvalSha(ctx, p, []string{s.key(-1, "drop")}, s.name, hold.Milliseconds())
	}, func(_ int, cmd redis.Cmder) error {
		mine, err = cmd.(*redis.Cmd).Bool()
		return err
	})
	return mine, err
}

// drop gives up the least suspicious suspects: those over the bound and one in dropShare, but at least the given number.
// One process does it at a time. Who the least suspicious are is found out from a sample; scans have no order, so the
// first of one are one.
func (s *Store) drop(ctx context.Context, least int) error {
	mine, err := s.lock(ctx, dropLock)
	if err != nil || !mine {
		return err // somebody else does it
	}
	locked := s.cfg.Now()
	// Others may have done it since this process has looked.
	err = s.run(ctx, s.cfg.Shards, func(p redis.Pipeliner, i int) redis.Cmder {
		return p.HGet(ctx, s.key(i, "m"), "c")
	}, func(i int, cmd redis.Cmder) error {
		s.shards[i].suspects, _ = cmd.(*redis.StringCmd).Int64()
		return nil
	})
	if err != nil {
		return err
	}
	total := s.suspects()
	if total > s.cfg.Max {
		least = max(least, total-s.cfg.Max+s.cfg.Max/dropShare)
	}
	if least > 0 {
		err = s.dropLeast(ctx, least, total, func() error {
			if s.cfg.Now().Sub(locked) < dropLock/3 {
				return nil
			}
			locked = s.cfg.Now()
			_, err := s.lock(ctx, dropLock)
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err = s.lock(ctx, 0)
	return err
}

// dropLeast gives up n suspects of about total; page is called now and then.
func (s *Store) dropLeast(ctx context.Context, n, total int, page func() error) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	every := slices.Repeat([]bool{true}, s.cfg.Shards)
	look := func(fn func(candidate, change) error, after func() error) error {
		err := s.suspectKeys(ctx, every, func(list []change) error {
			err := s.read(ctx, list, func(c change) error {
				one := candidate{pair: c.pair}
				_, _, err := s.show(ctx, c.shard, c.pair, c.raw, func(v *enrich.Suspect) bool {
					one.last = v.Segments[0].Aggregate.Last
					if s.cfg.Rank != nil {
						one.rank = s.cfg.Rank(v)
					}
					return true
				})
				if err != nil {
					return err
				}
				return fn(one, c)
			})
			if err == nil {
				err = after()
			}
			if err == nil {
				err = page()
			}
			return err
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	}
	var sample []candidate
	whole := true
	err := look(func(one candidate, _ change) error {
		sample = append(sample, one)
		return nil
	}, func() error {
		if len(sample) >= s.dropSample {
			whole = false
			return errEnough
		}
		return nil
	})
	if err != nil || len(sample) == 0 {
		return err
	}
	slices.SortFunc(sample, candidate.compare)
	sample = slices.Compact(sample)
	at := n
	if !whole {
		at = int(float64(n) * float64(len(sample)) / float64(max(1, total, len(sample))))
	}
	last := sample[max(0, min(at, len(sample))-1)]
	sample = nil
	gone := 0
	var list []change
	return look(func(one candidate, c change) error {
		if one.compare(last) > 0 || gone+len(list) >= n {
			return nil
		}
		segs, err := decode(c.raw, nil)
		if err != nil {
			return err
		}
		c.mark = &mark{}
		for _, g := range segs {
			c.mark.gone = append(c.mark.gone, g.aggregate)
		}
		list = append(list, c)
		return nil
	}, func() error {
		removed, err := s.settle(ctx, list)
		gone += removed
		s.dropped += uint64(removed)
		list = list[:0]
		if err == nil && gone >= n {
			err = errEnough
		}
		return err
	})
}

// relieve makes room on a server that is out of memory. What it needs is read and removed alone, which such a server
// still allows.
func (s *Store) relieve(ctx context.Context) error {
	if s.relieving || len(s.shards) == 0 { // a Claim leaves it to the others
		return nil
	}
	s.relieving = true
	defer func() { s.relieving = false }()
	return s.drop(ctx, max(1, s.suspects()/dropShare))
}

// verdict is a verdict as it is stored, too.
type verdict struct {
	minecanary.Verdict
	raw string
}

package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
)

// Bounds of the store.
const (
	// DefaultPrefix begins every key.
	DefaultPrefix = "mc"
	// DefaultShards is how many shards the suspects are divided into. It can't be changed while there is state.
	DefaultShards = 64
	// DefaultClients bounds the clients of one endpoint; further ones are counted as overflow and left out.
	DefaultClients = 10_000
	// DefaultMax bounds the suspects of all shards together; beyond it the least suspicious go.
	DefaultMax = 10_000_000
	// DefaultConnections bounds the connections of all shards together that are remembered because of their cumulative
	// records; each shard has its part, half of it for running ones, half for ended ones. One takes about 130
	// bytes (TestMemoryPerConnection).
	DefaultConnections = 1_000_000
	// DefaultSegments bounds the segments of one suspect; beyond it the two oldest become one.
	DefaultSegments = memory.DefaultSegments
	// MaxSegments is the highest such bound: a suspect has to fit in one call of a script, whose length field has two
	// bytes (at most 192 for a segment) and whose stack holds 8000 values (20 for a segment).
	MaxSegments = 256
	// MaxSensors bounds the sensor names kept; further ones are told as "".
	MaxSensors = memory.MaxSensors
	// MaxVerdicts bounds the verdicts; beyond it those of the same shard go that are not confirmed and expire first.
	MaxVerdicts = memory.MaxVerdicts

	// keyLife is the lifetime of what nobody writes any more, garbage of lost incarnations. A shard's meta lives a day
	// less than its suspects, which are given new life every refreshEvery: positions never outlive suspects.
	keyLife      = 8 * 24 * time.Hour
	refreshEvery = 6 * time.Hour

	// beatEvery is how often a process tells the shards that it lives, and renewEvery while it looks at all suspects;
	// dutyLease is how long its duty to decide lasts without, and idleLease how long a partition counts as idle without.
	beatEvery  = time.Second
	renewEvery = 5 * time.Second
	dutyLease  = 15 * time.Second
	idleLease  = 15 * time.Second

	// dropShare: a full store gives up one suspect in this many at a time.
	dropShare = 16
	// dropSample bounds the suspects that are compared to find out who the least suspicious are.
	dropSample = 100_000
	// firstSensors is among how many numbers the search for a sensor's begins: these take one byte of each segment.
	firstSensors = 127
	// page is how many keys are read at a time when all are looked at.
	page = 500
	// settleMost bounds the suspects changed by one call.
	settleMost = 500
)

// Config is how a store is set up. All processes that share it have to agree, but for OnError.
type Config struct {
	// Prefix begins every key; no braces.
	Prefix string
	Shards int
	// Max bounds the suspects, Clients those of one endpoint, Segments the segments of each; 0 for the defaults.
	Max, Clients, Segments int
	// Connections bounds those that are remembered because of their cumulative records; 0 for the default.
	Connections int
	// Report is the length of a report window, Inactive the gap that ends a stretch.
	Report, Inactive time.Duration
	// Topics are those that are read; nil: all. Partitions of others hold nothing back.
	Topics []string
	// Rank says how suspicious a suspect is; see memory.Config.
	Rank func(*enrich.Suspect) float64
	// OnError hears of the first of a row of failures; the store goes on trying. It may be called from several goroutines.
	OnError func(error)
	// Now is the wall clock.
	Now func() time.Time
}

// Store is the shared suspect store. Its methods are called by one goroutine, but for Claim and Gather.
type Store struct {
	cfg    Config
	client redis.UniversalClient
	name   string // of this process
	report int64  // microseconds

	mu    sync.Mutex
	parts map[string]*partition
	inc   []string // incarnation of each shard, "" if not known
	token uint64

	shards  []shard
	version uint64 // of the confirmed verdicts
	// ahead are two, so that one can be gathered while another is applied; turn counts them.
	ahead  [2]*gathered
	turn   int
	segs   []segment
	view   []enrich.Segment
	before []flags

	sensorsMu   sync.Mutex // of the first three, which Gather reads
	sensors     map[string]uint32
	sensorsFull bool
	sensorsTurn uint64 // counts how often they were numbered anew
	sensorNames map[uint32]string
	sensorsID   string

	marks   map[minecanary.Pair]*mark
	decided []decision

	own                        []enrich.Progress
	restart                    []string
	beaten, refreshed          time.Time
	beatEvery, duty, idleLease time.Duration
	away, relieving            bool
	dropped, droppedVerdicts   uint64
	dropSample                 int
}

var _ enrich.Store = (*Store)(nil)

// partition is a partition that this process has started.
type partition struct {
	token  uint64
	epochs []int64
	offset int64 // applied in every shard, by this process
}

// started is a partition as it stood at one moment.
type started struct {
	name string
	partition
}

// shard is what this process knows of a shard.
type shard struct {
	decided           enrich.Window
	suspects          int64
	overflow          int64
	connections       int64
	leftOut           int64
	reopened, settled int64
	given             int64 // the reopenings when the shard was given to be decided
	newest            int64 // latest record end of all partitions
	progress          []enrich.Progress
	duty, free        bool
	version           string
	verdicts          map[minecanary.Endpoint]verdict
}

type flags struct {
	reports, told uint8
	closed        bool
}

type decision struct {
	shard    int
	limit    enrich.Window
	reopened int64
}

// New gives a store on a client, which it closes. It does no I/O.
func New(client redis.UniversalClient, cfg Config) (*Store, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if strings.ContainsAny(cfg.Prefix, "{}*?[]\\") {
		return nil, fmt.Errorf("redis: the prefix %q has a character that means something in keys", cfg.Prefix)
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&cfg.Shards, DefaultShards)
	def(&cfg.Max, DefaultMax)
	def(&cfg.Clients, DefaultClients)
	def(&cfg.Segments, DefaultSegments)
	def(&cfg.Connections, DefaultConnections)
	if cfg.Segments > MaxSegments {
		return nil, fmt.Errorf("redis: %d segments, at most %d", cfg.Segments, MaxSegments)
	}
	if cfg.Shards > 256 {
		return nil, fmt.Errorf("redis: %d shards, at most 256", cfg.Shards)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{
		cfg: cfg, client: client, name: random(8), report: max(1, cfg.Report.Microseconds()),
		parts: map[string]*partition{}, inc: make([]string, cfg.Shards), shards: make([]shard, cfg.Shards),
		ahead:   [2]*gathered{newGathered(cfg), newGathered(cfg)},
		sensors: map[string]uint32{"": 0}, sensorNames: map[uint32]string{0: ""},
		marks:     map[minecanary.Pair]*mark{},
		beatEvery: beatEvery, duty: dutyLease, idleLease: idleLease, dropSample: dropSample,
	}
	for i := range s.shards {
		s.shards[i].verdicts, s.shards[i].free = map[minecanary.Endpoint]verdict{}, true
	}
	return s, nil
}

// Close leaves the processes that share the state and closes the client.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pipe := s.client.Pipeline()
	membersScript.EvalSha(ctx, pipe, []string{s.key(-1, "members"), s.key(-1, "sensors")}, s.name, 0)
	for i := range s.shards {
		if s.shards[i].duty {
			beatScript.EvalSha(ctx, pipe, []string{s.key(i, "m"), s.key(i, "v")}, s.incOf(i), s.name, "0")
		}
	}
	_, _ = pipe.Exec(ctx) // leases end by themselves
	return s.client.Close()
}

// key names a key of a shard; -1 for what belongs to none.
func (s *Store) key(shard int, kind string) string {
	if shard < 0 {
		return s.cfg.Prefix + "{all}" + kind
	}
	return fmt.Sprintf("%s{%02x}%s", s.cfg.Prefix, shard, kind)
}

// field is a partition's field in the meta hash of a shard.
func field(partition string) string { return "p" + partition }

func (s *Store) incOf(shard int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inc[shard]
}

// Claim starts a partition: from now on this process applies it, and whoever did before is refused. It gives the offset to
// read from, the offsets above it at which a batch has to end, and the token of the start. committed is the group's
// committed offset, -1 if there is none; resolve gives the offset of a partition that was never read (lost false), or of
// one whose state was lost (lost true). It is safe for concurrent use.
func (s *Store) Claim(ctx context.Context, name string, committed int64, resolve func(lost bool) (int64, error)) (from int64, cuts []int64, token uint64, err error) {
	incs, epochs, offsets := make([]string, s.cfg.Shards), make([]int64, s.cfg.Shards), make([]int64, s.cfg.Shards)
	claim := func(shards []int, begin string) error {
		c := &Store{cfg: s.cfg, client: s.client} // its own account of failures
		return c.run(ctx, len(shards), func(p redis.Pipeliner, i int) redis.Cmder {
			return claimScript.EvalSha(ctx, p, []string{s.key(shards[i], "m")}, random(3), field(name), begin, int64((keyLife - 24*time.Hour).Seconds()))
		}, func(i int, cmd redis.Cmder) error {
			a, err := cmd.(*redis.Cmd).Slice()
			if err != nil || len(a) != 3 {
				return fmt.Errorf("redis: claim gave %v, %w", a, err)
			}
			incs[shards[i]], _ = a[0].(string)
			epochs[shards[i]], _ = a[1].(int64)
			offsets[shards[i]], _ = a[2].(int64)
			return nil
		})
	}
	all := make([]int, s.cfg.Shards)
	for i := range all {
		all[i] = i
	}
	if err := claim(all, ""); err != nil {
		return 0, nil, 0, err
	}
	var fresh []int
	for i, o := range offsets {
		if o < 0 {
			fresh = append(fresh, i)
		}
	}
	if len(fresh) > 0 {
		at, err := resolve(committed >= 0 || len(fresh) < len(offsets))
		if err != nil {
			return 0, nil, 0, err
		}
		if err := claim(fresh, strconv.FormatInt(at, 10)); err != nil {
			return 0, nil, 0, err
		}
	}
	from = slices.Min(offsets)
	if committed >= 0 {
		from = min(from, committed)
	}
	cuts = slices.Clone(offsets)
	slices.Sort(cuts)
	cuts = slices.DeleteFunc(slices.Compact(cuts), func(c int64) bool { return c <= from })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token++
	copy(s.inc, incs)
	s.parts[name] = &partition{token: s.token, epochs: epochs, offset: from}
	return from, cuts, s.token, nil
}

// started gives what is needed to apply a batch, or nothing if its start is over.
func (s *Store) started(name string, token uint64) (*partition, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[name]
	if p == nil || p.token != token {
		return nil, nil
	}
	return p, slices.Clone(s.inc)
}

// stop forgets a start, unless there is a newer one.
func (s *Store) stop(name string, token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[name]
	if p == nil || p.token != token {
		return false
	}
	delete(s.parts, name)
	return true
}

// together applies batches of different partitions with one call per shard. one tells that all shards took or had them all.
func (s *Store) together(ctx context.Context, g *gathered, touched func(*enrich.Suspect)) (outcome enrich.Outcome, one bool, err error) {
	var incs []string
	batches := g.batches
	parts := make([]*partition, len(batches))
	for i, b := range batches {
		if parts[i], incs = s.started(b.Partition, b.Token); parts[i] == nil {
			return enrich.Stale, false, nil
		}
	}
	if err := s.renewed(ctx, g, incs); err != nil {
		return 0, false, err
	}
	outcome, one = enrich.Repeated, true
	var stale []int
	var why []string
	err = s.send(ctx, g, parts, func(i int, cmd redis.Cmder) error {
		a, err := cmd.(*redis.Cmd).Slice()
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		if len(a) < 6 {
			one = false
			why = append(why, fmt.Sprintf("shard %d says %v", i, a))
			return nil
		}
		sh := &s.shards[i]
		if fresh, _ := a[0].(int64); fresh == 1 {
			outcome = enrich.Applied
		}
		version, _ := a[1].(string)
		if version != sh.version {
			stale = append(stale, i)
		}
		decided, _ := a[2].(int64)
		sh.decided = max(sh.decided, enrich.Window(decided))
		sh.suspects, _ = a[3].(int64)
		sh.overflow, _ = a[4].(int64)
		g.calls[i].answer, _ = a[5].(string)
		if len(a) > 7 {
			sh.connections, _ = a[6].(int64)
			sh.leftOut, _ = a[7].(int64)
		}
		if touched == nil || version != sh.version {
			return nil // shown when its verdicts are known
		}
		return s.showCall(ctx, i, &g.calls[i], touched)
	})
	if err != nil || !one {
		if err == nil && len(batches) == 1 && s.cfg.OnError != nil {
			b := batches[0]
			s.cfg.OnError(fmt.Errorf("redis: %s is started anew at %d: %d shards refused it, %s", b.Partition, b.From.Offset, len(why), why[0]))
		}
		return outcome, false, err
	}
	for i, b := range batches {
		if parts[i].offset = max(parts[i].offset, b.Next.Offset); b.Next.Offset < b.From.Offset {
			parts[i].offset = b.Next.Offset // the log was cut off
		}
	}
	if err := s.readVerdicts(ctx, stale); err != nil {
		return outcome, true, err
	}
	if touched != nil {
		for _, i := range stale {
			if err := s.showCall(ctx, i, &g.calls[i], touched); err != nil {
				return outcome, true, err
			}
		}
	}
	return outcome, true, s.bound(ctx)
}

// send makes the calls of all shards.
func (s *Store) send(ctx context.Context, g *gathered, parts []*partition, answer func(int, redis.Cmder) error) error {
	head := []any{"", len(g.batches)}
	for _, b := range g.batches {
		head = append(head, field(b.Partition), int64(0), b.From.Offset, b.Next.Offset, b.Newest)
	}
	rest := len(head)
	head = append(head, int64(0), s.report, s.cfg.Inactive.Microseconds(), s.cfg.Clients, s.cfg.Segments, int64(keyLife.Seconds()), "")
	now, half := s.cfg.Now().UnixMicro(), max(2, s.cfg.Connections/s.cfg.Shards/2)
	return s.run(ctx, len(g.calls), func(pipe redis.Pipeliner, i int) redis.Cmder {
		c := &g.calls[i]
		args := slices.Clone(head)
		args[0], args[rest], args[rest+6] = g.incs[i], c.minLast, c.blob
		for k, p := range parts {
			args[2+5*k+1] = p.epochs[i]
		}
		if c.cumulative > 0 {
			args = append(args, c.cumulative, now, half, half, memory.Silence.Microseconds())
		}
		return applyScript.EvalSha(ctx, pipe, c.keys, args...)
	}, answer)
}

// showCall shows the suspects of one shard as the script left them.
func (s *Store) showCall(ctx context.Context, i int, c *call, touched func(*enrich.Suspect)) error {
	rest := c.answer
	for _, pair := range c.pairs {
		if len(rest) < 2 {
			return errValue
		}
		n := int(rest[0])<<8 | int(rest[1])
		if len(rest) < 2+n {
			return errValue
		}
		raw := rest[2 : 2+n]
		rest = rest[2+n:]
		if n == 0 {
			continue
		}
		m, later, err := s.show(ctx, i, pair, raw, func(v *enrich.Suspect) bool { touched(v); return true })
		if err != nil {
			return err
		}
		if m != nil && (later || !m.empty()) {
			s.marks[pair] = m
		}
	}
	return nil
}

// Positions implements enrich.Store.
func (s *Store) Positions(ctx context.Context) (map[string]minecanary.Position, error) {
	out, shards := map[string]minecanary.Position{}, map[string]int{}
	err := s.run(ctx, s.cfg.Shards, func(p redis.Pipeliner, i int) redis.Cmder {
		return p.HGetAll(ctx, s.key(i, "m"))
	}, func(_ int, cmd redis.Cmder) error {
		for name, raw := range cmd.(*redis.MapStringStringCmd).Val() {
			name, ok := strings.CutPrefix(name, "p") // no other field begins with it
			if !ok {
				continue
			}
			r := reader{b: raw}
			r.int() // epoch
			offset := r.int()
			if r.bad {
				return errValue
			}
			if old, known := out[name]; !known || offset < old.Offset {
				out[name] = minecanary.Position{Offset: offset}
			}
			shards[name]++
		}
		return nil
	})
	// What one shard has lost stands nowhere.
	maps.DeleteFunc(out, func(name string, _ minecanary.Position) bool { return shards[name] < s.cfg.Shards })
	return out, err
}

// Shards implements enrich.Store. It tells the shards that this process lives, at most once a second; in between it gives
// none.
func (s *Store) Shards(ctx context.Context, own []enrich.Progress) (shards []enrich.Shard, restart []string, err error) {
	if s.cfg.Now().Sub(s.beaten) < s.beatEvery {
		return nil, nil, nil
	}
	s.own = own
	if err := s.beat(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.refresh(ctx); err != nil {
		return nil, nil, err
	}
	for i := range s.shards {
		sh := &s.shards[i]
		if !sh.duty {
			continue
		}
		sh.given = sh.reopened
		shards = append(shards, enrich.Shard{ID: i, Decided: sh.decided, Reopened: sh.reopened != sh.settled, Progress: sh.progress})
	}
	restart, s.restart = s.restart, nil
	return shards, restart, nil
}

// renew is a beat in the midst of a long look at all suspects.
func (s *Store) renew(ctx context.Context) error {
	if s.beaten.IsZero() || s.cfg.Now().Sub(s.beaten) < renewEvery {
		return nil
	}
	return s.beat(ctx)
}

// beat tells the shards that this process lives, and learns how far they are.
func (s *Store) beat(ctx context.Context) error {
	s.beaten = s.cfg.Now()
	if err := s.learn(ctx); err != nil {
		return err
	}
	want, err := s.meet(ctx)
	if err != nil {
		return err
	}
	idle := map[string]bool{}
	for _, p := range s.own {
		idle[p.Partition] = p.Idle
	}
	var mine []started
	s.mu.Lock()
	incs := slices.Clone(s.inc)
	for name, p := range s.parts {
		mine = append(mine, started{name, *p})
	}
	s.mu.Unlock()
	lost := map[string]uint64{}
	var stale, unknown []int
	err = s.run(ctx, s.cfg.Shards, func(p redis.Pipeliner, i int) redis.Cmder {
		args := []any{incs[i], s.name, want[i]}
		for _, p := range mine {
			wait := int64(0)
			if idle[p.name] {
				wait = s.idleLease.Milliseconds()
			}
			args = append(args, field(p.name), p.epochs[i], wait)
		}
		return beatScript.EvalSha(ctx, p, []string{s.key(i, "m"), s.key(i, "v")}, args...)
	}, func(i int, cmd redis.Cmder) error {
		a, err := cmd.(*redis.Cmd).Slice()
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		sh := &s.shards[i]
		if len(a) != 11 {
			sh.duty, sh.free = false, false
			unknown = append(unknown, i)
			for _, p := range mine {
				lost[p.name] = p.token
			}
			return nil
		}
		num := func(k int) int64 { v, _ := a[k].(int64); return v }
		sh.duty, sh.free = num(0) == 1, num(0) == 2
		sh.decided = enrich.Window(num(1))
		sh.reopened, sh.settled = num(2), num(3)
		sh.suspects, sh.overflow = num(4), num(5)
		sh.connections, sh.leftOut = num(9), num(10)
		if version, _ := a[6].(string); version != sh.version {
			stale = append(stale, i)
		}
		states, _ := a[8].([]any)
		for k, p := range mine {
			if offset, ok := states[k].(int64); !ok || offset < p.offset {
				lost[p.name] = p.token
			}
		}
		sh.progress, sh.newest = nil, 0
		if sh.duty {
			sh.progress, sh.newest = s.progress(s.own, a[7])
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.forget(unknown, incs)
	for name, token := range lost {
		if s.stop(name, token) {
			s.restart = append(s.restart, name)
		}
	}
	return s.readVerdicts(ctx, stale)
}

// forget gives up what is known of shards that were lost: whoever begins them again says what they are called.
func (s *Store) forget(shards []int, incs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range shards {
		s.shards[i].decided, s.shards[i].suspects, s.shards[i].overflow = 0, 0, 0
		s.shards[i].connections, s.shards[i].leftOut = 0, 0
		if s.inc[i] == incs[i] {
			s.inc[i] = ""
		}
	}
}

// meet counts the processes that share the state, this one among them, and says for each shard whether this one wants to
// decide it. It also finds out whether the sensors' names were lost.
func (s *Store) meet(ctx context.Context) (want []any, err error) {
	members, rank, id := int64(1), int64(0), ""
	err = s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return membersScript.EvalSha(ctx, p, []string{s.key(-1, "members"), s.key(-1, "sensors")}, s.name, s.duty.Milliseconds())
	}, func(_ int, cmd redis.Cmder) error {
		a, err := cmd.(*redis.Cmd).Slice()
		if err != nil || len(a) != 3 {
			return fmt.Errorf("redis: members gave %v, %w", a, err)
		}
		members, _ = a[0].(int64)
		rank, _ = a[1].(int64)
		id, _ = a[2].(string)
		members = max(1, members)
		return nil
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(s.sensorNames, func(n uint32, name string) bool { return n != 0 && name == "" }) // it may have a name by now
	if id != s.sensorsID || id == "" && len(s.sensors) > 1 {
		s.sensorsID = id
		if err := s.nameSensors(ctx); err != nil {
			return nil, err
		}
	}
	share := s.cfg.Shards / int(members)
	if int(rank) < s.cfg.Shards%int(members) {
		share++
	}
	return s.duties(share), nil
}

// duties says for each shard whether this process wants to decide it, up to its share.
func (s *Store) duties(share int) []any {
	want := make([]any, s.cfg.Shards)
	held := 0
	for i := range s.shards {
		want[i] = ""
		if s.shards[i].duty {
			held++
			want[i] = s.duty.Milliseconds()
			if held > share {
				want[i] = "0"
			}
		}
	}
	for i := range s.shards {
		if held < share && s.shards[i].free {
			held++
			want[i] = s.duty.Milliseconds()
		}
	}
	return want
}

// progress reads what a shard knows of the partitions, and adds those that only this process knows of.
func (s *Store) progress(own []enrich.Progress, answer any) (out []enrich.Progress, newest int64) {
	list, _ := answer.([]any)
	known := map[string]bool{}
	for k := 0; k+2 < len(list); k += 3 {
		name, _ := list[k].(string)
		latest, _ := list[k+1].(int64)
		idle, _ := list[k+2].(int64)
		p := enrich.Progress{Partition: strings.TrimPrefix(name, "p"), Newest: latest, Heard: latest > 0, Idle: idle == 1}
		if latest == 1 {
			p.Newest = 0
		}
		known[p.Partition] = true
		topic, _, _ := strings.Cut(p.Partition, "/")
		if s.cfg.Topics == nil || slices.Contains(s.cfg.Topics, topic) {
			out, newest = append(out, p), max(newest, p.Newest)
		}
	}
	for _, p := range own {
		if !known[p.Partition] {
			out = append(out, enrich.Progress{Partition: p.Partition})
		}
	}
	return out, newest
}

// refresh gives the suspects of the shards that this process decides new life, then the shards themselves.
func (s *Store) refresh(ctx context.Context) error {
	now := s.cfg.Now()
	var mine []int
	wanted := make([]bool, s.cfg.Shards)
	for i := range s.shards {
		if s.shards[i].duty {
			mine, wanted[i] = append(mine, i), true
		}
	}
	if len(mine) == 0 || now.Sub(s.refreshed) < refreshEvery {
		return nil
	}
	s.refreshed = now
	err := s.suspectKeys(ctx, wanted, func(list []change) error {
		return s.run(ctx, len(list), func(p redis.Pipeliner, i int) redis.Cmder {
			return p.Expire(ctx, list[i].key, keyLife)
		}, func(int, redis.Cmder) error { return nil })
	})
	if err != nil {
		return err
	}
	// What is remembered of connections, too, must not end before the positions.
	tables := len(s.tables(0, ""))
	err = s.run(ctx, len(mine)*tables, func(p redis.Pipeliner, k int) redis.Cmder {
		i := mine[k/tables]
		return p.Expire(ctx, s.tables(i, s.incOf(i))[k%tables], keyLife)
	}, func(int, redis.Cmder) error { return nil })
	if err != nil {
		return err
	}
	return s.run(ctx, len(mine), func(p redis.Pipeliner, k int) redis.Cmder {
		return p.Expire(ctx, s.key(mine[k], "m"), keyLife-24*time.Hour)
	}, func(int, redis.Cmder) error { return nil })
}

// Decided implements enrich.Store.
func (s *Store) Decided(sh enrich.Shard, limit enrich.Window) {
	s.decided = append(s.decided, decision{sh.ID, limit, s.shards[sh.ID].given})
}

// Clients implements enrich.Store.
func (s *Store) Clients(ctx context.Context, ep minecanary.Endpoint, fn func(*enrich.Suspect)) error {
	endpoint := appendEndpoint(nil, ep)
	i := shardOf(endpoint, s.cfg.Shards)
	inc := s.incOf(i)
	if inc == "" {
		return nil
	}
	var fields map[string]string
	err := s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return p.HGetAll(ctx, s.key(i, "e"+inc)+string(endpoint))
	}, func(_ int, cmd redis.Cmder) error {
		fields = cmd.(*redis.MapStringStringCmd).Val()
		return nil
	})
	if err != nil {
		return err
	}
	for client, raw := range fields {
		addr, ok := readAddr([]byte(client))
		if !ok {
			return errValue
		}
		pair := minecanary.Pair{Client: addr, Server: ep}
		m, _, err := s.show(ctx, i, pair, raw, func(v *enrich.Suspect) bool { fn(v); return true })
		if err != nil {
			return err
		}
		if m != nil && !m.empty() {
			s.marks[pair] = m
		}
	}
	return nil
}

// Stats implements enrich.Store. The numbers are those of all processes as of the last look, but for those that were given
// up, which are this one's.
func (s *Store) Stats() enrich.StoreStats {
	out := enrich.StoreStats{Dropped: s.dropped, DroppedVerdicts: s.droppedVerdicts}
	for i := range s.shards {
		out.Suspects += int(s.shards[i].suspects)
		out.Overflow += uint64(s.shards[i].overflow)
		out.Connections += int(s.shards[i].connections)
		out.LeftOut += uint64(s.shards[i].leftOut)
		out.Verdicts += len(s.shards[i].verdicts)
	}
	return out
}

// sensor gives a sensor's number, 0 for "" and for one too many.
func (s *Store) sensor(ctx context.Context, name string) (uint32, error) {
	return s.sensorFrom(ctx, name, sensorNumber(name))
}

// knownSensor gives a sensor's number if it is known; it may be called by another goroutine.
func (s *Store) knownSensor(name string) (n uint32, known bool) {
	s.sensorsMu.Lock()
	defer s.sensorsMu.Unlock()
	n, known = s.sensors[name]
	return n, known || s.sensorsFull
}

// sensorFrom is sensor with the number that the search for a free one begins at.
func (s *Store) sensorFrom(ctx context.Context, name string, first uint32) (uint32, error) {
	n, known := s.knownSensor(name)
	if known {
		return n, nil
	}
	err := s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return sensorScript.EvalSha(ctx, p, []string{s.key(-1, "sensors")}, name, first, MaxSensors, random(4))
	}, func(_ int, cmd redis.Cmder) error {
		v, err := cmd.(*redis.Cmd).Uint64()
		n = uint32(v)
		return err
	})
	if err != nil {
		return 0, err
	}
	s.sensorsMu.Lock()
	defer s.sensorsMu.Unlock()
	if n == 0 {
		s.sensorsFull = true // nobody else gets a number
		return 0, nil
	}
	s.sensors[name], s.sensorNames[n] = n, name
	return n, nil
}

// nameSensors gives the sensors that this process knows their numbers again, the same if nobody else has got them.
func (s *Store) nameSensors(ctx context.Context) error {
	clear(s.sensorNames)
	s.sensorNames[0] = ""
	s.sensorsMu.Lock()
	known := s.sensors
	delete(known, "")
	s.sensors, s.sensorsFull = map[string]uint32{"": 0}, false
	s.sensorsTurn++
	s.sensorsMu.Unlock()
	for name, n := range known {
		if _, err := s.sensorFrom(ctx, name, n); err != nil {
			return err
		}
	}
	return nil
}

// sensorNumber is the number that a name leads to, by FNV-1a.
func sensorNumber(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h%firstSensors + 1
}

// sensorName gives a sensor's name.
func (s *Store) sensorName(ctx context.Context, n uint32) (string, error) {
	if name, ok := s.sensorNames[n]; ok {
		return name, nil
	}
	err := s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return p.HGetAll(ctx, s.key(-1, "sensors"))
	}, func(_ int, cmd redis.Cmder) error {
		s.sensorsMu.Lock()
		defer s.sensorsMu.Unlock()
		for number, name := range cmd.(*redis.MapStringStringCmd).Val() {
			if v, err := strconv.ParseUint(number, 10, 16); err == nil && v > 0 {
				s.sensors[name], s.sensorNames[uint32(v)] = uint32(v), name
			}
		}
		return nil
	})
	if _, ok := s.sensorNames[n]; !ok && err == nil {
		s.sensorNames[n] = "" // it was lost; asked for again with the next beat
	}
	return s.sensorNames[n], err
}

// pairOf reads the endpoint out of a suspect's key, and whether the key is one of the shard's present incarnation.
func (s *Store) pairOf(key string, incs []string) (shard int, ep minecanary.Endpoint, ok bool) {
	rest, ok := strings.CutPrefix(key, s.cfg.Prefix+"{")
	if !ok || len(rest) < 4+6 || rest[2:4] != "}e" {
		return 0, ep, false
	}
	n, err := strconv.ParseUint(rest[:2], 16, 8)
	if err != nil || int(n) >= s.cfg.Shards || rest[4:10] != incs[n] {
		return 0, ep, false
	}
	ep, ok = readEndpoint([]byte(rest[10:]))
	return int(n), ep, ok
}

//go:build services

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/minecanary/minecanary/consumer"
)

// testContract wants every message once and in order, whatever packed it.
func testContract(t *testing.T, c Client) { //nolint:thelper // a subtest
	const each = 3000
	for _, tt := range []struct {
		compression string
		kcat        bool
	}{{"none", true}, {"gzip", true}, {"snappy", true}, {"lz4", true}, {"zstd", false}, {"lz4", false}} {
		name := tt.compression
		if tt.kcat {
			name += " by kcat"
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			top := topic(t, c, 3, nil)
			want := map[string][]string{}
			var messages []Message
			lines := map[int][]string{}
			for i := range each {
				key := fmt.Appendf(nil, "%d", i%50)
				v := fmt.Sprintf("message %d %s", i, strings.Repeat("x", i%300))
				p := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, 0, 1, 2)
				want[partitionName(top, p)] = append(want[partitionName(top, p)], v)
				messages = append(messages, Message{Topic: top, Key: key, Value: []byte(v)})
				lines[p] = append(lines[p], v)
			}
			if tt.kcat {
				for p, l := range lines {
					kcat(t, c, top, p, tt.compression, l)
				}
			} else {
				produce(t, producer(t, c, tt.compression), messages)
			}
			// A machine that stands still for longer than the session would have the group deliver again, as it should.
			s := connect(t, Config{Client: c, Topics: []string{top}, SessionTimeout: patience})
			g := newGot()
			g.readN(t, s, each)
			for p := range want {
				if diff := differs(want[p], g.values[p]); diff != "" {
					t.Errorf("%s: %s", p, diff)
				}
			}
			for _, p := range s.Partitions() {
				eventually(t, p+" is at its end", func() bool { return s.AtEnd(p) })
			}
			if !s.Ready() {
				t.Error("not ready")
			}
			if diff := cmp.Diff(s.Partitions(), s.Assigned()); diff != "" || len(s.Assigned()) != 3 {
				t.Error(diff, s.Assigned())
			}
			eventually(t, "all is committed", func() bool {
				for p, values := range want {
					if s.Stats()[p].Committed != int64(len(values)) {
						return false
					}
				}
				return true
			})
			if o := committed(t, c, "group-"+t.Name(), top, 1); o != int64(len(want[partitionName(top, 1)])) {
				t.Errorf("the broker has %d committed", o)
			}
		})
	}
}

// testResume wants that the next process begins at the committed offset, after Close without delay.
func testResume(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	produce(t, producer(t, c, LZ4), numbered(top, "a", 1000))
	for i, n := range []int{400, 600} {
		s := connect(t, Config{Client: c, Topics: []string{top}, Group: top, BatchMessages: 100})
		g := newGot()
		g.readN(t, s, n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if first := g.values[top+"/0"][0]; first != fmt.Sprintf("a %d", 400*i) {
			t.Errorf("process %d begins at %q", i, first)
		}
		if o := committed(t, c, top, top, 0); o != int64(400*i+n) {
			t.Errorf("process %d committed %d", i, o)
		}
		if _, _, err := s.Read(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if err := s.Connect(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Connect after Close: %v", err)
		}
	}
}

// testStartAndCuts begins inside a compressed record batch and wants batches that end at the cuts.
func testStartAndCuts(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	produce(t, producer(t, c, Zstd), numbered(top, "a", 1000))
	s := connect(t, Config{Client: c, Topics: []string{top}, Start: func(_ context.Context, p string, committed int64,
		_ func(bool) (int64, error),
	) (consumer.Start, error) {
		if p != top+"/0" || committed != -1 {
			t.Errorf("start of %s, committed %d", p, committed)
		}
		return consumer.Start{Offset: 137, Cuts: []int64{138, 500, 777}, Token: 5}, nil
	}})
	g := newGot()
	var ends []int64
	for g.count() < 1000-137 {
		b, _, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.Token != 5 {
			t.Errorf("token %d", b.Token)
		}
		g.add(t, b, true)
		ends = append(ends, b.Next.Offset)
		b.Release()
	}
	for _, cut := range []int64{138, 500, 777} {
		if !slices.Contains(ends, cut) {
			t.Errorf("no batch ends at %d: %v", cut, ends)
		}
	}
	if v := g.values[top+"/0"]; v[0] != "a 137" || v[len(v)-1] != "a 999" {
		t.Errorf("%q to %q", v[0], v[len(v)-1])
	}
}

// testRestart has the state lose what it had: the partition begins again where the StartFunc says, earlier batches
// count no more, and the group's offset never goes back.
func testRestart(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	produce(t, producer(t, c, LZ4), numbered(top, "a", 1000))
	var mu sync.Mutex
	var starts []int64
	offsets := []int64{0, 250, 100}
	s := connect(t, Config{
		Client: c, Topics: []string{top}, Group: top, BatchMessages: 100,
		Start: func(_ context.Context, _ string, committed int64, _ func(bool) (int64, error)) (consumer.Start, error) {
			mu.Lock()
			defer mu.Unlock()
			starts = append(starts, committed)
			return consumer.Start{Offset: offsets[len(starts)-1], Token: uint64(len(starts))}, nil
		},
	})
	read := func(token uint64) (consumer.Batch, consumer.AckFunc) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		b, ack, err := s.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b.Token != token {
			t.Fatalf("batch from %d with token %d, want %d", b.From.Offset, b.Token, token)
		}
		b.Release()
		return b, ack
	}
	ack := func(ack consumer.AckFunc, err error) {
		if err := ack(t.Context(), err); err != nil {
			t.Fatal(err)
		}
	}
	var late []consumer.AckFunc
	for range 4 {
		_, a := read(1)
		ack(a, nil)
	}
	eventually(t, "400 is committed", func() bool { return committed(t, c, top, top, 0) == 400 })
	for range 3 {
		_, a := read(1)
		late = append(late, a)
	}
	ack(late[1], consumer.ErrRestart)
	ack(late[2], consumer.ErrRestart) // of the same epoch: one restart is enough
	b, a := read(2)
	if b.From.Offset != 250 {
		t.Errorf("again from %d, want 250", b.From.Offset)
	}
	ack(late[0], nil) // would commit up to 500
	ack(a, nil)       // up to 350: below what is committed
	_, a = read(2)
	ack(a, consumer.ErrRestart)
	for next := int64(100); next < 1000; {
		b, a := read(3)
		if b.From.Offset != next {
			t.Fatalf("batch from %d, want %d", b.From.Offset, next)
		}
		next = b.Next.Offset
		ack(a, nil)
		if o := committed(t, c, top, top, 0); o < 400 {
			t.Fatalf("the committed offset went back to %d", o)
		}
	}
	eventually(t, "all is committed", func() bool { return committed(t, c, top, top, 0) == 1000 })
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]int64{-1, 400, 400}, starts); diff != "" {
		t.Error(diff)
	}
}

// testStartFails has the state store down at first.
func testStartFails(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	produce(t, producer(t, c, LZ4), numbered(top, "a", 10))
	var mu sync.Mutex
	calls, reports := 0, 0
	s := connect(t, Config{
		Client: c, Topics: []string{top},
		Start: func(_ context.Context, _ string, _ int64, resolve func(bool) (int64, error)) (consumer.Start, error) {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls < 4 {
				return consumer.Start{}, errors.New("the store is down")
			}
			o, err := resolve(false)
			return consumer.Start{Offset: o}, err
		},
		OnError: func(p string, err error) {
			mu.Lock()
			defer mu.Unlock()
			if p == top+"/0" && strings.Contains(err.Error(), "the store is down") {
				reports++
			}
		},
	})
	eventually(t, "asked", func() bool { mu.Lock(); defer mu.Unlock(); return calls > 0 })
	if s.Ready() {
		t.Error("ready without the store")
	}
	began := time.Now()
	newGot().readN(t, s, 10)
	mu.Lock()
	defer mu.Unlock()
	if calls != 4 || reports != 3 || time.Since(began) < 500*time.Millisecond {
		t.Errorf("%d calls, %d reports, %s", calls, reports, time.Since(began))
	}
}

// testRebuild resolves the four offsets that the configuration can name.
func testRebuild(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	p := producer(t, c, LZ4)
	produce(t, p, numbered(top, "old", 10))
	time.Sleep(1500 * time.Millisecond)
	produce(t, p, numbered(top, "new", 5))
	for _, tt := range []struct {
		name    string
		from    string
		rebuild time.Duration
		lost    bool
		want    int64
	}{
		{"earliest", FromEarliest, time.Second, false, 0},
		{"latest", FromLatest, time.Second, false, 15},
		{"lost, all", FromLatest, 0, true, 0},
		{"lost, the last second", FromLatest, time.Second, true, 10},
		{"lost, nothing is that new", FromLatest, time.Nanosecond, true, 15},
		{"lost, an hour", FromLatest, time.Hour, true, 0},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			result := make(chan int64, 10)
			connect(t, Config{
				Client: c, Topics: []string{top}, Group: t.Name(), From: tt.from, Rebuild: tt.rebuild,
				Start: func(_ context.Context, _ string, _ int64, resolve func(bool) (int64, error)) (consumer.Start, error) {
					o, err := resolve(tt.lost)
					if err == nil {
						result <- o
					}
					return consumer.Start{Offset: o}, err
				},
			})
			if tt.rebuild == time.Second && tt.lost {
				// The clock goes on meanwhile.
				if got := <-result; got != 10 && got != 15 {
					t.Errorf("got %d, want 10 or 15", got)
				}
				return
			}
			if got := <-result; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// testGivenUp wants that nothing is committed past a batch that was given up.
func testGivenUp(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	produce(t, producer(t, c, LZ4), numbered(top, "a", 1000))
	s := connect(t, Config{Client: c, Topics: []string{top}, Group: top, BatchMessages: 100})
	for i := range 10 {
		b, ack, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
		var why error
		if i == 3 {
			why = errors.New("no use")
		}
		if err := ack(t.Context(), why); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if o := committed(t, c, top, top, 0); o != 300 {
		t.Errorf("%d committed, want 300", o)
	}
}

// testEmpty wants that empty partitions are started and at their end, and that new messages come soon.
func testEmpty(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 4, nil)
	s := connect(t, Config{Client: c, Topics: []string{top}})
	for _, p := range []string{top + "/0", top + "/1", top + "/2", top + "/3"} {
		eventually(t, p+" is at its end", func() bool { return s.AtEnd(p) })
	}
	if s.AtEnd(top+"/4") || s.AtEnd("") {
		t.Error("a partition that does not exist is at its end")
	}
	began := time.Now()
	produce(t, producer(t, c, LZ4), []Message{{Topic: top, Value: []byte("x")}})
	newGot().readN(t, s, 1)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("one message took %s", took)
	}
	for name, st := range s.Stats() {
		if st.Restarts != 0 || st.Lag != 0 {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

// testBackPressure reads nothing: fetching stops, memory stays flat, no watchdog bites. Then all comes.
func testBackPressure(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 2, nil)
	p := producer(t, c, LZ4)
	const n, size = 60_000, 1000
	value := strings.Repeat("x", size-20)
	for i := range 6 {
		m := numbered(top, strconv.Itoa(i), n/6)
		for k := range m {
			m[k].Key = fmt.Append(nil, k)
			m[k].Value = append(m[k].Value, value...)
		}
		produce(t, p, m)
	}
	s := connect(t, Config{Client: c, Topics: []string{top}, BatchBytes: 1 << 20, Stall: 200 * time.Millisecond})
	eventually(t, "ready", s.Ready)
	read := func() (sum int64) {
		s.state.Lock()
		defer s.state.Unlock()
		for _, p := range s.assigned {
			p.mu.Lock()
			sum += p.view.want
			p.mu.Unlock()
		}
		return sum
	}
	var before int64
	eventually(t, "fetching stops", func() bool {
		before = read()
		time.Sleep(500 * time.Millisecond)
		return before == read() && before > 0
	})
	memory := heap()
	time.Sleep(time.Second)
	if got := read(); got != before || got > n/4 {
		t.Errorf("read %d, then %d of %d messages", before, got, n)
	}
	if got := heap(); got > memory+(4<<20) {
		t.Errorf("the heap grew from %d to %d KiB", memory>>10, got>>10)
	}
	// A receiver that keeps what it gets: buffers run out, too.
	held := map[string]int{}
	var release []func()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		b, _, err := s.Read(ctx)
		cancel()
		if err != nil {
			break
		}
		held[b.Partition]++
		release = append(release, b.Release)
	}
	for p, n := range held {
		if n != inFlight {
			t.Errorf("%s: %d batches without a release", p, n)
		}
	}
	heldMessages := read()
	for _, r := range release {
		r()
	}
	g := newGot()
	// What was held is not repeated.
	rest := 0
	for _, st := range s.Stats() {
		rest += int(st.End - st.Handed)
	}
	g.readN(t, s, rest)
	t.Logf("heap %d KiB, %d messages read while nobody took any, %d when %d batches were held", memory>>10, before, heldMessages, len(release))
	for name, st := range s.Stats() {
		if st.Restarts != 0 {
			t.Errorf("%s: the watchdog restarted a reader that was held up", name)
		}
	}
}

// testRestartedReaders cuts readers all the time, as the watchdog does: every message comes once, in order.
func testRestartedReaders(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 3, nil)
	m := numbered(top, "a", 30_000)
	for i := range m {
		m[i].Key = fmt.Append(nil, i%99)
	}
	produce(t, producer(t, c, Zstd), m)
	s := connect(t, Config{
		Client: c, Topics: []string{top}, BatchMessages: 500, MaxWait: 10 * time.Millisecond,
		OnError: func(p string, err error) { t.Errorf("%s: %v", p, err) },
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(70 * time.Millisecond):
				s.state.Lock()
				for _, p := range s.assigned {
					p.restart()
				}
				s.state.Unlock()
			}
		}
	})
	g := newGot()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for g.count() < len(m) {
		b, ack, err := s.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		g.add(t, b, true)
		b.Release()
		_ = ack(ctx, nil)
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if g.distinct() != len(m) {
		t.Errorf("%d of %d messages, %d handed over", g.distinct(), len(m), g.count())
	}
}

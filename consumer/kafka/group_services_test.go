//go:build services

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
)

// kill ends a source as kill -9 would: without leaving the group or a last commit.
func kill(t *testing.T, s *Source) {
	t.Helper()
	s.net.conns.cut()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// readAll reads until the source is closed and acknowledges.
func (g *got) readAll(t *testing.T, s *Source, contiguous bool) {
	t.Helper()
	for {
		b, ack, err := s.Read(t.Context())
		if err != nil {
			if !errors.Is(err, ErrClosed) && t.Context().Err() == nil {
				t.Error(err)
			}
			return
		}
		g.add(t, b, contiguous)
		b.Release()
		_ = ack(t.Context(), nil)
	}
}

// distinct counts messages, each once.
func (g *got) distinct() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen)
}

// testTakeOver has two members share eight partitions; one is killed and the other takes over.
func testTakeOver(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 8, nil)
	p := producer(t, c, LZ4)
	cfg := Config{Client: c, Topics: []string{top}, Group: top, OnError: func(string, error) {}, SessionTimeout: 3 * time.Second}
	a, b := connect(t, cfg), connect(t, cfg)
	eventually(t, "shared", func() bool { return len(a.Assigned()) == 4 && len(b.Assigned()) == 4 && a.Ready() && b.Ready() })
	both := append(a.Assigned(), b.Assigned()...)
	slices.Sort(both)
	if diff := cmp.Diff(a.Partitions(), both); diff != "" {
		t.Error(diff)
	}
	g := newGot()
	var wg sync.WaitGroup
	wg.Go(func() { g.readAll(t, a, false) })
	wg.Go(func() { g.readAll(t, b, false) })
	spread := func(name string, n int) {
		m := numbered(top, name, n)
		for i := range m {
			m[i].Key = fmt.Append(nil, i)
		}
		produce(t, p, m)
	}
	spread("before", 2000)
	eventually(t, "all there", func() bool { return g.distinct() == 2000 })
	killed := time.Now()
	kill(t, a)
	spread("after", 2000)
	eventually(t, "all there", func() bool { return g.distinct() == 4000 })
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("taking over took %s", took)
	}
	if diff := cmp.Diff(b.Partitions(), b.Assigned()); diff != "" {
		t.Error(diff)
	}
	_ = b.Close()
	wg.Wait()
	for i := range 8 {
		if o := committed(t, c, top, top, i); o != g.next[partitionName(top, i)] {
			t.Errorf("partition %d: %d committed, %d read", i, o, g.next[partitionName(top, i)])
		}
	}
}

// testStorm has five members come and go while messages come in: none is lost, and no committed offset goes back.
func testStorm(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 8, nil)
	p := producer(t, c, LZ4)
	cfg := Config{Client: c, Topics: []string{top}, Group: top, OnError: func(string, error) {}}
	g := newGot()
	var readers, others sync.WaitGroup
	stop := make(chan struct{})
	total := 0
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				m := numbered(top, fmt.Sprint("round", total), 200)
				for i := range m {
					m[i].Key = fmt.Append(nil, i)
				}
				produce(t, p, m)
				total += 200
			}
		}
	})
	others.Go(func() {
		last := [8]int64{-1, -1, -1, -1, -1, -1, -1, -1}
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				for i := range last {
					o := committed(t, c, top, top, i)
					if o < last[i] {
						t.Errorf("partition %d: committed %d after %d", i, o, last[i])
					}
					last[i] = o
				}
			}
		}
	})
	stay := connect(t, cfg)
	readers.Go(func() { g.readAll(t, stay, false) })
	var guests []*Source
	for range 5 {
		s := connect(t, cfg)
		guests = append(guests, s)
		readers.Go(func() { g.readAll(t, s, false) })
		time.Sleep(600 * time.Millisecond)
		if len(guests) == 3 {
			_ = guests[0].Close()
			guests = guests[1:]
		}
	}
	for _, s := range guests {
		_ = s.Close()
	}
	close(stop)
	others.Wait()
	eventually(t, "all there", func() bool { return g.distinct() == total })
	again := g.count() - total
	if again > total/2 {
		t.Errorf("%d of %d messages came again", again, total)
	}
	t.Logf("%d messages, %d came again", total, again)
	_ = stay.Close()
	readers.Wait()
	sum := int64(0)
	for i := range 8 {
		sum += committed(t, c, top, top, i)
	}
	if sum != int64(total) {
		t.Errorf("%d committed in the end, want %d", sum, total)
	}
}

// testMissingTopic reads what is there and takes the other topic when it comes.
func testMissingTopic(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	later := top + "-later"
	p := producer(t, c, LZ4)
	produce(t, p, numbered(top, "a", 10))
	var mu sync.Mutex
	reported := map[string]int{}
	s := connect(t, Config{Client: c, Topics: []string{top, later}, OnError: func(p string, _ error) {
		mu.Lock()
		defer mu.Unlock()
		reported[p]++
	}})
	g := newGot()
	g.readN(t, s, 10)
	eventually(t, "reported", func() bool { mu.Lock(); defer mu.Unlock(); return reported[later] > 0 && reported[top] == 0 })
	if _, err := EnsureTopics(t.Context(), c, []TopicSpec{{later, 2, -1, nil}}); err != nil {
		t.Fatal(err)
	}
	produce(t, p, numbered(later, "b", 10))
	g.readN(t, s, 20)
	if diff := cmp.Diff([]string{top + "-later/0", top + "-later/1", top + "/0"}, s.Partitions()); diff != "" {
		t.Error(diff)
	}
}

// testMorePartitions adds partitions to a topic that is being read.
func testMorePartitions(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	s := connect(t, Config{Client: c, Topics: []string{top}})
	eventually(t, "ready", s.Ready)
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	res, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: top, Count: 3}}})
	if err != nil || res.Errors[top] != nil {
		t.Fatal(err, res)
	}
	eventually(t, "three assigned", func() bool { return len(s.Assigned()) == 3 && len(s.Partitions()) == 3 && s.Ready() })
}

// testNoBroker wants that Connect does not mind, that Read ends with its context, and that nothing spins.
func testNoBroker(t *testing.T, _ Client) { //nolint:thelper // a subtest
	var mu sync.Mutex
	reports := 0
	s := connect(t, Config{Client: Client{Brokers: []string{"127.0.0.1:1"}}, Topics: []string{"x"}, OnError: func(string, error) {
		mu.Lock()
		defer mu.Unlock()
		reports++
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, _, err := s.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	if s.Ready() {
		t.Error("ready")
	}
	mu.Lock()
	defer mu.Unlock()
	if reports == 0 || reports > 10 {
		t.Errorf("%d reports in 3 s", reports)
	}
}

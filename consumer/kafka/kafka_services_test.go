//go:build services

package kafka

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/internal/stack"
)

// patience bounds what a loaded machine may need for one step.
const patience = 60 * time.Second

// TestKafka runs against one real broker; the subtests use topics of their own.
func TestKafka(t *testing.T) {
	t.Setenv("KAFKA_HEAP", "-Xms512m -Xmx1g") // for messages of 100 MiB
	svc := stack.Kafka(t, 1)
	c := Client{Brokers: svc.Addrs}
	for _, tt := range []struct {
		name string
		run  func(*testing.T, Client)
	}{
		{"Contract", testContract},
		{"Resume", testResume},
		{"StartAndCuts", testStartAndCuts},
		{"Restart", testRestart},
		{"StartFails", testStartFails},
		{"Rebuild", testRebuild},
		{"GivenUp", testGivenUp},
		{"Oversize", testOversize},
		{"Markers", testMarkers},
		{"Compacted", testCompacted},
		{"OutOfRange", testOutOfRange},
		{"TakeOver", testTakeOver},
		{"Storm", testStorm},
		{"Empty", testEmpty},
		{"BackPressure", testBackPressure},
		{"RestartedReaders", testRestartedReaders},
		{"MissingTopic", testMissingTopic},
		{"MorePartitions", testMorePartitions},
		{"NoBroker", testNoBroker},
		{"ProducerKeys", testProducerKeys},
		{"ProducerRefused", testProducerRefused},
		{"ProducerMissingTopic", testProducerMissingTopic},
		{"EnsureTopics", testEnsureTopics},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			tt.run(t, c)
		})
	}
}

// noLeaks wants that the test, with everything it closes, leaves no goroutine.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// topic creates a topic named after the test.
func topic(t *testing.T, c Client, partitions int, configs map[string]string) string {
	t.Helper()
	name := strings.NewReplacer("/", ".", "#", ".").Replace(t.Name())
	created, err := EnsureTopics(t.Context(), c, []TopicSpec{{name, partitions, -1, configs}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{name}, created); diff != "" {
		t.Fatal(diff)
	}
	return name
}

// connect starts a source and closes it with the test.
func connect(t *testing.T, cfg Config) *Source {
	t.Helper()
	if cfg.Group == "" {
		cfg.Group = "group-" + t.Name()
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = 500 * time.Millisecond
	}
	if cfg.HeartbeatInterval == 0 {
		cfg.HeartbeatInterval = 200 * time.Millisecond
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 3 * time.Second
	}
	if cfg.OnError == nil {
		cfg.OnError = func(p string, err error) { t.Logf("%s: %v", p, err) }
	}
	s := New(cfg)
	if err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
	return s
}

func producer(t *testing.T, c Client, compression string) *Producer {
	t.Helper()
	p := NewProducer(ProducerConfig{Client: c, Compression: compression})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func produce(t *testing.T, p *Producer, messages []Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Produce(ctx, messages); err != nil {
		t.Fatal(err)
	}
}

// numbered makes n messages "name n" without a key.
func numbered(topic, name string, n int) []Message {
	m := make([]Message, n)
	for i := range m {
		m[i] = Message{Topic: topic, Value: fmt.Appendf(nil, "%s %d", name, i)}
	}
	return m
}

// got collects what sources handed over and checks the contract of batches.
type got struct {
	mu     sync.Mutex
	values map[string][]string // by partition, in order
	next   map[string]int64
	last   map[string]int64
	n      int
	seen   map[string]int
}

func newGot() *got {
	return &got{values: map[string][]string{}, next: map[string]int64{}, last: map[string]int64{}, seen: map[string]int{}}
}

// add takes a batch; contiguous is whether it must follow the one before of the same partition.
func (g *got) add(t *testing.T, b consumer.Batch, contiguous bool) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.Partition != b.Name || !strings.HasPrefix(b.Partition, b.Topic+"/") || b.Messages == nil && len(b.Data) > 0 {
		t.Errorf("bad batch %+v", b)
	}
	if next, ok := g.next[b.Partition]; ok && contiguous && b.From.Offset != next {
		t.Errorf("%s: batch from %d after one that ended at %d", b.Partition, b.From.Offset, next)
	}
	g.next[b.Partition] = b.Next.Offset
	start, offset := 0, b.From.Offset-1
	for i, m := range b.Messages {
		if i == 0 && m.Offset != b.FirstLine {
			t.Errorf("%s: first line %d, first offset %d", b.Partition, b.FirstLine, m.Offset)
		}
		if m.Offset <= offset || m.Offset >= b.Next.Offset {
			t.Errorf("%s: offset %d after %d in a batch to %d", b.Partition, m.Offset, offset, b.Next.Offset)
		}
		v := string(b.Data[start:m.End])
		g.values[b.Partition] = append(g.values[b.Partition], v)
		g.seen[v]++
		g.n++
		start, offset = m.End, m.Offset
	}
	if start != len(b.Data) {
		t.Errorf("%s: %d of %d bytes belong to messages", b.Partition, start, len(b.Data))
	}
}

func (g *got) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// readN reads until n messages are there, and acknowledges.
func (g *got) readN(t *testing.T, s *Source, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for g.count() < n {
		b, ack, err := s.Read(ctx)
		if err != nil {
			t.Fatalf("%d of %d messages: %v", g.count(), n, err)
		}
		g.add(t, b, true)
		b.Release()
		if err := ack(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// differs tells in a line where two sequences part, or "": thousands of values are no message for people.
func differs(want, got []string) string {
	if slices.Equal(want, got) {
		return ""
	}
	short := func(values []string, from int) []string {
		var heads []string
		for _, v := range values[min(from, len(values)):min(from+3, len(values))] {
			heads = append(heads, v[:min(len(v), 20)])
		}
		return heads
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	twice := len(got) - len(slices.Compact(slices.Sorted(slices.Values(got))))
	return fmt.Sprintf("%d values, %d of them twice, want %d; from %d on %q, want %q", len(got), twice, len(want), at, short(got, at), short(want, at))
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// committed asks the broker for the group's offset.
func committed(t *testing.T, c Client, group, topic string, partition int) int64 {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	res, err := client.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {partition}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Topics[topic]) != 1 || res.Topics[topic][0].Error != nil {
		t.Fatal(res.Error, res.Topics)
	}
	return res.Topics[topic][0].CommittedOffset
}

// kcat produces lines to one partition, in order and once also when the broker makes it try again.
func kcat(t *testing.T, c Client, topic string, partition int, compression string, lines []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kcat", "-b", strings.Join(c.Brokers, ","), "-P", "-t", topic,
		"-p", strconv.Itoa(partition), "-z", compression, "-X", "enable.idempotence=true", "-X", "linger.ms=5", "-X", "message.max.bytes=10000000")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kcat: %v\n%s", err, out)
	}
}

//go:build services

package kafka

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
)

// testProducerKeys compares the partitions with those that librdkafka's copy of the Java client's partitioner chooses.
func testProducerKeys(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 7, nil)
	var m []Message
	var lines []string
	for i := range 200 {
		k := strings.Repeat("k", i%9) + strconv.Itoa(i)
		m = append(m, Message{top, []byte(k), []byte("ours " + k)})
		lines = append(lines, k+":theirs "+k)
	}
	produce(t, producer(t, c, LZ4), m)
	cmd := exec.CommandContext(t.Context(), "kcat", "-b", strings.Join(c.Brokers, ","), "-P", "-t", top, "-K", ":", "-X", "partitioner=murmur2_random")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kcat: %v\n%s", err, out)
	}
	s := connect(t, Config{Client: c, Topics: []string{top}})
	g := newGot()
	g.readN(t, s, 400)
	where := map[string]string{}
	for p, values := range g.values {
		for _, v := range values {
			who, key, _ := strings.Cut(v, " ")
			if before, ok := where[key]; ok && before != p {
				t.Errorf("key %s lies in %s and, by %s, in %s", key, before, who, p)
			}
			where[key] = p
		}
	}
	// A tombstone has a key and a null value, which is not an empty one.
	other := topic2(t, c, "tombstone")
	produce(t, producer(t, c, LZ4), []Message{{other, []byte("k"), nil}, {other, []byte("k"), []byte{}}})
	out, err := exec.CommandContext(t.Context(), "kcat", "-b", strings.Join(c.Brokers, ","), "-C", "-t", other, "-e", "-q", "-f", "%k %S\n").Output()
	if err != nil || string(out) != "k -1\nk 0\n" {
		t.Errorf("kcat: %q, %v", out, err)
	}
}

// testProducerRefused wants the messages that are too large named and all others written.
func testProducerRefused(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 2, nil)
	m := numbered(top, "a", 5000)
	for _, i := range []int{17, 1200, 4999} {
		m[i].Value = noise(2<<20, uint64(i))
	}
	m[33].Topic = "no topic"
	var refused *ProduceError
	err := producer(t, c, LZ4).Produce(t.Context(), m)
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	var indices []int
	for _, f := range refused.Failed {
		indices = append(indices, f.Index)
		want := error(kafka.MessageSizeTooLarge)
		if f.Index == 33 {
			want = kafka.InvalidTopic
		}
		if !errors.Is(f.Err, want) {
			t.Errorf("message %d: %v", f.Index, f.Err)
		}
	}
	if diff := cmp.Diff([]int{17, 33, 1200, 4999}, indices); diff != "" {
		t.Error(diff)
	}
	s := connect(t, Config{Client: c, Topics: []string{top}})
	g := newGot()
	g.readN(t, s, 4996)
	if g.distinct() != 4996 {
		t.Errorf("%d different messages", g.distinct())
	}
}

// testProducerMissingTopic waits for a topic until it is there, or the context ends.
func testProducerMissingTopic(t *testing.T, c Client) { //nolint:thelper // a subtest
	name := "missing-" + strings.ReplaceAll(t.Name(), "/", ".")
	p := producer(t, c, LZ4)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := p.Produce(ctx, numbered(name, "a", 3)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("error %v", err)
	}
	done := make(chan error)
	go func() { done <- p.Produce(t.Context(), numbered(name, "a", 3)) }()
	if _, err := EnsureTopics(t.Context(), c, []TopicSpec{{name, 1, -1, nil}}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Produce(t.Context(), numbered(name, "a", 3)); err == nil {
		t.Error("a closed producer writes")
	}
}

// testEnsureTopics wants it idempotent, and errors that name the topic.
func testEnsureTopics(t *testing.T, c Client) { //nolint:thelper // a subtest
	specs := []TopicSpec{
		{"ensure-b", 3, -1, map[string]string{"cleanup.policy": "compact"}},
		{"ensure-a", 1, 1, nil},
	}
	created, err := EnsureTopics(t.Context(), c, specs)
	if diff := cmp.Diff([]string{"ensure-a", "ensure-b"}, created); diff != "" || err != nil {
		t.Error(diff, err)
	}
	specs = append(specs, TopicSpec{"ensure-c", 1, -1, nil})
	created, err = EnsureTopics(t.Context(), c, specs)
	if diff := cmp.Diff([]string{"ensure-c"}, created); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, tt := range []struct {
		spec TopicSpec
		want string
	}{
		{TopicSpec{"a b", 1, -1, nil}, "no valid topic name"},
		{TopicSpec{"x", 0, -1, nil}, "0 partitions"},
		{TopicSpec{"x", 1, 0, nil}, "replication of 0"},
		{TopicSpec{"ensure-x", 1, 7, nil}, "create topic ensure-x"},
		{TopicSpec{"ensure-x", 1, -1, map[string]string{"cleanup.policy": "burn"}}, "create topic ensure-x"},
	} {
		if _, err := EnsureTopics(t.Context(), c, []TopicSpec{tt.spec}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.spec, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := EnsureTopics(ctx, Client{Brokers: []string{"127.0.0.1:1"}}, specs); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a broker: %v", err)
	}
}

func topic2(t *testing.T, c Client, suffix string) string {
	t.Helper()
	name := strings.ReplaceAll(t.Name(), "/", ".") + "-" + suffix
	if _, err := EnsureTopics(t.Context(), c, []TopicSpec{{name, 1, -1, nil}}); err != nil {
		t.Fatal(err)
	}
	return name
}

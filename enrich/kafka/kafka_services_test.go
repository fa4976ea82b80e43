//go:build services

package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	driver "github.com/minecanary/minecanary/consumer/kafka" //nolint:depguard // the real producer, as the app adapts it
	"github.com/minecanary/minecanary/internal/stack"
)

// adapter adapts the driver's producer.
type adapter struct{ *driver.Producer }

func (a adapter) Produce(ctx context.Context, msgs []Message) error {
	out := make([]driver.Message, len(msgs))
	for i, m := range msgs {
		out[i] = driver.Message(m)
	}
	err := a.Producer.Produce(ctx, out)
	var failed *driver.ProduceError
	if !errors.As(err, &failed) {
		return err
	}
	r := &Refused{Err: failed}
	for _, f := range failed.Failed {
		r.Messages = append(r.Messages, f.Index)
	}
	return r
}

func TestRealBroker(t *testing.T) {
	client := driver.Client{Brokers: stack.Kafka(t, 1).Addrs}
	t.Run("everything", func(t *testing.T) { everything(t, client) })
	t.Run("refused", func(t *testing.T) { refused(t, client) })
}

// everything writes to topics made after Topics, and reads them.
func everything(t *testing.T, client driver.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	names := DefaultNames()
	names.Enriched = DefaultEnriched
	var specs []driver.TopicSpec
	for _, s := range names.Topics() {
		specs = append(specs, driver.TopicSpec{Name: s.Name, Partitions: s.Partitions, Replication: -1, Configs: s.Config})
	}
	created, err := driver.EnsureTopics(ctx, client, specs)
	if err != nil || len(created) != len(specs) {
		t.Fatalf("created %v: %v", created, err)
	}
	p := driver.NewProducer(driver.ProducerConfig{Client: client})
	t.Cleanup(func() { _ = p.Close() })
	failed := func(err error) { t.Error(err) }
	dead := NewDeadLetters(adapter{p}, names.Dead, time.Now, failed)
	s := NewSink(adapter{p}, names, dead, failed)

	hits := make([]minecanary.Hit, 2500)
	want := map[string]int{}
	for i := range hits {
		hits[i] = hit(uint32(i))
		want[hits[i].ID()] = 1
	}
	confirmed, other := verdict(minecanary.Confirmed), verdict(minecanary.Confirmed)
	other.Endpoint.Port++
	for _, step := range []error{
		s.Write(ctx, hits),
		s.Probed(ctx, []minecanary.Verdict{confirmed, other}),
		s.Expired(ctx, []minecanary.Endpoint{confirmed.Endpoint}),
		dead.Add(ctx, Dead{Topic: "zeek", Partition: 1, Offset: 7, Reason: "json", Sample: []byte("\xff{")}),
		dead.Flush(ctx),
		NewAnnotator(adapter{p}, names.Enriched, failed).Annotate(ctx, []Annotated{{[]byte(`{"a":1}`), hits[0].Client, note}}),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	docs := consume(ctx, t, client, map[string]int{
		names.Hits: len(hits), names.Probes: 2, names.Pools: 3, names.Dead: 1, names.Enriched: 1,
	})
	got := map[string]int{}
	for _, doc := range docs[names.Hits] {
		var d struct{ Event struct{ ID string } }
		if err := json.Unmarshal(doc, &d); err != nil {
			t.Fatal(err)
		}
		got[d.Event.ID]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if doc := docs[names.Enriched][0]; string(doc) != `{"a":1,"minecanary":`+noted+`}` {
		t.Errorf("annotated: %s", doc)
	}
	if doc := docs[names.Pools][2]; len(doc) != 0 {
		t.Errorf("the last message of the pools is %q, want a tombstone", doc)
	}
}

// refused: a topic that takes less than a document is long.
func refused(t *testing.T, client driver.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := driver.EnsureTopics(ctx, client, []driver.TopicSpec{
		{Name: "hits", Partitions: 1, Replication: -1, Configs: map[string]string{"max.message.bytes": "3000"}},
		{Name: "dead", Partitions: 1, Replication: -1},
	}); err != nil {
		t.Fatal(err)
	}
	p := driver.NewProducer(driver.ProducerConfig{Client: client})
	t.Cleanup(func() { _ = p.Close() })
	dead := NewDeadLetters(adapter{p}, "dead", time.Now, nil)
	long := hit(1)
	for i := range 200 { // no two alike, so that compression does not help
		h := hit(uint32(i))
		long.Evidence = append(long.Evidence, minecanary.Evidence{Kind: "block-list", Summary: h.ID()})
	}
	s := NewSink(adapter{p}, Names{Hits: "hits"}, dead, nil)
	if err := s.Write(ctx, []minecanary.Hit{hit(2), long, hit(3)}); err != nil {
		t.Fatal(err)
	}
	if err := dead.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	consume(ctx, t, client, map[string]int{"hits": 2, "dead": 1})
}

// consume reads topics from their start until as many messages came as wanted, and for a second more. It is an error if
// there are others.
func consume(ctx context.Context, t *testing.T, client driver.Client, want map[string]int) map[string][][]byte {
	t.Helper()
	source := driver.New(driver.Config{
		Client: client, Topics: slices.Sorted(maps.Keys(want)), Group: t.Name(),
		SessionTimeout: 3 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
	})
	if err := source.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}()
	missing := 0
	for _, n := range want {
		missing += n
	}
	docs := map[string][][]byte{}
	for {
		limit, cancel := ctx, context.CancelFunc(func() {})
		if missing <= 0 {
			limit, cancel = context.WithTimeout(ctx, time.Second)
		}
		b, ack, err := source.Read(limit)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			t.Fatalf("%d messages missing: %v", missing, err)
		}
		start := 0
		for _, m := range b.Messages {
			docs[b.Topic] = append(docs[b.Topic], slices.Clone(b.Data[start:m.End]))
			start = m.End
		}
		missing -= len(b.Messages)
		if b.Release != nil {
			b.Release()
		}
		if err := ack(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	for topic, n := range want {
		if len(docs[topic]) != n {
			t.Fatalf("%s has %d messages, want %d", topic, len(docs[topic]), n)
		}
	}
	return docs
}

//go:build services

package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/minecanary/minecanary/consumer"
)

// testMarkers wants that the ends of transactions are no messages and hold nothing up.
func testMarkers(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, nil)
	p := producer(t, c, LZ4)
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	transaction := func(ctx context.Context, txn string, commit bool) error {
		id, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: txn, TransactionTimeoutMs: 10_000})
		if err != nil {
			return err
		}
		if id.Error != nil {
			return id.Error
		}
		producer := id.Producer
		added, err := client.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
			TransactionalID: txn, ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch,
			Topics: map[string][]kafka.AddPartitionToTxn{top: {{Partition: 0}}},
		})
		if err != nil {
			return err
		}
		if err := added.Topics[top][0].Error; err != nil {
			return err
		}
		end, err := client.EndTxn(ctx, &kafka.EndTxnRequest{
			TransactionalID: txn, ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, Committed: commit,
		})
		if err != nil {
			return err
		}
		return end.Error
	}
	// The first tries fail while the coordinator is being made. An id serves once: one whose transaction was left half
	// way may be fenced for minutes.
	ids := 0
	transact := func(commit bool) {
		var errs []error
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			ctx, cancel := context.WithTimeout(t.Context(), patience/10)
			ids++
			err := transaction(ctx, fmt.Sprintf("%s-%d", top, ids), commit)
			cancel()
			if err == nil {
				return
			}
			errs = append(errs, err)
		}
		t.Fatal("no transaction: ", errors.Join(errs...))
	}
	want := []string{}
	for i := range 3 {
		m := numbered(top, strconv.Itoa(i), 20)
		// Looks like a marker and is a message.
		m[7].Value = []byte{0, 0, 0, 0, 0, 1}
		produce(t, p, m)
		for _, m := range m {
			want = append(want, string(m.Value))
		}
		transact(i%2 == 0)
		transact(true)
	}
	s := connect(t, Config{Client: c, Topics: []string{top}})
	g := newGot()
	g.readN(t, s, len(want))
	if diff := differs(want, g.values[top+"/0"]); diff != "" {
		t.Error(diff)
	}
	eventually(t, "at its end", func() bool { return s.AtEnd(top+"/0") && s.Stats()[top+"/0"].End > int64(len(want)) })
	produce(t, p, numbered(top, "more", 5))
	g.readN(t, s, len(want)+5)
}

// testCompacted wants that gaps are bridged.
func testCompacted(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.bytes": "1048576", "min.compaction.lag.ms": "0",
		"delete.retention.ms": "0",
	})
	p := producer(t, c, LZ4)
	const rounds, keys = 30, 200
	last := map[string]string{}
	for r := range rounds {
		var m []Message
		for k := range keys {
			v := fmt.Sprintf("%d of key %d %s", r, k, noise(500, uint64(r*keys+k)))
			m = append(m, Message{top, fmt.Appendf(nil, "key %d", k), []byte(v)})
			last[strconv.Itoa(k)] = v
		}
		produce(t, p, m)
	}
	firstOffsets := func() int {
		s := connect(t, Config{Client: c, Topics: []string{top}, Group: fmt.Sprint("g", time.Now().UnixNano())})
		g := newGot()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for !s.AtEnd(top + "/0") {
			part, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			b, ack, err := s.Read(part)
			stop()
			if err != nil {
				if ctx.Err() != nil {
					t.Fatal(err)
				}
				continue
			}
			g.add(t, b, true)
			b.Release()
			_ = ack(ctx, nil)
		}
		if g.next[top+"/0"] != rounds*keys {
			t.Errorf("read to %d, want %d", g.next[top+"/0"], rounds*keys)
		}
		for _, v := range last {
			if g.seen[v] != 1 {
				t.Errorf("%d times %.20q", g.seen[v], v)
			}
		}
		_ = s.Close()
		return g.count()
	}
	eventually(t, "compacted", func() bool { return firstOffsets() < rounds*keys*2/3 })
}

// testOutOfRange begins below the log's start, after retention, and beyond its end.
func testOutOfRange(t *testing.T, c Client) { //nolint:thelper // a subtest
	top := topic(t, c, 1, map[string]string{"segment.bytes": "1048576", "retention.bytes": "1048576"})
	p := producer(t, c, LZ4)
	for i := range 5 {
		m := numbered(top, strconv.Itoa(i), 1000)
		for k := range m {
			m[k].Value = append(m[k].Value, noise(1000, uint64(1000*i+k))...)
		}
		produce(t, p, m)
	}
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	var first int64
	eventually(t, "old segments are deleted", func() bool {
		res, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{top: {kafka.FirstOffsetOf(0)}}})
		if err != nil {
			t.Fatal(err)
		}
		first = res.Topics[top][0].FirstOffset
		return first > 1000
	})
	for _, tt := range []struct {
		name  string
		start int64
		want  int64 // first message
		says  string
	}{
		{"below", 7, first, "deleted by the topic's retention"},
		{"beyond", 6000, 5000, "beyond the end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var reports []string
			s := connect(t, Config{
				Client: c, Topics: []string{top}, Group: t.Name(),
				Start: func(context.Context, string, int64, func(bool) (int64, error)) (consumer.Start, error) {
					return consumer.Start{Offset: tt.start, Cuts: []int64{tt.start + 10}}, nil
				},
				OnError: func(p string, err error) {
					mu.Lock()
					defer mu.Unlock()
					reports = append(reports, p+": "+err.Error())
				},
			})
			if tt.want >= 5000 {
				eventually(t, "at its end", func() bool { return s.AtEnd(top + "/0") })
				produce(t, p, numbered(top, "new", 1))
			}
			g := newGot()
			var from []int64
			for g.count() == 0 {
				b, _, err := s.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				from = append(from, b.From.Offset)
				if tt.want < tt.start {
					// The log was cut: these offsets come a second time.
					if b.Next.Offset != tt.want+1 {
						t.Errorf("the batch ends at %d, want %d", b.Next.Offset, tt.want+1)
					}
					b.From.Offset = tt.want
				}
				g.add(t, b, true)
				if len(b.Messages) > 0 && b.Messages[0].Offset != tt.want {
					t.Errorf("first message at %d, want %d", b.Messages[0].Offset, tt.want)
				}
				b.Release()
			}
			if from[0] != tt.start {
				t.Errorf("the first batch is from %d, want %d", from[0], tt.start)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(reports) != 1 || !strings.Contains(reports[0], tt.says) {
				t.Errorf("reports %q", reports)
			}
		})
	}
}

// testOversize wants that messages over consumer.MaxLine come cut and everything around them whole, whatever packs
// them.
func testOversize(t *testing.T, c Client) { //nolint:thelper // a subtest
	for _, tt := range []struct {
		name string
		big  func(i int) []byte
		n    int
	}{
		{"limit", func(i int) []byte { return noise(consumer.MaxLine+i-1, 1) }, 3}, // below, at, above
		{"5-MiB", func(i int) []byte { return noise(5<<20, uint64(i)) }, 3},
		{"5-MiB-compressible", func(int) []byte { return bytes.Repeat([]byte("abcdefgh"), 5<<17) }, 3},
		{"100-MiB", func(i int) []byte { return noise(100<<20, uint64(i)) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := topic(t, c, 1, map[string]string{"max.message.bytes": strconv.Itoa(130 << 20)})
			p := producer(t, c, LZ4)
			type seen struct {
				Cut  bool
				Text string
			}
			var want []seen
			send := func(values ...[]byte) {
				var m []Message
				for _, v := range values {
					m = append(m, Message{Topic: top, Value: v})
					s := seen{len(v) > consumer.MaxLine, string(v)}
					if s.Cut {
						s.Text = s.Text[:consumer.MaxSample]
					}
					want = append(want, s)
				}
				produce(t, p, m)
			}
			for i := range tt.n {
				send([]byte("before"), []byte("it"))
				send(tt.big(i))
				send([]byte("after"), []byte("it"))
			}
			// In one record batch with small ones.
			if tt.name == "5-MiB-compressible" {
				lines := []string{"small", strings.Repeat("y", 3<<20), "small", strings.Repeat("z", 2<<20), "end"}
				kcat(t, c, top, 0, "zstd", lines)
				for _, l := range lines {
					want = append(want, seen{len(l) > consumer.MaxLine, l[:min(len(l), consumer.MaxSample)]})
				}
			}
			before, peak := heap(), watchHeap(t)
			s := connect(t, Config{Client: c, Topics: []string{top}})
			var got []seen
			began := time.Now()
			for len(got) < len(want) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				b, ack, err := s.Read(ctx)
				cancel()
				if err != nil {
					t.Fatalf("%d of %d: %v", len(got), len(want), err)
				}
				at := 0
				for _, m := range b.Messages {
					got = append(got, seen{m.Cut, string(b.Data[at:m.End])})
					at = m.End
				}
				b.Release()
				_ = ack(t.Context(), nil)
			}
			took := time.Since(began)
			for i := range want {
				if want[i] != got[i] {
					t.Errorf("message %d: cut %v, %d bytes; want %v, %d", i, got[i].Cut, len(got[i].Text), want[i].Cut, len(want[i].Text))
				}
			}
			eventually(t, "at its end", func() bool { return s.AtEnd(top + "/0") })
			size, highest := uint64(len(tt.big(0))), peak()
			t.Logf("%d messages in %s, heap %d MiB before, up to %d MiB", len(got), took.Round(time.Millisecond), before>>20, highest>>20)
			// The message as a whole, twice while the garbage collector is behind, and what small messages need.
			if highest > before+2*size+(64<<20) {
				t.Errorf("the heap grew from %d to %d MiB for a message of %d MiB", before>>20, highest>>20, size>>20)
			}
		})
	}
}

//go:build services

package kafka

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minecanary/minecanary/internal/stack"
)

// cpu gives the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// record gives a message of 385 bytes, as a conn record of Zeek is on average.
func record(i int) []byte {
	s := fmt.Sprintf(`{"ts":%d.5,"uid":"C%013d","id.orig_h":"10.0.%d.%d","id.orig_p":%d,"id.resp_h":"198.51.100.%d","id.resp_p":3333,"proto":"tcp",`,
		1700000000+i/100, i*7919, i%256, i/256%256, 1024+i%60000, i%250)
	return fmt.Appendf(nil, `%s"history":"%s"}`, s, strings.Repeat("ShADad", 100)[:385-len(s)-len(`"history":""}`)])
}

// BenchmarkRead reads a backlog of 8 partitions and acknowledges; one operation is one message.
func BenchmarkRead(b *testing.B) {
	svc := stack.Kafka(b, 1)
	c := Client{Brokers: svc.Addrs}
	for _, compression := range []string{LZ4, Zstd} {
		const filled = 1_000_000
		top := "bench-" + compression
		if _, err := EnsureTopics(b.Context(), c, []TopicSpec{{top, 8, -1, nil}}); err != nil {
			b.Fatal(err)
		}
		p := NewProducer(ProducerConfig{Client: c, Compression: compression})
		began, used := time.Now(), cpu(b)
		for i := 0; i < filled; i += 10_000 {
			m := make([]Message, 10_000)
			for k := range m {
				m[k] = Message{Topic: top, Key: fmt.Append(nil, i+k), Value: record(i + k)}
			}
			if err := p.Produce(b.Context(), m); err != nil {
				b.Fatal(err)
			}
		}
		b.Logf("%s: produced %.0f messages/s, %.2f µs of CPU each", compression, filled/time.Since(began).Seconds(),
			float64((cpu(b)-used).Microseconds())/filled)
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(compression, func(b *testing.B) {
			var n, lines int
			var used, took time.Duration
			for n < b.N {
				s := New(Config{Client: c, Topics: []string{top}, Group: fmt.Sprint("bench", time.Now().UnixNano())})
				if err := s.Connect(b.Context()); err != nil {
					b.Fatal(err)
				}
				// The first batch comes when the group is joined: not what is measured.
				batch, ack, err := s.Read(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				began, before := time.Now(), cpu(b)
				for left := filled; ; {
					lines += bytes.Count(batch.Data, []byte("\n"))
					left -= len(batch.Messages)
					n += len(batch.Messages)
					batch.Release()
					if err := ack(b.Context(), nil); err != nil {
						b.Fatal(err)
					}
					if left == 0 {
						break
					}
					if batch, ack, err = s.Read(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				took += time.Since(began)
				used += cpu(b) - before
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/took.Seconds(), "messages/s")
			b.ReportMetric(float64(used.Nanoseconds())/1000/float64(n), "cpu-µs/message")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkLive reads what a producer writes at 120,000 messages/s; the CPU is that of both.
func BenchmarkLive(b *testing.B) {
	const rate, chunk = 120_000, 2_000
	svc := stack.Kafka(b, 1)
	c := Client{Brokers: svc.Addrs}
	if _, err := EnsureTopics(b.Context(), c, []TopicSpec{{"live", 8, -1, nil}}); err != nil {
		b.Fatal(err)
	}
	p := NewProducer(ProducerConfig{Client: c})
	defer func() { _ = p.Close() }()
	s := New(Config{Client: c, Topics: []string{"live"}, Group: "live", From: FromLatest})
	if err := s.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for !s.Ready() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	m := make([]Message, chunk)
	for i := range m {
		m[i] = Message{Topic: "live", Key: fmt.Append(nil, i), Value: record(i)}
	}
	n := max(b.N, 2*rate) / chunk * chunk
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	began, used := time.Now(), cpu(b)
	go func() {
		for i := 0; i < n; i += chunk {
			if p.Produce(ctx, m) != nil {
				return // the reader misses it
			}
			time.Sleep(time.Until(began.Add(time.Duration(i+chunk) * time.Second / rate)))
		}
	}()
	batches := 0
	for got := 0; got < n; batches++ {
		batch, ack, err := s.Read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		got += len(batch.Messages)
		batch.Release()
		if err := ack(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	b.ReportMetric(float64(n)/took.Seconds(), "messages/s")
	b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/1000/float64(n), "cpu-µs/message")
	b.ReportMetric(float64(n)/float64(batches), "messages/batch")
	b.ReportMetric(0, "ns/op")
}

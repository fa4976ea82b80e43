package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/consumer"
)

// script is a client that answers one thing after the other.
type script struct {
	mu      sync.Mutex
	answers []answer
	asked   []int64
	safe    []int64
}

type answer struct {
	from int64
	data []string
	err  error
}

func (s *script) Read(_ context.Context, after consumer.Position, _ int) (consumer.Position, []Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, after.Offset)
	if len(s.answers) == 0 {
		return after, nil, nil
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	var entries []Entry
	for i, d := range a.data {
		entries = append(entries, Entry{consumer.Position{Offset: a.from + int64(i) + 1}, []byte(d)})
	}
	return consumer.Position{Offset: a.from}, entries, a.err
}

func (s *script) Safe(_ context.Context, upTo consumer.Position) error {
	s.safe = append(s.safe, upTo.Offset)
	return nil
}

func TestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", consumer.MaxLine+1)
		c := &script{answers: []answer{
			{err: errors.New("away")},
			{from: 5},
			{from: 5, data: []string{"a", "bc"}},
			{from: 9, data: []string{long}},
		}}
		var told []string
		s := New(Config{Client: c, Key: "suricata", Start: consumer.Position{Offset: 5}, OnError: func(err error) { told = append(told, err.Error()) }})
		b, ack, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if string(b.Data) != "abc" || b.From.Offset != 5 || b.Next.Offset != 7 || !b.NewFile || b.Partition != "redis/suricata" || b.Topic != "suricata" {
			t.Errorf("batch %+v", b)
		}
		if diff := cmp.Diff([]consumer.Message{{End: 1, Offset: 6}, {End: 3, Offset: 7}}, b.Messages); diff != "" {
			t.Error(diff)
		}
		if err := ack(t.Context(), nil); err != nil {
			t.Error(err)
		}
		b, ack, err = s.Read(t.Context())
		if err != nil || b.From.Offset != 9 || b.NewFile || !b.Messages[0].Cut || len(b.Data) != consumer.MaxSample {
			t.Errorf("%v, from %v, %v", err, b.From, b.Messages)
		}
		if err := ack(t.Context(), consumer.ErrRestart); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int64{7}, c.safe); diff != "" {
			t.Error(diff)
		}
		want := []string{"read suricata: away", "suricata goes on at 0-9, not at 0-7: what is between was lost"}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
		ended, cancel := context.WithTimeout(t.Context(), 2*poll)
		defer cancel()
		if _, _, err := s.Read(ended); !errors.Is(err, context.DeadlineExceeded) || !s.AtEnd("redis/suricata") {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Read(t.Context()); !errors.Is(err, errClosed) {
			t.Error(err)
		}
	})
}

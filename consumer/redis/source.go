// Package redis is a source that reads what Suricata writes into a list or a stream of Redis (eve-log, filetype redis).
//
// A stream is read behind the position and left as it is: Suricata bounds it (stream-maxlen). A list is read without
// taking anything out; what is safe is cut off, and how much that was is kept in a key beside it, in one step, so that
// after a crash of this process, or of a Redis that keeps what it was told (appendonly yes), the position says where to go
// on. A Redis that comes back from an older file has lost events: that is told, and what is there is read. The driver is
// the caller's, behind Client.
package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary/consumer"
)

// Mode is how Suricata writes (redis: mode).
type Mode string

// The modes, by Suricata's names (src/util-log-redis.c). "lpush" is also called list there, "xadd" also stream.
const (
	LPush Mode = "lpush"
	RPush Mode = "rpush"
	XAdd  Mode = "xadd"
)

// The bounds of reading.
const (
	// MaxEntries is how many entries are read at once.
	MaxEntries = 1000
	// poll is how often an empty list is looked at, and how long is waited for a stream.
	poll = 200 * time.Millisecond
	// firstPause and maxPause are the waits after an error, doubled each time.
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Entry is one line of EVE. For a list Generation of its Position is 0 and Offset its number since the counting began; for
// a stream they are the two halves of its ID. The position is the one behind it.
type Entry struct {
	Next consumer.Position
	Data []byte
}

// Client speaks with Redis.
type Client interface {
	// Read gives the entries behind a position, the oldest first, at most n; none if there are none. after is where the
	// answer really begins, which differs if the list or what is known of it was lost.
	Read(ctx context.Context, after consumer.Position, n int) (from consumer.Position, entries []Entry, err error)
	// Safe says that nothing up to a position is needed any more.
	Safe(ctx context.Context, upTo consumer.Position) error
}

// Config says what to read.
type Config struct {
	Client Client
	// Key names the list or stream; it is the partition ("redis/KEY").
	Key string
	// Start is the position to begin behind.
	Start consumer.Position
	// OnError hears of what is tried again, and of gaps.
	OnError func(error)
}

// Source reads one list or stream. It never ends.
type Source struct {
	cfg  Config
	next consumer.Position
	// atEnd tells that the last look found nothing.
	atEnd  atomic.Bool
	began  bool
	closed chan struct{}
	once   sync.Once
}

// Partition gives the name of a key's partition.
func Partition(key string) string { return "redis/" + key }

// New gives a source; it does no I/O.
func New(cfg Config) *Source {
	return &Source{cfg: cfg, next: cfg.Start, closed: make(chan struct{})}
}

// Connect implements consumer.Source; Redis is asked when something is read.
func (s *Source) Connect(context.Context) error { return nil }

// Close implements consumer.Source.
func (s *Source) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// AtEnd tells whether everything there is was read.
func (s *Source) AtEnd(partition string) bool {
	return partition == Partition(s.cfg.Key) && s.atEnd.Load()
}

// Partitions names the one partition.
func (s *Source) Partitions() []string { return []string{Partition(s.cfg.Key)} }

var errClosed = errors.New("redis: the source is closed")

// Read implements consumer.Source. It tries until there is something, the context ends, or the source is closed.
func (s *Source) Read(ctx context.Context) (consumer.Batch, consumer.AckFunc, error) {
	pause := firstPause
	for {
		from, entries, err := s.cfg.Client.Read(ctx, s.next, MaxEntries)
		wait := poll
		switch {
		case ctx.Err() != nil:
			return consumer.Batch{}, nil, ctx.Err()
		case err != nil:
			s.cfg.OnError(fmt.Errorf("read %s: %w", s.cfg.Key, err))
			wait, pause = pause, min(2*pause, maxPause)
		case len(entries) > 0:
			return s.batch(from, entries)
		default:
			s.atEnd.Store(true)
			pause = firstPause
			if from != s.next {
				s.gap(from)
			}
		}
		select {
		case <-ctx.Done():
			return consumer.Batch{}, nil, ctx.Err()
		case <-s.closed:
			return consumer.Batch{}, nil, errClosed
		case <-time.After(wait):
		}
	}
}

// gap goes on elsewhere than where it was left off, and says so.
func (s *Source) gap(from consumer.Position) {
	if s.began || s.next != (consumer.Position{}) {
		s.cfg.OnError(fmt.Errorf("%s goes on at %d-%d, not at %d-%d: what is between was lost", s.cfg.Key, from.Generation, from.Offset, s.next.Generation, s.next.Offset))
	}
	s.next = from
}

// batch makes messages of entries.
func (s *Source) batch(from consumer.Position, entries []Entry) (consumer.Batch, consumer.AckFunc, error) {
	if from != s.next {
		s.gap(from)
	}
	s.atEnd.Store(len(entries) < MaxEntries)
	b := consumer.Batch{Partition: Partition(s.cfg.Key), Topic: s.cfg.Key, From: s.next, NewFile: !s.began, Messages: make([]consumer.Message, 0, len(entries))}
	b.Name = b.Partition
	for _, e := range entries {
		line, cut := e.Data, len(e.Data) > consumer.MaxLine
		if cut {
			line = line[:consumer.MaxSample]
		}
		b.Data = append(b.Data, line...)
		number := e.Next.Offset
		if e.Next.Generation > 0 {
			number = int64(e.Next.Generation)*1000 + min(e.Next.Offset, 999) // of a stream, the time and the number in it
		}
		b.Messages = append(b.Messages, consumer.Message{End: len(b.Data), Offset: number, Cut: cut})
	}
	s.next, s.began = entries[len(entries)-1].Next, true
	b.Next = s.next
	return b, func(ctx context.Context, err error) error {
		if err != nil {
			return nil //nolint:nilerr // given up: it is read again after the next start
		}
		if err := s.cfg.Client.Safe(ctx, b.Next); err != nil && ctx.Err() == nil {
			s.cfg.OnError(fmt.Errorf("cut %s: %w", s.cfg.Key, err)) // the next one cuts more
		}
		return nil
	}, nil
}

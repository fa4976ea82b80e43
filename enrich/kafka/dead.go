package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/minecanary/minecanary/enrich/ecs"
)

// The bounds of dead letters.
const (
	// MaxSample is how much of a message is kept, in bytes, MaxDocument how much of a document of our own, and MaxError how
	// much of an error's text.
	MaxSample   = 4 << 10
	MaxDocument = 256 << 10
	MaxError    = 2 << 10
	// MaxDead is how many letters wait in memory, MaxDeadBytes what they add up to.
	MaxDead      = 4000
	MaxDeadBytes = 8 << 20
)

// Dead is what could not be used: a message of Kafka, or a document that Elasticsearch refused.
type Dead struct {
	// Topic, Partition and Offset say where the message stands.
	Topic     string
	Partition int32
	Offset    int64
	// Index and ID name a document instead; then the fields above are not used.
	Index, ID string
	// Reason is a word in snake case with few values. Error is a text for people, "" for none; it is cut at MaxError.
	Reason, Error string
	// Sample is the beginning of the message or document; it is cut at MaxSample (MaxDocument) and not
	// kept after Add returns.
	Sample []byte
}

// DeadLetters writes what could not be used to a topic. It may be used by several goroutines.
type DeadLetters struct {
	outlet outlet
	topic  string
	now    func() time.Time
	lost   atomic.Uint64

	mu      sync.Mutex
	waiting []Message
	size    int // of their keys and values
	// writing holds one token: who has it writes.
	writing chan struct{}
}

// NewDeadLetters gives dead letters for a topic; "" throws them away. failed is told of each failed try; it may be nil.
func NewDeadLetters(p Producer, topic string, now func() time.Time, failed func(error)) *DeadLetters {
	d := &DeadLetters{topic: topic, now: now, writing: make(chan struct{}, 1)}
	d.outlet = outlet{p, failed, func(context.Context, Message, error) error {
		d.lost.Add(1)
		return nil
	}}
	d.writing <- struct{}{}
	return d
}

// Lost counts letters that no broker took. They are within every limit by default, so somebody set a lower one.
func (d *DeadLetters) Lost() uint64 { return d.lost.Load() }

// Add takes a letter. It waits for others to be written if as many wait as MaxDead and MaxDeadBytes allow; an error
// says that the context ended before, and that the letter was not taken.
func (d *DeadLetters) Add(ctx context.Context, dead Dead) error {
	if d.topic == "" {
		return nil
	}
	m, err := d.message(&dead)
	if err != nil {
		return err
	}
	for !d.put(m) {
		if err := d.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// put keeps a message if there is room.
func (d *DeadLetters) put(m Message) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := len(m.Key) + len(m.Value)
	if len(d.waiting) >= MaxDead || len(d.waiting) > 0 && d.size+size > MaxDeadBytes {
		return false
	}
	d.waiting = append(d.waiting, m)
	d.size += size
	return true
}

// Flush writes what was added before, and returns when it is acknowledged. After an error the letters still wait.
func (d *DeadLetters) Flush(ctx context.Context) error {
	select {
	case <-d.writing:
	case <-ctx.Done():
		return fmt.Errorf("write to topic %s: %w", d.topic, ctx.Err())
	}
	defer func() { d.writing <- struct{}{} }()
	d.mu.Lock()
	n := len(d.waiting)
	msgs := d.waiting[:n:n]
	d.mu.Unlock()
	if n == 0 {
		return nil
	}
	// They stay counted until they are acknowledged: what waits is bounded, whatever the broker does.
	if err := d.outlet.deliver(ctx, msgs); err != nil {
		return err
	}
	d.mu.Lock()
	d.waiting = slices.Clone(d.waiting[n:])
	for i := range msgs {
		d.size -= len(msgs[i].Key) + len(msgs[i].Value)
	}
	d.mu.Unlock()
	return nil
}

// message encodes a letter.
func (d *DeadLetters) message(dead *Dead) (Message, error) {
	kept := MaxSample
	if dead.Index != "" {
		kept = MaxDocument
	}
	letter := ecs.NewDead(d.now(), dead.Reason, string(cut([]byte(dead.Error), MaxError)), cut(dead.Sample, kept))
	var key string
	if dead.Index != "" {
		letter.Index, letter.ID = dead.Index, dead.ID
		key = dead.Index + "/" + dead.ID
	} else {
		letter.Topic, letter.Partition, letter.Offset = dead.Topic, &dead.Partition, &dead.Offset
		key = dead.Topic + "/" + strconv.Itoa(int(dead.Partition)) + "/" + strconv.FormatInt(dead.Offset, 10)
	}
	value, err := ecs.Encode(letter)
	if err != nil {
		return Message{}, fmt.Errorf("encode dead letter %s: %w", key, err)
	}
	return Message{d.topic, []byte(key), value}, nil
}

// cut gives the first n bytes, less a character that would be cut in two.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for i := n; i >= max(0, n-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(b[i]) {
			if r, size := utf8.DecodeRune(b[i:]); r == utf8.RuneError && size == 1 {
				break // no character begins here: binary data is cut where it has to be
			}
			return b[:i]
		}
	}
	return b[:n]
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// requestTimeout is how long the brokers may take to store one request on all replicas.
	requestTimeout = 10 * time.Second
	// maxRequest is how many bytes of keys and values go into one request, before compression; brokers take 1 MiB by
	// default, compressed. A larger message goes alone.
	maxRequest = 768 << 10
	// maxRequestMessages bounds one request.
	maxRequestMessages = 10_000
	// producerRefresh is how long a leader that moved may go unnoticed; kafka-go looks it up on average twice as often.
	producerRefresh = 2 * time.Second
	produceHigh     = 2 * time.Second
)

// Compression of what a Producer sends.
const (
	LZ4  = "lz4"
	Zstd = "zstd"
)

// Message is one message to write.
type Message struct {
	Topic string
	// Key decides the partition as the Java client does (murmur2); nil means any.
	Key []byte
	// Value nil is a tombstone: it deletes the key from a compacted topic.
	Value []byte
}

// ProducerConfig says how to write.
type ProducerConfig struct {
	Client Client
	// Compression is LZ4 (the default) or Zstd.
	Compression string
}

// Producer writes messages with acknowledgement by all replicas. It is safe for concurrent use.
type Producer struct {
	cfg  ProducerConfig
	once sync.Once

	net    *network
	client *kafka.Client
	end    func()
	err    error
	spread atomic.Uint32
	closed atomic.Bool
}

// FailedMessage is one message that will never be accepted.
type FailedMessage struct {
	// Index is its place in the slice given to Produce.
	Index int
	Err   error
}

// Blamed tells that the message itself is to blame, and not the topic or who writes to it, which somebody may mend.
func (f FailedMessage) Blamed() bool { return perMessage(f.Err) }

// ProduceError names the messages that the brokers refused for good (too large, not allowed). All others of the call
// were acknowledged.
type ProduceError struct {
	// Failed is in rising order of Index.
	Failed []FailedMessage
}

// Error implements error.
func (e *ProduceError) Error() string {
	return fmt.Sprintf("kafka refused %d messages, the first (number %d): %v", len(e.Failed), e.Failed[0].Index, e.Failed[0].Err)
}

// Unwrap gives the reasons.
func (e *ProduceError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// NewProducer makes a producer; it does no I/O.
func NewProducer(cfg ProducerConfig) *Producer { return &Producer{cfg: cfg} }

// open prepares the client on first use.
func (p *Producer) open() error {
	p.once.Do(func() {
		switch p.cfg.Compression {
		case "", LZ4, Zstd:
		default:
			p.err = fmt.Errorf("kafka: compression %q is neither %s nor %s", p.cfg.Compression, LZ4, Zstd)
			return
		}
		if p.net, p.err = newNetwork(p.cfg.Client); p.err == nil {
			p.client, p.end = p.net.kafkaClient(producerRefresh)
		}
	})
	return p.err
}

// Close ends all connections; a Produce under way fails.
func (p *Producer) Close() error {
	p.closed.Store(true)
	p.once.Do(func() { p.err = ErrProducerClosed })
	if p.end != nil {
		p.end()
		p.net.conns.cut()
	}
	return nil
}

// ErrProducerClosed is returned by Produce after Close.
var ErrProducerClosed = errors.New("kafka: the producer is closed")

// Produce writes messages and returns when each is acknowledged by all replicas in sync. Whatever may pass (brokers
// away, leaders moving, a topic that is not there yet) is retried with back-off until ctx ends; then some messages may
// be written and some not, and a repeated call may write some twice. Messages that the brokers refuse for good are
// named by a *ProduceError after all others are acknowledged. If the brokers refuse this client as a whole (log-in,
// version) it returns another error at once.
//
// Messages of one key keep their order. The slices must not change until Produce returns.
func (p *Producer) Produce(ctx context.Context, messages []Message) error {
	if err := p.open(); err != nil {
		return err
	}
	todo := make([]int, len(messages))
	for i := range messages {
		todo[i] = i
	}
	var failed []FailedMessage
	pause := backoff{low: backoffLow / 2, high: produceHigh}
	for {
		round := p.round(ctx, messages, todo)
		failed = append(failed, round.failed...)
		todo = round.again
		if len(todo) == 0 {
			break
		}
		if p.closed.Load() {
			return ErrProducerClosed
		}
		if hopeless(round.err) {
			return joinFailed(fmt.Errorf("write to kafka, %d of %d messages not acknowledged: %w", len(todo), len(messages), round.err), failed)
		}
		if round.done > 0 {
			pause.reset()
		}
		if !pause.wait(ctx) {
			err := fmt.Errorf("write to kafka, %d of %d messages not acknowledged: %w", len(todo), len(messages), ctx.Err())
			if round.err != nil {
				err = fmt.Errorf("%w (%w)", err, round.err)
			}
			return joinFailed(err, failed)
		}
	}
	return joinFailed(nil, failed)
}

// joinFailed adds the messages that were refused to an error about others.
func joinFailed(err error, failed []FailedMessage) error {
	if len(failed) == 0 {
		return err
	}
	slices.SortFunc(failed, func(a, b FailedMessage) int { return a.Index - b.Index })
	refused := &ProduceError{Failed: failed}
	if err == nil {
		return refused
	}
	return &unfinished{err, refused}
}

// unfinished is the error of a call that did not come to its end and had messages refused before. It is no
// *ProduceError, because not all others were acknowledged.
type unfinished struct {
	error
	refused *ProduceError
}

// Error implements error.
func (u *unfinished) Error() string { return u.error.Error() + "; " + u.refused.Error() }

// Unwrap gives the reason alone.
func (u *unfinished) Unwrap() error { return u.error }

// outcome is what became of the messages of a round.
type outcome struct {
	failed []FailedMessage
	again  []int
	done   int
	err    error // why some are tried again
}

// round tries once.
func (p *Producer) round(ctx context.Context, messages []Message, todo []int) outcome {
	type target struct {
		topic     string
		partition int
	}
	var out outcome
	counts, bad := p.partitionCounts(ctx, messages, todo)
	targets := map[target][]int{}
	spread := p.spread.Add(1)
	for _, i := range todo {
		m := &messages[i]
		if err := bad[m.Topic]; err != nil {
			if permanent(err) {
				out.failed = append(out.failed, FailedMessage{i, err})
			} else {
				out.again, out.err = append(out.again, i), err
			}
			continue
		}
		partitions := counts[m.Topic]
		t := target{m.Topic, partitions[int(spread)%len(partitions)]}
		if m.Key != nil {
			t.partition = kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: m.Key}, partitions...)
		}
		targets[t] = append(targets[t], i)
	}
	results := make(chan outcome)
	for t, indices := range targets {
		go func() { results <- p.send(ctx, t.topic, t.partition, messages, indices) }()
	}
	for range targets {
		res := <-results
		out.failed = append(out.failed, res.failed...)
		out.again = append(out.again, res.again...)
		out.done += res.done
		if res.err != nil {
			out.err = res.err
		}
	}
	slices.Sort(out.again)
	return out
}

// partitionCounts gives the partitions of each topic, or why they are not known.
func (p *Producer) partitionCounts(ctx context.Context, messages []Message, todo []int) (map[string][]int, map[string]error) {
	counts, bad := map[string][]int{}, map[string]error{}
	var topics []string
	for _, i := range todo {
		t := messages[i].Topic
		if _, ok := counts[t]; !ok {
			counts[t] = nil
			if err := validTopic(t); err != nil {
				bad[t] = errors.Join(kafka.InvalidTopic, err)
			} else {
				topics = append(topics, t)
			}
		}
	}
	if len(topics) == 0 {
		return counts, bad
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := p.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		for _, t := range topics {
			bad[t] = err
		}
		return counts, bad
	}
	for _, t := range meta.Topics {
		for _, part := range t.Partitions {
			counts[t.Name] = append(counts[t.Name], part.ID)
		}
		slices.Sort(counts[t.Name])
		switch {
		case t.Error != nil:
			bad[t.Name] = t.Error
		case len(counts[t.Name]) == 0:
			bad[t.Name] = kafka.UnknownTopicOrPartition
		}
	}
	for _, t := range topics {
		if counts[t] == nil && bad[t] == nil {
			bad[t] = kafka.UnknownTopicOrPartition
		}
	}
	return counts, bad
}

// send writes the messages of one partition, one request after the other. After the first one that has to be repeated
// nothing more is sent, so that keys keep their order.
func (p *Producer) send(ctx context.Context, topic string, partition int, messages []Message, indices []int) outcome {
	var out outcome
	for len(indices) > 0 {
		n, size := 0, 0
		for n < len(indices) && n < maxRequestMessages {
			m := &messages[indices[n]]
			size += len(m.Key) + len(m.Value)
			if n > 0 && size > maxRequest {
				break
			}
			n++
		}
		if !p.sendOne(ctx, topic, partition, messages, indices[:n], &out) {
			out.again = append(out.again, indices[n:]...)
			break
		}
		indices = indices[n:]
	}
	return out
}

// sendOne writes one request; one that is refused for good is cut in halves until the message to blame stands alone.
// It is false if something has to be repeated.
func (p *Producer) sendOne(ctx context.Context, topic string, partition int, messages []Message, indices []int, out *outcome) bool {
	err := p.request(ctx, topic, partition, messages, indices)
	switch {
	case err == nil:
		out.done += len(indices)
		return true
	case !permanent(err):
		out.again = append(out.again, indices...)
		out.err = err
		return false
	case len(indices) == 1 || !perMessage(err):
		for _, i := range indices {
			out.failed = append(out.failed, FailedMessage{i, err})
		}
		return true
	}
	half := len(indices) / 2
	if !p.sendOne(ctx, topic, partition, messages, indices[:half], out) {
		out.again = append(out.again, indices[half:]...)
		return false
	}
	return p.sendOne(ctx, topic, partition, messages, indices[half:], out)
}

func (p *Producer) request(ctx context.Context, topic string, partition int, messages []Message, indices []int) error {
	compression := kafka.Lz4
	if p.cfg.Compression == Zstd {
		compression = kafka.Zstd
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := p.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Compression: compression,
		Records: &records{messages: messages, indices: indices},
	})
	if err != nil {
		return err
	}
	return res.Error
}

// permanent tells errors that no repetition mends.
func permanent(err error) bool {
	code, ok := errors.AsType[kafka.Error](err)
	if !ok {
		return false
	}
	switch code {
	case kafka.TopicAuthorizationFailed, kafka.InvalidTopic, kafka.UnsupportedForMessageFormat, kafka.UnsupportedCompressionType:
		return true
	}
	return perMessage(err)
}

// hopeless tells errors about the client, not about messages, that no repetition mends.
func hopeless(err error) bool {
	code, ok := errors.AsType[kafka.Error](err)
	if !ok {
		return false
	}
	switch code {
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.ClusterAuthorizationFailed, kafka.UnsupportedVersion:
		return true
	}
	return false
}

// perMessage tells permanent errors that one message may be to blame for.
func perMessage(err error) bool {
	code, ok := errors.AsType[kafka.Error](err)
	if !ok {
		return false
	}
	switch code {
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.PolicyViolation, kafka.InvalidTimestamp:
		return true
	}
	return false
}

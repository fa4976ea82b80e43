package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/minecanary/minecanary/consumer"
)

// Where a partition begins that the group never read.
const (
	FromEarliest = "earliest"
	FromLatest   = "latest"
)

// Defaults of Config; facts of measurement are in docs/decisions.
const (
	DefaultMinBytes      = 256 << 10
	DefaultMaxBytes      = 1 << 20
	DefaultMaxWait       = 100 * time.Millisecond
	DefaultBatchBytes    = 8 << 20
	DefaultBatchMessages = 20_000
	DefaultBatchWait     = 100 * time.Millisecond
	DefaultBuffer        = 192 << 20
	DefaultSession       = 10 * time.Second
	DefaultHeartbeat     = time.Second
	DefaultStall         = 15 * time.Second
	DefaultRefresh       = 5 * time.Second
)

const (
	// inFlight is how many buffers a partition has: one is filled while the others are with the receiver.
	inFlight = 3
	// minBatchBytes is the least that the share of Config.Buffer gives one buffer.
	minBatchBytes = 256 << 10
	// commitInterval is the least time between two commits.
	commitInterval = time.Second
	// closeGrace is how long Close lets the group be left in good order before it cuts the connections.
	closeGrace = 3 * time.Second
	// rebalanceTimeout is how long the group waits for a member to join again.
	rebalanceTimeout = 10 * time.Second
)

// ErrClosed is returned by Read after Close.
var ErrClosed = errors.New("kafka: the source is closed")

// Config says what to read and how. Zero values mean the defaults.
type Config struct {
	Client Client
	Topics []string
	// Group is the consumer group's name.
	Group string
	// Start tells where to begin an assigned partition; nil means at the committed offset, else at From. If it fails it is
	// asked again, with back-off, as long as the partition is assigned.
	Start consumer.StartFunc
	// From is where a partition begins that was never read: FromEarliest (the default) or FromLatest.
	From string
	// Rebuild is how far back a partition is read whose state was lost; 0 means from its beginning.
	Rebuild time.Duration

	// MinBytes, MaxBytes and MaxWait are those of one fetch: the broker waits up to MaxWait for MinBytes.
	MinBytes, MaxBytes int
	MaxWait            time.Duration
	// A batch is handed over when it has BatchBytes or BatchMessages, when BatchWait has passed since its first message, or
	// when everything in the partition was read. Its data may exceed BatchBytes by consumer.MaxLine.
	BatchBytes, BatchMessages int
	BatchWait                 time.Duration
	// Buffer bounds the bytes of all batches that are gathered or not yet released: with many partitions batches become
	// smaller than BatchBytes, down to 256 KiB each.
	Buffer int

	// SessionTimeout is how long the group waits for a sign of life (brokers accept 6 s to 30 min by default);
	// HeartbeatInterval how often one is sent, which is also how soon a rebalance is noticed.
	SessionTimeout, HeartbeatInterval time.Duration
	// Stall is how long a partition may make no progress, though there is more to read and the receiver does not block,
	// before its reader is restarted.
	Stall time.Duration
	// Refresh is how often topics, partitions and their ends are looked up.
	Refresh time.Duration

	// OnError is told what went wrong and is being retried. partition is "topic/partition", a topic's name, or "" for the
	// group. It is called from several goroutines and must not block.
	OnError func(partition string, err error)
}

// Validate tells everything that is wrong, without I/O.
func (c Config) Validate() error {
	errs := []error{c.Client.Validate()}
	if len(c.Topics) == 0 {
		errs = append(errs, errors.New("kafka: no topics to read"))
	}
	for _, t := range c.Topics {
		if err := validTopic(t); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Group == "" {
		errs = append(errs, errors.New("kafka: the consumer group has no name"))
	}
	if c.From != "" && c.From != FromEarliest && c.From != FromLatest {
		errs = append(errs, fmt.Errorf("kafka: from %q is neither %s nor %s", c.From, FromEarliest, FromLatest))
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"rebuild", int64(c.Rebuild)},
		{"min bytes", int64(c.MinBytes)},
		{"max bytes", int64(c.MaxBytes)},
		{"max wait", int64(c.MaxWait)},
		{"batch bytes", int64(c.BatchBytes)},
		{"batch messages", int64(c.BatchMessages)},
		{"batch wait", int64(c.BatchWait)},
		{"buffer", int64(c.Buffer)},
		{"session timeout", int64(c.SessionTimeout)},
		{"heartbeat interval", int64(c.HeartbeatInterval)},
		{"stall", int64(c.Stall)},
		{"refresh", int64(c.Refresh)},
	} {
		if v.value < 0 {
			errs = append(errs, fmt.Errorf("kafka: %s is negative", v.name))
		}
	}
	d := c.withDefaults()
	if d.MinBytes > d.MaxBytes {
		errs = append(errs, fmt.Errorf("kafka: min bytes %d is over max bytes %d", d.MinBytes, d.MaxBytes))
	}
	if d.MaxBytes > maxFetch {
		errs = append(errs, fmt.Errorf("kafka: max bytes %d is over %d", d.MaxBytes, maxFetch))
	}
	if d.MaxWait >= idleTimeout {
		errs = append(errs, fmt.Errorf("kafka: max wait %s is not below %s", d.MaxWait, idleTimeout))
	}
	if d.HeartbeatInterval > d.SessionTimeout/3 {
		errs = append(errs, fmt.Errorf("kafka: heartbeat interval %s is over a third of the session timeout %s",
			d.HeartbeatInterval, d.SessionTimeout))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.From = orDefault(c.From, FromEarliest)
	c.MinBytes = orDefault(c.MinBytes, DefaultMinBytes)
	c.MaxBytes = orDefault(c.MaxBytes, DefaultMaxBytes)
	c.MaxWait = orDefault(c.MaxWait, DefaultMaxWait)
	c.BatchBytes = orDefault(c.BatchBytes, DefaultBatchBytes)
	c.BatchMessages = orDefault(c.BatchMessages, DefaultBatchMessages)
	c.BatchWait = orDefault(c.BatchWait, DefaultBatchWait)
	c.Buffer = orDefault(c.Buffer, DefaultBuffer)
	c.SessionTimeout = orDefault(c.SessionTimeout, DefaultSession)
	c.HeartbeatInterval = orDefault(c.HeartbeatInterval, DefaultHeartbeat)
	c.Stall = orDefault(c.Stall, DefaultStall)
	c.Refresh = orDefault(c.Refresh, DefaultRefresh)
	if c.OnError == nil {
		c.OnError = func(string, error) {}
	}
	return c
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// PartitionStats is how far reading one partition is.
type PartitionStats struct {
	// Handed is the offset after the last batch that was handed over; -1 before the partition was started.
	Handed int64
	// End is the partition's end as last known, -1 if it is not.
	End int64
	// Lag is how many offsets there are between what was read and the end.
	Lag int64
	// Committed is the group's offset, -1 if there is none.
	Committed int64
	// Restarts counts readers that the watchdog replaced since the source was made.
	Restarts int64
}

// Source reads topics as a member of a consumer group. It implements consumer.Source.
//
// Batches: Partition and Name are "topic/partition", From is always the Next of the batch before (or Start.Offset) and
// gaps in the offsets (compaction, markers of transactions, records deleted by retention) lie inside. A batch ends at
// each of Start.Cuts; where a gap lies across a cut it has no message at all.
//
// Acknowledgements: nil moves the group's offset over the contiguous run of acknowledged batches (sent once a second and
// when the partition is given up, and never lower than it was); consumer.ErrRestart gives up all that was handed over of
// the partition and starts it anew by Config.Start; any other error stops commits of the partition until it is started
// anew. Acknowledgements for partitions that were revoked are ignored.
type Source struct {
	cfg Config
	out chan item

	mu      sync.Mutex
	started bool
	cancel  context.CancelFunc
	net     *network
	client  *kafka.Client
	// oversized lets one partition at a time read the slow way: a message there lies in memory as a whole.
	oversized chan struct{}
	done      chan struct{}
	closed    chan struct{}

	state    sync.Mutex
	counts   map[string]int // topic → number of partitions, as last known
	brokers  []string
	assigned map[string]*partition
	joined   bool
	restarts map[string]int64
	// changed is closed and replaced when topics appear or grow.
	changed chan struct{}
}

type item struct {
	batch consumer.Batch
	ack   consumer.AckFunc
	part  *partition
	epoch uint64
}

var _ consumer.Source = (*Source)(nil)

// New makes a source; it does no I/O and starts nothing.
func New(cfg Config) *Source {
	return &Source{
		cfg: cfg.withDefaults(), out: make(chan item), oversized: make(chan struct{}, 1),
		done: make(chan struct{}), closed: make(chan struct{}),
		counts: map[string]int{}, assigned: map[string]*partition{}, restarts: map[string]int64{},
		changed: make(chan struct{}),
	}
}

// Connect checks the configuration, reads certificate files and starts the work in the background. It does not wait for
// the brokers and does not fail without them: Ready tells when reading has begun. The work ends with Close, not with ctx.
func (s *Source) Connect(ctx context.Context) error {
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	if s.started {
		return errors.New("kafka: the source is connected already")
	}
	n, err := newNetwork(s.cfg.Client)
	if err != nil {
		return err
	}
	s.started = true
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.net, s.cancel = n, cancel
	client, closeClient := n.kafkaClient(s.cfg.Refresh, s.cfg.Topics...)
	s.client = client
	go func() {
		defer close(s.done)
		defer closeClient()
		var wg sync.WaitGroup
		wg.Go(func() { s.watchTopics(run) })
		s.belong(run)
		wg.Wait()
	}()
	return nil
}

// Read implements consumer.Source. It never returns io.EOF: topics do not end.
func (s *Source) Read(ctx context.Context) (consumer.Batch, consumer.AckFunc, error) {
	for {
		select {
		case <-ctx.Done():
			return consumer.Batch{}, nil, ctx.Err()
		case <-s.closed:
			return consumer.Batch{}, nil, ErrClosed
		case it := <-s.out:
			if !it.part.ledger.current(it.epoch) {
				it.batch.Release()
				continue
			}
			return it.batch, it.ack, nil
		}
	}
}

// Close leaves the group, with a last commit, and ends everything; it takes at most 5 s, and after 3 s it cuts what
// still waits for a broker.
func (s *Source) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	started := s.started
	s.mu.Unlock()
	if !started {
		return nil
	}
	s.cancel()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-s.done:
	case <-grace.C:
		s.net.conns.cut()
		<-s.done
	}
	s.net.conns.cut()
	return nil
}

// Ready tells whether the source is a member of the group and has started all partitions that it was given (there may
// be none).
func (s *Source) Ready() bool {
	s.state.Lock()
	defer s.state.Unlock()
	if !s.joined {
		return false
	}
	for _, p := range s.assigned {
		if !p.snapshot().started {
			return false
		}
	}
	return true
}

// Partitions gives all partitions of all topics as last known, whoever reads them, sorted.
func (s *Source) Partitions() []string {
	s.state.Lock()
	defer s.state.Unlock()
	var names []string
	for topic, n := range s.counts {
		for i := range n {
			names = append(names, partitionName(topic, i))
		}
	}
	slices.Sort(names)
	return names
}

// Assigned gives the partitions that this source reads now, sorted.
func (s *Source) Assigned() []string {
	s.state.Lock()
	defer s.state.Unlock()
	return slices.Sorted(maps.Keys(s.assigned))
}

// AtEnd tells whether all of an assigned partition was handed over and acknowledged, up to the end that the last fetch
// saw: what is still on its way must not be taken for silence.
func (s *Source) AtEnd(partition string) bool {
	s.state.Lock()
	p := s.assigned[partition]
	s.state.Unlock()
	if p == nil {
		return false
	}
	v := p.snapshot()
	return v.fetched && !v.gathering && v.behind() == 0 && p.ledger.settled()
}

// Stats tells how far the assigned partitions are.
func (s *Source) Stats() map[string]PartitionStats {
	s.state.Lock()
	defer s.state.Unlock()
	stats := make(map[string]PartitionStats, len(s.assigned))
	for name, p := range s.assigned {
		v := p.snapshot()
		stats[name] = PartitionStats{
			Handed: v.handed, End: v.end, Lag: v.behind(), Committed: p.ledger.committedOffset(), Restarts: s.restarts[name],
		}
	}
	return stats
}

func (s *Source) report(partition string, err error) { s.cfg.OnError(partition, err) }

func partitionName(topic string, partition int) string { return topic + "/" + strconv.Itoa(partition) }

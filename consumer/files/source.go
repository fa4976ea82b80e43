// Package files reads records from files, glob patterns and standard input, and follows files that grow and rotate.
//
// Laws: batches hold whole lines, in the order of the file, each once. A batch's Data lies in a lent buffer until
// Release; there is a fixed number of buffers, so a receiver that falls behind stops the reading, not the machine. A
// position says which file it counts in by content (see Config.Start), so that a restart finds the place again though
// files were renamed, copied or compressed meanwhile.
//
// What rotation cannot keep: a writer that copies and truncates loses by itself what it writes between the two; a file
// that is gone before it was looked at once cannot be read; a line that copytruncate cuts in two arrives as two.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary/consumer"
)

// Defaults and bounds of Config.
const (
	// DefaultBatchBytes is the size of a batch.
	DefaultBatchBytes = 256 << 10
	// MinBatchBytes is the least size of a batch; the largest is consumer.MaxLine.
	MinBatchBytes = 16
	// DefaultBuffers is the number of batches that may be outstanding.
	DefaultBuffers = 8
	// DefaultPoll is how often followed files are looked at.
	DefaultPoll = 250 * time.Millisecond
	// DefaultGrace is how long a rotated file must be quiet before the next is begun.
	DefaultGrace = 2 * time.Second
	// DefaultRescan is how often patterns are matched again while following.
	DefaultRescan = 5 * time.Second
	// MaxFollowed is the most files that are followed at a time; further ones are reported and left out.
	MaxFollowed = 4096
)

const (
	// lookGap is the least time between two looks at a file that had nothing new, so that a writer of single lines does
	// not cause a batch for each.
	lookGap = 10 * time.Millisecond
	// maxCount is how much of a file is read again after a restart to number the lines.
	maxCount = 64 << 20
	// maxPreface bounds Header.
	maxPreface = 64 << 10
)

// Stdin is the path, name and partition of standard input.
const Stdin = "-"

var (
	// ErrClosed is returned by Read after Close.
	ErrClosed = errors.New("file source is closed")
	// ErrMissed is wrapped by the errors given to Config.OnError when lines may have been missed: the file that was read
	// is gone, and no sibling continues it.
	ErrMissed = errors.New("lines may have been missed")

	errDirectory  = errors.New("is a directory; use a pattern such as dir/*.log")
	errNotRegular = errors.New("is not a regular file")
	errNoMatch    = errors.New("pattern matches no file")
)

// Config says what is read, and how. The zero value of each field but Paths is usable.
type Config struct {
	// Paths are file names, patterns in the syntax of path/filepath.Match (a name that exists is taken as it is), or "-"
	// for standard input. A file given twice is read once.
	Paths []string
	// Follow reads on as files grow and rotate; it ends with the context. Archives, pipes and standard input are read
	// once to their end also then.
	Follow bool
	// Start holds where to go on, by partition: positions as they stood in Batch.Next. The file is looked for at its
	// path and, with Follow, among its siblings by the content of its head; what cannot be found is read from the start
	// as the next generation, and OnError is told. It is ignored for standard input and pipes.
	Start map[string]consumer.Position
	// Archives are patterns of further directories where rotated files may lie, such as /opt/zeek/logs/20*.
	Archives []string
	// BatchBytes is the size of a batch; lines longer than that make a batch of their own. MinBatchBytes to
	// consumer.MaxLine, 0 for DefaultBatchBytes.
	BatchBytes int
	// Buffers is the number of batches that may be outstanding, 0 for DefaultBuffers. Read blocks while all are out, that
	// is, until Batch.Release of one is called.
	Buffers int
	// Poll, Grace and Rescan, 0 for the defaults; see there. Changes are noticed earlier where the system tells of them.
	Poll, Grace, Rescan time.Duration
	// Stdin is what "-" reads. If it is an io.Closer, Close closes it to end a waiting read; otherwise one goroutine
	// lives until that read returns.
	Stdin io.Reader
	// OnError is told what went wrong with one input; reading goes on with the others. The error names the input. It is
	// called by the goroutine that calls Read or Connect. If it is nil, Read returns such errors, and may be called
	// again.
	OnError func(path string, err error)
	// Now is the clock, nil for time.Now.
	Now func() time.Time
}

// Source reads files. See consumer.Source for the contract.
type Source struct {
	cfg  Config
	gap  time.Duration
	pool *pool

	closed    chan struct{}
	closeOnce sync.Once
	wake      chan struct{} // something may be new

	reading   sync.Mutex // held by Connect, Read and, at the end, Close
	connected bool
	queue     []*whole // files that are read to their end, the first is open
	followers []*follower
	turn      int
	looked    time.Time // when nothing new was found last
	idle      bool      // a decompressor or a pipe was not ready
	scanned   time.Time // when patterns were matched last
	crowded   bool      // MaxFollowed was reported
	seen      sums      // heads of rotated files that need not be read
	errs      []error   // to be returned by Read
	watch     *watcher

	done, size atomic.Int64
	known      atomic.Bool
	ends       sync.Map // partition → *atomic.Bool
}

var _ consumer.Source = (*Source)(nil)

// New checks the configuration. It does no I/O.
func New(cfg Config) (*Source, error) {
	if len(cfg.Paths) == 0 {
		return nil, errors.New("no input files")
	}
	for _, p := range slices.Concat(cfg.Paths, cfg.Archives) {
		if p == "" {
			return nil, errors.New("empty path")
		}
		if _, err := filepath.Match(p, ""); err != nil && isPattern(p) {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		if p == Stdin && cfg.Stdin == nil {
			return nil, errors.New("no standard input")
		}
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = DefaultBatchBytes
	}
	if cfg.BatchBytes < MinBatchBytes || cfg.BatchBytes > consumer.MaxLine {
		return nil, fmt.Errorf("batch size %d is not between %d and %d bytes", cfg.BatchBytes, MinBatchBytes, consumer.MaxLine)
	}
	if cfg.Buffers == 0 {
		cfg.Buffers = DefaultBuffers
	}
	if cfg.Buffers < 1 {
		return nil, fmt.Errorf("%d buffers are too few", cfg.Buffers)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Poll, DefaultPoll}, {&cfg.Grace, DefaultGrace}, {&cfg.Rescan, DefaultRescan}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 {
			return nil, fmt.Errorf("negative interval %s", *d.v)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Source{cfg: cfg, gap: min(cfg.Poll, lookGap), closed: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.pool = newPool(cfg.Buffers, cfg.BatchBytes, s.closed)
	return s, nil
}

// Connect looks for the files. Without Follow it fails for a named file that does not exist, a pattern that matches
// nothing, and a directory; with Follow only for a directory. All such errors come at once.
func (s *Source) Connect(ctx context.Context) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.alive(ctx); err != nil {
		return err
	}
	if s.connected {
		return errors.New("file source is connected already")
	}
	found, err := s.expand()
	if err != nil {
		return err
	}
	s.plan(found)
	s.connected = true
	s.scanned = s.cfg.Now()
	if s.cfg.Follow {
		s.watch = newWatcher(s.notify)
		s.watchAll()
	}
	return nil
}

// Read gives the next batch. It blocks while nothing is there and while Config.Buffers batches are not released; it
// returns the context's error, io.EOF after the last batch of the last file (with Follow: if nothing is followed), or
// ErrClosed. Release may be called more than once and after Close; it is nil for a batch without Data. The AckFunc has
// nothing to do, as positions are kept by the receiver, and never fails.
//
// A batch with TooLongLines holds no Data: it stands for one line that was cut out. FirstLine is 0 if it is unknown
// (see Config.Start: more than 64 MiB of a file that is not an archive were left out after a restart).
func (s *Source) Read(ctx context.Context) (consumer.Batch, consumer.AckFunc, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for {
		if err := s.alive(ctx); err != nil {
			return consumer.Batch{}, nil, err
		}
		if !s.connected {
			return consumer.Batch{}, nil, errors.New("file source is not connected")
		}
		if len(s.errs) > 0 {
			err := s.errs[0]
			s.errs = s.errs[1:]
			return consumer.Batch{}, nil, err
		}
		h, err := s.next(ctx)
		if err != nil {
			return consumer.Batch{}, nil, err
		}
		if h != nil {
			return s.lend(h), acknowledged, nil
		}
		if len(s.errs) > 0 {
			continue
		}
		if len(s.queue) == 0 && !s.following() {
			return consumer.Batch{}, nil, io.EOF
		}
		if err := s.wait(ctx); err != nil {
			return consumer.Batch{}, nil, err
		}
	}
}

// handed is a batch and the buffer it lies in (nil for none).
type handed struct {
	batch consumer.Batch
	buf   []byte
}

func acknowledged(context.Context, error) error { return nil }

// lend adds the function that gives the buffer back, once.
func (s *Source) lend(h *handed) consumer.Batch {
	if h.buf == nil {
		return h.batch
	}
	if len(h.batch.Data) == 0 {
		s.pool.put(h.buf)
		return h.batch
	}
	var given atomic.Bool
	h.batch.Release = func() {
		if given.CompareAndSwap(false, true) {
			s.pool.put(h.buf)
		}
	}
	return h.batch
}

// next asks every input in turn, beginning after the one that gave the last batch; nil if none has anything now.
func (s *Source) next(ctx context.Context) (*handed, error) {
	now := s.cfg.Now()
	if s.cfg.Follow && now.Sub(s.scanned) >= s.cfg.Rescan {
		s.scanned = now
		s.rescan()
	}
	s.idle = false
	n := len(s.followers) + 1
	for i := range n {
		k := (s.turn + i) % n
		var h *handed
		var err error
		if k < len(s.followers) {
			f := s.followers[k]
			if f.done || now.Before(f.quiet) {
				continue
			}
			if h, err = f.step(ctx, now); h == nil {
				f.quiet = now.Add(s.gap)
			}
		} else {
			h, err = s.stepQueue(ctx)
		}
		if h != nil || err != nil {
			s.turn = (k + 1) % n
			return h, err
		}
	}
	s.looked = s.cfg.Now()
	return nil, nil
}

// stepQueue reads the first of the files that are read to their end.
func (s *Source) stepQueue(ctx context.Context) (*handed, error) {
	if len(s.queue) == 0 {
		return nil, nil
	}
	w := s.queue[0]
	h, err := w.step(ctx, len(s.followers) == 0)
	if w.ended {
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
	return h, err
}

// following tells whether anything may come yet besides the queue.
func (s *Source) following() bool {
	if s.cfg.Follow && slices.ContainsFunc(s.cfg.Paths, isPattern) {
		return true
	}
	return slices.ContainsFunc(s.followers, func(f *follower) bool { return !f.done })
}

// wait until something may be new, and not before lookGap has passed.
func (s *Source) wait(ctx context.Context) error {
	timer := time.NewTimer(s.cfg.Poll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
		rest := s.gap - s.cfg.Now().Sub(s.looked)
		if rest <= 0 || s.idle {
			break
		}
		timer.Reset(rest)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-s.closed:
		}
	case <-ctx.Done():
	case <-s.closed:
	}
	return s.alive(ctx)
}

// notify wakes Read; it never blocks.
func (s *Source) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// alive tells why reading must end.
func (s *Source) alive(ctx context.Context) error {
	select {
	case <-s.closed:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// report tells what went wrong with an input.
func (s *Source) report(partition string, err error) {
	if s.cfg.OnError != nil {
		s.cfg.OnError(partition, err)
		return
	}
	s.errs = append(s.errs, err)
}

// Close ends a Read under way and frees everything. Batches not yet released stay valid. It is safe to call it more
// than once.
func (s *Source) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	s.reading.Lock()
	defer s.reading.Unlock()
	for _, w := range s.queue {
		w.close()
	}
	for _, f := range s.followers {
		f.close()
	}
	s.queue, s.followers = nil, nil
	s.watch.close()
	return nil
}

// Size is the number of bytes on disk of all files, for a bar of progress. It is known after Connect, unless files are
// followed or one of the inputs is a pipe.
func (s *Source) Size() (bytes int64, known bool) { return s.size.Load(), s.known.Load() }

// Done is the number of bytes read from disk or pipes so far, before decompression. It may be called at any time.
func (s *Source) Done() int64 { return s.done.Load() }

// AtEnd tells whether everything that could be read of a partition was handed over when it was looked at last, which
// is at most Config.Poll ago while Read is waiting. It turns true only in a Read after the one that gave the last batch,
// so that batch is known to its receiver. A line without its newline does not count; a partition that ended (EOF) is
// at its end. False for a partition not heard of. Safe from any goroutine.
func (s *Source) AtEnd(partition string) bool {
	v, ok := s.ends.Load(partition)
	return ok && v.(*atomic.Bool).Load()
}

// Partitions names the partitions that are known, in no order. Safe from any goroutine.
func (s *Source) Partitions() []string {
	var names []string
	s.ends.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	return names
}

// endFlag gives the flag AtEnd reads.
func (s *Source) endFlag(partition string) *atomic.Bool {
	v, _ := s.ends.LoadOrStore(partition, new(atomic.Bool))
	return v.(*atomic.Bool)
}

// isPartition tells whether a path is read under its own name.
func (s *Source) isPartition(path string) bool {
	_, ok := s.ends.Load(path)
	return ok
}

// maxSums bounds the heads that are remembered; the oldest goes first.
const maxSums = 16 << 10

// sums remembers heads.
type sums struct {
	set  map[headSum]struct{}
	ring []headSum
	next int
}

func (m *sums) has(h headSum) bool {
	_, ok := m.set[h]
	return ok
}

func (m *sums) add(h headSum) {
	if h.n == 0 || m.has(h) {
		return
	}
	if m.set == nil {
		m.set = map[headSum]struct{}{}
	}
	m.set[h] = struct{}{}
	if len(m.ring) < maxSums {
		m.ring = append(m.ring, h)
		return
	}
	delete(m.set, m.ring[m.next])
	m.ring[m.next] = h
	m.next = (m.next + 1) % maxSums
}

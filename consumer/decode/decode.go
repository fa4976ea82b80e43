// Package decode is the stage between a source and the engine: it finds out the form of each file, decodes lines on all
// cores, slices records, and hands over the results in the order of the source. Bad lines are counted, sampled and kept
// as dead letters; no good line is lost for them.
package decode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/recognise"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// Marked says what to do with conn rows that repeat what conn_interim records hold (interim_seq).
type Marked uint8

const (
	// SkipMarked leaves them out: the interim records come by another file or topic.
	SkipMarked Marked = iota
	// DeferMarked holds them back to the end of the input, and counts those whose connection had no interim record in
	// it: a conn.log on its own is complete, and together with conn_interim.log nothing counts twice, in any order.
	DeferMarked
)

// MaxDeferred bounds the rows held back; beyond it the oldest are settled by what was seen so far.
const MaxDeferred = 200_000

// ReasonTooLong is the reason of lines longer than consumer.MaxLine.
const ReasonTooLong = "too_long"

// Config is how to decode.
type Config struct {
	// Form forces a form; FormUnknown finds it out from each file's first recognised line.
	Form   consumer.Form
	Slicer *slicer.Slicer
	Marked Marked
	// Workers is the number of decoding goroutines; 0: one per processor.
	Workers int
	// OnBad hears of every bad line, in order, on one goroutine. An error ends the run.
	OnBad func(Bad) error
	// OnInterimMissing hears once, with SkipMarked, that rows of the named input were left out although no interim
	// record was ever seen.
	OnInterimMissing func(name string)
}

// Bad is a line that is no record.
type Bad struct {
	// Name is the input as people know it, Line its line number (0: unknown), Offset the byte it starts at.
	Name   string
	Line   int64
	Offset int64
	Reason string
	// Data is the line; nil if it was too long to keep. It is valid during the call.
	Data []byte
}

// Result is what became of one batch.
type Result struct {
	Partition  string
	From, Next consumer.Position
	// Slices belong to the receiver until Release.
	Slices []minecanary.Slices
	// Newest is the latest record end, Unix microseconds; 0 for none.
	Newest  int64
	Ack     consumer.AckFunc
	Release func()
}

// Counts are what was read so far.
type Counts struct {
	Lines, Records, Bytes uint64
	// Packets and IP bytes of all records counted, both directions.
	Packets, IPBytes uint64
	// Slices is the number of counted slices.
	Slices uint64
	// Skipped and Bad count lines by reason.
	Skipped, Bad map[string]uint64
	// InterimMissing counts marked rows of connections of which no interim record was seen.
	InterimMissing uint64
}

// Total adds up a count by reason.
func Total(byReason map[string]uint64) (n uint64) {
	for _, c := range byReason {
		n += c
	}
	return n
}

// Stage decodes.
type Stage struct {
	cfg Config

	mu     sync.Mutex
	counts Counts

	files   map[string]*file
	interim uids
	// interimSeen tells, with SkipMarked, that interim records come at all.
	interimSeen bool
	deferred    []deferredRow
	warned      bool
	pool        sync.Pool
}

// file is what is known of a partition's current file; owned by the reading goroutine.
type file struct {
	form   consumer.Form
	header *zeek.Header
}

// MaxInterim bounds the connections with interim records that are remembered; beyond it the half seen first is forgotten.
const MaxInterim = 1_000_000

// uids is a bounded set in two generations.
type uids struct{ young, old map[minecanary.UID]struct{} }

func (u *uids) add(uid minecanary.UID) {
	if u.young == nil || len(u.young) >= MaxInterim/2 {
		u.old, u.young = u.young, map[minecanary.UID]struct{}{}
	}
	u.young[uid] = struct{}{}
}

func (u *uids) has(uid minecanary.UID) bool {
	if _, ok := u.young[uid]; ok {
		return true
	}
	_, ok := u.old[uid]
	return ok
}

// recognise fixes the form by the first line that has one.
func (f *file) recognise(data []byte) {
	if f.form != consumer.FormUnknown {
		return
	}
	for line := range lines(data) {
		if form, ok := recognise.Recognise(line); ok {
			f.form = form
			return
		}
	}
}

type deferredRow struct {
	uid    minecanary.UID
	slices minecanary.Slices
}

// New gives a stage.
func New(cfg Config) *Stage {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	return &Stage{
		cfg: cfg, files: map[string]*file{}, counts: Counts{Skipped: map[string]uint64{}, Bad: map[string]uint64{}},
	}
}

// Counts gives a copy of the counters; safe from any goroutine.
func (s *Stage) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Skipped, c.Bad = maps.Clone(c.Skipped), maps.Clone(c.Bad)
	return c
}

// job is one batch on its way through a worker.
type job struct {
	batch  consumer.Batch
	ack    consumer.AckFunc
	form   consumer.Form
	header *zeek.Header

	done chan struct{}

	slices   []minecanary.Slices
	newest   int64
	counts   Counts
	bad      []Bad
	deferred []deferredRow
	interim  []minecanary.UID
}

// Run reads the source to its end and sends a result for every batch, in order. It closes out when it returns.
func (s *Stage) Run(ctx context.Context, src consumer.Source, out chan<- Result) error {
	defer close(out)
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan *job)
	order := make(chan *job, s.cfg.Workers+1)

	g.Go(func() error {
		defer close(jobs)
		defer close(order)
		for {
			b, ack, err := src.Read(ctx)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			j := s.prepare(b, ack)
			for _, ch := range []chan *job{order, jobs} {
				select {
				case ch <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	})
	for range s.cfg.Workers {
		g.Go(func() error {
			w := s.newWorker()
			for j := range jobs {
				w.decode(j)
				close(j.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range order {
			select {
			case <-j.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := s.settle(ctx, j, out); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.settleDeferred(ctx, out)
	})
	return g.Wait()
}

// prepare fixes the form and, for TSV, the header in force at the start of the batch. It runs on the reading goroutine,
// as both depend on what came before.
func (s *Stage) prepare(b consumer.Batch, ack consumer.AckFunc) *job {
	f := s.files[b.Partition]
	if f == nil || b.NewFile {
		f = &file{form: s.cfg.Form}
		s.files[b.Partition] = f
		f.recognise(b.Header)
		if f.form == consumer.FormZeekTSV {
			f.header = headerAfter(nil, b.Header)
		}
	}
	f.recognise(b.Data)
	j := &job{batch: b, ack: ack, form: f.form, header: f.header, done: make(chan struct{})}
	if f.form == consumer.FormZeekTSV {
		f.header = headerAfter(f.header, b.Data)
	}
	if b.EOF {
		delete(s.files, b.Partition)
	}
	return j
}

// headerAfter reads only the header lines of a batch.
func headerAfter(h *zeek.Header, data []byte) *zeek.Header {
	var d *zeek.TSV
	var rec minecanary.Record
	for len(data) > 0 {
		if data[0] != '#' {
			i := bytes.Index(data, []byte("\n#"))
			if i < 0 {
				break
			}
			data = data[i+1:]
		}
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		if d == nil {
			d = zeek.NewTSV(h)
		}
		d.Decode(line, &rec)
	}
	if d == nil {
		return h
	}
	return d.Header()
}

// lines yields the lines of data without their newline.
func lines(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			line := data
			if i := bytes.IndexByte(data, '\n'); i >= 0 {
				line, data = data[:i], data[i+1:]
			} else {
				data = nil
			}
			if !yield(line) {
				return
			}
		}
	}
}

// worker decodes batches; its decoders learn the order of keys.
type worker struct {
	stage *Stage
	json  *zeek.JSON
	eve   *eve.Decoder
	rec   minecanary.Record
}

func (s *Stage) newWorker() *worker {
	return &worker{stage: s, json: zeek.NewJSON(), eve: eve.New()}
}

// decoder turns one line into a record.
type decoder interface {
	Decode(line []byte, rec *minecanary.Record) consumer.Outcome
}

// nothing decodes files of which no line was recognised yet.
type nothing struct{}

func (nothing) Decode(line []byte, _ *minecanary.Record) consumer.Outcome {
	if len(bytes.TrimSpace(line)) == 0 {
		return consumer.Outcome{Kind: consumer.Skipped, Reason: "empty"}
	}
	return consumer.Outcome{Kind: consumer.Bad, Reason: "unrecognised"}
}

func (w *worker) decode(j *job) {
	var d decoder = nothing{}
	switch j.form {
	case consumer.FormZeekJSON:
		d = w.json
	case consumer.FormZeekTSV:
		d = zeek.NewTSV(j.header)
	case consumer.FormEVE:
		d = w.eve
	case consumer.FormUnknown:
	}
	if buf, ok := w.stage.pool.Get().(*[]minecanary.Slices); ok {
		j.slices = (*buf)[:0]
	}
	j.counts = Counts{Skipped: map[string]uint64{}, Bad: map[string]uint64{}, Bytes: uint64(len(j.batch.Data))}
	number, offset := j.batch.FirstLine-1, j.batch.LineStart
	for _, n := range j.batch.TooLongLines {
		j.counts.Lines++
		j.addBad(Bad{Line: n, Offset: offset, Reason: ReasonTooLong})
	}
	data := j.batch.Data
	for len(data) > 0 {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		number++
		j.counts.Lines++
		switch out := d.Decode(line, &w.rec); out.Kind {
		case consumer.Decoded:
			w.slice(j)
		case consumer.Skipped:
			j.counts.Skipped[out.Reason]++
		case consumer.Bad:
			b := Bad{Line: number, Offset: offset, Reason: out.Reason, Data: bytes.Clone(line)}
			if j.batch.FirstLine <= 0 {
				b.Line = 0
			}
			j.addBad(b)
		}
		offset += int64(len(line)) + 1
	}
}

func (j *job) addBad(b Bad) {
	b.Name = j.batch.Name
	j.counts.Bad[b.Reason]++
	j.bad = append(j.bad, b)
}

// slice takes in the record just decoded.
func (w *worker) slice(j *job) {
	rec := &w.rec
	j.newest = max(j.newest, rec.End)
	marked := rec.InterimSeq > 0 && rec.Kind == minecanary.KindConn
	if marked && w.stage.cfg.Marked == SkipMarked {
		j.counts.Skipped["interim"]++
		j.deferred = append(j.deferred, deferredRow{uid: rec.UID})
		return
	}
	j.counts.Records++
	if rec.Kind == minecanary.KindInterim {
		j.interim = append(j.interim, rec.UID)
	}
	n := len(j.slices)
	j.slices = slices.Grow(j.slices, 1)[:n+1]
	sl := &j.slices[n]
	ok := w.stage.cfg.Slicer.Slice(rec, sl)
	if marked && ok {
		j.counts.Records--
		j.deferred = append(j.deferred, deferredRow{rec.UID, *sl})
		ok = false
	} else {
		j.counts.Packets += rec.OrigPackets + rec.RespPackets
		j.counts.IPBytes += rec.OrigBytes + rec.RespBytes
	}
	if !ok {
		j.slices = j.slices[:n]
		return
	}
	j.counts.Slices += uint64(sl.Counted())
}

// settle counts a batch, tells of its bad lines, and hands it over.
func (s *Stage) settle(ctx context.Context, j *job, out chan<- Result) error {
	for _, b := range j.bad {
		if s.cfg.OnBad == nil {
			break
		}
		if err := s.cfg.OnBad(b); err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
	}
	r := Result{
		Partition: j.batch.Partition, From: j.batch.From, Next: j.batch.Next,
		Slices: j.slices, Newest: j.newest, Ack: j.ack,
	}
	if s.cfg.Marked == SkipMarked {
		// Only whether interim records come at all is of interest.
		s.interimSeen = s.interimSeen || len(j.interim) > 0
		if !s.interimSeen && len(j.deferred) > 0 {
			j.counts.InterimMissing += uint64(len(j.deferred))
			if s.cfg.OnInterimMissing != nil && !s.warned {
				s.warned = true
				s.cfg.OnInterimMissing(j.batch.Name)
			}
		}
	} else {
		for _, uid := range j.interim {
			s.interim.add(uid)
		}
		s.deferred = append(s.deferred, j.deferred...)
		if over := len(s.deferred) - MaxDeferred; over > 0 {
			r.Slices = append(r.Slices, s.keepDeferred(s.deferred[:over], &j.counts)...)
			s.deferred = append(s.deferred[:0], s.deferred[over:]...)
		}
	}
	s.add(&j.counts)
	if j.batch.Release != nil {
		j.batch.Release()
	}
	buf := r.Slices
	r.Release = func() { s.pool.Put(&buf) }
	select {
	case out <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepDeferred gives the slices of the rows whose connection had no interim record, and counts all of them.
func (s *Stage) keepDeferred(rows []deferredRow, c *Counts) (kept []minecanary.Slices) {
	if c.Skipped == nil {
		c.Skipped = map[string]uint64{}
	}
	for i := range rows {
		if s.interim.has(rows[i].uid) {
			c.Skipped["interim"]++
			continue
		}
		sl := &rows[i].slices
		c.Records++
		c.Packets += sl.ClientPackets + sl.ServerPackets
		c.IPBytes += sl.ClientBytes + sl.ServerBytes
		c.Slices += uint64(sl.Counted())
		kept = append(kept, *sl)
	}
	return kept
}

// settleDeferred hands over the rows held back to the end.
func (s *Stage) settleDeferred(ctx context.Context, out chan<- Result) error {
	var c Counts
	kept := s.keepDeferred(s.deferred, &c)
	s.deferred = nil
	s.add(&c)
	if len(kept) == 0 {
		return nil
	}
	select {
	case out <- Result{Slices: kept}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Stage) add(c *Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Lines += c.Lines
	s.counts.Records += c.Records
	s.counts.Bytes += c.Bytes
	s.counts.Packets += c.Packets
	s.counts.IPBytes += c.IPBytes
	s.counts.Slices += c.Slices
	s.counts.InterimMissing += c.InterimMissing
	for k, n := range c.Skipped {
		s.counts.Skipped[k] += n
	}
	for k, n := range c.Bad {
		s.counts.Bad[k] += n
	}
}

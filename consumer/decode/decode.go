// Package decode is the stage between a source and the engine: it finds out the form of each file and the envelope of
// each message, decodes lines on all cores, slices records, and hands over the results in the order of the source. Bad
// lines are counted, sampled and kept as dead letters; no good line is lost for them.
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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/flows"
	"github.com/minecanary/minecanary/consumer/recognise"
	"github.com/minecanary/minecanary/consumer/sighting"
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

// The reasons of bad lines that do not come from a decoder.
const (
	// ReasonTooLong: a line or message longer than consumer.MaxLine.
	ReasonTooLong = "too_long"
	// ReasonFuture: a record in a message that ends more than MaxAhead after now.
	ReasonFuture = "future"
)

// MaxAhead is how far after now a record in a message may end. A sensor's clock may be wrong by hours, or a day where a
// zone was forgotten; one that is wrong by years would take the event time of its partition with it.
const MaxAhead = 24 * time.Hour

// MaxSensors is the number of sensors whose newest record is remembered; further ones are not.
const MaxSensors = 4096

// Config is how to decode.
type Config struct {
	// Form forces a form; FormUnknown finds it out from each file's first recognised line. It is not for messages, for
	// which Topics is.
	Form consumer.Form
	// Topics holds what is known of topics beforehand, by name.
	Topics map[string]envelope.Topic
	// EVE is what is known of Suricata's rules.
	EVE    eve.Config
	Slicer *slicer.Slicer
	Marked Marked
	// Workers is the number of decoding goroutines; 0: one per processor.
	Workers int
	// OnBad hears of every bad line, in order, on one goroutine. An error ends the run.
	OnBad func(Bad) error
	// OnInterimMissing hears once, with SkipMarked, that rows of the named input were left out although no interim
	// record was ever seen.
	OnInterimMissing func(name string)
	// KeepOrigin keeps the lines and messages that slices were made of with the Result.
	KeepOrigin bool
	// Now is the clock that records in messages are held to (ReasonFuture); nil: they are not.
	Now func() time.Time
}

// Bad is a line of a file, or a message or a part of one, that is no record.
type Bad struct {
	// Name is the input as people know it.
	Name string
	// Partition and Topic are those of the batch; Topic is "" for files.
	Partition, Topic string
	// Line is the number of the line in its file, from 1; 0 if it is unknown, and for messages.
	Line int64
	// Offset is the byte the line starts at in its file; for messages, the message's offset in its partition.
	Offset int64
	// Record is the number of the bad part in its message, from 1; 0 if the message is bad as a whole, and for files.
	// With Partition and Offset it names one Bad, the same whenever the message is read.
	Record int
	Reason string
	// Data is the line, nil if it was too long to keep; or the first consumer.MaxSample bytes of the message as it came,
	// or of the JSON object or line in it that the bad part is in (see envelope.Line). It is valid during the call.
	Data []byte
}

// Result is what became of one batch.
type Result struct {
	Partition  string
	From, Next consumer.Position
	// Token is that of the batch.
	Token uint64
	// Slices belong to the receiver until Release.
	Slices []minecanary.Slices
	// Sightings are what the sensors saw beside traffic. They belong to the receiver for good.
	Sightings []minecanary.Sighting
	// Newest is the latest record end, Unix microseconds; 0 for none.
	Newest int64
	// Data is that of the batch, and Origin tells for each of Slices where in it the line is that it was made of. Both
	// are nil unless Config.KeepOrigin is set, and belong to the receiver until Release.
	Data   []byte
	Origin []Origin
	Ack    consumer.AckFunc
	// Release gives Slices, Origin and Data back, once; nil if there is nothing to give back.
	Release func()
}

// Origin is where in Result.Data the line is that a slice was made of, from Begin to before End: the line of a file; the
// message, envelope and all; the JSON object in it if a message has several, in lines or in an array. Several slices
// have the same Origin if it holds several records deeper inside, or is compressed. It is empty for rows that were held
// back (DeferMarked), whose batch is gone.
type Origin struct{ Begin, End int }

// Counts are what was read so far.
type Counts struct {
	// Lines are lines of files, and records and bad parts in messages; Records those of use. Sighted are those that gave
	// sightings instead.
	Lines, Records, Sighted, Bytes uint64
	// Messages is the number of messages.
	Messages uint64
	// Packets and IP bytes of all records counted, both directions; Slices is the number of counted slices. Those of
	// running connections since their start are left out, as other records repeat them.
	Packets, IPBytes, Slices uint64
	// Skipped and Bad count lines by reason.
	Skipped, Bad map[string]uint64
	// Sightings counts sightings by kind (sighting.KindName); a line of dns.log may give several.
	Sightings map[string]uint64
	// ByForm counts the records decoded, interim's repeats included, by envelope and form (envelope.Name).
	ByForm map[string]uint64
	// Newest is the latest record end by the sensor's name ("" for records without), Unix microseconds, for the first
	// MaxSensors sensors.
	Newest map[string]int64
	// InterimMissing counts marked rows of connections of which no interim record was seen.
	InterimMissing uint64
	// NoFlags counts the rows of flow exporters whose TCP flags are not known, so that the score has nothing of them.
	NoFlags uint64
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
	// missing is since when rows were left out for records that were not seen.
	missing  time.Time
	deferred []deferredRow
	warned   bool
	seen     seenFlows
	pool     sync.Pool
}

// file is what is known of a partition's current file; owned by the reading goroutine.
type file struct {
	form consumer.Form
	headers
}

// headers are what names the columns of the lines to come: of Zeek's TSV, and of nfdump's CSV.
type headers struct {
	zeek   *zeek.Header
	nfdump *flows.Header
}

// after gives the headers in force after whole lines of a file of the form.
func (h headers) after(form consumer.Form, data []byte) headers {
	switch form {
	case consumer.FormZeekTSV:
		h.zeek = headerAfter(h.zeek, data)
	case consumer.FormNfdump:
		h.nfdump = flows.HeaderAfter(h.nfdump, data)
	}
	return h
}

// missingFor is how long interim records may come later than the rows that repeat them before it is told (wall clock): files
// are read one after the other.
const missingFor = time.Minute

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

// empty tells that none was ever added.
func (u *uids) empty() bool { return u.young == nil }

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
		cfg: cfg, files: map[string]*file{}, counts: Counts{
			Skipped: map[string]uint64{}, Bad: map[string]uint64{}, ByForm: map[string]uint64{}, Newest: map[string]int64{},
			Sightings: map[string]uint64{},
		},
	}
}

// Counts gives a copy of the counters; safe from any goroutine.
func (s *Stage) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Skipped, c.Bad = maps.Clone(c.Skipped), maps.Clone(c.Bad)
	c.ByForm, c.Newest, c.Sightings = maps.Clone(c.ByForm), maps.Clone(c.Newest), maps.Clone(c.Sightings)
	return c
}

// job is one batch on its way through a worker.
type job struct {
	batch consumer.Batch
	ack   consumer.AckFunc
	form  consumer.Form
	headers

	done chan struct{}

	slices   []minecanary.Slices
	origin   []Origin
	sighted  []minecanary.Sighting
	flows    []flowRow
	longs    []longRow
	newest   int64
	sensors  map[string]int64
	counts   Counts
	forms    [envelope.Kinds][envelope.Forms]uint64
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

// prepare fixes the form and, for TSV and CSV, the header in force at the start of the batch. It runs on the reading goroutine,
// as both depend on what came before.
func (s *Stage) prepare(b consumer.Batch, ack consumer.AckFunc) *job {
	if ofTopic(&b) {
		// Each message tells its own form.
		return &job{batch: b, ack: ack, done: make(chan struct{})}
	}
	f := s.files[b.Partition]
	if f == nil || b.NewFile {
		f = &file{form: s.cfg.Form}
		s.files[b.Partition] = f
		f.recognise(b.Header)
		f.headers = f.after(f.form, b.Header)
	}
	f.recognise(b.Data)
	j := &job{batch: b, ack: ack, form: f.form, headers: f.headers, done: make(chan struct{})}
	f.headers = f.after(f.form, b.Data)
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
	stage   *Stage
	json    *zeek.JSON
	eve     *eve.Decoder
	goflow2 *flows.Goflow2
	rec     minecanary.Record

	// job is the batch in work, sighted what it has given of sightings.
	job     *job
	sighted []minecanary.Sighting
	// sensor is that of the last records, newest the latest end of theirs plus one; 0 for none.
	sensor string
	newest int64

	peeler *envelope.Peeler
	msg    message
	take   func(*envelope.Line) bool
}

func (s *Stage) newWorker() *worker {
	w := &worker{
		stage: s, json: zeek.NewJSON(), eve: eve.New(s.cfg.EVE), goflow2: flows.NewGoflow2(),
		peeler: envelope.New(envelope.Config{Topics: s.cfg.Topics}),
	}
	w.take = w.line
	return w
}

// buffers are what a Result gives back.
type buffers struct {
	slices []minecanary.Slices
	origin []Origin
	flows  []flowRow
}

// decoder turns one line into a record.
type decoder interface {
	Decode(line []byte, rec *minecanary.Record) consumer.Outcome
}

// sighter is a decoder whose lines may give sightings.
type sighter interface {
	decoder
	Sightings() []minecanary.Sighting
}

// hinted decodes lines of a file whose name tells the log.
type hinted struct {
	*zeek.JSON
	hint zeek.Hint
}

func (h hinted) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	return h.DecodeAs(line, h.hint, rec)
}

// nothing decodes files of which no line was recognised yet.
type nothing struct{}

func (nothing) Decode(line []byte, _ *minecanary.Record) consumer.Outcome {
	if len(bytes.TrimSpace(line)) == 0 {
		return consumer.Outcome{Kind: consumer.Skipped, Reason: "empty"}
	}
	return consumer.Outcome{Kind: consumer.Bad, Reason: "unrecognised"}
}

// decode reads a batch.
func (w *worker) decode(j *job) {
	if buf, ok := w.stage.pool.Get().(*buffers); ok {
		j.slices, j.origin, j.flows = buf.slices[:0], buf.origin[:0], buf.flows[:0]
	}
	j.counts = Counts{Skipped: map[string]uint64{}, Bad: map[string]uint64{}, Bytes: uint64(len(j.batch.Data))}
	w.job = j
	if ofTopic(&j.batch) {
		w.messages(j)
	} else {
		w.lines(j)
	}
	w.tellSensor(j)
	if len(w.sighted) > 0 {
		j.sighted = slices.Clone(w.sighted)
		clear(w.sighted)
		w.sighted = w.sighted[:0]
	}
	if cap(w.sighted) > maxScratch {
		w.sighted = nil
	}
	w.job = nil
}

// maxScratch is the number of sightings for which a worker keeps memory from batch to batch: a batch of a file that is all
// dns.log has about 2,000.
const maxScratch = 4096

// lines reads a batch of a file.
func (w *worker) lines(j *job) {
	var d decoder = nothing{}
	switch j.form {
	case consumer.FormZeekJSON:
		d = w.json
		// Columns do not tell records of running connections from those of whole ones. Other logs are told by them.
		if hint := (zeek.Hint{Log: envelope.FileLog(j.batch.Name)}); hint.Log == "conn_long" {
			d = hinted{w.json, hint}
		}
	case consumer.FormZeekTSV:
		d = zeek.NewTSV(j.zeek)
	case consumer.FormEVE:
		d = w.eve
	case consumer.FormNfdump:
		d = flows.NewNfdump(j.nfdump)
	case consumer.FormGoflow2:
		d = w.goflow2
	case consumer.FormUnknown:
	}
	number, offset := j.batch.FirstLine-1, j.batch.LineStart
	for _, n := range j.batch.TooLongLines {
		j.counts.Lines++
		j.addBad(Bad{Line: n, Offset: offset, Reason: ReasonTooLong})
	}
	data := j.batch.Data
	for len(data) > 0 {
		begin := len(j.batch.Data) - len(data)
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
			w.slice(j, j.form, Origin{begin, begin + len(line)})
			j.forms[envelope.Plain][j.form]++
		case consumer.Sighted:
			w.sight(d, "")
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
	b.Name, b.Partition, b.Topic = j.batch.Name, j.batch.Partition, j.batch.Topic
	j.counts.Bad[b.Reason]++
	j.bad = append(j.bad, b)
}

// sight takes in what the decoder's last line gave; sensor is that of the envelope, "" for none.
func (w *worker) sight(d decoder, sensor string) {
	s, ok := d.(sighter)
	if !ok {
		return
	}
	w.job.counts.Sighted++
	n := len(w.sighted)
	w.sighted = append(w.sighted, s.Sightings()...)
	for i := range w.sighted[n:] {
		if s := &w.sighted[n+i]; s.Sensor == "" {
			s.Sensor = sensor
		}
	}
}

// slice takes in the record just decoded of a line of the form.
func (w *worker) slice(j *job, form consumer.Form, origin Origin) {
	rec := &w.rec
	j.newest = max(j.newest, rec.End)
	if rec.Sensor != w.sensor {
		w.tellSensor(j)
		w.sensor = rec.Sensor
	}
	w.newest = max(w.newest, rec.End+1)
	marked := rec.InterimSeq > 0 && rec.Kind != minecanary.KindInterim
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
	// What repeats interim records is left out, whichever comes first: of a finished input at its end.
	long := rec.Kind == minecanary.KindLong
	if ok && (marked || long && w.stage.cfg.Marked == DeferMarked) {
		j.counts.Records--
		j.deferred = append(j.deferred, deferredRow{rec.UID, *sl})
		ok = false
	} else if rec.Kind != minecanary.KindLong {
		j.counts.Packets += rec.OrigPackets + rec.RespPackets
		j.counts.IPBytes += rec.OrigBytes + rec.RespBytes
	}
	noFlags := ok && rec.Kind == minecanary.KindFlow && !rec.FlagsKnown
	if form == consumer.FormEVE && rec.Kind != minecanary.KindLong && rec.UID != (minecanary.UID{}) {
		row := flowRow{
			id: rec.UID, netflow: rec.Kind == minecanary.KindFlow, slice: -1, noFlags: noFlags,
			packets: rec.OrigPackets + rec.RespPackets, bytes: rec.OrigBytes + rec.RespBytes,
		}
		if ok {
			row.slice = int32(n)
		}
		j.flows = append(j.flows, row)
	}
	if !ok {
		j.slices = j.slices[:n]
		return
	}
	if long {
		j.longs = append(j.longs, longRow{rec.UID, int32(n)})
	} else {
		j.counts.Slices += uint64(sl.Counted())
	}
	if noFlags {
		j.counts.NoFlags++
	}
	if w.stage.cfg.KeepOrigin {
		j.origin = append(j.origin, origin)
	}
}

// tellSensor adds what was collected of the sensor of the last records. Records of one sensor mostly come in a row.
func (w *worker) tellSensor(j *job) {
	if w.newest == 0 {
		return
	}
	if j.sensors == nil {
		j.sensors = make(map[string]int64)
	}
	addSensor(j.sensors, w.sensor, w.newest-1)
	w.newest = 0
}

func addSensor(m map[string]int64, name string, newest int64) {
	last, known := m[name]
	if !known && len(m) >= MaxSensors {
		return
	}
	m[name] = max(last, newest)
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
	for _, uid := range j.interim {
		s.interim.add(uid)
	}
	s.drop(j, s.repeated(j))
	r := Result{
		Partition: j.batch.Partition, From: j.batch.From, Next: j.batch.Next, Token: j.batch.Token,
		Slices: j.slices, Sightings: j.sighted, Newest: j.newest, Ack: j.ack,
	}
	if s.cfg.Marked == SkipMarked {
		if s.interim.empty() && len(j.deferred) > 0 {
			j.counts.InterimMissing += uint64(len(j.deferred))
			if s.missing.IsZero() {
				s.missing = time.Now()
			}
			if s.cfg.OnInterimMissing != nil && !s.warned && time.Since(s.missing) >= missingFor {
				s.warned = true
				s.cfg.OnInterimMissing(j.batch.Name)
			}
		}
	} else {
		s.deferred = append(s.deferred, j.deferred...)
		if over := len(s.deferred) - MaxDeferred; over > 0 {
			r.Slices = append(r.Slices, s.keepDeferred(s.deferred[:over], &j.counts)...)
			s.deferred = append(s.deferred[:0], s.deferred[over:]...)
		}
	}
	j.counts.ByForm, j.counts.Newest, j.counts.Sightings = j.byForm(), j.sensors, byKind(j.sighted)
	s.add(&j.counts)
	buf := &buffers{r.Slices, j.origin, j.flows}
	if s.cfg.KeepOrigin {
		r.Data = j.batch.Data
		r.Origin = append(j.origin, make([]Origin, len(r.Slices)-len(j.origin))...)
		buf.origin = r.Origin
		r.Release = func() {
			s.pool.Put(buf)
			if j.batch.Release != nil {
				j.batch.Release()
			}
		}
	} else {
		if j.batch.Release != nil {
			j.batch.Release()
		}
		r.Release = func() { s.pool.Put(buf) }
	}
	select {
	case out <- r:
		return nil
	case <-ctx.Done():
		r.Release()
		return ctx.Err()
	}
}

// byForm gives the counts by form under their names.
func (j *job) byForm() map[string]uint64 {
	m := make(map[string]uint64, 1)
	for k := range j.forms {
		for f, n := range j.forms[k] {
			if n > 0 {
				m[envelope.Name(envelope.Kind(k), consumer.Form(f))] += n
			}
		}
	}
	return m
}

// byKind counts sightings.
func byKind(list []minecanary.Sighting) map[string]uint64 {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]uint64)
	for i := range list {
		m[sighting.KindName(list[i].Kind)]++
	}
	return m
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
		if !sl.Cumulative || sl.Final { // a running connection's counters are those of its conn row as well
			c.Packets += sl.ClientPackets + sl.ServerPackets
			c.IPBytes += sl.ClientBytes + sl.ServerBytes
			c.Slices += uint64(sl.Counted())
		}
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
	s.counts.Messages += c.Messages
	s.counts.Records += c.Records
	s.counts.Sighted += c.Sighted
	s.counts.Bytes += c.Bytes
	s.counts.Packets += c.Packets
	s.counts.IPBytes += c.IPBytes
	s.counts.Slices += c.Slices
	s.counts.InterimMissing += c.InterimMissing
	s.counts.NoFlags += c.NoFlags
	for k, n := range c.Skipped {
		s.counts.Skipped[k] += n
	}
	for k, n := range c.Bad {
		s.counts.Bad[k] += n
	}
	for k, n := range c.Sightings {
		s.counts.Sightings[k] += n
	}
	for k, n := range c.ByForm {
		s.counts.ByForm[k] += n
	}
	for name, newest := range c.Newest {
		addSensor(s.counts.Newest, name, newest)
	}
}

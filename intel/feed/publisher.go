package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// The heartbeat.
const (
	// DefaultRewriteEvery is the heartbeat where Config leaves it at zero: a Zeek with frameworks/intel/do_expire drops what
	// was not rewritten for Intel::item_expiration (10 min).
	DefaultRewriteEvery = time.Minute
	// maxHeartbeat is the longest one.
	maxHeartbeat = 24 * time.Hour
)

// Config is what a Publisher needs.
type Config struct {
	// Dir is the feed directory; it is made if it is missing.
	Dir string
	// Formats to write; empty means Formats.
	Formats []Format
	// Gate decides what is published.
	Gate Gate
	// RewriteEvery is the heartbeat of Run, at most a day; 0 means DefaultRewriteEvery.
	RewriteEvery time.Duration
	// MaxNew is how many endpoints may be new within NewWindow, MaxChange how many percent of the feed (at least MinChange
	// endpoints), MaxHosts how many inside hosts may have talked to the address of a new one. What is beyond waits for
	// approval. 0 means the default, a negative number no limit.
	MaxNew, MaxChange, MaxHosts int
	// Reach, if set, tells how many inside hosts talked to an address in the last 24 hours; ok is false if that is not
	// known. It is asked at every rewrite for every address, and decides as long as an endpoint counts as new. It is not
	// asked for entries with a name: others share their address.
	Reach func(netip.Addr) (hosts int, ok bool)
	// URL, if set, gives the address that leads an analyst to more about an endpoint.
	URL func(minecanary.Endpoint) string
	// SIDBase and SIDCount are the sids of Suricata's rules; 0 means the defaults of Options.
	SIDBase, SIDCount uint32
	// Observe, if set, is told the outcome of every rewrite that Run made.
	Observe func(Report, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Report says what a publication did.
type Report struct {
	At time.Time
	// Generation counts the changes of what is published, from the Unix time at which the feed began.
	Generation uint64
	// Published counts endpoints, Addresses the addresses of those without a name, Named those with one.
	Published, Addresses, Named int
	// Lifted counts published endpoints whose address is not public and was let through by Gate.Allow.
	Lifted int
	// Held counts endpoints that passed the gate and wait for approval, HeldBy the same by reason.
	Held   int
	HeldBy map[HoldReason]int
	// Approved are the endpoints that were let in since the last report.
	Approved []Approval
	// Lost counts what left within NewWindow and has not returned. It is never kept back, as old indicators do harm;
	// MassRemoval says that it is more than MaxChange percent, which somebody wants to know.
	Lost        int
	MassRemoval bool
	// Refused counts what the gate refused, Refusals names it, verdicts other than confirmed left out.
	Refused  map[Reason]int
	Refusals []Refusal
	// Changed tells that a file has other content than before; without it only the time of the files moved.
	Changed bool
	// Files are the paths of the forms' files that were written.
	Files []string
	// Written is when all files were last written, by this run or one before; the zero time if that is not known. Stale
	// tells that it is StaleAfter heartbeats ago.
	Written time.Time
	Stale   bool
	// Problems did not keep the feed from being written, at most maxProblems of them: bad approvals, a bad state.
	Problems []error
}

// Publisher keeps the feed files. All methods may be called from several goroutines.
type Publisher struct {
	cfg   Config
	dir   folder
	lim   limits
	names []string

	mu       sync.Mutex
	ready    bool
	given    bool
	verdicts []minecanary.Verdict
	// entries are those published last; they do not change.
	entries []Entry
	// book has what was published and what waits. unsaved tells that StateFile is behind it.
	book    *book
	unsaved bool
	// awaiting are approvals by method that were not reported yet.
	awaiting []Approval
	problems []error
	status   Status
	// began is when the feed was to be written first.
	began time.Time

	// served is what Handler gives, under a lock of its own so that readers do not wait for the disk longer than a rename.
	served served
}

// New checks the configuration; it touches no file.
func New(cfg Config) (*Publisher, error) {
	if cfg.Dir == "" {
		return nil, errors.New("feed: no directory")
	}
	if cfg.RewriteEvery < 0 || cfg.Gate.MaxAge < 0 {
		return nil, errors.New("feed: a duration is negative")
	}
	if cfg.RewriteEvery > maxHeartbeat {
		return nil, fmt.Errorf("feed: a heartbeat of more than %s", maxHeartbeat)
	}
	if len(cfg.Formats) == 0 {
		cfg.Formats = Formats()
	}
	p := &Publisher{book: newBook()}
	for _, f := range cfg.Formats {
		names := f.FileNames()
		if len(names) == 0 {
			return nil, fmt.Errorf("feed: unknown format %q", f)
		}
		if slices.Contains(p.names, names[0]) {
			return nil, fmt.Errorf("feed: format %q is there twice", f)
		}
		p.names = append(p.names, names...)
	}
	if cfg.RewriteEvery == 0 {
		cfg.RewriteEvery = DefaultRewriteEvery
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p.cfg, p.dir = cfg, folder{path: cfg.Dir}
	p.lim = limits{orDefault(cfg.MaxNew, DefaultMaxNew), orDefault(cfg.MaxChange, DefaultMaxChange), orDefault(cfg.MaxHosts, DefaultMaxHosts)}
	p.served.files = map[string]servedFile{}
	return p, nil
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Publish makes the given verdicts the feed: what passes the gate is written now and at every Rewrite until it expires or
// the next Publish. If writing fails the files are as before, and the next Rewrite tries again. The slice is not kept.
func (p *Publisher) Publish(ctx context.Context, verdicts []minecanary.Verdict) (Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	// What is not confirmed now never will be: it is counted once, and only confirmed verdicts are kept.
	refused := 0
	kept := make([]minecanary.Verdict, 0, len(verdicts))
	denied := denials(verdicts)
	for _, v := range verdicts {
		if v.Status != minecanary.Confirmed || denied.contradict(v) {
			refused++
			continue
		}
		v.Evidence = nil // not published, and transcripts are long
		kept = append(kept, v)
	}
	p.verdicts, p.given = kept, true
	report, err := p.write(ctx, now)
	if refused > 0 {
		report.Refused[NotConfirmed] += refused
	}
	return report, err
}

// Rewrite writes the files again, without what has expired since, so that their time moves. Before the first Publish
// nothing is known, so it leaves existing files alone and only makes missing ones, with a header and no line.
func (p *Publisher) Rewrite(ctx context.Context) (Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(ctx, p.cfg.Now())
}

// Approve lets endpoints that wait be published by the next Publish or Rewrite, and gives how many of them did wait. by is
// who wants it, for the report.
func (p *Publisher) Approve(by string, endpoints ...minecanary.Endpoint) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.prepare(); err != nil {
		return 0, err
	}
	before := len(p.awaiting)
	for _, ep := range endpoints {
		p.approve(Approval{ep, approver(by), p.cfg.Now()})
	}
	return len(p.awaiting) - before, nil
}

// approve notes an approval if the endpoint waits; the lock is held.
func (p *Publisher) approve(a Approval) {
	if p.book.approve(a.Endpoint, a.By, a.At) {
		p.awaiting = append(p.awaiting, a)
		p.unsaved = true
	}
}

// Holds lists what waits for approval, by endpoint.
func (p *Publisher) Holds() []Hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.holds()
}

// Status says how the feed is; what it holds is the caller's.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Problems = slices.Clone(s.Problems)
	return s
}

// Run calls Rewrite at once and then every RewriteEvery, until the context ends; then it returns nil. A failed rewrite is
// told to Observe and tried again at the next turn. The files stay when Run ends.
func (p *Publisher) Run(ctx context.Context) error {
	ticker := time.NewTicker(p.cfg.RewriteEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		report, err := p.Rewrite(ctx)
		if p.cfg.Observe != nil && ctx.Err() == nil {
			p.cfg.Observe(report, err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil
}

// write brings the files in line with the verdicts; the lock is held.
func (p *Publisher) write(ctx context.Context, now time.Time) (report Report, err error) {
	report = Report{At: now, Refused: map[Reason]int{}, HeldBy: map[HoldReason]int{}}
	if p.began.IsZero() {
		p.began = now
	}
	defer func() {
		report.Written = p.status.Written
		since := p.status
		if since.Written.IsZero() { // a feed that was never written gets as long
			since.Written = p.began
		}
		report.Stale = since.Stale(now)
	}()
	if err := ctx.Err(); err != nil {
		return report, err
	}
	if err := p.prepare(); err != nil {
		return report, err
	}
	approvals, files, problems := takeApprovals(p.cfg.Dir, now)
	p.problems = append(p.problems, problems...)
	for _, a := range approvals {
		p.approve(a)
	}
	var entries []Entry
	if p.given {
		entries = p.decide(&report, now)
	}
	// The state goes first: after a crash between it and the files the next run writes what it has.
	if p.unsaved {
		if err := p.book.save(p.dir); err != nil {
			return report, err
		}
		p.unsaved = false
	}
	p.problems = append(p.problems, removeAll(p.cfg.Dir, files)...)
	report.Approved, p.awaiting = p.awaiting, nil
	report.Problems, p.problems = p.problems[:min(len(p.problems), maxProblems)], nil
	if err := p.writeFiles(&report, entries); err != nil {
		return report, err
	}
	return report, p.finish(&report, entries, now)
}

// decide passes the verdicts through gate and brake.
func (p *Publisher) decide(report *Report, now time.Time) []Entry {
	entries, refusals := p.cfg.Gate.Select(p.verdicts, now)
	for _, r := range refusals {
		report.Refused[r.Reason]++
	}
	report.Refusals = refusals
	p.reach(entries)
	step := p.book.apply(entries, now, p.lim)
	p.unsaved = p.unsaved || step.dirty
	report.HeldBy, report.Lost = step.held, step.lost
	for _, n := range step.held {
		report.Held += n
	}
	entries = step.publish
	report.Published = len(entries)
	report.MassRemoval = p.lim.maxChange >= 0 && step.lost > MinChange && step.lost*100 > p.lim.maxChange*(step.lost+len(entries))
	last := netip.Addr{}
	for i := range entries {
		e := &entries[i]
		if p.cfg.URL != nil {
			e.URL = p.cfg.URL(e.Endpoint)
		}
		if e.Lifted {
			report.Lifted++
		}
		switch {
		case e.Name != "":
			report.Named++
		case e.Endpoint.Addr != last:
			report.Addresses++
			last = e.Endpoint.Addr
		}
	}
	return entries
}

// reach fills in how many hosts talked to the entries' addresses.
func (p *Publisher) reach(entries []Entry) {
	if p.cfg.Reach == nil {
		return
	}
	last, hosts := netip.Addr{}, -1
	for i := range entries {
		e := &entries[i]
		if e.Name != "" {
			continue
		}
		if e.Endpoint.Addr != last {
			last, hosts = e.Endpoint.Addr, -1
			if n, ok := p.cfg.Reach(last); ok {
				hosts = max(n, 0)
			}
		}
		e.Hosts = hosts
	}
}

// prepare makes the directory, removes what a crash left, and learns what is published already; once.
func (p *Publisher) prepare() error {
	if p.ready {
		return nil
	}
	p.problems = nil // those of a try that failed come again
	if err := os.MkdirAll(p.cfg.Dir, dirMode); err != nil {
		return fmt.Errorf("make feed directory: %w", err)
	}
	if err := removeTemps(p.cfg.Dir, append([]string{SumsFile, StateFile, StatusFile}, p.names...)); err != nil {
		return err
	}
	p.status = Status{Version: statusVersion}
	if s, err := ReadStatus(p.cfg.Dir); err == nil {
		p.status = s
	} else if !errors.Is(err, fs.ErrNotExist) {
		p.problems = append(p.problems, err)
	}
	if b, err := loadBook(p.cfg.Dir); err == nil {
		p.book = b
		if b.generation < p.status.Generation { // an older state was put back
			p.begin()
		}
	} else {
		if !errors.Is(err, fs.ErrNotExist) {
			if _, disk := errors.AsType[*fs.PathError](err); disk {
				return fmt.Errorf("read the feed's state: %w", err) // that may pass, and the state may be good
			}
			p.problems = append(p.problems, fmt.Errorf("%w; it is set aside, what was held or approved is forgotten", err))
			path := filepath.Join(p.cfg.Dir, StateFile)
			if err := os.Rename(path, path+badSuffix); err != nil {
				return fmt.Errorf("set the feed's state aside: %w", err)
			}
		}
		if err := p.learn(); err != nil {
			return err
		}
	}
	p.status.RewriteEvery, p.status.Waiting = p.cfg.RewriteEvery.Seconds(), true
	if err := p.serveOld(); err != nil {
		return err
	}
	p.ready = true
	return nil
}

// begin numbers the generations anew where the book does not know all that was published: with the time, so that no number
// of before means something else now, and none before it is answered.
func (p *Publisher) begin() {
	p.book.generation = max(uint64(max(p.cfg.Now().Unix(), 1)), p.status.Generation+1)
	p.book.floor, p.unsaved = p.book.generation, true
}

// learn takes for published what stands in the files, where there is no state.
func (p *Publisher) learn() error {
	p.book = newBook()
	p.begin()
	for _, format := range p.cfg.Formats {
		data, err := readSmall(filepath.Join(p.cfg.Dir, format.FileName()), maxFeedFile)
		if _, disk := errors.AsType[*fs.PathError](err); disk && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read feed: %w", err)
		} else if err != nil && !disk { // a link, or too large: it is none of ours
			p.problems = append(p.problems, err)
		}
		for _, ep := range readEndpoints(data, format) {
			p.book.records[ep] = &record{Endpoint: ep, State: published, Hosts: -1}
		}
	}
	return nil
}

// writeFiles writes the forms, then the sums.
func (p *Publisher) writeFiles(report *Report, entries []Entry) error {
	opts := Options{At: p.book.changed, Removed: p.removed(), SIDBase: p.cfg.SIDBase, SIDCount: p.cfg.SIDCount}
	for i := range entries {
		if v := entries[i].Verified; v.After(opts.At) {
			opts.At = v
		}
	}
	var errs []error
	for _, format := range p.cfg.Formats {
		if !p.given && p.served.hasAll(format.FileNames()) {
			continue
		}
		files, err := Render(format, entries, opts)
		if err != nil {
			errs = append(errs, fmt.Errorf("feed %s: %w", format, err))
			continue
		}
		for _, f := range files {
			if !p.given && p.served.hasAll([]string{f.Name}) {
				continue
			}
			changed, err := p.writeFile(f)
			if err != nil {
				errs = append(errs, err)
				break // what leads to the others comes last
			}
			report.Changed = report.Changed || changed
			report.Files = append(report.Files, filepath.Join(p.cfg.Dir, f.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !p.given && len(report.Files) == 0 {
		return nil
	}
	if err := p.dir.sync(); err != nil {
		return err
	}
	if err := p.writeSums(report.Changed); err != nil {
		return err
	}
	return p.dir.sync()
}

// removed are the entries for which a form with tombstones has one.
func (p *Publisher) removed() []Entry {
	if !slices.Contains(p.cfg.Formats, ZeekIntelRemoval) {
		return nil
	}
	diff, err := p.book.diff(p.book.floor)
	if err != nil {
		return nil // the floor is never above the generation
	}
	out := make([]Entry, len(diff.Removed))
	for i, c := range diff.Removed {
		out[i] = Entry{Endpoint: c.Endpoint, Name: c.Name, Hosts: -1}
	}
	return out
}

// writeFile writes one file, the generation before aside first if this is another.
func (p *Publisher) writeFile(f File) (changed bool, err error) {
	sum := sumOf(f.Data)
	was, exists := p.served.get(f.Name)
	changed = !exists || was.sum != sum
	if exists && changed {
		if err := p.keepPrev(f.Name, was); err != nil {
			return false, err
		}
	}
	generation := p.book.generation
	if !p.given {
		generation = 0 // a header for a file that is missing tells nobody what is published
	}
	return changed, p.served.replace(p.dir, f, sum, generation)
}

// keepPrev sets a file aside if it is of another generation, and if it is the one that was written: what somebody else put
// in its place may be a link to what only we may read.
func (p *Publisher) keepPrev(name string, was servedFile) error {
	if was.generation == p.book.generation || was.generation == 0 {
		return nil
	}
	f, info, err := openRegular(filepath.Join(p.cfg.Dir, name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIrregular) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read feed: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	if !was.is(info) {
		return nil
	}
	old, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("read feed: %w", err)
	}
	return p.dir.replace(name+PrevSuffix, old)
}

// writeSums writes SumsFile, and removes the files that the one before names and this one does not: of a form that is no
// longer written sensors would keep the last for ever.
func (p *Publisher) writeSums(changed bool) error {
	now := sums{}
	for _, name := range p.names {
		if f, ok := p.served.get(name); ok {
			now[name] = f.sum
		}
	}
	var known []string
	for _, format := range AllFormats() {
		known = append(known, format.FileNames()...)
	}
	for name := range loadSums(p.cfg.Dir) {
		if now[name] != "" || !slices.Contains(known, name) {
			continue
		}
		for _, path := range []string{name, name + PrevSuffix} {
			if err := os.Remove(filepath.Join(p.cfg.Dir, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove a feed that is no longer written: %w", err)
			}
		}
	}
	was, exists := p.served.get(SumsFile)
	if exists && changed {
		if err := p.keepPrev(SumsFile, was); err != nil {
			return err
		}
	}
	data := now.text(p.names)
	return p.served.replace(p.dir, File{Name: SumsFile, Data: data}, sumOf(data), p.book.generation)
}

// finish tells other processes and readers how it went.
func (p *Publisher) finish(report *Report, entries []Entry, now time.Time) error {
	s := &p.status
	s.Problems = nil
	for _, err := range report.Problems {
		s.Problems = append(s.Problems, clean(err.Error()))
	}
	if p.given {
		s.Written, s.Waiting = now.UTC(), false
		s.Generation, s.Changed = p.book.generation, p.book.changed
		s.Published, s.Addresses, s.Named, s.Lifted = report.Published, report.Addresses, report.Named, report.Lifted
		s.Held, s.Refused = report.HeldBy, report.Refused
		s.Lost, s.MassRemoval = report.Lost, report.MassRemoval
		p.served.turn(p.book, report.Published, now)
		p.entries = entries
	}
	report.Generation = p.book.generation
	return s.save(p.dir)
}

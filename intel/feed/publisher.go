package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// The publisher's settings where Config leaves them at zero.
const (
	// DefaultRewriteEvery is the heartbeat: a Zeek with frameworks/intel/do_expire drops what was not rewritten for
	// Intel::item_expiration (10 min).
	DefaultRewriteEvery = time.Minute
	// DefaultMaxNew is how many endpoints may be new within NewWindow before the publisher holds them back.
	DefaultMaxNew = 500
	// NewWindow is how long an endpoint counts as new.
	NewWindow = 24 * time.Hour
)

const (
	fileMode = 0o644 // sensors run as another user
	dirMode  = 0o755

	// Temporary files are named .<file>.<random>.tmp, so that no glob of *.dat finds them.
	tempPrefix, tempSuffix = ".", ".tmp"

	// PrevSuffix is added to a file's name for the generation before.
	PrevSuffix = ".prev"
)

// Config is what a Publisher needs.
type Config struct {
	// Dir is the feed directory; it is made if it is missing.
	Dir string
	// Formats to write; empty means all.
	Formats []Format
	// Gate decides what is published.
	Gate Gate
	// RewriteEvery is the heartbeat of Run; 0 means DefaultRewriteEvery.
	RewriteEvery time.Duration
	// MaxNew is how many endpoints may be new within NewWindow; 0 means DefaultMaxNew, a negative number no limit.
	MaxNew int
	// URL, if set, gives the address that leads an analyst to more about an endpoint.
	URL func(minecanary.Endpoint) string
	// Observe, if set, is told the outcome of every rewrite that Run made.
	Observe func(Report, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Report says what a publication did.
type Report struct {
	At time.Time
	// Published counts endpoints, Addresses their addresses.
	Published, Addresses int
	// Lifted counts published endpoints whose address is not public and was let through by Gate.Allow.
	Lifted int
	// Held counts endpoints that passed the gate and wait because too many are new; see Publisher.Release.
	Held int
	// Refused counts what the gate refused, Refusals names it, verdicts other than confirmed left out.
	Refused  map[Reason]int
	Refusals []Refusal
	// Changed tells that a file has other content than before; without it only the time of the files moved.
	Changed bool
	// Files are the paths that were written.
	Files []string
}

// Publisher keeps the feed files. All methods may be called from several goroutines.
type Publisher struct {
	cfg Config

	mu       sync.Mutex
	ready    bool
	given    bool
	verdicts []minecanary.Verdict
	// published has the endpoints in the files and since when they are there; zero for those found at start.
	published map[minecanary.Endpoint]time.Time
	release   bool
}

// New checks the configuration; it touches no file.
func New(cfg Config) (*Publisher, error) {
	if cfg.Dir == "" {
		return nil, errors.New("feed: no directory")
	}
	if cfg.RewriteEvery < 0 || cfg.Gate.MaxAge < 0 {
		return nil, errors.New("feed: a duration is negative")
	}
	if len(cfg.Formats) == 0 {
		cfg.Formats = Formats()
	}
	for _, f := range cfg.Formats {
		if f.FileName() == "" {
			return nil, fmt.Errorf("feed: unknown format %q", f)
		}
	}
	if cfg.RewriteEvery == 0 {
		cfg.RewriteEvery = DefaultRewriteEvery
	}
	if cfg.MaxNew == 0 {
		cfg.MaxNew = DefaultMaxNew
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Publisher{cfg: cfg, published: map[minecanary.Endpoint]time.Time{}}, nil
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
	for _, v := range verdicts {
		if v.Status != minecanary.Confirmed {
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

// Release lets the next Publish or Rewrite publish what was held back, once; the window of new endpoints starts anew.
func (p *Publisher) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release = true
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
func (p *Publisher) write(ctx context.Context, now time.Time) (Report, error) {
	report := Report{At: now, Refused: map[Reason]int{}}
	if err := ctx.Err(); err != nil {
		return report, err
	}
	if err := p.prepare(); err != nil {
		return report, err
	}
	entries, refusals := p.cfg.Gate.Select(p.verdicts, now)
	for _, r := range refusals {
		report.Refused[r.Reason]++
	}
	report.Refusals = refusals
	entries, report.Held = p.hold(entries, now)

	report.Published = len(entries)
	for i := range entries {
		e := &entries[i]
		if p.cfg.URL != nil {
			e.URL = p.cfg.URL(e.Endpoint)
		}
		if e.Lifted {
			report.Lifted++
		}
		if i == 0 || entries[i-1].Endpoint.Addr != e.Endpoint.Addr {
			report.Addresses++
		}
	}
	var errs []error
	for _, format := range p.cfg.Formats {
		path := filepath.Join(p.cfg.Dir, format.FileName())
		changed, wrote, err := p.writeFile(path, format, entries)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		report.Changed = report.Changed || changed
		if wrote {
			report.Files = append(report.Files, path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return report, err
	}
	if p.given {
		p.remember(entries, now)
		p.release = false
	}
	return report, nil
}

// prepare makes the directory, removes what a crash left, and learns what is published already; once.
func (p *Publisher) prepare() error {
	if p.ready {
		return nil
	}
	if err := os.MkdirAll(p.cfg.Dir, dirMode); err != nil {
		return fmt.Errorf("make feed directory: %w", err)
	}
	for _, format := range p.cfg.Formats {
		name := format.FileName()
		if err := removeTemps(p.cfg.Dir, name); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(p.cfg.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read feed: %w", err)
		}
		for _, ep := range readEndpoints(data, format) {
			p.published[ep] = time.Time{}
		}
	}
	p.ready = true
	return nil
}

// hold takes the new endpoints out if there are too many within NewWindow, and says how many it took.
func (p *Publisher) hold(entries []Entry, now time.Time) (kept []Entry, held int) {
	if p.cfg.MaxNew < 0 || p.release {
		return entries, 0
	}
	recent, fresh := 0, 0
	for _, e := range entries {
		since, known := p.published[e.Endpoint]
		switch {
		case !known:
			fresh++
		case now.Sub(since) < NewWindow:
			recent++
		}
	}
	if recent+fresh <= p.cfg.MaxNew || fresh == 0 {
		return entries, 0
	}
	kept = slices.DeleteFunc(entries, func(e Entry) bool {
		_, known := p.published[e.Endpoint]
		return !known
	})
	return kept, fresh
}

// remember notes what the files hold now. After a release all of it counts as old: somebody looked.
func (p *Publisher) remember(entries []Entry, now time.Time) {
	next := make(map[minecanary.Endpoint]time.Time, len(entries))
	for _, e := range entries {
		since, known := p.published[e.Endpoint]
		switch {
		case p.release:
			since = time.Time{}
		case !known:
			since = now
		}
		next[e.Endpoint] = since
	}
	p.published = next
}

// writeFile writes one file, the generation before aside first if the content changes.
func (p *Publisher) writeFile(path string, format Format, entries []Entry) (changed, wrote bool, err error) {
	old, err := os.ReadFile(path)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, false, fmt.Errorf("read feed: %w", err)
	}
	if exists && !p.given {
		return false, false, nil
	}
	var b bytes.Buffer
	if err := Write(&b, format, entries); err != nil {
		return false, false, err
	}
	changed = !exists || !bytes.Equal(old, b.Bytes())
	if exists && changed {
		if err := replaceFile(path+PrevSuffix, old); err != nil {
			return false, false, err
		}
	}
	if err := replaceFile(path, b.Bytes()); err != nil {
		return false, false, err
	}
	return changed, true, nil
}

// replaceFile puts the data at the path so that a reader, and a machine after a power cut, has the old file or the new
// one. The file is always a new one: Zeek looks at inode and time.
func replaceFile(path string, data []byte) (err error) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	tmp, err := os.CreateTemp(dir, tempPrefix+name+".*"+tempSuffix)
	if err != nil {
		return fmt.Errorf("write feed: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()           // closed already, or the error before matters more
			_ = os.Remove(tmp.Name()) // what stays is removed at the next start
			err = fmt.Errorf("write feed: %w", err)
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Chmod(fileMode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// removeTemps removes the temporary files of a feed file and of its previous generation.
func removeTemps(dir, name string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read feed directory: %w", err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), tempPrefix+name+".") && strings.HasSuffix(f.Name(), tempSuffix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove leftover: %w", err)
			}
		}
	}
	return nil
}

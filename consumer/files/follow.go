package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary/consumer"
)

const (
	// maxChanges bounds how many changes of a file (rotations, truncations) one look goes through.
	maxChanges = 16
	// openTries bounds how often a file that is renamed while it is looked for is looked for again.
	openTries = 5
	// releaseAfter is when an open file that was deleted is let go although nothing took its place.
	releaseAfter = time.Minute
	// maxBad bounds the siblings that are remembered as unreadable.
	maxBad = 1024
)

// follower reads the files that stand at one path, one generation after the other.
//
// The file read now (cur) is held open, so renaming and deleting it takes nothing away. At its end one of three things
// is true: it still stands at the path (then it may grow), another stands there (then it was rotated), or its content
// was replaced (then it was truncated). What comes next is always found in the same way: the oldest rotated sibling
// that was written after the file read last and was not read yet, or else the file at the path. So rotations between
// two looks, during a long read, or while nobody was reading lose nothing.
type follower struct {
	src        *Source
	path, name string
	start      *consumer.Position // where to go on, until that was found
	backlog    []string           // older files that a pattern asked for
	prepared   bool
	done       bool // an archive stood at the path and was read
	atEnd      *atomic.Bool

	gen     uint64 // of the file begun last
	cur     *tail
	last    floor
	quiet   time.Time // not looked at before
	noticed time.Time // when cur was no longer at the path
	listed  time.Time // when siblings were listed last
	bad     map[string]bool
	trouble string // reported last
}

// tail is an open file.
type tail struct {
	reader
	file    *os.File
	info    fs.FileInfo // of when it was opened
	archive bool
	ended   bool // an archive's end was reached
	copied  bool // a copy made by copytruncate, complete when it was found
	live    bool // it stood at the path
	mtime   time.Time
	expect  []byte // its head when it was opened
}

// floor says after which file the next is looked for.
type floor struct {
	info  fs.FileInfo // nil if unknown
	mtime time.Time
	head  []byte
}

func (s *Source) newFollower(m match) *follower {
	f := &follower{src: s, path: m.path, name: m.name, atEnd: s.endFlag(m.path), bad: map[string]bool{}}
	if p, ok := s.cfg.Start[m.path]; ok {
		f.start = &p
	}
	return f
}

// state is what a look at the open file found.
type state uint8

const (
	gave    state = iota // a batch
	atEnd                // nothing more for now
	idle                 // not known yet (an archive is being decompressed)
	changed              // cur is another
)

// step gives the next batch, nil if nothing is there now.
func (f *follower) step(ctx context.Context, now time.Time) (*handed, error) {
	if !f.prepared {
		if err := f.prepare(ctx); err != nil {
			return nil, err
		}
		f.prepared = true
	}
	for range maxChanges {
		if f.cur == nil {
			t, err := f.open(ctx, now)
			if err != nil {
				return nil, err
			}
			if t == nil {
				f.atEnd.Store(true)
				return nil, nil
			}
			f.cur = t
		}
		h, st, err := f.grow(ctx)
		if err != nil {
			return nil, err
		}
		switch st {
		case gave:
			f.noticed = time.Time{}
			f.atEnd.Store(false)
			return h, nil
		case idle:
			f.src.idle = true
			f.atEnd.Store(false)
			return nil, nil
		case changed:
			continue
		case atEnd:
		}
		if h, more, err := f.turn(ctx, now); h != nil || !more || err != nil {
			return h, err
		}
	}
	return nil, nil
}

// grow reads what was added to the open file.
func (f *follower) grow(ctx context.Context) (*handed, state, error) {
	t := f.cur
	if t.ended {
		return nil, atEnd, nil
	}
	mtime := t.mtime
	if !t.archive {
		info, err := t.file.Stat()
		if err != nil {
			return nil, changed, f.broken(err)
		}
		mtime = info.ModTime()
		if !t.split.hasLine && info.Size() == t.split.raw && mtime.Equal(t.mtime) {
			return nil, atEnd, nil
		}
	}
	buf, err := f.src.pool.get(ctx)
	if err != nil {
		return nil, atEnd, err
	}
	off, line, known := t.split.off, t.split.line, len(t.split.head)
	p, buf, err := t.split.fill(ctx, buf, t.archive, false)
	if !t.archive && !passing(err) {
		same, serr := t.same()
		if serr != nil {
			err = serr
		} else if !same {
			// What was read came from other content than what went before: give it up, and look for the old content.
			f.src.pool.put(buf)
			return nil, changed, f.truncated(ctx, off, line, t.split.head[:known])
		}
		t.mtime = mtime
	}
	if err == nil {
		last := p.last
		p.last = false // of the file, not of the partition
		t.ended = last
		f.trouble = ""
		f.gen = t.gen
		return &handed{t.batch(&p), buf}, gave, nil
	}
	f.src.pool.put(buf)
	switch {
	case passing(err):
		return nil, idle, err
	case errors.Is(err, errIdle):
		return nil, idle, nil
	case t.archive:
		t.ended = true
		if !errors.Is(err, io.EOF) {
			f.report(err)
		}
		return nil, atEnd, nil
	case errors.Is(err, io.EOF):
		return nil, atEnd, nil
	}
	return nil, changed, f.broken(err)
}

// same tells whether the open file still holds what was read of it. It is asked after each read, so that what was read
// is known to be of one piece.
func (t *tail) same() (bool, error) {
	info, err := t.file.Stat()
	if err != nil {
		return false, reason(err)
	}
	if info.Size() < t.split.raw {
		return false, nil
	}
	var b [headMax]byte
	n, err := t.file.ReadAt(b[:max(len(t.expect), len(t.split.head))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, reason(err)
	}
	return bytes.HasPrefix(b[:n], t.split.head) && bytes.HasPrefix(b[:n], t.expect), nil
}

// turn decides at the end of the open file whether another follows. It gives the unfinished last line of a file that
// is over; more says that there is something to read now.
func (f *follower) turn(ctx context.Context, now time.Time) (h *handed, more bool, err error) {
	t := f.cur
	if info, err := os.Stat(f.path); err == nil && os.SameFile(info, t.info) {
		t.live, f.noticed = true, time.Time{}
		f.atEnd.Store(true)
		if t.archive {
			return f.finish(), true, nil
		}
		return nil, false, nil
	}
	if f.noticed.IsZero() {
		f.noticed = now
		return nil, true, nil // look once more: it may have been written to just before it was renamed
	}
	old := !t.live && t.mtime.Add(f.src.cfg.Grace).Before(f.noticed)
	if !t.copied && !t.archive && !old && now.Sub(f.noticed) < f.src.cfg.Grace {
		f.atEnd.Store(false)
		return nil, false, nil
	}
	prev := f.last
	f.last = f.floorOf(t)
	f.src.seen.add(sumOf(t.split.head)) // its archive must not follow it
	next, err := f.open(ctx, now)
	if err != nil {
		f.last = prev
		return nil, false, err
	}
	if next == nil {
		if info, err := t.file.Stat(); err != nil || !deleted(info) || now.Sub(f.noticed) < releaseAfter {
			f.last = prev
			f.atEnd.Store(true)
			return nil, false, nil // the writer may still have it open
		}
	}
	if next != nil && next.live && !t.live && len(t.split.head) > 0 && bytes.HasPrefix(next.expect, t.split.head) {
		// t is a copy, and copytruncate has not truncated yet: the rest is read where it is written.
		orig, err := f.openAt(ctx, f.path, t.gen, t.split.off, t.split.line, sumOf(t.split.head))
		if passing(err) {
			next.close()
			f.last = prev
			return nil, false, err
		}
		if err == nil {
			next.close()
			t.close()
			orig.live, orig.began = true, t.began
			f.cur, f.noticed = orig, time.Time{}
			return nil, true, nil
		}
		// It was truncated just now, which will be found when next is read.
	}
	h, err = f.rest(ctx, t)
	if err != nil {
		if next != nil {
			next.close()
		}
		f.last = prev
		return nil, false, err
	}
	t.close()
	f.cur, f.noticed = next, time.Time{}
	if h != nil {
		f.atEnd.Store(false)
	}
	return h, true, nil
}

// finish ends the partition: an archive stands at the path itself.
func (f *follower) finish() *handed {
	t := f.cur
	p := piece{start: t.split.off, next: t.split.off, line: t.split.line, last: true}
	h := &handed{batch: t.batch(&p)}
	f.src.seen.add(sumOf(t.split.head))
	f.close()
	f.done = true
	return h
}

// rest gives the unfinished last line of a file that is over.
func (f *follower) rest(ctx context.Context, t *tail) (*handed, error) {
	if len(t.split.carry) == 0 && !t.split.skipping {
		return nil, nil
	}
	buf, err := f.src.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	p, buf := t.split.finish(buf)
	f.gen = t.gen
	return &handed{t.batch(&p), buf}, nil
}

// floorOf says after which file the next is looked for once t is over.
func (f *follower) floorOf(t *tail) floor {
	fl := floor{info: t.info, mtime: t.mtime, head: t.split.head}
	if info, err := t.file.Stat(); err == nil {
		fl.mtime = info.ModTime()
	}
	return fl
}

// open gives the file that comes after the one read last, at its beginning; nil if there is none yet.
func (f *follower) open(ctx context.Context, now time.Time) (*tail, error) {
	for range openTries {
		cand, ready := f.atPath()
		if !ready && now.Sub(f.listed) < f.src.cfg.Poll {
			cand.close()
			return nil, nil
		}
		f.listed = now
		// The list is taken after the file was opened: had it been put there by a further rotation, the file before it
		// would be in the list.
		sib, err := f.successor()
		if errors.Is(err, errStale) {
			cand.close()
			continue
		}
		if sib == nil {
			if ready {
				return cand, nil
			}
			cand.close()
			return nil, nil
		}
		cand.close()
		o, err := f.src.openFile(sib.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed or compressed just now
		}
		if err != nil {
			f.skip(*sib, err)
			continue
		}
		t := f.newTail(o, f.gen+1)
		if !os.SameFile(o.info, sib.info) { // renamed just now
			t.close()
			continue
		}
		if err := t.seek(ctx, o, sib.path, 0, 0, headSum{}); err != nil {
			t.close()
			if passing(err) {
				return nil, err
			}
			f.skip(*sib, err)
			continue
		}
		return t, nil
	}
	return nil, nil
}

// atPath opens the file at the path. It is not ready before it has a whole line or headMax bytes, as it could not be told
// from what a truncation puts in its place.
func (f *follower) atPath() (t *tail, ready bool) {
	o, err := f.src.openFile(f.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.report(err)
		}
		return nil, false
	}
	t = f.newTail(o, f.gen+1)
	t.split.line = 1
	if t.archive {
		return t, true
	}
	if t.expect, err = headAt(o.file); err != nil {
		f.report(err)
		t.close()
		return nil, false
	}
	t.live = true
	return t, len(t.expect) == headMax || bytes.IndexByte(t.expect, '\n') >= 0
}

func (f *follower) newTail(o *opened, gen uint64) *tail {
	t := &tail{file: o.file, info: o.info, archive: o.archive}
	t.reader = reader{src: f.src, partition: f.path, name: f.name, gen: gen}
	t.split.in = o.in
	t.id = idOf(o.info)
	return t
}

func (t *tail) close() {
	if t == nil || t.split.in == nil {
		return
	}
	_ = t.split.in.close() // it was only read
	t.split.in = nil
}

var errStale = errors.New("the folder has changed")

// head gives the first bytes of a listed file; errStale if it was moved or removed since.
func (e *sibling) head() ([]byte, error) {
	info, head, err := headOf(e.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, e.info) {
		return nil, errStale
	}
	return head, err
}

// successor gives the oldest rotated sibling written after the file read last that was not read yet.
func (f *follower) successor() (*sibling, error) {
	for _, e := range f.src.siblings(f.path) {
		if !e.rotated || e.info.Size() == 0 || f.bad[e.path] || f.src.isPartition(e.path) {
			continue
		}
		// Of two files of the same time (clocks of file systems are coarse) the one that was read is in seen.
		if e.info.ModTime().Before(f.last.mtime) {
			continue
		}
		head, err := e.head()
		if errors.Is(err, errStale) {
			return nil, err
		}
		if err != nil {
			f.skip(e, err)
			continue
		}
		same := f.last.info != nil && os.SameFile(e.info, f.last.info) && bytes.HasPrefix(head, f.last.head)
		if len(head) == 0 || same || f.src.seen.has(sumOf(head)) {
			continue
		}
		return &e, nil
	}
	return nil, nil
}

// skip leaves out a sibling that cannot be read.
func (f *follower) skip(e sibling, err error) {
	if len(f.bad) >= maxBad {
		clear(f.bad)
	}
	f.bad[e.path] = true
	f.src.report(f.path, fmt.Errorf("follow %s: rotated file %s: %w: %w", f.name, e.path, err, ErrMissed))
}

// truncated looks for the rest of a generation whose file now has other content: copytruncate left it in a sibling.
func (f *follower) truncated(ctx context.Context, off, line int64, head []byte) error {
	t := f.cur
	if off == 0 { // nothing of it was handed over: it is found as a successor
		t.close()
		f.cur = nil
		return nil
	}
	want := ident{t.id, sumOf(head)}
	next, err := f.resume(ctx, t.gen, off, line, want, t.info)
	if err != nil { // the context has ended
		f.again(consumer.Position{Generation: t.gen, Offset: off, Ident: want.String()})
		return err
	}
	f.src.seen.add(sumOf(head))
	t.close()
	f.cur, f.noticed = next, time.Time{}
	if next != nil {
		next.began, next.copied = t.began, true
		return nil
	}
	f.last = floor{mtime: t.mtime, head: head}
	f.src.report(f.path, fmt.Errorf("follow %s: truncated after byte %d and no copy of it found: %w", f.name, off, ErrMissed))
	return nil
}

// resume finds the sibling that holds the generation that was read up to off, and opens it there. A file with the same
// inode goes before others with the same head, those with a name that rotation gives before the rest, then the newest.
func (f *follower) resume(ctx context.Context, gen uint64, off, line int64, want ident, not fs.FileInfo) (*tail, error) {
	for range openTries {
		list := f.src.siblings(f.path)
		rank := func(e sibling) int {
			switch {
			case idOf(e.info) == want.id && want.id != fileID{}:
				return 0
			case e.rotated && !e.archive:
				return 1
			case e.rotated:
				return 2
			}
			return 3
		}
		slices.Reverse(list)
		slices.SortStableFunc(list, func(a, b sibling) int { return rank(a) - rank(b) })
		stale := false
		for _, e := range list {
			if not != nil && os.SameFile(e.info, not) || !e.archive && e.info.Size() < off {
				continue
			}
			head, err := e.head()
			if errors.Is(err, errStale) {
				stale = true
				break
			}
			if err != nil || !want.head.matches(head) {
				continue
			}
			t, err := f.openAt(ctx, e.path, gen, off, line, want.head)
			if err == nil || passing(err) {
				return t, err
			}
			stale = stale || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther)
		}
		if !stale {
			break
		}
	}
	return nil, nil
}

// openAt opens a file at an offset, if it has the head.
func (f *follower) openAt(ctx context.Context, path string, gen uint64, off, line int64, want headSum) (*tail, error) {
	o, err := f.src.openFile(path)
	if err != nil {
		return nil, err
	}
	t := f.newTail(o, gen)
	if err := t.seek(ctx, o, path, off, line, want); err != nil {
		t.close()
		return nil, err
	}
	t.mtime = o.info.ModTime()
	if !o.archive {
		t.mtime = time.Time{} // look at it
	}
	return t, nil
}

// prepare finds the place to begin, and remembers which siblings need not be read.
func (f *follower) prepare(ctx context.Context) error {
	if f.start != nil {
		return f.goOn(ctx)
	}
	f.begin()
	return nil
}

// begin starts with the file at the path and the older ones that were asked for.
func (f *follower) begin() {
	var list []sibling
	for range openTries {
		list = slices.DeleteFunc(f.src.siblings(f.path), func(e sibling) bool {
			return !e.rotated || slices.Contains(f.backlog, e.path)
		})
		if f.pass(list) {
			break
		}
	}
	if len(f.backlog) == 0 && len(list) > 0 { // nothing of its age or older
		newest := list[len(list)-1]
		f.last = floor{info: newest.info, mtime: newest.info.ModTime()}
	}
	f.prepared = true
}

// pass remembers that rotated files are not to be read, whatever they will be called or however compressed. It is false
// if one was moved since it was listed, so that its content is not known.
func (f *follower) pass(list []sibling) bool {
	for _, e := range list {
		if !e.rotated {
			continue
		}
		head, err := e.head()
		if errors.Is(err, errStale) {
			return false
		}
		if err == nil {
			f.src.seen.add(sumOf(head))
		}
	}
	return true
}

// goOn finds the file that was read last.
func (f *follower) goOn(ctx context.Context) error {
	pos := *f.start
	f.gen = pos.Generation
	f.backlog = nil
	if want, known := parseIdent(pos.Ident); known {
		for try := range openTries {
			earlier := f.src.siblings(f.path)
			t, err := f.find(ctx, pos, want)
			if err != nil {
				return err
			}
			if t == nil {
				break
			}
			if !f.passBefore(t, earlier, want.head) && try < openTries-1 { // list again
				t.close()
				continue
			}
			f.last, f.cur = floor{}, t
			return nil
		}
	}
	f.begin()
	if pos.Offset > 0 {
		f.src.report(f.path, fmt.Errorf("follow %s: the file read before is not there any more: %w", f.name, ErrMissed))
	}
	return nil
}

// passBefore passes the files that were read before t, which has the head; earlier was listed before t was opened. It is
// false if they could not be told because files were being moved.
func (f *follower) passBefore(t *tail, earlier []sibling, head headSum) bool {
	if t.live { // all but copies of it, which copytruncate may have made already
		return f.pass(slices.DeleteFunc(earlier, func(e sibling) bool {
			h, err := e.head()
			return err == nil && head.matches(h)
		}))
	}
	list := f.src.siblings(f.path)
	i := slices.IndexFunc(list, func(e sibling) bool { return os.SameFile(e.info, t.info) })
	return i >= 0 && f.pass(list[:i])
}

// find opens the file a position was taken of: at the path, among the siblings, or at the path with another inode.
func (f *follower) find(ctx context.Context, pos consumer.Position, want ident) (*tail, error) {
	info, err := os.Stat(f.path)
	here := err == nil && info.Mode().IsRegular()
	if here && idOf(info) == want.id {
		t, err := f.openAt(ctx, f.path, pos.Generation, pos.Offset, 0, want.head)
		if err == nil {
			t.live = true
		}
		if err == nil || passing(err) {
			return t, err
		}
	}
	t, err := f.resume(ctx, pos.Generation, pos.Offset, 0, want, nil)
	if t != nil || err != nil || !here {
		return t, err
	}
	t, err = f.openAt(ctx, f.path, pos.Generation, pos.Offset, 0, want.head)
	if err == nil {
		t.live = true
	}
	if err != nil && !passing(err) {
		return nil, nil
	}
	return t, err
}

// broken gives up the open file after an error and looks for it again.
func (f *follower) broken(err error) error {
	f.report(err)
	t := f.cur
	f.again(consumer.Position{Generation: t.gen, Offset: t.split.off, Ident: ident{t.id, sumOf(t.split.head)}.String()})
	return nil
}

// again gives up the open file; it will be looked for as after a restart.
func (f *follower) again(pos consumer.Position) {
	f.close()
	if pos.Offset > 0 {
		f.start, f.prepared = &pos, false
	}
}

// report tells of trouble with the file, the same only once until something was read.
func (f *follower) report(err error) {
	if text := err.Error(); text != f.trouble {
		f.trouble = text
		f.src.report(f.path, fmt.Errorf("follow %s: %w", f.name, err))
	}
}

func (f *follower) close() {
	f.cur.close()
	f.cur = nil
}

package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// File is an audit trail in a file. It is safe for concurrent use, and several processes may append to one file where
// the system has flock.
type File struct {
	path string
	max  int64 // MaxFile

	mu      sync.Mutex
	waiting []*entry // in the order they came
	writing bool     // somebody runs drain

	turn  chan struct{} // who has put something in has what follows
	f     *os.File
	size  int64  // of the file after our last line
	last  link   // the last whole record of the trail
	torn  string // SHA-256 of the torn piece after it, if any
	empty bool   // the file has no record yet
}

// Open opens or creates the file with mode 0600 and finds the end of its chain. A line that a crash left torn is closed
// with a line end and stays; the next record names it.
func Open(path string) (*File, error) { return open(path, MaxFile) }

func open(path string, size int64) (*File, error) {
	a := &File{path: path, max: size, turn: make(chan struct{}, 1)}
	if err := a.reopen(); err != nil {
		return nil, fmt.Errorf("open audit file: %w", err)
	}
	if err := a.locked(a.catchUp); err != nil {
		return nil, errors.Join(fmt.Errorf("open audit file %s: %w", path, err), a.f.Close())
	}
	return a, nil
}

// reopen opens what the path names now.
func (a *File) reopen() error {
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return errors.Join(err, f.Close())
	}
	if a.f != nil {
		err = a.f.Close()
	}
	a.f, a.size = f, -1
	return err
}

// maxAtOnce bounds how many records are written together.
const maxAtOnce = 64

// entry is a record on its way into the file.
type entry struct {
	rec  Record
	err  error
	done chan struct{} // closed when it is written, or err says why not
}

// Append writes one record. When it returns nil the line is with the operating system. What several goroutines append at
// the same time is written together: all of it, or nothing.
func (a *File) Append(rec Record) error {
	e := &entry{rec: rec, done: make(chan struct{})}
	a.mu.Lock()
	a.waiting = append(a.waiting, e)
	first := !a.writing
	a.writing = true
	a.mu.Unlock()
	if first {
		go a.drain()
	}
	<-e.done
	if e.err != nil {
		return fmt.Errorf("append to audit file: %w", e.err)
	}
	return nil
}

// drain writes until nobody waits. It runs in a goroutine of its own, because encoding takes a deep stack, and each of
// thousands who append would keep one.
func (a *File) drain() {
	for {
		a.turn <- struct{}{}
		batch := a.next()
		a.write(batch)
		<-a.turn
		if len(batch) == 0 {
			return
		}
	}
}

// next takes those who have waited longest. Nobody writes any more once it gives none.
func (a *File) next() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(len(a.waiting), maxAtOnce)
	a.writing = n > 0
	batch := slices.Clone(a.waiting[:n])
	a.waiting = slices.Delete(a.waiting, 0, n)
	return batch
}

// write writes records and tells those who wait for them.
func (a *File) write(batch []*entry) {
	if len(batch) == 0 {
		return
	}
	err := a.locked(func() error {
		if err := a.catchUp(); err != nil {
			return err
		}
		if a.size >= a.max && a.torn == "" && !a.empty && a.setAside() {
			return errMoved
		}
		last, torn, empty := a.last, a.torn, a.empty
		var text []byte
		for _, e := range batch {
			var line []byte
			if line, e.err = encode(e.rec, last, empty && last != noLink, torn); e.err != nil {
				continue // the others need not pay for it
			}
			text = append(append(text, line...), '\n')
			last, torn, empty = link{last.number + 1, sum(line)}, "", false
		}
		if len(text) == 0 {
			return nil
		}
		n, err := a.f.Write(text)
		if err != nil {
			// What got there was never a record: it is taken back, or else stays as a torn line.
			return errors.Join(err, a.takeBack())
		}
		a.size += int64(n)
		a.last, a.torn, a.empty = last, torn, empty
		return writeHead(a.path, a.last)
	})
	for _, e := range batch {
		e.err = cmp.Or(e.err, err)
		close(e.done)
	}
}

// setAside renames the file, which must be locked, by the number of its last record, and tells whether that worked. Where
// it does not, the file goes on growing: a record is worth more than a small file.
func (a *File) setAside() bool {
	name := a.path + "." + strconv.FormatUint(a.last.number, 10)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return os.Rename(a.path, name) == nil
}

// takeBack cuts the file to where our last line ended, and has its end read again.
func (a *File) takeBack() error {
	size := a.size
	a.size = -1
	return a.f.Truncate(size)
}

// Close ends the use of the file.
func (a *File) Close() error {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	return errors.Join(a.f.Sync(), a.f.Close())
}

// errMoved has what was to be done in the locked file done in the one that has taken its place.
var errMoved = errors.New("the file was renamed while it was opened")

// maxMoves bounds how often in a row a file may be renamed under us.
const maxMoves = 10

// locked runs do while no other process appends, in the file that the path names then.
func (a *File) locked(do func() error) error {
	for range maxMoves {
		if err := lock(a.f); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		err := a.current()
		if err == nil {
			err = do()
		}
		err = errors.Join(err, unlock(a.f))
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := a.reopen(); err != nil {
			return err
		}
	}
	return errMoved
}

// current gives errMoved if the path names another file than the open one, or none.
func (a *File) current() error {
	ours, err := a.f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(a.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, named) {
		return errMoved
	}
	return err
}

// catchUp finds the end of the chain if the file is not as we left it.
func (a *File) catchUp() error {
	info, err := a.f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size == a.size {
		return nil
	}
	from := max(0, size-endWindow)
	tail := make([]byte, size-from)
	if _, err := a.f.ReadAt(tail, from); err != nil {
		return fmt.Errorf("read the end: %w", err)
	}
	if len(tail) > 0 && tail[len(tail)-1] != '\n' {
		if _, err := a.f.Write([]byte{'\n'}); err != nil {
			return fmt.Errorf("close the torn line: %w", err)
		}
		size++
		tail = append(tail, '\n')
	}
	last, torn, err := endOfChain(tail, from == 0)
	if err != nil {
		return err
	}
	a.empty = last == noLink
	head, err := readHead(a.path)
	if err != nil {
		return err
	}
	// The head is written after the line. If it is ahead nevertheless, then the chain goes on in a new file, or its end
	// was lost; in either case the next record follows the one that the head names, so that a loss stays visible.
	if head.number > last.number || head.number == last.number && head.number > 0 && head != last {
		last = head
	}
	a.size, a.last, a.torn = size, last, torn
	return nil
}

// errForeign is for a file whose end is no audit trail: nothing is appended to it.
var errForeign = errors.New("the file's end is no audit trail")

// endOfChain gives the last whole record in tail and the hash of the torn lines after it, if any. begins tells that tail
// is the whole file.
func endOfChain(tail []byte, begins bool) (last link, torn string, err error) {
	end := len(tail) // of the lines not yet looked at
	for end > 0 {
		begin := bytes.LastIndexByte(tail[:end-1], '\n') + 1
		line := tail[begin : end-1]
		if c, reason := check(line); reason == "" {
			return link{c.Number, sum(line)}, sumTorn(tail[end:]), nil
		}
		if !isPiece(line) {
			return link{}, "", errForeign
		}
		end = begin
	}
	if !begins {
		return link{}, "", errForeign
	}
	return noLink, sumTorn(tail), nil
}

// isPiece tells whether a line may be the beginning of a record of ours.
func isPiece(line []byte) bool {
	const begin = `{"time":"`
	n := min(len(begin), len(line))
	return string(line[:n]) == begin[:n]
}

// sumTorn gives the hash of torn lines with their line ends, "" if there are none.
func sumTorn(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return sum(b)
}

// headEnd is added to the trail's name for the file of its head: the last record's number in 20 digits, a blank, and the
// SHA-256 of its line in hex. Its length never changes, so that one write replaces it.
const headEnd = ".head"

// writeHead keeps where the chain stands; the trail must be locked.
func writeHead(path string, last link) error {
	f, err := os.OpenFile(path+headEnd, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep the head: %w", err)
	}
	_, err = fmt.Fprintf(f, "%020d %s\n", last.number, last.hash)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep the head: %w", err)
	}
	return nil
}

// readHead gives where the chain was left, noLink if that is not known.
func readHead(path string) (link, error) {
	b, err := os.ReadFile(path + headEnd)
	if errors.Is(err, fs.ErrNotExist) {
		return noLink, nil
	}
	if err != nil {
		return link{}, fmt.Errorf("read the head: %w", err)
	}
	number, hash, _ := strings.Cut(strings.TrimSuffix(string(b), "\n"), " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(hash) != len(noPrev) || strings.Trim(hash, "0123456789abcdef") != "" {
		return noLink, nil // damaged, it tells nothing
	}
	return link{n, hash}, nil
}

// Files gives the names of a trail's files: those that were set aside beside it, and the one that is written, if it is
// there.
func Files(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("look for audit files: %w", err)
	}
	var names []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path))
		aside := strings.HasPrefix(rest, ".") && len(rest) > 1 && strings.Trim(rest[1:], "0123456789") == ""
		if ok && (rest == "" || aside) {
			names = append(names, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Package changes keeps the journal of who changed what: an append-only file of JSON lines, numbered, newest last. A file
// that has become large is set aside beside the journal; no file is ever removed, that is for the operator to do. Several
// processes may append.
package changes

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary/intel/internal/safefile"
)

// FileName is the journal's name in state.dir.
const FileName = "changes.ndjson"

// Bounds of the journal.
const (
	// MaxFile is the size in bytes from which on a file is set aside.
	MaxFile = 64 << 20
	// MaxValue is the longest Before or After in bytes; of a longer one length and SHA-256 are kept.
	MaxValue = 16 << 10
	// MaxText is the longest Who, Action or Object in bytes; a longer one is cut.
	MaxText = 512
	// MaxPage is how many entries Read gives at most.
	MaxPage = 1000
	// maxLine is longer than any line that can come of an entry, with every text at MaxText and escaped.
	maxLine = 64 << 10
)

// Entry is one change.
type Entry struct {
	// Number counts the entries of the journal from 1, over all its files. Append sets it.
	Number uint64 `json:"number"`
	// Time is when, in UTC; Append sets it if it is zero.
	Time time.Time `json:"time"`
	// Who changed it, such as "user alice", "token ci" or "shell root"; Action is what was done, such as "user.add"; Object
	// is what it was done to. Each is printable ASCII and at most MaxText bytes long; anything else in them is replaced.
	Who    string `json:"who"`
	Action string `json:"action"`
	Object string `json:"object"`
	// Before and After are the object as JSON; empty where there was none. Secrets do not belong there.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Journal is a journal in a file. It is safe for concurrent use, and several processes may use one file where the system
// has flock.
type Journal struct {
	path string
	max  int64 // MaxFile
	now  func() time.Time
}

// Open gives the journal at a path, usually FileName in state.dir. It does no I/O.
func Open(path string) *Journal { return &Journal{path: path, max: MaxFile, now: time.Now} }

// Check tells whether entries can be appended, without doing so. It makes the file, with mode 0600, if it is missing.
// What has to be in the journal is best changed only after it.
func (j *Journal) Check() error {
	return j.locked(func(*os.File) error { return nil })
}

// Append writes one entry. When it returns nil the entry survives a power cut. The values are not kept. A value that is
// no JSON is an error.
func (j *Journal) Append(e Entry) error {
	var err error
	if e.Before, err = value(e.Before); err != nil {
		return fmt.Errorf("journal of changes: before: %w", err)
	}
	if e.After, err = value(e.After); err != nil {
		return fmt.Errorf("journal of changes: after: %w", err)
	}
	if e.Time.IsZero() {
		e.Time = j.now()
	}
	e.Time = e.Time.UTC()
	e.Who, e.Action, e.Object = printable(e.Who), printable(e.Action), printable(e.Object)
	return j.locked(func(f *os.File) error { return j.append(f, e) })
}

// append writes an entry; the lock is held.
func (j *Journal) append(f *os.File, e Entry) error {
	last, err := j.last(f)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size >= j.max && last > 0 {
		// A rename leaves no moment in which entries are in no file.
		if err := os.Rename(j.path, j.aside(last)); err != nil {
			return fmt.Errorf("set the full file aside: %w", err)
		}
		fresh, err := safefile.Open(j.path, os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(write(fresh, 0, e, last), fresh.Close())
	}
	return write(f, size, e, last)
}

// write appends the entry to a file of the given size, after the entry with the number last.
func write(f *os.File, size int64, e Entry, last uint64) error {
	e.Number = last + 1
	var line bytes.Buffer
	if size > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], size-1); err != nil {
			return err
		}
		if end[0] != '\n' { // what a crash left of a line stays, and is skipped by Read
			line.WriteByte('\n')
		}
	}
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false) // escaping could make a value six times as long
	if err := enc.Encode(e); err != nil {
		return err
	}
	if _, err := f.Write(line.Bytes()); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	return f.Sync()
}

// Read gives up to limit entries, at most MaxPage, whose number is lower than before, the newest first; 0 means from the
// newest on. The next page begins before the number of the last one given. Lines that are no entries, as a crash may leave
// one, are skipped and counted.
func (j *Journal) Read(before uint64, limit int) (entries []Entry, skipped int, err error) {
	if before == 0 {
		before = math.MaxUint64
	}
	limit = min(limit, MaxPage)
	if _, err := os.Stat(j.path); errors.Is(err, fs.ErrNotExist) && len(j.files()) == 0 {
		return nil, 0, nil
	}
	err = j.locked(func(f *os.File) error {
		page := func(line []byte) bool {
			if len(entries) >= limit {
				return false
			}
			// Not decoded: it may be far from the end to the page. A line that was torn does not end so.
			if n, ok := number(line); ok && n >= before && line[len(line)-1] == '}' {
				return true
			}
			e, ok := decode(line)
			if !ok {
				skipped++
				return true
			}
			if e.Number < before {
				entries = append(entries, e)
				before = e.Number
			}
			return true
		}
		if err := backwards(f, page); err != nil {
			return err
		}
		set := j.files()
		for i := len(set) - 1; i >= 0 && len(entries) < limit; i-- {
			// A file is named after its last entry, so the one before it tells where it begins.
			if i > 0 && set[i-1]+1 >= before {
				continue
			}
			if err := readAside(j.aside(set[i]), page); err != nil {
				return err
			}
		}
		return nil
	})
	return entries, skipped, err
}

// readAside reads a file that was set aside; one that the operator has taken away meanwhile has nothing.
func readAside(path string, page func([]byte) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(backwards(f, page), f.Close())
}

// locked runs do with the journal's file while nobody else has it.
func (j *Journal) locked(do func(*os.File) error) error {
	lock, err := safefile.Lock(j.path + ".lock")
	if err != nil {
		return fmt.Errorf("journal of changes: %w", err)
	}
	f, err := safefile.Open(j.path, os.O_RDWR|os.O_APPEND, 0o600)
	if err == nil {
		err = errors.Join(do(f), f.Close())
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("journal of changes: %w", err)
	}
	return nil
}

// last gives the number of the journal's last entry, 0 if it has none.
func (j *Journal) last(f *os.File) (uint64, error) {
	var last uint64
	err := backwards(f, func(line []byte) bool {
		e, ok := decode(line)
		last = e.Number
		return !ok
	})
	if err == nil && last == 0 {
		if set := j.files(); len(set) > 0 {
			last = set[len(set)-1]
		}
	}
	return last, err
}

// aside is the name of a file that was set aside, by its last entry.
func (j *Journal) aside(last uint64) string { return j.path + "." + strconv.FormatUint(last, 10) }

// files gives the last entries of the files that were set aside, rising. A folder that cannot be read has none: then the
// journal's own file cannot be opened either, which tells the reason.
func (j *Journal) files() []uint64 {
	dir, err := os.ReadDir(filepath.Dir(j.path))
	if err != nil {
		return nil
	}
	var set []uint64
	for _, f := range dir {
		if end, ok := strings.CutPrefix(f.Name(), filepath.Base(j.path)+"."); ok {
			if n, err := strconv.ParseUint(end, 10, 64); err == nil && n > 0 && end == strconv.FormatUint(n, 10) {
				set = append(set, n)
			}
		}
	}
	slices.Sort(set)
	return set
}

// chunk is how much of a file is read at once.
const chunk = 64 << 10

// backwards hands over the lines of a file, the last first and without line ends, until next wants no more. A line is
// valid until next returns. Empty lines are left out; of a line longer than maxLine only the beginning is handed over.
func backwards(f io.ReaderAt, next func(line []byte) bool) error {
	size, err := end(f)
	if err != nil {
		return err
	}
	var block [chunk]byte
	var tail []byte // the part of the current line that was read already
	for size > 0 {
		n := min(size, chunk)
		if _, err := f.ReadAt(block[:n], size-n); err != nil {
			return err
		}
		size -= n
		b := block[:n]
		for {
			i := bytes.LastIndexByte(b, '\n')
			line := slices.Concat(b[i+1:], tail)
			tail = nil
			if i < 0 {
				tail = line[:min(len(line), maxLine+1)]
				break
			}
			if len(line) > 0 && !next(line) {
				return nil
			}
			b = b[:i]
		}
	}
	if len(tail) > 0 {
		next(tail)
	}
	return nil
}

// end gives the size of what is read.
func end(f io.ReaderAt) (int64, error) {
	switch f := f.(type) {
	case *os.File:
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	case interface{ Size() int64 }:
		return f.Size(), nil
	}
	return 0, errors.New("no size")
}

// numberMember begins every line.
const numberMember = `{"number":`

// number gives the number of a line without decoding it.
func number(line []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(numberMember))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest[:min(len(rest), 21)], []byte(","))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, err == nil
}

// decode gives the entry of a line; ok is false if it is none.
func decode(line []byte) (e Entry, ok bool) {
	if len(line) > maxLine {
		return e, false
	}
	if err := json.Unmarshal(line, &e); err != nil || e.Number == 0 {
		return Entry{}, false
	}
	return e, true
}

// value gives what is kept of a value.
func value(v json.RawMessage) (json.RawMessage, error) {
	if len(v) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil {
		return nil, err
	}
	if b.Len() <= MaxValue {
		return b.Bytes(), nil
	}
	sum := sha256.Sum256(b.Bytes())
	return json.Marshal(struct {
		Bytes  int    `json:"omitted_bytes"`
		SHA256 string `json:"sha256"`
	}{b.Len(), hex.EncodeToString(sum[:])})
}

// printable cuts a text and replaces what is not printable ASCII, so that no line can do harm to a terminal.
func printable(s string) string {
	s = s[:min(len(s), MaxText)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
)

// BrokenError tells where a chain breaks.
type BrokenError struct {
	Line   int    // from 1
	Reason string // continues "line 3 …"
}

// Error gives a line like "line 3 does not match its hash".
func (e *BrokenError) Error() string { return fmt.Sprintf("line %d %s", e.Line, e.Reason) }

// Report is what was found in one file of a trail.
type Report struct {
	File string
	// Records is how many lines are whole records in themselves; First and Last are the numbers of the first and the last
	// of them, 0 if there is none.
	Records     int
	First, Last uint64
	// Before is how many records should stand before the first one in files that were not given. That is no break.
	Before uint64
	// Broken is the first break, nil if the file is intact; Breaks is how many there are.
	Broken *BrokenError
	Breaks int
	// Missing is how many records are not there, as far as the numbers tell.
	Missing uint64

	whole int // records before the first break
}

// broken notes a break.
func (r *Report) broken(line int, reason string) {
	r.Breaks++
	if r.Broken == nil {
		r.Broken = &BrokenError{line, reason}
		r.whole = r.Records
	}
}

// chain is a trail that is read, file by file.
type chain struct {
	last link // the last whole record
	any  bool // there was one
	head link // what the last record should be, or one of the last; noLink if unknown
}

// file reads the next file. The error is that of reading.
func (ch *chain) file(name string, r io.Reader) (Report, error) {
	out := Report{File: name}
	in := newLines(r)
	torn, tornAt, tornWhy := sha256.New(), 0, "" // the lines that the next record has to name as torn
	for number := 1; ; number++ {
		line, whole, err := in.next()
		if errors.Is(err, io.EOF) {
			if tornAt > 0 {
				out.broken(tornAt, tornWhy)
			}
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("read audit trail: %w", err)
		}
		c, reason := check(line)
		if !whole {
			reason = "is torn: it has no line end"
		}
		if reason != "" {
			// Perhaps torn: the next record tells.
			if tornAt == 0 {
				tornAt, tornWhy = number, reason
			}
			torn.Write(append(line, '\n'))
			continue
		}
		ch.record(&out, number, c, torn, tornAt, tornWhy)
		if out.Records++; out.First == 0 {
			out.First = c.Number
		}
		out.Last = c.Number
		ch.last, ch.any = link{c.Number, sum(line)}, true
		if ch.head.number == c.Number && ch.head.hash != ch.last.hash && ch.head != noLink {
			out.broken(number, "is not the record that was kept as the trail's last")
		}
		torn.Reset()
		tornAt = 0
	}
}

// record checks the place of a record that is whole in itself.
func (ch *chain) record(out *Report, number int, c chained, torn hash.Hash, tornAt int, tornWhy string) {
	switch {
	case tornAt > 0 && c.Torn != hex.EncodeToString(torn.Sum(nil)):
		out.broken(tornAt, tornWhy)
	case tornAt == 0 && c.Torn != "":
		out.broken(number, "names a torn line that is not there")
	}
	switch {
	case !ch.any && c.Begins && out.Records == 0 && c.Number > 0:
		out.Before = c.Number - 1
	case c.Prev != ch.last.hash && c.Number > ch.last.number+1:
		missing := c.Number - ch.last.number - 1
		out.Missing += missing
		out.broken(number, fmt.Sprintf("does not follow the record before (missing: %d)", missing))
	case c.Prev != ch.last.hash:
		out.broken(number, "does not follow the record before")
	case c.Number != ch.last.number+1 && (c.Number != 0 || ch.last.number != 0): // trails of old have no numbers
		out.broken(number, fmt.Sprintf("has number %d instead of %d", c.Number, ch.last.number+1))
	}
}

// Verify reads one file from its beginning and returns how many records are whole and in their place before the first
// break. The error is a *BrokenError for that, or that of reading. A torn line which the next record names is no break and
// no record; one at the very end is a break, until the trail is opened again. A file that continues others is taken as it
// begins.
func Verify(r io.Reader) (records int, err error) {
	ch := chain{last: noLink, head: noLink}
	out, err := ch.file("", r)
	switch {
	case out.Broken != nil:
		return out.whole, out.Broken
	case err != nil:
		return out.Records, err
	}
	return out.Records, nil
}

// VerifyFiles reads the files of one trail, whose order it finds out itself, and reports on each, the oldest first. Where
// a file's head stands beside it, it is compared. It may run beside processes that append. The error is that of reading;
// what was found until then is returned with it.
func VerifyFiles(names ...string) ([]Report, error) {
	type part struct {
		name  string
		first uint64
	}
	parts := make([]part, 0, len(names))
	for _, name := range names {
		first, err := firstNumber(name)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{name, first})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.first, b.first) })
	ch := chain{last: noLink, head: noLink}
	var reports []Report
	for _, p := range parts {
		r, err := ch.path(p.name)
		reports = append(reports, r)
		if err != nil {
			return reports, err
		}
	}
	return reports, nil
}

// path reads the file of a name as it is now, and compares its head.
func (ch *chain) path(name string) (Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return Report{File: name}, fmt.Errorf("read audit trail: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	// Size and head are of one moment only while nobody appends.
	if err := lock(f); err != nil {
		return Report{File: name}, fmt.Errorf("lock audit trail: %w", err)
	}
	info, err := f.Stat()
	head, headErr := readHead(name)
	if err := errors.Join(err, headErr, unlock(f)); err != nil {
		return Report{File: name}, fmt.Errorf("read audit trail: %w", err)
	}
	ch.head = head
	lines := &countLines{r: io.LimitReader(f, info.Size())}
	out, err := ch.file(name, lines)
	if err == nil && head.number > ch.last.number {
		missing := head.number - ch.last.number
		out.Missing += missing
		out.broken(lines.n+1, fmt.Sprintf("is not there (missing at the end: %d)", missing))
	}
	return out, err
}

// countLines counts the line ends that were read.
type countLines struct {
	r io.Reader
	n int
}

// Read implements io.Reader.
func (c *countLines) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	for _, x := range b[:n] {
		if x == '\n' {
			c.n++
		}
	}
	return n, err
}

// firstNumber gives the number of the first whole record in a file, 0 if there is none.
func firstNumber(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("read audit trail: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	in := newLines(f)
	for {
		line, _, err := in.next()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read audit trail: %w", err)
		}
		if c, reason := check(line); reason == "" {
			return c.Number, nil
		}
	}
}

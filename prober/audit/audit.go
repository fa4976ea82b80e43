// Package audit keeps the prober's audit trail: an append-only file of JSON lines, one before each probe and one for
// each connection, each tied to the one before by SHA-256, so that a line that was changed, taken out or put in later
// is found by Verify.
//
// The chain is not keyed: it shows damage and careless changes; against somebody who can rewrite the whole file, its
// last hash has to be kept elsewhere.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of a line.
const (
	// MaxText is the longest text of a record in bytes; a longer one is cut.
	MaxText = 512
	// MaxLine is longer than any line that can come of a record, with every text at MaxText and escaped.
	MaxLine = 64 << 10
)

// endWindow is how much of a file's end is searched for the last whole record; what a crash left torn is in it.
const endWindow = 4 * MaxLine

// The events.
const (
	// EventProbe stands before a probe: what will be asked, for whom and why. It has to be written before the first
	// packet leaves.
	EventProbe = "probe"
	// EventConnection stands after each connection: what was said and what came of it.
	EventConnection = "connection"
)

// Record is what is kept of a probe or of one of its connections. Times are UTC.
type Record struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
	// Client is on whose behalf the probe is made, "" for one by hand. Why is its reason.
	Client string `json:"client"`
	Why    string `json:"why"`
	// Endpoint is the address and port that is asked, Local the address and port it is asked from.
	Endpoint string `json:"endpoint"`
	Local    string `json:"local,omitempty"`
	TLS      bool   `json:"tls"`
	// Dialect is what was spoken.
	Dialect string `json:"dialect,omitempty"`
	// Bytes of the connection, those of TLS included.
	BytesSent  int64 `json:"bytes_sent"`
	BytesRead  int64 `json:"bytes_read"`
	DurationMS int64 `json:"duration_ms"`
	// Outcome is how the connection ended; Verdict is what it alone tells of the endpoint.
	Outcome string `json:"outcome,omitempty"`
	Verdict string `json:"verdict,omitempty"`
}

// chained is a Record as it stands in the file, but for its own hash.
type chained struct {
	Record
	// Torn is the SHA-256 of the pieces of lines, line ends included, that crashes left before this line.
	Torn string `json:"torn,omitempty"`
	// Prev is the SHA-256 of the whole line before, without its line end; of the first line it is 64 zeros.
	Prev string `json:"prev"`
}

// noPrev is prev of the first line.
var noPrev = strings.Repeat("0", 2*sha256.Size)

// hashMember begins the last member of a line, the SHA-256 of all that stands before it.
const hashMember = `,"hash":"`

// sum gives the SHA-256 in hex.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// encode gives the line of a record without line end, in ASCII.
func encode(rec Record, prev, torn string) ([]byte, error) {
	for _, text := range []*string{&rec.Event, &rec.Client, &rec.Why, &rec.Endpoint, &rec.Local, &rec.Dialect, &rec.Outcome, &rec.Verdict} {
		if len(*text) > MaxText {
			*text = strings.ToValidUTF8((*text)[:MaxText], "")
		}
	}
	b, err := json.Marshal(chained{Record: rec, Torn: torn, Prev: prev})
	if err != nil {
		return nil, fmt.Errorf("encode audit record: %w", err)
	}
	b = ascii(b)
	b = b[:len(b)-1] // the closing brace
	hash := sum(b)
	return append(b, hashMember+hash+`"}`...), nil
}

// ascii escapes what is not ASCII in a JSON text, so that no direction mark gets into a terminal.
func ascii(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r < 0x7f:
			out = append(out, b[0])
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[size:]
	}
	return out
}

// check tells whether a line is whole in itself, and gives its links.
func check(line []byte) (c chained, reason string) {
	const tail = len(hashMember) + 2*sha256.Size + len(`"}`)
	if len(line) <= tail {
		return c, "is no audit record"
	}
	body, end := line[:len(line)-tail], line[len(line)-tail:]
	if !bytes.HasPrefix(end, []byte(hashMember)) || !bytes.HasSuffix(end, []byte(`"}`)) {
		return c, "is no audit record"
	}
	if string(end[len(hashMember):len(end)-2]) != sum(body) {
		return c, "does not match its hash"
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return chained{}, "is no audit record"
	}
	return c, ""
}

// File is an audit trail in a file. It is safe for concurrent use, and several processes may append to one file where
// the system has flock.
type File struct {
	mu   sync.Mutex
	f    *os.File
	size int64  // of the file after our last line
	prev string // SHA-256 of the last whole line
	torn string // SHA-256 of the torn piece after it, if any
}

// Open opens or creates the file with mode 0600 and finds the end of its chain. A line that a crash left torn is closed
// with a line end and stays; the next record names it.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit file: %w", err)
	}
	a := &File{f: f, size: -1}
	err = a.locked(func() error {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
		return a.catchUp()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit file %s: %w", path, err), f.Close())
	}
	return a, nil
}

// Append writes one record. When it returns nil the line is with the operating system.
func (a *File) Append(rec Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.locked(func() error {
		if err := a.catchUp(); err != nil {
			return err
		}
		line, err := encode(rec, a.prev, a.torn)
		if err != nil {
			return err
		}
		n, err := a.f.Write(append(line, '\n'))
		if err != nil {
			// What got there was never a record: it is taken back, or else stays as a torn line.
			return errors.Join(err, a.takeBack())
		}
		a.size += int64(n)
		a.prev, a.torn = sum(line), ""
		return nil
	})
	if err != nil {
		return fmt.Errorf("append to audit file: %w", err)
	}
	return nil
}

// takeBack cuts the file to where our last line ended, and has its end read again.
func (a *File) takeBack() error {
	size := a.size
	a.size = -1
	return a.f.Truncate(size)
}

// Close ends the use of the file.
func (a *File) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.f.Sync(), a.f.Close())
}

// locked runs do while no other process appends.
func (a *File) locked(do func() error) error {
	if err := lock(a.f); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return errors.Join(do(), unlock(a.f))
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
	prev, torn, err := endOfChain(tail, from == 0)
	if err != nil {
		return err
	}
	a.size, a.prev, a.torn = size, prev, torn
	return nil
}

// errForeign is for a file whose end is no audit trail: nothing is appended to it.
var errForeign = errors.New("the file's end is no audit trail")

// endOfChain gives the hash of the last whole record in tail and the hash of the torn lines after it, if any. begins
// tells that tail is the whole file.
func endOfChain(tail []byte, begins bool) (prev, torn string, err error) {
	end := len(tail) // of the lines not yet looked at
	for end > 0 {
		begin := bytes.LastIndexByte(tail[:end-1], '\n') + 1
		line := tail[begin : end-1]
		if _, reason := check(line); reason == "" {
			return sum(line), sumTorn(tail[end:]), nil
		}
		if !isPiece(line) {
			return "", "", errForeign
		}
		end = begin
	}
	if !begins {
		return "", "", errForeign
	}
	return noPrev, sumTorn(tail), nil
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

// BrokenError tells where a chain breaks.
type BrokenError struct {
	Line   int    // from 1
	Reason string // continues "line 3 …"
}

// Error gives a line like "line 3 does not match its hash".
func (e *BrokenError) Error() string { return fmt.Sprintf("line %d %s", e.Line, e.Reason) }

// Verify reads an audit trail from its beginning and returns how many records are whole and in their place. The error
// is a *BrokenError for the first line that is not, or that of reading. A torn line which the next record names is no
// break and no record; one at the very end is a break, until the trail is opened again.
func Verify(r io.Reader) (records int, err error) {
	in := newLines(r)
	prev := noPrev
	torn := sha256.New() // of the lines that the next record has to name as torn
	var first *BrokenError
	for number := 1; ; number++ {
		line, whole, err := in.next()
		if errors.Is(err, io.EOF) {
			if first != nil {
				return records, first
			}
			return records, nil
		}
		if err != nil {
			return records, fmt.Errorf("read audit trail: %w", err)
		}
		c, reason := check(line)
		switch {
		case !whole:
			reason = "is torn: it has no line end"
		case reason != "":
			// Perhaps torn: the next record tells.
			if first == nil {
				first = &BrokenError{number, reason}
			}
			torn.Write(append(line, '\n'))
			continue
		case first == nil && c.Torn != "":
			reason = "names a torn line that is not there"
		case first != nil && c.Torn != hex.EncodeToString(torn.Sum(nil)):
			return records, first
		case c.Prev != prev:
			reason = "does not follow the record before"
		}
		if reason != "" {
			if first == nil {
				first = &BrokenError{number, reason}
			}
			return records, first
		}
		records++
		prev, first = sum(line), nil
		torn.Reset()
	}
}

// Package audit keeps the prober's audit trail: an append-only file of JSON lines, one before each probe and one for
// each connection, numbered and each tied to the one before by SHA-256, so that a line that was changed, taken out or put
// in later is found by Verify. A file that has become large is set aside beside the trail, and the chain goes on in a new
// one; it goes on as well when somebody else renames or empties the file (logrotate). Number and hash of the last record
// stand in a file of their own, the head, so that an end that was cut off is missed.
//
// The chain is not keyed: it shows damage and careless changes; against somebody who can rewrite all the files, the
// head has to be kept elsewhere.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a line.
const (
	// MaxText is the longest text of a record in bytes; a longer one is cut.
	MaxText = 512
	// MaxLine is longer than any line that can come of a record, with every text at MaxText and escaped.
	MaxLine = 64 << 10
	// MaxFile is the size in bytes from which on a file is set aside and the chain goes on in a new one.
	MaxFile = 256 << 20
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
	// Number counts the records of the trail from 1, over all its files.
	Number uint64 `json:"number"`
	// Begins marks the first record of a file that is not the trail's first.
	Begins bool `json:"begins,omitempty"`
	// Torn is the SHA-256 of the pieces of lines, line ends included, that crashes left before this line.
	Torn string `json:"torn,omitempty"`
	// Prev is the SHA-256 of the whole line before, without its line end; of the first line it is 64 zeros.
	Prev string `json:"prev"`
}

// noPrev is prev of the first line.
var noPrev = strings.Repeat("0", 2*sha256.Size)

// link is where a chain stands: the number of its last record and the SHA-256 of that line.
type link struct {
	number uint64
	hash   string
}

// noLink is where a trail begins.
var noLink = link{hash: noPrev}

// hashMember begins the last member of a line, the SHA-256 of all that stands before it.
const hashMember = `,"hash":"`

// sum gives the SHA-256 in hex.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// encode gives the line of a record without line end, in ASCII. last is the record before; begins tells that it is in
// another file.
func encode(rec Record, last link, begins bool, torn string) ([]byte, error) {
	for _, text := range []*string{&rec.Event, &rec.Client, &rec.Why, &rec.Endpoint, &rec.Local, &rec.Dialect, &rec.Outcome, &rec.Verdict} {
		if len(*text) > MaxText {
			*text = strings.ToValidUTF8((*text)[:MaxText], "")
		}
	}
	b, err := json.Marshal(chained{Record: rec, Number: last.number + 1, Begins: begins, Torn: torn, Prev: last.hash})
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

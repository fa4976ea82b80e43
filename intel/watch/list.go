package watch

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/minecanary/minecanary/intel/internal/lines"
	"github.com/minecanary/minecanary/intel/wallets"
)

// The bounds of a watch list.
const (
	// MaxEntries is how many wallets a list may have.
	MaxEntries = 100_000
	// MaxErrors is how many bad lines of a file are reported one by one; the rest is counted in one more error.
	MaxErrors = 1000
	// MaxText is the longest label or note in bytes.
	MaxText = 256

	maxLine = 4096
)

// Entry is one line of a watch list.
type Entry struct {
	// Wallet is in the one spelling of wallets.Login.
	Wallet string
	// Label is a word of the operator's, such as the name of a case, and Note what else stands on the line; "" for none.
	Label, Note string
	// Expires is when the entry ends; zero for never.
	Expires time.Time
}

// List is a watch list. It never changes after it was read, so it may be used by several goroutines at once. Nil is an
// empty list.
type List struct {
	entries map[string]Entry
}

// Len is the number of entries, the expired ones included.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.entries)
}

// Match finds the entry of a wallet, in the one spelling of wallets.Login, that is valid at the given time.
func (l *List) Match(wallet string, at time.Time) (Entry, bool) {
	if l == nil {
		return Entry{}, false
	}
	e, ok := l.entries[wallet]
	if !ok || !e.Expires.IsZero() && !at.Before(e.Expires) {
		return Entry{}, false
	}
	return e, true
}

// ReadFile reads the list of a file, see Parse.
func ReadFile(path string) (*List, []error) {
	f, err := os.Open(path)
	if err != nil {
		return &List{}, []error{fmt.Errorf("read watch list: %w", err)}
	}
	l, errs := Parse(f, path)
	if err := f.Close(); err != nil {
		errs = append(errs, fmt.Errorf("read watch list: %w", err))
	}
	return l, errs
}

// Parse reads a watch list, one wallet a line; what follows it in any order are label=WORD and expires=TIME, then a note:
//
//	# comment
//	1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa
//	0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed  label=case-17 expires=2026-12-31 seen by the desk
//
// name is what errors call the file. Bad lines are errors with name and line, the others are in the list, which is never
// nil. Of two lines for a wallet the first counts, and the second is an error.
func Parse(r io.Reader, name string) (*List, []error) {
	l := &List{entries: map[string]Entry{}}
	var errs []error
	more := 0
	err := lines.Each(r, maxLine, func(number int, line, reason string) bool {
		if reason == "" {
			reason = l.add(strings.TrimSpace(line))
		}
		if reason != "" && len(errs) < MaxErrors {
			errs = append(errs, fmt.Errorf("%s:%d: %s", name, number, reason))
		} else if reason != "" {
			more++
		}
		return true
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("read %s: %w", name, err))
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%s: %d more lines are wrong", name, more))
	}
	return l, errs
}

// add reads one line; reason tells why not.
func (l *List) add(line string) (reason string) {
	if line == "" || line[0] == '#' {
		return ""
	}
	if !utf8.ValidString(line) {
		return "the line is not valid UTF-8"
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
		return "the line has a character that cannot be printed"
	}
	words := strings.Fields(line)
	login, ok := wallets.Recognise(words[0])
	text := words[0][:min(len(words[0]), 130)]
	switch {
	case !ok:
		return fmt.Sprintf("%+q is no wallet of a known coin", text)
	case !login.Valid && !login.Unchecked:
		return fmt.Sprintf("the checksum of %+q is wrong", text)
	}
	e := Entry{Wallet: login.Wallet}
	words = words[1:]
	for len(words) > 0 {
		key, value, _ := strings.Cut(words[0], "=")
		if key == "label" && e.Label == "" {
			e.Label = value
		} else if key == "expires" && e.Expires.IsZero() {
			if e.Expires, ok = parseTime(value); !ok {
				return fmt.Sprintf("%+q: must be a date such as 2026-12-31 or a time such as 2026-12-31T00:00:00Z", words[0][:min(len(words[0]), 80)])
			}
		} else {
			break
		}
		words = words[1:]
	}
	e.Note = strings.TrimLeft(strings.Join(words, " "), "# ")
	if len(e.Label) > MaxText || len(e.Note) > MaxText {
		return fmt.Sprintf("label or note is longer than %d bytes", MaxText)
	}
	if _, twice := l.entries[e.Wallet]; twice {
		return fmt.Sprintf("%q is there twice", e.Wallet)
	}
	if len(l.entries) == MaxEntries {
		return fmt.Sprintf("the list has more than %d wallets", MaxEntries)
	}
	l.entries[e.Wallet] = e
	return ""
}

// parseTime reads a date, which is its midnight in UTC, or a time of RFC 3339.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), !t.IsZero()
		}
	}
	return time.Time{}, false
}

// Package holds keeps the endpoints that people want left alone for now: a list file in the form of package lists, which
// the prober reads as one of its own (prober.hold), and which people may edit as well while the service is down.
package holds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/internal/safefile"
	"github.com/minecanary/minecanary/intel/lists"
)

// FileName is the list's name in state.dir.
const FileName = "hold.txt"

// Max is how many endpoints may be held at a time.
const Max = 10_000

// MaxReason and MaxBy are how much of a reason and of a name are kept, in bytes. Both and what is between them have to be a
// reason of the list (lists.MaxReason).
const (
	MaxReason = 300
	MaxBy     = 100
)

// ErrFull tells that Max endpoints are held already.
var ErrFull = fmt.Errorf("%d endpoints are held already", Max)

// Hold is an endpoint that is not asked for now.
type Hold struct {
	Endpoint minecanary.Endpoint
	// Reason is one line for people.
	Reason string
	// Until is when it may be asked again; zero is until it is taken back.
	Until time.Time
	// By is who held it.
	By string
}

// Holds is a list of holds. It is safe for concurrent use.
type Holds struct {
	file string

	mu   sync.Mutex
	held map[minecanary.Endpoint]Hold
}

// Open reads the list, and makes an empty one if there is none. A list with a wrong line is refused whole, as the next
// change would lose it.
func Open(file string) (*Holds, error) {
	h := &Holds{file: file, held: map[minecanary.Endpoint]Hold{}}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return h, h.save()
	}
	if err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	list, errs := lists.Parse(f, file)
	if err := errors.Join(append(errs, f.Close())...); err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	for _, e := range list.Entries() {
		if e.Name != "" || !e.Prefix.IsSingleIP() || e.Port == 0 {
			return nil, fmt.Errorf("holds: %s:%d: only address:port may be here", e.File, e.Line)
		}
		held := Hold{Endpoint: minecanary.NewEndpoint(e.Prefix.Addr(), e.Port, minecanary.TCP), Until: e.Expires, Reason: e.Reason}
		if by, reason, ok := strings.Cut(strings.TrimPrefix(e.Reason, "by "), ": "); ok && strings.HasPrefix(e.Reason, "by ") {
			held.By, held.Reason = by, reason
		}
		h.held[held.Endpoint] = held
	}
	return h, nil
}

// List gives what is held now, by endpoint.
func (h *Holds) List(context.Context) ([]Hold, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	all := make([]Hold, 0, len(h.held))
	for _, held := range h.held {
		if held.Until.IsZero() || held.Until.After(now) {
			all = append(all, held)
		}
	}
	slices.SortFunc(all, func(a, b Hold) int { return a.Endpoint.Compare(b.Endpoint) })
	return all, nil
}

// Put holds an endpoint, in place of what was said of it before. It is on disk when Put returns; the error is ErrFull, or
// the file's, and then nothing has changed.
func (h *Holds) Put(_ context.Context, held Hold) error {
	held.Reason, held.By = clean(held.Reason, MaxReason), strings.ReplaceAll(clean(held.By, MaxBy), ": ", " ")
	held.Until = held.Until.UTC().Truncate(time.Second)
	return h.change(func(m map[minecanary.Endpoint]Hold) error {
		if _, had := m[held.Endpoint]; !had && len(m) >= Max {
			return ErrFull
		}
		m[held.Endpoint] = held
		return nil
	})
}

// Remove takes a hold back; one that is not there is no error.
func (h *Holds) Remove(_ context.Context, ep minecanary.Endpoint) error {
	return h.change(func(m map[minecanary.Endpoint]Hold) error {
		delete(m, ep)
		return nil
	})
}

// change changes a copy without what has expired, and keeps it once it is on disk.
func (h *Holds) change(do func(map[minecanary.Endpoint]Hold) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.held
	now := time.Now()
	h.held = make(map[minecanary.Endpoint]Hold, len(before)+1)
	for ep, held := range before {
		if held.Until.IsZero() || held.Until.After(now) {
			h.held[ep] = held
		}
	}
	err := do(h.held)
	if err == nil {
		err = h.save()
	}
	if err != nil {
		h.held = before
	}
	return err
}

func (h *Holds) save() error {
	all := make([]Hold, 0, len(h.held))
	for _, held := range h.held {
		all = append(all, held)
	}
	slices.SortFunc(all, func(a, b Hold) int { return a.Endpoint.Compare(b.Endpoint) })
	var b bytes.Buffer
	b.WriteString("# Endpoints that are not asked for now. The service rewrites this file.\n")
	for _, held := range all {
		b.WriteString(net.JoinHostPort(held.Endpoint.Addr.String(), strconv.Itoa(int(held.Endpoint.Port))))
		if !held.Until.IsZero() {
			b.WriteString(" expires=" + held.Until.Format(time.RFC3339))
		}
		if held.By != "" {
			b.WriteString(" by " + held.By + ": " + held.Reason + "\n")
		} else { // a line of somebody's own
			b.WriteString(" # " + held.Reason + "\n")
		}
	}
	if err := safefile.Replace(h.file, b.Bytes(), 0o640); err != nil {
		return fmt.Errorf("holds: %w", err)
	}
	return nil
}

// clean makes one line of printable text of at most so many bytes, so that no reason can become an entry.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	if s == "" {
		return "-"
	}
	return s
}

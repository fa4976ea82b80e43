package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
)

const (
	// StatusFile tells other processes how the feed is.
	StatusFile = "status.json"
	// maxStatusFile bounds it.
	maxStatusFile = 1 << 16
	// statusVersion is that of its form.
	statusVersion = 1
	// StaleAfter is after how many heartbeats without a rewrite the feed is stale.
	StaleAfter = 3
	// maxProblems is how many problems a Report and a Status have.
	maxProblems = 10
)

// Status is how a feed is, as StatusFile has it.
type Status struct {
	Version int `json:"version"`
	// Written is the last rewrite that did all it had to. Before the first publication of a run the files are left alone,
	// and so is this. RewriteEvery is the heartbeat in seconds.
	Written      time.Time `json:"written,omitzero"`
	RewriteEvery float64   `json:"rewrite_every_seconds"`
	// Waiting tells that nothing was published since the service began.
	Waiting bool `json:"waiting"`
	// Generation counts the changes of what is published, from the Unix time at which the feed began; Changed is the time
	// of the last one.
	Generation uint64    `json:"generation"`
	Changed    time.Time `json:"changed,omitzero"`
	Published  int       `json:"published"`
	Addresses  int       `json:"addresses"`
	Named      int       `json:"named"`
	Lifted     int       `json:"lifted"`
	// Held counts what waits for approval, by reason.
	Held map[HoldReason]int `json:"held"`
	// Refused counts what the gate refused, by reason.
	Refused map[Reason]int `json:"refused"`
	// Lost counts what left within NewWindow and has not returned; MassRemoval tells that it is too large a share.
	Lost        int  `json:"lost"`
	MassRemoval bool `json:"mass_removal"`
	// Problems are what went wrong without keeping the feed from being written.
	Problems []string `json:"problems,omitempty"`
}

// Stale tells whether the feed was not rewritten for StaleAfter heartbeats: sensors drop its entries.
func (s Status) Stale(now time.Time) bool {
	every := time.Duration(s.RewriteEvery * float64(time.Second))
	return s.Written.IsZero() || now.Sub(s.Written) > StaleAfter*every
}

// Waits counts what waits for approval.
func (s Status) Waits() int {
	n := 0
	for _, held := range s.Held {
		n += held
	}
	return n
}

// ReadStatus reads the status of a feed directory; fs.ErrNotExist if no service publishes there.
func ReadStatus(dir string) (Status, error) {
	data, err := readSmall(filepath.Join(dir, StatusFile), maxStatusFile)
	if err != nil {
		return Status{}, fmt.Errorf("feed status: %w", err)
	}
	var s Status
	if err := json.Unmarshal(data, &s); err != nil {
		return Status{}, fmt.Errorf("feed status: %w", err)
	}
	bad := func(what string) (Status, error) { return Status{}, fmt.Errorf("feed status: %s", what) }
	switch {
	case s.Version != statusVersion:
		return bad(fmt.Sprintf("version %d is unknown", s.Version))
	case s.RewriteEvery < 0 || s.RewriteEvery > maxHeartbeat.Seconds():
		return bad("a bad heartbeat")
	case s.Generation > maxGeneration:
		return bad("a bad generation")
	case min(s.Published, s.Addresses, s.Named, s.Lifted, s.Lost) < 0 || len(s.Problems) > maxProblems:
		return bad("a bad number")
	}
	for reason := range s.Held {
		if !slices.Contains(holdReasons(), reason) {
			return bad("an unknown reason to hold")
		}
	}
	for reason := range s.Refused {
		if !slices.Contains(Reasons(), reason) {
			return bad("an unknown reason to refuse")
		}
	}
	for i := range s.Problems {
		s.Problems[i] = clean(s.Problems[i])
	}
	return s, nil
}

// save writes the status.
func (s Status) save(dir folder) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("feed status: %w", err)
	}
	return dir.replace(StatusFile, append(data, '\n'))
}

// Hold is an entry that waits for approval.
type Hold struct {
	Endpoint minecanary.Endpoint `json:"endpoint"`
	Name     string              `json:"name,omitempty"`
	Reason   HoldReason          `json:"reason"`
	Since    time.Time           `json:"since"`
	// Hosts is its blast radius, -1 if that is not known.
	Hosts int `json:"hosts"`
}

// Change is an entry that came or went.
type Change struct {
	Endpoint minecanary.Endpoint `json:"endpoint"`
	Name     string              `json:"name,omitempty"`
	// Generation is the one that brought the change.
	Generation uint64 `json:"generation"`
}

// Diff says what differs between generations, and what would be added if all that waits were approved.
type Diff struct {
	Since      uint64   `json:"since"`
	Generation uint64   `json:"generation"`
	Added      []Change `json:"added"`
	Removed    []Change `json:"removed"`
	Held       []Hold   `json:"held"`
}

// ErrTooOld says that the changes since a generation are not all known.
var ErrTooOld = errors.New("the feed does not remember that generation")

// ReadDiff reads from a feed directory what changed after a generation; a negative number asks for the last change. The
// error is ErrTooOld if that is not known, fs.ErrNotExist if no service publishes there.
func ReadDiff(dir string, since int64) (Diff, error) {
	b, err := loadBook(dir)
	if err != nil {
		return Diff{}, fmt.Errorf("feed: %w", err)
	}
	from := uint64(max(since, 0))
	if since < 0 {
		from = max(b.generation, 1) - 1
		// Of the last change all is known, except right after the floor was raised to it.
		from = max(from, min(b.floor, b.generation))
	}
	return b.diff(from)
}

// ReadHolds reads from a feed directory what waits for approval, by endpoint.
func ReadHolds(dir string) ([]Hold, error) {
	b, err := loadBook(dir)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	return b.holds(), nil
}

// ReadHeld reads from a feed directory what would wait for approval if it was offered now, and why: what waits, and what
// has left while it did. The error is fs.ErrNotExist if no service publishes there.
func ReadHeld(dir string) (map[minecanary.Endpoint]HoldReason, error) {
	b, err := loadBook(dir)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	out := map[minecanary.Endpoint]HoldReason{}
	for ep, r := range b.records {
		if r.State == held || r.State == withdrawn {
			out[ep] = r.Hold
		}
	}
	return out, nil
}

func (b *book) holds() []Hold {
	out := []Hold{}
	for _, r := range b.sorted(func(r *record) bool { return r.State == held }) {
		out = append(out, Hold{r.Endpoint, r.Name, r.Hold, r.Held, r.Hosts})
	}
	return out
}

// diff gives what changed after a generation.
func (b *book) diff(since uint64) (Diff, error) {
	if since < b.floor || since > b.generation {
		return Diff{}, fmt.Errorf("%w: %d, only %d to %d", ErrTooOld, since, b.floor, b.generation)
	}
	d := Diff{Since: since, Generation: b.generation, Added: []Change{}, Removed: []Change{}, Held: b.holds()}
	for _, r := range b.sorted(func(r *record) bool { return r.Generation > since }) {
		c := Change{r.Endpoint, r.Name, r.Generation}
		switch r.State {
		case published:
			d.Added = append(d.Added, c)
		default: // it has left, or was held back after it was published: no other has a generation
			d.Removed = append(d.Removed, c)
		}
		if r.Renamed && r.Before != r.Name {
			c.Name = r.Before
			d.Removed = append(d.Removed, c)
		}
	}
	return d, nil
}

// Reasons lists the reasons of the gate.
func Reasons() []Reason {
	return []Reason{
		NotConfirmed, NotTCP, Expired, Stale, Future, OwnNetwork, NotPublic, Resolver, CDN, Shared, BadName, Listed, TooMany,
	}
}

package app

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/lists"
)

const (
	// refusalsEvery is how old what was read of the files may be when a server is about to be asked.
	refusalsEvery = 10 * time.Second
	// maxRefusals is the largest file of refusals in bytes.
	maxRefusals = 16 << 20
)

// refusals are the files of those who must not be asked: never (prober.deny), or not for now (prober.hold). They are read
// again when somebody is about to be asked, so that whoever is added is left alone within refusalsEvery.
type refusals struct {
	now  func() time.Time
	warn func(error)

	mu    sync.Mutex
	read  time.Time
	files []refusalFile
}

// refusalFile is one file as it was read last.
type refusalFile struct {
	path string
	hold bool
	list *lists.List
	seen [sha256.Size]byte // of the text that was looked at last, good or bad
	lost bool              // it could not be read the last time
}

// newRefusals reads the files; all that is wrong with any is told at once, and nobody is asked before it is mended. It is
// nil if there are no files. Later, warn hears of each new version that is bad; the one before holds on then.
func newRefusals(deny, hold []string, now func() time.Time, warn func(error)) (*refusals, error) {
	if len(deny)+len(hold) == 0 {
		return nil, nil //nolint:nilnil // no files are no error
	}
	r := &refusals{now: now, warn: warn, read: now()}
	for _, path := range deny {
		r.files = append(r.files, refusalFile{path: path})
	}
	for _, path := range hold {
		r.files = append(r.files, refusalFile{path: path, hold: true})
	}
	var errs []error
	for i := range r.files {
		errs = append(errs, r.files[i].look())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// look reads the file if it has changed. The error tells once what is wrong with a new version.
func (f *refusalFile) look() error {
	text, err := readAtMost(f.path, maxRefusals)
	if err != nil {
		if f.lost {
			return nil
		}
		f.lost = true
		return fmt.Errorf("list: %w", err)
	}
	f.lost = false
	sum := sha256.Sum256(text)
	if f.list != nil && sum == f.seen {
		return nil
	}
	f.seen = sum
	list, bad := lists.Parse(bytes.NewReader(text), f.path)
	for _, e := range list.Entries() {
		switch {
		case e.Name != "":
			bad = append(bad, fmt.Errorf("%s:%d: %s: a name refuses nothing: servers are asked by their address", f.path, e.Line, e.Name))
		case e.Prefix.Bits() == 0:
			bad = append(bad, fmt.Errorf("%s:%d: this is every address there is; prober.mode off asks nobody", f.path, e.Line))
		}
	}
	if len(bad) > 0 {
		return errors.Join(bad...)
	}
	f.list = list
	return nil
}

// readAtMost reads a file that is not larger than the bound.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case int64(len(text)) > most:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, nil
}

// refuse tells why an endpoint must not be asked now, "" if it may.
func (r *refusals) refuse(ep minecanary.Endpoint) string {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.read); age >= refusalsEvery || age < 0 {
		r.read = now
		for i := range r.files {
			if err := r.files[i].look(); err != nil {
				r.warn(fmt.Errorf("what was read of %s before holds on: %w", r.files[i].path, err))
			}
		}
	}
	for i := range r.files {
		f := &r.files[i]
		e, ok := f.list.Match(ep, now)
		switch {
		case !ok:
		case f.hold && !e.Expires.IsZero():
			return fmt.Sprintf("on hold until %s: %s", e.Expires.Format(time.RFC3339), explained(e))
		case f.hold:
			return "on hold: " + explained(e)
		default:
			return "on the deny list: " + explained(e)
		}
	}
	return ""
}

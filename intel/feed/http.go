package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// PathPrefix is where Handler expects to be mounted.
const PathPrefix = "/feeds/"

// GenerationHeader carries the generation of what is sent; ?since= takes it.
const GenerationHeader = "X-Minecanary-Generation"

// served is what readers over HTTP get. Its lock is held for a rename, and for opening a file, so that a file and its ETag
// belong together.
type served struct {
	mu      sync.RWMutex
	files   map[string]servedFile
	waiting bool
	// The rest is of the last publication of this run.
	generation uint64
	published  int
	at         time.Time
}

// servedFile is a file as it was written.
type servedFile struct {
	sum string
	// generation is the one it was written for last.
	generation uint64
	info       fs.FileInfo
}

// is tells whether a file is the one that was written; a new file may have the number of one that was removed.
func (f servedFile) is(info fs.FileInfo) bool {
	return os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime())
}

func (s *served) get(name string) (servedFile, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, ok := s.files[name]
	return f, ok
}

func (s *served) hasAll(names []string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := s.files[name]; return !ok })
}

// replace writes a file and what is known of it.
func (s *served) replace(dir folder, f File, sum string, generation uint64) error {
	dest := filepath.Join(dir.path, f.Name)
	tmp, err := dir.stage(f.Name, f.Data)
	if err != nil {
		return err
	}
	info, err := os.Lstat(tmp)
	if err == nil {
		s.mu.Lock()
		if err = os.Rename(tmp, dest); err == nil {
			s.files[f.Name] = servedFile{sum, generation, info}
		}
		s.mu.Unlock()
	}
	if err != nil {
		_ = os.Remove(tmp) // what stays is removed at the next start
		return fmt.Errorf("write feed: %w", err)
	}
	return nil
}

// turn notes a publication.
func (s *served) turn(b *book, published int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.generation, s.published, s.at = false, b.generation, published, now
}

// serveOld takes up the files of an earlier run.
func (p *Publisher) serveOld() error {
	s := &p.served
	s.mu.Lock()
	defer s.mu.Unlock()
	// The book may be a generation ahead of the files: what they have at least is what was finished.
	generation := p.status.Generation
	s.waiting, s.generation, s.published, s.at = true, generation, p.status.Published, p.status.Written
	for _, name := range append([]string{SumsFile}, p.names...) {
		f, info, err := openRegular(filepath.Join(p.cfg.Dir, name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIrregular) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read feed: %w", err)
		}
		sum, err := sumOfFile(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("read feed: %w", err)
		}
		s.files[name] = servedFile{sum, generation, info}
	}
	return nil
}

func sumOfFile(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// open opens a file of the feed with what is known of it; fs.ErrNotExist if there is none.
func (s *served) open(dir, name string) (*os.File, servedFile, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	known, ok := s.files[name]
	if !ok {
		return nil, servedFile{}, fs.ErrNotExist
	}
	f, info, err := openRegular(filepath.Join(dir, name))
	if errors.Is(err, errIrregular) {
		return nil, servedFile{}, errors.Join(fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, servedFile{}, err
	}
	if !known.is(info) {
		// Somebody else replaced it. The next rewrite puts ours back.
		return nil, servedFile{}, errors.Join(fs.ErrNotExist, f.Close())
	}
	return f, known, nil
}

// Index is what Handler gives at its root.
type Index struct {
	Generation uint64 `json:"generation"`
	// Waiting tells that nothing was published since the service began: the files are those of the run before.
	Waiting bool `json:"waiting"`
	// Written is when the files were last written, Published how many endpoints are in the feed.
	Written   time.Time     `json:"written,omitzero"`
	Published int           `json:"published"`
	Formats   []IndexFormat `json:"formats"`
	// Sums is the path of the checksums.
	Sums string `json:"checksums"`
}

// IndexFormat is a form of the feed.
type IndexFormat struct {
	Format Format      `json:"format"`
	Files  []IndexFile `json:"files"`
}

// IndexFile is one of its files.
type IndexFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Delta tells that ?since= gives what changed.
	Delta bool `json:"delta"`
}

// Handler serves the feed's files under PathPrefix: an index in JSON, the files, and for the forms json and csv what
// changed since a generation (?since=). Files have a strong ETag, the hash of what they are, and are to be asked for each
// time. It asks nobody who he is: that is for the caller.
func (p *Publisher) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "feeds are only read")
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, PathPrefix)
		since, delta, err := sinceOf(r)
		switch {
		case !ok:
			problem(w, http.StatusNotFound, "no such feed")
		case err != nil:
			problem(w, http.StatusBadRequest, err.Error())
		case name == "":
			p.serveIndex(w, r)
		case delta:
			p.serveDelta(w, r, name, since)
		default:
			p.serveFile(w, r, name)
		}
	})
}

// sinceOf reads the query, of which since is the only part that means anything.
func sinceOf(r *http.Request) (since uint64, given bool, err error) {
	all := r.URL.Query()["since"]
	if len(all) == 0 {
		return 0, false, nil
	}
	if since, err = strconv.ParseUint(all[0], 10, 64); err != nil || len(all) > 1 {
		return 0, true, errors.New("since takes the number of a generation")
	}
	return since, true, nil
}

func (p *Publisher) serveIndex(w http.ResponseWriter, r *http.Request) {
	s := &p.served
	s.mu.RLock()
	x := Index{
		Generation: s.generation, Waiting: s.waiting, Written: second(s.at), Published: s.published, Formats: []IndexFormat{},
		Sums: PathPrefix + SumsFile,
	}
	for _, format := range p.cfg.Formats {
		form := IndexFormat{Format: format, Files: []IndexFile{}}
		for _, name := range format.FileNames() {
			if f, ok := s.files[name]; ok {
				form.Files = append(form.Files, IndexFile{PathPrefix + name, f.info.Size(), f.sum, format == JSON || format == CSV})
			}
		}
		x.Formats = append(x.Formats, form)
	}
	s.mu.RUnlock()
	data, err := json.Marshal(x)
	if err != nil {
		problem(w, http.StatusInternalServerError, "the index could not be made")
		return
	}
	data = append(data, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("ETag", `"`+sumOf(data)+`"`)
	h.Set(GenerationHeader, strconv.FormatUint(x.Generation, 10))
	http.ServeContent(w, r, "", x.Written, bytes.NewReader(data))
}

func (p *Publisher) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	f, known, err := p.served.open(p.cfg.Dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		problem(w, http.StatusNotFound, "no such feed")
		return
	}
	if err != nil {
		problem(w, http.StatusInternalServerError, "the feed could not be read")
		return
	}
	defer f.Close() //nolint:errcheck // it is only read
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("ETag", `"`+known.sum+`"`)
	h.Set(GenerationHeader, strconv.FormatUint(known.generation, 10))
	http.ServeContent(w, r, "", known.info.ModTime(), f)
}

// contentType gives the type of a file by its name.
func contentType(name string) string {
	if name == STIX.FileName() {
		return "application/stix+json;version=2.1" // STIX 2.1, media type registered with IANA
	}
	switch path.Ext(name) {
	case ".json":
		return "application/json"
	case ".ndjson":
		return "application/x-ndjson"
	case ".csv":
		return "text/csv; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}

// serveDelta gives what changed since a generation, as JSON or CSV.
func (p *Publisher) serveDelta(w http.ResponseWriter, r *http.Request, name string, since uint64) {
	format := JSON
	switch {
	case !slices.Contains(p.names, name):
		problem(w, http.StatusNotFound, "no such feed")
		return
	case name == CSV.FileName():
		format = CSV
	case name != JSON.FileName():
		problem(w, http.StatusBadRequest, "only the forms json and csv tell what changed")
		return
	}
	d, err := p.delta(since)
	if errors.Is(err, ErrTooOld) {
		problem(w, http.StatusGone, "what changed since that generation is not known; fetch the whole feed")
		return
	}
	if errors.Is(err, errWaiting) {
		w.Header().Set("Retry-After", strconv.Itoa(int(max(p.cfg.RewriteEvery/time.Second, 1))))
		problem(w, http.StatusServiceUnavailable, "the last change is not published yet")
		return
	}
	var data []byte
	if err == nil {
		data, err = d.render(format)
	}
	if err != nil {
		problem(w, http.StatusInternalServerError, "the changes could not be told")
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("ETag", `"`+sumOf(data)+`"`)
	h.Set(GenerationHeader, strconv.FormatUint(d.generation, 10))
	http.ServeContent(w, r, "", d.at, bytes.NewReader(data))
}

var errWaiting = errors.New("nothing was published yet, or not the last change")

// delta is what changed since a generation: entries that came or took another name, and those to forget.
type delta struct {
	since, generation uint64
	at                time.Time
	added, removed    []Entry
}

// delta collects what changed.
func (p *Publisher) delta(since uint64) (delta, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The book is ahead of the entries from the moment it is decided until all files are written.
	if !p.given || p.status.Waiting || p.book.generation != p.status.Generation {
		return delta{}, errWaiting
	}
	diff, err := p.book.diff(since)
	if err != nil {
		return delta{}, err
	}
	d := delta{since: since, generation: diff.Generation, at: p.book.changed}
	come := map[minecanary.Endpoint]bool{}
	for _, c := range diff.Added {
		come[c.Endpoint] = true
	}
	// A name may have several addresses: it leaves with the last.
	names := map[Entry]bool{}
	for _, e := range p.entries {
		if come[e.Endpoint] {
			d.added = append(d.added, e)
		}
		if e.Name != "" {
			names[nameOf(e.Name, e.Endpoint)] = true
		}
	}
	for _, c := range diff.Removed {
		if c.Name == "" || !names[nameOf(c.Name, c.Endpoint)] {
			d.removed = append(d.removed, Entry{Endpoint: c.Endpoint, Name: c.Name, Hosts: -1})
		}
	}
	return d, nil
}

// nameOf is what a form shows of an endpoint with a name.
func nameOf(name string, ep minecanary.Endpoint) Entry {
	ep.Addr = netip.Addr{}
	return Entry{Name: name, Endpoint: ep}
}

// render writes the changes in the words of the whole form: the rows of CSV have a column more, JSON has two lists.
func (d delta) render(format Format) ([]byte, error) {
	var parts [2][]byte
	for i, entries := range [][]Entry{d.added, d.removed} {
		files, err := Render(format, entries, Options{At: d.at})
		if err != nil {
			return nil, err
		}
		parts[i] = files[0].Data
	}
	var out bytes.Buffer
	if format == CSV {
		for i, change := range []string{"added", "removed"} {
			first := true
			for line := range bytes.Lines(parts[i]) {
				switch {
				case !first:
					out.WriteString(change + ",")
				case i == 0:
					out.WriteString("change,")
				}
				if !first || i == 0 {
					out.Write(line)
				}
				first = false
			}
		}
		return out.Bytes(), nil
	}
	var lists [2]json.RawMessage
	for i, part := range parts {
		var form struct {
			Entries json.RawMessage `json:"entries"`
		}
		if err := json.Unmarshal(part, &form); err != nil {
			return nil, err
		}
		lists[i] = form.Entries
	}
	fmt.Fprintf(&out, `{"version":1,"source":%q,"since":%d,"generation":%d,"added":%s,"removed":%s}`+"\n",
		Source, d.since, d.generation, lists[0], lists[1])
	return out.Bytes(), nil
}

// problem answers with a problem (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	data, err := json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	if err != nil {
		data = []byte("{}") // strings and a number always are JSON
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // who does not listen is not told
}

package feed

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
)

const (
	fileMode = 0o644 // sensors run as another user
	dirMode  = 0o755

	// Temporary files are named .<file>.<random>.tmp, so that no glob of *.dat finds them.
	tempPrefix, tempSuffix = ".", ".tmp"

	// PrevSuffix is added to a file's name for the generation before.
	PrevSuffix = ".prev"
	// SumsFile has the SHA-256 of every file of the feed, in the form of sha256sum. It is written after them.
	SumsFile = "SHA256SUMS"
	// StateFile has what the publisher remembers over a restart: what is published, what waits, what left.
	StateFile = "state.json"
	// badSuffix is added to the name of a state that cannot be read.
	badSuffix = ".bad"

	// maxStateFile bounds StateFile: the records, at 400 bytes each.
	maxStateFile = maxRecords * 400
	// maxFeedFile bounds a form's file from which endpoints are learned: MaxEntries at 1,000 bytes each.
	maxFeedFile = MaxEntries * 1000
	// maxGeneration bounds the generation that a file may tell: what readers of JSON hold exactly (RFC 8259 section 6).
	maxGeneration = 1<<53 - 1
	// maxSumsFile bounds SumsFile: a line is a sum and a name.
	maxSumsFile = 1 << 20
	// stateVersion is that of the form of StateFile.
	stateVersion = 1
	// maxBy is how long the name of who approved may be.
	maxBy = 128
)

// stateForm is StateFile.
type stateForm struct {
	Version    int       `json:"version"`
	Generation uint64    `json:"generation"`
	Changed    time.Time `json:"changed,omitzero"`
	Floor      uint64    `json:"floor"`
	Records    []*record `json:"records"`
}

// save writes the book, a record to a line.
func (b *book) save(dir folder) error {
	var w bytes.Buffer
	fmt.Fprintf(&w, `{"version":%d,"generation":%d,"changed":%q,"floor":%d,"records":[`,
		stateVersion, b.generation, b.changed.UTC().Format(time.RFC3339), b.floor)
	for i, r := range b.sorted(func(*record) bool { return true }) {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("feed state: %w", err)
		}
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('\n')
		w.Write(line)
	}
	w.WriteString("\n]}\n")
	if err := dir.replace(StateFile, w.Bytes()); err != nil {
		return err
	}
	return dir.sync()
}

// loadBook reads the book of a feed directory; fs.ErrNotExist if there is none. A record that apply could not have made is an
// error: the whole file is refused then.
func loadBook(dir string) (*book, error) {
	data, err := readSmall(filepath.Join(dir, StateFile), maxStateFile)
	if err != nil {
		return nil, err
	}
	var form stateForm
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("%s: %w", StateFile, err)
	}
	if form.Version != stateVersion {
		return nil, fmt.Errorf("%s: version %d is unknown", StateFile, form.Version)
	}
	if len(form.Records) > maxRecords {
		return nil, fmt.Errorf("%s: %d records", StateFile, len(form.Records))
	}
	b := newBook()
	b.generation, b.changed, b.floor = form.Generation, form.Changed, form.Floor
	for _, r := range form.Records {
		if err := r.check(form.Generation); err != nil {
			return nil, fmt.Errorf("%s: %w", StateFile, err)
		}
		if b.records[r.Endpoint] != nil {
			return nil, fmt.Errorf("%s: %s is there twice", StateFile, r.Endpoint)
		}
		b.records[r.Endpoint] = r
	}
	if b.generation > maxGeneration || !sane(b.changed) {
		return nil, fmt.Errorf("%s: a bad generation", StateFile)
	}
	if b.floor > b.generation {
		return nil, fmt.Errorf("%s: generation %d is before the floor", StateFile, b.generation)
	}
	return b, nil
}

// check tells what is wrong with a record from a file.
func (r *record) check(generation uint64) error {
	if r == nil {
		return errors.New("a record is null")
	}
	ep := r.Endpoint
	if !ep.Addr.IsValid() || ep.Port == 0 || ep.Transport != minecanary.TCP && ep.Transport != minecanary.UDP {
		return errors.New("a record is no address and port")
	}
	if r.Name != "" {
		if name, ok := HostName(r.Name); !ok || name != r.Name {
			return fmt.Errorf("%s has a bad name", ep)
		}
	}
	waits := r.State == held || r.State == withdrawn
	left := r.State == gone || r.State == withdrawn
	switch {
	case !slices.Contains([]state{published, held, approved, gone, withdrawn}, r.State):
		return fmt.Errorf("%s has a bad state", ep)
	case waits && !slices.Contains(holdReasons(), r.Hold) || !waits && r.Hold != "":
		return fmt.Errorf("%s has a bad reason to hold", ep)
	case left == r.Left.IsZero():
		return fmt.Errorf("%s left at a bad time", ep)
	case r.Generation > generation:
		return fmt.Errorf("%s is of a later generation", ep)
	case len(r.By) > maxBy || clean(r.By) != r.By:
		return fmt.Errorf("%s was approved by a bad name", ep)
	case r.Hosts < -1:
		return fmt.Errorf("%s has a bad number of hosts", ep)
	}
	for _, t := range []time.Time{r.First, r.Since, r.Left, r.Held, r.Approved} {
		if !sane(t) {
			return fmt.Errorf("%s has a bad time", ep)
		}
	}
	return nil
}

// sane tells a time that can be kept: none, or one that every form can spell, also in UTC.
func sane(t time.Time) bool {
	_, ok := dated(t)
	return ok || t.IsZero()
}

// sums are the SHA-256 of files in hexadecimal, by name.
type sums map[string]string

// text is the form of sha256sum.
func (s sums) text(names []string) []byte {
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return b.Bytes()
}

// loadSums reads SumsFile; what cannot be read is left out.
func loadSums(dir string) sums {
	out := sums{}
	data, err := readSmall(filepath.Join(dir, SumsFile), maxSumsFile)
	if err != nil {
		return out
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if raw, err := hex.DecodeString(sum); ok && err == nil && len(raw) == sha256.Size && fs.ValidPath(name) && !strings.Contains(name, "/") {
			out[name] = sum
		}
	}
	return out
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// errIrregular says that a file is a link, a pipe or anything else that is no regular file.
var errIrregular = errors.New("no regular file")

// openRegular opens a regular file to be read. Anything else is refused unread, also if somebody puts it there meanwhile:
// others may be able to write into the directory.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Base(path), errIrregular)
	}
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was replaced while it was opened", filepath.Base(path))
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, opened, nil
}

// readSmall reads a regular file of at most the given size.
func readSmall(path string, most int64) (data []byte, err error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	data, err = io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), most)
	}
	return data, nil
}

// folder is where files are replaced.
type folder struct {
	path string
	// noSync leaves out waiting for the disk, for tests that rewrite a thousand times.
	noSync bool
}

// replace puts the data into a file so that a reader, and a machine after a power cut, has the old file or the new one;
// which of them after a power cut only sync decides. The file is always a new one: Zeek looks at inode and time.
func (d folder) replace(name string, data []byte) error {
	tmp, err := d.stage(name, data)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(d.path, name)); err != nil {
		_ = os.Remove(tmp) // what stays is removed at the next start
		return fmt.Errorf("write feed: %w", err)
	}
	return nil
}

// stage writes the data to a temporary file for a file of that name, and gives its path.
func (d folder) stage(name string, data []byte) (path string, err error) {
	tmp, err := os.CreateTemp(d.path, tempPrefix+name+".*"+tempSuffix)
	if err != nil {
		return "", fmt.Errorf("write feed: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(fileMode)
	}
	if err == nil && !d.noSync {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		_ = os.Remove(tmp.Name()) // what stays is removed at the next start
		return "", fmt.Errorf("write feed: %w", err)
	}
	return tmp.Name(), nil
}

// sync makes a rename survive a power cut.
func (d folder) sync() error {
	if d.noSync {
		return nil
	}
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("write feed: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write feed: %w", err)
	}
	return nil
}

// removeTemps removes the temporary files of the named files and of their previous generations.
func removeTemps(dir string, names []string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read feed directory: %w", err)
	}
	for _, f := range files {
		rest, ok := strings.CutPrefix(f.Name(), tempPrefix)
		if !ok || !strings.HasSuffix(rest, tempSuffix) {
			continue
		}
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(rest, name+".") }) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	return nil
}

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func record(i int) Record {
	return Record{
		Time: time.Unix(1700000000+int64(i), 0).UTC(), Event: EventConnection, Client: "192.0.2.7", Why: "canary 9 of 10",
		Endpoint: "198.51.100.1:3333", Local: "203.0.113.9:40000", Dialect: "stratum-v1", BytesSent: 98, BytesRead: int64(i),
		DurationMS: 12, Outcome: "answered", Verdict: "confirmed",
	}
}

// trail writes n records and gives the file's path.
func trail(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := f.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verify gives the number of records and the first broken line, 0 for none.
func verify(t *testing.T, b []byte) (records, line int) {
	t.Helper()
	records, err := Verify(bytes.NewReader(b))
	var broken *BrokenError
	if err != nil && !errors.As(err, &broken) {
		t.Fatal(err)
	}
	if broken != nil {
		line = broken.Line
	}
	return records, line
}

func TestAppend(t *testing.T) {
	path := trail(t, 3)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	b := read(t, path)
	if records, line := verify(t, b); records != 3 || line != 0 {
		t.Errorf("Verify = %d records, broken line %d; want 3, 0", records, line)
	}
	c, reason := check(bytes.Split(b, []byte("\n"))[1])
	if reason != "" {
		t.Fatal(reason)
	}
	if c.Number != 2 || c.Begins {
		t.Errorf("number %d, begins %v; want 2, false", c.Number, c.Begins)
	}
	if diff := cmp.Diff(record(1), c.Record); diff != "" {
		t.Errorf("record read back (-want +got):\n%s", diff)
	}
}

func TestVerifyFindsTheFirstBrokenLine(t *testing.T) {
	whole := string(read(t, trail(t, 5)))
	lines := strings.SplitAfter(whole, "\n")[:5]
	tests := []struct {
		name          string
		text          string
		records, line int
	}{
		{"whole", whole, 5, 0},
		{"empty", "", 0, 0},
		{"byte changed", strings.Replace(whole, `"bytes_read":2`, `"bytes_read":9`, 1), 2, 3},
		{"first line gone", strings.Join(lines[1:], ""), 0, 1},
		{"middle line gone", lines[0] + lines[1] + lines[3] + lines[4], 2, 3},
		{"lines swapped", lines[0] + lines[2] + lines[1] + lines[3] + lines[4], 1, 2},
		{"line doubled", lines[0] + lines[1] + lines[1] + lines[2], 2, 3},
		{"rubbish between", lines[0] + "rubbish\n" + lines[1], 1, 2},
		{"rubbish at the end", whole + "{\n", 5, 6},
		{"no line end", strings.TrimSuffix(whole, "\n"), 4, 5},
		{"empty line", lines[0] + "\n" + lines[1], 1, 2},
		{"very long line", lines[0] + strings.Repeat("x", 3*MaxLine) + "\n" + lines[1], 1, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if records, line := verify(t, []byte(tt.text)); records != tt.records || line != tt.line {
				t.Errorf("Verify = %d records, broken line %d; want %d, %d", records, line, tt.records, tt.line)
			}
		})
	}
}

// TestOpenAfterCrash cuts the file at every byte of its last line, opens it again and appends.
func TestOpenAfterCrash(t *testing.T) {
	whole := read(t, trail(t, 3))
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	for size := last; size <= len(whole); size += 7 {
		// The record that was not written to its end is in no head.
		if err := os.Remove(path + headEnd); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			f, err := Open(path)
			if err != nil {
				t.Fatalf("open, cut at %d: %v", size, err)
			}
			if err := f.Append(record(10 + round)); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		want := 4
		if size >= len(whole)-1 { // all but the line end was there
			want = 5
		}
		if records, line := verify(t, read(t, path)); records != want || line != 0 {
			t.Fatalf("cut at %d: Verify = %d records, broken line %d; want %d, 0", size, records, line, want)
		}
	}
	// Two crashes in a row leave two torn lines.
	if err := os.Remove(path + headEnd); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(append(whole[:last:last], `{"time":"2023-`...), "\n{\"ti"...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Append(record(10)), f.Close()); err != nil {
		t.Fatal(err)
	}
	b := read(t, path)
	if records, line := verify(t, b); records != 3 || line != 0 {
		t.Errorf("two torn lines: Verify = %d records, broken line %d; want 3, 0", records, line)
	}
	// A torn line that was changed afterwards is a break.
	b = bytes.Replace(b, []byte(`{"time":"2023-`+"\n"), []byte(`{"time":"2024-`+"\n"), 1)
	if records, line := verify(t, b); records != 2 || line != 3 {
		t.Errorf("changed torn line: Verify = %d records, broken line %d; want 2, 3", records, line)
	}
}

func TestOpenRefusesAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("shopping list\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, errForeign) {
		t.Errorf("Open = %v, want %v", err, errForeign)
	}
	if got := string(read(t, path)); got != "shopping list\n" {
		t.Errorf("the file was changed to %q", got)
	}
}

// TestTwoWriters has two open files of one trail append in turn and at once, as serve and probe by hand do.
func TestTwoWriters(t *testing.T) {
	path := trail(t, 0)
	var wg sync.WaitGroup
	for range 2 {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		for range 4 {
			wg.Go(func() {
				for i := range 25 {
					if err := f.Append(record(i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if records, line := verify(t, read(t, path)); records != 200 || line != 0 {
		t.Errorf("Verify = %d records, broken line %d; want 200, 0", records, line)
	}
}

// together appends n records that all wait for one another, and gives the errors.
func together(t *testing.T, f *File, n int) []error {
	t.Helper()
	errs := make([]error, n)
	f.turn <- struct{}{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f.Append(record(i)) })
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		waiting := len(f.waiting)
		f.mu.Unlock()
		if waiting == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d wait", waiting, n)
		}
	}
	<-f.turn
	wg.Wait()
	return errs
}

// TestAppendTogether: those who wait are written in a few pieces, each record once and in one chain, and the head names the
// last.
func TestAppendTogether(t *testing.T) {
	const n = 2*maxAtOnce + 20
	path := trail(t, 3)
	before := len(read(t, path))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, err := range together(t, f, n) {
		if err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
	text := read(t, path)
	if records, line := verify(t, text); records != 3+n || line != 0 {
		t.Errorf("Verify = %d records, broken line %d; want %d, 0", records, line, 3+n)
	}
	text = text[before:]
	for i := range n {
		if got := bytes.Count(text, fmt.Appendf(nil, `"bytes_read":%d,`, i)); got != 1 {
			t.Errorf("record %d stands there %d times", i, got)
		}
	}
	if head, err := readHead(path); err != nil || head != f.last || head.number != 3+n {
		t.Errorf("head %v, %v; want %v", head, err, f.last)
	}
	many := &File{waiting: make([]*entry, maxAtOnce+1), writing: true}
	for _, want := range []int{maxAtOnce, 1, 0} {
		if got := len(many.next()); got != want || many.writing != (want > 0) {
			t.Errorf("%d are written at once, writing %t; want %d", got, many.writing, want)
		}
	}
}

// TestAppendTogetherFails: where the file cannot be written, nobody's record is kept.
func TestAppendTogetherFails(t *testing.T) {
	f, err := Open(trail(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for i, err := range together(t, f, 10) {
		if err == nil {
			t.Errorf("record %d was kept in a closed file", i)
		}
	}
}

// TestCrashBeforeHead: a crash between the records of several and the head leaves a whole trail, wherever it cut them off.
func TestCrashBeforeHead(t *testing.T) {
	text := read(t, trail(t, 6))
	path := trail(t, 2)
	head := read(t, path+headEnd)
	for cut := len(read(t, path)); cut < len(text); cut++ {
		if cut%17 != 0 && text[cut-1] != '\n' {
			continue // these places show it
		}
		for name, b := range map[string][]byte{path: text[:cut], path + headEnd: head} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Append(record(9)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := VerifyFiles(path)
		if err != nil || len(out) != 1 || out[0].Broken != nil || out[0].Missing != 0 {
			t.Fatalf("cut at %d: %+v, %v", cut, out, err)
		}
	}
}

func TestAppendFails(t *testing.T) {
	f, err := Open(trail(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Append(record(1)); err == nil {
		t.Error("Append to a closed file = nil, want an error")
	}
}

// TestText checks that no text can break a line, get a control byte into it or make it long.
func TestText(t *testing.T) {
	rec := record(0)
	rec.Why = "a\nb\x1b[31m\u202e\u00e9\U0001f426\x7f\xff" + strings.Repeat("\x00", 2*MaxText)
	for _, p := range []*string{&rec.Client, &rec.Endpoint, &rec.Local, &rec.Dialect, &rec.Outcome, &rec.Verdict} {
		*p = rec.Why
	}
	line, err := encode(rec, noLink, true, noPrev)
	if err != nil {
		t.Fatal(err)
	}
	if len(line) > MaxLine {
		t.Errorf("line of %d bytes, want at most %d", len(line), MaxLine)
	}
	for _, c := range line {
		if c < 0x20 || c > 0x7e {
			t.Fatalf("byte %#x in %q", c, line)
		}
	}
	c, reason := check(line)
	if reason != "" {
		t.Fatalf("the line %s", reason)
	}
	if want := "a\nb\x1b[31m\u202e\u00e9\U0001f426\x7f"; !strings.HasPrefix(c.Why, want) {
		t.Errorf("text read back as %q, want the prefix %q", c.Why, want)
	}
}

// FuzzVerify: no panic, and what Verify accepts is a chain by a second, plain reading.
func FuzzVerify(f *testing.F) {
	var chain []byte
	last := noLink
	for i := range 3 {
		line, err := encode(record(i), last, false, "")
		if err != nil {
			f.Fatal(err)
		}
		last = link{last.number + 1, sum(line)}
		chain = append(append(chain, line...), '\n')
	}
	f.Add(chain)
	f.Add(chain[:len(chain)/2])
	f.Add([]byte("{\"time\":\"\n"))
	f.Add([]byte(fmt.Sprintf(`{"prev":%q,"hash":%q}`, noPrev, noPrev) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := Verify(bytes.NewReader(b))
		if err != nil {
			return
		}
		before, found := noPrev, 0
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(line, "\n")
			body, hash, ok := strings.Cut(line, hashMember)
			for ok && strings.Contains(hash, hashMember) { // the last one counts
				more, rest, _ := strings.Cut(hash, hashMember)
				body, hash = body+hashMember+more, rest
			}
			if !ok || hash != sum([]byte(body))+`"}` {
				continue // torn
			}
			if continues := found == 0 && strings.Contains(body, `"begins":true`); !continues && !strings.Contains(body, before) {
				t.Errorf("record %d does not name the one before", found+1)
			}
			before = sum([]byte(line))
			found++
		}
		if found != records {
			t.Errorf("Verify found %d records, want %d", records, found)
		}
	})
}

// BenchmarkAppend is one record of the trail, its head included.
func BenchmarkAppend(b *testing.B) {
	f, err := Open(filepath.Join(b.TempDir(), "audit.ndjson"))
	if err != nil {
		b.Fatal(err)
	}
	rec := record(1)
	for b.Loop() {
		if err := f.Append(rec); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

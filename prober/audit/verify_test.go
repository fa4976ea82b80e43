package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fill appends n records to the trail and closes it.
func fill(t *testing.T, path string, size int64, n int) {
	t.Helper()
	f, err := open(path, size)
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
}

// reports verifies all files of a trail.
func reports(t *testing.T, path string) []Report {
	t.Helper()
	names, err := Files(path)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(names) // the order is none of the caller's business
	out, err := VerifyFiles(names...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		out[i].File = filepath.Base(out[i].File)
	}
	return out
}

var onlyReported = cmpopts.IgnoreUnexported(Report{})

// TestVerifyFiles damages a trail of three files and a head in each way there is.
func TestVerifyFiles(t *testing.T) {
	const first, second, third = "audit.ndjson.3", "audit.ndjson.6", "audit.ndjson"
	lines := func(t *testing.T, dir, name string) []string {
		t.Helper()
		return strings.SplitAfter(strings.TrimSuffix(string(read(t, filepath.Join(dir, name))), "\n"), "\n")
	}
	write := func(t *testing.T, dir, name string, lines ...string) {
		t.Helper()
		text := strings.TrimSuffix(strings.Join(lines, ""), "\n") + "\n"
		if text == "\n" {
			text = ""
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := Report{File: first, Records: 3, First: 1, Last: 3}
	b := Report{File: second, Records: 3, First: 4, Last: 6}
	c := Report{File: third, Records: 2, First: 7, Last: 8}
	with := func(r Report, change func(*Report)) Report {
		change(&r)
		return r
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   []Report
	}{
		{"none", func(*testing.T, string) {}, []Report{a, b, c}},
		{"the first file is elsewhere", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, first)); err != nil {
				t.Fatal(err)
			}
		}, []Report{with(b, func(r *Report) { r.Before = 3 }), c}},
		{"the file in the middle is gone", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, second)); err != nil {
				t.Fatal(err)
			}
		}, []Report{a, with(c, func(r *Report) {
			r.Broken, r.Breaks, r.Missing = &BrokenError{1, "does not follow the record before (missing: 3)"}, 1, 3
		})}},
		{"a line is gone from the middle of a file", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, second)
			write(t, dir, second, l[0], l[2])
		}, []Report{a, {
			File: second, Records: 2, First: 4, Last: 6, Breaks: 1, Missing: 1,
			Broken: &BrokenError{2, "does not follow the record before (missing: 1)"},
		}, c}},
		{"the first line of a file is gone", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, first)
			write(t, dir, first, l[1:]...)
		}, []Report{{
			File: first, Records: 2, First: 2, Last: 3, Breaks: 1, Missing: 1,
			Broken: &BrokenError{1, "does not follow the record before (missing: 1)"},
		}, b, c}},
		{"the last line of a file is gone", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, second)
			write(t, dir, second, l[:2]...)
		}, []Report{a, {File: second, Records: 2, First: 4, Last: 5}, with(c, func(r *Report) {
			r.Broken, r.Breaks, r.Missing = &BrokenError{1, "does not follow the record before (missing: 1)"}, 1, 1
		})}},
		{"the last line of all is gone", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, third)
			write(t, dir, third, l[0])
		}, []Report{a, b, {
			File: third, Records: 1, First: 7, Last: 7, Breaks: 1, Missing: 1,
			Broken: &BrokenError{2, "is not there (missing at the end: 1)"},
		}}},
		{"everything is gone from the last file", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir, third)
		}, []Report{b0(third, 2), a, b}},
		{"the last line is cut", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, third)
			if err := os.WriteFile(filepath.Join(dir, third), []byte(l[0]+l[1][:50]), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []Report{a, b, {
			File: third, Records: 1, First: 7, Last: 7, Breaks: 2, Missing: 1,
			Broken: &BrokenError{2, "is torn: it has no line end"},
		}}},
		{"a value is changed", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, second)
			write(t, dir, second, l[0], strings.Replace(l[1], "192.0.2.7", "192.0.2.8", 1), l[2])
		}, []Report{a, {
			File: second, Records: 2, First: 4, Last: 6, Breaks: 2, Missing: 1,
			Broken: &BrokenError{2, "does not match its hash"},
		}, c}},
		{"two lines are exchanged", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, first)
			write(t, dir, first, l[1], l[0], l[2])
		}, []Report{{
			File: first, Records: 3, First: 2, Last: 3, Breaks: 3, Missing: 2,
			Broken: &BrokenError{1, "does not follow the record before (missing: 1)"},
		}, b, c}},
		{"the last line was written anew", func(t *testing.T, dir string) {
			t.Helper()
			l := lines(t, dir, third)
			line, err := encode(record(99), link{7, sum([]byte(strings.TrimSuffix(l[0], "\n")))}, false, "")
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, third, l[0], string(line))
		}, []Report{a, b, with(c, func(r *Report) {
			r.Broken, r.Breaks = &BrokenError{2, "is not the record that was kept as the trail's last"}, 1
		})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "audit.ndjson")
			fill(t, path, 1200, 8) // a record has some 500 bytes
			tt.damage(t, dir)
			if diff := cmp.Diff(tt.want, reports(t, path), onlyReported); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
		})
	}
}

// b0 is the report on an empty file whose head names more records.
func b0(name string, missing uint64) Report {
	return Report{File: name, Breaks: 1, Missing: missing + 6, Broken: &BrokenError{1, "is not there (missing at the end: 8)"}}
}

// TestRotation: the chain goes on whoever sets the file aside, and however; two writers notice.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.ndjson")
	one, err := open(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	two, err := open(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	both := func() {
		t.Helper()
		for _, f := range []*File{one, two, one} {
			number++
			if err := f.Append(record(number)); err != nil {
				t.Fatal(err)
			}
		}
	}
	both()
	if err := os.Rename(path, path+".1"); err != nil { // as logrotate does
		t.Fatal(err)
	}
	both()
	old := read(t, path) // as its copytruncate does
	if err := os.WriteFile(path+".2", old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	both()
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".3"); err != nil { // while nobody is there
		t.Fatal(err)
	}
	fill(t, path, 1<<20, 3)
	var want []Report
	for i, name := range []string{"audit.ndjson.1", "audit.ndjson.2", "audit.ndjson.3", "audit.ndjson"} {
		want = append(want, Report{File: name, Records: 3, First: uint64(3*i + 1), Last: uint64(3*i + 3)})
	}
	if diff := cmp.Diff(want, reports(t, path), onlyReported); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// TestRotationAtOnce has several writers set files aside at the same time, as several processes do.
func TestRotationAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { fill(t, path, 3000, 50) })
	}
	wg.Wait()
	total := 0
	all := reports(t, path)
	for _, r := range all {
		total += r.Records
		if r.Broken != nil || r.Before != 0 {
			t.Errorf("%+v: %v", r, r.Broken)
		}
	}
	if total != 200 || len(all) < 20 {
		t.Errorf("%d records in %d files, want 200 in more than 20", total, len(all))
	}
}

// TestALossStaysVisible: what was lost before a restart is not covered up by what is appended after it.
func TestALossStaysVisible(t *testing.T) {
	path := trail(t, 5)
	whole := read(t, path)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	if err := os.WriteFile(path, bytes.Join(lines[:3], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, path, MaxFile, 2)
	want := []Report{{
		File: "audit.ndjson", Records: 5, First: 1, Last: 7, Breaks: 1, Missing: 2,
		Broken: &BrokenError{4, "does not follow the record before (missing: 2)"},
	}}
	if diff := cmp.Diff(want, reports(t, path), onlyReported); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// TestADamagedHead tells nothing, and stops nothing.
func TestADamagedHead(t *testing.T) {
	for _, text := range []string{"", "\n", "00000000000000000003", "x y\n", strings.Repeat("9", 100) + " " + noPrev} {
		path := trail(t, 3)
		if err := os.WriteFile(path+headEnd, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fill(t, path, MaxFile, 2)
		want := []Report{{File: "audit.ndjson", Records: 5, First: 1, Last: 5}}
		if diff := cmp.Diff(want, reports(t, path), onlyReported); diff != "" {
			t.Errorf("head %q: reports (-want +got):\n%s", text, diff)
		}
	}
}

// TestTrailWithoutNumbers: a trail of a release that did not number its records goes on.
func TestTrailWithoutNumbers(t *testing.T) {
	path := trail(t, 0)
	var old []byte
	last := link{number: ^uint64(0), hash: noPrev} // so that the number comes out as 0
	for i := range 3 {
		line, err := encode(record(i), last, false, "")
		if err != nil {
			t.Fatal(err)
		}
		last.hash = sum(line)
		old = append(append(old, line...), '\n')
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, path, MaxFile, 2)
	want := []Report{{File: "audit.ndjson", Records: 5, Last: 2, First: 1}}
	if diff := cmp.Diff(want, reports(t, path), onlyReported); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// TestVerifyWhileAppending never takes a line under way for a torn one, nor the head for one ahead.
func TestVerifyWhileAppending(t *testing.T) {
	path := trail(t, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range 300 {
			if err := f.Append(record(i)); err != nil {
				t.Error(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for _, r := range reports(t, path) {
			if r.Broken != nil {
				t.Fatalf("%v", r.Broken)
			}
		}
	}
}

// FuzzDamage changes a trail of two files in one place: no panic, no more records than lines, and whatever was changed in
// the first file is found.
func FuzzDamage(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "audit.ndjson")
	trail, err := open(path, 1200)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 5 {
		if err := trail.Append(record(i)); err != nil {
			f.Fatal(err)
		}
	}
	if err := trail.Close(); err != nil {
		f.Fatal(err)
	}
	names, err := Files(path)
	if err != nil {
		f.Fatal(err)
	}
	var whole [][]byte
	for _, name := range slices.Backward(names) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		whole = append(whole, b)
	}
	slices.SortFunc(whole, func(a, b []byte) int { return len(b) - len(a) }) // three records come before two
	f.Add(0, 10, 1, []byte("x"))
	f.Add(1, 0, 500, []byte(nil))
	f.Add(0, 300, 0, []byte("\n"))
	f.Add(1, 3, 5, []byte("\n\n{\"time\":\""))
	f.Fuzz(func(t *testing.T, which, at, cut int, put []byte) {
		files := slices.Clone(whole)
		b := files[uint(which)%uint(len(files))]
		at = int(uint(at) % uint(len(b)))
		cut = int(uint(cut) % uint(len(b)-at+1))
		changed := slices.Concat(b[:at], put, b[at+cut:])
		files[uint(which)%uint(len(files))] = changed
		ch := chain{last: noLink, head: noLink}
		lines, records, broken := 0, 0, false
		for _, b := range files {
			r, err := ch.file("", bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(b, []byte("\n")) + 1
			records += r.Records
			broken = broken || r.Broken != nil || r.Before > 0
		}
		if records > lines {
			t.Errorf("%d records in %d lines", records, lines)
		}
		// Without a head the loss of the last file's end is not seen.
		if !broken && !bytes.Equal(changed, b) && uint(which)%uint(len(files)) == 0 {
			t.Errorf("%q in place of %d bytes at %d is not found", put, cut, at)
		}
	})
}

package changes

import (
	"bytes"
	compare "cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *Journal {
	t.Helper()
	j := Open(filepath.Join(t.TempDir(), FileName))
	j.now = func() time.Time { return start }
	return j
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// numbers gives the numbers of a page.
func numbers(t *testing.T, j *Journal, before uint64, limit int) []uint64 {
	t.Helper()
	page, _, err := j.Read(before, limit)
	ok(t, err)
	var all []uint64
	for _, e := range page {
		all = append(all, e.Number)
	}
	return all
}

func TestAppendRead(t *testing.T) {
	j := open(t)
	if page, skipped, err := j.Read(0, 10); err != nil || len(page) != 0 || skipped != 0 {
		t.Fatalf("of no file: %v, %d, %v", page, skipped, err)
	}
	ok(t, j.Append(Entry{Who: "user alice", Action: "pool.add", Object: "example", After: json.RawMessage(`{ "url": "<x>\u2028" }`)}))
	later := start.Add(time.Hour)
	ok(t, j.Append(Entry{Number: 77, Time: later.In(time.FixedZone("", 7200)), Who: "token ci", Action: "pool.edit", Object: "example", Before: json.RawMessage("1"), After: json.RawMessage("null")}))
	want := []Entry{
		{Number: 2, Time: later, Who: "token ci", Action: "pool.edit", Object: "example", Before: json.RawMessage("1"), After: json.RawMessage("null")},
		{Number: 1, Time: start, Who: "user alice", Action: "pool.add", Object: "example", After: json.RawMessage(`{"url":"<x>\u2028"}`)},
	}
	got, skipped, err := j.Read(0, 10)
	ok(t, err)
	if diff := cmp.Diff(want, got); diff != "" || skipped != 0 {
		t.Errorf("%d skipped; (-want +got):\n%s", skipped, diff)
	}
	info, err := os.Stat(j.path)
	ok(t, err)
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
	for _, v := range []string{"{", "1 2", "\xff"} {
		if err := j.Append(Entry{Before: json.RawMessage(v)}); err == nil {
			t.Errorf("took %q before", v)
		}
		if err := j.Append(Entry{After: json.RawMessage(v)}); err == nil {
			t.Errorf("took %q after", v)
		}
	}
	if got := numbers(t, j, 0, 10); !slices.Equal(got, []uint64{2, 1}) {
		t.Errorf("%v after bad values", got)
	}
}

// TestBounds has texts and values as long as may be, and longer, and full of what has to be escaped.
func TestBounds(t *testing.T) {
	j := open(t)
	quoted := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("<", n-2) + `"`) }
	for _, text := range []string{strings.Repeat(`"\`, MaxText), strings.Repeat("ü", MaxText), strings.Repeat("\x00\x1b[2J", MaxText), "\u202eabc\nd\xff"} {
		ok(t, j.Append(Entry{Who: text, Action: text, Object: text, Before: quoted(MaxValue), After: quoted(MaxValue + 1)}))
		page, skipped, err := j.Read(0, 1)
		ok(t, err)
		if skipped != 0 || len(page) != 1 {
			t.Fatalf("%d entries, %d skipped", len(page), skipped)
		}
		e := page[0]
		for _, s := range []string{e.Who, e.Action, e.Object} {
			if len(s) > MaxText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q is kept", s)
			}
		}
		if len(e.Before) != MaxValue {
			t.Errorf("%d bytes before, want %d", len(e.Before), MaxValue)
		}
		if !strings.HasPrefix(string(e.After), `{"omitted_bytes":16385,"sha256":"`) {
			t.Errorf("after: %.100s", e.After)
		}
	}
	data, err := os.ReadFile(j.path)
	ok(t, err)
	for line := range bytes.Lines(data) {
		if len(line) > maxLine {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

func TestPages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		j := Open(filepath.Join(t.TempDir(), FileName))
		j.max = int64(rapid.IntRange(1, 800).Draw(rt, "max"))
		n := rapid.IntRange(0, 12).Draw(rt, "n")
		for i := range n {
			ok(t, j.Append(Entry{Object: strconv.Itoa(i + 1)}))
		}
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		var all []Entry
		var before uint64
		for {
			page, skipped, err := j.Read(before, limit)
			ok(t, err)
			if skipped != 0 || len(page) > limit {
				rt.Fatalf("%d of %d, %d skipped", len(page), limit, skipped)
			}
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
			before = page[len(page)-1].Number
		}
		if len(all) != n {
			rt.Fatalf("%d entries, want %d", len(all), n)
		}
		for i, e := range all {
			if e.Number != uint64(n-i) || e.Object != strconv.Itoa(n-i) {
				rt.Fatalf("entry %d is %+v", i, e)
			}
		}
	})
}

func TestRotation(t *testing.T) {
	j := open(t)
	j.max = 300
	for range 10 {
		ok(t, j.Append(Entry{Who: "user alice", Action: "pool.edit", Object: strings.Repeat("x", 50)}))
	}
	set := j.files()
	if len(set) < 2 {
		t.Fatalf("set aside: %v", set)
	}
	if got := numbers(t, j, 0, 100); len(got) != 10 || got[0] != 10 || got[9] != 1 {
		t.Errorf("read %v", got)
	}
	if got := numbers(t, j, set[0]+1, 1); !slices.Equal(got, []uint64{set[0]}) {
		t.Errorf("read %v, want %d", got, set[0])
	}
	if got := numbers(t, j, 1, 5); len(got) != 0 {
		t.Errorf("read %v before the first", got)
	}
	// A process that ended between the rename and the new file, and an operator who takes files away.
	ok(t, os.Rename(j.path, j.aside(10)))
	ok(t, os.Remove(j.aside(set[0])))
	ok(t, os.WriteFile(j.path+".bak", nil, 0o600))
	ok(t, os.WriteFile(j.path+".007", nil, 0o600))
	if got := numbers(t, j, 0, 1); !slices.Equal(got, []uint64{10}) {
		t.Errorf("read %v", got)
	}
	ok(t, j.Append(Entry{}))
	if got := numbers(t, j, 0, 100); got[0] != 11 || len(got) != 11-int(set[0]) {
		t.Errorf("read %v", got)
	}
	if got := numbers(t, j, 0, MaxPage+1); len(got) > MaxPage {
		t.Errorf("%d entries", len(got))
	}
}

// TestPageIsBounded asks for more than a page may have.
func TestPageIsBounded(t *testing.T) {
	j := open(t)
	var text bytes.Buffer
	for i := range MaxPage + 5 {
		fmt.Fprintf(&text, `{"number":%d,"time":"2026-11-21T12:00:00Z","who":"","action":"","object":""}`+"\n", i+1)
	}
	ok(t, os.WriteFile(j.path, text.Bytes(), 0o600))
	for limit, want := range map[int]int{1 << 20: MaxPage, MaxPage: MaxPage, 3: 3, 0: 0, -1: 0} {
		if got := len(numbers(t, j, 0, limit)); got != want {
			t.Errorf("limit %d: %d entries, want %d", limit, got, want)
		}
	}
}

// TestTorn cuts the file at every byte of its last line, as a crash may.
func TestTorn(t *testing.T) {
	j := open(t)
	for range 3 {
		ok(t, j.Append(Entry{Who: "user alice"}))
	}
	whole, err := os.ReadFile(j.path)
	ok(t, err)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for size := last; size <= len(whole); size++ {
		ok(t, os.WriteFile(j.path, whole[:size], 0o600))
		ok(t, j.Append(Entry{Who: "user bob"}))
		page, skipped, err := j.Read(0, 10)
		ok(t, err)
		want, wantSkipped := 3, 1
		if size == last {
			wantSkipped = 0
		}
		if size >= len(whole)-1 { // but for its end the line is whole
			want, wantSkipped = 4, 0
		}
		if len(page) != want || page[0].Number != uint64(want) || page[0].Who != "user bob" || skipped != wantSkipped {
			t.Errorf("cut at %d of %d: %d entries, %d skipped; want %d, %d", size, len(whole), len(page), skipped, want, wantSkipped)
		}
	}
}

// TestWriters has several processes append: no entry is lost, none has the number of another.
func TestWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	const writers, each = 4, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			j := Open(path)
			j.max = 500
			for range each {
				if err := j.Append(Entry{Who: "user alice"}); err != nil {
					t.Error(err)
				}
				if _, _, err := j.Read(0, 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := numbers(t, Open(path), 0, MaxPage)
	if len(got) != writers*each {
		t.Fatalf("%d entries, want %d", len(got), writers*each)
	}
	for i, n := range got {
		if n != uint64(len(got)-i) {
			t.Fatalf("entry %d has the number %d", i, n)
		}
	}
}

// TestRubbish has a file that others wrote into: it keeps no entry from being appended and read.
func TestRubbish(t *testing.T) {
	for _, text := range []string{
		"\n", "x", "x\ny\n", "null\n", "{}\n", `{"number":-1}`, `{"number":3,"time":"yesterday"}` + "\n", strings.Repeat("x", 3*chunk), "\xff\x00\n" + strings.Repeat("{", maxLine) + "\n",
		`{"number":7,"time":"2026-11-21T12:00:00Z"}` + "\n" + `{"number":5,"time":"2026-11-21T12:00:00Z"}` + "\n",
	} {
		j := open(t)
		ok(t, os.WriteFile(j.path, []byte(text), 0o600))
		ok(t, j.Append(Entry{Who: "user alice"}))
		page, _, err := j.Read(0, MaxPage)
		ok(t, err)
		if len(page) == 0 || page[0].Who != "user alice" || !slices.IsSortedFunc(page, func(a, b Entry) int { return compare.Compare(b.Number, a.Number) }) {
			t.Errorf("%.40q: read %+v", text, page)
		}
	}
}

func TestCheck(t *testing.T) {
	j := open(t)
	ok(t, j.Check())
	if info, err := os.Stat(j.path); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	nowhere := Open(filepath.Join(t.TempDir(), "nowhere", FileName))
	for name, err := range map[string]error{"check": nowhere.Check(), "append": nowhere.Append(Entry{})} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzBackwards reads anything backwards: the lines are those that reading forwards gives, however long.
func FuzzBackwards(f *testing.F) {
	f.Add([]byte(""), 0)
	f.Add([]byte("a\n\nb\r\nc"), 0)
	f.Add([]byte(`{"number":3,"time":"2026-11-21T12:00:00Z"}`+"\n{\"number\":"), chunk-5)
	f.Add([]byte("\n{\"number\":18446744073709551615}\n{\"number\":0}\n"), maxLine)
	f.Add([]byte("x\ny\n"), 3*chunk)
	f.Fuzz(func(t *testing.T, data []byte, pad int) {
		if pad > 0 { // a long line in the middle, over the edges of chunks
			half := len(data) / 2
			data = slices.Concat(data[:half], bytes.Repeat([]byte("p"), min(pad, 4*chunk)), data[half:])
		}
		var want, got []string
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			if len(line) > 0 {
				want = append(want, string(line))
			}
		}
		slices.Reverse(want)
		ok(t, backwards(bytes.NewReader(data), func(line []byte) bool {
			got = append(got, string(line))
			return true
		}))
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range got {
			if len(want[i]) > maxLine {
				if len(got[i]) <= maxLine || len(got[i]) > maxLine+chunk+1 {
					t.Errorf("of a line with %d bytes %d are left", len(want[i]), len(got[i]))
				}
			} else if got[i] != want[i] {
				t.Errorf("line %d is %q, want %q", i, got[i], want[i])
			}
		}
		for _, line := range got {
			e, ok := decode([]byte(line))
			if ok && (e.Number == 0 || len(line) > maxLine) {
				t.Errorf("took %q", line)
			}
			// Ours are numbered without being decoded.
			if n, quick := number([]byte(line)); ok && quick && n != e.Number && strings.Count(strings.ToLower(line), `number"`) == 1 {
				t.Errorf("%q has the number %d, or else %d", line, n, e.Number)
			}
		}
	})
}

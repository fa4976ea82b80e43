package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/consumer"
)

// log is a file and the writer that appends to it.
type log struct {
	t       testing.TB
	path    string
	f       *os.File
	rnd     *rand.Rand
	seq     int // of the next line
	rotated int
	all     bytes.Buffer // all that was written
	rest    []byte       // of a line of which a part was written
	chain   []string     // rotated files by logrotate's chain, newest first
	plain   []string     // rotated files not compressed, oldest first
}

func newLog(tb testing.TB, path string) *log {
	tb.Helper()
	l := &log{t: tb, path: path, rnd: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))}
	l.open()
	tb.Cleanup(func() { _ = l.f.Close() })
	return l
}

func (l *log) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Error(err) // also called beside the test's goroutine
		panic(err)
	}
}

func (l *log) open() {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	l.check(err)
	l.f = f
}

func (l *log) write(b []byte) {
	l.t.Helper()
	_, err := l.f.Write(b)
	l.check(err)
	l.all.Write(b)
}

// lines writes n lines of random length in chunks that do not keep to lines.
func (l *log) lines(n int) {
	l.t.Helper()
	b := l.rest
	for range n {
		b = fmt.Appendf(b, "%d:%s\n", l.seq, strings.Repeat("x", int(l.rnd.ExpFloat64()*150)))
		l.seq++
	}
	for len(b) > 200 || len(b) > 0 && l.rnd.IntN(3) == 0 {
		k := 1 + l.rnd.IntN(len(b))
		l.write(b[:k])
		b = b[k:]
	}
	l.rest = bytes.Clone(b)
}

// finish ends the line begun.
func (l *log) finish() {
	l.t.Helper()
	l.write(l.rest)
	l.rest = nil
}

func (l *log) nextName() string {
	l.rotated++
	return strings.TrimSuffix(l.path, ".log") + fmt.Sprintf(".%06d.log", l.rotated)
}

// rename rotates as Zeek and logrotate do; the writer goes on for a moment in the old file.
func (l *log) rename(to string) {
	l.t.Helper()
	l.check(os.Rename(l.path, to))
	l.plain = append(l.plain, to)
	old := l.f
	if l.rnd.IntN(2) == 0 { // logrotate's create
		l.open()
		old, l.f = l.f, old
	} else {
		old = nil
	}
	l.finish()
	if l.rnd.IntN(2) == 0 {
		l.lines(1)
		l.finish()
	}
	l.check(l.f.Close())
	if old != nil {
		l.f = old
	} else {
		l.open()
	}
}

// copyTruncate rotates as logrotate's copytruncate does, while nothing is written.
func (l *log) copyTruncate(to string) {
	l.t.Helper()
	l.finish()
	b, err := os.ReadFile(l.path)
	l.check(err)
	l.check(os.WriteFile(to, b, 0o600))
	l.check(os.Truncate(l.path, 0))
	l.plain = append(l.plain, to)
}

// shift rotates by logrotate's chain: conn.log.1 becomes conn.log.2 and so on.
func (l *log) shift(rotate func(to string)) {
	l.t.Helper()
	for i := len(l.chain); i > 0; i-- {
		old := l.chain[i-1]
		suffix := ""
		if strings.HasSuffix(old, ".gz") {
			suffix = ".gz"
		}
		l.chain[i-1] = fmt.Sprintf("%s.%d%s", l.path, i+1, suffix)
		l.check(os.Rename(old, l.chain[i-1]))
	}
	l.chain = append([]string{l.path + ".1"}, l.chain...)
	rotate(l.path + ".1")
}

// compress turns a rotated file into an archive, as gzip does: both exist for a moment.
func (l *log) compress(path string) string {
	l.t.Helper()
	b, err := os.ReadFile(path)
	l.check(err)
	info, err := os.Stat(path)
	l.check(err)
	z := gz(l.t, b)
	f, err := os.Create(path + ".gz")
	l.check(err)
	_, err = f.Write(z[:len(z)/2])
	l.check(err)
	_, err = f.Write(z[len(z)/2:])
	l.check(err)
	l.check(f.Close())
	l.check(os.Chtimes(path+".gz", info.ModTime(), info.ModTime()))
	l.check(os.Remove(path))
	return path + ".gz"
}

// rotations by name; each keeps all files.
var rotations = map[string]func(l *log){
	"rename":       func(l *log) { l.rename(l.nextName()) },
	"copytruncate": func(l *log) { l.copyTruncate(l.nextName()) },
	"mixed": func(l *log) {
		if l.rnd.IntN(2) == 0 {
			l.rename(l.nextName())
		} else {
			l.copyTruncate(l.nextName())
		}
	},
	"chain of renames": func(l *log) { l.shift(l.rename) },
	"chain of copies":  func(l *log) { l.shift(l.copyTruncate) },
	"compressed": func(l *log) {
		if l.rnd.IntN(2) == 0 {
			l.rename(l.nextName())
		} else {
			l.copyTruncate(l.nextName())
		}
		for len(l.plain) > 2 {
			l.compress(l.plain[0])
			l.plain = l.plain[1:]
		}
	},
}

// follow reads until all that was written has come or the time is over.
type reading struct {
	t   testing.TB
	cfg Config
	s   *Source
	p   problems
	got map[string]*got
}

func follow(tb testing.TB, cfg Config) *reading {
	tb.Helper()
	r := &reading{t: tb, cfg: cfg, got: map[string]*got{}}
	r.cfg.Follow = true
	if r.cfg.Poll == 0 {
		r.cfg.Poll = 2 * time.Millisecond
	}
	if r.cfg.Grace == 0 {
		r.cfg.Grace = 20 * time.Millisecond
	}
	if r.cfg.Rescan == 0 {
		r.cfg.Rescan = 10 * time.Millisecond
	}
	r.cfg.OnError = r.p.add
	r.s = connect(tb, r.cfg)
	return r
}

// until reads until a partition's text has the length.
func (r *reading) until(path string, n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	for r.got[path] == nil || len(r.got[path].data) < n {
		if !r.one(ctx) {
			return // the caller sees what is missing
		}
	}
}

func (r *reading) one(ctx context.Context) bool {
	r.t.Helper()
	b, _, err := r.s.Read(ctx)
	if err != nil {
		r.t.Errorf("%v; told %q", err, r.p.all())
		return false
	}
	g := r.got[b.Partition]
	if g == nil {
		g = &got{}
		r.got[b.Partition] = g
	}
	g.take(r.t, b)
	giveBack(b)
	return true
}

// quiet checks that nothing more comes.
func (r *reading) quiet() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Millisecond)
	defer cancel()
	b, _, err := r.s.Read(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		r.t.Fatalf("unexpected batch %+v %q, %v", b, b.Data, err)
	}
}

// is checks a partition's text and that nothing was reported.
func (r *reading) is(path, want string, told ...string) {
	r.t.Helper()
	var have string
	if g := r.got[path]; g != nil {
		have = string(g.data)
	}
	if have != want {
		i := 0
		for i < min(len(have), len(want)) && have[i] == want[i] {
			i++
		}
		r.t.Fatalf("%d bytes, want %d; they differ at %d: %.60q, want %.60q; told %q", len(have), len(want), i, have[i:], want[i:], r.p.all())
	}
	if diff := cmp.Diff(told, r.p.all()); diff != "" {
		r.t.Error(diff)
	}
}

func TestFollowSteps(t *testing.T) {
	t.Parallel()
	text := func(s string) []byte { return []byte(s) }
	type env struct {
		*reading
		path string
		dir  string
	}
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "%d\n", i)
	}
	hundred := lines.String()
	rename := func(t *testing.T, a, b string) {
		t.Helper()
		if err := os.Rename(a, b); err != nil {
			t.Fatal(err)
		}
	}
	appendTo := func(t *testing.T, path, s string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		run  func(t *testing.T, e env)
		want string
		gens uint64
		told []string
	}{
		{"file comes later", func(t *testing.T, e env) {
			t.Helper()
			e.quiet()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
		}, "1\n", 1, nil},
		{"growth", func(t *testing.T, e env) {
			t.Helper()
			for i := range 5 {
				appendTo(t, e.path, fmt.Sprintf("%d\n", i))
				e.until(e.path, 2*i+2)
			}
		}, "0\n1\n2\n3\n4\n", 1, nil},
		{"unfinished line waits", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2")
			e.until(e.path, 2)
			e.quiet()
			appendTo(t, e.path, "2\n")
			e.until(e.path, 5)
		}, "1\n22\n", 1, nil},
		{"crlf", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\r\n2\r")
			e.until(e.path, 3)
			appendTo(t, e.path, "\n")
			e.until(e.path, 6)
		}, "1\r\n2\r\n", 1, nil},
		{"rename, late writes, then the new file", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2")
			e.until(e.path, 2)
			rename(t, e.path, e.dir+"/conn.12:00.log")
			appendTo(t, e.path, "3\n")
			appendTo(t, e.dir+"/conn.12:00.log", "2\n")
			e.until(e.path, 7)
		}, "1\n22\n3\n", 2, nil},
		{"rename without a new file goes on", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			rename(t, e.path, e.dir+"/elsewhere")
			e.quiet()
			appendTo(t, e.dir+"/elsewhere", "2\n")
			e.until(e.path, 4)
			appendTo(t, e.path, "3\n")
			e.until(e.path, 6)
		}, "1\n2\n3\n", 2, nil},
		{"unfinished line at rotation", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\nunfinished")
			e.until(e.path, 2)
			rename(t, e.path, e.path+".1")
			appendTo(t, e.path, "2\n")
			e.until(e.path, 14)
		}, "1\nunfinished2\n", 2, nil},
		{"delete and recreate", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			if err := os.Remove(e.path); err != nil {
				t.Fatal(err)
			}
			e.quiet()
			appendTo(t, e.path, "2\n")
			e.until(e.path, 4)
		}, "1\n2\n", 2, nil},
		{"replaced by a file of the same size", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			rename(t, write(t, e.dir+"/tmp", text("2\n")), e.path)
			e.until(e.path, 4)
		}, "1\n2\n", 2, nil},
		{"replaced by a file of the same content", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			rename(t, write(t, e.dir+"/tmp", text("1\n")), e.path)
			e.until(e.path, 4)
		}, "1\n1\n", 2, nil},
		{"copytruncate with unread lines", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2\n")
			e.until(e.path, 4)
			write(t, e.path+".1", text("1\n2\n3\n"))
			write(t, e.path, text("4\n"))
			e.until(e.path, 8)
		}, "1\n2\n3\n4\n", 2, nil},
		{"copytruncate, larger than before", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2\n")
			e.until(e.path, 4)
			write(t, e.path+"-20260101", text("1\n2\n3\n"))
			write(t, e.path, text("4\n5\n6\n7\n8\n9\n"))
			e.until(e.path, 18)
		}, "1\n2\n3\n4\n5\n6\n7\n8\n9\n", 2, nil},
		{"rewritten to the same size", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2\n")
			e.until(e.path, 4)
			time.Sleep(20 * time.Millisecond) // the clock of modification times is coarse
			write(t, e.path, text("3\n4\n"))
			e.until(e.path, 8)
		}, "1\n2\n3\n4\n", 2, []string{"follow %s: truncated after byte 4 and no copy of it found: lines may have been missed"}},
		{"copytruncate into an archive", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2\n")
			e.until(e.path, 4)
			write(t, e.path+".1.gz", gz(t, text("1\n2\n3\n")))
			write(t, e.path, text("4\n"))
			e.until(e.path, 8)
		}, "1\n2\n3\n4\n", 2, nil},
		{"truncated only", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n2\n")
			e.until(e.path, 4)
			write(t, e.path, text("3\n"))
			e.until(e.path, 6)
		}, "1\n2\n3\n", 2, []string{"follow %s: truncated after byte 4 and no copy of it found: lines may have been missed"}},
		{"several rotations between two looks", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			rename(t, e.path, e.path+".3")
			write(t, e.path+".2", text("2\n"))
			write(t, e.path+".1", text("3\n"))
			write(t, e.dir+"/conn_interim.log", text("never\n"))
			write(t, e.path+".swp", text("never\n"))
			write(t, e.path, text("4\n"))
			e.until(e.path, 8)
		}, "1\n2\n3\n4\n", 4, nil},
		{"copytruncate, the copy read before the truncation", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			write(t, e.dir+"/tmp", text("2\n3\n"))
			write(t, e.path+".1", text("2\n3\n"))
			rename(t, e.path, e.path+".2")
			rename(t, e.dir+"/tmp", e.path)
			e.until(e.path, 6)
			e.quiet()
			write(t, e.path, text("4\n"))
			e.until(e.path, 8)
		}, "1\n2\n3\n4\n", 3, nil},
		{"an archive being made is not another file", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, hundred)
			e.until(e.path, len(hundred))
			rename(t, e.path, e.path+".1")
			write(t, e.path, text("2\n"))
			e.until(e.path, len(hundred)+2)
			rename(t, e.path, e.path+".0")
			z := gz(t, text(hundred))
			write(t, e.path+".1.gz", z[:len(z)/2])
			e.quiet()
			write(t, e.path+".1.gz", z)
			if err := os.Remove(e.path + ".1"); err != nil {
				t.Fatal(err)
			}
			write(t, e.path, text("3\n"))
			e.until(e.path, len(hundred)+4)
		}, hundred + "2\n3\n", 3, nil},
		{"older siblings are not read, also when compressed later", func(t *testing.T, e env) {
			t.Helper()
			appendTo(t, e.path, "1\n")
			e.until(e.path, 2)
			old := e.dir + "/conn.00:00.log"
			if err := os.Remove(old); err != nil {
				t.Fatal(err)
			}
			write(t, old+".gz", gz(t, text("before\n"))) // newer than all by its time
			rename(t, e.path, e.path+".1")
			write(t, e.path, text("2\n"))
			e.until(e.path, 4)
		}, "1\n2\n", 2, nil},
		{"too long line", func(t *testing.T, e env) {
			t.Helper()
			long := strings.Repeat("x", consumer.MaxLine/2)
			appendTo(t, e.path, "1\n")
			for range 3 {
				appendTo(t, e.path, long)
				e.until(e.path, 2)
				e.quiet()
			}
			appendTo(t, e.path, "\n2\n")
			e.until(e.path, 4)
			if diff := cmp.Diff([]int64{2}, e.got[e.path].tooLong); diff != "" {
				t.Error(diff)
			}
		}, "1\n2\n", 1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "conn.log")
			if strings.HasPrefix(tt.name, "older") {
				write(t, dir+"/conn.00:00.log", text("before\n"))
			}
			e := env{follow(t, Config{Paths: []string{path}}), path, dir}
			tt.run(t, e)
			e.quiet()
			if !e.s.AtEnd(path) {
				t.Error("not at its end")
			}
			for i := range tt.told {
				tt.told[i] = fmt.Sprintf(tt.told[i], path)
			}
			e.is(path, tt.want, tt.told...)
			if g := e.got[path].next.Generation; g != tt.gens {
				t.Errorf("%d generations, want %d", g, tt.gens)
			}
		})
	}
}

func TestAtEndAfterHandOver(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "conn.log"), []byte("1\n"))
	r := follow(t, Config{Paths: []string{path}})
	if r.s.AtEnd(path) || r.s.AtEnd("unknown") {
		t.Error("at its end before it was read")
	}
	r.until(path, 2)
	if r.s.AtEnd(path) {
		t.Error("at its end before the batch can be known")
	}
	r.quiet()
	if !r.s.AtEnd(path) {
		t.Error("not at its end")
	}
}

func TestFollowSymlinkedFolder(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, d, "conn.log"), []byte(d+"\n"))
	}
	link := func(to string) {
		tmp := filepath.Join(dir, "tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	link("a")
	path := filepath.Join(dir, "current", "conn.log")
	r := follow(t, Config{Paths: []string{path}})
	r.until(path, 2)
	link("b")
	r.until(path, 4)
	r.is(path, "a\nb\n")
}

func TestFollowPatterns(t *testing.T) {
	dir := t.TempDir()
	p := func(n string) string { return filepath.Join(dir, n) }
	at := func(path string, age time.Duration) {
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	at(write(t, p("conn.10:00.log.gz"), gz(t, []byte("10\n"))), 3*time.Hour)
	at(write(t, p("conn.11:00.log"), []byte("11\n")), 2*time.Hour)
	at(write(t, p("conn.log.2"), []byte("not asked for\n")), time.Hour)
	write(t, p("conn.log"), []byte("12\n"))
	write(t, p("dns.log"), []byte("dns\n"))
	write(t, p("once.log.gz"), gz(t, []byte("once\n")))
	r := follow(t, Config{Paths: []string{p("*.log"), p("*.gz")}})
	r.until(p("conn.log"), 9)
	r.until(p("dns.log"), 4)
	r.until(p("once.log.gz"), 5)
	if err := os.Rename(p("conn.log"), p("conn.12:00.log")); err != nil {
		t.Fatal(err)
	}
	write(t, p("conn.log"), []byte("13\n"))
	if err := os.Rename(p("dns.log"), p("olddns.log")); err != nil { // matches the pattern, but was read
		t.Fatal(err)
	}
	write(t, p("b.log"), []byte("b\n"))
	write(t, p("a.log"), []byte("a\n"))
	write(t, p("late.log.gz"), gz(t, []byte("late\n")))
	r.until(p("conn.log"), 12)
	r.until(p("a.log"), 2)
	r.until(p("b.log"), 2)
	r.until(p("late.log.gz"), 5)
	r.quiet()
	r.is(p("conn.log"), "10\n11\n12\n13\n")
	r.is(p("dns.log"), "dns\n")
	var parts []string
	for n, g := range r.got {
		parts = append(parts, fmt.Sprintf("%s %t", filepath.Base(n), g.eof))
	}
	slices.Sort(parts)
	want := []string{"a.log false", "b.log false", "conn.log false", "dns.log false", "late.log.gz true", "once.log.gz true"}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Error(diff)
	}
	// A restart reads nothing again.
	start := map[string]consumer.Position{}
	for n, g := range r.got {
		start[n] = g.next
	}
	_ = r.s.Close()
	again := follow(t, Config{Paths: []string{p("*.log"), p("*.gz")}, Start: start})
	write(t, p("c.log"), []byte("c\n"))
	again.until(p("c.log"), 2)
	again.quietData(t)
	if diff := cmp.Diff([]string(nil), again.p.all()); diff != "" {
		t.Error(diff)
	}
}

// quietData checks that nothing but ends of partitions comes.
func (r *reading) quietData(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	for {
		b, _, err := r.s.Read(ctx)
		if err != nil {
			return
		}
		if len(b.Data) > 0 {
			t.Errorf("unexpected %s %q", b.Partition, b.Data)
		}
	}
}

func TestFollowEndsWithoutGrowingFiles(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "a.log.gz"), gz(t, []byte("1\n")))
	s := connect(t, Config{Paths: []string{path, "-"}, Stdin: strings.NewReader("2\n"), Follow: true})
	all := drain(t, s)
	if string(all[path].data) != "1\n" || string(all["-"].data) != "2\n" {
		t.Errorf("got %+v", all)
	}
}

// work writes and rotates; done is closed at the end.
func (l *log) work(rotate func(*log), rotations int, pause time.Duration) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for range rotations {
			for range l.rnd.IntN(4) {
				l.lines(1 + l.rnd.IntN(30))
				time.Sleep(time.Duration(l.rnd.Int64N(int64(pause))))
			}
			rotate(l)
		}
		l.lines(3)
		l.finish()
	}()
	return done
}

func TestFollowRotations(t *testing.T) {
	t.Parallel()
	for name, rotate := range rotations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "conn.log")
			l := newLog(t, path)
			r := follow(t, Config{Paths: []string{path}, BatchBytes: 4096, Grace: 100 * time.Millisecond})
			n := 200
			if strings.HasPrefix(name, "chain") {
				n = 60 // all files are renamed each time
			}
			done := l.work(rotate, n, 3*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { <-done; cancel() }()
			for {
				b, _, err := r.s.Read(ctx)
				if errors.Is(err, context.Canceled) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.got[path] == nil {
					r.got[path] = &got{}
				}
				r.got[path].take(t, b)
				giveBack(b)
			}
			<-done
			r.until(path, l.all.Len())
			r.quiet()
			r.is(path, l.all.String())
		})
	}
}

// TestFollowCrashes drops the source at random places and starts a new one where the last acknowledged batch ended.
func TestFollowCrashes(t *testing.T) {
	t.Parallel()
	for name, rotate := range rotations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "conn.log")
			l := newLog(t, path)
			n := 100
			if strings.HasPrefix(name, "chain") {
				n = 40
			}
			l.lines(1)
			l.finish()
			first := follow(t, Config{Paths: []string{path}}) // without a position nothing tells what was rotated before
			first.until(path, 1)
			_ = first.s.Close()
			done := l.work(rotate, n, 10*time.Millisecond)
			rnd := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
			text := bytes.Clone(first.got[path].data)
			start := map[string]consumer.Position{path: first.got[path].next}
			deadline := time.Now().Add(20 * time.Second)
			var p problems
			finished := false
			for runs := 0; ; runs++ {
				select {
				case <-done:
					finished = true
				default:
				}
				if finished && len(text) >= l.all.Len() || time.Now().After(deadline) {
					break
				}
				s, err := New(Config{
					Paths: []string{path}, Follow: true, Start: start, BatchBytes: 1024, Poll: 2 * time.Millisecond,
					Grace: 100 * time.Millisecond, OnError: p.add, Buffers: 4,
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+rnd.IntN(400))*time.Millisecond)
				for i := rnd.IntN(200); i >= 0; i-- {
					b, _, err := s.Read(ctx)
					if err != nil {
						break
					}
					if i == 0 {
						break // handed over, never acknowledged
					}
					from, ok := start[path]
					if ok && b.From.Compare(from) < 0 {
						t.Errorf("batch begins at %+v, told to begin at %+v", b.From, from)
					}
					text = append(text, b.Data...)
					start[path] = b.Next
					giveBack(b)
				}
				cancel()
				_ = s.Close()
			}
			<-done
			r := &reading{t: t, got: map[string]*got{path: {data: text}}}
			r.p.list = p.all()
			r.is(path, l.all.String())
		})
	}
}

func TestRestartFindsPlace(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-time.Hour)
	tests := []struct {
		name string
		// change is what happens while nobody reads; the first two lines of five were read.
		change func(t *testing.T, dir, path string)
		want   string
		gen    uint64 // of the last batch
		told   string
	}{
		{"nothing", func(*testing.T, string, string) {}, "3\n4\n5\n", 1, ""},
		{"grown", func(t *testing.T, _, path string) {
			t.Helper()
			write(t, path, []byte("1\n2\n3\n4\n5\n6\n"))
		}, "3\n4\n5\n6\n", 1, ""},
		{"renamed", func(t *testing.T, dir, path string) {
			t.Helper()
			mv(t, path, dir+"/conn.2026-01-01-12-00-00.log")
			write(t, path, []byte("new\n"))
		}, "3\n4\n5\nnew\n", 2, ""},
		{"renamed, nothing new yet", func(t *testing.T, dir, path string) {
			t.Helper()
			mv(t, path, dir+"/conn-20260101.log")
		}, "3\n4\n5\n", 1, ""},
		{"renamed and compressed, three rotations", func(t *testing.T, dir, path string) {
			t.Helper()
			archive(t, path, dir+"/conn.10:00:00-11:00:00.log.gz", gz, old)
			archive(t, write(t, dir+"/x", []byte("second\n")), dir+"/conn.11:00:00-12:00:00.log.zst", zst, old.Add(time.Minute))
			at(t, write(t, dir+"/conn.12:00:00-13:00:00.log", []byte("third\n")), old.Add(2*time.Minute))
			write(t, path, []byte("new\n"))
		}, "3\n4\n5\nsecond\nthird\nnew\n", 4, ""},
		{"older siblings stay unread", func(t *testing.T, _, path string) {
			t.Helper()
			archive(t, write(t, path+".x", []byte("older\n")), path+".3.gz", gz, old.Add(-time.Minute))
			archive(t, path, path+".2.gz", gz, old)
			at(t, write(t, path+".1", []byte("second\n")), old.Add(time.Minute))
			write(t, path, []byte("new\n"))
		}, "3\n4\n5\nsecond\nnew\n", 3, ""},
		{"copied elsewhere in the folder and truncated", func(t *testing.T, _, path string) {
			t.Helper()
			write(t, path+"-20260101", []byte("1\n2\n3\n4\n5\nlast\n"))
			write(t, path, []byte("new\n"))
		}, "3\n4\n5\nlast\nnew\n", 2, ""},
		{"same content under another inode", func(t *testing.T, _, path string) {
			t.Helper()
			mv(t, write(t, path+".tmp", []byte("1\n2\n3\n4\n5\n6\n")), path)
		}, "3\n4\n5\n6\n", 1, ""},
		{"in an archive folder", func(t *testing.T, dir, path string) {
			t.Helper()
			if err := os.Mkdir(dir+"/2026-01-01", 0o700); err != nil {
				t.Fatal(err)
			}
			archive(t, path, dir+"/2026-01-01/conn.10:00:00-11:00:00.log.gz", gz, old)
			write(t, path, []byte("new\n"))
		}, "3\n4\n5\nnew\n", 2, ""},
		{"gone", func(t *testing.T, _, path string) {
			t.Helper()
			at(t, write(t, path+".1", []byte("stranger\n")), old)
			mv(t, write(t, path+".tmp", []byte("new\n")), path)
		}, "new\n", 2, "follow %s: the file read before is not there any more: lines may have been missed"},
		{"shorter than it was", func(t *testing.T, _, path string) {
			t.Helper()
			write(t, path, []byte("1\n"))
		}, "1\n", 2, "follow %s: the file read before is not there any more: lines may have been missed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := write(t, filepath.Join(dir, "conn.log"), []byte("1\n2\n"))
			r := follow(t, Config{Paths: []string{path}})
			r.until(path, 4)
			_ = r.s.Close()
			write(t, path, []byte("1\n2\n3\n4\n5\n"))
			tt.change(t, dir, path)
			start := map[string]consumer.Position{path: r.got[path].next}
			again := follow(t, Config{Paths: []string{path}, Start: start, Archives: []string{dir + "/20*"}, Grace: time.Millisecond})
			again.until(path, len(tt.want))
			again.quiet()
			var told []string
			if tt.told != "" {
				told = []string{fmt.Sprintf(tt.told, path)}
			}
			again.is(path, tt.want, told...)
			if g := again.got[path].next.Generation; g != tt.gen {
				t.Errorf("generation %d, want %d", g, tt.gen)
			}
		})
	}
}

// TestRestartSameTime: two files have the same time of modification, and the second was being read at the restart. When
// it is compressed then, the first must not be taken for what comes after it.
func TestRestartSameTime(t *testing.T) {
	t.Parallel()
	when := time.Now().Add(-time.Hour)
	for _, rotated := range []bool{false, true} {
		t.Run(fmt.Sprintf("second file rotated before the restart %t", rotated), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, first, second := filepath.Join(dir, "conn.log"), dir+"/conn.01:00.log", dir+"/conn.02:00.log"
			r := follow(t, Config{Paths: []string{path}})
			write(t, path, []byte("1\n"))
			r.until(path, 2)
			mv(t, path, first)
			at(t, first, when)
			write(t, path, []byte("2\n"))
			r.until(path, 4)
			_ = r.s.Close()
			at(t, write(t, path, []byte("2\n3\n")), when)
			if rotated {
				mv(t, path, second)
			}
			start := map[string]consumer.Position{path: r.got[path].next}
			again := follow(t, Config{Paths: []string{path}, Start: start})
			again.until(path, 2)
			if !rotated {
				mv(t, path, second)
			}
			archive(t, first, first+".gz", gz, when)
			archive(t, second, second+".gz", gz, when)
			write(t, path, []byte("4\n"))
			again.until(path, 4)
			again.quiet()
			again.is(path, "3\n4\n")
		})
	}
}

func mv(t *testing.T, a, b string) {
	t.Helper()
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
}

func at(t *testing.T, path string, when time.Time) {
	t.Helper()
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func archive(t *testing.T, from, to string, enc func(testing.TB, []byte) []byte, when time.Time) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	at(t, write(t, to, enc(t, b)), when)
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
}

func TestResumeCountsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conn.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	head := "#fields\n1\n"
	if _, err := f.WriteString(head); err != nil {
		t.Fatal(err)
	}
	const off = maxCount + 1 // a file with a hole takes no space
	if _, err := f.WriteAt([]byte("\nlast\n"), off-1); err != nil {
		t.Fatal(err)
	}
	var b [headMax]byte
	copy(b[:], head)
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pos := consumer.Position{Generation: 3, Offset: off, Ident: ident{idOf(info), sumOf(b[:])}.String()}
	for _, follow := range []bool{false, true} {
		s := connect(t, Config{Paths: []string{path}, Follow: follow, Start: map[string]consumer.Position{path: pos}})
		batch, _, err := s.Read(t.Context())
		if err != nil || string(batch.Data) != "last\n" || batch.FirstLine != 0 || batch.LineStart != off || batch.From.Generation != 3 {
			t.Errorf("got %+v, %v", batch, err)
		}
		if diff := cmp.Diff("#fields\n", string(batch.Header)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRotatedName(t *testing.T) {
	tests := []struct {
		base, name string
		want       bool
	}{
		{"conn.log", "conn.log.1", true},
		{"conn.log", "conn.log.12.gz", true},
		{"conn.log", "conn.log.gz", true},
		{"conn.log", "conn.log-20260101", true},
		{"conn.log", "conn.log-20260101-1700000000.zst", true},
		{"conn.log", "conn.log.old", true},
		{"conn.log", "conn-20260101.log", true},
		{"conn.log", "conn-26-11-21_04.00.00.log", true},
		{"conn.log", "conn.12:00:00-13:00:00.log.gz", true},
		{"conn.log", "conn.2026-11-21T12:00:00Z.log", true},
		{"eve.json", "eve-2026-11-21-12:00.json", true},
		{"conn", "conn.1234", true},
		{"conn.log", "conn.log", false},
		{"conn.log", "conn_interim.log", false},
		{"conn.log", "conn-summary.12:00:00-13:00:00.log.gz", false},
		{"conn.log", "conn.log.swp", false},
		{"conn.log", "conn.log.1.tmp", false},
		{"conn.log", "conn.log2", false},
		{"conn.log", "conn.json", false},
		{"conn.log", "dns.log.1", false},
		{"eve.json", "eve.1.json", false}, // Suricata's threaded files are written at the same time
		{"conn.log", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.base+" "+tt.name, func(t *testing.T) {
			if got := rotatedName(tt.base, tt.name); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestOlderName(t *testing.T) {
	want := []string{
		"conn.log.10", "conn.log.2", "conn.log.2.gz", "conn.log.1", "conn.10:00.log", "conn.10:00.log.gz", "conn.11:00.log.gz",
	}
	have := slices.Clone(want)
	rand.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
	slices.SortFunc(have, func(a, b string) int { return olderName("conn.log", a, b) })
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestSumsAreBounded(t *testing.T) {
	var m sums
	for i := range maxSums + 10 {
		m.add(sumOf(fmt.Append(nil, i)))
		m.add(sumOf(fmt.Append(nil, i)))
	}
	m.add(sumOf(nil))
	if len(m.set) != maxSums || len(m.ring) != maxSums {
		t.Errorf("%d and %d", len(m.set), len(m.ring))
	}
	if m.has(sumOf([]byte("9"))) || !m.has(sumOf([]byte("10"))) || m.has(sumOf(nil)) {
		t.Error("the wrong ones went")
	}
}

func BenchmarkFollowCatchUp(b *testing.B) {
	path := write(b, filepath.Join(b.TempDir(), "conn.log"), bytes.Repeat([]byte(strings.Repeat("x", 299)+"\n"), 1<<18))
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		s := connect(b, Config{Paths: []string{path}, Follow: true})
		for n := int64(0); n < info.Size(); {
			batch, _, err := s.Read(b.Context())
			if err != nil && !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			n += int64(len(batch.Data))
			giveBack(batch)
		}
		_ = s.Close()
	}
}

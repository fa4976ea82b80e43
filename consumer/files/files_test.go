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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/consumer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// problems collects what OnError is told.
type problems struct {
	mu   sync.Mutex
	list []string
}

func (p *problems) add(_ string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, err.Error())
}

func (p *problems) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.list...)
}

// write makes a file and gives its path.
func write(tb testing.TB, path string, data []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func gz(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zst(tb testing.TB, data []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	return w.EncodeAll(data, nil)
}

// connect makes a source and closes it with the test.
func connect(tb testing.TB, cfg Config) *Source {
	tb.Helper()
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	if err := s.Connect(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

// giveBack releases a batch.
func giveBack(b consumer.Batch) {
	if b.Release != nil {
		b.Release()
	}
}

// got is what came of one partition.
type got struct {
	data    []byte
	tooLong []int64
	eof     bool
	line    int64 // number of the next line
	next    consumer.Position
	batches int
}

// drain reads to io.EOF, checks what every batch must keep, and gives what came by name.
func drain(tb testing.TB, s *Source) map[string]*got {
	tb.Helper()
	all := map[string]*got{}
	for {
		b, ack, err := s.Read(tb.Context())
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		g := all[b.Name]
		if g == nil {
			g = &got{}
			all[b.Name] = g
		}
		g.take(tb, b)
		giveBack(b)
		if err := ack(tb.Context(), nil); err != nil {
			tb.Fatal(err)
		}
	}
}

// take checks a batch against the ones before it.
func (g *got) take(tb testing.TB, b consumer.Batch) {
	tb.Helper()
	first := g.batches == 0
	switch {
	case g.eof:
		tb.Fatalf("%s: a batch after the last", b.Name)
	case b.NewFile != (first || b.Next.Generation != g.next.Generation):
		tb.Fatalf("%s: NewFile %t in batch %d", b.Name, b.NewFile, g.batches)
	case b.LineStart != b.From.Offset:
		tb.Fatalf("%s: LineStart %d, From %d", b.Name, b.LineStart, b.From.Offset)
	case !first && !b.NewFile && (b.From.Compare(g.next) != 0 || b.FirstLine != g.line):
		tb.Fatalf("%s: batch begins at %+v line %d, the one before ended at %+v line %d", b.Name, b.From, b.FirstLine, g.next, g.line)
	case !first && b.NewFile && b.From.Generation <= g.next.Generation:
		tb.Fatalf("%s: generation %d after %d", b.Name, b.From.Generation, g.next.Generation)
	case len(b.TooLongLines) > 0 && len(b.Data) > 0:
		tb.Fatalf("%s: a cut line and data in one batch", b.Name)
	case len(b.TooLongLines) == 0 && b.Next.Offset-b.From.Offset != int64(len(b.Data)):
		tb.Fatalf("%s: %d bytes from %d to %d", b.Name, len(b.Data), b.From.Offset, b.Next.Offset)
	case len(b.TooLongLines) > 0 && b.TooLongLines[0] != b.FirstLine:
		tb.Fatalf("%s: line %d cut in a batch that begins with %d", b.Name, b.TooLongLines[0], b.FirstLine)
	}
	lines := int64(bytes.Count(b.Data, []byte("\n")))
	if n := len(b.Data); n > 0 && b.Data[n-1] != '\n' {
		lines++
	}
	g.line = b.FirstLine + lines + int64(len(b.TooLongLines))
	g.next, g.eof = b.Next, b.EOF
	g.data = append(g.data, b.Data...)
	g.tooLong = append(g.tooLong, b.TooLongLines...)
	g.batches++
}

func TestNew(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{}, "no input files"},
		{"empty path", Config{Paths: []string{""}}, "empty path"},
		{"bad pattern", Config{Paths: []string{"a[.log"}}, "a[.log: syntax error in pattern"},
		{"bad archive pattern", Config{Paths: []string{"a"}, Archives: []string{"b[*"}}, "b[*: syntax error in pattern"},
		{"no stdin", Config{Paths: []string{"-"}}, "no standard input"},
		{"small batch", Config{Paths: []string{"a"}, BatchBytes: 15}, "batch size 15 is not between 16 and 1048576 bytes"},
		{"large batch", Config{Paths: []string{"a"}, BatchBytes: consumer.MaxLine + 1}, "batch size 1048577 is not between 16 and 1048576 bytes"},
		{"buffers", Config{Paths: []string{"a"}, Buffers: -1}, "-1 buffers are too few"},
		{"interval", Config{Paths: []string{"a"}, Grace: -1}, "negative interval -1ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.log", []byte("x\n"))
	if err := os.MkdirAll("dir.log/empty", 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		paths  []string
		follow bool
		want   string
	}{
		{"missing", []string{"a.log", "no.log"}, false, "no.log: no such file"},
		{"all at once", []string{"no.log", "no2.log"}, false, "no.log: no such file\nno2.log: no such file"},
		{"pattern", []string{"*.json"}, false, "*.json: pattern matches no file"},
		{"pattern of a directory only", []string{"dir*"}, false, "dir*: pattern matches no file"},
		{"directory", []string{"dir.log"}, false, "dir.log is a directory; use a pattern such as dir/*.log"},
		{"directory followed", []string{"dir.log"}, true, "dir.log is a directory; use a pattern such as dir/*.log"},
		{"below a file", []string{"a.log/b"}, false, "a.log/b: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(Config{Paths: tt.paths, Follow: tt.follow})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			err = s.Connect(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestContents(t *testing.T) {
	long := strings.Repeat("x", consumer.MaxLine)
	manyLines := strings.Repeat("a line of some length\n", 40000)
	tests := []struct {
		name    string
		in      string
		want    string // "=" for the same
		tooLong []int64
		lines   int64
	}{
		{"empty", "", "=", nil, 0},
		{"one line", "a\n", "=", nil, 1},
		{"no newline", "a", "=", nil, 1},
		{"last without newline", "a\nb", "=", nil, 2},
		{"empty lines", "\n\n\n", "=", nil, 3},
		{"crlf", "a\r\nb\r\n", "=", nil, 2},
		{"nul", "a\x00b\n\x00\n", "=", nil, 2},
		{"many", manyLines, "=", nil, 40000},
		{"longest allowed", "a\n" + long + "\nb\n", "=", nil, 3},
		{"longest allowed at the end", long, "=", nil, 1},
		{"too long by one", "a\n" + long + "x\nb\n", "a\nb\n", []int64{2}, 3},
		{"too long first", long + "x\nb\n", "b\n", []int64{1}, 2},
		{"too long last", "a\n" + long + "x\n", "a\n", []int64{2}, 2},
		{"too long without newline", "a\n" + long + "x", "a\n", []int64{2}, 2},
		{"much too long, twice", "a\n" + long + long + long + "\nb\n" + long + long + "\nc", "a\nb\nc", []int64{2, 4}, 5},
		{"two in a row", long + "x\n" + long + "y\n", "", []int64{1, 2}, 2},
	}
	forms := []struct {
		name, suffix string
		sizes        []int
		make         func(tb testing.TB, b []byte) []byte
	}{
		{"plain", "", []int{64, 4096, DefaultBatchBytes, consumer.MaxLine}, func(_ testing.TB, b []byte) []byte { return b }},
		{"gz", ".gz", []int{4096}, gz},
		{"gz by magic", "", []int{DefaultBatchBytes}, gz},
		{"zst", ".zst", []int{4096}, zst},
		{"zst by magic", "", []int{DefaultBatchBytes}, zst},
	}
	for _, tt := range tests {
		if tt.want == "=" {
			tt.want = tt.in
		}
		for _, form := range forms {
			raw := form.make(t, []byte(tt.in))
			for _, size := range form.sizes {
				for _, stdin := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/%d/stdin=%t", tt.name, form.name, size, stdin), func(t *testing.T) {
						var p problems
						cfg := Config{BatchBytes: size, Buffers: 1, OnError: p.add}
						if stdin {
							cfg.Paths, cfg.Stdin = []string{"-"}, bytes.NewReader(raw)
						} else {
							cfg.Paths = []string{write(t, filepath.Join(t.TempDir(), "a.log"+form.suffix), raw)}
						}
						s := connect(t, cfg)
						all := drain(t, s)
						g := all[cfg.Paths[0]]
						if len(all) != 1 || g == nil || !g.eof {
							t.Fatalf("got %d partitions", len(all))
						}
						if string(g.data) != tt.want {
							t.Errorf("got %d bytes, want %d", len(g.data), len(tt.want))
						}
						if diff := cmp.Diff(tt.tooLong, g.tooLong); diff != "" {
							t.Error(diff)
						}
						if g.line-1 != tt.lines || g.next.Offset != int64(len(tt.in)) {
							t.Errorf("got %d lines and %d bytes, want %d and %d", g.line-1, g.next.Offset, tt.lines, len(tt.in))
						}
						if diff := cmp.Diff(problems{}.list, p.all(), cmpopts.EquateEmpty()); diff != "" {
							t.Error(diff)
						}
						if s.Done() != int64(len(raw)) {
							t.Errorf("done %d of %d", s.Done(), len(raw))
						}
						if n, known := s.Size(); !stdin && (n != int64(len(raw)) || !known) || stdin && known {
							t.Errorf("size %d, %t", n, known)
						}
						if !s.AtEnd(g.partition(t, cfg)) {
							t.Error("not at its end")
						}
					})
				}
			}
		}
	}
}

func (g *got) partition(tb testing.TB, cfg Config) string {
	tb.Helper()
	if cfg.Paths[0] == "-" {
		return "-"
	}
	abs, err := filepath.Abs(cfg.Paths[0])
	if err != nil {
		tb.Fatal(err)
	}
	return abs
}

func TestEachFileOnceInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, n := range []string{"b.log", "a.log", "c[1].log", "d.json"} {
		write(t, n, []byte(n+"\n"))
	}
	if err := os.Symlink("a.log", "link.log"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "dangling.log"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("dir.log", 0o700); err != nil {
		t.Fatal(err)
	}
	s := connect(t, Config{Paths: []string{"d.json", "*.log", "./b.log", "c[1].log", "d.json", "-", "-"}, Stdin: strings.NewReader("in\n")})
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var order, parts []string
	for {
		b, _, err := s.Read(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.Name == Stdin && b.EOF && len(b.Data) == 0 {
			continue // its end may come after its text
		}
		order = append(order, b.Name+" "+string(b.Data))
		parts = append(parts, strings.TrimPrefix(b.Partition, wd+"/"))
	}
	want := []string{"d.json d.json\n", "a.log a.log\n", "b.log b.log\n", "c[1].log c[1].log\n", "- in\n"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"d.json", "a.log", "b.log", "c[1].log", "-"}, parts); diff != "" {
		t.Error(diff)
	}
	if _, _, err := s.Read(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestDamage(t *testing.T) {
	text := make([]byte, 0, 1<<20)
	for i := 0; len(text) < 1<<20; i++ {
		text = fmt.Appendf(text, "%d %x\n", i, rand.Uint64())
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-6] ^= 0xff // in the checksum
		return b
	}
	z, zz := gz(t, text), zst(t, text)
	tests := []struct {
		name, file string
		data       []byte
		min        int // bytes that must come
		want       string
	}{
		{"truncated gzip", "x.log.gz", z[:len(z)/2], len(text) / 3, "read %s: unexpected EOF"},
		{"gzip checksum", "x.log.gz", flip(z), len(text), "read %s: gzip: invalid checksum"},
		{"no gzip", "x.log.gz", []byte("{}\n"), 0, "read %s: gzip: unexpected EOF"},
		{"no gzip, longer", "x.log.gz", text, 0, "read %s: gzip: gzip: invalid header"},
		{"empty gzip", "x.log.gz", nil, 0, "read %s: gzip: unexpected EOF"},
		{"rubbish after gzip", "x.log.gz", append(bytes.Clone(z), "rubbish beyond"...), len(text), "read %s: gzip: invalid header"},
		{"truncated zstd", "x.log.zst", zz[:len(zz)/2], len(text) / 4, "read %s: unexpected EOF"},
		{"empty zstd", "x.log.zst", nil, 0, "read %s: zstd: unexpected EOF"},
		{"xz", "x.log", []byte("\xfd7zXZ\x00..."), 0, "read %s: compressed with xz, which is not supported (gzip and zstd are)"},
		{"bzip2", "x.log", []byte("BZh91AY&SY"), 0, "read %s: compressed with bzip2, which is not supported (gzip and zstd are)"},
	}
	for _, tt := range tests {
		for _, stdin := range []bool{false, true} {
			if stdin && !bytes.HasPrefix(tt.data, []byte{0x1f}) {
				continue
			}
			t.Run(fmt.Sprintf("%s/stdin=%t", tt.name, stdin), func(t *testing.T) {
				dir := t.TempDir()
				bad := write(t, filepath.Join(dir, tt.file), tt.data)
				good := write(t, filepath.Join(dir, "good.log"), []byte("good\n"))
				var p problems
				cfg := Config{Paths: []string{bad, good}, OnError: p.add, BatchBytes: 4096}
				if stdin {
					bad = "-"
					cfg.Paths, cfg.Stdin = []string{"-", good}, bytes.NewReader(tt.data)
				}
				all := drain(t, connect(t, cfg))
				if diff := cmp.Diff([]string{fmt.Sprintf(tt.want, bad)}, p.all()); diff != "" {
					t.Error(diff)
				}
				if g := all[bad]; g == nil || !g.eof || len(g.data) < tt.min || !bytes.HasPrefix(text, g.data) {
					t.Errorf("got %+v", g)
				}
				if g := all[good]; g == nil || string(g.data) != "good\n" {
					t.Errorf("the other file was lost: %+v", g)
				}
			})
		}
	}
}

func TestMembersAndFrames(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		data []byte
	}{
		{"a.gz", append(gz(t, []byte("one\ntw")), gz(t, []byte("o\n"))...)},
		{"a.zst", append(zst(t, []byte("one\ntw")), zst(t, []byte("o\n"))...)},
		{"skippable frame first", append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, zst(t, []byte("one\ntwo\n"))...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, filepath.Join(dir, tt.name), tt.data)
			all := drain(t, connect(t, Config{Paths: []string{path}}))
			if diff := cmp.Diff("one\ntwo\n", string(all[path].data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		// Root reads everything: a path whose kind changes after Connect stands in for it.
		t.Log("as root: a directory put in place of the file")
	}
	dir := t.TempDir()
	bad := write(t, filepath.Join(dir, "bad.log"), []byte("x\n"))
	good := write(t, filepath.Join(dir, "good.log"), []byte("good\n"))
	for _, handler := range []bool{true, false} {
		t.Run(fmt.Sprintf("handler=%t", handler), func(t *testing.T) {
			var p problems
			cfg := Config{Paths: []string{bad, good}}
			if handler {
				cfg.OnError = p.add
			}
			s := connect(t, cfg)
			if err := os.RemoveAll(bad); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(bad, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = os.Remove(bad)
				write(t, bad, []byte("x\n"))
			})
			var errs []string
			var data []byte
			for {
				b, _, err := s.Read(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					errs = append(errs, err.Error())
					continue
				}
				data = append(data, b.Data...)
			}
			errs = append(errs, p.all()...)
			if diff := cmp.Diff([]string{"read " + bad + ": is a directory; use a pattern such as dir/*.log"}, errs); diff != "" {
				t.Error(diff)
			}
			if string(data) != "good\n" {
				t.Errorf("got %q", data)
			}
		})
	}
}

func TestReadBlocksUntilRelease(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "a.log"), bytes.Repeat([]byte("0123456789abcde\n"), 100))
	s := connect(t, Config{Paths: []string{path}, BatchBytes: 32, Buffers: 3})
	var kept []consumer.Batch
	for range 3 {
		b, ack, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := ack(t.Context(), errors.New("given up")); err != nil { // frees nothing
			t.Fatal(err)
		}
		kept = append(kept, b)
	}
	blocked := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, _, err := s.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a batch too many: %v", err)
		}
	}
	blocked()
	for _, b := range kept {
		if string(b.Data) != "0123456789abcde\n0123456789abcde\n" {
			t.Errorf("an outstanding batch changed: %q", b.Data)
		}
	}
	go func() {
		kept[1].Release()
		kept[1].Release() // must not free another's buffer
	}()
	b, _, err := s.Read(t.Context())
	if err != nil || b.FirstLine != 7 || b.LineStart != 96 {
		t.Fatalf("got %+v, %v", b, err)
	}
	blocked()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept[0].Release()
}

func TestMemoryStaysFlat(t *testing.T) {
	// 64 MiB without a newline, then lines.
	r := io.MultiReader(io.LimitReader(zeros{}, 64<<20), strings.NewReader("\nafter\n"))
	s := connect(t, Config{Paths: []string{"-"}, Stdin: r})
	g := drain(t, s)["-"]
	if string(g.data) != "after\n" || len(g.tooLong) != 1 {
		t.Errorf("got %q, %v", g.data, g.tooLong)
	}
	if n := len(s.pool.free); n > 1 {
		t.Errorf("%d buffers made", n)
	}
	for _, b := range s.pool.free {
		if cap(b) != DefaultBatchBytes {
			t.Errorf("a buffer of %d bytes kept", cap(b))
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestStdinHandsOverAtOnce(t *testing.T) {
	r, w := io.Pipe()
	s := connect(t, Config{Paths: []string{"-"}, Stdin: r})
	for i := range 3 {
		go func() { _, _ = fmt.Fprintf(w, "line %d\nunfin", i) }()
		want := fmt.Sprintf("line %d\n", i)
		if i > 0 {
			want = "unfin" + want
		}
		b, _, err := s.Read(t.Context())
		if err != nil || string(b.Data) != want {
			t.Fatalf("got %q, %v; want %q", b.Data, err, want)
		}
		giveBack(b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := s.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	_ = w.Close()
	b, _, err := s.Read(t.Context()) // what was read before the context ended is not lost
	if err != nil || string(b.Data) != "unfin" || !b.EOF {
		t.Fatalf("got %+v, %v", b, err)
	}
}

func TestCloseEndsRead(t *testing.T) {
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%t", follow), func(t *testing.T) {
			r, _ := io.Pipe()
			paths := []string{"-"}
			if follow {
				paths = append(paths, filepath.Join(t.TempDir(), "none.log"), filepath.Join(t.TempDir(), "*.log"))
			}
			s := connect(t, Config{Paths: paths, Stdin: r, Follow: follow})
			done := make(chan error)
			go func() {
				_, _, err := s.Read(t.Context())
				done <- err
			}()
			time.Sleep(5 * time.Millisecond)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
			if _, _, err := s.Read(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("later: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestResumeWithoutFollow(t *testing.T) {
	text := "#separator\n#fields\tts\n1\ta\n2\tb\n3\tc\n"
	head := int64(strings.Index(text, "1\ta"))
	for _, suffix := range []string{"", ".gz", ".zst"} {
		t.Run("x"+suffix, func(t *testing.T) {
			enc := func(s string) []byte {
				switch suffix {
				case ".gz":
					return gz(t, []byte(s))
				case ".zst":
					return zst(t, []byte(s))
				}
				return []byte(s)
			}
			path := write(t, filepath.Join(t.TempDir(), "a.log"+suffix), enc(text))
			s := connect(t, Config{Paths: []string{path}, BatchBytes: 16})
			var pos consumer.Position
			for pos.Offset <= head {
				b, _, err := s.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				pos = b.Next
				giveBack(b)
			}
			start := map[string]consumer.Position{path: pos}
			var p problems
			s = connect(t, Config{Paths: []string{path}, Start: start, OnError: p.add})
			b, _, err := s.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			line := int64(strings.Count(text[:pos.Offset], "\n")) + 1
			if string(b.Data) != text[pos.Offset:] || b.FirstLine != line || b.LineStart != pos.Offset || !b.NewFile || b.From.Generation != 1 {
				t.Errorf("got %+v", b)
			}
			if diff := cmp.Diff("#separator\n#fields\tts\n", string(b.Header)); diff != "" {
				t.Error(diff)
			}
			if len(p.all()) > 0 {
				t.Error(p.all())
			}
			write(t, path, enc("#other\n"+text))
			s = connect(t, Config{Paths: []string{path}, Start: start, OnError: p.add})
			b, _, err = s.Read(t.Context())
			if err != nil || string(b.Data) != "#other\n"+text || b.FirstLine != 1 || b.From.Generation != 2 {
				t.Errorf("got %+v, %v", b, err)
			}
			if b.Header != nil {
				t.Error("header of a file read from its start")
			}
			want := []string{"read " + path + ": not the file that was read before, begun from its start: lines may have been missed"}
			if diff := cmp.Diff(want, p.all()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConcatenationIsTheFile(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var text []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 300), 0, 60).Draw(rt, "lines") {
			text = append(append(text, bytes.Repeat([]byte{'a' + byte(n%26)}, n)...), '\n')
		}
		if rapid.Bool().Draw(rt, "unfinished") {
			text = append(text, "tail"...)
		}
		size := rapid.IntRange(MinBatchBytes, 1000).Draw(rt, "batch")
		raw := text
		name := filepath.Join(dir, "a.log")
		switch rapid.IntRange(0, 2).Draw(rt, "form") {
		case 1:
			raw = gz(t, text)
		case 2:
			raw = zst(t, text)
		}
		write(t, name, raw)
		s := connect(t, Config{Paths: []string{name}, BatchBytes: size, Buffers: 2})
		defer func() { _ = s.Close() }()
		if g := drain(t, s)[name]; !bytes.Equal(g.data, text) || !g.eof {
			rt.Fatalf("got %q, want %q", g.data, text)
		}
	})
}

func FuzzParseIdent(f *testing.F) {
	f.Add("")
	f.Add(ident{fileID{1, 2}, sumOf([]byte("head"))}.String())
	f.Add("1-2-400-000000000000000000000000")
	f.Add("1-2-401-000000000000000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		i, ok := parseIdent(s)
		if !ok {
			return
		}
		if again, ok := parseIdent(i.String()); !ok || again != i {
			t.Errorf("%q became %+v", s, again)
		}
		i.head.matches([]byte(s))
	})
}

func FuzzContents(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), 16)
	f.Add([]byte("\x1f\x8b\x08"), 16)
	f.Add([]byte("\x28\xb5\x2f\xfd"), 16)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = MinBatchBytes + max(size, -size, 0)%4096
		var p problems
		s := connect(t, Config{Paths: []string{"-"}, Stdin: bytes.NewReader(data), BatchBytes: size, OnError: p.add})
		g := drain(t, s)["-"]
		if c, err := compressionOf("", data); c == notCompressed && err == nil && !bytes.Equal(g.data, data) {
			t.Errorf("got %q, want %q", g.data, data)
		}
		_ = s.Close()
	})
}

func BenchmarkPlain(b *testing.B) {
	const total = 256 << 20
	line := []byte(`{"ts":1700000000.123456,"uid":"CAbcDe1FgHiJkLmNo2","id.orig_h":"192.168.1.10","id.orig_p":51234,"id.resp_h":"203.0.113.7","id.resp_p":3333,"proto":"tcp","duration":60.1,"orig_bytes":1000,"resp_bytes":2000,"conn_state":"SF","history":"ShADadFf","orig_pkts":12,"orig_ip_bytes":1500,"resp_pkts":10,"resp_ip_bytes":2500}` + "\n")
	path := write(b, filepath.Join(b.TempDir(), "conn.log"), bytes.Repeat(line, total/len(line)))
	b.SetBytes(total / int64(len(line)) * int64(len(line)))
	for b.Loop() {
		s := connect(b, Config{Paths: []string{path}})
		for {
			batch, _, err := s.Read(b.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			giveBack(batch)
		}
		_ = s.Close()
	}
}

func BenchmarkArchive(b *testing.B) {
	var text []byte
	for i := 0; len(text) < 32<<20; i++ {
		text = fmt.Appendf(text, `{"ts":17000%d.123456,"uid":"C%x","id.orig_h":"192.168.1.%d","id.orig_p":%d,"id.resp_h":"203.0.113.7","id.resp_p":3333,"proto":"tcp","duration":60.1,"orig_bytes":%d,"conn_state":"SF"}`+"\n", i, rand.Uint64(), i%255, rand.IntN(65536), rand.IntN(100000))
	}
	for name, data := range map[string][]byte{"gz": gz(b, text), "zst": zst(b, text)} {
		b.Run(name, func(b *testing.B) {
			path := write(b, filepath.Join(b.TempDir(), "conn.log."+name), data)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s := connect(b, Config{Paths: []string{path}})
				drain(b, s)
				_ = s.Close()
			}
		})
	}
}

func TestPreface(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"comments", "#a\n#b\nrow\n#c\n", "#a\n#b\n"},
		{"half a comment", "#a\n#b", "#a\n"},
		{"names of columns", "ts,te\n1,2\n", "ts,te\n"},
		{"names behind a byte order mark", "\xEF\xBB\xBFts,te\r\n1,2\n", "\xEF\xBB\xBFts,te\r\n"},
		{"half a line of names", "ts,te", ""},
		{"names, then comments", "ts,te\n#a\n", "ts,te\n#a\n"},
		{"JSON", "{\"ts\":1}\n", ""},
		{"rows", "1,2\n3,4\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(preface([]byte(tt.text))); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

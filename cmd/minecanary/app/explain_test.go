package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/minecanary/minecanary/enrich/score"
)

// FuzzExplain: whatever comes in, one line of JSON goes out for each line, in order, and never a panic.
func FuzzExplain(f *testing.F) {
	f.Add("{\"ack\":1}\n{}\nx\n", true)
	f.Add(`{"first_seen":-1e300,"last_seen":1e308,"packets":9007199254740993}`, false)
	f.Add(`{"server_port":70000,"ack":4294967296}`, false)
	f.Fuzz(func(t *testing.T, in string, nemea bool) {
		name := "canary"
		if nemea {
			name = "nemea"
		}
		s, err := score.New(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = explain(strings.NewReader(in), &out, s, true)
		if err != nil && !errors.Is(err, errPartial) {
			t.Fatal(err)
		}
		want := strings.Count(in, "\n")
		if in != "" && !strings.HasSuffix(in, "\n") {
			want++
		}
		got := bytes.Split(bytes.TrimSuffix(out.Bytes(), []byte("\n")), []byte("\n"))
		if len(got) != max(want, 1) {
			t.Fatalf("%d lines for %d", len(got), want)
		}
		for _, line := range got {
			if want > 0 && !json.Valid(line) {
				t.Fatalf("not JSON: %s", line)
			}
		}
	})
}

// FuzzParseTarget: what is taken as HOST:PORT has both.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"1.2.3.4:3333", "[::1]:1", "pool.example:443", ":1", "a:b", "a:0", "a:65536"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err == nil && (got.host == "" || got.port == 0 || got.arg != s) {
			t.Errorf("%q: %+v", s, got)
		}
	})
}

// TestExitCodes: the codes that scripts rely on.
func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stdin string
		args  []string
		want  int
	}{
		{"done", "{}\n", []string{"explain"}, ExitOK},
		{"partial", "x\n", []string{"explain"}, ExitPartial},
		{"partial input", "x\n", []string{"detect", "-"}, ExitPartial},
		{"empty input", "", []string{"detect", "-"}, ExitOK},
		{"no such file", "", []string{"detect", "no.log"}, ExitFailed},
		{"no such flag", "", []string{"detect", "--x"}, ExitUsage},
		{"no such command", "", []string{"x"}, ExitUsage},
		{"no argument", "", []string{"detect"}, ExitUsage},
		{"wrong value", "", []string{"detect", "--probe", "maybe", "-"}, ExitUsage},
		{"wrong scorer", "", []string{"explain", "--scorer", "x"}, ExitUsage},
		{"refused is a verdict", "", []string{"probe", "--audit", "audit.ndjson", "127.0.0.1:1"}, ExitOK},
		{"not an endpoint", "", []string{"probe", "x"}, ExitUsage},
		{"no state", "", []string{"feed", "--state", "nowhere"}, ExitFailed},
		{"help", "", []string{"--help"}, ExitOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, _, stderr := command(t, tt.stdin, tt.args...)
			if code != tt.want {
				t.Errorf("exit code %d, want %d\n%s", code, tt.want, stderr)
			}
		})
	}
}

package ndjson

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
)

func hit(window uint32) minecanary.Hit {
	return minecanary.Hit{
		Pair: minecanary.Pair{
			Client: netip.MustParseAddr("10.0.0.5"),
			Server: minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.10"), 3333, minecanary.TCP),
		},
		Status: minecanary.HitKnown, Window: window, Report: time.Hour, Found: time.Unix(0, 0),
		Evidence: []minecanary.Evidence{{Kind: "block-list", Summary: "a\nb\x00 </script>\u2028"}},
	}
}

func lines(t *testing.T, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.SplitAfter(b, []byte("\n"))
}

func TestStreamWritesLines(t *testing.T) {
	var buf bytes.Buffer
	s := NewStream(&buf)
	if err := s.Write(t.Context(), []minecanary.Hit{hit(1), hit(2)}); err != nil {
		t.Fatal(err)
	}
	got := bytes.Split(bytes.TrimSuffix(buf.Bytes(), []byte("\n")), []byte("\n"))
	if len(got) != 2 {
		t.Fatalf("%d lines, want 2: %s", len(got), buf.Bytes())
	}
	for _, line := range got {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// TestFileAfterCrash: a torn line goes, and what stands in the file is not written again.
func TestFileAfterCrash(t *testing.T) {
	name := filepath.Join(t.TempDir(), "hits.ndjson")
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), []minecanary.Hit{hit(1), hit(2)}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err = Open(name)
	if err != nil {
		t.Fatal(err)
	}
	again := hit(1)
	again.Sequence = 1
	if err := f.Write(t.Context(), []minecanary.Hit{hit(1), hit(2), again}); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, name)
	if len(got) != 4 || len(got[3]) != 0 {
		t.Fatalf("%d lines, want the first, the torn one anew, and the second report: %s", len(got)-1, got)
	}
	seen := map[report]bool{}
	for _, line := range got[:3] {
		var d struct {
			Event report `json:"event"`
		}
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if seen[d.Event] {
			t.Errorf("%+v is there twice", d.Event)
		}
		seen[d.Event] = true
	}
}

func TestOpenTellsTheFile(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no", "hits.ndjson")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

// FuzzRecall opens any file as a hits file: never a panic, and whole lines stay.
func FuzzRecall(f *testing.F) {
	f.Add([]byte("{\"event\":{\"id\":\"a\",\"sequence\":1}}\n{\"event"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "hits.ndjson")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := b[:bytes.LastIndexByte(b, '\n')+1]; !bytes.Equal(got, want) {
			t.Errorf("left %q of %q", got, b)
		}
	})
}

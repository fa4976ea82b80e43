package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
)

// TestRefusals changes the files of refusals under a running process.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	deny, hold := filepath.Join(dir, "deny.txt"), filepath.Join(dir, "hold.txt")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var warned []string
	warn := func(err error) { warned = append(warned, err.Error()) }
	write(deny, "# asked by mail\n192.0.2.0/24 abuse@example.net\n2001:db8::1\n198.51.100.7:3333\n")
	write(hold, "203.0.113.5:4444 expires=2026-01-02T06:00:00Z case 17\n203.0.113.6\n")
	r, err := newRefusals([]string{deny}, []string{hold}, func() time.Time { return now }, warn)
	if err != nil {
		t.Fatal(err)
	}
	check := func(step string, want map[string]string) {
		t.Helper()
		for s, reason := range want {
			ep, err := minecanary.ParseEndpoint(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.refuse(ep); got != reason {
				t.Errorf("%s: refuse(%s) = %q, want %q", step, s, got, reason)
			}
		}
	}
	first := map[string]string{
		"192.0.2.77:3333":    "on the deny list: 192.0.2.0/24: abuse@example.net",
		"[2001:db8::1]:1":    "on the deny list: 2001:db8::1",
		"198.51.100.7:3333":  "on the deny list: 198.51.100.7:3333",
		"198.51.100.7:3334":  "",
		"203.0.113.5:4444":   "on hold until 2026-01-02T06:00:00Z: 203.0.113.5:4444: case 17",
		"203.0.113.5:4445":   "",
		"203.0.113.6:1":      "on hold: 203.0.113.6",
		"203.0.113.7:1":      "",
		"[2001:db8::2]:3333": "",
	}
	check("at first", first)

	write(deny, "203.0.113.7\n192.0.2.0/24 abuse@example.net\n2001:db8::1\n198.51.100.7:3333\n")
	now = now.Add(refusalsEvery)
	first["203.0.113.7:1"] = "on the deny list: 203.0.113.7"
	check("after a change", first)

	write(deny, "203.0.113.7\n192.0.2.0/24\nnot an address!\n")
	now = now.Add(refusalsEvery)
	check("a bad version", first)
	now = now.Add(refusalsEvery)
	check("a bad version, again", first)
	if err := os.Remove(deny); err != nil {
		t.Fatal(err)
	}
	now = now.Add(refusalsEvery)
	check("no file", first)
	now = now.Add(refusalsEvery)
	check("no file, again", first)
	write(deny, "0.0.0.0/0\n")
	now = now.Add(refusalsEvery)
	check("everything", first)
	write(deny, "pool.example\n")
	now = now.Add(refusalsEvery)
	check("a name", first)
	write(deny, strings.Repeat("#", maxRefusals+1))
	now = now.Add(refusalsEvery)
	check("a file that is too large", first)
	for i, part := range []string{deny + ":3: ", "no such file", deny + ":1: this is every address", deny + ":1: pool.example", "larger than"} {
		if len(warned) <= i || !strings.Contains(warned[i], part) || !strings.Contains(warned[i], "holds on") {
			t.Fatalf("warnings are %q; want %q as number %d", warned, part, i+1)
		}
	}
	if len(warned) != 5 {
		t.Errorf("warnings are %q, want 5", warned)
	}

	write(deny, "")
	now = now.Add(refusalsEvery)
	check("an empty file", map[string]string{"203.0.113.7:1": "", "192.0.2.77:3333": "", "203.0.113.5:4444": first["203.0.113.5:4444"]})
	now = time.Date(2026, 1, 2, 6, 0, 0, 0, time.UTC)
	check("the hold is over", map[string]string{"203.0.113.5:4444": "", "203.0.113.6:1": "on hold: 203.0.113.6"})
}

// TestBadRefusals: with a bad file nothing starts, and all that is bad is told.
func TestBadRefusals(t *testing.T) {
	dir := t.TempDir()
	deny := filepath.Join(dir, "deny.txt")
	if err := os.WriteFile(deny, []byte("300.0.0.1\n192.0.2.1\n10.0.0.1/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hold := filepath.Join(dir, "hold.txt")
	cfg := config.Default()
	cfg.Prober.Deny, cfg.Prober.Hold = []string{deny}, []string{hold}
	_, err := newProber(cfg, nil, nil, nil)
	for _, part := range []string{deny + ":1: ", deny + ":3: ", hold} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want %q in it", err, part)
		}
	}
	if r, err := newRefusals(nil, nil, time.Now, nil); r != nil || err != nil {
		t.Errorf("without files: %v, %v", r, err)
	}
}

package prober_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/dialect"
	"github.com/minecanary/minecanary/prober/spar"
)

// row is a line of the table in docs/dialects.md.
type row struct {
	dialect, pool string
	verdict       minecanary.VerdictStatus
	fuzz          string
}

// conformance reads the table.
func conformance(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../docs/dialects.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) < 7 || cells[0] == "dialect" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		if len(cells) != 7 || slices.Contains(cells, "") {
			t.Errorf("a row with %d cells, or an empty one: %s", len(cells), line)
		}
		rows = append(rows, row{cells[0], cells[1], minecanary.VerdictStatus(cells[2]), cells[6]})
	}
	return rows
}

// byPool gives the rows by sparring pool.
func byPool(t *testing.T) map[string]row {
	t.Helper()
	rows := map[string]row{}
	for _, r := range conformance(t) {
		rows[r.pool] = r
	}
	return rows
}

// TestConformance holds the documentation, the sparring pools, the fuzz targets and the prober together.
func TestConformance(t *testing.T) {
	t.Parallel()
	rows := conformance(t)
	var fuzz strings.Builder
	files, err := filepath.Glob("dialect/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fuzz.Write(text)
	}
	for _, d := range dialect.All() {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.dialect == d.Name }) {
			t.Errorf("the dialect %s has no row in docs/dialects.md", d.Name)
		}
	}
	for _, name := range spar.Pools() {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.pool == name }) {
			t.Errorf("the sparring pool %s has no row in docs/dialects.md", name)
		}
	}
	for _, r := range rows {
		if !slices.ContainsFunc(dialect.All(), func(d dialect.Dialect) bool { return d.Name == r.dialect }) {
			t.Errorf("there is no dialect %s", r.dialect)
		}
		if !slices.Contains(spar.Pools(), r.pool) {
			t.Errorf("%s: there is no sparring pool %s", r.dialect, r.pool)
			continue
		}
		if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(r.fuzz) + `\(f \*testing\.F\)`).MatchString(fuzz.String()) {
			t.Errorf("%s: there is no fuzz target %s", r.dialect, r.fuzz)
		}
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			for name, mode := range map[string]spar.TLS{"plain": spar.Plain, "TLS": spar.Only} {
				t.Run(r.pool+"/"+strings.TrimSuffix(addr, ":0")+"/"+name, func(t *testing.T) {
					t.Parallel()
					server := start(t, spar.Options{Addr: addr, Dialect: r.pool, TLS: mode})
					got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
					if got.Status != r.verdict || got.Dialect != r.dialect || got.TLS != (mode == spar.Only) {
						t.Errorf("got %s %q over TLS %v, want %s %q: %s\n%s", got.Status, got.Dialect, got.TLS, r.verdict, r.dialect, got.Reason, transcripts(got))
					}
				})
			}
		}
	}
}

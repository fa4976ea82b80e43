package importer_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/importer"
)

var update = flag.Bool("update", false, "write the golden files")

// told is where the rows of the tests come from.
var told = catalog.Provenance{Source: "https://lists.net/miners", AsOf: "2026-05-01", Confidence: catalog.Low}

// cases are the files of testdata with their formats.
var cases = []struct {
	file   string
	format importer.Format
}{
	{"smashed.json", importer.SmashedJSON},
	{"smashed.csv", importer.SmashedCSV},
	{"smashed-one-url.csv", importer.SmashedCSV},
	{"list.txt", importer.List},
	{"hosts.txt", importer.Hosts},
	{"own.csv", importer.CSV},
	{"misp.json", importer.MISP},
}

func read(tb testing.TB, file string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestGolden holds what becomes of a file of each format, with what was wrong in it, to what a person has looked at.
func TestGolden(t *testing.T) {
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			l, problems, err := importer.Import(c.format, read(t, c.file), importer.Options{Name: c.file, Pool: "listed", PoolName: "Listed", Provenance: told})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := catalog.Write(&b, l); err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				fmt.Fprintln(&b, "#", p.Error())
			}
			name := filepath.Join("testdata", c.file+".golden")
			if *update {
				if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, c.file+".golden")), b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGuess tells the formats by their content, and keeps quiet where it could be several.
func TestGuess(t *testing.T) {
	for _, c := range cases {
		if f, ok := importer.Guess(read(t, c.file)); c.file != "hosts.txt" && c.file != "list.txt" && (!ok || f != c.format) {
			t.Errorf("%s: %q, %t", c.file, f, ok)
		}
	}
	for text, want := range map[string]importer.Format{
		"name: A\nservers: []\n": importer.Catalogue, "# own\n---\npools: []\n": importer.Catalogue,
		"a.net\n# x\nb.net:3333\n9.9.9.9\n": importer.List, "stratum+tcp://a.net:3333": importer.List, "a.net:3333": importer.List, "a.net\nb.net:x": importer.List,
		"127.0.0.1 localhost\n0.0.0.0 a.net\n": importer.Hosts, "\ufeffserver,port\n": importer.CSV,
		`[{"Event":{}}]`: importer.MISP, `{"Event":{}}`: importer.MISP, ` {"response":[]}`: importer.MISP, `{"servers":[]}`: importer.SmashedJSON,
		"": "", "# nothing": "", "9.9.9.9 a.net\n": "", "{": "", "[]": "", `{"x":1}`: "", "a,b\n1,2\n": "", "words of all kinds": "",
		"port,coin\n": "", "name.net: x": "",
		// Several entries a line, as long as they can be nothing else.
		"a.net:3333 b.net:3333, 9.9.9.9:1\n": importer.List, "a.net,b.net\nc.net": importer.List, "9.9.9.9 9.9.9.10": importer.List,
		"9.9.9.9 stratum+tcp://a.net:3333": importer.List, "a.net b.net " + strings.Repeat("x.net ", 1000): importer.List,
		"c.net:1\n9.9.9.9 a.net b.net\n": "", "a.net,9.9.9.9": "", "a.net https://a.net/": "", "a.net,Germany": "", "a.net 1.5": "", "a.net;b.net": "",
		"a.net:3333,XMR": "", "2026-04-21T00:00:00Z a.net": "",
	} {
		if f, ok := importer.Guess([]byte(text)); f != want || ok != (want != "") {
			t.Errorf("%q: %q, %t, want %q", text, f, ok, want)
		}
	}
}

// TestRefused has files that cannot be read at all.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		format importer.Format
		text   string
		want   string
	}{
		{"excel", "x", `unknown format "excel"`},
		{importer.CSV, "", "no header"},
		{importer.CSV, "server,port,colour\n", `unknown column "colour"`},
		{importer.CSV, "port,coin\n", "no column for the server"},
		{importer.SmashedCSV, "server\n", `unknown column "server"`},
		{importer.CSV, "\"server\n", "extraneous or missing"},
		{importer.SmashedJSON, "[]", "cannot unmarshal array"},
		{importer.SmashedJSON, "{}", "no table of servers"},
		{importer.MISP, "{}", "no attributes of an event"},
		{importer.MISP, `{"Event":{"Attribute":[{"type":1}]}}`, "cannot unmarshal number"},
		{importer.MISP, strings.Repeat("[", 100_000), "exceeded max depth"},
		{importer.List, strings.Repeat("#", importer.MaxData+1), "larger than"},
	} {
		l, problems, err := importer.Import(c.format, []byte(c.text), importer.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(l.Pools)+len(problems) > 0 {
			t.Errorf("%s %.20q: %v, %d pools, %v, want %q", c.format, c.text, err, len(l.Pools), problems, c.want)
		}
	}
}

// TestBounds fills a file with more rows, and with more wrong ones, than are taken; in time.
func TestBounds(t *testing.T) {
	var many, wrong strings.Builder
	for i := range importer.MaxRows + 10 {
		fmt.Fprintf(&many, "n%d.alpha-pool.net\n", i)
	}
	for range importer.MaxProblems + 10 {
		wrong.WriteString("x\n")
	}
	l, problems, err := importer.Import(importer.List, []byte(many.String()), importer.Options{})
	if err != nil || len(l.Pools[0].Servers) != importer.MaxRows || len(problems) != 1 || problems[0].Line != importer.MaxRows+1 {
		t.Error(err, problems)
	}
	_, problems, err = importer.Import(importer.List, []byte(wrong.String()), importer.Options{})
	if err != nil || len(problems) != importer.MaxProblems+1 || !strings.HasSuffix(problems[importer.MaxProblems].Reason, "no more is read") {
		t.Error(err, len(problems), problems[len(problems)-1])
	}
	l, _, err = importer.Import(importer.List, slices.Concat([]byte("a.net:1\n"), bytes.Repeat([]byte("a.net:1\n"), importer.MaxRows)), importer.Options{})
	if err != nil || len(l.Pools[0].Servers[0].Endpoints) != 1 {
		t.Error(err, l)
	}
}

// check wants what is true of every import: its rows pass the catalogue's checks, and a file of them is read back the same.
func check(t interface{ Fatalf(string, ...any) }, l catalog.Layer, problems []catalog.Problem) {
	if len(problems) > importer.MaxProblems+1 {
		t.Fatalf("%d problems", len(problems))
	}
	for i := range l.Pools {
		if reasons := l.Pools[i].Check(func(string) bool { return true }); len(reasons) > 0 {
			t.Fatalf("%s: %q", l.Pools[i].ID, reasons)
		}
	}
	for _, p := range problems {
		if len(p.Reason) > 2*catalog.MaxText || strings.ContainsAny(p.Reason, "\n\r\x1b") {
			t.Fatalf("a problem nobody can print: %q", p.Reason)
		}
	}
	var b bytes.Buffer
	if err := catalog.Write(&b, l); err != nil {
		t.Fatalf("%v", err)
	}
	if b.Len() > catalog.MaxFile {
		return
	}
	got, bad := catalog.Parse("x.yaml", b.Bytes())
	if diff := cmp.Diff(l, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(catalog.Pool{}, "Layer"), cmpopts.EquateComparable(netip.Addr{})); diff != "" || len(bad) > 0 {
		t.Fatalf("%s\n%v\n%s", diff, bad, b.String())
	}
}

// TestImported imports lists and CSV of words that are right, odd and wrong.
func TestImported(t *testing.T) {
	host := rapid.SampledFrom([]string{
		"eu.alpha-pool.net", "US.alpha-pool.net.", "9.9.9.9", "::ffff:9.9.9.9", "[2620:fe::9]", "2620:fe::9%eth0", "10.0.0.1", "x", "a.example", "a..b", "*.b.net", "<b>.net", "\x1b[1m.net",
	})
	word := rapid.SampledFrom([]string{"", "x", "null", "~", "1e3", "a: b", "é", "\u202e", "'", " a ", "true", strings.Repeat("x", 301)})
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		format := rapid.SampledFrom([]importer.Format{importer.List, importer.Hosts, importer.CSV}).Draw(t, "format")
		if format == importer.CSV {
			b.WriteString("pool,server,port,coin,note,source\n")
		}
		for range rapid.IntRange(0, 10).Draw(t, "rows") {
			h, port := host.Draw(t, "host"), rapid.SampledFrom([]string{"", "1", "3333", "65536", "x"}).Draw(t, "port")
			switch format {
			case importer.List:
				fmt.Fprintf(&b, "%s:%s\n", h, port)
			case importer.Hosts:
				fmt.Fprintf(&b, "0.0.0.0 %s\n", h)
			default:
				fmt.Fprintf(&b, "%s,%s,%s,%s,%s,%s\n", word.Draw(t, "pool"), h, port, rapid.SampledFrom([]string{"", "xmr", "X M"}).Draw(t, "coin"), word.Draw(t, "note"), word.Draw(t, "source"))
			}
		}
		l, problems, err := importer.Import(format, []byte(b.String()), importer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, l, problems)
	})
}

func FuzzImport(f *testing.F) {
	for _, c := range cases {
		f.Add(read(f, c.file))
	}
	f.Add([]byte("name: A Pool\nservers: [{name: a.net, endpoints: [{port: 1}]}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range importer.Formats() {
			l, problems, err := importer.Import(format, data, importer.Options{})
			if err == nil && format != importer.Catalogue {
				check(t, l, problems)
			}
		}
		if format, ok := importer.Guess(data); ok && !slices.Contains(importer.Formats(), format) {
			t.Fatalf("guessed %q", format)
		}
	})
}

// TestPosing: exchanges are refused in every form, with the line where there is one; pools of theirs are taken.
func TestPosing(t *testing.T) {
	const list = "pool.alpha-pool.net:3333\napi.kraken.com:443\nwww.binance.com\nsha256.pool.binance.com:443\nAPI.kraken.com:80\n"
	const file = `
pools:
  - {id: a, name: A, servers: [{name: pool.alpha-pool.net}, {name: api.kraken.com, endpoints: [{port: 443, coin: BTC}]}]}
  - {id: b, name: B, servers: [{name: www.binance.com}]}
  - {id: c, name: C}
`
	for _, c := range []struct {
		format  importer.Format
		text    string
		servers []string
		lines   []int
	}{
		{importer.List, list, []string{"pool.alpha-pool.net", "sha256.pool.binance.com"}, []int{2, 3, 5}},
		{importer.Hosts, "0.0.0.0 api.kraken.com pool.alpha-pool.net\n", []string{"pool.alpha-pool.net"}, []int{1}},
		{importer.CSV, "server,port\npool.alpha-pool.net,1\napi.kraken.com,2\n", []string{"pool.alpha-pool.net"}, []int{3}},
		{importer.Catalogue, file, []string{"pool.alpha-pool.net"}, []int{0, 0}},
	} {
		l, problems, err := importer.Import(c.format, []byte(c.text), importer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var servers []string
		for _, p := range l.Pools {
			for _, s := range p.Servers {
				servers = append(servers, s.Name)
			}
		}
		var lines []int
		for _, p := range problems {
			lines = append(lines, p.Line)
			if !strings.Contains(p.Reason, "is an exchange's, a wallet's or a shop's, not a pool's") || p.File != "import" {
				t.Errorf("%s: %v", c.format, p)
			}
		}
		if diff := cmp.Diff(c.servers, servers); diff != "" {
			t.Errorf("%s: %s", c.format, diff)
		}
		if diff := cmp.Diff(c.lines, lines); diff != "" {
			t.Errorf("%s: lines %s", c.format, diff)
		}
		if c.format == importer.Catalogue && len(l.Pools) != 2 {
			t.Errorf("a pool of an exchange alone is left, or one without servers gone: %+v", l.Pools)
		}
	}
}

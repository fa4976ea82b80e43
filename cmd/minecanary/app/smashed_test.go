package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/importer"
)

// smashedPools are two pools beside the shipped ones: with names, a literal address of each family, a server without a
// port, a port without a coin, two coins on one port, and a name that a spreadsheet would take for a formula.
const smashedPools = `
pools:
  - id: quarry
    name: Quarry
    url: https://quarry-pool.net/
    kind: public
    source: https://quarry-pool.net/help
    as_of: 2026-02-01
    confidence: high
    servers:
      - name: xmr.quarry-pool.net
        endpoints: [{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}, {port: 4444, coin: XMR}, {port: 5555, coin: XMR}, {port: 6666, coin: XMR}]
      - name: two.quarry-pool.net
        endpoints: [{port: 3333, coin: LTC}, {port: 3333, coin: DOGE}, {port: 7777}]
      - name: bare.quarry-pool.net
        endpoints: []
      - address: 45.60.1.20
        endpoints: [{port: 3333, coin: BTC}]
      - address: 2a06:1::7
        endpoints: [{port: 3333, coin: BTC}]
  - id: sum
    name: "=SUM(1) Pool"
    kind: solo
    source: https://sum-pool.net/
    as_of: 2026-02-01
    confidence: high
    servers:
      - name: sum-pool.net
        endpoints: [{port: 1234, coin: XMR}]
`

// smashedSite is the site over the shipped catalogue and smashedPools, with a little history; every token is an admin's.
func smashedSite(t *testing.T) (h http.Handler, known *catalog.Catalog, token string) {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, "own.yaml")
	if err := os.WriteFile(own, []byte(smashedPools), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.State.Dir, cfg.Catalogue.Files = dir, []string{own}
	file, err := history.Open(cfg.HistoryFile(), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	err = file.Update(t.Context(), func(tx *history.Tx) error {
		for name, addrs := range map[string][]netip.Addr{
			"xmr.quarry-pool.net": {netip.MustParseAddr("45.60.1.2"), netip.MustParseAddr("2a06:1::2")}, "two.quarry-pool.net": {netip.MustParseAddr("45.60.1.3")},
			"bare.quarry-pool.net": {netip.MustParseAddr("45.60.1.4")}, "sum-pool.net": {netip.MustParseAddr("45.60.1.5")},
		} {
			if err := tx.Resolved(history.Observation{Name: name, At: at, Addrs: addrs, Code: history.NoError}); err != nil {
				return err
			}
		}
		for _, p := range []struct {
			port   uint16
			after  time.Duration
			status minecanary.VerdictStatus
		}{
			{3333, 0, minecanary.Confirmed},
			{443, 0, minecanary.Node},
			{4444, 0, minecanary.NotPool},
			{5555, 0, minecanary.Inconclusive},
			{6666, 0, minecanary.Confirmed},
			{6666, time.Minute, minecanary.Inconclusive},
		} {
			ep := minecanary.NewEndpoint(netip.MustParseAddr("45.60.1.2"), p.port, minecanary.TCP)
			if err := tx.Probed(history.Probe{Endpoint: ep, Name: "xmr.quarry-pool.net", At: at.Add(p.after), Status: p.status, Reason: "it said so"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	warn := func(err error) { t.Error(err) }
	d, err := openDirectory(cfg, warn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.sweep(nil, false, warn); err != nil {
		t.Fatal(err)
	}
	people := accounts.Open(filepath.Join(dir, accounts.FileName), accounts.Options{})
	if token, err = people.AddToken("alice", accounts.Admin, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s := &site{cfg: cfg.API, directory: d, local: &local{}, log: slog.New(slog.DiscardHandler), stateDir: dir}
	return s.routes(), d.register.Current(), token
}

// smashedGet asks the site; with a token as its owner.
func smashedGet(t *testing.T, h http.Handler, method, path, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func smashedBody(t *testing.T, h http.Handler, path string) []byte {
	t.Helper()
	w := smashedGet(t, h, http.MethodGet, path, "")
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %.300s", path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// smashedRows gives what sMaSheD's tables can hold of pools: pool, page, server, port and coin, in order.
func smashedRows(pools []catalog.Pool, page, bare bool, has func(host string) bool) []string {
	var rows []string
	for i := range pools {
		p := &pools[i]
		url := ""
		if page {
			url = p.URL
		}
		for j := range p.Servers {
			s := &p.Servers[j]
			if !has(s.Host()) {
				continue
			}
			if len(s.Endpoints) == 0 && bare {
				rows = append(rows, fmt.Sprintf("%s %s %s", p.Name, url, s.Host()))
			}
			for _, e := range s.Endpoints {
				rows = append(rows, fmt.Sprintf("%s %s %s %d %s", p.Name, url, s.Host(), e.Port, e.Coin))
			}
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// TestSmashedRoundTrip reads our catalogue through sMaSheD's paths and imports that: it is the same catalogue, as far as
// sMaSheD's tables can say it.
func TestSmashedRoundTrip(t *testing.T) {
	h, known, _ := smashedSite(t)
	own := known.Layer().Pools
	load := func(format importer.Format, data []byte) []catalog.Pool {
		t.Helper()
		if got, ok := importer.Guess(data); !ok || got != format {
			t.Errorf("%s is taken for %q", format, got)
		}
		l, problems, err := importer.Import(format, data, importer.Options{})
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v, %v", format, err, problems)
		}
		return l.Pools
	}
	all := map[string]json.RawMessage{}
	for key, table := range map[string]string{"pools": "pool", "servers": "server", "ports": "port", "cryptos": "crypto", "addresses": "address"} {
		all[key] = smashedBody(t, h, "/"+table+"/json")
	}
	tables, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	every := func(string) bool { return true }
	want := smashedRows(own, true, true, every)
	if len(want) < 400 {
		t.Fatalf("%d rows alone", len(want))
	}
	if diff := cmp.Diff(want, smashedRows(load(importer.SmashedJSON, tables), true, true, every)); diff != "" {
		t.Errorf("tables: %s", diff)
	}
	// content.csv has what has an address and a port. A page it has twice in one form, so it is compared on its own.
	has := func(host string) bool {
		_, err := netip.ParseAddr(host)
		return err == nil || strings.HasSuffix(host, ".quarry-pool.net") || host == "sum-pool.net"
	}
	content := load(importer.SmashedCSV, smashedBody(t, h, "/content"))
	if diff := cmp.Diff(smashedRows(own, false, false, has), smashedRows(content, false, true, every)); diff != "" {
		t.Errorf("content: %s", diff)
	}
	if i := slices.IndexFunc(content, func(p catalog.Pool) bool { return p.Name == "Quarry" }); i < 0 || content[i].URL != "https://quarry-pool.net/" {
		t.Error("content: the page of Quarry is another one")
	}
}

// TestSmashedStatus has each of our verdicts as UP, DOWN or LISTEN, each row and its history.
func TestSmashedStatus(t *testing.T) {
	h, _, _ := smashedSite(t)
	type prop struct {
		ID           int
		Port, Status int
		Reason       string
	}
	var props []prop
	if err := json.Unmarshal(smashedBody(t, h, "/miningProp/json"), &props); err != nil {
		t.Fatal(err)
	}
	type told struct {
		Status int
		Past   []int
	}
	got := map[int]told{}
	for _, p := range props {
		var past []prop
		if err := json.Unmarshal(smashedBody(t, h, "/miningProp/"+strconv.Itoa(p.ID)+"/json"), &past); err != nil {
			t.Fatal(err)
		}
		one := told{Status: p.Status}
		for _, row := range past {
			one.Past = append(one.Past, row.Status)
		}
		if got[p.Port] = one; p.Reason != "it said so" {
			t.Errorf("port %d: reason %q", p.Port, p.Reason)
		}
	}
	// A proof is not gone when the endpoint is silent a minute later, but the silence is told.
	want := map[int]told{3333: {1, []int{1}}, 443: {2, []int{2}}, 4444: {2, []int{2}}, 5555: {0, []int{0}}, 6666: {1, []int{1, 0}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// smashedOwn is what a row says of ours, in the forms that can be looked up.
var (
	smashedQuoted = regexp.MustCompile("`([^`]*)`")
	smashedRoute  = regexp.MustCompile(`^(GET|POST|PUT|DELETE) (/\S*)$`)
	smashedField  = regexp.MustCompile(`^(pools|coins)(\.[a-z_]+)+$`)
	smashedKey    = regexp.MustCompile(`^[a-z]+\.[a-z0-9_]+$`)
	smashedTest   = regexp.MustCompile(`^([a-z0-9/]+)\.((?:Test|Fuzz)\w+)$`)
)

// smashedPlaces fills the parameters of a path with what smashedSite has.
var smashedPlaces = strings.NewReplacer(
	"{pool}", "quarry", "{id}", "quarry", "{host}", "xmr.quarry-pool.net", "{address}", "45.60.1.2", "{port}", "3333", "{symbol}", "XMR", "{coin}", "XMR", "{name}", "alice",
)

// smashedChecker looks up what rows name.
type smashedChecker struct {
	handler     http.Handler
	token, keys string
	// prop is the number of a mining property.
	prop  string
	files map[string]string
}

func newSmashedChecker(t *testing.T) *smashedChecker {
	t.Helper()
	c := &smashedChecker{files: map[string]string{}}
	c.handler, _, c.token = smashedSite(t)
	keys, err := os.ReadFile("../../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	c.keys = string(keys)
	var props []struct{ ID json.Number }
	if err := json.Unmarshal(smashedBody(t, c.handler, "/miningProp/json"), &props); err != nil || len(props) == 0 {
		t.Fatal(props, err)
	}
	c.prop = props[0].ID.String()
	return c
}

// own says why what a row says of ours is not so, or "".
func (c *smashedChecker) own(t *testing.T, text string) string {
	t.Helper()
	switch route := smashedRoute.FindStringSubmatch(text); {
	case route != nil:
		return c.route(t, route[1], route[2])
	case strings.HasPrefix(text, "minecanary "):
		return hasCommand(text)
	case smashedField.MatchString(text):
		root, rest, _ := strings.Cut(text, ".")
		of := map[string]reflect.Type{"pools": reflect.TypeFor[catalog.Pool](), "coins": reflect.TypeFor[catalog.Coin]()}
		return hasField(of[root], strings.Split(rest, "."))
	case smashedKey.MatchString(text):
		if !strings.Contains(c.keys, "| `"+text+"` |") {
			return "docs/config.md has no such key"
		}
		return ""
	}
	return "it is no command, route, key or field"
}

// route wants an answer to a GET as admin, and to all else, as nobody, to be told that one may not.
func (c *smashedChecker) route(t *testing.T, method, path string) string {
	t.Helper()
	path = smashedPlaces.Replace(strings.ReplaceAll(path, "/miningProp/{id}", "/miningProp/"+c.prop))
	token, want := "", []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusSeeOther}
	switch {
	case method == http.MethodGet:
		token, want = c.token, []int{http.StatusOK}
	case path == "/api/v1/lookup":
		want = []int{http.StatusUnsupportedMediaType} // a question that anybody may ask
	}
	if got := smashedGet(t, c.handler, method, path, token).Code; !slices.Contains(want, got) {
		return fmt.Sprintf("the answer is %d", got)
	}
	return ""
}

// hasCommand looks a command and its flags up.
func hasCommand(text string) string {
	words := strings.Fields(text)
	c, rest, err := newRoot(env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}).Find(words[1:])
	if err != nil || !c.HasParent() || c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "there is no such command"
	}
	for _, word := range rest {
		if name, ok := strings.CutPrefix(word, "--"); ok && hasFlag(c, name) {
			continue
		}
		if strings.HasPrefix(word, "-") {
			return "there is no flag " + word
		}
	}
	return ""
}

func hasFlag(c *cobra.Command, name string) bool {
	return c.Flags().Lookup(name) != nil || c.InheritedFlags().Lookup(name) != nil
}

// hasField looks a field of catalogue files up by its names from a pool's or coin's on.
func hasField(t reflect.Type, names []string) string {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if len(names) == 0 {
		return ""
	}
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == names[0] {
			return hasField(f.Type, names[1:])
		}
	}
	return "catalogue files have no such field"
}

// test says why a named test is none, or "".
func (c *smashedChecker) test(t *testing.T, name string) string {
	t.Helper()
	if strings.HasSuffix(name, ".txtar") {
		name = filepath.Join("cmd/minecanary/testdata/script", name)
	}
	if ext := filepath.Ext(name); ext == ".txtar" || ext == ".sh" {
		if _, err := os.Stat(filepath.Join("../../..", name)); err != nil {
			return "there is no such script"
		}
		return ""
	}
	m := smashedTest.FindStringSubmatch(name)
	if m == nil {
		return "it is no test"
	}
	folder := m[1]
	if c.files[folder] == "" {
		names, err := filepath.Glob(filepath.Join("../../..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, n := range names {
			code, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(code)
		}
		c.files[folder] = b.String()
	}
	if !strings.Contains(c.files[folder], "\nfunc "+m[2]+"(") {
		return "there is no such test"
	}
	return ""
}

// wrong says what is wrong with a row of docs/smashed.md.
func (c *smashedChecker) wrong(t *testing.T, cells []string) []string {
	t.Helper()
	if len(cells) != 3 || slices.Contains(cells, "") {
		return []string{"it has not three cells, or an empty one"}
	}
	var out []string
	say := func(what, why string) {
		if why != "" {
			out = append(out, what+": "+why)
		}
	}
	for _, m := range smashedQuoted.FindAllStringSubmatch(cells[1], -1) {
		say(m[1], c.own(t, m[1]))
	}
	tests := smashedQuoted.FindAllStringSubmatch(cells[2], -1)
	if len(tests) == 0 {
		out = append(out, "it names no test")
	}
	for _, m := range tests {
		say(m[1], c.test(t, m[1]))
	}
	return out
}

// TestSmashedTable reads docs/smashed.md: every command, route, configuration key and field that a row names is there, and
// so is its test; and all that sMaSheD had has a row.
func TestSmashedTable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/smashed.md")
	if err != nil {
		t.Fatal(err)
	}
	c := newSmashedChecker(t)
	var theirs strings.Builder
	rows := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || strings.HasSuffix(line, "| test |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows++
		theirs.WriteString(cells[0] + "\n")
		for _, w := range c.wrong(t, cells) {
			t.Errorf("%s\n\t%s", line, w)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows", rows)
	}
	had := []string{
		"`POST /`", "`GET /dashboard`", "`GET /server/refresh`", "`POST /server`", "`GET /miningProp`", "`GET /miningProp/{id}`", "`GET /miningProp/{id}/json`",
		"`GET /miningProp/jsonHistoryAll`", "`GET /miningProp/refresh`", "`GET /miningProp/clear`", "`GET /miningProp/{id}/clear`", "`GET /api/user`",
		"`POST /authenticate`", "`GET /content`", "`RefreshServers`", "`RefreshMiningProperties`", "`mining.subscribe`", "`mining.authorize`", "`login`",
		"`eth_getWork`", "`eth_submitLogin`", "`getblocktemplate`", "UP", "DOWN", "LISTEN",
	}
	for _, table := range []string{"pools", "servers", "cryptos", "addresses", "ports", "miningProperties", "history", "users", "password_resets", "jobs", "failed_jobs", "tokens"} {
		had = append(had, "`"+table+"`")
	}
	for _, table := range []string{"pool", "server", "crypto", "port", "address"} {
		for _, route := range []string{"GET /%s", "GET /%s/json", "GET /%s/create", "POST /%s", "GET /%s/{id}", "GET /%s/{id}/edit", "PATCH /%s/{id}", "DELETE /%s/{id}/destroy"} {
			had = append(had, "`"+fmt.Sprintf(route, table)+"`")
		}
	}
	for _, what := range had {
		if !strings.Contains(theirs.String(), what) {
			t.Errorf("there is no row for %s", what)
		}
	}
}

// TestSmashedChecker wants the checker to find what is wrong with a row.
func TestSmashedChecker(t *testing.T) {
	c := newSmashedChecker(t)
	for _, tt := range []struct {
		own, test, want string
	}{
		{"`GET /pools`, `minecanary lookup --at`, `api.listen`, `pools.servers.endpoints.port`, `coins.source`", "`intel/web.TestPages`, `serve.txtar`", ""},
		{"`POST /pools/{pool}/edit`, `DELETE /api/v1/tokens/{name}`, `POST /api/v1/lookup`, `GET /miningProp/{id}/json`", "`intel/web.TestPages`", ""},
		{"words", "none", "it names no test"},
		{"", "`intel/web.TestPages`", "it has not three cells, or an empty one"},
		{"x", "`intel/web.TestNothing`", "there is no such test"},
		{"x", "`intel/web.Pages`", "it is no test"},
		{"x", "`nothing.TestPages`", "there is no such test"},
		{"x", "`nothing.txtar`", "there is no such script"},
		{"x", "`test/nothing.sh`", "there is no such script"},
		{"`GET /nothing`", "`serve.txtar`", "the answer is 404"},
		{"`POST /nothing`", "`serve.txtar`", "the answer is 404"},
		{"`GET /api/v1/nothing`", "`serve.txtar`", "the answer is 404"},
		{"`DELETE /api/v1/stats`", "`serve.txtar`", "the answer is 405"},
		{"`GET /servers/nothing.net`", "`serve.txtar`", "the answer is 404"},
		{"`minecanary nothing`", "`serve.txtar`", "there is no such command"},
		{"`minecanary catalogue nothing`", "`serve.txtar`", "there is no such command"},
		{"`minecanary lookup --nothing`", "`serve.txtar`", "there is no flag --nothing"},
		{"`api.nothing`", "`serve.txtar`", "docs/config.md has no such key"},
		{"`pools.servers.nothing`", "`serve.txtar`", "catalogue files have no such field"},
		{"`Nothing`", "`serve.txtar`", "it is no command, route, key or field"},
	} {
		got := strings.Join(c.wrong(t, []string{"x", tt.own, tt.test}), "; ")
		if (got == "") != (tt.want == "") || !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s, %s: %q, want %q", tt.own, tt.test, got, tt.want)
		}
	}
}

// TestSmashedGone has the paths by which sMaSheD let anybody in, and changed what it had when it was read.
func TestSmashedGone(t *testing.T) {
	h, known, token := smashedSite(t)
	for _, path := range []string{
		"/register", "/password/reset", "/server/refresh", "/miningProp/refresh", "/miningProp/clear", "/miningProp/1/clear", "/pool/1/destroy", "/authenticate",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if got := smashedGet(t, h, method, path, token).Code; got != http.StatusNotFound && got != http.StatusMethodNotAllowed {
				t.Errorf("%s %s gives %d", method, path, got)
			}
		}
	}
	if got := len(smashedRows(known.Layer().Pools, false, true, func(string) bool { return true })); got < 400 {
		t.Errorf("%d rows are left", got)
	}
}

// TestSmashedHosts asks by names that are not ours: a page elsewhere may lead its own name here.
func TestSmashedHosts(t *testing.T) {
	h, _, _ := smashedSite(t)
	for host, want := range map[string]int{
		"127.0.0.1": http.StatusOK, "127.0.0.1:9480": http.StatusOK, "[::1]:9480": http.StatusOK, "LocalHost.:9480": http.StatusOK, "192.0.2.1": http.StatusOK,
		"evil.net": http.StatusMisdirectedRequest, "evil.net:9480": http.StatusMisdirectedRequest, "localhost.evil.net": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/", "/pool/json", "/content", "/api/v1/pools"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s of %q gives %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

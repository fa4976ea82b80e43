package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// described gives openapi.json as the API sends it.
func described(tb testing.TB) *openapi3.T {
	tb.Helper()
	rec := httptest.NewRecorder()
	api.New(api.Config{}).ServeHTTP(rec, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, api.Prefix+"/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// TestDescription holds operations, their parameters and who may use them against openapi.yaml.
func TestDescription(t *testing.T) {
	doc := described(t)
	if doc.Info.Title != api.Title {
		t.Errorf("the title is %q", doc.Info.Title)
	}
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+strings.TrimPrefix(path, api.Prefix)] = true
		}
	}
	for _, op := range api.Operations() {
		name := op.Method + " " + op.Path
		if !described[name] {
			t.Errorf("%s is not described", name)
			continue
		}
		delete(described, name)
		o := doc.Paths.Value(api.Prefix + op.Path).GetOperation(op.Method)
		var query []string
		for _, p := range o.Parameters {
			if p.Value.In != "query" {
				continue
			}
			query = append(query, p.Value.Name)
			if p.Value.Name != "sort" {
				continue
			}
			want := []any{}
			for _, prefix := range []string{"", "-"} {
				for _, s := range api.Lists()[op.Path] {
					want = append(want, prefix+s)
				}
			}
			if diff := cmp.Diff(want, p.Value.Schema.Value.Enum); diff != "" {
				t.Errorf("%s sort: %s", name, diff)
			}
		}
		wantQuery := slices.Clone(op.Query)
		slices.Sort(query)
		slices.Sort(wantQuery)
		if diff := cmp.Diff(wantQuery, query); diff != "" {
			t.Errorf("%s parameters: %s", name, diff)
		}
		security := o.Security
		if security == nil {
			security = &doc.Security
		}
		open := slices.ContainsFunc(*security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
		if open != (op.Role == "" || op.Role == accounts.Viewer) {
			t.Errorf("%s: described as open: %v, needs %q", name, open, op.Role)
		}
	}
	for name := range described {
		t.Errorf("%s is described but not there", name)
	}
}

// place fills in a path's parameters with what is there.
func place(path string) string {
	return strings.NewReplacer("{id}", "alpha", "{host}", "eu.alpha.net", "{address}", "9.9.9.1", "{port}", "3333", "{symbol}", "XMR", "{name}", "nobody").Replace(path)
}

// TestRoles is every operation as every role, where everybody may read and where nobody may.
func TestRoles(t *testing.T) {
	for _, anonymous := range []accounts.Role{"", accounts.Viewer, accounts.Admin} { // nobody becomes admin without a login
		w := newWorld(t, anonymous)
		for _, op := range api.Operations() {
			for _, role := range append([]accounts.Role{""}, accounts.Roles()...) {
				want := 0
				switch is := role; {
				case is == "" && anonymous == accounts.Viewer && op.Role == accounts.Viewer:
				case is == "" && op.Role != "":
					want = http.StatusUnauthorized
				case !is.Allows(op.Role):
					want = http.StatusForbidden
				}
				for _, method := range []string{op.Method, http.MethodHead} {
					if method == http.MethodHead && op.Method != http.MethodGet {
						continue
					}
					res := w.do(t, request{method: method, path: api.Prefix + place(op.Path), role: role, body: "{}"})
					refused := 0
					if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
						refused = res.StatusCode
					}
					if refused != want || res.StatusCode >= 500 {
						t.Errorf("%s %s as %q where anonymous is %q: %d, want %d", method, op.Path, role, anonymous, res.StatusCode, want)
					}
					if challenge := res.Header.Get("WWW-Authenticate"); (challenge != "") != (want == http.StatusUnauthorized) {
						t.Errorf("%s %s: challenge %q", method, op.Path, challenge)
					}
				}
			}
		}
	}
	w := newWorld(t, accounts.Viewer)
	if res := w.do(t, request{method: "GET", path: "/api/v1/pools", header: map[string]string{"Authorization": "Bearer mcy_wrong"}}); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token gives %d", res.StatusCode)
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodDelete, "/api/v1/pools/alpha", nil))
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("without the middleware: %d", rec.Code)
	}
}

// TestAnswers is what each path answers to good and bad requests. Every answer is held against the contract.
func TestAnswers(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	for _, tt := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/lookup?q=eu.alpha.net", 200, `"known":true`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2026-05-01T10:00:00Z", 200, `"status":"confirmed"`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2026-05-01T12:00:00%2b02:00", 200, `"status":"confirmed"`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2026-05-01t12:00:00+02:00", 200, `"status":"confirmed"`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2025-12-31T23:59:60Z", 200, `"known":false`},
		{"GET", "/lookup?q=9.9.9.0/24&limit=1", 200, `"more":true`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2026-05-02", 200, `"at":"2026-05-02T00:00:00Z","known":true`},
		{"GET", "/lookup?q=9.9.9.1:3333&at=2025-03-03", 200, `"known":false`},
		{"GET", "/lookup?q=8.8.8.8", 200, `"matches":[]`},
		{"GET", "/lookup?q=bitcoin", 200, `"kind":"words"`},
		{"GET", "/lookup", 400, "missing"},
		{"GET", "/lookup?q=", 400, "1 to 300"},
		{"GET", "/lookup?q=" + strings.Repeat("x", 301), 400, "1 to 300"},
		{"GET", "/lookup?q=" + strings.Repeat("ä", 300), 422, "300 bytes"},
		{"GET", "/lookup?q=a.net:0", 422, "no port"},
		{"GET", "/lookup?q=a&q=b", 400, "2 times"},
		{"GET", "/lookup?q=a&x=%3Cscript%3E", 400, "no parameter"},
		{"GET", "/lookup?q=%zz", 400, "cannot be read"},
		{"GET", "/lookup?q=a&limit=0", 400, "1 to 1000"},
		{"GET", "/lookup?q=a&limit=1001", 400, "1 to 1000"},
		{"GET", "/lookup?q=a&limit=%2B1", 400, "1 to 1000"},
		{"GET", "/lookup?q=a&at=yesterday", 400, "a day like"},
		{"GET", "/lookup?q=a&at=2025-02-30", 400, "a day like"},
		{"GET", "/lookup?q=a&at=1969-12-31", 422, "between the years"},
		{"GET", "/lookup?q=a&at=0000-01-01T00:00:00%2B10:00", 422, "between the years"},
		{"GET", "/pools?q=ALPHA", 200, `"total":1`},
		{"GET", "/pools?coin=BTC", 200, `"id":"beta"`},
		{"GET", "/pools?kind=solo", 200, `"total":1`},
		{"GET", "/pools?kind=ponzi", 400, "one of public"},
		{"GET", "/pools?sort=coins", 400, "sort has to be"},
		{"GET", "/pools?cursor=eA", 422, "cursor"},
		{"GET", "/pools?cursor=" + strings.Repeat("e", 5000), 422, "cursor"},
		{"GET", "/pools/alpha", 200, `"Alpha Pool"`},
		{"GET", "/pools/gamma", 404, "no such pool"},
		{"GET", "/pools/..", 404, "nothing at this path"},
		{"GET", "/pools/%2e%2e/pools", 404, "nothing at this path"},
		{"GET", "//pools", 404, "nothing at this path"},
		{"GET", "/pools/", 404, "nothing at this path"},
		{"GET", "/servers?pool=alpha&q=EU", 200, `"total":1`},
		{"GET", "/servers/EU.alpha.net.", 200, `"chain":["eu.cdn.net"]`},
		{"GET", "/servers/eu.alpha.net?at=2026-05-01T08:30:00Z", 200, `"code":"SERVFAIL"`},
		{"GET", "/servers/eu.alpha.net?known_at=2026-05-01T11:00:00Z", 200, `"resolved":[]`},
		{"GET", "/servers/eu.alpha.net?known_at=2026-05-01", 200, `"resolved":[]`},
		{"GET", "/servers/9.9.9.20", 200, `"pools":["beta"]`},
		{"GET", "/servers/::ffff:9.9.9.20", 200, `"pools":["beta"]`},
		{"GET", "/servers/9.9.9.21", 404, "no such server"},
		{"GET", "/endpoints?pool=alpha&coin=XMR&port=3333&tls=false&dialect=cryptonote&status=node&kind=public&q=monero", 200, `"total":0`},
		{"GET", "/endpoints?status=confirmed", 200, `"total":1`},
		{"GET", "/endpoints?status=unknown&tls=true", 200, `"total":2`},
		{"GET", "/endpoints?port=65536", 400, "65535"},
		{"GET", "/endpoints?tls=maybe", 400, "true, false"},
		{"GET", "/endpoints/9.9.9.1/3333/history", 200, `\u003cscript\u003e`},
		{"GET", "/endpoints/::ffff:9.9.9.1/3333/history", 200, `"answered":false`},
		{"GET", "/endpoints/9.9.9.1/3333/history?at=2026-05-01T08:00:00Z&known_at=2026-05-01T08:00:00Z", 200, `"states":[]`},
		{"GET", "/endpoints/9.9.9.50/8080/history", 200, `"status":"not-pool"`},
		{"GET", "/endpoints/9.9.9.1/443/history", 200, `"states":[]`},
		{"GET", "/endpoints/8.8.8.8/443/history", 404, "no such endpoint"},
		{"GET", "/endpoints/9.9.9.1/0443/history", 404, "no such endpoint"},
		{"GET", "/endpoints/fe80::1%25eth0/443/history", 404, "no such endpoint"},
		{"GET", "/addresses?name=EU.alpha.net", 200, `"total":2`},
		{"GET", "/addresses?name=none.net", 200, `"total":0`},
		{"GET", "/coins?q=mon", 200, `"total":1`},
		{"GET", "/coins/XMR", 200, "xmrchain"},
		{"GET", "/coins/xmr", 404, "no such coin"},
		{"GET", "/ports?coin=BTC", 200, `"port":3333`},
		{"GET", "/export", 200, `"servers":[{"name":"eu.alpha.net","region":"eu",`},
		{"GET", "/stats", 200, `"statuses":{"confirmed":1`},
		{"GET", "/sweep", 200, `"enabled":true`},
		{"GET", "/holds", 200, `"total":0`},
		{"GET", "/nothing", 404, "nothing at this path"},
		{"PATCH", "/pools", 405, "GET, HEAD, OPTIONS, POST"},
		{"TRACE", "/pools", 405, "GET, HEAD, OPTIONS, POST"},
		{"OPTIONS", "/pools", 204, ""},
		{"HEAD", "/pools", 200, ""},
		{"HEAD", "/pools/gamma", 404, ""},
		{"GET", "/openapi.json", 200, `"openapi":"3.1.0"`},
		{"GET", "/openapi.yaml", 200, "openapi: 3.1.0"},
	} {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 80)], func(t *testing.T) {
			res := w.do(t, request{method: tt.method, path: api.Prefix + tt.path})
			got := res.body
			if res.StatusCode != tt.status || !strings.Contains(got, tt.has) {
				t.Errorf("%d %s", res.StatusCode, got)
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(res.Header.Get("Content-Type"), "html") {
				t.Errorf("headers %v", res.Header)
			}
			for name := range res.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s lets other sites in", name)
				}
			}
			if tt.method == "OPTIONS" && res.Header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
				t.Errorf("allow %q", res.Header.Get("Allow"))
			}
		})
	}
}

// TestUnlisted wants what only the history knows in the lists and counts, and told apart.
func TestUnlisted(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	span := lookup.Span{From: now.AddDate(0, 0, -1), LastSeen: now, Until: now.AddDate(0, 0, 1), Learnt: now}
	answer := lookup.Answer{Status: minecanary.Confirmed, Dialect: "cryptonote", Coin: "monero", Span: span}
	for _, ep := range []string{"9.9.9.60:4444", "9.9.9.1:5555"} { // 9.9.9.1 is eu.alpha.net's as well
		w.index.SetAnswers(endpoint(ep), []lookup.Answer{answer})
	}
	get := func(path string) string {
		t.Helper()
		res := w.do(t, request{method: "GET", path: api.Prefix + path})
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s gives %d", path, res.StatusCode)
		}
		return res.body
	}
	for path, want := range map[string]string{
		"/endpoints?port=4444":                   `"address":"9.9.9.60","port":4444,"tls":false,"coin":"monero","dialect":"cryptonote","status":"confirmed"`,
		"/endpoints?status=confirmed":            `"total":3`,
		"/endpoints?status=confirmed&pool=alpha": `"total":1`,
		"/endpoints?status=confirmed&sort=layer": `"layer":"history"`,
		"/endpoints?status=not-pool":             `"total":0`, // 9.9.9.50 never was a pool
		"/addresses?sort=-layer&limit=1":         `{"address":"9.9.9.60","pools":[],"from":"2026-04-30T12:00:00Z","last_seen":"2026-05-01T12:00:00Z","layer":"history"}`,
		"/addresses":                             `"total":4`,
		"/addresses?name=eu.alpha.net":           `"total":2`,
		"/stats":                                 `"endpoints":5,"unlisted":2,"ports":2,"addresses":4,"statuses":{"confirmed":3,`,
		"/lookup?q=9.9.9.60":                     `"layer":"history"`,
		"/lookup?q=9.9.9.60:4444&at=2026-04-29":  `"known":false`,
	} {
		if got := get(path); !strings.Contains(got, want) {
			t.Errorf("%s gives %s, want %s", path, got, want)
		}
	}
	if got := get("/addresses"); strings.Count(got, `"history"`) != 1 {
		t.Errorf("an address of a server is told as if only the history knew it: %s", got)
	}
}

func TestAccept(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	for _, tt := range []struct{ path, accept, want string }{
		{"/pools", "", "application/json"},
		{"/pools", "*/*", "application/json"},
		{"/pools", "text/csv", "text/csv; charset=utf-8; header=present"},
		{"/pools", "text/*;q=0.5, application/x-ndjson;q=0.9", "application/x-ndjson"},
		{"/pools", "application/json;q=0.1, TEXT/CSV", "text/csv; charset=utf-8; header=present"},
		{"/pools", "application/json;q=0, */*", "application/x-ndjson"},
		{"/pools", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"},
		{"/pools", "text/html", ""},
		{"/pools", "application/json;q=x", ""},
		{"/pools", "application/json;q=0", ""},
		{"/pools/alpha", "text/csv", ""},
		{"/lookup?q=9.9.9.1", "text/csv", "text/csv; charset=utf-8; header=present"},
		{"/lookup?q=9.9.9.1", "application/x-ndjson", "application/x-ndjson"},
		{"/openapi.yaml", "application/json", ""},
		{"/export", "application/yaml", "application/yaml"},
		{"/export", "text/csv", ""},
		{"/changes", "text/csv", "text/csv; charset=utf-8; header=present"},
	} {
		header := map[string]string{}
		if tt.accept != "" {
			header["Accept"] = tt.accept
		}
		res := w.do(t, request{method: "GET", path: api.Prefix + tt.path, role: accounts.Admin, header: header})
		want, status := tt.want, http.StatusOK
		if want == "" {
			want, status = "application/problem+json", http.StatusNotAcceptable
		}
		if got := res.Header.Get("Content-Type"); got != want || res.StatusCode != status {
			t.Errorf("%s with Accept %q gives %d %s", tt.path, tt.accept, res.StatusCode, got)
		}
	}
}

func TestETag(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	for _, op := range api.Operations() {
		if op.Method != http.MethodGet {
			continue
		}
		path := api.Prefix + place(op.Path)
		if op.Path == "/lookup" {
			path += "?q=3333"
		}
		first := w.do(t, request{method: "GET", path: path, role: accounts.Admin})
		tag := first.Header.Get("ETag")
		if first.StatusCode != http.StatusOK || tag == "" {
			t.Errorf("%s gives %d with ETag %q", path, first.StatusCode, tag)
		}
		for header, want := range map[string]int{tag: 304, `"x", W/` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
			res := w.do(t, request{method: "GET", path: path, role: accounts.Admin, header: map[string]string{"If-None-Match": header}})
			if got := res.body; res.StatusCode != want || res.Header.Get("ETag") != tag || (got == "") != (want == 304) {
				t.Errorf("%s with %s gives %d %s", path, header, res.StatusCode, got)
			}
		}
	}
	json := w.do(t, request{method: "GET", path: "/api/v1/pools"}).Header.Get("ETag")
	csv := w.do(t, request{method: "GET", path: "/api/v1/pools", header: map[string]string{"Accept": "text/csv"}}).Header.Get("ETag")
	if json == csv {
		t.Error("JSON and CSV have one ETag")
	}
}

func TestCSV(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	csv := map[string]string{"Accept": "text/csv"}
	got := w.do(t, request{method: "GET", path: "/api/v1/pools", header: csv}).body
	want := "id,name,url,operator,kind,servers,endpoints,coins,source,as_of,confidence,layer\r\n" +
		"alpha,Alpha Pool,https://alpha.net/,,public,2,3,XMR,https://alpha.net/help,2026-04-21,high,rows.yaml\r\n" +
		"beta,'=Beta(),,,solo,1,2,BTC,,,,rows.yaml\r\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = w.do(t, request{method: "GET", path: "/api/v1/lookup?q=-1%2C%22a", header: csv}).body
	if line := strings.Split(got, "\r\n")[1]; !strings.HasPrefix(line, `"'-1,""a",false,`) {
		t.Error(line)
	}
	got = w.do(t, request{method: "GET", path: "/api/v1/endpoints?status=confirmed", header: csv}).body
	if !strings.Contains(got, ",'@SUM(1) said a server,") {
		t.Error(got)
	}
	got = w.do(t, request{method: "GET", path: "/api/v1/pools", header: map[string]string{"Accept": "application/x-ndjson"}}).body
	if lines := strings.Split(got, "\n"); len(lines) != 3 || !json.Valid([]byte(lines[0])) || !json.Valid([]byte(lines[1])) {
		t.Error(got)
	}
}

func TestBulk(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	type bulk struct {
		Results []struct {
			Query, Error string
			Known        bool
		}
	}
	post := func(q request) (*reply, bulk) {
		t.Helper()
		q.method, q.path = "POST", "/api/v1/lookup"+q.path
		res := w.do(t, q)
		var b bulk
		if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
			if err := json.Unmarshal([]byte(res.body), &b); err != nil {
				t.Fatal(err)
			}
		}
		return res, b
	}
	_, b := post(request{body: `{"queries":["9.9.9.1","8.8.8.8","a.net:0","","9.9.9.1"],"at":"2026-05-01T10:00:00Z"}`})
	var got []string
	for _, r := range b.Results {
		got = append(got, fmt.Sprint(r.Query, r.Known, r.Error))
	}
	want := []string{"9.9.9.1true", "8.8.8.8false", `a.net:0false"0" is no port`, "falsean empty question", "9.9.9.1true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	text := map[string]string{"Content-Type": "text/plain; charset=utf-8", "Accept": "application/x-ndjson"}
	res, _ := post(request{body: "# seen\n9.9.9.1 # twice\r\n\n #\n  8.8.8.8", header: text})
	if lines := strings.Split(strings.TrimSpace(res.body), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], `{"query":"8.8.8.8"`) {
		t.Error(lines)
	}
	text["Accept"] = "text/csv"
	res, _ = post(request{body: "9.9.9.1\n8.8.8.8", header: text})
	if lines := strings.Split(strings.TrimSpace(res.body), "\r\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "query,known,pool,") || !strings.HasPrefix(lines[3], "8.8.8.8,false,") {
		t.Error(lines)
	}
	res, b = post(request{body: `{"queries":[` + strings.Repeat(`"9.9.9.1",`, api.MaxBulk-1) + `"8.8.8.8"]}`})
	if res.StatusCode != 200 || len(b.Results) != api.MaxBulk {
		t.Error(res.StatusCode, len(b.Results))
	}
	for _, tt := range []struct {
		request
		status int
	}{
		{request{body: `{"queries":[` + strings.Repeat(`"9.9.9.1",`, api.MaxBulk) + `"8.8.8.8"]}`}, 400},
		{request{body: `{"queries":[]}`}, 400},
		{request{body: `{"queries":null}`}, 400},
		{request{body: `{"queries":["a"],"at":""}`}, 400},
		{request{body: `{"queries":["a"],"Queries":["a"]}`}, 400},
		{request{body: `{"queries":["a"],"queries":["a"]}`}, 400},
		{request{body: `{"queries":["a"]}{}`}, 400},
		{request{body: `{"queries":[1]}`}, 400},
		{request{body: `["a"]`}, 400},
		{request{body: `{"queries":` + strings.Repeat("[", 10_000)}, 400},
		{request{body: `{"queries":["` + strings.Repeat("a", api.MaxBody) + `"]}`}, 413},
		{request{body: strings.Repeat("a\n", api.MaxBody), header: map[string]string{"Content-Type": "text/plain"}}, 413},
		{request{body: "\n", header: map[string]string{"Content-Type": "text/plain"}}, 422},
		{request{body: "# a\n", header: map[string]string{"Content-Type": "text/plain"}}, 422},
		{request{body: `{"queries":["a"],"at":"2025-03-03"}`}, 200},
		{request{body: `{"queries":["a"],"at":"2025-3-3"}`}, 400},
		{request{body: "a", header: map[string]string{"Content-Type": "text/html"}}, 415},
		{request{body: "a", header: map[string]string{"Content-Type": "text/plain; charset=utf-16"}}, 415},
		{request{body: `{"queries":["a"]}`, path: "?limit=101"}, 400},
		{request{body: `{"queries":["a"]}`, header: map[string]string{"Accept": "text/html"}}, 406},
	} {
		if res, _ := post(tt.request); res.StatusCode != tt.status {
			t.Errorf("%.60s gives %d, want %d: %s", tt.body, res.StatusCode, tt.status, res.body)
		}
	}
}

// TestExport: what is exported is the catalogue again when it is imported.
func TestExport(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	get := func(w *world) string {
		t.Helper()
		return w.do(t, request{method: "GET", path: "/api/v1/export", header: map[string]string{"Accept": "application/yaml"}}).body
	}
	file := get(w)
	layer, problems := catalog.Parse("all.yaml", []byte(file))
	if len(problems) > 0 || len(layer.Pools) != 2 || len(layer.Coins) != 2 {
		t.Fatal(problems, file)
	}
	if diff := cmp.Diff(file, get(newWorld(t, accounts.Viewer, layer))); diff != "" {
		t.Error(diff)
	}
}

// TestCoinOpen: rows that do not tell their coin, as imports have them, keep to the contract.
func TestCoinOpen(t *testing.T) {
	layer, problems := catalog.Parse("open.yaml", []byte("pools: [{id: open, name: Open, servers: [{name: a.open.net, endpoints: [{port: 1}]}, {address: 9.9.9.9}]}]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := newWorld(t, accounts.Viewer, layer)
	for _, path := range []string{"/pools", "/pools/open", "/servers", "/servers/a.open.net", "/endpoints", "/ports", "/export", "/stats", "/lookup?q=a.open.net"} {
		if res := w.do(t, request{method: "GET", path: api.Prefix + path}); res.StatusCode != http.StatusOK || strings.Contains(res.body, `"coins":[""]`) {
			t.Errorf("%s gives %d %s", path, res.StatusCode, res.body)
		}
	}
}

// TestAlone is an API without anything that may be missing.
func TestAlone(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	cfg := api.Config{Register: w.register, Index: w.index, Anonymous: accounts.Viewer}
	w.handler = w.accounts.Middleware(api.New(cfg))
	for path, want := range map[string]int{"/servers/eu.alpha.net": 200, "/endpoints/9.9.9.1/3333/history": 200, "/sweep": 200, "/holds": 200, "/changes": 200, "/users": 409, "/tokens": 409} {
		if res := w.do(t, request{method: "GET", path: api.Prefix + path, role: accounts.Admin}); res.StatusCode != want {
			t.Errorf("%s gives %d", path, res.StatusCode)
		}
	}
	for _, q := range []request{
		{method: "DELETE", path: "/pools/alpha"},
		{method: "POST", path: "/resolve", body: `{"names":["eu.alpha.net"]}`},
		{method: "PUT", path: "/holds/9.9.9.1/3333", body: `{}`},
		{method: "POST", path: "/users", body: `{"name":"a","role":"viewer","password":"1234567890"}`},
	} {
		q.path, q.role = api.Prefix+q.path, accounts.Admin
		if res := w.do(t, q); res.StatusCode != http.StatusConflict {
			t.Errorf("%s gives %d", q.path, res.StatusCode)
		}
	}
}

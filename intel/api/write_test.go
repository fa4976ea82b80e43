package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/sweep"
)

const gamma = `{"id":"gamma","name":"Gamma","kind":"proxy","servers":[{"name":"Stratum.Gamma.NET.","endpoints":[{"port":3333,"coin":"XMR"}]}]}`

// step is one of several requests as an analyst, in order.
type step struct {
	request
	status int
	has    string
}

func (w *world) steps(t *testing.T, steps []step) {
	t.Helper()
	for i, s := range steps {
		s.path = api.Prefix + s.path
		if s.role == "" {
			s.role = accounts.Analyst
		}
		res := w.do(t, s.request)
		if got := res.body; res.StatusCode != s.status || !strings.Contains(got, s.has) {
			t.Fatalf("step %d: %s %s gives %d %s, want %d %s", i+1, s.method, s.path, res.StatusCode, got, s.status, s.has)
		}
	}
}

// journaled gives the journal as "who action object", the oldest first; a plus stands for a value before or after.
func (w *world) journaled(t *testing.T) []string {
	t.Helper()
	entries, skipped, err := w.journal.Read(0, 1000)
	if err != nil || skipped > 0 {
		t.Fatal(err, skipped)
	}
	var out []string
	for _, e := range slices.Backward(entries) {
		mark := func(v json.RawMessage) string { return map[bool]string{true: "+", false: "-"}[len(v) > 0] }
		out = append(out, fmt.Sprintf("%s %s %s %s%s", e.Who, e.Action, e.Object, mark(e.Before), mark(e.After)))
	}
	return out
}

func TestPools(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	tag := func(path string) string {
		return w.do(t, request{method: "GET", path: api.Prefix + path}).Header.Get("ETag")
	}
	w.steps(t, []step{
		{request{method: "POST", path: "/pools", body: gamma}, 201, `"name":"stratum.gamma.net"`},
		{request{method: "POST", path: "/pools", body: gamma}, 409, "there is such a pool"},
		{request{method: "GET", path: "/lookup?q=stratum.gamma.net"}, 200, `"layer":"edited"`},
		{request{method: "PUT", path: "/pools/gamma", body: strings.Replace(gamma, "Gamma", "Γάμμα", 1)}, 200, "Γάμμα"},
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-None-Match": "*"}}, 412, ""},
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-Match": `"x"`}}, 412, ""},
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-None-Match": "{}"}}, 412, "ETags"},
		{request{method: "PUT", path: "/pools/epsilon", body: `{"name":"E","kind":"solo","servers":[{"name":"a.net","endpoints":[{"port":3.333E3,"coin":"XMR"},{"port":1.0,"coin":"XMR"}]}]}`}, 201, `"port":3333,`},
		{request{method: "DELETE", path: "/pools/epsilon"}, 204, ""},
		{request{method: "PUT", path: "/pools/delta", body: gamma}, 422, "not that of the path"},
		{request{method: "PUT", path: "/pools/delta", body: `{"name":"D","kind":"solo"}`, header: map[string]string{"If-Match": "*"}}, 412, ""},
		{request{method: "PUT", path: "/pools/delta", body: `{"name":"D","kind":"solo"}`, header: map[string]string{"If-None-Match": "*"}}, 201, `"servers":[]`},
	})
	before := tag("/pools/gamma")
	w.steps(t, []step{
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-Match": "W/" + before}}, 412, ""},
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-Match": before}}, 200, ""},
		{request{method: "PUT", path: "/pools/gamma", body: gamma, header: map[string]string{"If-Match": before}}, 412, ""},
		{request{method: "DELETE", path: "/pools/gamma", header: map[string]string{"If-Match": before}}, 412, ""},
	})
	// What GET sends can be sent back, and what PUT answers has the ETag that GET will.
	sent := w.do(t, request{method: "PUT", path: "/api/v1/pools/alpha", role: accounts.Analyst, body: w.do(t, request{method: "GET", path: "/api/v1/pools/alpha"}).body})
	if sent.StatusCode != 200 || sent.Header.Get("ETag") != tag("/pools/alpha") {
		t.Error(sent.StatusCode, sent.Header.Get("ETag"), tag("/pools/alpha"))
	}
	w.steps(t, []step{
		{request{method: "DELETE", path: "/pools/gamma"}, 204, ""},
		{request{method: "DELETE", path: "/pools/gamma"}, 404, ""},
		{request{method: "DELETE", path: "/pools/alpha"}, 204, ""},
		{request{method: "GET", path: "/pools/alpha"}, 404, ""},
		{request{method: "GET", path: "/lookup?q=eu.alpha.net"}, 200, `"known":false`},
	})
	want := []string{
		"token test-analyst pool.put gamma -+", "token test-analyst pool.put gamma ++", "token test-analyst pool.put epsilon -+",
		"token test-analyst pool.remove epsilon +-", "token test-analyst pool.put delta -+",
		"token test-analyst pool.put gamma ++", "token test-analyst pool.put alpha ++", "token test-analyst pool.remove gamma +-",
		"token test-analyst pool.remove alpha +-",
	}
	if diff := cmp.Diff(want, w.journaled(t)); diff != "" {
		t.Error(diff)
	}
}

func TestPoolsRefused(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	pool := func(member string) string {
		return `{"id":"gamma","name":"Gamma","kind":"proxy",` + member + `}`
	}
	for _, tt := range []struct {
		body   string
		status int
		has    string
	}{
		{``, 415, "application/json"},
		{`{`, 400, "no JSON"},
		{`null`, 400, "no JSON object"},
		{`{"id":"gamma"}`, 422, "must have a name"},
		{pool(`"url":null`), 400, "null"},
		{pool(`"url":7`), 400, "cannot be"},
		{pool(`"Url":"x"`), 400, "no member"},
		{pool(`"color":"x"`), 400, "unknown field"},
		{pool(`"id":"x"`), 400, "twice"},
		{pool(`"url":"javascript:alert(1)"`), 422, "no web address"},
		{pool(`"note":"a\u202eb"`), 422, "cannot be printed"},
		{pool(`"operator":"` + strings.Repeat("x", catalog.MaxText+1) + `"`), 422, "longer"},
		{pool(`"as_of":"2026-02-30"`), 422, "no day"},
		{pool(`"servers":[{"endpoints":[]}]`), 422, "name or an address"},
		{pool(`"servers":[{"name":"pool.example.com","endpoints":[]}]`), 422, "reserved"},
		{pool(`"servers":[{"address":"10.0.0.1","endpoints":[]}]`), 422, "reserved"},
		{pool(`"servers":[{"address":"10.0.0","endpoints":[]}]`), 422, "wrong"},
		{pool(`"servers":[{"address":"::ffff:10.0.0.1","endpoints":[]}]`), 422, "reserved"},
		{pool(`"servers":[{"name":"a.net","endpoints":[{"port":0,"coin":"XMR"}]}]`), 422, "1 to 65535"},
		{pool(`"servers":[{"name":"a.net","endpoints":[{"port":65536,"coin":"XMR"}]}]`), 400, "cannot be"},
		{pool(`"servers":[{"name":"a.net","endpoints":[{"port":1,"coin":"NOPE"}]}]`), 422, "no coin"},
		{pool(`"note":"` + strings.Repeat("x", api.MaxBody) + `"`), 413, "larger"},
		{pool(`"servers":[{"name":"a.net","endpoints":[{"port":3333.5,"coin":"XMR"}]}]`), 400, "cannot be"},
		{pool(`"servers":` + strings.Repeat("[", api.MaxDepth) + strings.Repeat("]", api.MaxDepth)), 400, "nested deeper"},
	} {
		q := request{method: "POST", path: "/api/v1/pools", role: accounts.Analyst, body: tt.body}
		if res := w.do(t, q); res.StatusCode != tt.status || !strings.Contains(res.body, tt.has) {
			t.Errorf("%.100s gives %d %s, want %d %s", tt.body, res.StatusCode, res.body, tt.status, tt.has)
		}
	}
	if got := w.journaled(t); got != nil {
		t.Error(got)
	}
}

func TestCoins(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	const coin = `{"symbol":"NEW","name":"New","algorithm":"randomx","dialect":"cryptonote"}`
	w.steps(t, []step{
		{request{method: "POST", path: "/coins", body: coin}, 201, ""},
		{request{method: "POST", path: "/coins", body: coin}, 409, ""},
		{request{method: "POST", path: "/coins", body: strings.Replace(coin, "randomx", "RandomX", 1)}, 409, ""},
		{request{method: "PUT", path: "/coins/NEW", body: strings.Replace(coin, "randomx", "RandomX", 1)}, 422, "lower-case"},
		{request{method: "PUT", path: "/coins/NEW", body: strings.Replace(coin, "randomx", "kawpow", 1)}, 200, "kawpow"},
		{request{method: "PUT", path: "/coins/OTHER", body: coin}, 422, "path"},
		{request{method: "PUT", path: "/coins/OTHER", body: `{"name":"O","algorithm":"x","dialect":"grin"}`}, 201, ""},
		{request{method: "POST", path: "/pools", body: strings.Replace(gamma, "XMR", "NEW", 1)}, 201, `"algorithm":"kawpow"`},
		{request{method: "DELETE", path: "/coins/NEW"}, 409, "1 endpoints"},
		{request{method: "DELETE", path: "/coins/XMR"}, 409, "file"},
		{request{method: "DELETE", path: "/coins/NOPE"}, 404, ""},
		{request{method: "DELETE", path: "/pools/gamma"}, 204, ""},
		{request{method: "DELETE", path: "/coins/NEW", header: map[string]string{"If-Match": `"x"`}}, 412, ""},
		{request{method: "DELETE", path: "/coins/NEW"}, 204, ""},
		{request{method: "GET", path: "/coins/NEW"}, 404, ""},
	})
}

func TestImport(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	yaml := map[string]string{"Content-Type": "application/yaml"}
	mixed := "coins: [{symbol: NEW, name: New, algorithm: x, dialect: grin}]\npools:\n" +
		"  - {id: one, name: One, kind: solo, servers: [{name: a.one.net, endpoints: [{port: 1, coin: NEW}]}]}\n" +
		"  - {id: two, name: Two, kind: solo, servers: [{name: a.two.net, endpoints: [{port: 1, coin: NOPE}]}]}\n" +
		"  - {id: three, name: Three, kind: casino}\nremoved: [beta, nobody]\n"
	w.steps(t, []step{
		{request{method: "POST", path: "/import?strict=true", body: mixed, header: yaml}, 422, "nothing was taken"},
		{request{method: "GET", path: "/pools/beta"}, 200, ""},
		{request{method: "POST", path: "/import", body: mixed, header: yaml}, 200, `"accepted":["NEW","one"],"changed":[],"removed":["beta"],"unchanged":0,`},
		{request{method: "GET", path: "/pools/beta"}, 404, ""},
		{request{method: "GET", path: "/pools/two"}, 404, ""},
		{request{method: "POST", path: "/import", body: mixed, header: yaml}, 200, `"accepted":[],"changed":[],"removed":[],"unchanged":2,`},
		{request{method: "POST", path: "/import?id=four", body: "name: Four\nkind: solo\nservers: []\n", header: yaml}, 200, ""},
		{request{method: "POST", path: "/import?format=twice&strict=false", body: strings.Replace(mixed, "port: 1", "port: 2", 1), header: yaml}, 200, `"changed":["one"]`},
		{request{method: "GET", path: "/lookup?q=a.one.net:1"}, 200, `"known":true`},
		{request{method: "GET", path: "/lookup?q=a.one.net:2"}, 200, `"known":true`},
		{request{method: "POST", path: "/import?strict=true&id=five", body: "name: Five\nservers: [{name: api.kraken.com}]\n", header: yaml}, 422, "is an exchange's"},
		{request{method: "POST", path: "/import?format=nope", body: mixed, header: yaml}, 422, "no such format"},
		{request{method: "POST", path: "/import?format=NO", body: mixed, header: yaml}, 400, "format"},
		{request{method: "POST", path: "/import", body: ":::", header: yaml}, 200, `"refused_total":2`},
		{request{method: "POST", path: "/import", body: "x", header: map[string]string{"Content-Type": "text/html"}}, 415, ""},
		{request{method: "POST", path: "/import", body: strings.Repeat("#", api.MaxBody+1), header: yaml}, 413, ""},
	})
	var many strings.Builder
	many.WriteString("coins:\n")
	for i := range api.MaxImport + 1 {
		fmt.Fprintf(&many, "- {symbol: C%d, name: c, algorithm: x, dialect: grin}\n", i)
	}
	w.steps(t, []step{{request{method: "POST", path: "/import", body: many.String(), header: yaml}, 422, "in parts"}})
	// No more than MaxRefused wrong rows are listed, all are counted.
	wrong := "coins:\n" + strings.Repeat("- {symbol: x}\n", api.MaxRefused)
	res := w.do(t, request{method: "POST", path: "/api/v1/import", role: accounts.Analyst, body: wrong, header: yaml})
	var rep struct {
		Refused []any
		Total   int `json:"refused_total"`
	}
	if err := json.Unmarshal([]byte(res.body), &rep); err != nil || len(rep.Refused) != api.MaxRefused || rep.Total <= api.MaxRefused {
		t.Error(err, len(rep.Refused), rep.Total)
	}
	want := []string{
		"token test-analyst coin.import NEW -+", "token test-analyst pool.import beta +-", "token test-analyst pool.import one -+",
	}
	if diff := cmp.Diff(want, w.journaled(t)[:3]); diff != "" {
		t.Error(diff)
	}
}

func TestOrders(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	w.steps(t, []step{
		{request{method: "POST", path: "/resolve", body: `{"names":["EU.alpha.net.","us.alpha.net","eu.alpha.net"]}`}, 202, `{"accepted":2}`},
		{request{method: "POST", path: "/resolve", body: `{"names":["eu.alpha.net","evil.net"]}`}, 422, "evil.net"},
		{request{method: "POST", path: "/resolve", body: `{"names":["9.9.9.20"]}`}, 422, "no server with the name"},
		{request{method: "POST", path: "/resolve", body: `{"names":[]}`}, 400, ""},
		{request{method: "POST", path: "/resolve", body: `{"names":[` + strings.Repeat(`"a",`, api.MaxNamed) + `"a"]}`}, 400, ""},
		{request{method: "POST", path: "/probe", body: `{"endpoints":["9.9.9.1:443","9.9.9.50:8080","9.9.9.20:3333","9.9.9.1:443"]}`}, 202, `{"accepted":3}`},
		{request{method: "POST", path: "/probe", body: `{"endpoints":["9.9.9.1:22"]}`}, 422, "not known"},
		{request{method: "POST", path: "/probe", body: `{"endpoints":["8.8.8.8:443"]}`}, 422, "not known"},
		{request{method: "POST", path: "/probe", body: `{"endpoints":["eu.alpha.net:443"]}`}, 422, "no endpoint"},
		{request{method: "PUT", path: "/holds/::ffff:9.9.9.1/3333", body: `{"reason":"=they asked","until":"2027-01-01T00:00:00Z"}`}, 200, `"endpoint":"9.9.9.1:3333"`},
		{request{method: "PUT", path: "/holds/9.9.9.1/3333", body: `{"reason":"again"}`}, 200, `"by":"token test-analyst"`},
		{request{method: "PUT", path: "/holds/9.9.9.1/3333", body: `{"until":"2020-01-01T00:00:00Z"}`}, 422, "ahead"},
		{request{method: "PUT", path: "/holds/9.9.9.1/3333", body: `{"reason":"a\nb"}`}, 422, "printed"},
		{request{method: "PUT", path: "/holds/9.9.9.1/0", body: `{}`}, 404, ""},
		{request{method: "GET", path: "/holds?sort=-endpoint"}, 200, `"total":1`},
		{request{method: "DELETE", path: "/holds/9.9.9.1/3333"}, 204, ""},
		{request{method: "DELETE", path: "/holds/9.9.9.1/3333"}, 404, ""},
	})
	w.sweep.err = sweep.ErrNobody
	w.steps(t, []step{
		{request{method: "POST", path: "/resolve", body: `{"names":["eu.alpha.net"]}`}, 409, "catalogue.resolve"},
		{request{method: "POST", path: "/probe", body: `{"endpoints":["9.9.9.1:443"]}`}, 409, "catalogue.probe"},
	})
	w.sweep.err = fmt.Errorf("order: %w", sweep.ErrTooMany)
	res := w.do(t, request{method: "POST", path: "/api/v1/probe", role: accounts.Analyst, body: `{"endpoints":["9.9.9.1:443"]}`})
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "60" || !strings.Contains(res.body, "too many endpoints wait") {
		t.Errorf("too many: %d %v %s", res.StatusCode, res.Header, res.body)
	}
	if diff := cmp.Diff([]string{"eu.alpha.net", "us.alpha.net"}, w.sweep.names); diff != "" {
		t.Error(diff)
	}
	asked := []minecanary.Endpoint{endpoint("9.9.9.1:443"), endpoint("9.9.9.20:3333"), endpoint("9.9.9.50:8080")}
	if diff := cmp.Diff(asked, w.sweep.asked, cmp.Comparer(func(a, b minecanary.Endpoint) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"token test-analyst sweep.resolve  -+", "token test-analyst sweep.probe  -+", "token test-analyst hold.put 9.9.9.1:3333 -+",
		"token test-analyst hold.put 9.9.9.1:3333 ++", "token test-analyst hold.remove 9.9.9.1:3333 +-",
	}
	if diff := cmp.Diff(want, w.journaled(t)); diff != "" {
		t.Error(diff)
	}
}

// TestTokenEnds: what is made without an end gets one.
func TestTokenEnds(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	res := w.do(t, request{method: "POST", path: "/api/v1/tokens", role: accounts.Admin, body: `{"name":"ci","role":"viewer"}`})
	if res.StatusCode != http.StatusCreated || !strings.Contains(res.body, `"expires":"2027-05-01T12:00:00Z"`) {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t, accounts.Viewer)
	const password = "correct horse"
	for _, s := range []step{
		{request{method: "POST", path: "/users", body: `{"name":"alice","role":"analyst","password":"` + password + `"}`}, 201, `"role":"analyst"`},
		{request{method: "POST", path: "/users", body: `{"name":"alice","role":"viewer","password":"` + password + `"}`}, 409, "exists"},
		{request{method: "POST", path: "/users", body: `{"name":"Bob","role":"viewer","password":"` + password + `"}`}, 422, "name"},
		{request{method: "POST", path: "/users", body: `{"name":"bob","role":"root","password":"` + password + `"}`}, 422, "role"},
		{request{method: "POST", path: "/users", body: `{"name":"bob","role":"viewer","password":"short"}`}, 422, "password"},
		{request{method: "POST", path: "/users", body: `{"name":"bob","role":"viewer","password":"äöüäöü"}`}, 422, "10 characters"},
		{request{method: "GET", path: "/users?sort=-name"}, 200, `"total":1`},
		{request{method: "DELETE", path: "/users/alice"}, 204, ""},
		{request{method: "DELETE", path: "/users/alice"}, 404, ""},
		{request{method: "POST", path: "/tokens", body: `{"name":"ci","role":"viewer","expires":"2099-01-01T00:00:00Z"}`}, 201, `"secret":"mcy_`},
		{request{method: "POST", path: "/tokens", body: `{"name":"ci","role":"viewer"}`}, 409, "exists"},
		{request{method: "POST", path: "/tokens", body: `{"name":"ci2","role":"viewer","expires":"2001-01-01T00:00:00Z"}`}, 422, ""},
		{request{method: "POST", path: "/tokens", body: `{"name":"ci2","role":"viewer","expires":""}`}, 400, ""},
		{request{method: "GET", path: "/tokens"}, 200, `"total":4`},
		{request{method: "DELETE", path: "/tokens/ci"}, 204, ""},
		{request{method: "DELETE", path: "/tokens/ci"}, 404, ""},
	} {
		s.role = accounts.Admin
		w.steps(t, []step{s})
	}
	admin := func(path string) string {
		return w.do(t, request{method: "GET", path: api.Prefix + path, role: accounts.Admin}).body
	}
	all := admin("/changes?limit=1000")
	if strings.Contains(all, password) || strings.Contains(all, "mcy_") || strings.Contains(all, "secret") || strings.Contains(admin("/tokens"), "mcy_") {
		t.Error("a secret is in", all)
	}
	// The journal in pages of one is the journal.
	var got, want []string
	next := ""
	for {
		var p struct {
			Items []struct {
				Number         int
				Action, Object string
			}
			Next string
		}
		if err := json.Unmarshal([]byte(admin("/changes?limit=1"+next)), &p); err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Items {
			got = append(got, e.Action+" "+e.Object)
		}
		if p.Next == "" {
			break
		}
		next = "&cursor=" + p.Next
	}
	want = []string{"token.remove ci", "token.add ci", "user.remove alice", "user.add alice"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if res := w.do(t, request{method: "GET", path: "/api/v1/changes?cursor=x", role: accounts.Admin}); res.StatusCode != http.StatusBadRequest {
		t.Error(res.StatusCode)
	}
	lines, err := csv.NewReader(strings.NewReader(w.do(t, request{method: "GET", path: "/api/v1/changes", role: accounts.Admin, header: map[string]string{"Accept": "text/csv"}}).body)).ReadAll()
	if err != nil || len(lines) != 5 {
		t.Error(lines, err)
	}
}

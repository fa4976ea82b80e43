package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/holds"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

const rows = `
coins:
  - {symbol: XMR, name: Monero, algorithm: randomx, dialect: cryptonote, url: "https://www.getmonero.org/", explorer: {transaction: "https://xmrchain.net/tx/{transaction}"}}
  - {symbol: BTC, name: Bitcoin, algorithm: sha256d, dialect: stratum-v1}
pools:
  - id: alpha
    name: Alpha Pool
    url: https://alpha.net/
    kind: public
    source: https://alpha.net/help
    as_of: 2026-04-21
    confidence: high
    servers:
      - name: eu.alpha.net
        region: eu
        endpoints: [{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}]
      - name: us.alpha.net
        endpoints: [{port: 3333, coin: XMR}]
  - id: beta
    name: "=Beta()"
    kind: solo
    servers:
      - address: 9.9.9.20
        endpoints: [{port: 3333, coin: BTC}, {port: 3333, coin: BTC}]
`

// now is the clock of tests.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// world is an API with all that stands around it.
type world struct {
	handler, compat http.Handler
	api             *api.API
	accounts        *accounts.Accounts
	journal         *changes.Journal
	sweep           *sweeper
	index           *lookup.Index
	register        *catalog.Register
	// tokens by role; "" has none.
	tokens map[accounts.Role]string
	check  *contract
}

// sweeper notes what it is told.
type sweeper struct {
	mu    sync.Mutex
	names []string
	asked []minecanary.Endpoint
	err   error
}

func (s *sweeper) Soon(names []string, endpoints []minecanary.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.names, s.asked = append(s.names, names...), append(s.asked, endpoints...)
	return nil
}

func (s *sweeper) Enabled() bool { return true }

func (s *sweeper) Status() sweep.Status { return sweep.Status{Names: 2, Endpoints: 3, LastAsked: now} }

func endpoint(text string) minecanary.Endpoint {
	ap := netip.MustParseAddrPort(text)
	return minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP)
}

// newWorld makes one whose anonymous visitors have a role; with base layers in place of rows if there are any.
func newWorld(tb testing.TB, anonymous accounts.Role, base ...catalog.Layer) *world {
	tb.Helper()
	dir := tb.TempDir()
	if base == nil {
		layer, problems := catalog.Parse("rows.yaml", []byte(rows))
		if len(problems) > 0 {
			tb.Fatal(problems)
		}
		base = []catalog.Layer{layer}
	}
	clock := now
	db, err := history.Open(filepath.Join(dir, "history.db"), history.Options{Now: func() time.Time { return clock }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	err = db.Update(tb.Context(), func(tx *history.Tx) error {
		for i := range 5 {
			at := now.Add(time.Duration(i-5) * time.Hour)
			addrs := []netip.Addr{netip.MustParseAddr("9.9.9.1"), netip.MustParseAddr("2620:fe::9")}
			status, code := minecanary.Confirmed, history.NoError
			if i < 2 {
				status, code = minecanary.Inconclusive, "SERVFAIL"
			}
			if err := tx.Resolved(history.Observation{Name: "eu.alpha.net", At: at, Addrs: addrs, Chain: []string{"eu.cdn.net"}, Code: code}); err != nil {
				return err
			}
			evidence := []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: at, Summary: "a job", Transcript: []string{`>> "login"`, `<< "<script>alert(1)</script>"`}}}
			probe := history.Probe{
				Endpoint: endpoint("9.9.9.1:3333"), Name: "eu.alpha.net", At: at, Status: status, Dialect: "cryptonote", Coin: "monero",
				Reason: "@SUM(1) said a server", Evidence: evidence,
			}
			if err := tx.Probed(probe); err != nil {
				return err
			}
			probe.Endpoint, probe.Status, probe.Evidence = endpoint("9.9.9.50:8080"), minecanary.NotPool, nil
			if err := tx.Probed(probe); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{
		accounts: accounts.Open(filepath.Join(dir, accounts.FileName), accounts.Options{
			Cost: accounts.Cost{Time: 1, Memory: 8, Threads: 1}, Now: func() time.Time { return now },
		}),
		journal: changes.Open(filepath.Join(dir, changes.FileName)), sweep: &sweeper{}, tokens: map[accounts.Role]string{},
	}
	edits := catalog.NewEdits(filepath.Join(dir, "edits.yaml"))
	w.register = catalog.NewRegister(edits, func(c *catalog.Catalog) {
		if w.index != nil {
			w.index.SetCatalog(c)
		}
	}, base...)
	w.index = lookup.New(w.register.Current())
	if err := db.View(func(v *history.View) error { return w.index.Load(v, nil) }); err != nil {
		tb.Fatal(err)
	}
	for _, role := range accounts.Roles() {
		if w.tokens[role], err = w.accounts.AddToken("test-"+string(role), role, time.Time{}); err != nil {
			tb.Fatal(err)
		}
	}
	hold, err := holds.Open(filepath.Join(dir, holds.FileName))
	if err != nil {
		tb.Fatal(err)
	}
	w.api = api.New(api.Config{
		Register: w.register, Index: w.index, History: db, Accounts: w.accounts, Changes: w.journal, Sweep: w.sweep, Hold: hold,
		Importer: func(format string, data []byte) (catalog.Layer, []catalog.Problem, error) {
			if format != "twice" {
				return catalog.Layer{}, nil, errors.New("no such format")
			}
			l, problems := catalog.Parse("twice", data)
			return l, problems, nil
		},
		Anonymous: anonymous, Version: "test", Now: func() time.Time { return now },
	})
	w.handler, w.compat = w.accounts.Middleware(w.api), w.accounts.Middleware(w.api.Compat())
	w.check = newContract(tb)
	return w
}

// request is one to make; its answer is held against openapi.yaml.
type request struct {
	method, path string
	role         accounts.Role
	body         string
	header       map[string]string
}

func (w *world) do(tb testing.TB, q request) *reply {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), q.method, q.path, strings.NewReader(q.body))
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.role != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[q.role])
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	res := replied(rec)
	w.check.response(tb, r, res)
	return res
}

// reply is an answer with its body.
type reply struct {
	StatusCode int
	Header     http.Header
	body       string
}

func replied(rec *httptest.ResponseRecorder) *reply {
	return &reply{rec.Code, rec.Header(), rec.Body.String()}
}

// contract holds answers against openapi.yaml.
type contract struct {
	router routers.Router
}

func newContract(tb testing.TB) *contract {
	tb.Helper()
	rec := httptest.NewRecorder()
	api.New(api.Config{}).ServeHTTP(rec, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, api.Prefix+"/openapi.yaml", nil))
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	if err := doc.Validate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return &contract{router}
}

// text decodes a body that is none of JSON.
func text(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	b, err := io.ReadAll(body)
	return string(b), err
}

// response fails the test if an answer is not as described. Paths and methods that are not described have to be refused.
func (c *contract) response(tb testing.TB, r *http.Request, res *reply) {
	tb.Helper()
	content := res.body
	lookFor := r
	if r.Method == http.MethodHead {
		lookFor = r.Clone(r.Context())
		lookFor.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(lookFor)
	switch {
	case err != nil && r.Method == http.MethodOptions && res.StatusCode == http.StatusNoContent:
		return
	case err != nil || res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed:
		if err == nil && route.Operation.Responses.Status(res.StatusCode) != nil {
			break
		}
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed && res.StatusCode != http.StatusUnauthorized ||
			!strings.Contains(res.Header.Get("Content-Type"), "application/problem+json") {
			tb.Fatalf("%s %s, which is not described, gives %d %s", r.Method, r.URL, res.StatusCode, content)
		}
		return
	}
	if r.Method == http.MethodHead && res.StatusCode != http.StatusNotModified {
		if content != "" {
			tb.Fatalf("HEAD %s has a body", r.URL)
		}
		return
	}
	err = openapi3filter.ValidateResponse(tb.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 res.StatusCode, Header: res.Header, Body: io.NopCloser(strings.NewReader(content)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		tb.Fatalf("%s %s gives %d %.2000s\nwhich breaks the contract: %v", r.Method, r.URL, res.StatusCode, content, err)
	}
}

func TestMain(m *testing.M) {
	for _, form := range []string{"application/x-ndjson", "text/csv", "application/yaml"} {
		openapi3filter.RegisterBodyDecoder(form, text)
	}
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(s string) error {
		_, err := time.Parse(time.RFC3339, s)
		return err
	}))
	openapi3.DefineIPv4Format()
	openapi3.DefineIPv6Format()
	m.Run()
}

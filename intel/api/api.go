// Package api answers questions about pools over HTTP, and takes changes of the catalogue: /api/v1, described by the
// embedded openapi.yaml, and beside it the paths that sMaSheD had (Compat). It holds nothing itself.
//
// Who asks is told by package accounts: its middleware has to stand before the handler; without it everybody is anonymous.
// What comes from pools (reasons, transcripts) is data in JSON, NDJSON or CSV, never HTML.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/holds"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

// Prefix is where the API begins.
const Prefix = "/api/v1"

// Bounds of requests and answers. They stand in openapi.yaml as well.
const (
	// MaxBody is the longest body in bytes.
	MaxBody = 1 << 20
	// MaxDepth is how deep a JSON body may be nested.
	MaxDepth = 16
	// MaxPage is how many rows a page of a list has at most, DefaultPage how many if nobody says.
	MaxPage     = 1000
	DefaultPage = 100
	// MaxBulk is how many questions a bulk may have, MaxBulkMatches how many matches each may ask for.
	MaxBulk        = 10_000
	MaxBulkMatches = 100
	// MaxBulkAll is how many matches all questions of a bulk have together; the rest have none, and More. MaxBulks is how
	// many bulks are answered at the same time; others wait.
	MaxBulkAll = 100_000
	MaxBulks   = 2
	// MaxNamed is how many names or endpoints one order to resolve or probe may have.
	MaxNamed = 1000
	// MaxImport is how many pools and coins an import may change: each is written to the journal.
	MaxImport = 2000
	// MaxRefused is how many refused rows a report lists; the rest is counted.
	MaxRefused = 1000
	// MaxText is the longest text of a request in characters: a question, a filter, a reason.
	MaxText = 300
	// MaxCursor is the longest cursor in bytes.
	MaxCursor = 4096
	// orderRetry is when whoever orders too much is told to try again: the prober asks a few endpoints a second.
	orderRetry = time.Minute
	// WriteTimeout is how long sending an answer may take; whoever serves the handler may be stricter.
	WriteTimeout = 5 * time.Minute
)

// History is what the API needs of history.DB.
type History interface {
	// View calls fn with the history of this moment.
	View(fn func(*history.View) error) error
}

// Sweep is what the API needs of sweep.Sweeper.
type Sweep interface {
	// Soon makes names and endpoints due at once, and returns.
	Soon(names []string, endpoints []minecanary.Endpoint) error
	// Enabled tells whether anything is swept, Status how that goes.
	Enabled() bool
	Status() sweep.Status
}

// Hold is what the API needs of holds.Holds.
type Hold interface {
	// Put holds an endpoint, in place of what was said of it before; Remove takes it back.
	Put(ctx context.Context, h holds.Hold) error
	Remove(ctx context.Context, ep minecanary.Endpoint) error
	// List gives all that is held.
	List(ctx context.Context) ([]holds.Hold, error)
}

// Config is what the API works on.
type Config struct {
	// Register has the catalogue, Index answers questions; both must be set.
	Register *catalog.Register
	Index    *lookup.Index
	// History is the past; nil if none is kept.
	History History
	// Accounts may be nil: then nobody can log in and nothing can be changed.
	Accounts *accounts.Accounts
	// Changes is the journal; without it nothing can be changed.
	Changes *changes.Journal
	// Sweep and Hold may be nil: then there are none.
	Sweep Sweep
	Hold  Hold
	// Importer reads formats other than the catalogue's own (importer.Import); nil if there are none. Its errors are told to
	// the user, and what it read is merged into the catalogue (importer.Merge).
	Importer func(format string, data []byte) (catalog.Layer, []catalog.Problem, error)
	// Anonymous is what one may do without a login: accounts.Viewer, or nothing.
	Anonymous accounts.Role
	// Version is the program's.
	Version string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of failures of our own; nil is silence.
	Log *slog.Logger
}

// API is the handler of everything under Prefix. It is safe for concurrent use.
type API struct {
	cfg       Config
	mux       *http.ServeMux
	operation []operation
	json      []byte // openapi.json
	bulks     chan struct{}
}

// operation is what one method does on one path.
type operation struct {
	method, path string
	// role is what one has to be.
	role accounts.Role
	// query has the names of the parameters that there are.
	query  []string
	handle func(*call) error
}

// call is a request on its way.
type call struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	who   accounts.Principal
}

// New makes the API. It does no I/O.
func New(cfg Config) *API {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Anonymous != accounts.Viewer {
		cfg.Anonymous = ""
	}
	a := &API{cfg: cfg, json: openAPI(cfg.Version), bulks: make(chan struct{}, MaxBulks)}
	a.operation = operations()
	a.mux = a.serve(a.operation)
	return a
}

// paging are the parameters of a list.
func paging(more ...string) []string { return append([]string{"limit", "cursor", "sort"}, more...) }

// operations gives all that openapi.yaml has; a test holds one against the other.
func operations() []operation {
	const (
		nobody  = accounts.Role("")
		viewer  = accounts.Viewer
		analyst = accounts.Analyst
		admin   = accounts.Admin
	)
	ops := []operation{
		{"GET", "/openapi.json", nobody, nil, (*call).openAPIJSON},
		{"GET", "/openapi.yaml", nobody, nil, (*call).openAPIYAML},

		{"GET", "/lookup", viewer, []string{"q", "at", "limit"}, (*call).lookup},
		{"POST", "/lookup", viewer, []string{"at", "limit"}, (*call).bulk},
		{"GET", "/pools", viewer, paging("coin", "kind", "q"), (*call).pools},
		{"GET", "/pools/{id}", viewer, nil, (*call).pool},
		{"GET", "/servers", viewer, paging("pool", "q"), (*call).servers},
		{"GET", "/servers/{host}", viewer, []string{"at", "known_at", "limit"}, (*call).server},
		{"GET", "/endpoints", viewer, paging("pool", "coin", "port", "tls", "dialect", "status", "kind", "q"), (*call).endpoints},
		{"GET", "/endpoints/{address}/{port}/history", viewer, []string{"at", "known_at", "limit"}, (*call).endpointHistory},
		{"GET", "/addresses", viewer, paging("name"), (*call).addresses},
		{"GET", "/coins", viewer, paging("q"), (*call).coins},
		{"GET", "/coins/{symbol}", viewer, nil, (*call).coin},
		{"GET", "/ports", viewer, paging("coin"), (*call).ports},
		{"GET", "/export", viewer, nil, (*call).export},
		{"GET", "/stats", viewer, nil, (*call).stats},
		{"GET", "/sweep", viewer, nil, (*call).sweep},
		{"GET", "/holds", viewer, paging(), (*call).holds},

		{"POST", "/pools", analyst, nil, (*call).postPool},
		{"PUT", "/pools/{id}", analyst, nil, (*call).putPool},
		{"DELETE", "/pools/{id}", analyst, nil, (*call).deletePool},
		{"POST", "/coins", analyst, nil, (*call).postCoin},
		{"PUT", "/coins/{symbol}", analyst, nil, (*call).putCoin},
		{"DELETE", "/coins/{symbol}", analyst, nil, (*call).deleteCoin},
		{"POST", "/import", analyst, []string{"format", "strict", "id"}, (*call).importRows},
		{"POST", "/resolve", analyst, nil, (*call).resolve},
		{"POST", "/probe", analyst, nil, (*call).probe},
		{"PUT", "/holds/{address}/{port}", analyst, nil, (*call).putHold},
		{"DELETE", "/holds/{address}/{port}", analyst, nil, (*call).deleteHold},

		{"GET", "/changes", admin, []string{"limit", "cursor"}, (*call).changes},
		{"GET", "/users", admin, paging(), (*call).users},
		{"POST", "/users", admin, nil, (*call).postUser},
		{"DELETE", "/users/{name}", admin, nil, (*call).deleteUser},
		{"GET", "/tokens", admin, paging(), (*call).tokens},
		{"POST", "/tokens", admin, nil, (*call).postToken},
		{"DELETE", "/tokens/{name}", admin, nil, (*call).deleteToken},
	}
	for i := range ops {
		ops[i].path = Prefix + ops[i].path
	}
	return ops
}

// serve makes a mux in which each path has one handler for all its methods, so that refusals are problems of ours.
func (a *API) serve(ops []operation) *http.ServeMux {
	mux := http.NewServeMux()
	paths := map[string]map[string]operation{}
	for _, op := range ops {
		if paths[op.path] == nil {
			paths[op.path] = map[string]operation{}
		}
		paths[op.path][op.method] = op
	}
	for p, methods := range paths {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) { a.method(w, r, methods) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, problem(http.StatusNotFound, "there is nothing at this path"))
	})
	return mux
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.enter(w, r, a.mux) }

// enter does what every answer needs. A path that http.ServeMux would redirect, with HTML, is none of ours.
func (a *API) enter(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Accept, Authorization, Cookie")
	if r.Method == http.MethodConnect || r.URL.Path == "" || path.Clean(r.URL.Path) != r.URL.Path {
		a.fail(w, r, problem(http.StatusNotFound, "there is nothing at this path"))
		return
	}
	mux.ServeHTTP(w, r)
}

// method finds the operation of a path and carries it out if one may.
func (a *API) method(w http.ResponseWriter, r *http.Request, methods map[string]operation) {
	name := r.Method
	if name == http.MethodHead {
		name = http.MethodGet
	}
	op, ok := methods[name]
	if !ok {
		allow := []string{http.MethodOptions}
		for m := range methods {
			allow = append(allow, m)
			if m == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		slices.Sort(allow)
		w.Header().Set("Allow", strings.Join(allow, ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		a.fail(w, r, problem(http.StatusMethodNotAllowed, "this path takes %s", strings.Join(allow, ", ")))
		return
	}
	c := &call{API: a, w: w, r: r, who: accounts.From(r.Context())}
	err := c.allowed(op.role)
	if err == nil {
		err = c.parseQuery(op.query)
	}
	if err == nil {
		if r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		}
		err = op.handle(c)
	}
	if err != nil {
		a.fail(w, r, err)
	}
}

// allowed tells why one may not do what needs a role.
func (c *call) allowed(need accounts.Role) error {
	if need == "" || c.who.Role.Allows(need) || c.who.Role == "" && c.cfg.Anonymous.Allows(need) {
		return nil
	}
	if c.who.Role == "" {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="minecanary"`)
		return problem(http.StatusUnauthorized, "this needs a login with the role %s", need)
	}
	return problem(http.StatusForbidden, "this needs the role %s", need)
}

func (c *call) parseQuery(known []string) error {
	var err error
	if c.query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return problem(http.StatusBadRequest, "the query cannot be read")
	}
	for name, values := range c.query {
		switch {
		case !slices.Contains(known, name):
			there := "none"
			if len(known) > 0 {
				there = strings.Join(known, ", ")
			}
			return problem(http.StatusBadRequest, "there is no parameter %s; there are: %s", quote(name), there)
		case len(values) > 1:
			return problem(http.StatusBadRequest, "the parameter %s is there %d times", name, len(values))
		}
	}
	return nil
}

// fail answers with a problem. What is none is a failure of ours: told to the log, not to the client.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
	case errors.Is(err, sweep.ErrTooMany):
		w.Header().Set("Retry-After", accounts.RetryAfter(orderRetry))
		p = problem(http.StatusTooManyRequests, "%s; nothing of this order was taken", err)
	case errors.Is(err, holds.ErrFull):
		p = problem(http.StatusConflict, "%s", err)
	case errors.As(err, &tooLarge):
		p = problem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	case r.Context().Err() != nil:
		return // nobody listens any more
	default:
		a.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "a request failed", slog.String("method", r.Method),
			slog.String("path", quote(r.URL.Path)), slog.String("error", quote(err.Error())))
		p = problem(http.StatusInternalServerError, "the request failed; the log of the service says why")
	}
	p.write(w, r)
}

// Package web has the pages of the catalogue: questions to it, what is known of pools, servers, endpoints, coins and
// ports with their history, what this instance found, and forms to change the catalogue. It holds nothing itself.
//
// Who asks is told by package accounts: its middleware has to stand before the handler; without it everybody is
// anonymous. Pages are made on the server and read without scripts. What comes from pools is hostile: it is escaped,
// never a link, and bounded; see text.go.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

// policy is the Content-Security-Policy of every answer: nothing inline, nothing from anywhere else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed templates static
var files embed.FS

// History is what the pages need of history.DB.
type History interface {
	// View calls fn with the history of this moment.
	View(fn func(*history.View) error) error
}

// Sweep is what the pages need of sweep.Sweeper.
type Sweep interface {
	// Soon makes names and endpoints due at once, and returns.
	Soon(names []string, endpoints []minecanary.Endpoint) error
	// Enabled tells whether anything is swept, Status how that goes.
	Enabled() bool
	Status() sweep.Status
}

// Config is what the pages are made of.
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
	// Anonymous is what one may do without a login: accounts.Viewer, or nothing.
	Anonymous accounts.Role
	// Local is what this instance found; nil if it looks for nothing.
	Local Local
	// Sweep takes orders and tells how it goes; nil if there are no sweeps.
	Sweep Sweep
	// API tells that package api is served beside the pages, under its Prefix.
	API bool
	// Version is the program's.
	Version string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log is told of failures of our own; nil is silence.
	Log *slog.Logger
}

// Web is the handler of the pages. It is safe for concurrent use.
type Web struct {
	cfg   Config
	mux   *http.ServeMux
	pages map[string]*template.Template
}

// call is a request on its way.
type call struct {
	*Web
	w   http.ResponseWriter
	r   *http.Request
	who accounts.Principal
}

// refusal is an error that is told to the reader.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

func notFound(text string) error { return &refusal{http.StatusNotFound, text} }

// New makes the pages. It does no I/O.
func New(cfg Config) *Web {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Anonymous != accounts.Viewer {
		cfg.Anonymous = accounts.Nobody
	}
	w := &Web{cfg: cfg, mux: http.NewServeMux(), pages: parse()}
	for _, rt := range routes() {
		w.mux.HandleFunc(rt.pattern, func(rw http.ResponseWriter, r *http.Request) {
			c := &call{w, rw, r, accounts.From(r.Context())}
			if err := c.allowed(rt.role); err != nil {
				c.fail(err)
				return
			}
			if r.Body != nil {
				r.Body = http.MaxBytesReader(rw, r.Body, accounts.MaxForm)
			}
			if err := rt.handle(c); err != nil {
				c.fail(err)
			}
		})
	}
	return w
}

type route struct {
	pattern string
	// role is what one has to be.
	role   accounts.Role
	handle func(*call) error
}

func routes() []route {
	const (
		nobody  = accounts.Nobody
		viewer  = accounts.Viewer
		analyst = accounts.Analyst
		admin   = accounts.Admin
	)
	all := []route{
		{"GET /static/{file}", nobody, (*call).static},
		{"GET /login", nobody, (*call).loginForm},
		{"POST /login", nobody, (*call).login},
		{"POST /logout", nobody, (*call).logout},
		{"GET /about", nobody, (*call).about},
		{"/", nobody, func(*call) error { return notFound("There is no such page.") }},

		{"GET /{$}", viewer, (*call).search},
		{"GET /pools", viewer, (*call).listPools},
		{"GET /pools/{pool}", viewer, (*call).showPool},
		{"GET /servers", viewer, (*call).listServers},
		{"GET /servers/{host}", viewer, (*call).showServer},
		{"GET /endpoints", viewer, (*call).listEndpoints},
		{"GET /endpoints/{address}/{port}", viewer, (*call).showEndpoint},
		{"GET /coins", viewer, (*call).listCoins},
		{"GET /coins/{symbol}", viewer, (*call).showCoin},
		{"GET /ports", viewer, (*call).listPorts},
		{"GET /addresses", viewer, (*call).listAddresses},
		{"GET /dashboard", viewer, (*call).dashboard},
		{"GET /hits", viewer, (*call).hits},
		{"GET /suspects", viewer, (*call).suspects},

		{"POST /servers/{host}/resolve", analyst, (*call).resolve},
		{"POST /endpoints/{address}/{port}/ask", analyst, (*call).ask},
		{"GET /changes", admin, (*call).changes},
	}
	// A form is shown and sent at one path.
	for _, f := range []route{
		{"/pools/new", analyst, (*call).newPool},
		{"/pools/{pool}/edit", analyst, (*call).editPool},
		{"/pools/{pool}/remove", analyst, (*call).removePool},
		{"/pools/{pool}/servers/new", analyst, (*call).newServer},
		{"/pools/{pool}/servers/{host}/edit", analyst, (*call).editServer},
		{"/pools/{pool}/servers/{host}/remove", analyst, (*call).removeServer},
		{"/pools/{pool}/servers/{host}/endpoints/new", analyst, (*call).newEndpoint},
		{"/pools/{pool}/servers/{host}/endpoints/{port}/{coin}/edit", analyst, (*call).editEndpoint},
		{"/pools/{pool}/servers/{host}/endpoints/{port}/{coin}/remove", analyst, (*call).removeEndpoint},
		{"/coins/new", analyst, (*call).newCoin},
		{"/coins/{symbol}/edit", analyst, (*call).editCoin},
		{"/coins/{symbol}/remove", analyst, (*call).removeCoin},
	} {
		all = append(all, route{"GET " + f.pattern, f.role, f.handle}, route{"POST " + f.pattern, f.role, f.handle})
	}
	return all
}

// ServeHTTP implements http.Handler.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Authorization, Cookie")
	// http.ServeMux answers a path that is not clean with a page of its own.
	if p := r.URL.Path; r.Method == http.MethodConnect || p == "" || path.Clean(p) != p {
		c := &call{w, rw, r, accounts.From(r.Context())}
		c.fail(notFound("There is no such page."))
		return
	}
	w.mux.ServeHTTP(rw, r)
}

// may tells whether one has a role.
func (c *call) may(need accounts.Role) bool {
	return c.who.Role.Allows(need) || c.who.Name == "" && c.cfg.Anonymous.Allows(need)
}

// allowed tells why one may not do what needs a role.
func (c *call) allowed(need accounts.Role) error {
	switch {
	case need == accounts.Nobody || c.may(need):
		return nil
	case c.who.Name == "":
		return &refusal{http.StatusUnauthorized, "This needs a login with the role " + string(need) + "."}
	}
	return &refusal{http.StatusForbidden, "This needs the role " + string(need) + "; you have the role " + string(c.who.Role) + "."}
}

// sweeps tells whether orders are taken here, and from this reader.
func (c *call) sweeps() bool {
	return c.cfg.Sweep != nil && c.cfg.Sweep.Enabled() && c.may(accounts.Analyst)
}

// editable tells whether one may change the catalogue here.
func (c *call) editable() bool {
	return c.who.Name != "" && c.who.Role.Allows(accounts.Analyst) && c.cfg.Register.Editable() && c.cfg.Changes != nil
}

// fail answers with an error. One that is no refusal is a failure of ours: told to the log, not to the reader.
func (c *call) fail(err error) {
	var no *refusal
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &no):
	case errors.As(err, &tooLong):
		no = &refusal{http.StatusRequestEntityTooLarge, "The form is too long."}
	default:
		c.cfg.Log.LogAttrs(c.r.Context(), slog.LevelError, "a page failed", slog.String("method", c.r.Method),
			slog.String("path", brief(c.r.URL.Path)), slog.String("error", brief(err.Error())))
		no = &refusal{http.StatusInternalServerError, "The page failed; the log of the service says why."}
	}
	login := ""
	if no.status == http.StatusUnauthorized && c.cfg.Accounts != nil {
		login = "/login?" + url.Values{"next": {c.r.URL.RequestURI()}}.Encode()
		if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
			http.Redirect(c.w, c.r, login, http.StatusSeeOther)
			return
		}
		login = "/login"
	}
	c.render(no.status, "error", http.StatusText(no.status), struct{ Text, Login string }{no.text, login})
}

// view is what the layout needs.
type view struct {
	Title string
	Path  string
	Nav   []navLink
	Who   accounts.Principal
	// Login tells that there are accounts.
	Login   bool
	Edit    bool
	Done    string
	Version string
	Body    any
}

type navLink struct {
	Text, Href string
	Here       bool
}

// done has what is said after a form was sent, by the word in the address.
func done(word string) string {
	return map[string]string{
		"added": "Added.", "changed": "Changed.", "removed": "Removed.", "asked": "It is due now; the answer takes a moment.",
		"login": "You are logged in.", "logout": "You are logged out.",
	}[word]
}

func (c *call) nav() []navLink {
	all := []navLink{
		{Text: "Search", Href: "/"},
		{Text: "Pools", Href: "/pools"},
		{Text: "Servers", Href: "/servers"},
		{Text: "Endpoints", Href: "/endpoints"},
		{Text: "Addresses", Href: "/addresses"},
		{Text: "Ports", Href: "/ports"},
		{Text: "Coins", Href: "/coins"},
		{Text: "Dashboard", Href: "/dashboard"},
	}
	if !c.may(accounts.Viewer) {
		all = nil
	}
	if c.cfg.Local != nil && c.may(accounts.Viewer) {
		all = append(all, navLink{Text: "Hits", Href: "/hits"}, navLink{Text: "Suspects", Href: "/suspects"})
	}
	if c.cfg.Changes != nil && c.may(accounts.Admin) {
		all = append(all, navLink{Text: "Changes", Href: "/changes"})
	}
	all = append(all, navLink{Text: "About", Href: "/about"})
	for i := range all {
		p := c.r.URL.Path
		all[i].Here = p == all[i].Href || all[i].Href != "/" && strings.HasPrefix(p, all[i].Href+"/")
	}
	return all
}

// render answers with a page, or if that fails with none.
func (c *call) render(status int, name, title string, body any) {
	v := view{
		Title: brief(title), Path: c.r.URL.Path, Nav: c.nav(), Who: c.who, Login: c.cfg.Accounts != nil, Edit: c.editable(),
		Done: done(c.r.URL.Query().Get("done")), Version: c.cfg.Version, Body: body,
	}
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		c.cfg.Log.LogAttrs(c.r.Context(), slog.LevelError, "a page failed", slog.String("page", name), slog.String("error", brief(err.Error())))
		http.Error(c.w, "The page failed; the log of the service says why.", http.StatusInternalServerError)
		return
	}
	page := printable(b.Bytes())
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(page) // who has gone does not need it
}

// show answers with a page.
func (c *call) show(name, title string, body any) error {
	c.render(http.StatusOK, name, title, body)
	return nil
}

// redirect sends the reader to a page of ours after a form was sent.
func (c *call) redirect(to, word string) error {
	if word != "" {
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		to += sep + "done=" + word
	}
	http.Redirect(c.w, c.r, to, http.StatusSeeOther)
	return nil
}

// static serves an embedded file; the browser asks each time whether it is still the same.
func (c *call) static() error {
	name := c.r.PathValue("file")
	data, err := fs.ReadFile(files, "static/"+name)
	if err != nil {
		return notFound("There is no such file.")
	}
	sum := sha256.Sum256(data)
	h := c.w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	if strings.HasSuffix(name, ".js") { // some systems have another type for it
		h.Set("Content-Type", "text/javascript; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(c.w, c.r, name, time.Time{}, bytes.NewReader(data))
	return nil
}

// parse makes the templates. They are embedded, so an error is one of ours that every test shows.
func parse() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(functions()).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	pages := map[string]*template.Template{}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return pages // the pattern is a constant
	}
	for _, f := range names {
		name := strings.TrimSuffix(path.Base(f), ".html")
		if name != "layout" && name != "parts" {
			pages[name] = template.Must(template.Must(base.Clone()).ParseFS(files, f))
		}
	}
	return pages
}

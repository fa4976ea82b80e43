package web_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
	"github.com/minecanary/minecanary/intel/web"
	"github.com/minecanary/minecanary/intel/web/webtest"
)

const endpoint = "/endpoints/45.60.1.2/3333"

// everyPage gives an address of every page with what one has to be to read it.
func everyPage() map[string]accounts.Role {
	pages := map[string]accounts.Role{"/login": accounts.Nobody, "/about": accounts.Nobody, "/changes": accounts.Admin}
	for _, p := range []string{
		"/", "/?q=monero", "/?q=" + webtest.Server, "/?q=45.60.1.2%3A3333&at=2025-06-01", "/?q=nothing.quarry-pool.net", "/?q=%3Ax%3A", "/?q=x&at=never",
		"/pools", "/pools?find=nothing-fits", "/pools?sort=-endpoints&page=9", "/pools/quarry", "/servers", "/servers/" + webtest.Server, "/servers/2a06:1::7",
		"/endpoints", "/endpoints?status=confirmed&sort=-last_proof", endpoint, "/coins", "/coins/XMR", "/ports", "/addresses",
		"/dashboard", "/hits", "/hits?before=older", "/suspects",
	} {
		pages[p] = accounts.Viewer
	}
	for _, p := range forms() {
		pages[p] = accounts.Analyst
	}
	return pages
}

func forms() []string {
	s := "/pools/quarry/servers/" + webtest.Server
	return []string{
		"/pools/new", "/pools/quarry/edit", "/pools/quarry/remove", "/pools/quarry/servers/new", s + "/edit", s + "/remove", s + "/endpoints/new",
		s + "/endpoints/3333/XMR/edit", s + "/endpoints/3333/XMR/remove", "/coins/new", "/coins/XMR/edit", "/coins/XMR/remove",
	}
}

// browser is somebody who looks at the pages.
type browser struct {
	t       *testing.T
	handler http.Handler
	cookies []*http.Cookie
	csrf    string
}

// answer is what a request got.
type answer struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func (b *browser) do(method, target string, form url.Values) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		form = cloneValues(form)
		if b.csrf != "" && !form.Has("csrf") {
			form.Set("csrf", b.csrf)
		}
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, target, body)
	r.RemoteAddr = "127.0.0.1:4711"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	resp := w.Result()
	if err := resp.Body.Close(); err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, resp.Cookies(), w.Body.String()}
}

func cloneValues(v url.Values) url.Values {
	out := url.Values{}
	for k, x := range v {
		out[k] = slices.Clone(x)
	}
	return out
}

// page reads a page of the given status.
func (b *browser) page(target string, status int) string {
	b.t.Helper()
	resp := b.do(http.MethodGet, target, nil)
	return read(b.t, resp, target, status)
}

// read gives the page of an answer that has to have a status.
func read(t *testing.T, a answer, what string, status int) string {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d", what, a.status, status)
	}
	return a.body
}

// as logs in through the form.
func as(t *testing.T, w *webtest.World, role accounts.Role) *browser {
	t.Helper()
	b := &browser{t: t, handler: w.Handler}
	if role == accounts.Nobody {
		return b
	}
	resp := b.do(http.MethodPost, "/login", url.Values{"name": {string(role)}, "password": {webtest.Password}, "next": {"/pools"}})
	read(t, resp, "login", http.StatusSeeOther)
	if got := resp.header.Get("Location"); got != "/pools?done=login" {
		t.Errorf("login goes to %q", got)
	}
	b.cookies = resp.cookies
	for _, n := range nodes(parse(t, b.page("/about", http.StatusOK)), "input") {
		if attr(n, "name") == "csrf" {
			b.csrf = attr(n, "value")
		}
	}
	if b.csrf == "" {
		t.Fatal("no CSRF token in the page of a session")
	}
	return b
}

func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func nodes(root *html.Node, names ...string) []*html.Node {
	var out []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && (len(names) == 0 || slices.Contains(names, n.Data)) {
			out = append(out, n)
		}
	}
	return out
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func inner(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestRoles(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	open := webtest.New(t, webtest.Options{Anonymous: accounts.Viewer})
	for _, role := range append([]accounts.Role{accounts.Nobody}, accounts.Roles()...) {
		for _, tt := range []struct {
			world     *webtest.World
			anonymous accounts.Role
		}{{w, accounts.Nobody}, {open, accounts.Viewer}} {
			b := as(t, tt.world, role)
			for page, need := range everyPage() {
				want := http.StatusOK
				switch {
				case need == accounts.Nobody, role.Allows(need), role == accounts.Nobody && tt.anonymous.Allows(need):
				case role == accounts.Nobody:
					want = http.StatusSeeOther
				default:
					want = http.StatusForbidden
				}
				resp := b.do(http.MethodGet, page, nil)
				read(t, resp, string(role)+" "+page, want)
				if want == http.StatusSeeOther {
					if got := resp.header.Get("Location"); got != "/login?next="+url.QueryEscape(page) {
						t.Errorf("%s goes to %q", page, got)
					}
				}
				if got := resp.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; script-src 'self';") {
					t.Errorf("%s: policy %q", page, got)
				}
			}
			posts := append(forms(), "/servers/"+webtest.Server+"/resolve", endpoint+"/ask")
			if role.Allows(accounts.Analyst) {
				continue // TestForms sends them
			}
			for _, page := range posts {
				want := http.StatusForbidden
				if role == accounts.Nobody {
					want = http.StatusUnauthorized
				}
				read(t, b.do(http.MethodPost, page, url.Values{"name": {"x"}}), string(role)+" POST "+page, want)
			}
		}
	}
	if n := len(w.Register.Current().Pools()); n != 1 {
		t.Errorf("%d pools after nobody could change them", n)
	}
}

func TestCSRF(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := as(t, w, accounts.Analyst)
	page := parse(t, b.page("/pools/quarry/remove", http.StatusOK))
	was := ""
	for _, n := range nodes(page, "input") {
		if attr(n, "name") == "was" {
			was = attr(n, "value")
		}
	}
	read(t, b.do(http.MethodPost, "/pools/quarry/remove", url.Values{"csrf": {"wrong"}, "was": {was}}), "wrong token", http.StatusForbidden)
	read(t, b.do(http.MethodGet, "/pools/quarry/remove?was="+was+"&csrf="+b.csrf, nil), "GET changes nothing", http.StatusOK)
	if w.Register.Current().Pool("quarry") == nil {
		t.Fatal("removed without the token")
	}
	read(t, b.do(http.MethodPost, "/pools/quarry/remove", url.Values{"was": {was}}), "right token", http.StatusSeeOther)
	if w.Register.Current().Pool("quarry") != nil {
		t.Fatal("not removed with the token")
	}
}

func TestLogin(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := &browser{t: t, handler: w.Handler}
	page := read(t, b.do(http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {"wrong wrong wrong"}}), "wrong password", http.StatusUnauthorized)
	if !strings.Contains(page, "Name or password is wrong.") || strings.Contains(page, "wrong wrong") {
		t.Error("the page of a failed login is wrong")
	}
	for next, want := range map[string]string{
		"/hits?before=1": "/hits?before=1&done=login", "//evil.invalid": "/?done=login", `/\evil.invalid`: "/?done=login", "https://evil.invalid/": "/?done=login",
		"javascript:alert(1)": "/?done=login", "": "/?done=login", "/%2f/evil.invalid": "/?done=login", "/x\r\nSet-Cookie: a=b": "/?done=login", "pools": "/?done=login",
	} {
		resp := b.do(http.MethodPost, "/login", url.Values{"name": {"viewer"}, "password": {webtest.Password}, "next": {next}})
		read(t, resp, "login", http.StatusSeeOther)
		if got := resp.header.Get("Location"); got != want {
			t.Errorf("next %q goes to %q, want %q", next, got, want)
		}
	}
	v := as(t, w, accounts.Viewer)
	read(t, v.do(http.MethodPost, "/logout", url.Values{}), "logout", http.StatusSeeOther)
	read(t, v.do(http.MethodGet, "/pools", nil), "after logout", http.StatusSeeOther)
	for range accounts.NameFailures {
		read(t, b.do(http.MethodPost, "/login", url.Values{"name": {"admin"}, "password": {"wrong wrong wrong"}}), "wrong password", http.StatusUnauthorized)
	}
	resp := b.do(http.MethodPost, "/login", url.Values{"name": {"admin"}, "password": {webtest.Password}})
	read(t, resp, "too many", http.StatusTooManyRequests)
	if resp.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	far := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login", nil) // from 192.0.2.1, without TLS
	rec := httptest.NewRecorder()
	w.Handler.ServeHTTP(rec, far)
	if strings.Contains(rec.Body.String(), `type="password"`) {
		t.Error("a password is asked for in the clear")
	}
}

// TestBare holds pages without history, accounts, journal and all else that may be missing.
func TestBare(t *testing.T) {
	w := webtest.New(t, webtest.Options{Bare: true, Anonymous: accounts.Viewer})
	b := &browser{t: t, handler: w.Handler}
	for page, need := range everyPage() {
		want := http.StatusOK
		switch {
		case need == accounts.Analyst, need == accounts.Admin:
			want = http.StatusUnauthorized
			resp := b.do(http.MethodGet, page, nil)
			read(t, resp, page, want)
			continue
		case strings.HasPrefix(page, "/hits"), page == "/suspects", page == "/login", page == endpoint:
			want = http.StatusNotFound
		}
		check(t, page, b.page(page, want))
	}
}

// check holds what every page has to keep.
func check(t *testing.T, name, page string) {
	t.Helper()
	root := parse(t, page)
	byID, labels := map[string]*html.Node{}, map[string]bool{}
	for _, n := range nodes(root) {
		if id := attr(n, "id"); id != "" {
			if byID[id] != nil {
				t.Errorf("%s: two elements are #%s", name, id)
			}
			byID[id] = n
		}
		if n.Data == "label" && attr(n, "for") != "" {
			labels[attr(n, "for")] = true
		}
	}
	level, mains, h1 := 0, 0, 0
	for _, n := range nodes(root) {
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc":
				t.Errorf("%s: <%s> has %s", name, n.Data, a.Key)
			case slices.Contains([]string{"href", "src", "action", "formaction", "xlink:href"}, a.Key):
				if u, err := url.Parse(a.Val); err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("%s: <%s %s=%q> leads elsewhere", name, n.Data, a.Key, a.Val)
				}
			case slices.Contains([]string{"aria-describedby", "aria-labelledby", "for"}, a.Key):
				if byID[a.Val] == nil {
					t.Errorf("%s: %s of <%s> is #%s, which is not there", name, a.Key, n.Data, a.Val)
				}
			}
		}
		switch n.Data {
		case "script":
			if attr(n, "src") == "" || n.FirstChild != nil {
				t.Errorf("%s: an inline script", name)
			}
		case "style", "iframe", "object", "embed", "base", "img":
			t.Errorf("%s: <%s>", name, n.Data)
		case "input", "select", "textarea":
			inLabel := n.Parent.Data == "label"
			if attr(n, "type") != "hidden" && !inLabel && !labels[attr(n, "id")] {
				t.Errorf("%s: <%s name=%q> has no label", name, n.Data, attr(n, "name"))
			}
		case "a", "button", "summary":
			if strings.TrimSpace(inner(n)) == "" {
				t.Errorf("%s: <%s href=%q> has no name", name, n.Data, attr(n, "href"))
			}
		case "main":
			mains++
		case "h1", "h2", "h3", "h4":
			l := int(n.Data[1] - '0')
			if l > level+1 {
				t.Errorf("%s: <%s> %q after a heading of level %d", name, n.Data, inner(n), level)
			}
			if level = l; l == 1 {
				h1++
			}
		case "th":
			if attr(n, "scope") == "" {
				t.Errorf("%s: a heading of a table without scope", name)
			}
		case "svg":
			var b bytes.Buffer
			if err := html.Render(&b, n); err != nil {
				t.Fatal(err)
			}
			if err := wellFormed(b.String()); err != nil {
				t.Errorf("%s: svg: %v", name, err)
			}
			if attr(n, "aria-hidden") == "" && (attr(n, "role") != "img" || attr(n, "aria-label") == "") {
				t.Errorf("%s: an svg without a name", name)
			}
		case "html":
			if attr(n, "lang") != "en" {
				t.Errorf("%s: no language", name)
			}
		}
	}
	if mains != 1 || h1 != 1 {
		t.Errorf("%s: %d main, %d h1", name, mains, h1)
	}
	for _, r := range page {
		if r < ' ' && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200b || r == 0xfffd {
			t.Errorf("%s: the character %U is in the page", name, r)
			break
		}
	}
}

func wellFormed(s string) error {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestPages(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := as(t, w, accounts.Admin)
	for page := range everyPage() {
		check(t, page, b.page(page, http.StatusOK))
	}
	for page, words := range map[string][]string{
		"/":                                {"endpoints of 1 pools"},
		"/?q=" + webtest.Server:            {"<strong>Yes</strong>", "Quarry", "45.60.1.2", "confirmed", "quarry-pool[.]net/help", "high", ` datetime="2026-02-24T12:00:00Z"`},
		"/?q=45.60.1.2:3333&at=2025-01-01": {"<strong>No</strong>"},
		"/?q=.quarry-pool.net":             {"btc.quarry-pool.net", webtest.Server},
		"/?q=nothing.quarry-pool.net":      {"<strong>No</strong>"},
		"/?q=x&at=never":                   {"This cannot be asked"},
		"/pools":                           {"Quarry", "public", ">3<", ">5<"},
		"/pools/quarry":                    {"Quarry Ltd", "https://quarry-pool[.]net/", webtest.Server, "Add a server"},
		"/servers":                         {webtest.Server, "2a06:1::7", "3333 XMR", "45.60.1.2"},
		"/servers/" + webtest.Server:       {"<svg", "45.60.9.9", "edge.quarry-pool.net", "SERVFAIL", "bar-address"},
		endpoint:                           {"<svg", "bar-not-pool", "bar-silent", "bar-confirmed", "b88d0600", "it speaks HTTP", "timed out", "Proof evidence", "The catalogue says that Quarry has"},
		"/coins/XMR":                       {"https://explorer[.]quarry-pool[.]net/tx/{txid}", "Transaction", "Pools"},
		"/ports":                           {"3333", "BTC", "XMR"},
		"/addresses":                       {"45.60.1.2", "2a06:1::5", "cdn"},
		"/dashboard":                       {"Endpoints per coin", "Servers per pool", "Addresses per pool", "<rect", "7, 0 due"},
		"/hits":                            {"10.1.2.3", "3.25 packets a minute", "8.5 of 7", "Older hits"},
		"/suspects":                        {"10.1.2.4", "8.5 of 7", "3.25 packets a minute"},
		"/about":                           {"Apache License 2.0", "v0.0.0-test", "quarry-pool[.]net/help"},
		"/pools?find=nothing-fits":         {"No pool fits"},
	} {
		got := b.page(page, http.StatusOK)
		for _, word := range words {
			if !strings.Contains(html.UnescapeString(got), html.UnescapeString(word)) {
				t.Errorf("%s has no %q", page, word)
			}
		}
	}
	for _, page := range []string{"/nothing", "/pools/nothing", "/servers/nothing.net", "/endpoints/1.2.3.4/5", "/endpoints/x/5", "/endpoints/1.2.3.4/0", "/coins/NO", "//pools", "/pools/../pools", "/static/nothing", "/static/..%2Fweb.go"} {
		b.page(page, http.StatusNotFound)
	}
}

func TestStatic(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := &browser{t: t, handler: w.Handler}
	for name, kind := range map[string]string{"style.css": "text/css", "page.js": "text/javascript", "theme.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		resp := b.do(http.MethodGet, "/static/"+name, nil)
		read(t, resp, name, http.StatusOK)
		if got := resp.header.Get("Content-Type"); !strings.HasPrefix(got, kind) {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestTable holds sorting, filters, paging and CSV on the shipped catalogue.
func TestTable(t *testing.T) {
	w := webtest.New(t, webtest.Options{Shipped: true, Anonymous: accounts.Viewer})
	b := &browser{t: t, handler: w.Handler}
	rows := func(target string) [][]string {
		got, err := csv.NewReader(strings.NewReader(b.page(target, http.StatusOK))).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		return got
	}
	all := rows("/endpoints?format=csv")
	coin := slices.Index(all[0], "coin")
	port := slices.Index(all[0], "port")
	if len(all) < 400 || coin < 0 || port < 0 {
		t.Fatalf("%d rows with %v", len(all), all[0])
	}
	want := 0
	for _, r := range all[1:] {
		if r[coin] == "XMR" {
			want++
		}
	}
	if got := len(rows("/endpoints?format=csv&coin=XMR")) - 1; got != want || want == 0 {
		t.Errorf("%d rows of XMR, want %d", got, want)
	}
	// All pages together have every row once, in the order asked for.
	seen := 0
	last := ""
	for target := "/endpoints?coin=XMR&sort=-port"; target != ""; {
		root := parse(t, b.page(target, http.StatusOK))
		target = ""
		for _, n := range nodes(root, "th") {
			if strings.Contains(attr(n.FirstChild, "href"), "sort=port") && attr(n, "aria-sort") != "descending" {
				t.Errorf("aria-sort is %q", attr(n, "aria-sort"))
			}
		}
		for _, n := range nodes(root, "td") {
			if attr(n, "data-label") == "Port" {
				p := strings.Repeat("0", 5-len(inner(n))) + inner(n)
				if seen++; last != "" && p > last {
					t.Fatalf("port %s after %s", p, last)
				}
				last = p
			}
		}
		for _, n := range nodes(root, "a") {
			if attr(n, "rel") == "next" {
				target = attr(n, "href")
			}
		}
	}
	if seen != want {
		t.Errorf("%d rows on all pages, %d in CSV", seen, want)
	}
	for page := range everyPage() {
		if everyPage()[page] == accounts.Viewer {
			check(t, page, b.page(page, http.StatusOK))
		}
	}
}

// values gives what a form would send.
func values(root *html.Node) url.Values {
	v := url.Values{}
	for _, n := range nodes(root, "input", "select") {
		switch {
		case n.Data == "select":
			for _, o := range nodes(n, "option") {
				if slices.ContainsFunc(o.Attr, func(a html.Attribute) bool { return a.Key == "selected" }) || !v.Has(attr(n, "name")) {
					v.Set(attr(n, "name"), attr(o, "value"))
				}
			}
		case attr(n, "type") != "checkbox" || slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "checked" }):
			v.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	return v
}

// TestForms adds, changes and removes each sort of row through its form.
func TestForms(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := as(t, w, accounts.Analyst)
	for _, tt := range []struct {
		name, page string
		send       map[string]string
		status     int
		says       string // in the page, or the address it goes to
		holds      func(c *catalog.Catalog) bool
	}{
		{"no pool", "/pools/new", map[string]string{"id": "Not An ID", "name": "", "source": ""}, 422, "must have a name", nil},
		{"no source", "/pools/new", map[string]string{"id": "new-pool", "name": "New", "source": ""}, 422, "source is missing", nil},
		{"taken", "/pools/new", map[string]string{"id": "quarry", "name": "New", "source": "x"}, 422, "id is taken", nil},
		{"bad address", "/pools/new", map[string]string{"id": "new-pool", "name": "New", "source": "x", "url": "javascript:alert(1)"}, 422, "is no web address", nil},
		{"bad day", "/pools/new", map[string]string{"id": "new-pool", "name": "New", "source": "x", "as_of": "yesterday"}, 422, "is no day", nil},
		{"bidi", "/pools/new", map[string]string{"id": "new-pool", "name": "New\u202e", "source": "x"}, 422, "cannot be printed", nil},
		{"pool", "/pools/new", map[string]string{"id": "new-pool", "name": "New", "source": "https://new-pool.net/"}, 303, "/pools/new-pool?done=added", func(c *catalog.Catalog) bool { return c.Pool("new-pool").Name == "New" }},
		{"pool changed", "/pools/new-pool/edit", map[string]string{"name": "Newer"}, 303, "/pools/new-pool?done=changed", func(c *catalog.Catalog) bool { return c.Pool("new-pool").Name == "Newer" }},

		{"no server", "/pools/new-pool/servers/new", map[string]string{"host": "localhost", "port": "70000", "coin": "XMR"}, 422, "port has to be a number", nil},
		{"reserved name", "/pools/new-pool/servers/new", map[string]string{"host": "pool.example.com", "port": "1", "coin": "XMR"}, 422, "is a reserved name", nil},
		{"reserved address", "/pools/new-pool/servers/new", map[string]string{"host": "127.0.0.1", "port": "1", "coin": "XMR"}, 422, "is reserved", nil},
		{"no coin", "/pools/new-pool/servers/new", map[string]string{"host": "a.new-pool.net", "port": "1", "coin": "NONE"}, 422, "has no coin", nil},
		{"other pool's", "/pools/new-pool/servers/new", map[string]string{"host": webtest.Server, "port": "3333", "coin": "XMR"}, 422, "in the catalogue already, at quarry", nil},
		{"server", "/pools/new-pool/servers/new", map[string]string{"host": "A.New-Pool.net.", "port": "4444", "coin": "XMR", "tls": "yes"}, 303, "/servers/a.new-pool.net?done=added", func(c *catalog.Catalog) bool {
			return len(c.Host("a.new-pool.net")) == 1 && c.Host("a.new-pool.net")[0].Endpoint.TLS
		}},
		{"server again", "/pools/new-pool/servers/new", map[string]string{"host": "a.new-pool.net", "port": "4445", "coin": "XMR"}, 422, "in the pool already", nil},
		{"server changed", "/pools/new-pool/servers/a.new-pool.net/edit", map[string]string{"region": "eu"}, 303, "/pools/new-pool?done=changed", func(c *catalog.Catalog) bool { return c.Host("a.new-pool.net")[0].Server.Region == "eu" }},

		{"endpoint", "/pools/new-pool/servers/a.new-pool.net/endpoints/new", map[string]string{"port": "5555", "coin": "BTC"}, 303, "/pools/new-pool?done=added", func(c *catalog.Catalog) bool { return len(c.Host("a.new-pool.net")) == 2 }},
		{"endpoint again", "/pools/new-pool/servers/a.new-pool.net/endpoints/new", map[string]string{"port": "5555", "coin": "BTC"}, 422, "already", nil},
		{"endpoint changed", "/pools/new-pool/servers/a.new-pool.net/endpoints/5555/BTC/edit", map[string]string{"port": "5556"}, 303, "/pools/new-pool?done=changed", func(c *catalog.Catalog) bool { return c.Host("a.new-pool.net")[1].Endpoint.Port == 5556 }},
		{"endpoint removed", "/pools/new-pool/servers/a.new-pool.net/endpoints/5556/BTC/remove", nil, 303, "/pools/new-pool?done=removed", func(c *catalog.Catalog) bool { return len(c.Host("a.new-pool.net")) == 1 }},

		{"no coin added", "/coins/new", map[string]string{"symbol": "new", "source": "x"}, 422, "is not upper-case", nil},
		{"coin", "/coins/new", map[string]string{"symbol": "NEW", "name": "New", "algorithm": "rx/0", "dialect": "cryptonote", "source": "https://new.net/", "explorer.address": "https://new.net/{address}"}, 303, "/coins/NEW?done=added", func(c *catalog.Catalog) bool { return c.Coin("NEW").Explorer["address"] == "https://new.net/{address}" }},
		{"coin changed", "/coins/NEW/edit", map[string]string{"name": "Newer"}, 303, "/coins/NEW?done=changed", func(c *catalog.Catalog) bool { return c.Coin("NEW").Name == "Newer" }},
		{"coin removed", "/coins/NEW/remove", nil, 303, "/coins?done=removed", func(c *catalog.Catalog) bool { return c.Coin("NEW") == nil }},
		{"coin of a file", "/coins/XMR/remove", nil, 422, "changed, not removed", func(c *catalog.Catalog) bool { return c.Coin("XMR") != nil }},

		{"server removed", "/pools/new-pool/servers/a.new-pool.net/remove", nil, 303, "/pools/new-pool?done=removed", func(c *catalog.Catalog) bool { return len(c.Host("a.new-pool.net")) == 0 }},
		{"pool of a file changed", "/pools/quarry/edit", map[string]string{"note": "seen"}, 303, "/pools/quarry?done=changed", func(c *catalog.Catalog) bool {
			return c.Pool("quarry").Note == "seen" && len(c.Host(webtest.Server)) == 2
		}},
		{"pool removed", "/pools/new-pool/remove", nil, 303, "/pools?done=removed", func(c *catalog.Catalog) bool { return c.Pool("new-pool") == nil }},
		{"pool of a file removed", "/pools/quarry/remove", nil, 303, "/pools?done=removed", func(c *catalog.Catalog) bool { return c.Pool("quarry") == nil && len(c.Pools()) == 0 }},
	} {
		form := values(parse(t, b.page(tt.page, http.StatusOK)))
		for k, v := range tt.send {
			form.Set(k, v)
		}
		before, err := counted(w)
		if err != nil {
			t.Fatal(err)
		}
		resp := b.do(http.MethodPost, tt.page, form)
		page := read(t, resp, tt.name, tt.status)
		after, err := counted(w)
		if err != nil {
			t.Fatal(err)
		}
		if tt.status == http.StatusSeeOther {
			if got := resp.header.Get("Location"); got != tt.says {
				t.Errorf("%s goes to %q, want %q", tt.name, got, tt.says)
			}
			if after != before+1 {
				t.Errorf("%s: %d entries of the journal, want one more than %d", tt.name, after, before)
			}
		} else {
			check(t, tt.name, page)
			if !strings.Contains(html.UnescapeString(page), tt.says) {
				t.Errorf("%s does not say %q", tt.name, tt.says)
			}
			if after != before {
				t.Errorf("%s: the journal has what was not done", tt.name)
			}
		}
		if tt.holds != nil && !tt.holds(w.Register.Current()) {
			t.Errorf("%s is not so in the catalogue", tt.name)
		}
	}
	entries, _, err := w.Changes.Read(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[0]
	if diff := cmp.Diff([]string{"user analyst", "pool.remove", "quarry", ""}, []string{last.Who, last.Action, last.Object, string(last.After)}); diff != "" || !strings.Contains(string(last.Before), "Quarry") {
		t.Errorf("the last entry (-want +got):\n%s", diff)
	}
	admin := as(t, w, accounts.Admin)
	check(t, "/changes", admin.page("/changes", http.StatusOK))
	// What was removed is not brought back by a restart.
	if got := w.Register.Current().Pools(); len(got) != 0 {
		t.Errorf("%d pools are left", len(got))
	}
}

func counted(w *webtest.World) (int, error) {
	entries, _, err := w.Changes.Read(0, 1000)
	return len(entries), err
}

// TestConflict holds that nobody undoes unseen what somebody else did meanwhile.
func TestConflict(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := as(t, w, accounts.Analyst)
	form := values(parse(t, b.page("/pools/quarry/edit", http.StatusOK)))
	form.Set("note", "first")
	read(t, b.do(http.MethodPost, "/pools/quarry/edit", form), "first", http.StatusSeeOther)
	form.Set("note", "second")
	page := read(t, b.do(http.MethodPost, "/pools/quarry/edit", form), "second", http.StatusConflict)
	if !strings.Contains(page, "changed meanwhile") || w.Register.Current().Pool("quarry").Note != "first" {
		t.Error("a change was undone unseen")
	}
	check(t, "conflict", page)
}

func TestOrders(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	b := as(t, w, accounts.Analyst)
	read(t, b.do(http.MethodPost, endpoint+"/ask", url.Values{}), "ask", http.StatusSeeOther)
	read(t, b.do(http.MethodPost, "/endpoints/8.8.8.8/53/ask", url.Values{}), "ask anybody", http.StatusNotFound)
	read(t, b.do(http.MethodPost, "/servers/"+webtest.Server+"/resolve", url.Values{}), "resolve", http.StatusSeeOther)
	read(t, b.do(http.MethodPost, "/servers/other.net/resolve", url.Values{}), "resolve any name", http.StatusNotFound)
	entries, _, err := w.Changes.Read(0, 2)
	if err != nil || len(entries) != 2 || entries[0].Action != "sweep.resolve" || entries[0].Object != webtest.Server || entries[1].Action != "sweep.probe" ||
		entries[0].Who == "" {
		t.Errorf("the journal has %+v, %v", entries, err)
	}
	if len(w.Sweep.Endpoints) != 1 || w.Sweep.Endpoints[0] != webtest.Endpoint() || len(w.Sweep.Names) != 1 || w.Sweep.Names[0] != webtest.Server {
		t.Errorf("the sweep was told %v and %v", w.Sweep.Endpoints, w.Sweep.Names)
	}
}

// TestHostile puts strings of an attacker wherever others could put text.
func TestHostile(t *testing.T) {
	for _, say := range append(webtest.Hostile(), strings.Repeat("<b>long ", 1<<17)) {
		w := webtest.New(t, webtest.Options{Say: say})
		b := as(t, w, accounts.Admin)
		for _, page := range []string{"/pools", "/coins", "/endpoints", "/suspects"} {
			rows, err := csv.NewReader(strings.NewReader(b.page(page+"?format=csv", http.StatusOK))).ReadAll()
			if err != nil || len(rows) < 2 {
				t.Errorf("%s as CSV: %d rows, %v", page, len(rows), err)
			}
			for _, cell := range slices.Concat(rows...) {
				if strings.HasPrefix(strings.TrimLeft(cell, " \u00a0"), "=") || strings.ContainsAny(cell, "\x1b\x00\u202e\r") {
					t.Errorf("%s as CSV has %q", page, cell[:min(len(cell), 60)])
				}
			}
		}
		for page := range everyPage() {
			if len(say) > 1000 && (strings.HasSuffix(page, "/edit") || strings.Contains(page, "?")) {
				continue // who changes a text sees all of it; and the others are as long without a query
			}
			resp := b.do(http.MethodGet, page, nil)
			got := read(t, resp, page, resp.status)
			if resp.status >= http.StatusInternalServerError {
				t.Errorf("%q breaks %s", say[:min(len(say), 40)], page)
			}
			if resp.status == http.StatusOK {
				check(t, page, got)
				if strings.Contains(got, "<b>long") || strings.Contains(got, "onerror=alert(1)>") || strings.Contains(got, "<script>alert") {
					t.Errorf("%s has %q unescaped", page, say[:min(len(say), 40)])
				}
			}
			if len(got) > 1<<19 {
				t.Errorf("%s is %d bytes long", page, len(got))
			}
		}
	}
}

// FuzzSearch asks anything: every answer is a page that keeps what pages have to keep.
func FuzzSearch(f *testing.F) {
	w := webtest.New(f, webtest.Options{Anonymous: accounts.Viewer})
	for _, s := range append(webtest.Hostile(), "quarry", ":3333", ".quarry-pool.net", "45.60.1.2/16", webtest.Server) {
		f.Add(s, "2026-01-01", "/pools", s)
		f.Add(s, s, "/", s)
	}
	f.Fuzz(func(t *testing.T, q, at, path, find string) {
		b := &browser{t: t, handler: w.Handler}
		query := url.Values{"q": {q}, "at": {at}, "find": {find}, "sort": {find}, "coin": {find}, "page": {at}, "before": {q}}.Encode()
		for _, p := range []string{"/", "/endpoints", "/hits", (&url.URL{Path: "/servers/" + path}).EscapedPath()} {
			resp := b.do(http.MethodGet, p+"?"+query, nil)
			page := read(t, resp, p, resp.status)
			if resp.status >= http.StatusInternalServerError {
				t.Fatalf("%s: status %d", p, resp.status)
			}
			if resp.status != http.StatusOK && resp.status != http.StatusNotFound {
				continue
			}
			check(t, p, page)
		}
	})
}

// The sweeper and the history are what the pages need.
var (
	_ web.Sweep   = (*sweep.Sweeper)(nil)
	_ web.History = (*history.DB)(nil)
)

func TestIndexIsUsed(t *testing.T) {
	// The pages and the index must speak of the same catalogue after a change.
	w := webtest.New(t, webtest.Options{})
	if w.Index.Catalog() != w.Register.Current() {
		t.Error("the index has another catalogue than the register")
	}
	if got := w.Index.Find(lookup.Query{Kind: lookup.ByName, Name: webtest.Server}, 10).Matches; len(got) == 0 {
		t.Error("no history in the index")
	}
}

// BenchmarkPage measures pages over the shipped catalogue.
func BenchmarkPage(b *testing.B) {
	w := webtest.New(b, webtest.Options{Shipped: true, Anonymous: accounts.Viewer})
	for _, page := range []string{"/?q=" + webtest.Server, "/pools", "/endpoints?sort=-last_proof", endpoint, "/dashboard"} {
		b.Run(page, func(b *testing.B) {
			for b.Loop() {
				rec := httptest.NewRecorder()
				if w.Handler.ServeHTTP(rec, httptest.NewRequestWithContext(b.Context(), http.MethodGet, page, nil)); rec.Code != http.StatusOK {
					b.Fatalf("status %d", rec.Code)
				}
			}
		})
	}
}

package accounts

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// who answers with the principal of the request and what is left of its form.
var who = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, From(r.Context()).String()+" "+r.PostFormValue("pool"))
})

// request makes one from this machine, as a browser on a page of ours would.
func request(method, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:9102/pools", strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4711"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem checks that an answer is a problem document and gives its detail.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int) string {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || p.Type != "about:blank" ||
		p.Title != http.StatusText(status) || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("want the problem %d, got %d %v %s (%v)", status, w.Code, w.Header(), w.Body, err)
	}
	return p.Detail
}

// hasAccount tells whether it is a principal such as "user alice" or "token ci".
func hasAccount(who string) bool {
	return strings.HasPrefix(who, "user ") || strings.HasPrefix(who, "token ")
}

// TestRoleMatrix has everybody ask for everything.
func TestRoleMatrix(t *testing.T) {
	b := setUp(t)
	ask := map[string]func() *http.Request{
		"nobody": func() *http.Request { return request("GET", "") },
		"stale session": func() *http.Request {
			return request("GET", "", "Cookie", LoopbackCookieName+"="+newSecret())
		},
		"basic": func() *http.Request { return request("GET", "", "Authorization", "Basic YWxpY2U6c2VjcmV0") },
	}
	for _, role := range Roles() {
		name := string(role)
		ok(t, b.AddUser(name, role, good))
		secret, err := b.AddToken(name, role, time.Time{})
		ok(t, err)
		cookie := b.login(t, name).Cookie
		ask["user "+name] = func() *http.Request { return request("GET", "", "Cookie", LoopbackCookieName+"="+cookie) }
		ask["token "+name] = func() *http.Request { return request("GET", "", "Authorization", "bearer "+secret) }
	}
	type codes [4]int // for what needs nobody, a viewer, an analyst, an admin
	want := map[string]codes{
		"nobody":        {200, 401, 401, 401},
		"stale session": {200, 401, 401, 401},
		"basic":         {200, 401, 401, 401},
		"user viewer":   {200, 200, 403, 403},
		"token viewer":  {200, 200, 403, 403},
		"user analyst":  {200, 200, 200, 403},
		"token analyst": {200, 200, 200, 403},
		"user admin":    {200, 200, 200, 200},
		"token admin":   {200, 200, 200, 200},
	}
	got := map[string]codes{}
	for name, make := range ask {
		var c codes
		for i, need := range append([]Role{Nobody}, Roles()...) {
			w := serve(b.Middleware(Require(need, who)), make())
			c[i] = w.Code
			if w.Code != 200 {
				problem(t, w, w.Code)
			} else if said, known := strings.TrimSpace(w.Body.String()), hasAccount(name); known && said != name || !known && said != "nobody" {
				t.Errorf("%s is taken for %s", name, said)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge == realm) != (w.Code == 401) {
				t.Errorf("%s: %d with %q", name, w.Code, challenge)
			}
			if got := w.Header().Get("Vary"); got != "Authorization, Cookie" {
				t.Errorf("Vary: %s", got)
			}
		}
		got[name] = c
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("role matrix (-want +got):\n%s", diff)
	}
}

// TestRequireAlone has a handler ask for a role where nothing finds out who asks.
func TestRequireAlone(t *testing.T) {
	problem(t, serve(Require(Viewer, who), request("GET", "")), 401)
	problem(t, serve(Require("root", who), request("GET", "")), 401)
}

func TestBadToken(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Admin, good))
	cookie := LoopbackCookieName + "=" + b.login(t, "alice").Cookie
	ended, err := b.AddToken("ended", Admin, b.now().Add(time.Minute))
	ok(t, err)
	b.advance(time.Minute)
	for _, auth := range []string{"Bearer " + tokenPrefix + newSecret(), "Bearer ended", "Bearer", "bearer ", "BEARER " + ended} {
		// A token that is none is an error, not nobody, and no session makes up for it.
		w := serve(b.Middleware(who), request("GET", "", "Authorization", auth, "Cookie", cookie))
		problem(t, w, 401)
		if got := w.Header().Get("WWW-Authenticate"); got != realm+`, error="invalid_token"` {
			t.Errorf("WWW-Authenticate: %s", got)
		}
	}
}

func TestCSRF(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Analyst, good))
	ok(t, b.AddUser("mallory", Analyst, good))
	s, other := b.login(t, "alice"), b.login(t, "mallory")
	secret, err := b.AddToken("ci", Analyst, time.Time{})
	ok(t, err)
	csrf := s.Principal.CSRF
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	field := url.Values{CSRFField: {csrf}, "pool": {"example"}}.Encode()
	var parts bytes.Buffer
	mp := multipart.NewWriter(&parts)
	ok(t, errors.Join(mp.WriteField("pool", "example"), mp.WriteField(CSRFField, csrf), mp.Close()))
	session := []string{"Cookie", LoopbackCookieName + "=" + s.Cookie}
	same := append([]string{"Sec-Fetch-Site", "same-origin"}, session...)
	with := func(base []string, more ...string) []string { return append(append([]string{}, base...), more...) }
	tests := []struct {
		name, method, body string
		headers            []string
		want               int
	}{
		{"read", "GET", "", session, 200},
		{"read from elsewhere", "GET", "", with(session, "Sec-Fetch-Site", "cross-site"), 200},
		{"head", "HEAD", "", session, 200},
		{"header", "POST", "{}", with(same, CSRFHeader, csrf, "Content-Type", jsonType), 200},
		{"put", "PUT", "{}", with(same, CSRFHeader, csrf), 200},
		{"delete", "DELETE", "", with(same, CSRFHeader, csrf), 200},
		{"form", "POST", field, with(same, "Content-Type", form), 200},
		{"form with charset", "POST", field, with(same, "Content-Type", form+"; charset=utf-8"), 200},
		{"multipart", "POST", parts.String(), with(same, "Content-Type", mp.FormDataContentType()), 200},
		{"origin", "POST", "", with(session, "Origin", "http://127.0.0.1:9102", CSRFHeader, csrf), 200},
		{"no referrer", "POST", "", with(same, "Origin", "null", CSRFHeader, csrf), 200},

		{"no CSRF token", "POST", "{}", same, 403},
		{"no CSRF token, patch", "PATCH", "{}", same, 403},
		{"no CSRF token, own method", "PURGE", "", same, 403},
		{"empty CSRF token", "POST", "{}", with(same, CSRFHeader, ""), 403},
		{"CSRF token of another", "POST", "{}", with(same, CSRFHeader, other.Principal.CSRF), 403},
		{"the cookie as CSRF token", "POST", "{}", with(same, CSRFHeader, s.Cookie), 403},
		{"shorter", "POST", "{}", with(same, CSRFHeader, csrf[1:]), 403},
		{"wrong header, right field", "POST", field, with(same, CSRFHeader, "x", "Content-Type", form), 403},
		{"field in a body that is no form", "POST", field, with(same, "Content-Type", jsonType), 403},
		{"field in text", "POST", field, with(same, "Content-Type", "text/plain"), 403},
		{"no type", "POST", field, same, 403},
		{"no page", "POST", "{}", with(session, CSRFHeader, csrf), 403},
		{"other site", "POST", "{}", with(session, CSRFHeader, csrf, "Sec-Fetch-Site", "cross-site"), 403},
		{"same site", "POST", "{}", with(session, CSRFHeader, csrf, "Sec-Fetch-Site", "same-site"), 403},
		{"other site, our origin", "POST", "{}", with(session, CSRFHeader, csrf, "Sec-Fetch-Site", "cross-site", "Origin", "http://127.0.0.1:9102"), 403},
		{"other port", "POST", "{}", with(session, CSRFHeader, csrf, "Origin", "http://127.0.0.1:9103"), 403},
		{"other origin", "POST", "{}", with(session, CSRFHeader, csrf, "Origin", "http://pool.example"), 403},
		{"no origin", "POST", "{}", with(session, CSRFHeader, csrf, "Origin", "null"), 403},
		{"origin that is none", "POST", "{}", with(session, CSRFHeader, csrf, "Origin", "127.0.0.1:9102"), 403},
		{"too long a form", "POST", "pool=" + strings.Repeat("x", MaxForm) + "&" + field, with(same, "Content-Type", form), 413},
		{"too long a multipart", "POST", strings.Replace(parts.String(), "example", strings.Repeat("x", MaxForm), 1), with(same, "Content-Type", mp.FormDataContentType()), 413},
		{"multipart without boundary", "POST", field, with(same, "Content-Type", "multipart/form-data"), 400},
		{"torn multipart", "POST", parts.String()[:parts.Len()-20], with(same, "Content-Type", mp.FormDataContentType()), 400},
		{"bad form", "POST", "%zz&" + field, with(same, "Content-Type", form), 400},

		{"token", "POST", "{}", []string{"Authorization", "Bearer " + secret}, 200},
		{"token and session", "POST", "{}", with(session, "Authorization", "Bearer "+secret), 200},
		{"program", "POST", "{}", nil, 200},
		{"login page", "POST", "{}", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"login from elsewhere", "POST", "{}", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"login from elsewhere, old browser", "POST", "{}", []string{"Origin", "https://pool.example"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := serve(b.Middleware(who), request(tt.method, tt.body, tt.headers...))
			if w.Code != tt.want {
				t.Fatalf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
			if tt.want != 200 {
				problem(t, w, tt.want)
			} else if strings.Contains(tt.body, "example") && w.Body.String() != "user alice example" {
				t.Errorf("the handler got %q", w.Body)
			}
		})
	}
}

// way is a request that came in some way.
func way(secure bool, remote string) *http.Request {
	r := request("GET", "")
	r.RemoteAddr = remote
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	return r
}

func TestCookies(t *testing.T) {
	tests := []struct {
		name string
		r    *http.Request
		want string // the whole header, but for the secret
	}{
		{"TLS", way(true, "192.0.2.7:4711"), "__Host-minecanary=SECRET; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"},
		{"TLS on loopback", way(true, "127.0.0.1:4711"), "__Host-minecanary=SECRET; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"},
		{"loopback", way(false, "127.0.0.1:4711"), "minecanary=SECRET; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"},
		{"loopback IPv6", way(false, "[::1]:4711"), "minecanary=SECRET; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"},
		{"loopback, IPv4 in IPv6", way(false, "[::ffff:127.0.0.1]:4711"), "minecanary=SECRET; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"},
		{"network", way(false, "192.0.2.7:4711"), ""},
		{"link-local", way(false, "[fe80::1%eth0]:4711"), ""},
		{"no address", way(false, "@"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setUp(t)
			ok(t, b.AddUser("alice", Viewer, good))
			s := b.login(t, "alice")
			w := httptest.NewRecorder()
			err := b.SetCookie(w, tt.r, s)
			if secure := b.CheckSecure(tt.r); !errors.Is(err, secure) || !errors.Is(secure, err) {
				t.Errorf("SetCookie: %v, CheckSecure: %v", err, secure)
			}
			if got := strings.Replace(w.Header().Get("Set-Cookie"), s.Cookie, "SECRET", 1); got != tt.want {
				t.Errorf("Set-Cookie: %s, want %s", got, tt.want)
			}
			if tt.want == "" {
				if !errors.Is(err, ErrNotSecure) {
					t.Errorf("%v, want %v", err, ErrNotSecure)
				}
				if _, ok := b.Session(s.Cookie); ok {
					t.Error("the session goes on")
				}
			}
			// Both cookies are sent back: only that of the way counts.
			for _, name := range []string{CookieName, LoopbackCookieName} {
				r := tt.r.Clone(t.Context())
				r.Header.Set("Cookie", name+"="+s.Cookie)
				want := "nobody "
				if strings.HasPrefix(tt.want, name+"=") {
					want = "user alice "
				}
				if got := serve(b.Middleware(who), r).Body.String(); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if tt.want == "" {
				return
			}
			r := tt.r.Clone(t.Context())
			name, _, _ := strings.Cut(tt.want, "=")
			r.Header.Set("Cookie", name+"="+s.Cookie)
			w = httptest.NewRecorder()
			b.EndSession(w, r)
			if want := strings.Replace(strings.Replace(tt.want, "SECRET", "", 1), "43200", "0", 1); w.Header().Get("Set-Cookie") != want {
				t.Errorf("Set-Cookie: %s, want %s", w.Header().Get("Set-Cookie"), want)
			}
			if _, ok := b.Session(s.Cookie); ok {
				t.Error("the session goes on after its end")
			}
		})
	}
}

// TestProxy has the operator say what proves TLS and who asks.
func TestProxy(t *testing.T) {
	b := setUp(t)
	b.opts.Secure = func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") == "https" }
	b.opts.Remote = func(*http.Request) netip.Addr { return here }
	ok(t, b.AddUser("alice", Viewer, good))
	s := b.login(t, "alice")
	r := request("GET", "", "Cookie", CookieName+"="+s.Cookie, "X-Forwarded-Proto", "https")
	if got := serve(b.Middleware(who), r).Body.String(); got != "user alice " {
		t.Errorf("got %q", got)
	}
	if err := b.CheckSecure(request("GET", "")); !errors.Is(err, ErrNotSecure) {
		t.Errorf("%v", err)
	}
}

// TestFixation logs in with a session that somebody else has chosen, or had before: it does not become the new one.
func TestFixation(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	ok(t, b.AddUser("mallory", Viewer, good))
	planted := b.login(t, "mallory")
	for _, cookie := range []string{planted.Cookie, newSecret()} {
		r := request("POST", "", "Cookie", LoopbackCookieName+"="+cookie)
		s := b.login(t, "alice")
		ok(t, b.SetCookie(httptest.NewRecorder(), r, s))
		if s.Cookie == cookie {
			t.Error("the planted cookie is that of the session")
		}
		if p, ok := b.Session(cookie); ok {
			t.Errorf("the planted cookie is a session of %v", p)
		}
		if p, _ := b.Session(s.Cookie); p.Name != "alice" {
			t.Errorf("the new session is one of %v", p)
		}
	}
}

// TestAtOnce uses all there is at once, for the race detector.
func TestAtOnce(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	secret, err := b.AddToken("ci", Viewer, time.Time{})
	ok(t, err)
	s := b.login(t, "alice")
	h := NewLimiter(LimiterOptions{Rate: 1e6, Burst: 1e6}).Middleware(b.Middleware(Require(Viewer, who)))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				if w := serve(h, request("GET", "", "Authorization", "Bearer "+secret)); w.Code != 200 {
					t.Errorf("token: %d", w.Code)
				}
				serve(h, request("GET", "", "Cookie", LoopbackCookieName+"="+s.Cookie))
				b.advance(time.Second)
			}
			if i == 0 {
				if err := b.SetRole("alice", Admin); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLimiter(t *testing.T) {
	c := newClock()
	l := NewLimiter(LimiterOptions{Rate: 0.5, Burst: 3, Now: c.now})
	h := l.Middleware(who)
	from := func(remote string) *httptest.ResponseRecorder {
		r := request("GET", "")
		r.RemoteAddr = remote
		return serve(h, r)
	}
	steps := []struct {
		name, remote string
		after        time.Duration
		want         string // Retry-After
	}{
		{"1", "192.0.2.1:1", 0, ""},
		{"2", "192.0.2.1:2", 0, ""},
		{"3, IPv4 in IPv6", "[::ffff:192.0.2.1]:3", 0, ""},
		{"one too many", "192.0.2.1:4", 0, "2"},
		{"asking again costs nothing", "192.0.2.1:4", 500 * time.Millisecond, "2"},
		{"other address", "192.0.2.2:1", 0, ""},
		{"after the wait", "192.0.2.1:4", 1500 * time.Millisecond, ""},
		{"and again", "192.0.2.1:4", 0, "2"},
		{"IPv6", "[2001:db8::1]:1", 0, ""},
		{"same /64", "[2001:db8::2]:1", 0, ""},
		{"same /64", "[2001:db8::ffff:0:0:1]:1", 0, ""},
		{"same /64", "[2001:db8::3]:1", 0, "2"},
		{"other /64", "[2001:db8:0:1::3]:1", 0, ""},
		{"no address", "@", 0, ""},
	}
	for _, s := range steps {
		c.advance(s.after)
		w := from(s.remote)
		if got := w.Header().Get("Retry-After"); got != s.want {
			t.Errorf("%s: Retry-After %q, want %q", s.name, got, s.want)
		}
		if s.want != "" {
			problem(t, w, 429)
		} else if w.Code != 200 {
			t.Errorf("%s: %d", s.name, w.Code)
		}
	}
	none := NewLimiter(LimiterOptions{Now: c.now})
	if first, second := none.take(network(here)), none.take(network(here)); first != 0 || second != time.Hour {
		t.Errorf("without a rate: %s, %s", first, second)
	}
}

// TestLimiterIsBounded has more networks ask than are remembered.
func TestLimiterIsBounded(t *testing.T) {
	c := newClock()
	l := NewLimiter(LimiterOptions{Rate: 1, Burst: 2, Now: c.now})
	addr := func(i int) netip.Prefix {
		return network(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	for i := range maxNetworks {
		if wait := l.take(addr(i)); wait != 0 {
			t.Fatalf("network %d waits %s", i, wait)
		}
	}
	let := 0
	for i := range 100 {
		if l.take(addr(maxNetworks+i)) == 0 {
			let++
		}
	}
	if let != 2 || len(l.rows) != maxNetworks {
		t.Errorf("%d let through of those for whom there is no room, want 2; %d rows", let, len(l.rows))
	}
	if l.take(addr(0)) != 0 || l.take(addr(0)) == 0 {
		t.Error("one that is remembered does not have its own turns")
	}
	c.advance(time.Minute)
	if l.take(addr(maxNetworks)) != 0 || len(l.rows) != 1 {
		t.Errorf("%d rows after all are idle, want 1", len(l.rows))
	}
}

func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]string{-1: "1", 0: "1", 1: "1", time.Second: "1", time.Second + 1: "2", time.Hour: "3600"} {
		if got := RetryAfter(wait); got != want {
			t.Errorf("%s: %s, want %s", wait, got, want)
		}
	}
}

func TestFromNothing(t *testing.T) {
	if p := From(context.Background()); p != (Principal{}) {
		t.Errorf("%+v", p)
	}
}

// FuzzMiddleware has anything in the headers: nobody gets in.
func FuzzMiddleware(f *testing.F) {
	f.Add("POST", "Bearer mcy_", "__Host-minecanary=x; minecanary=y", "http://127.0.0.1", "same-origin", "application/x-www-form-urlencoded", "csrf=x")
	f.Add("GET", "bearer", "minecanary=\"\"", "null", "", "multipart/form-data; boundary=x", "--x\r\n\r\n--x--")
	f.Add("DELETE", "", "minecanary="+strings.Repeat("A", cookieLength), "://", "none", "a/b; c=\"", "")
	b := Open(f.TempDir()+"/"+FileName, Options{Cost: cheap})
	if err := b.AddUser("alice", Admin, good); err != nil {
		f.Fatal(err)
	}
	h := b.Middleware(Require(Viewer, who))
	f.Fuzz(func(t *testing.T, method, auth, cookie, origin, site, kind, body string) {
		r := request("POST", body, "Authorization", auth, "Cookie", cookie, "Origin", origin, "Sec-Fetch-Site", site, "Content-Type", kind)
		r.Method = method
		if w := serve(h, r); w.Code/100 != 4 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func BenchmarkSession(b *testing.B) {
	a := Open(b.TempDir()+"/"+FileName, Options{Cost: cheap})
	if err := a.AddUser("alice", Viewer, good); err != nil {
		b.Fatal(err)
	}
	s, err := a.Login(b.Context(), "alice", good, here)
	if err != nil {
		b.Fatal(err)
	}
	h := a.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := request("GET", "", "Cookie", LoopbackCookieName+"="+s.Cookie)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		w.Header().Del("Vary")
		h.ServeHTTP(w, r)
	}
}

func BenchmarkDefaultCost(b *testing.B) {
	for b.Loop() {
		argon2id([]byte(good), make([]byte, saltBytes), DefaultCost)
	}
}

//go:build services

// Package browser_test looks at the pages with a real browser: Debian's Chromium, which test/services.sh installs.
// BROWSER_SCREENSHOTS names a folder in which screenshots are kept.
package browser_test

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/web/webtest"
)

//go:embed audit.js
var audit string

const endpoint = "/endpoints/45.60.1.2/3333"

// slow is how long a step may take where other tests run beside it.
const slow = 2 * time.Minute

// window is one browser window with everything it complains about.
type window struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // chromedp keeps the browser in it
	base string

	mu        sync.Mutex
	troubles  []string
	requests  int
	requestID map[network.RequestID]string
	// expect has what is no trouble: the answers to what is refused.
	expect []string
}

// look says how the browser is set.
type look struct {
	name          string
	width, height int64
	dark          bool
}

func looks() []look {
	return []look{
		{"desktop-light", 1280, 900, false},
		{"desktop-dark", 1280, 900, true},
		{"phone-light", 390, 844, false},
		{"phone-dark", 390, 844, true},
	}
}

// browser starts Chromium, once for a test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium; test/services.sh installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(slow),
		// No name but the server's is found, whatever a page asks for.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to be root's otherwise
	}
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return ctx
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// open opens a window on a server.
func open(chromium context.Context, t *testing.T, base string, l look) *window {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	w := &window{t: t, base: base, requestID: map[network.RequestID]string{}}
	t.Cleanup(cancel)
	if err := chromedp.Listen(ctx, w.listen); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, slow)
	t.Cleanup(stop)
	w.ctx = ctx
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	call(w, network.Enable, network.EnableParams{})
	call(w, runtime.Enable, cdp.Empty{})
	call(w, log.Enable, cdp.Empty{})
	call(w, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600})
	call(w, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	return w
}

// call runs one command of the DevTools protocol.
func call[P, R any](w *window, command cdp.Command[P, R], params P) {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, command, params); err != nil {
		w.t.Fatal(err)
	}
}

// get runs an action that gives something.
func get[T any](w *window, a chromedp.Action[T]) T {
	w.t.Helper()
	v, err := chromedp.Run(w.ctx, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// eval gives what a script in the page gives.
func eval[T any](w *window, script string) T {
	w.t.Helper()
	return get(w, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

type step = chromedp.Action[chromedp.Void]

// listen notes every request, exception and message of the console.
func (w *window) listen(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	trouble := func(format string, args ...any) { w.troubles = append(w.troubles, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		w.requests++
		w.requestID[e.RequestID] = e.Request.URL
		if !strings.HasPrefix(e.Request.URL, w.base+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			trouble("a request to %s", e.Request.URL)
		}
	case *network.EventLoadingFailed:
		if !e.Canceled {
			trouble("%s failed: %s %s", w.requestID[e.RequestID], e.ErrorText, e.BlockedReason)
		}
	case *network.EventWebSocketCreated:
		trouble("a web socket to %s", e.URL)
	case *runtime.EventExceptionThrown:
		trouble("an exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		trouble("the console was written to: %s", e.Type)
	case *log.EventEntryAdded:
		for _, known := range w.expect {
			if strings.Contains(e.Entry.Text, known) {
				return
			}
		}
		trouble("the log of the browser: %s (%s)", e.Entry.Text, e.Entry.URL)
	case *page.EventJavascriptDialogOpening:
		trouble("a dialog: %s", e.Message)
	}
}

// calm fails the test if anything was complained about.
func (w *window) calm() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range w.troubles {
		w.t.Error(what)
	}
	if w.troubles = nil; w.requests == 0 {
		w.t.Error("no request was seen at all")
	}
}

func (w *window) run(actions ...step) {
	w.t.Helper()
	if err := chromedp.Do(w.ctx, actions...); err != nil {
		w.t.Fatal(err)
	}
}

// visit opens a page and tells its status.
func (w *window) visit(path string) int64 {
	w.t.Helper()
	resp, err := chromedp.Run(w.ctx, chromedp.NavigateResponse(w.base+path))
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return resp.Status
}

// do does what leads to another page, and waits for it.
func (w *window) do(actions ...step) int64 {
	w.t.Helper()
	resp, err := chromedp.RunResponse(w.ctx, actions...)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Status
}

// text gives all text that is seen.
func (w *window) text() string {
	w.t.Helper()
	return eval[string](w, "document.body.innerText")
}

func (w *window) has(words ...string) {
	w.t.Helper()
	got := w.text()
	for _, word := range words {
		if !strings.Contains(got, word) {
			w.t.Errorf("the page has no %q", word)
		}
	}
}

func (w *window) path() string {
	w.t.Helper()
	u, err := url.Parse(get(w, chromedp.Location()))
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Path
}

// audit looks for what would keep people from using the page.
func (w *window) audit(name string) {
	w.t.Helper()
	for _, f := range eval[[]string](w, audit) {
		w.t.Errorf("%s: %s", name, f)
	}
}

// shoot keeps a screenshot of the whole page.
func (w *window) shoot(name string) {
	w.t.Helper()
	dir := os.Getenv("BROWSER_SCREENSHOTS")
	if dir == "" {
		return
	}
	png := get(w, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *window) login(name string) {
	w.t.Helper()
	w.visit("/login")
	if s := w.do(chromedp.SendKeys(chromedp.CSS("#name"), name), chromedp.SendKeys(chromedp.CSS("#password"), webtest.Password), chromedp.Click(chromedp.CSS("main form button"))); s != http.StatusOK {
		w.t.Fatalf("login: status %d", s)
	}
	w.has("You are logged in.", name)
}

// TestLooks opens every page in light and dark, on a desk and on a phone.
func TestLooks(t *testing.T) {
	chromium := browser(t)
	base := serve(t, webtest.New(t, webtest.Options{Shipped: true, Anonymous: accounts.Viewer}).Handler)
	for _, l := range looks() {
		t.Run(l.name, func(t *testing.T) {
			w := open(chromium, t, base, l)
			w.login("admin")
			for name, path := range map[string]string{
				"search": "/", "found": "/?q=" + webtest.Server, "words": "/?q=monero", "unknown": "/?q=nothing.quarry-pool.net", "pools": "/pools", "pool": "/pools/quarry",
				"servers": "/servers", "server": "/servers/" + webtest.Server, "endpoints": "/endpoints?sort=-last_proof", "endpoint": endpoint,
				"coins": "/coins", "coin": "/coins/XMR", "ports": "/ports", "addresses": "/addresses", "dashboard": "/dashboard", "hits": "/hits", "suspects": "/suspects",
				"changes": "/changes", "about": "/about", "form": "/pools/quarry/servers/new", "remove": "/pools/quarry/remove",
			} {
				if s := w.visit(path); s != http.StatusOK {
					t.Errorf("%s: status %d", path, s)
				}
				w.audit(l.name + " " + path)
				w.shoot(name + "-" + l.name)
			}
			w.calm()
		})
	}
}

// TestWay goes the way of an analyst, and of a viewer who may not.
func TestWay(t *testing.T) {
	chromium := browser(t)
	world := webtest.New(t, webtest.Options{Shipped: true, Anonymous: accounts.Viewer})
	base := serve(t, world.Handler)
	w := open(chromium, t, base, looks()[0])

	w.visit("/")
	// The key / leads to the box, Enter asks.
	w.run(chromedp.KeyEvent("/"))
	focus := eval[string](w, "document.activeElement.id")
	if focus != "q" {
		t.Errorf("/ leads to %q", focus)
	}
	eval[string](w, `document.querySelector("#q").value = ""`) // the protocol types the key although the page takes it
	w.do(chromedp.SendKeys(chromedp.CSS("#q"), webtest.Server+"\r"))
	w.has("Yes, it is known.", "Quarry", "45.60.1.2", "confirmed")
	w.do(chromedp.Click(chromedp.CSS(`a[href="/pools/quarry"]`)))
	w.has("Quarry Ltd", "quarry-pool[.]net")
	w.do(chromedp.Click(chromedp.CSS(`a[href="` + endpoint + `"]`)))
	w.has("Why a pool", "The catalogue says that Quarry has", "b88d0600")
	// The timeline has its colours in the order of the year.
	bars := eval[[]string](w, `[...document.querySelectorAll(".timeline svg")[0].querySelectorAll("rect:not(.ground)")].filter(r => r.getBoundingClientRect().width > 0).map(r => r.getAttribute("class"))`)
	if got, want := strings.Join(bars, " "), "bar-confirmed bar-not-pool bar-confirmed"; !strings.HasPrefix(got, want) {
		t.Errorf("the timeline has %q, want %q", got, want)
	}

	// The first Tab leads to the skip link, which is seen then.
	w.visit("/pools")
	w.run(chromedp.KeyEvent("\t"))
	left := eval[float64](w, "document.activeElement.getBoundingClientRect().left")
	focus = eval[string](w, "document.activeElement.className")
	if focus != "skip" || left < 0 {
		t.Errorf("the first Tab leads to %q at %v", focus, left)
	}
	// The theme is kept.
	w.run(chromedp.Click(chromedp.CSS("#theme")))
	w.visit("/coins")
	if theme := eval[string](w, "document.documentElement.dataset.theme"); theme != "dark" {
		t.Errorf("the theme is %q", theme)
	}
	w.audit("dark by choice")

	// Nobody in particular is sent to the login, and from there on.
	w.visit("/pools/quarry/servers/new")
	if w.path() != "/login" {
		t.Errorf("a form without a login is at %s", w.path())
	}
	w.do(chromedp.SendKeys(chromedp.CSS("#name"), "analyst"), chromedp.SendKeys(chromedp.CSS("#password"), webtest.Password), chromedp.Click(chromedp.CSS("main form button")))
	if w.path() != "/pools/quarry/servers/new" {
		t.Errorf("the login leads to %s", w.path())
	}
	// What is wrong is said beside the field.
	w.expect = []string{"422 (Unprocessable Entity)", "403 (Forbidden)", "401 (Unauthorized)"}
	eval[string](w, `document.querySelector("#f-coin").value = "XMR"`)
	w.do(chromedp.SendKeys(chromedp.CSS("#f-host"), "pool.example.com"), chromedp.SendKeys(chromedp.CSS("#f-port"), "4444"), chromedp.Submit(chromedp.CSS("main form")))
	told := get(w, chromedp.Text(chromedp.CSS("#e-host")))
	if !strings.Contains(told, "reserved name") {
		t.Errorf("beside the field is %q", told)
	}
	w.audit("errors")
	w.shoot("form-errors")
	eval[string](w, `document.querySelector("#f-host").value = "eu.quarry-pool.net"`)
	w.do(chromedp.Submit(chromedp.CSS("main form")))
	w.has("Added.", "eu.quarry-pool.net")
	if len(world.Register.Current().Host("eu.quarry-pool.net")) != 1 {
		t.Error("the catalogue does not have the new server")
	}
	// To remove it asks first.
	w.visit("/pools/quarry/servers/eu.quarry-pool.net/remove")
	w.has("The server eu.quarry-pool.net of Quarry with 1 endpoints")
	w.do(chromedp.Click(chromedp.CSS("button.danger")))
	w.has("Removed.")
	if len(world.Register.Current().Host("eu.quarry-pool.net")) != 0 {
		t.Error("the catalogue still has the server")
	}
	w.do(chromedp.Click(chromedp.CSS(".who form button")))
	w.has("You are logged out.")

	w.login("viewer")
	if s := w.visit("/pools/quarry/servers/new"); s != http.StatusForbidden {
		t.Errorf("a viewer gets status %d", s)
	}
	w.has("This needs the role analyst; you have the role viewer.")
	w.shoot("refused")
	w.visit("/pools/quarry")
	if strings.Contains(w.text(), "Add a server") {
		t.Error("a viewer is offered a form")
	}
	// Also past the pages: the session of a viewer, its token, and a request from our own page.
	status := eval[int](w, `fetch("/pools/quarry/remove", {method: "POST", body: new URLSearchParams({csrf: document.querySelector("[name=csrf]").value})}).then(r => r.status)`)
	if status != http.StatusForbidden || world.Register.Current().Pool("quarry") == nil {
		t.Errorf("a viewer's POST gets status %d", status)
	}
	w.calm()
}

// TestHostileStrings shows strings of attackers: nothing runs, nothing is fetched, nothing leads elsewhere.
func TestHostileStrings(t *testing.T) {
	chromium := browser(t)
	for i, say := range webtest.Hostile() {
		base := serve(t, webtest.New(t, webtest.Options{Say: say, Anonymous: accounts.Viewer}).Handler)
		w := open(chromium, t, base, looks()[i%len(looks())])
		w.login("admin")
		for _, path := range []string{"/?q=" + webtest.Server, "/?q=" + url.QueryEscape(say), "/pools", "/pools/quarry", "/servers/" + webtest.Server, endpoint, "/coins/XMR", "/hits", "/suspects", "/dashboard", "/changes", "/pools/quarry/edit"} {
			w.visit(path)
			foreign := eval[[]string](w, `document.querySelectorAll("details").forEach(d => d.open = true);
				[...document.querySelectorAll("[href], [src], [action]")].map(e => e.href || e.src || e.action).map(u => u.baseVal ?? u).filter(u => !u.startsWith(location.origin + "/"))
				.concat([...document.querySelectorAll("main img, main script, iframe, object, embed, main svg svg")].map(e => e.outerHTML))`)
			if len(foreign) > 0 {
				t.Errorf("%q in %s leads to %q", say, path, foreign)
			}
			w.audit(say + " " + path)
		}
		w.visit(endpoint)
		w.shoot(fmt.Sprintf("hostile-%d", i))
		w.calm()
	}
}

// TestPolicyHolds makes sure that the checks above can fail: what a page must not do is noticed.
func TestPolicyHolds(t *testing.T) {
	chromium := browser(t)
	base := serve(t, webtest.New(t, webtest.Options{Anonymous: accounts.Viewer}).Handler)
	w := open(chromium, t, base, looks()[0])
	w.visit("/")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ran := eval[bool](w, `document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.ran = true">');
		const s = document.createElement("script"); s.textContent = "window.ran = true"; document.body.append(s);
		const i = new Image(); i.src = "http://`+listener.Addr().String()+`/"; document.body.append(i);
		new Promise(done => setTimeout(() => done(window.ran === true), 500))`)
	if ran {
		t.Error("an inline script ran in spite of the policy")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if all := strings.Join(w.troubles, "\n"); !strings.Contains(all, "Content Security Policy") {
		t.Errorf("nothing was noticed: %s", all)
	}
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
)

// ran is what came of a command.
type ran struct {
	code           int
	stdout, stderr string
}

func runCommand(t *testing.T, environ map[string]string, stdin string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr, func(name string) string { return environ[name] })
	return ran{code, stdout.String(), stderr.String()}
}

// served is a state directory with its configuration, and a service that can have it open.
type served struct {
	config string
	cfg    *config.Config
	server *httptest.Server
	serve  atomic.Pointer[http.Handler] // nil: who listens is no service
	asked  atomic.Int32
}

func newServed(t *testing.T) *served {
	t.Helper()
	s := &served{cfg: config.Default()}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if h := s.serve.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.server.Close)
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	s.cfg.Catalogue.History = pastOf(t, stretch{"eu.alpha-pool.net", "9.9.9.1", day(1), day(3)}, stretch{"eu.alpha-pool.net", "9.9.9.2", day(4), day(5)})
	s.cfg.State.Dir = filepath.Dir(s.cfg.Catalogue.History)
	s.cfg.Catalogue.Files = []string{poolsFile(t, "eu.alpha-pool.net", "us.alpha-pool.net")}
	s.cfg.API.Listen = strings.TrimPrefix(s.server.URL, "http://")
	s.config = filepath.Join(t.TempDir(), "minecanary.yaml")
	text := fmt.Sprintf("state: {dir: %q}\ncatalogue: {files: [%q], history: %q}\napi: {listen: %q}\n",
		s.cfg.State.Dir, s.cfg.Catalogue.Files[0], s.cfg.Catalogue.History, s.cfg.API.Listen)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// open has the service open the history and answer.
func (s *served) open(t *testing.T, anonymous accounts.Role) *accounts.Accounts {
	t.Helper()
	d, err := openDirectory(s.cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	people := accounts.Open(filepath.Join(s.cfg.State.Dir, accounts.FileName), accounts.Options{})
	h := people.Middleware(api.New(api.Config{Register: d.register, Index: d.index, History: d.history, Accounts: people, Anonymous: anonymous}))
	s.serve.Store(&h)
	return people
}

// TestAskService: what a service answers is what the files say, to the byte, with the same exit code.
func TestAskService(t *testing.T) {
	s := newServed(t)
	commands := [][]string{
		{"lookup", "-c", s.config, "eu.alpha-pool.net"},
		{"lookup", "-c", s.config, "eu.alpha-pool.net:3333", "9.9.9.0/24", "9.9.9.1:3333", "3333", "*.alpha-pool.net", "monero", "nobody.net"},
		{"lookup", "-c", s.config, "--json", "eu.alpha-pool.net", "9.9.9.1", "8.8.8.8"},
		{"lookup", "-c", s.config, "--at", "2026-03-02", "9.9.9.1"},
		{"lookup", "-c", s.config, "--at", "2026-03-02", "9.9.9.2"},
		{"lookup", "-c", s.config, "--json", "--at", "2026-03-04T12:00:00Z", "--limit", "1", "9.9.9.0/24"},
		{"lookup", "-c", s.config, "--limit", "150", "3333"},
		{"lookup", "-c", s.config, "eu.alpha-pool.net:4444"},
		{"lookup", "-c", s.config, "8.8.8.8"},
		{"lookup", "-c", s.config, "9.9.9.1", "9.9.9.1:99999"},
		{"lookup", "-c", s.config, "-"},
		{"catalogue", "list", "-c", s.config},
		{"catalogue", "list", "-c", s.config, "--json"},
		{"catalogue", "show", "-c", s.config, "supportxmr", "f2pool"},
		{"catalogue", "show", "-c", s.config, "nobody"},
		{"catalogue", "export", "-c", s.config},
	}
	var many strings.Builder
	for i := range 2*remoteBatch + 7 {
		fmt.Fprintf(&many, "9.9.%d.%d # a comment\n\n", i/250, i%250)
	}
	var before []ran
	for _, args := range commands {
		before = append(before, runCommand(t, nil, many.String(), args...))
	}
	if n := s.asked.Load(); n > 0 {
		t.Errorf("the service was asked %d times although nobody has the history open", n)
	}
	s.open(t, accounts.Viewer)
	for i, args := range commands {
		asked := s.asked.Load()
		got := runCommand(t, nil, many.String(), args...)
		line := fmt.Sprintf("minecanary: the service at %s has the history open and answers\n", s.server.URL)
		if s.asked.Load() == asked || !strings.Contains(got.stderr, line) {
			t.Errorf("%v: the service was not asked; %s", args, got.stderr)
		}
		got.stderr = strings.Replace(got.stderr, line, "", 1)
		if diff := cmp.Diff(before[i], got, cmp.AllowUnexported(ran{})); diff != "" {
			t.Errorf("%v (-files +service)\n%.3000s", args, diff)
		}
	}
	for _, environ := range []map[string]string{nil, {envAPI: s.server.URL}} {
		args := []string{"lookup", "eu.alpha-pool.net"}
		if environ == nil {
			args = append(args, "--api", s.server.URL)
		}
		if got := runCommand(t, environ, "", args...); got.code != ExitOK || got.stdout != before[0].stdout || got.stderr != "" {
			t.Errorf("named %v: %+v", environ, got)
		}
	}
	if got := runCommand(t, map[string]string{envAPI: "http://127.0.0.1:1"}, "", "lookup", "--history", s.cfg.Catalogue.History, "supportxmr"); got.code != ExitPartial || !strings.Contains(got.stderr, "127.0.0.1:1") {
		t.Errorf("a file and no service: %+v", got)
	}
	if got := runCommand(t, nil, "", "lookup", "-c", s.config, "--flows", "x.csv"); got.code != ExitPartial || !strings.Contains(got.stderr, "catalogue.backup") {
		t.Errorf("flows: %+v", got)
	}
	if got := runCommand(t, nil, "", "lookup", "-c", s.config, "--catalogue", s.cfg.Catalogue.Files[0], "3333"); got.code != ExitPartial || !strings.Contains(got.stderr, "--catalogue") {
		t.Errorf("own files: %+v", got)
	}
}

// TestLookupCodes: 0 known, 1 not known, 2 usage, 3 failed.
func TestLookupCodes(t *testing.T) {
	s := newServed(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"lookup", "-c", s.config, "eu.alpha-pool.net"}, ExitOK, ""},
		{[]string{"lookup", "-c", s.config, "nobody.net"}, ExitFailed, "not known"},
		{[]string{"lookup", "--history", s.config, "nobody.net"}, ExitPartial, "damaged"},
		{[]string{"lookup", "--history", s.config + "x", "nobody.net"}, ExitPartial, "no such file"},
		{[]string{"lookup", "-c", s.config, "nobody.net:x"}, ExitPartial, "no port"},
		{[]string{"lookup", "-c", s.config + "x", "nobody.net"}, ExitUsage, "no such file"},
		{[]string{"lookup", "--api", "http://127.0.0.1:1", "nobody.net"}, ExitPartial, "no service answers"},
		{[]string{"lookup", "--api", "ftp://127.0.0.1", "nobody.net"}, ExitUsage, "no URL of a service"},
		{[]string{"lookup", "--api", "http://a:b@127.0.0.1", "nobody.net"}, ExitUsage, "no URL of a service"},
		{[]string{"lookup", "--api", "http://127.0.0.1:1", "--history", "x", "nobody.net"}, ExitUsage, "are for files"},
		{[]string{"catalogue", "list", "--api", "http://127.0.0.1:1", "--file", "x"}, ExitUsage, "are for files"},
		{[]string{"catalogue", "list", "--api", "http://127.0.0.1:1"}, ExitFailed, "no service answers"},
		{[]string{"lookup", "--flows", "--api", "http://127.0.0.1:1", "x"}, ExitUsage, "flows are marked from files"},
	} {
		if got := runCommand(t, nil, "", tt.args...); got.code != tt.code || !strings.Contains(got.stderr, tt.want) {
			t.Errorf("%v: %+v, want %d %q", tt.args, got, tt.code, tt.want)
		}
	}
}

// TestServiceSilent: a lock and no service is told; what the files of the catalogue say is told nevertheless.
func TestServiceSilent(t *testing.T) {
	s := newServed(t)
	s.open(t, accounts.Viewer)
	s.serve.Store(nil)
	got := runCommand(t, nil, "", "lookup", "-c", s.config, "eu.alpha-pool.net")
	if got.code != ExitPartial || !strings.Contains(got.stderr, "another process has the history file open") || !strings.Contains(got.stderr, "hint: a running service would be asked, but: no service answers") {
		t.Errorf("%+v", got)
	}
	got = runCommand(t, nil, "", "catalogue", "show", "-c", s.config, "supportxmr")
	if got.code != ExitOK || !strings.Contains(got.stdout, "supportxmr") || !strings.Contains(got.stderr, "this is what the files say") {
		t.Errorf("%+v", got)
	}
}

// TestServiceToken: a service that wants a login gets the token, and nobody else does.
func TestServiceToken(t *testing.T) {
	s := newServed(t)
	people := s.open(t, accounts.Nobody)
	token, err := people.AddToken("me", accounts.Viewer, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	got := runCommand(t, nil, "", "lookup", "-c", s.config, "eu.alpha-pool.net")
	if got.code != ExitPartial || !strings.Contains(got.stderr, "401") || !strings.Contains(got.stderr, "$"+envToken+" holds it") {
		t.Errorf("without a token: %+v", got)
	}
	got = runCommand(t, map[string]string{envToken: token}, "", "lookup", "-c", s.config, "eu.alpha-pool.net")
	if got.code != ExitOK {
		t.Errorf("with a token: %+v", got)
	}
	var thief http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("who is no service of ours saw the token")
		}
		http.NotFound(w, r)
	})
	s.serve.Store(&thief)
	runCommand(t, map[string]string{envToken: token}, "", "lookup", "-c", s.config, "eu.alpha-pool.net")
	got = runCommand(t, map[string]string{envToken: token}, "", "lookup", "--api", "http://192.0.2.1:9480", "eu.alpha-pool.net")
	if got.code != ExitUsage || !strings.Contains(got.stderr, "in the clear") || strings.Contains(got.stderr, token) {
		t.Errorf("over the network in the clear: %+v", got)
	}
}

// TestServiceHostile: answers of somebody who is no service of ours are bounded and printable, and waited for as long as he
// says, but not for ever.
func TestServiceHostile(t *testing.T) {
	var turn atomic.Int32
	var answer atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn.Add(1)
		(*answer.Load())(w, r)
	}))
	defer server.Close()
	answers := func(h http.HandlerFunc) { answer.Store(&h) }
	ask := func() ran {
		turn.Store(0)
		return runCommand(t, nil, "", "lookup", "--api", server.URL, "a.net")
	}
	say := func(status int, body string) {
		answers(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body)) // the client may be gone
		})
	}
	for _, tt := range []struct {
		status int
		body   string
		want   string
	}{
		{200, `{"results":[]}`, "0 answers to 1 questions"},
		{200, `{"results":[{"error":"\u001b[31mred"}]}`, ": [31mred"},
		{200, "<html>", "the answer is none of the API"},
		{200, "null", "0 answers"},
		{500, `{"detail":"\u001b[2J` + strings.Repeat("x", 5000) + `"}`, ": 500 [2Jxxx"},
		{302, "", "302 Found"},
		{404, "<html>", "404 Not Found"},
	} {
		say(tt.status, tt.body)
		if got := ask(); got.code != ExitPartial || !strings.Contains(got.stderr, tt.want) || strings.Contains(got.stderr, "\x1b") || len(got.stderr) > 1000 {
			t.Errorf("%d %.40s gives %+v", tt.status, tt.body, got)
		}
	}
	say(200, `{"results":[{"known":true,"matches":[{"pool_name":"\u001b[31mred","server":"\u202ea","status":"\u001bx","reason":"","source":"\u001b"}]}]}`)
	if got := ask(); got.code != ExitOK || strings.ContainsAny(got.stdout, "\x1b\u202e") || !strings.Contains(got.stdout, "[31mred") {
		t.Errorf("%+v", got)
	}
	good, err := json.Marshal(map[string]any{"results": []any{map[string]any{"known": true, "matches": []any{}}}})
	if err != nil {
		t.Fatal(err)
	}
	answers(func(w http.ResponseWriter, _ *http.Request) {
		if turn.Load() < 2 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write(good) // the client may be gone
	})
	if got := ask(); got.code != ExitOK || turn.Load() != 2 {
		t.Errorf("after a wait: %+v in %d turns", got, turn.Load())
	}
	say(http.StatusTooManyRequests, "")
	r, err := newRemote(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.do(ctx, http.MethodGet, "/stats", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that nobody has the time for: %v", err)
	}
}

// TestServing finds the API of a configuration.
func TestServing(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9480": "http://127.0.0.1:9480", ":9480": "http://127.0.0.1:9480", "0.0.0.0:1": "http://127.0.0.1:1", "[::]:1": "http://[::1]:1",
		"pools.net:1": "http://pools.net:1", "": "",
	} {
		cfg := config.Default()
		cfg.API.Listen = listen
		r, err := serving(cfg, "")
		if (err != nil) != (want == "") || err == nil && r.base != want {
			t.Errorf("%q: %+v %v", listen, r, err)
		}
	}
	if got := config.Default().API.Listen; got != "127.0.0.1:9480" {
		t.Errorf("the default is %s", got)
	}
}

// TestConfigCheckFiles: a file that is named and not there is told, and is no error: the configuration may be meant for
// another machine.
func TestConfigCheckFiles(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "minecanary.yaml")
	text := "lists: {allow: [" + there + "], tor: [" + filepath.Join(dir, "relays.json") + "]}\nwatch: {list: " +
		filepath.Join(dir, "wallets.txt") + ", webhook: http://127.0.0.1:9/}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runCommand(t, nil, "", "config", "check", "-c", name)
	if got.code != 0 || got.stdout != "ok\n" {
		t.Fatalf("%+v", got)
	}
	told := strings.Split(strings.TrimSpace(got.stderr), "\n")
	if len(told) != 2 || !strings.Contains(told[0], "lists.tor: open "+filepath.Join(dir, "relays.json")) || !strings.Contains(told[1], "watch.list: ") {
		t.Errorf("%q", told)
	}
}

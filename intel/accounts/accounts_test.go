package accounts

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = "correct horse battery"

var (
	// cheap is as little as argon2 can cost.
	cheap = Cost{Time: 1, Memory: 8, Threads: 1}
	start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	here  = netip.MustParseAddr("192.0.2.7")
)

// clock is a clock that stands until it is moved.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(start.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// bench is a file with accounts and all that a test wants to see of them.
type bench struct {
	*Accounts
	*clock
	path   string
	hashed atomic.Int32
	mu     sync.Mutex
	errs   []string
}

func newBench(t *testing.T, path string) *bench {
	t.Helper()
	b := &bench{clock: newClock(), path: path}
	b.Accounts = Open(path, Options{Now: b.now, Cost: cheap, OnError: func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errs = append(b.errs, err.Error())
	}})
	b.derive = func(password, salt []byte, c Cost) []byte {
		b.hashed.Add(1)
		return argon2id(password, salt, c)
	}
	return b
}

func setUp(t *testing.T) *bench {
	t.Helper()
	return newBench(t, filepath.Join(t.TempDir(), FileName))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) login(t *testing.T, name string) Session {
	t.Helper()
	s, err := b.Login(t.Context(), name, good, here)
	ok(t, err)
	return s
}

func TestRoles(t *testing.T) {
	const root = Role("root") // there is none
	tests := []struct {
		role  Role
		needs map[Role]bool
	}{
		{Nobody, map[Role]bool{Nobody: true, Viewer: false, Analyst: false, Admin: false, root: false}},
		{Viewer, map[Role]bool{Nobody: true, Viewer: true, Analyst: false, Admin: false, root: false}},
		{Analyst, map[Role]bool{Nobody: true, Viewer: true, Analyst: true, Admin: false, root: false}},
		{Admin, map[Role]bool{Nobody: true, Viewer: true, Analyst: true, Admin: true, root: false}},
		{root, map[Role]bool{Nobody: true, Viewer: false, Analyst: false, Admin: false, root: false}},
	}
	for _, tt := range tests {
		for need, want := range tt.needs {
			if got := tt.role.Allows(need); got != want {
				t.Errorf("%q.Allows(%q) = %v", tt.role, need, got)
			}
		}
	}
}

func TestUsers(t *testing.T) {
	b := setUp(t)
	if users, err := b.Users(); err != nil || len(users) != 0 {
		t.Fatalf("without a file: %v, %v", users, err)
	}
	ok(t, b.AddUser("zoe", Viewer, good))
	b.advance(time.Hour + time.Millisecond)
	ok(t, b.AddUser("al.ice_2-x", Analyst, good))
	ok(t, b.SetRole("zoe", Admin))
	later := start.Add(time.Hour)
	want := []User{{"al.ice_2-x", Analyst, later, later}, {"zoe", Admin, start, later}}
	for _, a := range []*Accounts{b.Accounts, Open(b.path, Options{})} {
		users, err := a.Users()
		ok(t, err)
		if diff := cmp.Diff(want, users); diff != "" {
			t.Errorf("users (-want +got):\n%s", diff)
		}
	}
	info, err := os.Stat(b.path)
	ok(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	ok(t, b.RemoveUser("zoe"))

	long := strings.Repeat("n", MaxName)
	ok(t, b.AddUser(long, Viewer, strings.Repeat("p", MaxPassword)))
	ok(t, b.AddUser("short", Viewer, strings.Repeat("p", MinPassword)))
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"twice", b.AddUser(long, Viewer, good), ErrExists},
		{"removed", b.SetPassword("zoe", good), ErrNotFound},
		{"role of nobody", b.SetRole("zoe", Viewer), ErrNotFound},
		{"remove nobody", b.RemoveUser("zoe"), ErrNotFound},
		{"long name", b.AddUser(long+"n", Viewer, good), ErrInvalid},
		{"no name", b.AddUser("", Viewer, good), ErrInvalid},
		{"capital", b.AddUser("Bob", Viewer, good), ErrInvalid},
		{"space", b.AddUser("b b", Viewer, good), ErrInvalid},
		{"umlaut", b.AddUser("jürgen", Viewer, good), ErrInvalid},
		{"nul", b.SetRole("a\x00", Viewer), ErrInvalid},
		{"remove what cannot be", b.RemoveUser("\n"), ErrInvalid},
		{"short password", b.AddUser("bob", Viewer, strings.Repeat("p", MinPassword-1)), ErrInvalid},
		{"long password", b.AddUser("bob", Viewer, strings.Repeat("p", MaxPassword+1)), ErrInvalid},
		{"short new password", b.SetPassword(long, ""), ErrInvalid},
		{"no role", b.AddUser("bob", Nobody, good), ErrInvalid},
		{"unknown role", b.SetRole(long, "root"), ErrInvalid},
		{"bad cost", Open(b.path, Options{Cost: Cost{Time: 1, Memory: maxMemory + 1, Threads: 1}}).AddUser("bob", Viewer, good), ErrInvalid},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if users, err := b.Users(); err != nil || len(users) != 3 {
		t.Errorf("%v, %v; want 3 users", users, err)
	}
}

func TestTokens(t *testing.T) {
	b := setUp(t)
	secret, err := b.AddToken("ci", Analyst, b.now().Add(time.Hour))
	ok(t, err)
	forever, err := b.AddToken("old", Viewer, time.Time{})
	ok(t, err)
	if !strings.HasPrefix(secret, tokenPrefix) || len(secret) != len("mcy_")+43 || secret == forever {
		t.Errorf("secrets %q and %q", secret, forever)
	}
	data, err := os.ReadFile(b.path)
	ok(t, err)
	if strings.Contains(string(data), secret[len(tokenPrefix):]) {
		t.Error("the secret is in the file")
	}
	if p, ok := b.Token(secret); !ok || p != (Principal{Name: "ci", Role: Analyst, Token: true}) {
		t.Errorf("%+v, %v", p, ok)
	}
	for name, s := range map[string]string{
		"empty": "", "prefix": tokenPrefix, "short": secret[:len(secret)-1], "long": secret + "A", "other prefix": "MCY_" + secret[4:],
		"other": tokenPrefix + newSecret(), "huge": strings.Repeat("m", 1<<20),
	} {
		if p, ok := b.Token(s); ok || p != (Principal{}) {
			t.Errorf("%s: %+v, %v", name, p, ok)
		}
	}
	want := []Token{{"ci", Analyst, start, start.Add(time.Hour)}, {"old", Viewer, start, time.Time{}}}
	tokens, err := b.Tokens()
	ok(t, err)
	if diff := cmp.Diff(want, tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}

	b.advance(time.Hour - 1)
	if _, ok := b.Token(secret); !ok {
		t.Error("ended before its time")
	}
	b.advance(1)
	if _, ok := b.Token(secret); ok {
		t.Error("did not end")
	}
	if _, ok := b.Token(forever); !ok {
		t.Error("ended although it never should")
	}
	ok(t, b.RemoveToken("old"))
	if _, ok := b.Token(forever); ok {
		t.Error("removed, but holds")
	}
	for name, end := range map[string]time.Time{"past": b.now(), "far": time.Date(10000, 1, 2, 0, 0, 0, 0, time.UTC)} {
		if s, err := b.AddToken("new", Viewer, end); !errors.Is(err, ErrInvalid) || s != "" {
			t.Errorf("%s: %q, %v", name, s, err)
		}
	}
	for name, do := range map[string]func() error{
		"bad name":   func() error { _, err := b.AddToken("N", Viewer, time.Time{}); return err },
		"bad role":   func() error { _, err := b.AddToken("new", "", time.Time{}); return err },
		"bad remove": func() error { return b.RemoveToken("N") },
	} {
		if err := do(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.AddToken("ci", Viewer, time.Time{}); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if err := b.RemoveToken("nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove nobody: %v", err)
	}
}

// full is a file with as many accounts as there may be, with the longest names.
func full(t *testing.T) []byte {
	t.Helper()
	name := func(i int) string { return strings.Repeat("n", MaxName-4) + fmt.Sprintf("%04d", i) }
	at := time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.FixedZone("", -3600))
	hash := passwordHash{DefaultCost, make([]byte, saltBytes), make([]byte, hashBytes)}.String()
	f := file{Version: fileVersion}
	for i := range MaxUsers {
		f.Users = append(f.Users, userRow{name(i), Analyst, hash, at, at})
	}
	for i := range MaxTokens {
		f.Tokens = append(f.Tokens, tokenRow{name(i), Analyst, fmt.Sprintf("%064x", i), at, at})
	}
	data, err := f.encode()
	ok(t, err)
	return data
}

func TestFull(t *testing.T) {
	b := setUp(t)
	ok(t, os.WriteFile(b.path, full(t), 0o600))
	if err := b.AddUser("one.more", Viewer, good); !errors.Is(err, ErrFull) {
		t.Errorf("user: %v", err)
	}
	if _, err := b.AddToken("one.more", Viewer, time.Time{}); !errors.Is(err, ErrFull) {
		t.Errorf("token: %v", err)
	}
	ok(t, b.RemoveUser(strings.Repeat("n", MaxName-4)+"0007"))
	ok(t, b.AddUser("one.more", Viewer, good))
}

// TestReload changes the file from another process while this one runs.
func TestReload(t *testing.T) {
	b := setUp(t)
	other := Open(b.path, Options{Cost: cheap})
	if _, err := b.Login(t.Context(), "alice", good, here); !errors.Is(err, ErrLogin) {
		t.Fatal(err)
	}
	ok(t, other.AddUser("alice", Viewer, good))
	if _, err := b.Login(t.Context(), "alice", good, here); !errors.Is(err, ErrLogin) {
		t.Errorf("looked at the file sooner than every %s: %v", CheckEvery, err)
	}
	b.advance(CheckEvery)
	s := b.login(t, "alice")
	secret, err := other.AddToken("ci", Viewer, time.Time{})
	ok(t, err)
	ok(t, other.SetRole("alice", Admin))
	b.advance(CheckEvery)
	if p, _ := b.Session(s.Cookie); p.Role != Admin {
		t.Errorf("role %q, want admin", p.Role)
	}
	if _, ok := b.Token(secret); !ok {
		t.Error("the token is unknown")
	}

	// A broken file leaves all as it was, and is told once.
	whole, err := os.ReadFile(b.path)
	ok(t, err)
	ok(t, os.WriteFile(b.path, whole[:len(whole)/2], 0o600))
	for range 3 {
		b.advance(CheckEvery)
		if _, ok := b.Session(s.Cookie); !ok {
			t.Error("the session is gone")
		}
	}
	if len(b.errs) != 1 || !strings.Contains(b.errs[0], "read accounts: "+b.path+": is no accounts file") {
		t.Errorf("told %q", b.errs)
	}
	if err := b.AddUser("bob", Viewer, good); err == nil {
		t.Error("a broken file was written over")
	}
	if _, err := b.Users(); err == nil {
		t.Error("a broken file was listed")
	}
	// Mended, it counts, and may break again.
	ok(t, os.WriteFile(b.path, whole, 0o600))
	b.advance(CheckEvery)
	if _, ok := b.Session(s.Cookie); !ok || len(b.errs) != 1 {
		t.Errorf("%v, told %q", ok, b.errs)
	}
	ok(t, os.WriteFile(b.path, whole[1:], 0o600))
	b.advance(CheckEvery)
	if _, ok := b.Session(s.Cookie); !ok || len(b.errs) != 2 {
		t.Errorf("%v, told %q", ok, b.errs)
	}
	// A file that was taken away has nobody in it.
	ok(t, os.Remove(b.path))
	b.advance(CheckEvery)
	if _, ok := b.Session(s.Cookie); ok {
		t.Error("no file, but a session")
	}
}

// TestOnErrorMayCall has the callback ask the accounts.
func TestOnErrorMayCall(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	ok(t, os.WriteFile(path, []byte("{"), 0o600))
	var a *Accounts
	told := 0
	a = Open(path, Options{OnError: func(error) {
		told++
		a.Token(tokenPrefix + newSecret())
	}})
	a.Token(tokenPrefix + newSecret())
	if told != 1 {
		t.Errorf("told %d times, want 1", told)
	}
}

// TestWriters has several processes change the file at once: nothing is lost.
func TestWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			a := Open(path, Options{Cost: cheap})
			for i := range each {
				if err := a.AddUser(fmt.Sprintf("user-%d-%d", w, i), Viewer, good); err != nil {
					t.Error(err)
				}
				if _, err := a.AddToken(fmt.Sprintf("token-%d-%d", w, i), Viewer, time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	a := Open(path, Options{})
	users, err := a.Users()
	ok(t, err)
	tokens, err := a.Tokens()
	ok(t, err)
	if len(users) != writers*each || len(tokens) != writers*each {
		t.Errorf("%d users and %d tokens, want %d each", len(users), len(tokens), writers*each)
	}
}

// TestCrash leaves what a process leaves that ends between write and rename.
func TestCrash(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	left := filepath.Join(filepath.Dir(b.path), "."+FileName+".123.tmp")
	ok(t, os.WriteFile(left, []byte(`{"version":1,"users":[`), 0o600))
	again := newBench(t, b.path)
	again.login(t, "alice")
	ok(t, again.AddUser("bob", Viewer, good))
	again.login(t, "bob")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the crash left is still there: %v", err)
	}
}

// TestKill kills a process that adds users, again and again: the file is whole each time, and nobody is missing of whom
// the process has said that he was added.
func TestKill(t *testing.T) {
	if path := os.Getenv("ACCOUNTS_KILL"); path != "" {
		a := Open(path, Options{Cost: cheap})
		for i := range 50 { // fewer than MaxUsers in all rounds, however late the kill comes
			name := fmt.Sprintf("user-%d-%d", os.Getpid(), i)
			ok(t, a.AddUser(name, Viewer, good))
			fmt.Println("added", name)
		}
		time.Sleep(time.Minute)
		t.Fatal("nobody has killed it")
	}
	path := filepath.Join(t.TempDir(), FileName)
	added := 0
	for round := range 8 {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		c.Env = append(os.Environ(), "ACCOUNTS_KILL="+path)
		out, err := c.StdoutPipe()
		ok(t, err)
		ok(t, c.Start())
		lines := bufio.NewScanner(out)
		var names []string
		for lines.Scan() {
			name, isName := strings.CutPrefix(lines.Text(), "added ")
			if !isName {
				t.Errorf("the process said %s", lines.Text())
				continue
			}
			if names = append(names, name); len(names) == 1+round {
				time.Sleep(time.Duration(round) * time.Millisecond)
				ok(t, c.Process.Kill())
			}
		}
		if err := c.Wait(); err == nil {
			t.Error("the process ended by itself")
		}
		users, err := Open(path, Options{}).Users()
		ok(t, err)
		for _, name := range names {
			if !slices.ContainsFunc(users, func(u User) bool { return u.Name == name }) {
				t.Errorf("round %d: %s is missing", round, name)
			}
		}
		added += len(names)
		if len(users) < added || len(users) > added+round+1 {
			t.Errorf("round %d: %d users, %d were added", round, len(users), added)
		}
	}
}

func TestParse(t *testing.T) {
	whole := string(full(t))
	if _, err := parse([]byte(whole)); err != nil || len(whole) > MaxFile {
		t.Fatalf("%d bytes: %v", len(whole), err)
	}
	hash := passwordHash{cheap, make([]byte, saltBytes), make([]byte, hashBytes)}.String()
	users := func(row string) string {
		return `{"version":1,"users":[` + strings.ReplaceAll(row, "HASH", hash) + `],"tokens":[]}`
	}
	const alice = `{"name":"alice","role":"viewer","password":"HASH","created":"2026-11-21T12:00:00Z","changed":"2026-11-21T12:00:00Z"}`
	tokens := func(rows ...string) string {
		return `{"version":1,"users":[],"tokens":[` + strings.Join(rows, ",") + `]}`
	}
	token := func(name, digit string) string {
		return `{"name":"` + name + `","role":"viewer","sha256":"` + strings.Repeat(digit, 64) + `","created":"2026-11-21T12:00:00Z"}`
	}
	tests := []struct{ name, text, want string }{
		{"least", `{"version":1}`, ""},
		{"user", users(alice), ""},
		{"tokens", tokens(token("a", "1"), token("b", "2")), ""},
		{"end of space", `{"version":1}` + " \n", ""},
		{"nothing", "", "is no accounts file"},
		{"array", "[]", "is no accounts file"},
		{"unknown field", `{"version":1,"root":true}`, `unknown field "root"`},
		{"unknown field of a user", users(strings.Replace(alice, `"role"`, `"uid":0,"role"`, 1)), `unknown field "uid"`},
		{"two values", `{"version":1}{}`, "has something behind its end"},
		{"rubbish behind", `{"version":1}x`, "has something behind its end"},
		{"no version", `{}`, "is of version 0, not 1"},
		{"later version", `{"version":2}`, "is of version 2, not 1"},
		{"too long", `{"version":1}` + strings.Repeat(" ", MaxFile), "has more than 1048576 bytes"},
		{"same user twice", users(alice + "," + alice), "user 2: has the name of another"},
		{"name", users(strings.Replace(alice, "alice", "Alice", 1)), "user 1: invalid: a name has"},
		{"no role", users(strings.Replace(alice, "viewer", "", 1)), `user 1: invalid: role "" is none of`},
		{"role", users(strings.Replace(alice, "viewer", "root", 1)), `role "root" is none of`},
		{"password", users(strings.Replace(alice, "HASH", "hunter2hunter2", 1)), "user 1: " + errPassword.Error()},
		{"no password", users(strings.Replace(alice, "HASH", "", 1)), errPassword.Error()},
		{"time", users(strings.Replace(alice, "2026", "0000-", 1)), "is no accounts file"},
		{"year", users(strings.Replace(alice, "2026-11-21T12:00:00Z", "9999-12-31T23:59:59-01:00", 1)), "a time is in the year 10000"},
		{"same token twice", tokens(token("a", "1"), token("a", "2")), "token 2: has the name or secret of another"},
		{"same secret twice", tokens(token("a", "1"), token("b", "1")), "token 2: has the name or secret of another"},
		{"capital hash", tokens(token("a", "A")), "token 1: sha256 is none"},
		{"no hash", tokens(token("a", "")), "sha256 is none"},
		{"long hash", tokens(token("a", "11")), "sha256 is none"},
		{"other hash", tokens(token("a", "x")), "sha256 is none"},
		{"one user more", strings.Replace(whole, `"users": [`, `"users": [`+strings.ReplaceAll(alice, "HASH", hash)+`,`, 1), "has more than 1000 users or 1000 tokens"},
		{"one token more", strings.Replace(whole, `"tokens": [`, `"tokens": [`+token("a", "1")+`,`, 1), "has more than 1000 users or 1000 tokens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parse([]byte(tt.text))
			if tt.want == "" {
				ok(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || s != nil {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParsePassword(t *testing.T) {
	h := passwordHash{Cost{2, 64, 3}, []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789abcdef")}
	text := h.String()
	if want := "$argon2id$v=19$m=64,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	got, err := parsePassword(text)
	ok(t, err)
	if diff := cmp.Diff(h, got, cmp.AllowUnexported(passwordHash{})); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for _, change := range []struct{ from, to string }{
		{"argon2id", "argon2i"},
		{"v=19", "v=16"},
		{"m=64", "m=23"}, // fewer than 8 a thread: argon2 would take more than it was told
		{"m=64", "m=262145"},
		{"m=64", "m=064"},
		{"m=64", "m=+64"},
		{"m=64", "m=-64"},
		{"t=2", "t=0"}, // argon2 would panic
		{"t=2", "t=17"},
		{"t=2", "t=4294967298"},
		{"p=3", "p=0"},
		{"p=3", "p=17"},
		{"p=3", "p=259"},
		{"p=3", "p=3,x=1"},
		{"p=3", "p=3 "},
		{"ZWY", "ZWZ"}, // bits that are not used
		{"ZWY", "ZWY="},
		{"ZWY", "ZW\nY"},
		{"ZWY", "Z"},
		{"$MDE", "$$MDE"},
		{"MDEyMzQ1Njc4OWFiY2RlZg$", "$"},
	} {
		bad := text[:max(0, strings.LastIndex(text, change.from))] + change.to + text[strings.LastIndex(text, change.from)+len(change.from):]
		if change.from == "$MDE" || strings.HasPrefix(change.from, "MDE") {
			bad = strings.Replace(text, change.from, change.to, 1)
		}
		if _, err := parsePassword(bad); err == nil || bad == text {
			t.Errorf("took %s", bad)
		}
	}
}

// TestBadCost has a cost with which argon2 would panic: nobody gets a password, and nobody gets in.
func TestBadCost(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	for _, c := range []Cost{{Memory: 8, Threads: 1}, {Time: 1, Memory: 8}, {Time: 1, Memory: 1 << 31, Threads: 1}} {
		a := Open(path, Options{Cost: c})
		a.derive = func(_, _ []byte, c Cost) []byte {
			ok(t, c.check())
			return make([]byte, hashBytes) // that of nobody, by chance
		}
		if err := a.AddUser("alice", Viewer, good); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := a.Login(t.Context(), "alice", good, here); !errors.Is(err, ErrLogin) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPrincipalString(t *testing.T) {
	got := []string{Principal{}.String(), Principal{Name: "alice"}.String(), Principal{Name: "ci", Token: true}.String()}
	if diff := cmp.Diff([]string{"nobody", "user alice", "token ci"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	hash := passwordHash{cheap, make([]byte, saltBytes), make([]byte, hashBytes)}.String()
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"users":[{"name":"alice","role":"viewer","password":"` + hash + `","created":"2026-11-21T12:00:00+02:00","changed":"0000-01-01T00:00:00Z"}],` +
		`"tokens":[{"name":"ci","role":"admin","sha256":"` + strings.Repeat("0f", 32) + `","created":"2026-11-21T12:00:00Z","expires":"2027-11-21T12:00:00.5Z"}]}`))
	f.Add([]byte(`{"version":1,"users":null,"tokens":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse(data)
		if err != nil {
			return
		}
		for name, u := range s.users {
			if name != u.Name || checkName(name) != nil || !u.Role.valid() || u.hash.cost.check() != nil {
				t.Errorf("took %+v", u)
			}
		}
		// What was taken can be written and read again, and is the same.
		before := s.file()
		text, err := before.encode()
		ok(t, err)
		s, err = parse(text)
		ok(t, err)
		after := s.file()
		again, err := after.encode()
		ok(t, err)
		if string(text) != string(again) {
			t.Errorf("written %s, then %s", text, again)
		}
		if !json.Valid(text) || !slices.IsSortedFunc(after.Users, func(a, b userRow) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("wrote %s", text)
		}
	})
}

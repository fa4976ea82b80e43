package accounts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLogin(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Analyst, good))
	s := b.login(t, "alice")
	if s.Principal.Name != "alice" || s.Principal.Role != Analyst || s.Principal.Token || !s.Expires.Equal(start.Add(SessionAge)) {
		t.Errorf("%+v", s)
	}
	if len(s.Cookie) != cookieLength || s.Principal.CSRF == "" || strings.Contains(s.Cookie, s.Principal.CSRF) {
		t.Errorf("%+v", s)
	}
	p, known := b.Session(s.Cookie)
	if !known || p != s.Principal {
		t.Errorf("%+v, %v; want %+v", p, known, s.Principal)
	}
	other := b.login(t, "alice")
	if other.Cookie == s.Cookie || other.Principal.CSRF == s.Principal.CSRF {
		t.Error("two logins have one secret")
	}
	for _, cookie := range []string{"", s.Principal.CSRF, s.Cookie[1:], s.Cookie + "A", strings.Repeat("A", cookieLength)} {
		if p, ok := b.Session(cookie); ok || p != (Principal{}) {
			t.Errorf("%q is a session of %v", cookie, p)
		}
	}
	b.Logout(s.Cookie)
	if _, ok := b.Session(s.Cookie); ok {
		t.Error("logged out, but in")
	}
	if _, ok := b.Session(other.Cookie); !ok {
		t.Error("the other session is gone")
	}
	for name, password := range map[string]string{"alice": good + " ", "bob": good, "Alice": good, "": ""} {
		if s, err := b.Login(t.Context(), name, password, here); !errors.Is(err, ErrLogin) || s != (Session{}) {
			t.Errorf("%q: %+v, %v", name, s, err)
		}
	}
}

// TestSameWork has every login that fails hash once, with the same cost, whether or not the name exists.
func TestSameWork(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	var costs []Cost
	derive := b.derive
	b.derive = func(password, salt []byte, c Cost) []byte {
		costs = append(costs, c)
		return derive(password, salt, c)
	}
	for _, try := range []struct{ name, password string }{
		{"alice", "wrong wrong"},
		{"nobody", "wrong wrong"},
		{"Not A Name", "wrong wrong"},
		{strings.Repeat("n", 1<<16), "wrong wrong"},
		{"alice", strings.Repeat("p", 1<<16)},
		{"nobody", strings.Repeat("p", 1<<16)},
		{"nobody", ""},
		{"", ""},
	} {
		costs = nil
		if _, err := b.Login(t.Context(), try.name, try.password, here); !errors.Is(err, ErrLogin) {
			t.Errorf("%.20q: %v", try.name, err)
		}
		if len(costs) != 1 || costs[0] != cheap {
			t.Errorf("%.20q, %.20q: hashed with %v, want once with %v", try.name, try.password, costs, cheap)
		}
	}
}

// TestSessionEnds has a session end for each reason there is.
func TestSessionEnds(t *testing.T) {
	tests := []struct {
		name string
		do   func(*bench) error
		ends bool
	}{
		{"nothing", func(*bench) error { return nil }, false},
		{"nearly idle", func(b *bench) error { b.advance(SessionIdle - 1); return nil }, false},
		{"idle", func(b *bench) error { b.advance(SessionIdle); return nil }, true},
		{"other password", func(b *bench) error { return b.SetPassword("alice", "another "+good) }, true},
		{"same password again", func(b *bench) error { return b.SetPassword("alice", good) }, true},
		{"removed", func(b *bench) error { return b.RemoveUser("alice") }, true},
		{"removed and added", func(b *bench) error { return errors.Join(b.RemoveUser("alice"), b.AddUser("alice", Viewer, good)) }, true},
		{"other role", func(b *bench) error { return b.SetRole("alice", Admin) }, false},
		{"other user", func(b *bench) error { return b.RemoveUser("bob") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setUp(t)
			ok(t, b.AddUser("alice", Viewer, good))
			ok(t, b.AddUser("bob", Viewer, good))
			s := b.login(t, "alice")
			ok(t, tt.do(b))
			for range 2 {
				if _, ok := b.Session(s.Cookie); ok == tt.ends {
					t.Errorf("session: %v", ok)
				}
			}
			if n := len(b.sessions.rows); (n == 0) != tt.ends {
				t.Errorf("%d sessions are kept", n)
			}
		})
	}

	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	s := b.login(t, "alice")
	for range 23 { // used twice an hour
		b.advance(SessionAge / 24)
		if _, ok := b.Session(s.Cookie); !ok {
			t.Fatalf("ended at %s", b.now())
		}
	}
	b.advance(SessionAge / 24)
	if _, ok := b.Session(s.Cookie); ok {
		t.Errorf("holds after %s", SessionAge)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	ok(t, b.AddUser("bob", Viewer, good))
	first, second := b.login(t, "alice"), b.login(t, "alice")
	bobs := b.login(t, "bob")
	b.advance(time.Second)
	b.Session(first.Cookie)
	for range MaxUserSessions - 1 {
		b.advance(time.Second)
		b.login(t, "alice")
	}
	for _, tt := range []struct {
		name string
		s    Session
		want bool
	}{{"used", first, true}, {"not used for the longest time", second, false}, {"of another user", bobs, true}} {
		if _, ok := b.Session(tt.s.Cookie); ok != tt.want {
			t.Errorf("%s: %v", tt.name, ok)
		}
	}

	var all sessions
	all.rows = map[[sha256.Size]byte]*session{}
	key := func(i int) [sha256.Size]byte { return sha256.Sum256([]byte{byte(i), byte(i >> 8)}) }
	for i := range MaxSessions + 10 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		all.add(key(i), session{user: strconv.Itoa(i), began: at, used: at})
	}
	if n := len(all.rows); n != MaxSessions || all.rows[key(9)] != nil || all.rows[key(10)] == nil {
		t.Errorf("%d sessions", n)
	}
	all.add(key(5000), session{user: "late", began: start.Add(SessionAge), used: start.Add(SessionAge)})
	if n := len(all.rows); n != 1 {
		t.Errorf("%d sessions after all others have ended", n)
	}
}

func TestFailures(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}) }
	v6 := func(i int) netip.Addr {
		a := netip.MustParseAddr("2001:db8:1:2::").As16()
		a[15], a[14] = byte(i), byte(i>>8)
		return netip.AddrFrom16(a)
	}
	tests := []struct {
		name  string
		limit int
		try   func(i int) (name string, from netip.Addr)
		every time.Duration
	}{
		{"one name from everywhere", NameFailures, func(i int) (string, netip.Addr) { return "alice", addr(i) }, NameEvery},
		{"a name that does not exist", NameFailures, func(i int) (string, netip.Addr) { return "nobody", addr(i) }, NameEvery},
		{"all names from one address", NetworkFailures, func(i int) (string, netip.Addr) { return fmt.Sprint("user", i), addr(1) }, NetworkEvery},
		{"from one /64", NetworkFailures, func(i int) (string, netip.Addr) { return fmt.Sprint("user", i), v6(i) }, NetworkEvery},
		{"IPv4 in IPv6", NetworkFailures, func(i int) (string, netip.Addr) {
			return fmt.Sprint("user", i), netip.AddrFrom16(addr(1).As16())
		}, NetworkEvery},
		{"no names", NetworkFailures, func(i int) (string, netip.Addr) { return fmt.Sprint("NO NAME", i), addr(1) }, NetworkEvery},
		{"no address", NetworkFailures, func(i int) (string, netip.Addr) { return fmt.Sprint("user", i), netip.Addr{} }, NetworkEvery},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := setUp(t)
			ok(t, b.AddUser("alice", Viewer, good))
			before := b.hashed.Load()
			for i := range tt.limit {
				name, from := tt.try(i)
				if _, err := b.Login(t.Context(), name, "wrong wrong", from); !errors.Is(err, ErrLogin) {
					t.Fatalf("try %d: %v", i, err)
				}
			}
			name, from := tt.try(tt.limit)
			// Also the right password is not looked at.
			_, err := b.Login(t.Context(), name, good, from)
			var many *TooManyError
			if !errors.As(err, &many) || many.Wait <= 0 || many.Wait > tt.every {
				t.Fatalf("%v, want a wait up to %s", err, tt.every)
			}
			if n := int(b.hashed.Load() - before); n != tt.limit {
				t.Errorf("hashed %d times, want %d", n, tt.limit)
			}
			b.advance(many.Wait)
			if _, err := b.Login(t.Context(), name, "wrong wrong", from); !errors.Is(err, ErrLogin) {
				t.Errorf("after the wait: %v", err)
			}
			if _, err := b.Login(t.Context(), name, "wrong wrong", from); !errors.As(err, &many) {
				t.Errorf("after one more: %v", err)
			}
		})
	}
}

// TestGoodLoginsCountNot logs in more often than may fail.
func TestGoodLoginsCountNot(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	for range 2 * NetworkFailures {
		b.login(t, "alice")
	}
	if n := len(b.failures.names.rows) + len(b.failures.networks.rows); n != 0 {
		t.Errorf("%d failures are remembered", n)
	}
}

// TestGuessesAtOnce has more guesses under way at once than may fail: no more than that are hashed.
func TestGuessesAtOnce(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	before := b.hashed.Load()
	var wg sync.WaitGroup
	for range 5 * NameFailures {
		wg.Go(func() {
			if _, err := b.Login(t.Context(), "alice", "wrong wrong", here); err == nil {
				t.Error("let in")
			}
		})
	}
	wg.Wait()
	if n := b.hashed.Load() - before; n != NameFailures {
		t.Errorf("hashed %d times, want %d", n, NameFailures)
	}
}

// TestLoginWaits has a login given up while others hash.
func TestLoginWaits(t *testing.T) {
	b := setUp(t)
	ok(t, b.AddUser("alice", Viewer, good))
	for range maxHashing {
		b.hashing <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Login(ctx, "alice", good, here); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if n := len(b.failures.names.rows) + len(b.failures.networks.rows); n != 0 {
		t.Errorf("%d failures are remembered", n)
	}
}

// TestFailuresAreBounded fills the table: who has failed most often is not forgotten.
func TestFailuresAreBounded(t *testing.T) {
	f := newFailures()
	for range NameFailures {
		f.names.add("victim", 1, start)
	}
	for i := range maxFailures + 10 {
		f.names.add(strconv.Itoa(i), 1, start)
	}
	if n := len(f.names.rows); n != maxFailures {
		t.Errorf("%d names, want %d", n, maxFailures)
	}
	if f.names.wait("victim", start) == 0 {
		t.Error("the name that was guessed at is forgotten")
	}
	f.names.add("later", 1, start.Add(2*NameEvery))
	if n := len(f.names.rows); n != 2 {
		t.Errorf("%d names after the others are long over, want 2", n)
	}
}

// TestTally holds the tally against a list of all that was counted: never more than limit and what was forgotten since.
func TestTally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const every = time.Minute
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		tal := tally[string]{float64(limit), every, map[string]level{}}
		now := start
		let := 0
		for range rapid.IntRange(1, 200).Draw(t, "tries") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			if wait := tal.wait("a", now); wait == 0 {
				tal.add("a", 1, now)
				let++
			} else if wait > every || tal.wait("a", now.Add(wait)) > time.Second {
				t.Fatalf("wait %s, and then %s", wait, tal.wait("a", now.Add(wait)))
			}
			if most := limit + int(math.Ceil(float64(now.Sub(start))/float64(every))); let > most {
				t.Fatalf("%d got through in %s, want at most %d", let, now.Sub(start), most)
			}
		}
	})
}

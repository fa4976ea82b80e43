package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Bounds of sessions and logins.
const (
	// SessionIdle ends a session that is not used, SessionAge every session.
	SessionIdle = time.Hour
	SessionAge  = 12 * time.Hour
	// MaxSessions is how many there may be, MaxUserSessions how many of one user; beyond it the one that was not used for
	// the longest time ends.
	MaxSessions     = 1000
	MaxUserSessions = 20

	// NameFailures is how many logins with one name may fail in a row, and NameEvery how long it takes until one more may.
	NameFailures = 10
	NameEvery    = time.Minute
	// NetworkFailures and NetworkEvery are the same for all logins from one network (an IPv4 address, an IPv6 /64).
	NetworkFailures = 20
	NetworkEvery    = 15 * time.Second
	// maxFailures is how many names, and how many networks, are remembered; beyond it the one with the fewest failures is
	// forgotten, so that many harmless ones cannot hide one that is not.
	maxFailures = 10_000

	// hashWait is how long a login waits for others that hash.
	hashWait = 10 * time.Second
)

// ErrLogin says that name or password is wrong, and not which.
var ErrLogin = errors.New("name or password is wrong")

// TooManyError says that too many logins have failed with this name or from this network, whether or not this one would,
// or that too many are going on.
type TooManyError struct {
	// Wait is how long until the next one may be tried.
	Wait time.Duration
}

// Error gives the reason.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many logins; try again in %s", e.Wait.Round(time.Second))
}

// Session is what a login gives.
type Session struct {
	// Cookie is the secret that the browser keeps; SetCookie sends it.
	Cookie string
	// Expires is when the session ends at the latest.
	Expires time.Time
	// Principal is whose it is.
	Principal Principal
}

// Login checks name and password of somebody at a remote address and begins a session. It gives ErrLogin, a
// *TooManyError, or the context's error. Whether a name exists cannot be told from its answer nor from how long it takes:
// the same work is done for every name, as long as all passwords were hashed with the same cost.
func (a *Accounts) Login(ctx context.Context, name, password string, remote netip.Addr) (Session, error) {
	s, err := a.login(ctx, name, password, remote)
	if many := (*TooManyError)(nil); errors.Is(err, ErrLogin) || errors.As(err, &many) {
		a.refused.tell(false, name, err.Error(), remote)
	}
	return s, err
}

func (a *Accounts) login(ctx context.Context, name, password string, remote netip.Addr) (Session, error) {
	if checkName(name) != nil {
		name = "" // nobody has it, and it does not have to be remembered
	}
	if len(password) > MaxPassword {
		password = "" // no user's is
	}
	net := network(remote)
	// It counts as failed until it has not: of many at once none gets through.
	if wait := a.failures.add(name, net, a.opts.Now()); wait > 0 {
		return Session{}, &TooManyError{wait}
	}
	timer := time.NewTimer(hashWait)
	defer timer.Stop()
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		a.failures.takeBack(name, net, a.opts.Now())
		return Session{}, ctx.Err()
	case <-timer.C:
		a.failures.takeBack(name, net, a.opts.Now())
		return Session{}, &TooManyError{time.Second}
	}
	u, known := a.current().users[name]
	if !known {
		u.hash = passwordHash{a.nobodysCost(), make([]byte, saltBytes), make([]byte, hashBytes)}
	}
	if !u.hash.matches(password, a.derive) || !known {
		return Session{}, ErrLogin
	}
	now := a.opts.Now()
	a.failures.takeBack(name, net, now)
	cookie := newSecret()
	a.sessions.add(sha256.Sum256([]byte(cookie)), session{user: name, password: u.Password, began: now, used: now})
	return Session{
		Cookie: cookie, Expires: now.Add(SessionAge), Principal: Principal{Name: name, Role: u.Role, CSRF: csrf(cookie)},
	}, nil
}

// nobodysCost is what a name costs that does not exist: as much as one that does.
func (a *Accounts) nobodysCost() Cost {
	if a.opts.Cost.check() != nil {
		return DefaultCost // no user was added with the other
	}
	return a.opts.Cost
}

// Session tells whose session it is and notes that it is used; ok is false if it has ended or never was.
func (a *Accounts) Session(cookie string) (p Principal, ok bool) {
	if len(cookie) != cookieLength {
		return Principal{}, false
	}
	key := sha256.Sum256([]byte(cookie))
	users := a.current().users
	name, password, ok := a.sessions.use(key, a.opts.Now())
	if !ok {
		return Principal{}, false
	}
	u, ok := users[name]
	if !ok || u.Password != password { // the salt makes every password another one
		a.sessions.end(key)
		return Principal{}, false
	}
	return Principal{Name: name, Role: u.Role, CSRF: csrf(cookie)}, true
}

// Logout ends a session.
func (a *Accounts) Logout(cookie string) { a.sessions.end(sha256.Sum256([]byte(cookie))) }

// csrf gives the token of a session. It is made from the cookie, which nobody can find from it, so that nothing more has
// to be kept.
func csrf(cookie string) string {
	sum := sha256.Sum256([]byte("minecanary csrf " + cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// session is what is kept of a session, by the hash of its cookie.
type session struct {
	user string
	// password is the hash of the user's at login: another one ends the session.
	password    string
	began, used time.Time
}

func (s *session) ended(now time.Time) bool {
	return now.Sub(s.began) >= SessionAge || now.Sub(s.used) >= SessionIdle
}

type sessions struct {
	mu   sync.Mutex
	rows map[[sha256.Size]byte]*session
}

// add adds a session and makes room for it.
func (s *sessions) add(key [sha256.Size]byte, row session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, old := range s.rows {
		if old.ended(row.began) {
			delete(s.rows, k)
		}
	}
	s.makeRoom(MaxUserSessions, func(old *session) bool { return old.user == row.user })
	s.makeRoom(MaxSessions, func(*session) bool { return true })
	s.rows[key] = &row
}

// makeRoom ends the session that was not used for the longest time, if there are max of those that count.
func (s *sessions) makeRoom(limit int, counts func(*session) bool) {
	var oldest [sha256.Size]byte
	n := 0
	for k, row := range s.rows {
		if counts(row) {
			if n == 0 || row.used.Before(s.rows[oldest].used) {
				oldest = k
			}
			n++
		}
	}
	if n >= limit {
		delete(s.rows, oldest)
	}
}

func (s *sessions) use(key [sha256.Size]byte, now time.Time) (user, password string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.rows[key]
	if row == nil {
		return "", "", false
	}
	if row.ended(now) {
		delete(s.rows, key)
		return "", "", false
	}
	row.used = now
	return row.user, row.password, true
}

func (s *sessions) end(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, key)
}

// network is what is counted as one: an IPv4 address, an IPv6 /64, which is the least that one customer has. An address
// that is none is a network too.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// failures are the logins that have failed.
type failures struct {
	mu       *sync.Mutex
	names    tally[string]
	networks tally[netip.Prefix]
}

func newFailures() failures {
	return failures{
		&sync.Mutex{},
		tally[string]{NameFailures, NameEvery, map[string]level{}},
		tally[netip.Prefix]{NetworkFailures, NetworkEvery, map[netip.Prefix]level{}},
	}
}

// add counts one, or tells how long to wait until it may be tried.
func (f *failures) add(name string, net netip.Prefix, now time.Time) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait = f.networks.wait(net, now)
	if name != "" {
		wait = max(wait, f.names.wait(name, now))
	}
	if wait > 0 {
		return wait
	}
	f.networks.add(net, 1, now)
	if name != "" {
		f.names.add(name, 1, now)
	}
	return 0
}

// takeBack takes back one that was counted.
func (f *failures) takeBack(name string, net netip.Prefix, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks.add(net, -1, now)
	if name != "" {
		f.names.add(name, -1, now)
	}
}

// tally counts up to limit for each key and forgets one in every stretch.
type tally[K comparable] struct {
	limit float64
	every time.Duration
	rows  map[K]level
}

type level struct {
	count float64
	at    time.Time
}

func (t *tally[K]) count(l level, now time.Time) float64 {
	return max(0, l.count-max(0, float64(now.Sub(l.at)))/float64(t.every))
}

func (t *tally[K]) wait(key K, now time.Time) time.Duration {
	over := t.count(t.rows[key], now) + 1 - t.limit
	if over <= 0 {
		return 0
	}
	return max(time.Duration(over*float64(t.every)), time.Second)
}

func (t *tally[K]) add(key K, n float64, now time.Time) {
	row, known := t.rows[key]
	if !known && len(t.rows) >= maxFailures {
		t.makeRoom(now)
	}
	row = level{max(0, t.count(row, now)+n), now}
	if row.count == 0 {
		delete(t.rows, key)
		return
	}
	t.rows[key] = row
}

// makeRoom forgets who has nothing left to be forgotten, or else who has the least. It looks at all; a login, which hashes
// a password, takes hundreds of times as long.
func (t *tally[K]) makeRoom(now time.Time) {
	var least K
	lowest := -1.0
	for k, row := range t.rows {
		c := t.count(row, now)
		if c == 0 {
			delete(t.rows, k)
			continue
		}
		if lowest < 0 || c < lowest {
			least, lowest = k, c
		}
	}
	if len(t.rows) >= maxFailures {
		delete(t.rows, least)
	}
}

// Package accounts knows who may do what: users with passwords for the web pages, tokens for programs, each with one of
// three roles. They stand in one file, which several processes may change; nothing in it lets anybody in: passwords are
// kept as argon2id, tokens as SHA-256. Sessions live in memory, hashed as well.
package accounts

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/minecanary/minecanary/intel/internal/safefile"
)

// FileName is the accounts' name in state.dir.
const FileName = "accounts.json"

// Bounds.
const (
	// MaxUsers and MaxTokens are how many of each there may be.
	MaxUsers  = 1000
	MaxTokens = 1000
	// MaxName is the longest name in bytes; names are of a-z, 0-9, dot, underscore and hyphen.
	MaxName = 64
	// MinPassword and MaxPassword are the lengths of a password in bytes.
	MinPassword = 10
	MaxPassword = 256
	// CheckEvery is how often at most the file is looked at for changes of other processes.
	CheckEvery = 2 * time.Second
)

// Role is what somebody may do. Each role may do all that the one before it may.
type Role string

// The roles.
const (
	// Nobody is who has not said who he is.
	Nobody Role = ""
	// Viewer may read all.
	Viewer Role = "viewer"
	// Analyst may change the catalogue and have endpoints asked.
	Analyst Role = "analyst"
	// Admin may change settings and accounts.
	Admin Role = "admin"
)

// Roles lists the roles that can be given, from the least to the most.
func Roles() []Role { return []Role{Viewer, Analyst, Admin} }

// Allows tells whether the role may do what needs the other one. A role that does not exist may do nothing but what
// needs nobody, and nobody may do what needs a role that does not exist.
func (r Role) Allows(need Role) bool {
	return need == Nobody || need.valid() && slices.Index(Roles(), r) >= slices.Index(Roles(), need)
}

// valid tells whether the role can be given.
func (r Role) valid() bool { return slices.Contains(Roles(), r) }

// Errors of changes; compare with errors.Is.
var (
	// ErrInvalid is a name, role, password or time that cannot be.
	ErrInvalid = errors.New("invalid")
	// ErrExists is a name that is taken.
	ErrExists = errors.New("exists already")
	// ErrNotFound is a name that nobody has.
	ErrNotFound = errors.New("does not exist")
	// ErrFull says that there are MaxUsers or MaxTokens.
	ErrFull = errors.New("there are too many")
)

// User is what may be told of a user.
type User struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Created is when the user was added, Changed when role or password was last set; UTC, in whole seconds.
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Token is what may be told of a token.
type Token struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Created is when the token was added, Expires when it ends, zero for never; UTC, in whole seconds.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

// Principal is who makes a request.
type Principal struct {
	// Name of the user or token; users and tokens may have the same. "" is nobody.
	Name string
	Role Role
	// Token tells that it is a token.
	Token bool
	// CSRF is what a state-changing request of this session has to carry; "" for tokens and nobody.
	CSRF string
}

// String gives "user alice", "token ci" or "nobody", as a journal names them.
func (p Principal) String() string {
	switch {
	case p.Name == "":
		return "nobody"
	case p.Token:
		return "token " + p.Name
	}
	return "user " + p.Name
}

// Options are what Accounts needs; the zero value will do.
type Options struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnError, if set, is told when the file cannot be read; the accounts are then those from before. It is told once
	// for as long as the reason is the same.
	OnError func(error)
	// Log is told of logins and tokens that are refused, with the name, quoted, and the address; nil is silence. It never
	// gets a password or a token, and not more than twelve lines a minute for long.
	Log *slog.Logger
	// Cost of new passwords; zero means DefaultCost. With one that cannot be no password is set.
	Cost Cost
	// Secure tells whether a request came over TLS; nil means that this process itself spoke TLS. Where a proxy does,
	// it is for the operator to say which header proves it.
	Secure func(*http.Request) bool
	// Remote gives the address a request came from; nil means that of the connection.
	Remote func(*http.Request) netip.Addr
}

// Accounts are users, tokens and sessions. All methods may be called from several goroutines.
type Accounts struct {
	path string
	opts Options
	// derive is argon2id; tests count its calls.
	derive  func(password, salt []byte, c Cost) []byte
	hashing chan struct{} // a place for each that may run at once

	mu      sync.Mutex
	state   *state // is never changed, only replaced
	seen    os.FileInfo
	checked time.Time
	told    string // the last error that OnError was told

	sessions sessions
	failures failures
	refused  *refusals
}

// Open gives the accounts of a file, usually FileName in state.dir. A file that is missing holds none. It does no I/O.
func Open(path string, opts Options) *Accounts {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	if opts.Cost == (Cost{}) {
		opts.Cost = DefaultCost
	}
	if opts.Secure == nil {
		opts.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if opts.Remote == nil {
		opts.Remote = Remote
	}
	return &Accounts{
		path: path, opts: opts, derive: argon2id, hashing: make(chan struct{}, maxHashing), state: &state{},
		sessions: sessions{rows: map[[sha256.Size]byte]*session{}}, failures: newFailures(),
		refused: newRefusals(opts.Log, opts.Now),
	}
}

// AddUser adds a user.
func (a *Accounts) AddUser(name string, role Role, password string) error {
	hash, err := a.newPassword(name, password)
	if err != nil {
		return err
	}
	return a.update(func(f *file, now time.Time) error {
		if _, ok := find(f.Users, name); ok {
			return fmt.Errorf("user %s %w", name, ErrExists)
		}
		if len(f.Users) >= MaxUsers {
			return fmt.Errorf("%w users (%d)", ErrFull, MaxUsers)
		}
		if !role.valid() {
			return badRole(role)
		}
		f.Users = append(f.Users, userRow{Name: name, Role: role, Password: hash, Created: now, Changed: now})
		return nil
	})
}

// SetPassword gives a user another password and ends the user's sessions.
func (a *Accounts) SetPassword(name, password string) error {
	hash, err := a.newPassword(name, password)
	if err != nil {
		return err
	}
	return a.update(func(f *file, now time.Time) error {
		i, ok := find(f.Users, name)
		if !ok {
			return fmt.Errorf("user %s %w", name, ErrNotFound)
		}
		f.Users[i].Password, f.Users[i].Changed = hash, now
		return nil
	})
}

// SetRole gives a user another role, also in the sessions that are there.
func (a *Accounts) SetRole(name string, role Role) error {
	if err := checkName(name); err != nil {
		return err
	}
	return a.update(func(f *file, now time.Time) error {
		i, ok := find(f.Users, name)
		if !ok {
			return fmt.Errorf("user %s %w", name, ErrNotFound)
		}
		if !role.valid() {
			return badRole(role)
		}
		f.Users[i].Role, f.Users[i].Changed = role, now
		return nil
	})
}

// RemoveUser removes a user and ends the user's sessions.
func (a *Accounts) RemoveUser(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return a.update(func(f *file, _ time.Time) error {
		i, ok := find(f.Users, name)
		if !ok {
			return fmt.Errorf("user %s %w", name, ErrNotFound)
		}
		f.Users = slices.Delete(f.Users, i, i+1)
		return nil
	})
}

// Users gives the users by name, as they are in the file now.
func (a *Accounts) Users() ([]User, error) {
	s, _, err := readFile(a.path)
	if err != nil {
		return nil, err
	}
	users := make([]User, 0, len(s.users))
	for _, u := range s.users {
		users = append(users, User{u.Name, u.Role, u.Created.UTC(), u.Changed.UTC()})
	}
	slices.SortFunc(users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	return users, nil
}

const (
	// tokenPrefix lets people, and those who look for secrets in the wrong places, see what it is.
	tokenPrefix = "mcy_"
	// secretBytes of entropy are in a token, a session's cookie and a CSRF token.
	secretBytes = 32
)

// tokenLength is the length of a token's secret; cookieLength that of a session's.
var (
	cookieLength = base64.RawURLEncoding.EncodedLen(secretBytes)
	tokenLength  = len(tokenPrefix) + cookieLength
)

// newSecret gives 256 random bits as text.
func newSecret() string {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// AddToken adds a token that ends at the given time, or never if it is zero. The secret is given here and never again: it
// has 256 bits of entropy, so its SHA-256, which is what is kept, tells nothing.
func (a *Accounts) AddToken(name string, role Role, expires time.Time) (secret string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	secret = tokenPrefix + newSecret()
	sum := sha256.Sum256([]byte(secret))
	err = a.update(func(f *file, now time.Time) error {
		if _, ok := find(f.Tokens, name); ok {
			return fmt.Errorf("token %s %w", name, ErrExists)
		}
		if len(f.Tokens) >= MaxTokens {
			return fmt.Errorf("%w tokens (%d)", ErrFull, MaxTokens)
		}
		if !role.valid() {
			return badRole(role)
		}
		if !expires.IsZero() && (!expires.After(now) || expires.Year() > maxYear) {
			return fmt.Errorf("%w: a token has to end after now and before the year %d", ErrInvalid, maxYear+1)
		}
		f.Tokens = append(f.Tokens, tokenRow{
			Name: name, Role: role, SHA256: hex.EncodeToString(sum[:]), Created: now, Expires: expires.UTC().Truncate(time.Second),
		})
		return nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// RemoveToken removes a token.
func (a *Accounts) RemoveToken(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return a.update(func(f *file, _ time.Time) error {
		i, ok := find(f.Tokens, name)
		if !ok {
			return fmt.Errorf("token %s %w", name, ErrNotFound)
		}
		f.Tokens = slices.Delete(f.Tokens, i, i+1)
		return nil
	})
}

// Tokens gives the tokens by name, those that have ended included, as they are in the file now.
func (a *Accounts) Tokens() ([]Token, error) {
	s, _, err := readFile(a.path)
	if err != nil {
		return nil, err
	}
	tokens := make([]Token, 0, len(s.tokens))
	for _, t := range s.tokens {
		tokens = append(tokens, Token{t.Name, t.Role, t.Created.UTC(), t.Expires.UTC()})
	}
	slices.SortFunc(tokens, func(a, b Token) int { return cmp.Compare(a.Name, b.Name) })
	return tokens, nil
}

// Token tells whose secret it is; ok is false if nobody's, or if the token has ended. How long it takes tells nothing of
// the secrets there are: what is looked up is a hash, whose bytes nobody can choose.
func (a *Accounts) Token(secret string) (p Principal, ok bool) {
	p, ended := a.token(secret)
	if ended {
		return Principal{}, false
	}
	return p, p.Name != ""
}

// token is Token, which also gives whose token it was that has ended.
func (a *Accounts) token(secret string) (p Principal, ended bool) {
	if len(secret) != tokenLength {
		return Principal{}, false
	}
	t, ok := a.current().tokens[sha256.Sum256([]byte(secret))]
	if !ok {
		return Principal{}, false
	}
	return Principal{Name: t.Name, Role: t.Role, Token: true}, !t.Expires.IsZero() && !a.opts.Now().Before(t.Expires)
}

// newPassword checks what a user is to be given and hashes it.
func (a *Accounts) newPassword(name, password string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", fmt.Errorf("%w: a password has %d to %d bytes", ErrInvalid, MinPassword, MaxPassword)
	}
	if err := a.opts.Cost.check(); err != nil {
		return "", err
	}
	var salt [saltBytes]byte
	_, _ = rand.Read(salt[:]) // never fails
	a.hashing <- struct{}{}
	defer func() { <-a.hashing }()
	return passwordHash{a.opts.Cost, salt[:], a.derive([]byte(password), salt[:], a.opts.Cost)}.String(), nil
}

// checkName tells what is wrong with a name. The name is not repeated: it may be anything.
func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= MaxName
	for i := range len(name) {
		c := name[i]
		ok = ok && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: a name has 1 to %d characters of a-z, 0-9, dot, underscore and hyphen", ErrInvalid, MaxName)
	}
	return nil
}

func badRole(r Role) error {
	return fmt.Errorf("%w: role %q is none of %v", ErrInvalid, string(r[:min(len(r), MaxName)]), Roles())
}

// update changes the file while no other process does.
func (a *Accounts) update(change func(f *file, now time.Time) error) (err error) {
	lock, err := safefile.Lock(a.path + ".lock")
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	s, _, err := readFile(a.path)
	if err != nil {
		return err // what cannot be read is not written over
	}
	f := s.file()
	if err := change(&f, a.opts.Now().UTC().Truncate(time.Second)); err != nil {
		return err
	}
	data, err := f.encode()
	if err != nil {
		return err
	}
	if err := safefile.Replace(a.path, data, fileMode); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = nil // what was written is read: one way of getting accounts is enough
	return a.reload()
}

// current gives the accounts as they are, or were CheckEvery ago.
func (a *Accounts) current() *state {
	a.mu.Lock()
	now := a.opts.Now()
	var err error
	if since := now.Sub(a.checked); a.checked.IsZero() || since >= CheckEvery || since < 0 {
		a.checked = now
		if err = a.reload(); err == nil {
			a.told = ""
		} else if err.Error() == a.told {
			err = nil
		} else {
			a.told = err.Error()
		}
	}
	s := a.state
	a.mu.Unlock()
	if err != nil {
		a.opts.OnError(err) // without the lock: it may call us
	}
	return s
}

// reload reads the file if it is another than the one seen; the lock is held. With an error all stays as it was.
func (a *Accounts) reload() error {
	info, err := os.Stat(a.path)
	if err == nil && a.seen != nil && os.SameFile(info, a.seen) && info.ModTime().Equal(a.seen.ModTime()) && info.Size() == a.seen.Size() {
		return nil
	}
	s, info, err := readFile(a.path)
	if err != nil {
		return err
	}
	a.state, a.seen = s, info
	return nil
}

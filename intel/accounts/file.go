package accounts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	// MaxFile is the largest file in bytes; MaxUsers and MaxTokens with the longest names fit in.
	MaxFile = 1 << 20

	fileVersion = 1
	fileMode    = 0o600
	// maxYear is the last year that JSON's times can have (RFC 3339).
	maxYear = 9999
)

// file is what stands in the file.
type file struct {
	Version int        `json:"version"`
	Users   []userRow  `json:"users"`
	Tokens  []tokenRow `json:"tokens"`
}

type userRow struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Password is an argon2id hash as passwordHash writes it.
	Password string    `json:"password"`
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`
}

type tokenRow struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// SHA256 is the hash of the whole secret, in lower-case hex.
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

func (u userRow) name() string  { return u.Name }
func (t tokenRow) name() string { return t.Name }

// find gives the place of a name.
func find[R interface{ name() string }](rows []R, name string) (int, bool) {
	i := slices.IndexFunc(rows, func(r R) bool { return r.name() == name })
	return i, i >= 0
}

// state is a file that was checked, ready to be asked.
type state struct {
	users  map[string]user
	tokens map[[sha256.Size]byte]tokenRow
}

type user struct {
	userRow
	hash passwordHash
}

// file gives the rows by name.
func (s *state) file() file {
	f := file{Version: fileVersion, Users: []userRow{}, Tokens: []tokenRow{}}
	for _, u := range s.users {
		f.Users = append(f.Users, u.userRow)
	}
	for _, t := range s.tokens {
		f.Tokens = append(f.Tokens, t)
	}
	return f
}

// encode writes the file, the rows by name.
func (f *file) encode() ([]byte, error) {
	slices.SortFunc(f.Users, func(a, b userRow) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Tokens, func(a, b tokenRow) int { return cmp.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("encode accounts: %w", err)
	}
	if len(data) >= MaxFile {
		return nil, fmt.Errorf("accounts would have more than %d bytes", MaxFile)
	}
	return append(data, '\n'), nil
}

// readFile reads and checks the file. One that is missing is empty, and has no info.
func readFile(path string) (*state, os.FileInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read accounts: %w", err)
	}
	info, err := f.Stat()
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, MaxFile+1))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("read accounts: %w", err)
	}
	s, err := parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read accounts: %s: %w", path, err)
	}
	return s, info, nil
}

// parse checks all of a file: who may come in is not guessed.
func parse(data []byte) (*state, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("has more than %d bytes", MaxFile)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("is no accounts file: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something behind its end")
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("is of version %d, not %d", f.Version, fileVersion)
	}
	if len(f.Users) > MaxUsers || len(f.Tokens) > MaxTokens {
		return nil, fmt.Errorf("has more than %d users or %d tokens", MaxUsers, MaxTokens)
	}
	s := &state{users: make(map[string]user, len(f.Users)), tokens: make(map[[sha256.Size]byte]tokenRow, len(f.Tokens))}
	for i, u := range f.Users {
		hash, err := parsePassword(u.Password)
		err = errors.Join(checkRow(u.Name, u.Role, u.Created, u.Changed), err)
		if _, twice := s.users[u.Name]; err == nil && twice {
			err = errors.New("has the name of another")
		}
		if err != nil {
			return nil, fmt.Errorf("user %d: %w", i+1, err)
		}
		s.users[u.Name] = user{u, hash}
	}
	names := map[string]bool{}
	for i, t := range f.Tokens {
		var sum [sha256.Size]byte
		err := checkRow(t.Name, t.Role, t.Created, t.Expires)
		if n, bad := hex.Decode(sum[:], []byte(t.SHA256[:min(len(t.SHA256), 2*len(sum))])); bad != nil || n != len(sum) || hex.EncodeToString(sum[:]) != t.SHA256 {
			err = errors.Join(err, errors.New("sha256 is none"))
		}
		if _, twice := s.tokens[sum]; err == nil && (twice || names[t.Name]) {
			err = errors.New("has the name or secret of another")
		}
		if err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
		s.tokens[sum], names[t.Name] = t, true
	}
	return s, nil
}

// checkRow checks what users and tokens have in common.
func checkRow(name string, role Role, times ...time.Time) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !role.valid() {
		return badRole(role)
	}
	for _, at := range times {
		if y := at.UTC().Year(); y < 0 || y > maxYear {
			return fmt.Errorf("%w: a time is in the year %d", ErrInvalid, y)
		}
	}
	return nil
}

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/changes"
)

// changeForm is the form of a cursor of the journal: the number of an entry.
var changeForm = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func changeTable() *table[changes.Entry] {
	type e = changes.Entry
	return &table[e]{columns: []column[e]{
		{name: "number", text: func(r *e) string { return strconv.FormatUint(r.Number, 10) }},
		moment("time", func(r *e) time.Time { return r.Time }),
		words("who", func(r *e) string { return r.Who }),
		words("action", func(r *e) string { return r.Action }),
		words("object", func(r *e) string { return r.Object }),
		words("before", func(r *e) string { return string(r.Before) }),
		words("after", func(r *e) string { return string(r.After) }),
	}}
}

// changes reads the journal, the newest first.
func (c *call) changes() error {
	limit, err := c.number("limit", DefaultPage, MaxPage)
	if err != nil {
		return err
	}
	before := uint64(0)
	if text, err := c.form("cursor", changeForm); err != nil {
		return err
	} else if text != "" {
		if before, err = strconv.ParseUint(text, 10, 64); err != nil {
			return err
		}
	}
	p := page[changes.Entry]{Items: []changes.Entry{}}
	if c.cfg.Changes != nil {
		entries, _, err := c.cfg.Changes.Read(before, limit)
		if err != nil {
			return err
		}
		if p.Items = filled(entries); len(entries) == limit && entries[limit-1].Number > 1 {
			p.Next = strconv.FormatUint(entries[limit-1].Number, 10)
		}
	}
	return sendPage(c, changeTable(), &p)
}

// accounts gives the accounts, if there are any to be had.
func (c *call) accounts() (*accounts.Accounts, error) {
	if c.cfg.Accounts == nil {
		return nil, problem(http.StatusConflict, "this instance has no accounts")
	}
	return c.cfg.Accounts, nil
}

// account gives the accounts to change them.
func (c *call) account() (*accounts.Accounts, error) {
	a, err := c.accounts()
	if err == nil {
		err = c.journal()
	}
	return a, err
}

// refusal makes a problem of an error of package accounts that is the client's fault.
func refusal(err error) error {
	for cause, status := range map[error]int{
		accounts.ErrInvalid: http.StatusUnprocessableEntity, accounts.ErrExists: http.StatusConflict,
		accounts.ErrNotFound: http.StatusNotFound, accounts.ErrFull: http.StatusConflict,
	} {
		if errors.Is(err, cause) {
			return problem(status, "%s", err)
		}
	}
	return err
}

func userTable() *table[accounts.User] {
	type u = accounts.User
	return &table[u]{id: func(r *u) string { return r.Name }, columns: []column[u]{
		words("name", func(r *u) string { return r.Name }),
		words("role", func(r *u) string { return string(r.Role) }),
		moment("created", func(r *u) time.Time { return r.Created }),
		moment("changed", func(r *u) time.Time { return r.Changed }),
	}}
}

func (c *call) users() error {
	a, err := c.accounts()
	if err != nil {
		return err
	}
	rows, err := a.Users()
	if err != nil {
		return err
	}
	return list(c, userTable(), rows)
}

func (c *call) postUser() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var b struct {
		Name     string        `json:"name"`
		Role     accounts.Role `json:"role"`
		Password string        `json:"password"`
	}
	if err := c.body(&b); err != nil {
		return err
	}
	if utf8.RuneCountInString(b.Password) < accounts.MinPassword {
		return problem(http.StatusUnprocessableEntity, "a password has at least %d characters", accounts.MinPassword)
	}
	a, err := c.account()
	if err != nil {
		return err
	}
	if err := a.AddUser(b.Name, b.Role, b.Password); err != nil {
		return refusal(err)
	}
	rows, err := a.Users()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rows, func(u accounts.User) bool { return u.Name == b.Name })
	if i < 0 {
		return problem(http.StatusConflict, "somebody removed the user at once")
	}
	return c.added("user.add", b.Name, rows[i], rows[i])
}

// added writes down what was added and shows it.
func (c *call) added(action, name string, told, shown any) error {
	after, err := json.Marshal(told)
	if err != nil {
		return err
	}
	if err := c.cfg.Changes.Append(c.entry(action, name, nil, after)); err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.sendJSON(http.StatusCreated, shown)
}

func (c *call) deleteUser() error {
	a, err := c.account()
	if err != nil {
		return err
	}
	rows, err := a.Users()
	if err != nil {
		return err
	}
	name := c.r.PathValue("name")
	i := slices.IndexFunc(rows, func(u accounts.User) bool { return u.Name == name })
	if i < 0 {
		return problem(http.StatusNotFound, "there is no such user")
	}
	if err := a.RemoveUser(name); err != nil {
		return refusal(err)
	}
	return c.removed("user.remove", name, rows[i])
}

// removed writes down what was removed.
func (c *call) removed(action, name string, old any) error {
	before, err := json.Marshal(old)
	if err != nil {
		return err
	}
	return c.done(c.cfg.Changes.Append(c.entry(action, name, before, nil)))
}

func tokenTable() *table[accounts.Token] {
	type t = accounts.Token
	return &table[t]{id: func(r *t) string { return r.Name }, columns: []column[t]{
		words("name", func(r *t) string { return r.Name }),
		words("role", func(r *t) string { return string(r.Role) }),
		moment("created", func(r *t) time.Time { return r.Created }),
		moment("expires", func(r *t) time.Time { return r.Expires }),
	}}
}

func (c *call) tokens() error {
	a, err := c.accounts()
	if err != nil {
		return err
	}
	rows, err := a.Tokens()
	if err != nil {
		return err
	}
	return list(c, tokenTable(), rows)
}

// newToken is a token with its secret, which is shown this once.
type newToken struct {
	accounts.Token
	Secret string `json:"secret"`
}

// tokenDays is how many days a token holds that was made without an end. One that never ends is for the command line.
const tokenDays = 365

func (c *call) postToken() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var b struct {
		Name    string        `json:"name"`
		Role    accounts.Role `json:"role"`
		Expires *string       `json:"expires"`
	}
	if err := c.body(&b); err != nil {
		return err
	}
	expires := c.cfg.Now().AddDate(0, 0, tokenDays)
	if b.Expires != nil {
		var err error
		if expires, err = parseTime("expires", *b.Expires); err != nil {
			return err
		}
	}
	a, err := c.account()
	if err != nil {
		return err
	}
	secret, err := a.AddToken(b.Name, b.Role, expires)
	if err != nil {
		return refusal(err)
	}
	rows, err := a.Tokens()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rows, func(t accounts.Token) bool { return t.Name == b.Name })
	if i < 0 {
		return problem(http.StatusConflict, "somebody removed the token at once")
	}
	return c.added("token.add", b.Name, rows[i], newToken{rows[i], secret})
}

func (c *call) deleteToken() error {
	a, err := c.account()
	if err != nil {
		return err
	}
	rows, err := a.Tokens()
	if err != nil {
		return err
	}
	name := c.r.PathValue("name")
	i := slices.IndexFunc(rows, func(t accounts.Token) bool { return t.Name == name })
	if i < 0 {
		return problem(http.StatusNotFound, "there is no such token")
	}
	if err := a.RemoveToken(name); err != nil {
		return refusal(err)
	}
	return c.removed("token.remove", name, rows[i])
}

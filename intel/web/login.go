package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/minecanary/minecanary/intel/accounts"
)

// loginBody is the page of the login.
type loginBody struct {
	Name, Next, Problem string
	// Possible tells that a session may go the way of the request.
	Possible bool
}

func (c *call) loginForm() error {
	if c.cfg.Accounts == nil {
		return notFound("Nobody can log in here.")
	}
	return c.show("login", "Log in", loginBody{Next: local(c.r.URL.Query().Get("next")), Possible: c.cfg.Accounts.CheckSecure(c.r) == nil})
}

func (c *call) login() error {
	if c.cfg.Accounts == nil {
		return notFound("Nobody can log in here.")
	}
	if err := c.parseForm(); err != nil {
		return err
	}
	body := loginBody{Name: brief(c.r.PostForm.Get("name")), Next: local(c.r.PostForm.Get("next")), Possible: c.cfg.Accounts.CheckSecure(c.r) == nil}
	if !body.Possible {
		c.render(http.StatusForbidden, "login", "Log in", body)
		return nil
	}
	s, err := c.cfg.Accounts.Login(c.r.Context(), c.r.PostForm.Get("name"), c.r.PostForm.Get("password"), accounts.Remote(c.r))
	var many *accounts.TooManyError
	switch {
	case errors.Is(err, accounts.ErrLogin):
		body.Problem = "Name or password is wrong."
		c.render(http.StatusUnauthorized, "login", "Log in", body)
		return nil
	case errors.As(err, &many):
		body.Problem = "There were too many logins; try again in a while."
		c.w.Header().Set("Retry-After", accounts.RetryAfter(many.Wait))
		c.render(http.StatusTooManyRequests, "login", "Log in", body)
		return nil
	case err != nil:
		return err
	}
	if err := c.cfg.Accounts.SetCookie(c.w, c.r, s); err != nil {
		return err
	}
	return c.redirect(body.Next, "login")
}

func (c *call) logout() error {
	if c.cfg.Accounts != nil {
		c.cfg.Accounts.EndSession(c.w, c.r)
	}
	to := "/"
	if c.cfg.Anonymous == accounts.Nobody {
		to = "/login"
	}
	return c.redirect(to, "logout")
}

// local gives the address of a page of ours; the first page for what is none. A browser takes //host and /\host for
// other hosts.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") || len(next) > maxText {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

// parseForm reads a form; one that is too long or cannot be read is a refusal.
func (c *call) parseForm() error {
	err := c.r.ParseForm()
	var tooLong *http.MaxBytesError
	if err == nil || errors.As(err, &tooLong) {
		return err
	}
	return &refusal{http.StatusBadRequest, "The form cannot be read."}
}

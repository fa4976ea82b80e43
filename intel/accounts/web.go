package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The names that browsers and pages see.
const (
	// CookieName is the session's cookie over TLS; a browser takes it from nobody but this host, over TLS (RFC 6265bis,
	// section 4.1.3.2).
	CookieName = "__Host-minecanary"
	// LoopbackCookieName is the session's cookie without TLS, which is for this machine alone.
	LoopbackCookieName = "minecanary"
	// CSRFHeader and CSRFField carry Principal.CSRF.
	CSRFHeader = "X-CSRF-Token"
	CSRFField  = "csrf"
	// MaxForm is the longest form in bytes that is searched for CSRFField.
	MaxForm = 1 << 20

	realm = `Bearer realm="minecanary"`
)

// ErrNotSecure says that a session would go over the network in the clear.
var ErrNotSecure = errors.New("sessions need TLS, except from this machine")

type contextKey struct{}

// From gives who makes the request of this context; the zero Principal, who is nobody, where Middleware was not there.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}

// Remote gives the address of a request's connection; invalid if it has none.
func Remote(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// Middleware finds out who makes a request, by a token (Authorization: Bearer) or else by a session's cookie, and puts
// it in the context; see From. A token that is none is answered with 401. A request that is to change something is
// answered with 403 if it comes from the page of another site, and if a session makes it, also if it does not carry the
// session's CSRF token, in the header CSRFHeader or the form field CSRFField; tokens need neither.
func (a *Accounts) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Authorization, Cookie")
		var p Principal
		if secret, ok := bearer(r); ok {
			var ended bool
			if p, ended = a.token(secret); ended || p.Name == "" {
				reason := "it is unknown"
				if ended {
					reason = "it has ended"
				}
				a.refused.tell(true, p.Name, reason, a.opts.Remote(r))
				w.Header().Set("WWW-Authenticate", realm+`, error="invalid_token"`)
				Problem(w, http.StatusUnauthorized, "the token is unknown or has ended")
				return
			}
		} else {
			p, _ = a.Session(a.cookie(r))
			if !safe(r.Method) {
				if status, detail := forged(w, r, p); status != 0 {
					Problem(w, status, detail)
					return
				}
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, p)))
	})
}

// bearer gives the token of a request. Other schemes are for whoever stands before us.
func bearer(r *http.Request) (secret string, ok bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), strings.EqualFold(scheme, "Bearer")
}

// safe tells whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// forged tells why a request that changes something may not be meant by the one in whose name it comes; 0 if nothing
// speaks for it.
func forged(w http.ResponseWriter, r *http.Request, p Principal) (status int, detail string) {
	same, said := sameOrigin(r)
	if said && !same {
		return http.StatusForbidden, "the request comes from the page of another site"
	}
	if p.Name == "" {
		return 0, "" // a program; or a login, which a browser would have said the origin of
	}
	if !said {
		return http.StatusForbidden, "the request does not say which page it comes from"
	}
	given := r.Header.Get(CSRFHeader)
	if given == "" {
		var err error
		given, err = formField(w, r)
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			return http.StatusRequestEntityTooLarge, "the form is too long"
		}
		if err != nil {
			return http.StatusBadRequest, "the form cannot be read"
		}
	}
	if subtle.ConstantTimeCompare([]byte(given), []byte(p.CSRF)) != 1 {
		return http.StatusForbidden, "the CSRF token of the session is missing or wrong"
	}
	return 0, ""
}

// formField gives CSRFField of an HTML form; "" if the body is none. The form stays in the request for the handler.
func formField(w http.ResponseWriter, r *http.Request) (string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil // it says of itself to be nothing
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
		err = r.ParseForm()
	case "multipart/form-data":
		r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
		err = r.ParseMultipartForm(MaxForm)
	}
	return r.PostForm.Get(CSRFField), err
}

// sameOrigin tells whether a request comes from a page of ours, and whether it says so at all. Sec-Fetch-Site goes before
// Origin: no page can set it, it is right also where a proxy has changed Host, and Origin is "null" under the referrer
// policy no-referrer.
func sameOrigin(r *http.Request) (same, said bool) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin", true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false, false
	}
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Host, r.Host), true
}

// cookieName gives the name of the session's cookie for a request; "" if a session must not go this way. There is one
// name for each way: over TLS a cookie that was set without it counts for nothing.
func (a *Accounts) cookieName(r *http.Request) string {
	switch {
	case a.opts.Secure(r):
		return CookieName
	case a.opts.Remote(r).Unmap().IsLoopback():
		return LoopbackCookieName
	}
	return ""
}

// cookie gives the session's cookie of a request; "" if there is none.
func (a *Accounts) cookie(r *http.Request) string {
	name := a.cookieName(r)
	if name == "" {
		return ""
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// CheckSecure gives ErrNotSecure if a session must not go the way of this request. A login is best refused before the
// password is asked for.
func (a *Accounts) CheckSecure(r *http.Request) error {
	if a.cookieName(r) == "" {
		return ErrNotSecure
	}
	return nil
}

// SetCookie gives the browser the session of a login and ends the one it had. It gives ErrNotSecure, and ends the
// session, if the request came neither over TLS nor from this machine. It has to be called before the body is written.
func (a *Accounts) SetCookie(w http.ResponseWriter, r *http.Request, s Session) error {
	name := a.cookieName(r)
	if name == "" {
		a.Logout(s.Cookie)
		return ErrNotSecure
	}
	if old := a.cookie(r); old != "" {
		a.Logout(old)
	}
	http.SetCookie(w, newCookie(name, s.Cookie, int(SessionAge/time.Second)))
	return nil
}

// EndSession ends the session of a request and has the browser forget it. It has to be called before the body is written.
func (a *Accounts) EndSession(w http.ResponseWriter, r *http.Request) {
	name := a.cookieName(r)
	if name == "" {
		return
	}
	a.Logout(a.cookie(r))
	http.SetCookie(w, newCookie(name, "", -1))
}

func newCookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: name == CookieName,
	}
}

// Require lets through who has the role, as Middleware has found out. It answers 401 to who is nobody and 403 to who has
// too little a role.
func Require(need Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := From(r.Context())
		switch {
		case p.Role.Allows(need):
			next.ServeHTTP(w, r)
		case p.Name == "":
			w.Header().Set("WWW-Authenticate", realm)
			Problem(w, http.StatusUnauthorized, "this needs a token or a session with the role "+string(need))
		default:
			Problem(w, http.StatusForbidden, "this needs the role "+string(need)+", "+p.String()+" has "+string(p.Role))
		}
	})
}

// Problem answers with an error for programs (RFC 9457). detail is a sentence without secrets.
func Problem(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// Who has gone does not need to be told.
	_ = json.NewEncoder(w).Encode(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail})
}

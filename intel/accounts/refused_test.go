package accounts

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestRefusalsLogged wants every refused login and token in the log, by whom it came, and no secret.
func TestRefusalsLogged(t *testing.T) {
	b := setUp(t)
	var log bytes.Buffer
	b.refused.log = slog.New(slog.NewTextHandler(&log, nil))
	ok(t, b.AddUser("alice", Analyst, good))
	ended, err := b.AddToken("ci", Viewer, b.opts.Now().Add(time.Hour))
	ok(t, err)
	told := func() string {
		defer log.Reset()
		return log.String()
	}
	b.login(t, "alice")
	if got := told(); got != "" {
		t.Errorf("a login that is right is told: %s", got)
	}
	wrong := "not the password"
	for name, want := range map[string]string{
		"alice":                 `msg="a login was refused" address=192.0.2.1 reason="name or password is wrong" name="\"alice\""`,
		"bob\n\x1b[31m=1":       `name="\"bob\\n\\x1b[31m=1\""`,
		strings.Repeat("a", 99): strings.Repeat("a", MaxName) + `\\u2026`,
		"":                      `reason="name or password is wrong"` + "\n",
	} {
		if _, err := b.Login(t.Context(), name, wrong, netip.MustParseAddr("192.0.2.1")); err == nil {
			t.Fatal("logged in")
		}
		if got := told(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 || strings.Contains(got, wrong) || strings.Contains(got, "\x1b") {
			t.Errorf("%q gives %s, want %s", name, got, want)
		}
	}
	h := b.Middleware(who)
	secret := tokenPrefix + strings.Repeat("A", tokenLength-len(tokenPrefix))
	serve(h, request("GET", "", "Authorization", "Bearer "+secret))
	if got := told(); !strings.Contains(got, `msg="a token was refused" address=127.0.0.1 reason="it is unknown"`) || strings.Contains(got, "AAAA") {
		t.Error(got)
	}
	serve(h, request("GET", "", "Authorization", "Bearer "+ended))
	if got := told(); got != "" {
		t.Errorf("a token that holds is told: %s", got)
	}
	b.advance(2 * time.Hour)
	serve(h, request("GET", "", "Authorization", "Bearer "+ended))
	if got := told(); !strings.Contains(got, `reason="it has ended" name="\"ci\""`) || strings.Contains(got, ended) {
		t.Error(got)
	}
}

// TestRefusalsBounded: what is too much is counted.
func TestRefusalsBounded(t *testing.T) {
	b := setUp(t)
	var log bytes.Buffer
	b.refused.log = slog.New(slog.NewTextHandler(&log, nil))
	h := b.Middleware(who)
	const many = 1000
	for i := range many {
		serve(h, request("GET", "", "Authorization", fmt.Sprintf("Bearer %d", i)))
	}
	if n := strings.Count(log.String(), "\n"); n != refusedBurst {
		t.Errorf("%d of %d are told", n, many)
	}
	log.Reset()
	b.advance(refusedEvery)
	serve(h, request("GET", "", "Authorization", "Bearer x"))
	if got, want := log.String(), fmt.Sprintf(" not_logged=%d\n", many-refusedBurst); !strings.HasSuffix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

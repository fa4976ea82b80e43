package watch_test

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/watch"
)

var event = watch.Event{ID: "0123456789abcdef0123456789abcdef", Time: at, Wallet: btc, Coins: []string{"BTC"}, Label: "case-1", Client: "10.0.0.1", Server: "203.0.113.7:3333"}

func TestWebhook(t *testing.T) {
	secret := []byte("a secret of more than 16 bytes")
	var got watch.Event
	var status int
	var redirected bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		// As a receiver checks it, by the documentation of SignatureHeader alone.
		sent, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("X-Minecanary-Signature"), "t="), ",")
		unix, err := strconv.ParseInt(sent, 10, 64)
		if err != nil || time.Since(time.Unix(unix, 0)).Abs() > time.Minute {
			t.Errorf("signature is %q", r.Header.Get("X-Minecanary-Signature"))
		}
		if !hmac.Equal([]byte(watch.Sign(secret, time.Unix(unix, 0), body)), []byte(r.Header.Get("X-Minecanary-Signature"))) {
			t.Error("the signature is wrong")
		}
		if r.Header.Get("X-Minecanary-Delivery") != event.ID || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers are %v", r.Header)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { redirected = true })
	server := httptest.NewServer(mux)
	defer server.Close()
	hook, err := watch.NewWebhook(server.URL+"/hook?token=geheim", secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		status          int
		fail, permanent bool
	}{
		{200, false, false},
		{201, false, false},
		{302, true, true},
		{307, true, true},
		{308, true, true},
		{400, true, true},
		{404, true, true},
		{408, true, false},
		{429, true, false},
		{500, true, false},
		{503, true, false},
	}
	for _, tt := range tests {
		got, status = watch.Event{}, tt.status
		err := hook.Notify(t.Context(), event)
		if (err != nil) != tt.fail || errors.Is(err, watch.ErrPermanent) != tt.permanent {
			t.Errorf("%d: %v", tt.status, err)
		}
		if diff := cmp.Diff(event, got); diff != "" {
			t.Error(diff)
		}
	}
	if redirected {
		t.Error("a redirect was followed")
	}
	server.Close()
	if err := hook.Notify(t.Context(), event); err == nil || errors.Is(err, watch.ErrPermanent) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("without a server: %v", err)
	}
}

// The signature has a fixed value, so that receivers can be tested against it: HMAC-SHA-256 of "1700000000.{}".
func TestSign(t *testing.T) {
	const want = "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
	got := watch.Sign([]byte("0123456789abcdef"), time.Unix(1700000000, 0), []byte("{}"))
	if got != want {
		t.Errorf("signature is %s", got)
	}
}

func TestWebhookHangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	hook, err := watch.NewWebhook(server.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := hook.Notify(ctx, event); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestNewWebhook(t *testing.T) {
	for _, address := range []string{"", "example.net", "ftp://example.net", "http://", "http://exa mple/geheim", "file:///etc/passwd"} {
		if _, err := watch.NewWebhook(address, nil, nil); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := watch.NewWebhook("https://example.net", []byte("short"), nil); err == nil {
		t.Error("a short secret is taken")
	}
}

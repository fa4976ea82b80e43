package watch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The headers of a webhook.
const (
	// SignatureHeader holds "t=UNIX,v1=HEX": the time of sending, and the HMAC-SHA-256 of that time, a dot and the body.
	SignatureHeader = "X-Minecanary-Signature"
	// DeliveryHeader holds the event's ID, the same at every attempt.
	DeliveryHeader = "X-Minecanary-Delivery"

	// MinSecret is the shortest secret in bytes.
	MinSecret = 16

	webhookTimeout = 10 * time.Second
	maxAnswer      = 4096 // bytes of an answer that are read, so that the connection can be used again
)

// Webhook posts events as JSON.
type Webhook struct {
	address *url.URL
	secret  []byte
	client  *http.Client
	clock   func() time.Time
}

// NewWebhook makes a webhook for an http or https URL. With a secret, of at least MinSecret bytes, posts are signed; nil is
// none. transport is nil for a plain one without proxy. Redirects are not followed: they could lead anywhere.
func NewWebhook(address string, secret []byte, transport http.RoundTripper) (*Webhook, error) {
	u, err := url.Parse(address)
	// The error of url.Parse has the address, and with it perhaps a token.
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("webhook: this is no http or https URL")
	}
	if len(secret) > 0 && len(secret) < MinSecret {
		return nil, fmt.Errorf("webhook: the secret is shorter than %d bytes", MinSecret)
	}
	if transport == nil {
		transport = &http.Transport{TLSHandshakeTimeout: webhookTimeout, IdleConnTimeout: time.Minute, MaxIdleConns: 1, MaxResponseHeaderBytes: 64 << 10}
	}
	return &Webhook{
		address: u, secret: secret, clock: time.Now,
		client: &http.Client{
			Transport: transport, Timeout: webhookTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Name is "webhook".
func (h *Webhook) Name() string { return "webhook" }

// Notify posts an event. An answer of 2xx is success; 408, 425, 429 and 5xx may be tried again, the others are permanent.
func (h *Webhook) Notify(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("webhook: %w: %w", err, ErrPermanent)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook: %w: %w", withoutURL(err), ErrPermanent)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "minecanary")
	r.Header.Set(DeliveryHeader, e.ID)
	if len(h.secret) > 0 {
		r.Header.Set(SignatureHeader, Sign(h.secret, h.clock(), body))
	}
	answer, err := h.client.Do(r)
	if err != nil {
		return fmt.Errorf("webhook: %w", withoutURL(err))
	}
	// Nothing hangs on what the rest of the answer is.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	_ = answer.Body.Close()
	code := answer.StatusCode
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return fmt.Errorf("webhook: status %d", code)
	}
	return fmt.Errorf("webhook: status %d: %w", code, ErrPermanent)
}

// withoutURL takes the address, which may hold a token, out of an error of net/http.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// Sign gives the value of SignatureHeader for a body sent at the given time. A receiver computes the same from the t it got,
// compares in constant time, and refuses what is older than some minutes.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

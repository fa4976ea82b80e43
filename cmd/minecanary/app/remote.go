package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// Environment variables of commands that ask a running service: where it is, and the token to show it.
const (
	envAPI   = "MINECANARY_API"
	envToken = "MINECANARY_API_TOKEN"
)

// Bounds of questions to a service.
const (
	// remoteTime bounds one request and its answer, and remoteAnswer the answer's bytes.
	remoteTime   = 2 * time.Minute
	remoteAnswer = 256 << 20
	// remoteBatch is how many questions one request has: with each at its longest, and every byte escaped, it is smaller
	// than api.MaxBody.
	remoteBatch = 500
	// remoteTurns is how often a request is made again that came too early, remoteWait how long is waited at most.
	remoteTurns = 20
	remoteWait  = time.Minute
	// remoteDetail is how many bytes of a refusal are told.
	remoteDetail = 300
)

// askOptions are the flags of commands that ask a running service where it has what they need.
type askOptions struct {
	api, config string
}

// askFlags lets a command ask a running service, and take its configuration.
func askFlags(c *cobra.Command, o *askOptions) {
	c.Flags().StringVar(&o.api, "api", "", "ask the service at this URL; empty: $"+envAPI+", or the one that has the history open, if one has")
	c.Flags().StringVarP(&o.config, "config", "c", "", "configuration file of the service: says where its state, its catalogue files and its API are")
}

// load reads the configuration that is named, or gives the defaults.
func (o askOptions) load() (*config.Config, error) {
	if o.config == "" {
		return config.Default(), nil
	}
	// These two are ours, no keys of the configuration.
	environ := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, envAPI+"=") || strings.HasPrefix(kv, envToken+"=")
	})
	cfg, err := config.Load(o.config, environ)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// named gives the service that was named by flag or environment; nil if none was.
func (o askOptions) named(e env) (*remote, error) {
	base := cmp.Or(o.api, e.getenv(envAPI))
	if base == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	r, err := newRemote(base, e.getenv(envToken))
	if err != nil {
		return nil, usageError{err}
	}
	return r, nil
}

// inUse gives the service that has the history of a configuration open, or the one that is named: one that answers.
func (o askOptions) inUse(ctx context.Context, e env, cfg *config.Config) (*remote, error) {
	r, err := o.named(e)
	if r == nil && err == nil {
		r, err = serving(cfg, e.getenv(envToken))
	}
	if err != nil {
		return nil, err
	}
	if err := r.ping(ctx); err != nil {
		return nil, err
	}
	say(e.stderr, "the service at %s has the history open and answers", r.base)
	return r, nil
}

// serving gives the service of a configuration.
func serving(cfg *config.Config, token string) (*remote, error) {
	host, port, err := net.SplitHostPort(cfg.API.Listen)
	if err != nil {
		return nil, errors.New("the service has no API (api.listen)")
	}
	switch a, _ := netip.ParseAddr(host); {
	case host == "" || a.IsValid() && a.IsUnspecified() && a.Is4():
		host = "127.0.0.1"
	case a.IsValid() && a.IsUnspecified():
		host = "::1"
	}
	scheme := "http"
	if cfg.API.Cert != "" {
		scheme = "https"
	}
	r, err := newRemote(scheme+"://"+net.JoinHostPort(host, port), token)
	if err != nil || cfg.API.Cert == "" {
		return r, err
	}
	// Its certificate need not be one that this machine trusts, nor be of the address that it listens at.
	pem, err := os.ReadFile(cfg.API.Cert)
	if err != nil {
		return nil, fmt.Errorf("api.cert: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if len(cfg.API.Hosts) > 0 {
		trust.ServerName = cfg.API.Hosts[0]
	}
	r.client.Transport = &http.Transport{TLSClientConfig: trust}
	return r, nil
}

// remote asks a service over its API.
type remote struct {
	base, token string
	client      *http.Client
}

// errUnreachable says that nobody answers as a service.
var errUnreachable = errors.New("no service answers")

// newRemote checks the URL and whether the token may go there.
func newRemote(base, token string) (*remote, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no URL of a service such as http://127.0.0.1:9480", base)
	}
	if a, err := netip.ParseAddr(u.Hostname()); token != "" && u.Scheme == "http" && (err != nil || !a.IsLoopback()) && u.Hostname() != "localhost" {
		return nil, fmt.Errorf("%s: the token of $%s would go over the network in the clear; use https", base, envToken)
	}
	return &remote{base: u.Scheme + "://" + u.Host, token: token, client: &http.Client{
		Timeout: remoteTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// pingTime bounds how long a service may take to say that it is one.
const pingTime = 5 * time.Second

// ping tells whether a service of ours is there; the error wraps errUnreachable if not. It does not show the token: who
// listens there may be anybody.
func (r *remote) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	var about struct {
		Info struct {
			Title string `json:"title"`
		} `json:"info"`
	}
	open := remote{base: r.base, client: r.client}
	if err := open.do(ctx, http.MethodGet, "/openapi.json", nil, &about); err != nil || about.Info.Title != api.Title {
		return errors.Join(fmt.Errorf("%w at %s", errUnreachable, r.base), err)
	}
	return nil
}

// do makes a request, again if it came too early, and decodes the answer. The error wraps errUnreachable if nobody
// answers.
func (r *remote) do(ctx context.Context, method, path string, body []byte, answer any) error {
	for turn := 1; ; turn++ {
		wait, err := r.once(ctx, method, path, body, answer)
		if wait == 0 || turn == remoteTurns {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// once makes a request; wait is how long the service asks to wait before the next one.
func (r *remote) once(ctx context.Context, method, path string, body []byte, answer any) (wait time.Duration, err error) {
	q, err := http.NewRequestWithContext(ctx, method, r.base+api.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	q.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		q.Header.Set("Authorization", "Bearer "+r.token)
	}
	res, err := r.client.Do(q)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	data, err := io.ReadAll(io.LimitReader(res.Body, remoteAnswer+1))
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", r.base, err)
	}
	if len(data) > remoteAnswer {
		return 0, fmt.Errorf("ask %s: the answer is longer than %d bytes", r.base, remoteAnswer)
	}
	if res.StatusCode != http.StatusOK {
		return later(res), r.refused(res, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return 0, fmt.Errorf("ask %s: the answer is none of the API: %w", r.base, err)
	}
	return 0, nil
}

// later is how long a service that was asked too often wants to be left alone; 0 if that is not it.
func later(res *http.Response) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		seconds = 1
	}
	return min(time.Duration(seconds)*time.Second, remoteWait)
}

// refused says why the service did not answer.
func (r *remote) refused(res *http.Response, data []byte) error {
	var p api.Problem
	_ = json.Unmarshal(data, &p) // then there is no detail
	detail := plain(p.Detail)
	detail = strings.ToValidUTF8(detail[:min(len(detail), remoteDetail)], "")
	err := fmt.Errorf("ask %s: %d %s", r.base, res.StatusCode, cmp.Or(detail, http.StatusText(res.StatusCode)))
	if res.StatusCode == http.StatusUnauthorized {
		return hintError{err, "minecanary token add makes a token, and $" + envToken + " holds it"}
	}
	return err
}

// find answers questions in their order, each with at most limit matches.
func (r *remote) find(ctx context.Context, questions []lookup.Query, limit int) ([]lookup.Result, error) {
	type bulk struct {
		Queries []string   `json:"queries"`
		At      *time.Time `json:"at,omitempty"`
	}
	b := bulk{}
	for _, q := range questions {
		b.Queries = append(b.Queries, q.Text)
		if !q.At.IsZero() {
			b.At = &q.At
		}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			lookup.Result
			Error string `json:"error"`
		} `json:"results"`
	}
	if err := r.do(ctx, http.MethodPost, "/lookup?limit="+strconv.Itoa(min(limit, api.MaxBulkMatches)), body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != len(questions) {
		return nil, fmt.Errorf("ask %s: %d answers to %d questions", r.base, len(answer.Results), len(questions))
	}
	out := make([]lookup.Result, len(questions))
	for i, a := range answer.Results {
		if a.Error != "" {
			return nil, fmt.Errorf("ask %s: %s", r.base, plain(a.Error[:min(len(a.Error), remoteDetail)]))
		}
		if a.More && limit > api.MaxBulkMatches {
			if a.Result, err = r.one(ctx, questions[i], limit); err != nil {
				return nil, err
			}
		}
		a.Query = questions[i].Text
		out[i] = a.Result
	}
	return out, nil
}

// one answers one question with as many matches as a service tells, which is api.MaxPage.
func (r *remote) one(ctx context.Context, q lookup.Query, limit int) (out lookup.Result, err error) {
	v := url.Values{"q": {q.Text}, "limit": {strconv.Itoa(min(limit, api.MaxPage))}}
	if !q.At.IsZero() {
		v.Set("at", q.At.Format(time.RFC3339))
	}
	return out, r.do(ctx, http.MethodGet, "/lookup?"+v.Encode(), nil, &out)
}

// catalogue gives the catalogue of the service.
func (r *remote) catalogue(ctx context.Context) (*catalog.Catalog, error) {
	var all api.Export
	if err := r.do(ctx, http.MethodGet, "/export", nil, &all); err != nil {
		return nil, err
	}
	layer := catalog.Layer{Coins: all.Coins}
	for _, p := range all.Pools {
		if p == nil {
			continue
		}
		if reasons := p.Check(func(string) bool { return true }); len(reasons) > 0 {
			return nil, fmt.Errorf("ask %s: its catalogue is none: %s", r.base, plain(reasons[0]))
		}
		for i := range p.Servers {
			if len(p.Servers[i].Endpoints) == 0 {
				p.Servers[i].Endpoints = nil
			}
		}
		layer.Pools = append(layer.Pools, *p)
	}
	for _, coin := range layer.Coins {
		if reasons := coin.Check(); len(reasons) > 0 {
			return nil, fmt.Errorf("ask %s: its catalogue is none: %s", r.base, plain(reasons[0]))
		}
	}
	return catalog.New(layer), nil
}

// Package elasticsearch is the sink that writes hits, probes and pools to data streams of Elasticsearch, and what sets
// Elasticsearch and Kibana up for them. It was made for Elasticsearch 8.13 and later and is tested with 8.19.
//
// It uses the low-level esapi and the transport alone: the client's root package links the whole typed API.
package elasticsearch

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// The data streams that are written.
const (
	Hits   = "logs-minecanary.hit-default"
	Probes = "logs-minecanary.probe-default"
	Pools  = "logs-ti_minecanary.pool-default"
)

// Defaults and bounds.
const (
	// DefaultTimeout bounds one request. It is longer than the minute that Elasticsearch itself waits for a primary shard,
	// so that its answer comes first.
	DefaultTimeout = 90 * time.Second
	// DefaultRetention is how long data is kept.
	DefaultRetention = 90 * 24 * time.Hour
	// MaxBytes and MaxDocs bound one bulk request before compression. A document larger than MaxBytes goes alone.
	MaxBytes = 5 << 20
	MaxDocs  = 1000
	// minBytes is how small 413 may make requests.
	minBytes = 64 << 10
	// maxLookups bounds the documents asked for in one look-up.
	maxLookups = 2000
	// maxAnswer bounds an answer. One for MaxDocs documents, each refused with a long reason, stays below.
	maxAnswer = 32 << 20
	// maxIdle is how many idle connections are kept to a server.
	maxIdle = 4
)

// Config says how to reach Elasticsearch.
type Config struct {
	// URLs are the servers', https://host:9200, without user and password; a path before the API's is kept. They take
	// turns, and one that cannot be reached is left out for a while.
	URLs []string
	// APIKey is the encoded key (id and key in base64). Either it or User and Password, or neither.
	APIKey         string
	User, Password string
	// TLS holds authorities and the like for https; nil means the system's authorities and TLS 1.2 at least.
	TLS *tls.Config
	// Timeout bounds one request; 0 means DefaultTimeout.
	Timeout time.Duration
	// Compress sends bodies as gzip.
	Compress bool
	// Retention is how long data is kept, for Setup; 0 means DefaultRetention. Whole seconds.
	Retention time.Duration
	// DeadLetter takes a document that Elasticsearch refuses for what it holds. Its error ends the write under way. It may
	// be called from several goroutines if the sink is. Needed for writing.
	DeadLetter func(ctx context.Context, d Dead) error
	// OnError is told of each failed try, which is tried again; nil if nobody wants to know. The error holds neither a
	// document nor a secret.
	OnError func(error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Dead is a document that Elasticsearch refused.
type Dead struct {
	// Document is its JSON. It belongs to the receiver.
	Document []byte
	// ID and Index name it; Index is the data stream.
	ID, Index string
	// Status is Elasticsearch's, 400 most of the time.
	Status int
	// Reason is Elasticsearch's: the type, then its words, which may quote the document.
	Reason string
}

// Stats are the numbers of a client since it was made.
type Stats struct {
	// Indexed documents were created, Repeated were there already, Dead were refused.
	Indexed, Repeated, Dead uint64
	// Retried counts documents that were sent or looked up again, once for each time.
	Retried uint64
	// Requests counts bulk requests, Lookups the requests that asked for backing indices or documents.
	Requests, Lookups uint64
	// Removed counts second copies that were deleted (see put), Kept those that could not be for want of the right to.
	Removed, Kept uint64
	// InFlightSince is since when the oldest write under way is waiting; zero if there is none.
	InFlightSince time.Time
}

// Client writes to Elasticsearch and sets it up. It may be used by several goroutines.
type Client struct {
	cfg       Config
	transport *elastictransport.Client
	perform   esapi.Transport // the same
	http      *http.Transport
	pace      pace
	streams   map[string]*stream

	mu       sync.Mutex
	stats    Stats
	inFlight map[uint64]time.Time
	ticket   uint64
	maxBytes int
}

// New gives a client. It does no I/O; an error says what is wrong with the configuration.
func New(cfg Config) (*Client, error) {
	var problems []error
	if len(cfg.URLs) == 0 {
		problems = append(problems, errors.New("no URL"))
	}
	urls := make([]*url.URL, 0, len(cfg.URLs))
	for i, s := range cfg.URLs {
		u, err := parseURL(s)
		if err != nil {
			problems = append(problems, fmt.Errorf("URL %d %w", i+1, err))
			continue
		}
		urls = append(urls, u)
	}
	problems = append(problems, checkLogin(cfg.APIKey, cfg.User, cfg.Password))
	if cfg.Timeout < 0 {
		problems = append(problems, errors.New("the timeout is negative"))
	}
	if cfg.Retention < 0 || cfg.Retention%time.Second != 0 {
		problems = append(problems, errors.New("the retention is not a positive number of seconds"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Retention == 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{
		cfg: cfg, http: newTransport(cfg.TLS), pace: defaultPace, maxBytes: MaxBytes,
		streams: map[string]*stream{}, inFlight: map[uint64]time.Time{},
	}
	for _, name := range []string{Hits, Probes, Pools} {
		c.streams[name] = &stream{name: name, stale: true}
	}
	options := []elastictransport.Option{
		elastictransport.WithURLs(urls...),
		elastictransport.WithTransport(c.http),
		elastictransport.WithUserAgent("minecanary"),
		// What is tried again, and when, is decided here, with the answer's items in view.
		elastictransport.WithDisableRetry(),
	}
	if cfg.APIKey != "" {
		options = append(options, elastictransport.WithAPIKey(cfg.APIKey))
	} else if cfg.User != "" {
		options = append(options, elastictransport.WithBasicAuth(cfg.User, cfg.Password))
	}
	var err error
	if c.transport, err = elastictransport.NewClient(options...); err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	c.perform = c.transport
	return c, nil
}

// Close ends what runs behind the client. Nothing may be under way or come after.
func (c *Client) Close(ctx context.Context) error {
	err := c.transport.Close(ctx)
	c.http.CloseIdleConnections()
	return err
}

// Ping asks whether Elasticsearch is there: nil after any answer but those that the log-in is wrong (401) or that it
// cannot work now (429, 5xx). Whoever may write need not be allowed to ask (403). It does not try again.
func (c *Client) Ping(ctx context.Context) error {
	var answer json.RawMessage
	f := c.call(ctx, "ping", esapi.InfoRequest{}, &answer)
	switch {
	case f == nil, f.status >= 400 && f.status < 500 && f.status != http.StatusUnauthorized && f.status != http.StatusTooManyRequests:
		return nil
	}
	return f
}

// Stats gives the numbers.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for _, since := range c.inFlight {
		if s.InFlightSince.IsZero() || since.Before(s.InFlightSince) {
			s.InFlightSince = since
		}
	}
	return s
}

// count changes the numbers.
func (c *Client) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// begin notes that a write is under way; the function it returns, that it ended.
func (c *Client) begin() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticket++
	ticket := c.ticket
	c.inFlight[ticket] = c.cfg.Now()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.inFlight, ticket)
	}
}

// parseURL never repeats the text in an error: it may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("is not http://host:port or https://host:port")
	case u.User != nil:
		return nil, errors.New("holds a user or password, which have settings of their own")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has a query or a fragment")
	}
	for len(u.Path) > 0 && u.Path[len(u.Path)-1] == '/' {
		u.Path = u.Path[:len(u.Path)-1]
	}
	return u, nil
}

func checkLogin(key, user, password string) error {
	switch {
	case key != "" && (user != "" || password != ""):
		return errors.New("an API key and a user or password are given, one of them is enough")
	case (user == "") != (password == ""):
		return errors.New("user and password go together")
	}
	return nil
}

func newTransport(config *tls.Config) *http.Transport {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     config.Clone(),
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     90 * time.Second,
	}
}

package elasticsearch

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// pace is how tries follow each other.
type pace struct {
	// first is the pause after the first failure; it doubles up to longest.
	first, longest time.Duration
	// slow is the pause after what only a person can mend: rights, a missing template.
	slow time.Duration
	// asked bounds what a server may ask for (Retry-After).
	asked time.Duration
}

// defaultPace lets a write go on within seconds after a server is back.
var defaultPace = pace{first: 200 * time.Millisecond, longest: 10 * time.Second, slow: 20 * time.Second, asked: time.Minute}

// after is the pause after the given number of failures in a row, with jitter: half of it at least.
func (p pace) after(failures int, f *failure) time.Duration {
	d := p.longest
	if n := failures - 1; n < 20 {
		d = min(p.longest, p.first<<n)
	}
	if f.slow {
		d = max(d, p.slow)
	}
	d = d/2 + rand.N(d/2+1) //nolint:gosec // jitter is no secret
	return max(d, min(f.retryAfter, p.asked))
}

// failure is why a try failed. Its text holds no document and no secret: an operation, a status, a type of
// Elasticsearch's, or what the network said.
type failure struct {
	what   string
	status int
	// reason is Elasticsearch's type of error, or what was wrong with its answer.
	reason string
	err    error
	// slow: trying again soon is of no use. retryAfter: what the server asked for.
	slow       bool
	retryAfter time.Duration
}

// Error implements error.
func (f *failure) Error() string {
	switch {
	case f.err != nil:
		return fmt.Sprintf("%s: %v", f.what, f.err)
	case f.status == 0:
		return f.what + ": " + f.reason
	case f.reason == "":
		return fmt.Sprintf("%s: status %d", f.what, f.status)
	}
	return fmt.Sprintf("%s: status %d, %s", f.what, f.status, f.reason)
}

// Unwrap gives what the network said.
func (f *failure) Unwrap() error { return f.err }

// esReason is an error as Elasticsearch tells it.
type esReason struct {
	Type   string    `json:"type"`
	Reason string    `json:"reason"`
	Cause  *esReason `json:"caused_by"`
}

// UnmarshalJSON implements json.Unmarshaler; some errors are a text alone.
func (r *esReason) UnmarshalJSON(b []byte) error {
	type plain esReason
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &r.Reason)
	}
	return json.Unmarshal(b, (*plain)(r))
}

// String gives the type and the words, and those of the causes behind.
func (r *esReason) String() string {
	s := r.Type + ": " + r.Reason
	if r.Cause != nil {
		s += "; " + r.Cause.String()
	}
	return s
}

// bulkAnswer is what is read of an answer to _bulk.
type bulkAnswer struct {
	Items []map[string]bulkResult `json:"items"`
}

type bulkResult struct {
	Index  string    `json:"_index"`
	Status int       `json:"status"`
	Error  *esReason `json:"error"`
	// FailureStore is "used" if the document was refused, and put into the stream's failure store.
	FailureStore string `json:"failure_store"`
}

func (r *bulkResult) reason() *esReason { return cmp.Or(r.Error, &esReason{Type: "no reason given"}) }

// bulkFilter leaves out what is not read.
var bulkFilter = []string{"items.*._index", "items.*.status", "items.*.error.type", "items.*.error.reason", "items.*.error.caused_by", "items.*.failure_store"}

// put creates documents in a data stream, each once, whatever fails and however often it is called.
func (c *Client) put(ctx context.Context, name string, items []item) error {
	if len(items) == 0 {
		return nil
	}
	defer c.begin()()
	s := c.streams[name]
	for len(items) > 0 {
		n := c.fit(items)
		if err := c.deliver(ctx, s, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// overhead is what the action line of a document adds, with an id of ours.
const overhead = 128

// fit is how many of the documents go into one request, at least 1.
func (c *Client) fit(items []item) int {
	c.mu.Lock()
	room := c.maxBytes
	c.mu.Unlock()
	for i := range items {
		if room -= len(items[i].doc) + overhead; i > 0 && room < 0 || i == MaxDocs {
			return i
		}
	}
	return len(items)
}

// shrink makes requests smaller than the one that was too large.
func (c *Client) shrink(items []item) {
	size := 0
	for i := range items {
		size += len(items[i].doc) + overhead
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maxBytes = max(minBytes, min(c.maxBytes, size/2))
}

// deliver writes documents of one request until all are there.
func (c *Client) deliver(ctx context.Context, s *stream, items []item) error {
	waiting := append([]item(nil), items...)
	var last *failure
	for failures := 0; ; {
		rest, f, err := c.try(ctx, s, waiting)
		switch {
		case err != nil:
			return err
		case f == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx, s, last)
		case f.status == http.StatusRequestEntityTooLarge && len(rest) > 1:
			// Halves, each with tries of its own.
			c.shrink(rest)
			half := len(rest) / 2
			if err := c.deliver(ctx, s, rest[:half]); err != nil {
				return err
			}
			waiting, failures = rest[half:], 0
			continue
		}
		if len(rest) < len(waiting) {
			failures = 0 // it goes on
		}
		waiting, last = rest, f
		failures++
		c.cfg.OnError(f)
		c.count(func(st *Stats) { st.Retried += uint64(len(waiting)) })
		if err := sleep(ctx, c.pace.after(failures, f)); err != nil {
			return ended(ctx, s, last)
		}
	}
}

// ended says that the context has, and what the writing waited for, if anything.
func ended(ctx context.Context, s *stream, last *failure) error {
	if last == nil {
		return fmt.Errorf("write to %s: %w", s.name, ctx.Err())
	}
	return fmt.Errorf("write to %s: %w, after %w", s.name, ctx.Err(), last)
}

// try tries once. It gives what is left to do, with the reason; an error is final.
func (c *Client) try(ctx context.Context, s *stream, items []item) (rest []item, f *failure, err error) {
	fail := func(items []item, err error) ([]item, *failure, error) {
		if errors.As(err, &f) {
			return items, f, nil
		}
		return nil, nil, err
	}
	if err := c.refresh(ctx, s); err != nil {
		return fail(items, err)
	}
	if items, err = c.dropRepeated(ctx, s, items); err != nil || len(items) == 0 {
		return fail(items, err)
	}
	results, f := c.bulk(ctx, s, items)
	if f != nil {
		if f.status == http.StatusRequestEntityTooLarge && len(items) == 1 {
			return nil, nil, c.bury(ctx, s, items[0], f.status, "the document is larger than the server takes")
		}
		return items, f, nil
	}
	newest := s.newest()
	for i, r := range results {
		it := items[i]
		switch {
		case r.FailureStore == "used":
			if err := c.bury(ctx, s, it, r.Status, "put into the failure store: "+r.reason().String()); err != nil {
				return nil, nil, err
			}
		case r.Status == http.StatusOK || r.Status == http.StatusCreated:
			if r.Index != newest {
				s.doubt()
				it.landed = r.Index
				rest = append(rest, it)
				continue
			}
			c.count(func(st *Stats) { st.Indexed++ })
		case r.Status == http.StatusConflict:
			c.count(func(st *Stats) { st.Repeated++ })
		case r.Status == http.StatusRequestEntityTooLarge,
			r.Status == http.StatusBadRequest && r.reason().Type != "validation_exception":
			// validation_exception is the cluster's: the limit of shards is reached.
			if err := c.bury(ctx, s, it, r.Status, r.reason().String()); err != nil {
				return nil, nil, err
			}
		default:
			rest = append(rest, it)
			if r.Status >= 500 {
				s.doubt()
			}
			one := &failure{what: "write to " + s.name, status: r.Status, reason: r.reason().Type, slow: r.Status < 500 && r.Status != http.StatusTooManyRequests}
			if f == nil || one.slow && !f.slow {
				f = one
			}
		}
	}
	if f == nil && len(rest) > 0 {
		// All that is left was created in a backing index that is new to us: no reason to wait.
		return c.try(ctx, s, rest)
	}
	return rest, f, nil
}

// dropRepeated leaves out what is there already, and makes one of two copies.
func (c *Client) dropRepeated(ctx context.Context, s *stream, items []item) ([]item, error) {
	var doubtful, rest []item
	var indexed, repeated uint64
	for _, it := range items {
		switch {
		case len(s.candidates(it.notBefore)) > 1:
			doubtful = append(doubtful, it)
		case it.landed != "":
			indexed++ // it could be nowhere else
		default:
			rest = append(rest, it)
		}
	}
	if len(doubtful) > 0 {
		found, err := c.lookup(ctx, s, doubtful)
		if err != nil {
			return items, err
		}
		if err := c.remove(ctx, s, doubtful, found); err != nil {
			return items, err
		}
		for i, it := range doubtful {
			switch in := found[i]; {
			case it.landed != "" && (len(in) == 0 || in[len(in)-1] == it.landed):
				indexed++
			case len(in) > 0:
				repeated++
			default:
				rest = append(rest, it)
			}
		}
	}
	c.count(func(st *Stats) { st.Indexed += indexed; st.Repeated += repeated })
	return rest, nil
}

// bulk sends one request and gives the result of each document.
func (c *Client) bulk(ctx context.Context, s *stream, items []item) ([]bulkResult, *failure) {
	// The body is made anew for each try: the transport may still read the last one after it has answered.
	var body bytes.Buffer
	var w io.Writer = &body
	header := http.Header{}
	var zip *gzip.Writer
	if c.cfg.Compress {
		header.Set("Content-Encoding", "gzip")
		zip, _ = gzip.NewWriterLevel(&body, gzip.BestSpeed) // the level is one of its own
		w = zip
	}
	for i := range items {
		_, _ = fmt.Fprintf(w, "{\"create\":{\"_id\":%q}}\n%s\n", items[i].id, items[i].doc) // a buffer does not fail
	}
	if zip != nil {
		_ = zip.Close() // as above
	}
	c.count(func(st *Stats) { st.Requests++ })
	what := "write to " + s.name
	yes := true
	req := esapi.BulkRequest{
		Index: s.name, Body: bytes.NewReader(body.Bytes()), Header: header, FilterPath: bulkFilter,
		// Without the template Elasticsearch would make a plain index.
		RequireDataStream: &yes,
	}
	var answer bulkAnswer
	f := c.call(ctx, what, req, &answer)
	if f == nil && len(answer.Items) != len(items) {
		f = &failure{what: what, reason: fmt.Sprintf("%d answers to %d documents", len(answer.Items), len(items))}
	}
	if f != nil {
		if f.status == 0 || f.status >= 500 {
			s.doubt() // it may have been carried out, and a rollover may come before the next try
		}
		return nil, f
	}
	results := make([]bulkResult, len(items))
	for i, it := range answer.Items {
		results[i] = it["create"]
	}
	return results, nil
}

// bury hands a document to the dead letters.
func (c *Client) bury(ctx context.Context, s *stream, it item, status int, reason string) error {
	err := c.cfg.DeadLetter(ctx, Dead{Document: it.doc, ID: it.id, Index: s.name, Status: status, Reason: reason})
	if err != nil {
		return fmt.Errorf("dead letter of %s: %w", s.name, err)
	}
	c.count(func(st *Stats) { st.Dead++ })
	return nil
}

// doer is a request of esapi.
type doer interface {
	Do(ctx context.Context, transport esapi.Transport) (*esapi.Response, error)
}

// call does one request and reads its answer.
func (c *Client) call(ctx context.Context, what string, req doer, answer any) *failure {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	res, err := req.Do(ctx, c.perform)
	if err != nil {
		return &failure{what: what, err: err}
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return &failure{what: what, err: fmt.Errorf("read the answer: %w", err)}
	}
	if res.StatusCode != http.StatusOK {
		f := &failure{what: what, status: res.StatusCode, retryAfter: c.retryAfter(res.Header.Get("Retry-After"))}
		f.slow = f.status < 500 && f.status != http.StatusTooManyRequests
		var told struct {
			Error *esReason `json:"error"`
		}
		if json.Unmarshal(b, &told) == nil && told.Error != nil {
			f.reason = told.Error.Type
		}
		return f
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return &failure{what: what, reason: "an answer that is not Elasticsearch's"}
	}
	return nil
}

// retryAfter reads the header of RFC 9110 section 10.2.3, seconds or a date.
func (c *Client) retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(c.cfg.Now()))
	}
	return 0
}

// sleep waits, or gives the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

//go:build services

package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
	"github.com/minecanary/minecanary/internal/stack"
)

// TestServer runs everything that needs Elasticsearch against one.
func TestServer(t *testing.T) {
	es := stack.Elasticsearch(t)
	defer goleak.VerifyNone(t)
	s := &server{url: "http://" + es.Addrs[0]}
	defer s.client.CloseIdleConnections()
	t.Run("Setup", s.testSetup) // the first: it installs the templates
	t.Run("Repeat", s.testRepeat)
	t.Run("Rollover", s.testRollover)
	t.Run("RolloverStorm", s.testRolloverStorm)
	t.Run("MappingError", s.testMappingError)
	t.Run("MissingTemplate", s.testMissingTemplate)
	t.Run("Search", s.testSearch)
	t.Run("Verdicts", s.testVerdicts)
	t.Run("Faults", s.testFaults)
	t.Run("Stopped", func(t *testing.T) { s.testStopped(t, es) })
}

type server struct {
	url    string
	client http.Client
}

// ask does a request of the test's own.
func (s *server) ask(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(b, &answer); err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, b, err)
	}
	return answer
}

// connect gives a client whose streams end in the given namespace, a test's own, and its sink.
func connect(t *testing.T, namespace string, change func(*Config), urls ...string) (*Client, *Sink) {
	t.Helper()
	cfg := Config{URLs: urls, DeadLetter: func(_ context.Context, d Dead) error {
		t.Errorf("dead letter: %+v", d)
		return nil
	}}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil { // the test's context has ended
			t.Error(err)
		}
	})
	for _, s := range c.streams {
		s.name = strings.TrimSuffix(s.name, "default") + namespace
	}
	c.pace = pace{first: 5 * time.Millisecond, longest: 100 * time.Millisecond, slow: 20 * time.Millisecond, asked: 50 * time.Millisecond}
	sink, err := NewSink(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, sink
}

func hitStream(namespace string) string { return "logs-minecanary.hit-" + namespace }

// stored gives how many documents a stream holds of each id.
func (s *server) stored(t *testing.T, stream string) map[string]int {
	t.Helper()
	s.ask(t, "POST", "/"+stream+"/_refresh", "")
	answer := s.ask(t, "POST", "/"+stream+"/_search", `{"size":10000,"_source":false}`)
	out := map[string]int{}
	for _, h := range answer["hits"].(map[string]any)["hits"].([]any) {
		out[h.(map[string]any)["_id"].(string)]++
	}
	return out
}

// once is what stored gives if every hit is there once.
func once(hits []minecanary.Hit) map[string]int {
	out := map[string]int{}
	for i := range hits {
		out[ecs.New(&hits[i]).ID()] = 1
	}
	return out
}

func (s *server) wantOnce(t *testing.T, namespace string, hits []minecanary.Hit) {
	t.Helper()
	if diff := cmp.Diff(once(hits), s.stored(t, hitStream(namespace))); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

func (s *server) rollover(t *testing.T, stream string) {
	t.Helper()
	s.ask(t, "POST", "/"+stream+"/_rollover", "")
}

func write(t *testing.T, sink *Sink, hits []minecanary.Hit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sink.Write(ctx, hits); err != nil {
		t.Fatal(err)
	}
}

func (s *server) testSetup(t *testing.T) {
	setup := func(retention time.Duration) []string {
		t.Helper()
		c, _ := connect(t, "default", func(cfg *Config) { cfg.Retention = retention }, s.url)
		changed, err := c.Setup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	all := []string{
		"component_template minecanary-ecs@mappings", "component_template minecanary@settings",
		"index_template logs-minecanary.hit", "index_template logs-minecanary.probe", "index_template logs-ti_minecanary.pool",
	}
	settings := []string{"component_template minecanary@settings"}
	for _, tt := range []struct {
		name      string
		retention time.Duration
		before    func()
		want      []string
	}{
		{"first", 0, nil, all},
		{"again", 0, nil, nil},
		{"other retention", 36 * time.Hour, nil, settings},
		{"other retention again", 36 * time.Hour, nil, nil},
		{"back", 0, nil, settings},
		{"changed by hand", 0, func() {
			s.ask(t, "PUT", "/_component_template/minecanary@settings", `{"template":{"settings":{"index.codec":"default"},"lifecycle":{"data_retention":"90d"}}}`)
			s.ask(t, "PUT", "/_index_template/logs-minecanary.probe", `{"index_patterns":["logs-minecanary.probe-*"],"data_stream":{"hidden":true},"priority":250}`)
		}, []string{"component_template minecanary@settings", "index_template logs-minecanary.probe"}},
		{"mended", 0, nil, nil},
	} {
		if tt.before != nil {
			tt.before()
		}
		if diff := cmp.Diff(tt.want, setup(tt.retention)); diff != "" {
			t.Errorf("%s: changed (-want +got):\n%s", tt.name, diff)
		}
	}
	simulated := s.ask(t, "POST", "/_index_template/_simulate_index/logs-minecanary.hit-default", "")
	got, err := json.Marshal(simulated["template"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"coin":{"ignore_above":1024,"type":"keyword"}`, `"codec":"best_compression"`, `"dynamic":"false"`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func (s *server) testRepeat(t *testing.T) {
	hits := makeHits(1, 50)
	c, sink := connect(t, "repeat", func(cfg *Config) { cfg.Compress = true }, s.url)
	write(t, sink, hits[:30])
	write(t, sink, hits) // the same process
	again, after := connect(t, "repeat", nil, s.url)
	write(t, after, hits) // another one
	s.wantOnce(t, "repeat", hits)
	want := Stats{Indexed: 50, Repeated: 30, Requests: 2, Lookups: 2}
	if diff := cmp.Diff(want, c.Stats()); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Stats{Repeated: 50, Requests: 1, Lookups: 1}, again.Stats()); diff != "" {
		t.Errorf("numbers of the second (-want +got):\n%s", diff)
	}
	// A status that grew is another document.
	grown := slices.Clone(hits[:1])
	grown[0].Status = minecanary.HitSuspected
	write(t, sink, grown)
	s.wantOnce(t, "repeat", append(grown, hits...))
}

func (s *server) testRollover(t *testing.T) {
	const ns = "rollover"
	hits := makeHits(2, 60)
	a, sinkA := connect(t, ns, nil, s.url)
	write(t, sinkA, hits[:20])
	_, sinkB := connect(t, ns, nil, s.url)
	write(t, sinkB, hits[20:40])
	s.rollover(t, hitStream(ns))

	t.Run("repeated after a restart", func(t *testing.T) {
		c, sink := connect(t, ns, nil, s.url)
		write(t, sink, hits[:50])
		s.wantOnce(t, ns, hits[:50])
		if diff := cmp.Diff(Stats{Indexed: 10, Repeated: 40, Requests: 1, Lookups: 2}, c.Stats()); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
	})
	t.Run("rolled over behind its back", func(t *testing.T) {
		// It thinks that the first backing index is the newest, and that there is nothing to look up.
		write(t, sinkA, hits[20:60])
		s.wantOnce(t, ns, hits)
		// 20 of B were created a second time and removed, 10 were repeats in the new index, 10 are new.
		if diff := cmp.Diff(Stats{Indexed: 30, Repeated: 30, Requests: 2, Lookups: 4, Removed: 20}, a.Stats()); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
	})
	t.Run("killed before the second copy was removed", func(t *testing.T) {
		doc := ecs.New(&hits[0])
		b, err := ecs.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		s.rollover(t, hitStream(ns))
		s.ask(t, "PUT", "/"+hitStream(ns)+"/_create/"+doc.ID(), string(b))
		if got := s.stored(t, hitStream(ns))[doc.ID()]; got != 2 {
			t.Fatalf("%d copies", got)
		}
		c, sink := connect(t, ns, nil, s.url)
		write(t, sink, hits)
		s.wantOnce(t, ns, hits)
		if got := c.Stats(); got.Removed != 1 || got.Repeated != 60 {
			t.Errorf("numbers %+v", got)
		}
	})
	t.Run("long before", func(t *testing.T) {
		// Half a day later there is one request for a write, and none for a look-up.
		later := func() time.Time { return time.Now().Add(12 * time.Hour) }
		hits := makeHits(3, 20)
		for i := range hits {
			hits[i].Window += 11
		}
		c, sink := connect(t, ns, func(cfg *Config) { cfg.Now = later }, s.url)
		for i := range hits {
			write(t, sink, hits[i:i+1])
		}
		if diff := cmp.Diff(Stats{Indexed: 20, Requests: 20, Lookups: 1}, c.Stats()); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
		// Records of the future are looked up: their clock is wrong.
		now, sink := connect(t, ns, nil, s.url)
		s.rollover(t, hitStream(ns))
		write(t, sink, hits)
		if got := now.Stats(); got.Repeated != 20 || got.Lookups != 2 {
			t.Errorf("numbers %+v", got)
		}
	})
}

// testRolloverStorm lets processes that follow each other write the same hits while the stream rolls over all the time.
func (s *server) testRolloverStorm(t *testing.T) {
	const ns, rollovers = "storm", 12
	hits := makeHits(4, 150)
	_, sink := connect(t, ns, nil, s.url)
	write(t, sink, hits[:1])
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range rollovers {
			s.rollover(t, hitStream(ns))
			time.Sleep(30 * time.Millisecond)
		}
	})
	sinks := []*Sink{sink}
	var removed uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if rand.N(10) == 0 {
			_, fresh := connect(t, ns, nil, s.url)
			sinks = append(sinks, fresh)
		}
		n := rand.N(len(hits) - 20)
		write(t, sinks[rand.N(len(sinks))], hits[n:n+20])
	}
	wg.Wait()
	write(t, sink, hits)
	s.wantOnce(t, ns, hits)
	for _, sink := range sinks {
		removed += sink.c.Stats().Removed
	}
	t.Logf("%d processes, %d second copies removed", len(sinks), removed)
}

func (s *server) testMappingError(t *testing.T) {
	var dead []Dead
	c, sink := connect(t, "mapping", func(cfg *Config) {
		cfg.DeadLetter = func(_ context.Context, d Dead) error { dead = append(dead, d); return nil }
	}, s.url)
	hits := makeHits(5, 10)
	write(t, sink, hits[:5])
	bad := []item{
		{id: "bad-ip", doc: []byte(`{"@timestamp":"2026-03-01T12:00:00Z","source":{"ip":"secret.example"}}`)},
		{id: "no-time", doc: []byte(`{"source":{"ip":"10.0.0.1"}}`)},
		{id: "not-json", doc: []byte(`{"@timestamp":`)},
		{id: "unknown-field", doc: []byte(`{"@timestamp":"2026-03-01T12:00:00Z","new":{"field":1}}`)},
	}
	if err := c.put(t.Context(), Hits, bad); err != nil {
		t.Fatal(err)
	}
	write(t, sink, hits)
	want := once(hits)
	want["unknown-field"] = 1 // of a newer release: kept
	if diff := cmp.Diff(want, s.stored(t, hitStream("mapping"))); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if len(dead) != 3 {
		t.Fatalf("dead letters: %+v", dead)
	}
	for i, reason := range []string{"document_parsing_exception: ", "document_parsing_exception: ", "document_parsing_exception: "} {
		d := dead[i]
		if d.ID != bad[i].id || string(d.Document) != string(bad[i].doc) || d.Index != hitStream("mapping") || d.Status != 400 || !strings.HasPrefix(d.Reason, reason) {
			t.Errorf("dead letter %+v", d)
		}
	}
	if !strings.Contains(dead[0].Reason, "source.ip") || !strings.Contains(dead[1].Reason, "@timestamp") {
		t.Errorf("reasons %q and %q", dead[0].Reason, dead[1].Reason)
	}
	if got := c.Stats(); got.Dead != 3 || got.Indexed != 11 || got.Retried != 0 {
		t.Errorf("numbers %+v", got)
	}
}

// testMissingTemplate: documents wait for the setup, and no plain index comes into being.
func (s *server) testMissingTemplate(t *testing.T) {
	var told atomic.Pointer[error]
	c, sink := connect(t, "missing", func(cfg *Config) { cfg.OnError = func(err error) { told.Store(&err) } }, s.url)
	c.streams[Hits].name = "logs-absent.hit-default"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- sink.Write(ctx, makeHits(6, 2)) }()
	for told.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	if got := c.Stats(); got.InFlightSince.IsZero() {
		t.Errorf("nothing is under way: %+v", got)
	}
	if want := "write to logs-absent.hit-default: status 404, index_not_found_exception"; (*told.Load()).Error() != want {
		t.Errorf("got %v, want %s", *told.Load(), want)
	}
	s.ask(t, "PUT", "/_index_template/absent", `{"index_patterns":["logs-absent.hit-*"],"data_stream":{},"priority":250}`)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := len(s.stored(t, "logs-absent.hit-default")); got != 2 {
		t.Errorf("%d documents", got)
	}
}

func (s *server) testSearch(t *testing.T) {
	hits := makeHits(7, 30)
	for i := range hits {
		if i%3 == 0 {
			hits[i].Verdict.Coin = "bitcoin-family"
		}
		hits[i].Found = hits[i].Found.Truncate(24 * time.Hour).Add(time.Duration(i%2) * time.Hour)
	}
	_, sink := connect(t, "search", nil, s.url)
	write(t, sink, hits)
	stream := hitStream("search")
	s.ask(t, "POST", "/"+stream+"/_refresh", "")
	total := func(query string) int {
		answer := s.ask(t, "POST", "/"+stream+"/_count", `{"query":`+query+`}`)
		return int(answer["count"].(float64))
	}
	client := hits[3].Client
	prefix, err := client.Prefix(28) // 16 addresses
	if err != nil {
		t.Fatal(err)
	}
	inside := 0
	for i := range hits {
		if prefix.Contains(hits[i].Client) {
			inside++
		}
	}
	for query, want := range map[string]int{
		`{"term":{"source.ip":"` + client.String() + `"}}`: 1,
		`{"term":{"source.ip":"` + prefix.String() + `"}}`: inside,
		`{"range":{"destination.port":{"gte":3333}}}`:      30,
		`{"match":{"message":"mines"}}`:                    30,
		`{"nested":{"path":"minecanary.criteria","query":{"bool":{"must":[
			{"term":{"minecanary.criteria.name":"active_time"}},{"range":{"minecanary.criteria.value":{"gte":600}}}]}}}}`: 30,
		`{"nested":{"path":"threat.enrichments","query":{"term":{"threat.enrichments.indicator.confidence":"High"}}}}`: 30,
		`{"term":{"minecanary.evidence.strength":"proof"}}`:                                                            30,
	} {
		if got := total(query); got != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
	answer := s.ask(t, "POST", "/"+stream+"/_search", `{"size":0,"aggs":{
		"coins":{"terms":{"field":"minecanary.coin"}},
		"when":{"date_histogram":{"field":"@timestamp","fixed_interval":"1h"}},
		"clients":{"cardinality":{"field":"source.ip"}}}}`)
	aggs := answer["aggregations"].(map[string]any)
	buckets := func(name, key string) map[string]float64 {
		out := map[string]float64{}
		for _, b := range aggs[name].(map[string]any)["buckets"].([]any) {
			b := b.(map[string]any)
			out[fmt.Sprint(b[key])] = b["doc_count"].(float64)
		}
		return out
	}
	if diff := cmp.Diff(map[string]float64{"monero": 20, "bitcoin-family": 10}, buckets("coins", "key")); diff != "" {
		t.Errorf("coins (-want +got):\n%s", diff)
	}
	if got := slices.Sorted(maps.Values(buckets("when", "key_as_string"))); !slices.Equal(got, []float64{15, 15}) {
		t.Errorf("over time: %v", got)
	}
	if got := aggs["clients"].(map[string]any)["value"]; got != 30.0 {
		t.Errorf("%v clients", got)
	}
}

func (s *server) testVerdicts(t *testing.T) {
	at := time.Now().Truncate(time.Millisecond)
	var verdicts []minecanary.Verdict
	for i, status := range []minecanary.VerdictStatus{minecanary.Confirmed, minecanary.Node, minecanary.NotPool, minecanary.Inconclusive, minecanary.Blocked, minecanary.Confirmed} {
		v := minecanary.Verdict{Endpoint: makeHits(8, 10)[i].Server, Status: status, At: at, Expires: at.Add(time.Hour), Reason: "because"}
		if status == minecanary.Confirmed {
			v.Dialect, v.Coin, v.FirstConfirmed = "cryptonote", "monero", at
		}
		verdicts = append(verdicts, v)
	}
	c, sink := connect(t, "verdicts", nil, s.url)
	for range 2 {
		if err := sink.Probed(t.Context(), verdicts); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Expired(t.Context(), []minecanary.Endpoint{verdicts[0].Endpoint}); err != nil {
		t.Error(err)
	}
	if got := len(s.stored(t, "logs-minecanary.probe-verdicts")); got != 6 {
		t.Errorf("%d probes", got)
	}
	if got := len(s.stored(t, "logs-ti_minecanary.pool-verdicts")); got != 2 {
		t.Errorf("%d pools", got)
	}
	if got := c.Stats(); got.Indexed != 8 || got.Repeated != 8 {
		t.Errorf("numbers %+v", got)
	}
	// The query of Elastic Security's indicator match rule.
	answer := s.ask(t, "POST", "/logs-ti_minecanary.pool-verdicts/_count", `{"query":{"bool":{"filter":[
		{"prefix":{"event.module":"ti_"}},{"exists":{"field":"threat.indicator.ip"}},{"term":{"event.category":"threat"}},
		{"term":{"event.kind":"enrichment"}},{"term":{"event.type":"indicator"}},{"range":{"@timestamp":{"gte":"now-30d"}}}]}}}`)
	if answer["count"] != 2.0 {
		t.Errorf("the rule finds %v pools", answer["count"])
	}
}

// fault is what the proxy does to a request.
type fault int

const (
	pass         fault = iota
	tooMany            // 429 with Retry-After, the request is dropped
	unavailable        // 503, the request is dropped
	badGateway         // 502, but the request was carried out
	tooLarge           // 413 for everything above a size
	cut                // the connection ends before the request is carried out
	lost               // the connection ends after it was carried out
	garbage            // an answer of somebody else
	unauthorized       // 401
	faults
)

// proxy stands before the real server.
type proxy struct {
	back  *httputil.ReverseProxy
	next  func() fault
	limit int64
	count [faults]atomic.Int64
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.next()
	if f == tooLarge && r.ContentLength <= p.limit {
		f = pass
	}
	p.count[f].Add(1)
	drop := func() {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	switch f {
	case tooMany:
		w.Header().Set("Retry-After", "0")
		http.Error(w, `{"error":{"type":"es_rejected_execution_exception"}}`, http.StatusTooManyRequests)
	case unavailable:
		http.Error(w, "no", http.StatusServiceUnavailable)
	case tooLarge:
		http.Error(w, "no", http.StatusRequestEntityTooLarge)
	case unauthorized:
		http.Error(w, `{"error":{"type":"security_exception"}}`, http.StatusUnauthorized)
	case garbage:
		_, _ = io.WriteString(w, "<html>")
	case cut:
		drop()
	case lost, badGateway:
		p.back.ServeHTTP(httptest.NewRecorder(), r)
		if f == lost {
			drop()
		} else {
			http.Error(w, "no", http.StatusBadGateway)
		}
	default:
		p.back.ServeHTTP(w, r)
	}
}

// testFaults: behind two proxies that do everything wrong, while the stream rolls over, every document gets there once.
func (s *server) testFaults(t *testing.T) {
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	// Both proxies give every fault in turn, each with as many good answers between.
	var n atomic.Int64
	newProxy := func() (*proxy, *httptest.Server) {
		back := httputil.NewSingleHostReverseProxy(target)
		back.Transport = transport
		p := &proxy{back: back, limit: 20_000, next: func() fault {
			if i := n.Add(1); i%2 == 0 {
				return fault(i / 2 % int64(faults))
			}
			return pass
		}}
		srv := httptest.NewServer(p)
		t.Cleanup(srv.Close)
		return p, srv
	}
	p1, srv1 := newProxy()
	p2, srv2 := newProxy()
	var failed atomic.Int64
	c, sink := connect(t, "faults", func(cfg *Config) {
		cfg.APIKey = "c2VjcmV0"
		cfg.OnError = func(err error) {
			failed.Add(1)
			if text := err.Error(); strings.Contains(text, "c2VjcmV0") || strings.Contains(text, "@timestamp") {
				t.Errorf("the error tells too much: %s", text)
			}
		}
	}, srv1.URL, srv2.URL)
	hits := makeHits(9, 600)
	for i := 0; i < len(hits); i += 20 {
		write(t, sink, hits[i:i+20])
		if i%100 == 60 {
			s.rollover(t, hitStream("faults"))
		}
	}
	s.wantOnce(t, "faults", hits)
	got := c.Stats()
	if got.Indexed+got.Repeated != 600 || got.Dead != 0 || got.Retried == 0 || !got.InFlightSince.IsZero() {
		t.Errorf("numbers %+v", got)
	}
	for f := range faults {
		if p1.count[f].Load()+p2.count[f].Load() == 0 {
			t.Errorf("fault %d never came", f)
		}
	}
	if p1.count[pass].Load() == 0 || p2.count[pass].Load() == 0 {
		t.Error("the URLs do not take turns")
	}
	t.Logf("%d failed tries, %+v", failed.Load(), got)
}

// testStopped: a server that is gone for a while holds up everything and loses nothing.
func (s *server) testStopped(t *testing.T, es *stack.Service) {
	t.Helper()
	c, sink := connect(t, "stopped", nil, s.url)
	hits := makeHits(10, 400)
	stop, started := make(chan struct{}), make(chan error, 1)
	go func() {
		<-stop
		if err := es.Script(t.Context(), "stop"); err != nil {
			started <- err
			return
		}
		time.Sleep(2 * time.Second)
		started <- es.Script(t.Context(), "start")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	for i := 0; i < len(hits); i += 10 {
		if i == 100 {
			close(stop)
		}
		if i > 100 {
			time.Sleep(50 * time.Millisecond) // so that the writes are still under way when it stops
		}
		if err := sink.Write(ctx, hits[i:i+10]); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	s.client.CloseIdleConnections()
	s.wantOnce(t, "stopped", hits)
	if got := c.Stats(); got.Retried == 0 || got.Indexed+got.Repeated != 400 {
		t.Errorf("numbers %+v", got)
	}
	t.Logf("%v, %+v", time.Since(began).Round(time.Millisecond), c.Stats())
}

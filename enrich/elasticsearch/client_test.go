package elasticsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary/docker"
	"github.com/minecanary/minecanary/enrich"
)

var (
	_ enrich.Sink        = (*Sink)(nil)
	_ enrich.VerdictSink = (*Sink)(nil)
)

// The tests here give answers that a healthy server does not give. What Elasticsearch really does is in services_test.go.

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no URL", Config{}, "no URL"},
		{"no scheme", Config{URLs: []string{"localhost:9200"}}, "URL 1 is not http"},
		{"secret in a URL", Config{URLs: []string{"http://a:9200", "https://u:hunter2@b:9200"}}, "URL 2 holds a user"},
		{"query", Config{URLs: []string{"http://a:9200/?x"}}, "has a query"},
		{"two logins", Config{URLs: []string{"http://a"}, APIKey: "hunter2", User: "u", Password: "hunter2"}, "one of them is enough"},
		{"half a login", Config{URLs: []string{"http://a"}, User: "u"}, "go together"},
		{"timeout", Config{URLs: []string{"http://a"}, Timeout: -1}, "timeout is negative"},
		{"retention", Config{URLs: []string{"http://a"}, Retention: time.Millisecond}, "retention is not"},
		{"all", Config{URLs: []string{"http://a:9200/base/", "https://b"}, APIKey: "hunter2", Retention: time.Hour}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	c, err := New(Config{URLs: []string{"http://a"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSink(c); err == nil {
		t.Error("a sink without dead letters")
	}
}

// script is a server that answers _bulk with what a test wants, and says that the stream has one backing index.
type script struct {
	mu      sync.Mutex
	answers []func(w http.ResponseWriter, docs int)
	bodies  []string
	headers []http.Header
	indices string
	mget    func(w http.ResponseWriter)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/_settings"):
		_, _ = io.WriteString(w, s.indices)
	case strings.HasSuffix(r.URL.Path, "/_mget"):
		s.mget(w)
	default:
		s.bodies, s.headers = append(s.bodies, string(b)), append(s.headers, r.Header)
		answer := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		answer(w, bytes.Count(b, []byte("\n"))/2)
	}
}

// one is the stream's only backing index, as old as Unix time.
const one = `{".ds-x-000001":{"settings":{"index":{"creation_date":"0"}}}}`

func status(code int, text string) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, _ int) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

// items answers with an item, and with 201 for the documents after it.
func items(item ...string) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, docs int) {
		for len(item) < docs {
			item = append(item, `{"create":{"_index":".ds-x-000001","status":201}}`)
		}
		_, _ = fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(item[:docs], ","))
	}
}

func item400(kind string) string {
	return `{"create":{"_index":".ds-x-000001","status":400,"error":{"type":"` + kind + `","reason":"value [secret]","caused_by":{"type":"why","reason":"so"}}}}`
}

func withStatus(code int, kind string) string {
	return fmt.Sprintf(`{"create":{"_index":".ds-x-000001","status":%d,"error":{"type":%q,"reason":"value [secret]"}}}`, code, kind)
}

func TestAnswers(t *testing.T) {
	defer goleak.VerifyNone(t)
	ok := items()
	for _, tt := range []struct {
		name    string
		answers []func(http.ResponseWriter, int)
		docs    []int // of each request
		want    Stats
		dead    []string
		errors  []string
	}{
		{"all well", []func(http.ResponseWriter, int){ok}, []int{4}, Stats{Indexed: 4}, nil, nil},
		{"repeated", []func(http.ResponseWriter, int){items(withStatus(409, "version_conflict_engine_exception"))}, []int{4}, Stats{Indexed: 3, Repeated: 1}, nil, nil},
		{
			"one is refused",
			[]func(http.ResponseWriter, int){items(item400("document_parsing_exception"))},
			[]int{4},
			Stats{Indexed: 3, Dead: 1},
			[]string{"400 document_parsing_exception: value [secret]; why: so"},
			nil,
		},
		{
			"failure store",
			[]func(http.ResponseWriter, int){items(`{"create":{"_index":".fs-x","status":201,"failure_store":"used"}}`)},
			[]int{4},
			Stats{Indexed: 3, Dead: 1},
			[]string{"201 put into the failure store: no reason given: "},
			nil,
		},
		{
			"no room for shards",
			[]func(http.ResponseWriter, int){items(item400("validation_exception")), ok},
			[]int{4, 1},
			Stats{Indexed: 4, Retried: 1},
			nil,
			[]string{"write to x: status 400, validation_exception"},
		},
		{
			"busy for one",
			[]func(http.ResponseWriter, int){items(withStatus(429, "es_rejected_execution_exception")), ok},
			[]int{4, 1},
			Stats{Indexed: 4, Retried: 1},
			nil,
			[]string{"write to x: status 429, es_rejected_execution_exception"},
		},
		{
			"broken for one",
			[]func(http.ResponseWriter, int){items(withStatus(503, "unavailable_shards_exception")), ok},
			[]int{4, 1},
			Stats{Indexed: 4, Retried: 1, Lookups: 1},
			nil,
			[]string{"write to x: status 503, unavailable_shards_exception"},
		},
		{
			"no right for one",
			[]func(http.ResponseWriter, int){items(withStatus(403, "security_exception")), ok},
			[]int{4, 1},
			Stats{Indexed: 4, Retried: 1},
			nil,
			[]string{"write to x: status 403, security_exception"},
		},
		{
			"nobody is let in",
			[]func(http.ResponseWriter, int){status(401, `{"error":{"type":"security_exception","reason":"secret"}}`), ok},
			[]int{4, 4},
			Stats{Indexed: 4, Retried: 4},
			nil,
			[]string{"write to x: status 401, security_exception"},
		},
		{
			"bad request",
			[]func(http.ResponseWriter, int){status(400, `{"error":{"type":"illegal_argument_exception","reason":"secret"}}`), ok},
			[]int{4, 4},
			Stats{Indexed: 4, Retried: 4},
			nil,
			[]string{"write to x: status 400, illegal_argument_exception"},
		},
		{
			"error as a text",
			[]func(http.ResponseWriter, int){status(405, `{"error":"secret","status":405}`), ok},
			[]int{4, 4},
			Stats{Indexed: 4, Retried: 4},
			nil,
			[]string{"write to x: status 405"},
		},
		{
			"not Elasticsearch",
			[]func(http.ResponseWriter, int){status(200, `<html>`), ok},
			[]int{4, 4},
			Stats{Indexed: 4, Retried: 4, Lookups: 1},
			nil,
			[]string{"write to x: an answer that is not Elasticsearch's"},
		},
		{
			"too few answers",
			[]func(http.ResponseWriter, int){status(200, `{"items":[]}`), ok},
			[]int{4, 4},
			Stats{Indexed: 4, Retried: 4, Lookups: 1},
			nil,
			[]string{"write to x: 0 answers to 4 documents"},
		},
		{"too large", []func(http.ResponseWriter, int){status(413, ""), ok}, []int{4, 2, 2}, Stats{Indexed: 4}, nil, nil},
		{
			"one too large",
			[]func(http.ResponseWriter, int){status(413, ""), status(413, ""), status(413, ""), ok},
			[]int{4, 2, 1, 1, 2},
			Stats{Indexed: 3, Dead: 1},
			[]string{"413 the document is larger than the server takes"},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: tt.answers, indices: one}
			srv := httptest.NewServer(s)
			defer srv.Close()
			var dead, told []string
			c, _ := testClient(t, srv.URL, func(cfg *Config) {
				cfg.APIKey = "hunter2"
				cfg.OnError = func(err error) { told = append(told, err.Error()) }
				cfg.DeadLetter = func(_ context.Context, d Dead) error {
					dead = append(dead, fmt.Sprint(d.Status, " ", d.Reason))
					return nil
				}
			})
			var list []item
			for i := range 4 {
				list = append(list, item{id: strconv.Itoa(i), doc: fmt.Appendf(nil, `{"n":%d}`, i), notBefore: time.Now()})
			}
			if err := c.put(t.Context(), Hits, list); err != nil {
				t.Fatal(err)
			}
			var docs []int
			for _, b := range s.bodies {
				docs = append(docs, strings.Count(b, "\n")/2)
			}
			tt.want.Requests, tt.want.Lookups = uint64(len(tt.docs)), tt.want.Lookups+1
			for _, diff := range []string{cmp.Diff(tt.docs, docs), cmp.Diff(tt.want, c.Stats()), cmp.Diff(tt.dead, dead), cmp.Diff(tt.errors, told)} {
				if diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if got := s.headers[0].Get("Authorization"); !strings.EqualFold(got, "ApiKey hunter2") {
				t.Errorf("login %q", got)
			}
		})
	}
}

// testClient gives a client whose hits go to the stream x, without pauses.
func testClient(t *testing.T, url string, change func(*Config)) (*Client, *Sink) {
	t.Helper()
	cfg := Config{URLs: []string{url}, DeadLetter: func(context.Context, Dead) error { return nil }}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // the test's context has ended
	c.streams[Hits].name = "x"
	c.pace = pace{}
	sink, err := NewSink(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, sink
}

func TestDeadLetterFails(t *testing.T) {
	s := &script{answers: []func(http.ResponseWriter, int){items(item400("x"))}, indices: one}
	srv := httptest.NewServer(s)
	defer srv.Close()
	broken := errors.New("no topic")
	c, sink := testClient(t, srv.URL, func(cfg *Config) { cfg.DeadLetter = func(context.Context, Dead) error { return broken } })
	if err := sink.Write(t.Context(), makeHits(1, 1)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := c.Stats(); got.Dead != 0 || !got.InFlightSince.IsZero() {
		t.Errorf("numbers %+v", got)
	}
}

// TestContextEnds: a write that cannot be carried out ends with the context, and says why it took so long.
func TestContextEnds(t *testing.T) {
	s := &script{answers: []func(http.ResponseWriter, int){status(429, "")}, indices: one}
	srv := httptest.NewServer(s)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	c, sink := testClient(t, srv.URL, func(cfg *Config) {
		cfg.OnError = func(error) {
			if tries++; tries == 3 {
				cancel()
			}
		}
	})
	err := sink.Write(ctx, makeHits(1, 1))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "status 429") {
		t.Errorf("got %v", err)
	}
	if got := c.Stats(); got.Retried != 3 || got.Indexed != 0 {
		t.Errorf("numbers %+v", got)
	}
}

// TestMayNotDelete: who may not delete second copies is told so and goes on.
func TestMayNotDelete(t *testing.T) {
	s := &script{
		indices: `{".ds-x-000001":{"settings":{"index":{"creation_date":"0"}}},".ds-x-000002":{"settings":{"index":{"creation_date":"9999999999999"}}}}`,
		mget: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"docs":[{"found":true},{"found":true}]}`)
		},
		answers: []func(http.ResponseWriter, int){status(200, `{"items":[{"delete":{"status":403,"error":{"type":"security_exception","reason":"no"}}}]}`)},
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	var told []string
	c, sink := testClient(t, srv.URL, func(cfg *Config) { cfg.OnError = func(err error) { told = append(told, err.Error()) } })
	write := func() {
		if err := sink.Write(t.Context(), makeHits(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if diff := cmp.Diff(Stats{Repeated: 1, Kept: 1, Lookups: 2}, c.Stats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(told) != 1 || !strings.Contains(told[0], "the right to delete is missing") || !strings.Contains(s.bodies[0], `"_index":".ds-x-000002"`) {
		t.Errorf("told %q of %q", told, s.bodies)
	}
	// One copy in an index that is out of service is none.
	s.mget = func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, `{"docs":[{"error":{"type":"index_closed_exception"}},{"found":true}]}`)
	}
	write()
	if got := c.Stats(); got.Repeated != 2 || got.Kept != 1 {
		t.Errorf("numbers %+v", got)
	}
}

func TestFit(t *testing.T) {
	big := item{doc: make([]byte, MaxBytes+1)}
	small := item{doc: make([]byte, 10)}
	half := item{doc: make([]byte, MaxBytes/2)}
	many := make([]item, MaxDocs+5)
	for i := range many {
		many[i] = small
	}
	for _, tt := range []struct {
		name  string
		items []item
		want  int
	}{
		{"one too big goes alone", []item{big, small}, 1},
		{"before one too big", []item{small, big}, 1},
		{"bytes", []item{half, small, half}, 2},
		{"documents", many, MaxDocs},
		{"all", many[:7], 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &Client{maxBytes: MaxBytes}
			if got := c.fit(tt.items); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	c := &Client{maxBytes: MaxBytes}
	c.shrink([]item{half, half})
	if want := (2*(MaxBytes/2) + 2*overhead) / 2; c.maxBytes != want {
		t.Errorf("got %d, want %d", c.maxBytes, want)
	}
	c.shrink([]item{small, small})
	if c.maxBytes != minBytes {
		t.Errorf("got %d, want %d", c.maxBytes, minBytes)
	}
}

func TestPace(t *testing.T) {
	p := defaultPace
	for _, tt := range []struct {
		failures int
		f        failure
		low, up  time.Duration
	}{
		{1, failure{}, 100 * time.Millisecond, 200 * time.Millisecond},
		{4, failure{}, 800 * time.Millisecond, 1600 * time.Millisecond},
		{1000, failure{}, 5 * time.Second, 10 * time.Second},
		{1, failure{slow: true}, 10 * time.Second, 20 * time.Second},
		{1, failure{retryAfter: 7 * time.Second}, 7 * time.Second, 7 * time.Second},
		{1, failure{retryAfter: time.Hour}, time.Minute, time.Minute},
	} {
		for range 100 {
			if got := p.after(tt.failures, &tt.f); got < tt.low || got > tt.up {
				t.Fatalf("%+v: %v", tt, got)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &Client{cfg: Config{Now: func() time.Time { return now }}}
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
	} {
		if got := c.retryAfter(in); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func TestCandidates(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	s := &stream{indices: []backing{{"c", day(3)}, {"b", day(2)}, {"a", day(1)}}}
	for _, tt := range []struct {
		notBefore time.Time
		want      string
	}{
		{day(4), "c"}, {day(3), "c"}, {day(3).Add(-1), "cb"}, {day(2), "cb"}, {day(1), "cba"}, {time.Time{}, "cba"},
	} {
		var got []string
		for _, b := range s.candidates(tt.notBefore) {
			got = append(got, b.name)
		}
		if diff := cmp.Diff(strings.Split(tt.want, ""), got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.notBefore, diff)
		}
	}
	if got := (&stream{}).candidates(day(1)); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	for name, want := range map[string]int{
		".ds-logs-minecanary.hit-default-2026.11.21-000012": 12, "shrink-x1y2-.ds-logs-minecanary.hit-default-2026.11.21-000003": 3, "other": 0, "": 0,
	} {
		if got := generation(name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		name, want, have string
		same             bool
	}{
		{"numbers as texts", `{"template":{"settings":{"index":{"a":{"b":1}}}}}`, `{"template":{"settings":{"index":{"a":{"b":"1"}}}}}`, true},
		{"flat settings", `{"template":{"settings":{"index.a.b":true}}}`, `{"template":{"settings":{"index":{"a":{"b":"true"}}}}}`, true},
		{
			"defaults", `{"data_stream":{},"template":{"lifecycle":{"data_retention":"1d"}}}`,
			`{"data_stream":{"hidden":false,"allow_custom_routing":false},"template":{"lifecycle":{"enabled":true,"data_retention":"1d"}}}`, true,
		},
		{"dates of the server", `{"priority":1}`, `{"priority":1,"created_date_millis":5}`, true},
		{"other value", `{"priority":1}`, `{"priority":2}`, false},
		{"other order", `{"composed_of":["a","b"]}`, `{"composed_of":["b","a"]}`, false},
		{"no data stream", `{"data_stream":{}}`, `{}`, false},
		{"something beyond ours", `{"priority":1}`, `{"priority":1,"template":{"settings":{"index":{"a":"b"}}}}`, false},
		{"lifecycle off", `{"template":{"lifecycle":{}}}`, `{"template":{"lifecycle":{"enabled":false}}}`, false},
		{"field added by hand", `{"template":{"mappings":{"properties":{}}}}`, `{"template":{"mappings":{"properties":{"a":{"type":"long"}}}}}`, false},
		{"large number", `{"version":12345678}`, `{"version":12345678}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want, have map[string]any
			if err := errors.Join(json.Unmarshal([]byte(tt.want), &want), json.Unmarshal([]byte(tt.have), &have)); err != nil {
				t.Fatal(err)
			}
			if got := same(want, have); got != tt.same {
				t.Errorf("got %v", got)
			}
		})
	}
	for d, want := range map[time.Duration]string{48 * time.Hour: "2d", 36 * time.Hour: "36h", 90 * time.Second: "90s"} {
		if got := retention(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// FuzzAnswer: no answer makes the client panic, lose or make up a document.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"items":[{"create":{"_index":"a","status":201}},{"create":{"status":400,"error":"x"}}]}`))
	f.Add([]byte(`{"items":[{"create":{"status":409,"error":{"type":"x","caused_by":null}}},null]}`))
	f.Add([]byte(`{"items":[{},{"index":{}}],"error":{}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			good := false
			dead := 0
			c, err := New(Config{URLs: []string{"http://x"}, DeadLetter: func(context.Context, Dead) error { dead++; return nil }})
			if err != nil {
				t.Fatal(err)
			}
			c.streams[Hits].indices, c.streams[Hits].stale = []backing{{name: "a"}}, false
			rounds := roundTrip(func(r *http.Request) (*http.Response, error) {
				rec := httptest.NewRecorder()
				var b []byte
				if r.Body != nil {
					var err error
					if b, err = io.ReadAll(r.Body); err != nil {
						return nil, err
					}
				}
				switch {
				case strings.HasSuffix(r.URL.Path, "/_settings"):
					_, _ = io.WriteString(rec, `{"a":{"settings":{"index":{"creation_date":"0"}}}}`)
				case good:
					items()(rec, bytes.Count(b, []byte("\n"))/2)
				default:
					_, _ = rec.Write(answer)
				}
				good = true
				return rec.Result(), nil
			})
			list := []item{{id: "1", doc: []byte("{}"), notBefore: time.Now()}, {id: "2", doc: []byte("{}"), notBefore: time.Now()}}
			c.perform = rounds
			if err := c.put(t.Context(), Hits, list); err != nil {
				t.Fatal(err)
			}
			if got := c.Stats(); got.Indexed+got.Repeated+got.Dead != 2 || got.Dead != uint64(dead) {
				t.Errorf("numbers %+v", got)
			}
		})
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

// Perform implements esapi.Transport.
func (f roundTrip) Perform(r *http.Request) (*http.Response, error) { return f(r) }

func TestSetupKibana(t *testing.T) {
	defer goleak.VerifyNone(t)
	var got *http.Request
	var file []byte
	code, answer := 200, `{"success":true,"successCount":5}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.WithoutCancel(r.Context()))
		part, header, err := r.FormFile("file")
		if err == nil && strings.HasSuffix(header.Filename, ".ndjson") {
			file, _ = io.ReadAll(part)
		}
		if code == http.StatusFound {
			http.Redirect(w, r, "/login", code)
			return
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	cfg := KibanaConfig{URL: srv.URL + "/base/", Space: "soc team", APIKey: "hunter2"}
	if err := SetupKibana(t.Context(), cfg, docker.Kibana); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.EscapedPath() != "/base/s/soc%20team/api/saved_objects/_import" || got.URL.RawQuery != "overwrite=true" {
		t.Errorf("%s %s", got.Method, got.URL)
	}
	if got.Header.Get("kbn-xsrf") == "" || got.Header.Get("Authorization") != "ApiKey hunter2" {
		t.Errorf("headers %v", got.Header)
	}
	if !bytes.Equal(file, docker.Kibana) {
		t.Errorf("%d bytes came of %d", len(file), len(docker.Kibana))
	}
	for _, tt := range []struct {
		name   string
		code   int
		answer string
		want   []string
	}{
		{
			"refused objects", 200, `{"success":false,"errors":[{"id":"a","type":"dashboard","error":{"type":"unsupported_type"}},
			{"id":"b","type":"search","error":{"type":"missing_references","references":[{"type":"index-pattern","id":"c"}]}},
			{"id":"d","type":"dashboard","error":{"type":"unknown","message":"no","statusCode":400}}]}`,
			[]string{"dashboard a: unsupported_type", "search b: missing_references: index-pattern c", "dashboard d: unknown: no"},
		},
		{"no reason", 200, `{"success":false}`, []string{"failed without a reason"}},
		{"not Kibana", 200, `<html>`, []string{"not Kibana's"}},
		{"nobody is let in", 401, `{"statusCode":401,"error":"Unauthorized","message":"bad login"}`, []string{"status 401: bad login"}},
		{"redirected", 302, ``, []string{"status 302"}},
		{"broken", 503, `Kibana server is not ready yet`, []string{"status 503"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, answer = tt.code, tt.answer
			err := SetupKibana(t.Context(), KibanaConfig{URL: srv.URL, User: "u", Password: "hunter2"}, docker.Kibana)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if user, password, ok := got.BasicAuth(); !ok || user != "u" || password != "hunter2" {
				t.Error("no login")
			}
		})
	}
	for _, cfg := range []KibanaConfig{{}, {URL: "http://u:hunter2@x"}, {URL: "http://x", User: "u"}} {
		if err := SetupKibana(t.Context(), cfg, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestEarliest: what tells of the future is looked up everywhere.
func TestEarliest(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &Client{cfg: Config{Now: func() time.Time { return now }}}
	if got := c.earliest(now.Add(-time.Hour)); !got.Equal(now.Add(-time.Hour - clockMargin)) {
		t.Errorf("got %v", got)
	}
	if got := c.earliest(now.Add(1)); !got.IsZero() {
		t.Errorf("got %v", got)
	}
}

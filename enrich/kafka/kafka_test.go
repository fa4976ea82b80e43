package kafka

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
	"github.com/minecanary/minecanary/enrich/ndjson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps what was produced, and fails the first calls. What a broker does with it is not its business.
type recorder struct {
	mu    sync.Mutex
	fails int
	limit int // a value longer than this is refused for good; 0 for none
	calls []int
	msgs  []Message
}

var errTooLarge = errors.New("message too large")

func sink(p Producer) *Sink { return NewSink(p, DefaultNames(), nil, nil) }

var errBroker = errors.New("not enough replicas")

func (r *recorder) Produce(ctx context.Context, msgs []Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.fails > 0 {
		r.fails--
		return errBroker
	}
	r.calls = append(r.calls, len(msgs))
	var refused []int
	for i, m := range msgs {
		if r.limit > 0 && len(m.Value) > r.limit {
			refused = append(refused, i)
			continue
		}
		r.msgs = append(r.msgs, Message{m.Topic, slices.Clone(m.Key), slices.Clone(m.Value)})
	}
	if refused != nil {
		return &Refused{refused, errTooLarge}
	}
	return nil
}

var (
	client   = netip.MustParseAddr("10.0.0.5")
	endpoint = minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.10"), 3333, minecanary.TCP)
)

func hit(window uint32) minecanary.Hit {
	return minecanary.Hit{
		Pair:   minecanary.Pair{Client: client, Server: endpoint},
		Status: minecanary.HitConfirmed, Window: window, Report: time.Hour, Found: time.Unix(1_700_000_000, 0),
		Verdict:  verdict(minecanary.Confirmed),
		Evidence: []minecanary.Evidence{{Kind: "block-list", Strength: minecanary.Strong, Summary: "a\nb\x00 </script>\u2028"}},
	}
}

func verdict(status minecanary.VerdictStatus) minecanary.Verdict {
	at := time.Unix(1_700_000_000, 0).UTC()
	return minecanary.Verdict{
		Endpoint: endpoint, Status: status, Dialect: "stratum-v1", Coin: "bitcoin-family", Reason: "it answered",
		Evidence: []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: at, Summary: "it answered", Transcript: []string{`>> "x"`}}},
		At:       at, Expires: at.Add(24 * time.Hour), FirstConfirmed: at,
	}
}

// TestHitsAreTheLinesOfTheFile: the same bytes as NDJSON without the newline, keyed by event.id.
func TestHitsAreTheLinesOfTheFile(t *testing.T) {
	hits := []minecanary.Hit{hit(1), hit(2)}
	hits[1].Sequence = 1
	var lines bytes.Buffer
	if err := ndjson.NewStream(&lines).Write(t.Context(), hits); err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	s := sink(r)
	if err := s.Write(t.Context(), hits); err != nil {
		t.Fatal(err)
	}
	var want []Message
	for i, line := range bytes.Split(bytes.TrimSuffix(lines.Bytes(), []byte("\n")), []byte("\n")) {
		want = append(want, Message{"minecanary.hits", []byte(hits[i].ID()), line})
	}
	if diff := cmp.Diff(want, r.msgs); diff != "" {
		t.Error(diff)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProbesAndPools(t *testing.T) {
	encode := func(doc any) []byte {
		t.Helper()
		b, err := ecs.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	confirmed, blocked := verdict(minecanary.Confirmed), verdict(minecanary.Blocked)
	blocked.Endpoint.Port, blocked.Endpoint.Transport = 53, minecanary.UDP
	key, otherKey := []byte("198.51.100.10:3333"), []byte("198.51.100.10:53/udp")
	probe := Message{"minecanary.probes", key, encode(ecs.NewProbe(confirmed))}
	pool := Message{"minecanary.pools", key, encode(ecs.NewPool(confirmed))}
	refused := Message{"minecanary.probes", otherKey, encode(ecs.NewProbe(blocked))}
	gone := Message{Topic: "minecanary.pools", Key: key}
	for _, tt := range []struct {
		name string
		off  func(*Names)
		want []Message
	}{
		{"all", func(*Names) {}, []Message{probe, pool, refused, gone}},
		{"no pools", func(n *Names) { n.Pools = "" }, []Message{probe, refused}},
		{"no probes", func(n *Names) { n.Probes = "" }, []Message{pool, gone}},
		{"nothing", func(n *Names) { *n = Names{} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			names := DefaultNames()
			tt.off(&names)
			r := &recorder{}
			s := NewSink(r, names, nil, nil)
			if err := s.Probed(t.Context(), []minecanary.Verdict{confirmed, blocked}); err != nil {
				t.Fatal(err)
			}
			if err := s.Expired(t.Context(), []minecanary.Endpoint{endpoint}); err != nil {
				t.Fatal(err)
			}
			if names.Hits == "" {
				if err := s.Write(t.Context(), []minecanary.Hit{hit(1)}); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, r.msgs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTombstone: an empty value would be a record of its own; only nil removes a key.
func TestTombstone(t *testing.T) {
	r := &recorder{}
	if err := sink(r).Expired(t.Context(), []minecanary.Endpoint{endpoint}); err != nil {
		t.Fatal(err)
	}
	if len(r.msgs) != 1 || r.msgs[0].Value != nil {
		t.Errorf("got %+v, want one message without a value", r.msgs)
	}
}

func TestSinkTriesAgainUntilAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{fails: 12}
		var failures []error
		s := NewSink(r, DefaultNames(), nil, func(err error) { failures = append(failures, err) })
		start := time.Now()
		if err := s.Write(t.Context(), []minecanary.Hit{hit(1)}); err != nil {
			t.Fatal(err)
		}
		if len(failures) != 12 || !errors.Is(failures[0], errBroker) {
			t.Errorf("told of %d failures (%v), want 12", len(failures), failures)
		}
		// 0.1 + 0.2 + … + 3.2 + 6 × 5 s, each less up to a half.
		if took := time.Since(start); took < 18*time.Second || took > 37*time.Second {
			t.Errorf("12 failures took %s", took)
		}
		if len(r.msgs) != 1 {
			t.Errorf("%d messages, want 1", len(r.msgs))
		}
	})
}

func TestSinkEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := sink(&recorder{fails: 1 << 30}).Write(ctx, []minecanary.Hit{hit(1)})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

// TestRefused: what no broker takes is not tried for ever, nor lost in silence, and the rest is written once.
func TestRefused(t *testing.T) {
	long := hit(2)
	long.Evidence = []minecanary.Evidence{{Kind: "block-list", Summary: strings.Repeat("x", 10_000)}}
	r := &recorder{limit: 8000}
	other := &recorder{} // the dead letters' topic allows more
	dead := NewDeadLetters(other, "minecanary.dead", time.Now, nil)
	told := 0
	s := NewSink(r, DefaultNames(), dead, func(err error) {
		if told++; !errors.Is(err, errTooLarge) {
			t.Errorf("told of %v", err)
		}
	})
	if err := s.Write(t.Context(), []minecanary.Hit{hit(1), long, hit(3)}); err != nil {
		t.Fatal(err)
	}
	if err := dead.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.msgs) != 2 || len(other.msgs) != 1 || told != 1 {
		t.Fatalf("%d hits, %d dead letters, told %d times; want 2, 1, 1", len(r.msgs), len(other.msgs), told)
	}
	var letter struct{ Index, ID, Reason, Error, Sample string }
	if err := json.Unmarshal(other.msgs[0].Value, &letter); err != nil {
		t.Fatal(err)
	}
	if letter.Index != "minecanary.hits" || letter.ID != long.ID() || letter.Error != errTooLarge.Error() || !json.Valid([]byte(letter.Sample)) {
		t.Errorf("the letter is %+v", letter)
	}

	r = &recorder{limit: 10}
	dead = NewDeadLetters(r, "minecanary.dead", time.Now, nil)
	if err := dead.Add(t.Context(), Dead{Topic: "zeek", Reason: "json"}); err != nil {
		t.Fatal(err)
	}
	if err := dead.Flush(t.Context()); err != nil || dead.Lost() != 1 {
		t.Errorf("%d letters lost, error %v; want 1", dead.Lost(), err)
	}
	a := NewAnnotator(r, DefaultEnriched, nil)
	if err := a.Annotate(t.Context(), []Annotated{{[]byte("{}"), client, note}}); err != nil || a.TooLong() != 1 {
		t.Errorf("%d records left out, error %v; want 1", a.TooLong(), err)
	}
}

// TestPartsAreBounded: what is handed over at once is bounded in number and bytes, and nothing gets lost between parts.
func TestPartsAreBounded(t *testing.T) {
	t.Run("number", func(t *testing.T) {
		hits := make([]minecanary.Hit, 2*maxMessages+1)
		for i := range hits {
			hits[i] = hit(uint32(i))
		}
		r := &recorder{}
		if err := sink(r).Write(t.Context(), hits); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{maxMessages, maxMessages, 1}, r.calls); diff != "" {
			t.Error(diff)
		}
		keys := map[string]bool{}
		for _, m := range r.msgs {
			keys[string(m.Key)] = true
		}
		if len(keys) != len(hits) {
			t.Errorf("%d ids, want %d", len(keys), len(hits))
		}
	})
	t.Run("bytes", rapid.MakeCheck(func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, maxBytes/2), 0, 20).Draw(t, "sizes")
		var msgs []Message
		for i, n := range sizes {
			msgs = append(msgs, Message{"t", []byte{byte(i)}, make([]byte, n)})
		}
		r := &recorder{}
		if err := (&outlet{producer: r}).deliver(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
		for _, n := range r.calls {
			size := 0
			for _, m := range r.msgs[:n] {
				size += len(m.Key) + len(m.Value)
			}
			if size > maxBytes {
				t.Fatalf("%d bytes at once", size)
			}
			msgs, r.msgs = msgs[n:], r.msgs[n:]
		}
		if len(msgs) != 0 {
			t.Fatalf("%d messages left", len(msgs))
		}
	}))
}

// TestLongTranscriptsAreLeftOut: a server that says much must not make a document that no broker takes.
func TestLongTranscriptsAreLeftOut(t *testing.T) {
	v := verdict(minecanary.Confirmed)
	v.Evidence = nil
	for range 100 {
		v.Evidence = append(v.Evidence, minecanary.Evidence{
			Kind: "probe", Summary: strings.Repeat("\"", 512), Transcript: slices.Repeat([]string{strings.Repeat(`\`, 1024)}, 32),
		})
	}
	h := hit(1)
	h.Verdict, h.Evidence = v, v.Evidence
	r := &recorder{}
	s := sink(r)
	if err := s.Write(t.Context(), []minecanary.Hit{h}); err != nil {
		t.Fatal(err)
	}
	if err := s.Probed(t.Context(), []minecanary.Verdict{v}); err != nil {
		t.Fatal(err)
	}
	if len(r.msgs) != 3 {
		t.Fatalf("%d messages, want 3", len(r.msgs))
	}
	for _, m := range r.msgs {
		if len(m.Value) > MaxMessage || !json.Valid(m.Value) {
			t.Errorf("%s: %d bytes", m.Topic, len(m.Value))
		}
	}
	if s.Shortened() == 0 {
		t.Error("not counted")
	}
	if len(h.Evidence[0].Transcript) != 32 {
		t.Error("the caller's evidence was changed")
	}
}

func TestTopics(t *testing.T) {
	names := DefaultNames()
	names.Enriched = DefaultEnriched
	got := map[string]string{}
	for _, spec := range names.Topics() {
		got[spec.Name] = spec.Config["cleanup.policy"]
		if spec.Partitions < 1 {
			t.Errorf("%s has %d partitions", spec.Name, spec.Partitions)
		}
		if spec.Config["cleanup.policy"] == "delete" && spec.Config["retention.ms"] == "" {
			t.Errorf("%s is kept for ever", spec.Name)
		}
	}
	want := map[string]string{
		"minecanary.hits": "delete", "minecanary.pools": "compact", "minecanary.probes": "delete",
		"minecanary.dead": "delete", "minecanary.enriched": "delete",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := (Names{}).Topics(); got != nil {
		t.Errorf("got %v, want no topics", got)
	}
}

func TestDeadLetter(t *testing.T) {
	at := func() time.Time { return time.Unix(1_700_000_000, 0) }
	long := strings.Repeat("ä", MaxSample) // two bytes each; a cut at an odd place would halve one
	binary := bytes.Repeat([]byte{0xff, 0}, MaxSample)
	for _, tt := range []struct {
		name string
		dead Dead
		key  string
		want map[string]any
	}{
		{
			"message",
			Dead{Topic: "zeek", Partition: 3, Offset: 0, Reason: "json", Error: "line 1", Sample: []byte("{\"a\":\x00<")},
			"zeek/3/0",
			map[string]any{"topic": "zeek", "partition": 3., "offset": 0., "reason": "json", "error": "line 1", "sample": "{\"a\":\x00<"},
		},
		{
			"first partition, no error, nothing in it",
			Dead{Topic: "zeek", Offset: 1 << 40, Reason: "empty"},
			"zeek/0/1099511627776",
			map[string]any{"topic": "zeek", "partition": 0., "offset": float64(1 << 40), "reason": "empty"},
		},
		{
			"document",
			Dead{Index: "logs-minecanary.hit-default", ID: "ab.0", Reason: "refused", Error: "mapper_parsing_exception", Sample: []byte("{}")},
			"logs-minecanary.hit-default/ab.0",
			map[string]any{"index": "logs-minecanary.hit-default", "id": "ab.0", "reason": "refused", "error": "mapper_parsing_exception", "sample": "{}"},
		},
		{
			"long text",
			Dead{Topic: "zeek", Reason: "json", Error: "x" + long, Sample: []byte("x" + long)},
			"zeek/0/0",
			map[string]any{
				"topic": "zeek", "partition": 0., "offset": 0., "reason": "json",
				"error": "x" + long[:MaxError-2], "sample": "x" + long[:MaxSample-2],
			},
		},
		{
			"long document",
			Dead{Index: "i", ID: "1", Reason: "refused", Sample: []byte(strings.Repeat(`"`, 2*MaxDocument))},
			"i/1",
			map[string]any{"index": "i", "id": "1", "reason": "refused", "sample": strings.Repeat(`"`, MaxDocument)},
		},
		{
			"bytes",
			Dead{Topic: "zeek", Reason: "json", Sample: binary},
			"zeek/0/0",
			map[string]any{
				"topic": "zeek", "partition": 0., "offset": 0., "reason": "json", "sample_base64": base64.StdEncoding.EncodeToString(binary[:MaxSample]),
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{}
			d := NewDeadLetters(r, "minecanary.dead", at, nil)
			sample := bytes.Clone(tt.dead.Sample)
			tt.dead.Sample = sample
			if err := d.Add(t.Context(), tt.dead); err != nil {
				t.Fatal(err)
			}
			clear(sample) // the source takes its buffer back
			if len(r.msgs) != 0 {
				t.Fatal("written before Flush")
			}
			for range 2 {
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if len(r.msgs) != 1 {
				t.Fatalf("%d messages, want 1", len(r.msgs))
			}
			m := r.msgs[0]
			if m.Topic != "minecanary.dead" || string(m.Key) != tt.key {
				t.Errorf("topic %s key %s, want key %s", m.Topic, m.Key, tt.key)
			}
			if len(m.Value) > MaxMessage {
				t.Errorf("%d bytes", len(m.Value))
			}
			tt.want["@timestamp"] = "2023-11-14T22:13:20.000Z"
			var got map[string]any
			if err := json.Unmarshal(m.Value, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("switched off", func(t *testing.T) {
		r := &recorder{}
		d := NewDeadLetters(r, "", at, nil)
		for range MaxDead + 1 {
			if err := d.Add(t.Context(), Dead{Topic: "zeek", Reason: "json"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(t.Context()); err != nil || len(r.msgs) != 0 {
			t.Errorf("%d messages, error %v", len(r.msgs), err)
		}
	})
}

// TestDeadLettersAreBounded: a flood is written as it comes, and what the broker does not take stays, up to the bound.
func TestDeadLettersAreBounded(t *testing.T) {
	t.Run("many small", func(t *testing.T) { flood(t, 3*MaxDead+7, nil) })
	t.Run("large", func(t *testing.T) { flood(t, 1000, make([]byte, MaxSample)) }) // 24 KB each, as \u0000
	t.Run("broker away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{fails: 1 << 30}
			d := NewDeadLetters(r, "minecanary.dead", time.Now, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			taken := 0
			for ; taken < 2*MaxDead; taken++ {
				if err := d.Add(ctx, Dead{Topic: "zeek", Offset: int64(taken), Reason: "json"}); err != nil {
					break
				}
			}
			if taken != MaxDead {
				t.Errorf("took %d letters, want %d", taken, MaxDead)
			}
			r.fails = 0
			if err := d.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(r.msgs) != taken {
				t.Errorf("wrote %d letters, took %d", len(r.msgs), taken)
			}
		})
	})
}

// flood adds letters from four goroutines while two flush.
func flood(t *testing.T, n int, sample []byte) {
	t.Helper()
	r := &recorder{}
	d := NewDeadLetters(r, "minecanary.dead", time.Now, nil)
	var adders sync.WaitGroup
	for g := range 4 {
		adders.Go(func() {
			for i := range n {
				if err := d.Add(t.Context(), Dead{Topic: "zeek", Partition: int32(g), Offset: int64(i), Reason: "json", Sample: sample}); err != nil {
					t.Error(err)
				}
				d.mu.Lock()
				if len(d.waiting) > MaxDead || d.size > MaxDeadBytes {
					t.Errorf("%d letters of %d bytes wait", len(d.waiting), d.size)
				}
				d.mu.Unlock()
			}
		})
	}
	for range 2 {
		adders.Go(func() {
			for range 20 {
				if err := d.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adders.Wait()
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.waiting) != 0 || d.size != 0 {
		t.Errorf("%d letters of %d bytes left", len(d.waiting), d.size)
	}
	keys := map[string]int{}
	for _, m := range r.msgs {
		keys[string(m.Key)]++
	}
	if len(keys) != 4*n || len(r.msgs) != 4*n {
		t.Errorf("%d messages of %d keys, want %d", len(r.msgs), len(keys), 4*n)
	}
}

// TestFlushKeepsWhatFailed: letters of a flush that ended with its context are written by the next.
func TestFlushKeepsWhatFailed(t *testing.T) {
	r := &recorder{fails: 1 << 30}
	d := NewDeadLetters(r, "minecanary.dead", time.Now, nil)
	if err := d.Add(t.Context(), Dead{Topic: "zeek", Reason: "json"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the context's", err)
	}
	r.fails = 0
	if err := d.Flush(t.Context()); err != nil || len(r.msgs) != 1 {
		t.Errorf("%d messages, error %v", len(r.msgs), err)
	}
}

var note = ecs.Annotation{
	Status: minecanary.HitConfirmed, Endpoint: endpoint, Pool: "a pool", Coin: "monero", Dialect: "cryptonote",
	Scorer: "canary", Score: 7.5, Threshold: 6,
}

const noted = `{"status":"confirmed","endpoint":"198.51.100.10:3333","pool":"a pool","coin":"monero","dialect":"cryptonote",` +
	`"score":7.5,"threshold":6,"scorer":"canary"}`

func TestAnnotate(t *testing.T) {
	for _, tt := range []struct{ name, record, want string }{
		{"members", `{"ts":1.50,"id.orig_h":"10.0.0.5"}`, `{"ts":1.50,"id.orig_h":"10.0.0.5","minecanary":` + noted + `}`},
		{"empty object", `{}`, `{"minecanary":` + noted + `}`},
		{"white space", "\t{ \"a\" : { } \n} \r\n", "\t{ \"a\" : { } \n,\"minecanary\":" + noted + "} \r\n"},
		{"white space in an empty object", "{ }\n", `{ "minecanary":` + noted + "}\n"},
		{"member in a member", `{"conn":{"minecanary":1}}`, `{"conn":{"minecanary":1},"minecanary":` + noted + `}`},
		{"brace in a text", `{"a":"}"}`, `{"a":"}","minecanary":` + noted + `}`},
		{"same name twice", `{"a":1,"a":2}`, `{"a":1,"a":2,"minecanary":` + noted + `}`},
		{"it has one", `{"minecanary":1}`, `{"record":"{\"minecanary\":1}","minecanary":` + noted + `}`},
		{"it has one in disguise", `{"minecanar\u0079":1}`, `{"record":"{\"minecanar\\u0079\":1}","minecanary":` + noted + `}`},
		{"TSV", "1.5\tC1\t10.0.0.5", `{"record":"1.5\tC1\t10.0.0.5","minecanary":` + noted + `}`},
		{"array", `[{}]`, `{"record":"[{}]","minecanary":` + noted + `}`},
		{"null", `null`, `{"record":"null","minecanary":` + noted + `}`},
		{"two objects", `{}{}`, `{"record":"{}{}","minecanary":` + noted + `}`},
		{"broken", `{"a":}`, `{"record":"{\"a\":}","minecanary":` + noted + `}`},
		{"nothing", ``, `{"record":"","minecanary":` + noted + `}`},
		{"not UTF-8", "\xff", `{"record_base64":"/w==","minecanary":` + noted + `}`},
		{"UTF-8 with a mark", "\ufeff{}", `{"record":"` + "\ufeff" + `{}","minecanary":` + noted + `}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := annotate([]byte(tt.record), &note)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnnotator(t *testing.T) {
	huge := []byte(`{"a":"` + strings.Repeat("x", MaxMessage) + `"}`)
	records := []Annotated{
		{[]byte(`{"a":1}`), client, note},
		{huge, client, note},
		{[]byte(`{"a":2}`), netip.MustParseAddr("2001:db8::1"), note},
	}
	r := &recorder{}
	a := NewAnnotator(r, DefaultEnriched, nil)
	if err := a.Annotate(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	want := []Message{
		{"minecanary.enriched", []byte("10.0.0.5"), []byte(`{"a":1,"minecanary":` + noted + `}`)},
		{"minecanary.enriched", []byte("2001:db8::1"), []byte(`{"a":2,"minecanary":` + noted + `}`)},
	}
	if diff := cmp.Diff(want, r.msgs); diff != "" {
		t.Error(diff)
	}
	if a.TooLong() != 1 {
		t.Errorf("%d records left out, want 1", a.TooLong())
	}
	r.msgs = nil
	many := slices.Repeat(records[:1], 3*maxMessages)
	if err := a.Annotate(t.Context(), many); err != nil || len(r.msgs) != len(many) {
		t.Errorf("%d messages of %d, error %v", len(r.msgs), len(many), err)
	}
	if err := NewAnnotator(r, "", nil).Annotate(t.Context(), many); err != nil || len(r.msgs) != len(many) {
		t.Errorf("switched off: %d messages, error %v", len(r.msgs)-len(many), err)
	}
}

// FuzzAnnotate: the result is JSON whatever the record is, holds the annotation, and the record: its members byte for
// byte, or all of it as one member.
func FuzzAnnotate(f *testing.F) {
	for _, seed := range []string{
		`{"ts":1.5,"id.orig_h":"10.0.0.5"}`, `{}`, " { \"a\" : [ { } ] }\r\n", `{"minecanary":1}`, `{"a":"}"}`, `[]`, `null`, "1\t2", "\xff",
		`{"a":1,"a":2}`, `{"":"\ud800"}`, "{\"a\":\"\xff\"}", `{"record":1}`, "\ufeff{}", `{"a":1e999}`, "\x1f\x8b\x08",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		before := bytes.Clone(record)
		got, err := annotate(record, &note)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, record) {
			t.Fatal("the record was changed")
		}
		if !json.Valid(got) {
			t.Fatalf("%q became %q", record, got)
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatal(err)
		}
		if string(after[member]) != noted {
			t.Fatalf("the annotation is %s", after[member])
		}
		delete(after, member)
		var members map[string]json.RawMessage
		_ = json.Unmarshal(record, &members) // what is no object has no members
		_, taken := members[member]
		if members == nil || taken || !json.Valid(record) {
			var w struct {
				Record       string `json:"record"`
				RecordBase64 []byte `json:"record_base64"`
			}
			if err := json.Unmarshal(got, &w); err != nil {
				t.Fatal(err)
			}
			if whole := w.Record + string(w.RecordBase64); whole != string(record) || len(after) != 1 {
				t.Fatalf("%q became %q", record, got)
			}
			return
		}
		if !maps.EqualFunc(members, after, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%q became %q", record, got)
		}
		if rest := bytes.Replace(got, []byte(noted), nil, 1); len(rest) > len(record)+len(`,"minecanary":`) {
			t.Fatalf("%q became %q", record, got)
		}
	})
}

// FuzzCut: never longer than asked for, a prefix, and text stays text.
func FuzzCut(f *testing.F) {
	f.Add([]byte("aäö€😀"), 3)
	f.Add([]byte("\xf0\x9f\x98\x80\x80\x80\x80\x80"), 5)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = max(1, min(n, 64))
		got := cut(b, n)
		if len(got) > n || !bytes.HasPrefix(b, got) || len(b) > n && len(got) <= n-utf8.UTFMax {
			t.Fatalf("%q cut at %d: %q", b, n, got)
		}
		if utf8.Valid(b) && !utf8.Valid(got) {
			t.Fatalf("%q cut at %d: %q", b, n, got)
		}
	})
}

// BenchmarkAnnotate is what one annotated record costs, on a conn record of usual length.
func BenchmarkAnnotate(b *testing.B) {
	record := []byte(`{"_path":"conn","_system_name":"s1","ts":1591367999.430166,"uid":"C5bLoe2Mvxqhawzqqd","id.orig_h":"192.168.4.76","id.orig_p":46378,` +
		`"id.resp_h":"198.51.100.10","id.resp_p":3333,"proto":"tcp","duration":0.25411510467529297,"orig_bytes":77,"resp_bytes":295,` +
		`"conn_state":"SF","missed_bytes":0,"history":"ShADadFf","orig_pkts":6,"orig_ip_bytes":397,"resp_pkts":4,"resp_ip_bytes":511}`)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := annotate(record, &note); err != nil {
			b.Fatal(err)
		}
	}
}

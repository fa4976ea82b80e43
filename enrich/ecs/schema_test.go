package ecs

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/minecanary/minecanary"
)

var update = flag.Bool("update", false, "write golden documents and docs/schema/v1.fields.json anew")

const schemaDir = "../../docs/schema"

// schemas are the documents that are promised to others.
var schemas = []string{"hit", "probe", "pool", "dead", "enriched"}

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	s, err := c.Compile(filepath.Join(schemaDir, name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verdict(status minecanary.VerdictStatus) minecanary.Verdict {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	v := minecanary.Verdict{
		Endpoint: minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.10"), 3333, minecanary.TCP),
		Status:   status, Reason: "because", At: at, Expires: at.Add(24 * time.Hour),
	}
	switch status {
	case minecanary.Confirmed:
		v.Dialect, v.Coin, v.TLS, v.FirstConfirmed = "cryptonote", "monero", true, at.Add(-time.Hour)
		v.Evidence = []minecanary.Evidence{{
			Kind: "probe", Strength: minecanary.Proof, At: at, Summary: "a job", Transcript: []string{`>> "{\"id\":1}"`, `<< "{\"job\":\"<&\u2028\"}"`},
		}}
	case minecanary.NotPool:
		v.Evidence = []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Strong, At: at, Summary: "HTTP"}}
	}
	return v
}

// documents are the golden documents: each kind in every form it can take.
func documents() map[string]any {
	six := minecanary.NewEndpoint(netip.MustParseAddr("2001:db8::10"), 443, minecanary.UDP)
	docs := map[string]any{}
	for _, status := range []minecanary.HitStatus{minecanary.HitConfirmed, minecanary.HitKnown, minecanary.HitSuspected} {
		h := hit()
		h.Status = status
		docs["hit-"+string(status)] = New(&h)
	}
	h := hit()
	h.ServerName, h.Login = "pool.example", "wallet.worker"
	docs["hit-name"] = New(&h)
	h = hit()
	h.Client, h.Server, h.UID = netip.MustParseAddr("2001:db8:1::5"), six, minecanary.NewUID([]byte("1234567890"))
	docs["hit-ipv6"] = New(&h)
	h = hit()
	// What a list alone says: no verdict, no score, no sensor.
	h.Status, h.Verdict, h.Score, h.UID, h.Sensor = minecanary.HitKnown, minecanary.Verdict{}, minecanary.Score{}, minecanary.UID{}, ""
	h.Evidence = []minecanary.Evidence{{Kind: "block-list", Strength: minecanary.Strong, At: h.Found, Summary: "ours"}}
	docs["hit-bare"] = New(&h)

	for _, status := range []minecanary.VerdictStatus{
		minecanary.Confirmed, minecanary.Node, minecanary.NotPool, minecanary.Inconclusive, minecanary.Blocked, minecanary.Unknown,
	} {
		docs["probe-"+string(status)] = NewProbe(verdict(status))
	}
	v := verdict(minecanary.Confirmed)
	docs["pool-ipv4"] = NewPool(v)
	v.Endpoint, v.Coin, v.FirstConfirmed, v.Evidence = six, "", time.Time{}, nil
	docs["probe-ipv6"], docs["pool-ipv6"] = NewProbe(v), NewPool(v)

	at := v.At
	message := NewDead(at, "json", "invalid character 'x'", []byte("x\u2028<"))
	partition, offset := int32(0), int64(0)
	message.Topic, message.Partition, message.Offset = "zeek", &partition, &offset
	docs["dead-message"] = message
	binary := NewDead(at, "time_range", "", []byte{0xff, 0})
	binary.Topic, binary.Partition, binary.Offset = "zeek", &partition, &offset
	docs["dead-binary"] = binary
	line := NewDead(at, "line_too_long", "", nil)
	line.File, line.Line, line.Offset = "conn.log", 7, &offset
	docs["dead-line"] = line
	refused := NewDead(at, "elasticsearch", "document_parsing_exception: no", []byte("{}"))
	refused.Index, refused.ID = "logs-minecanary.hit-default", "id"
	docs["dead-document"] = refused

	note := Annotation{Status: minecanary.HitConfirmed, Endpoint: v.Endpoint, Pool: "p", Coin: "monero", Dialect: "cryptonote", Score: 9, Threshold: 9, Scorer: "canary"}
	docs["enriched-full"] = map[string]any{"uid": "CXYZ", "id.orig_h": "10.0.0.5", "minecanary": note}
	docs["enriched-bare"] = map[string]any{"minecanary": Annotation{Status: minecanary.HitKnown, Endpoint: verdict("").Endpoint, Scorer: "nemea"}}
	return docs
}

// TestGolden holds every document against the bytes that were released, and against its schema.
func TestGolden(t *testing.T) {
	docs := documents()
	for name, doc := range docs {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(doc, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			kind, _, _ := strings.Cut(name, "-")
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			if err := compile(t, kind).Validate(value); err != nil {
				t.Error(err)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(docs) {
		t.Errorf("%d golden files for %d documents, %v", len(files), len(docs), err)
	}
}

// TestSchemasRefuse: a schema that lets everything through says nothing.
func TestSchemasRefuse(t *testing.T) {
	for _, tt := range []struct{ doc, old, instead string }{
		{"hit-confirmed", `"kind":"alert"`, `"kind":"signal"`},
		{"hit-confirmed", `"ip":"10.0.0.5"`, `"ip":"pool.example"`},
		{"hit-confirmed", `"port":3333`, `"port":65536`},
		{"hit-confirmed", `"message"`, `"text"`},
		{"hit-confirmed", `"slices":10`, `"slices":"10"`},
		{"hit-confirmed", `"status":"confirmed",`, ``},
		{"probe-blocked", `"outcome":"failure"`, `"outcome":"bad"`},
		{"probe-blocked", `"198.51.100.10:3333"`, `"198.51.100.10"`},
		{"pool-ipv4", `"verdict":"confirmed"`, `"verdict":"node"`},
		{"pool-ipv4", `2026-03-01T12:00:00.123Z`, `yesterday`},
		{"dead-message", `"partition":0,`, ``},
		{"dead-message", `"reason":"json"`, `"reason":"a sentence"`},
		{"dead-binary", `"sample_base64"`, `"sample":"x","sample_base64"`},
		{"dead-binary", `"/wA="`, `"!"`},
		{"enriched-full", `"status":"confirmed"`, `"status":"suspected"`},
		{"enriched-full", `"scorer":"canary"`, `"scorer":"canary","x":1`},
	} {
		t.Run(tt.doc+" "+tt.instead, func(t *testing.T) {
			b, err := json.Marshal(documents()[tt.doc])
			if err != nil {
				t.Fatal(err)
			}
			broken := bytes.ReplaceAll(b, []byte(tt.old), []byte(tt.instead))
			if bytes.Equal(b, broken) {
				t.Fatalf("no %s in %s", tt.old, b)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(broken))
			if err != nil {
				t.Fatal(err)
			}
			kind, _, _ := strings.Cut(tt.doc, "-")
			if compile(t, kind).Validate(value) == nil {
				t.Errorf("accepted %s", broken)
			}
		})
	}
}

// fields gives what a schema promises: the type of every field by its path.
func fields(t *testing.T, name string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(schemaDir, name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	walk(root, root, "", out)
	return out
}

func walk(root, s map[string]any, path string, out map[string]string) {
	for ref, ok := s["$ref"].(string); ok; ref, ok = s["$ref"].(string) {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if path != "" {
		out[path] = typeOf(s)
	}
	if items, ok := s["items"].(map[string]any); ok {
		walk(root, items, path+"[]", out)
	}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		walk(root, p.(map[string]any), strings.TrimPrefix(path+"."+name, "."), out)
	}
}

func typeOf(s map[string]any) string {
	if kind, ok := s["type"].(string); ok {
		return kind
	}
	value := s["const"]
	if enum, ok := s["enum"].([]any); ok {
		value = enum[0]
	}
	return fmt.Sprintf("%T", value)
}

// TestCompatible: a field that was promised stays, and keeps its type. New fields are free; -update promises them.
func TestCompatible(t *testing.T) {
	const file = schemaDir + "/v1.fields.json"
	now := map[string]map[string]string{}
	for _, name := range schemas {
		now[name] = fields(t, name)
	}
	if *update {
		b, err := json.MarshalIndent(now, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var released map[string]map[string]string
	if err := json.Unmarshal(b, &released); err != nil {
		t.Fatal(err)
	}
	for name, fields := range released {
		if len(fields) == 0 {
			t.Errorf("%s promises nothing", name)
		}
		for _, problem := range incompatible(fields, now[name]) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func incompatible(released, now map[string]string) (problems []string) {
	for _, path := range slices.Sorted(maps.Keys(released)) {
		switch kind, ok := now[path]; {
		case !ok:
			problems = append(problems, path+" vanished")
		case kind != released[path]:
			problems = append(problems, path+" was "+released[path]+" and is "+kind)
		}
	}
	return problems
}

func TestIncompatible(t *testing.T) {
	got := incompatible(map[string]string{"a": "string", "b": "integer", "c": "string"}, map[string]string{"a": "string", "b": "string", "d": "string"})
	if diff := cmp.Diff([]string{"b was integer and is string", "c vanished"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDocumentIDs: an id changes with what makes a document another one, and with nothing else.
func TestDocumentIDs(t *testing.T) {
	h := hit()
	id := New(&h).ID()
	if want := h.ID() + "-1-mining-pool-verified"; id != want {
		t.Errorf("got %s, want %s", id, want)
	}
	h.Found = h.Found.Add(time.Hour)
	h.EventScale++
	if New(&h).ID() != id {
		t.Error("the id changes with what is found")
	}
	h.Status = minecanary.HitSuspected
	if New(&h).ID() == id {
		t.Error("what was suspected and is confirmed now has the same id")
	}

	v := verdict(minecanary.Confirmed)
	probe := NewProbe(v).ID()
	if len(probe) != 32 || NewPool(v).ID() != probe {
		t.Errorf("ids %s and %s", probe, NewPool(v).ID())
	}
	same := v
	same.At, same.Reason = v.At.Truncate(time.Millisecond).In(time.FixedZone("x", 3600)), "another"
	if NewProbe(same).ID() != probe {
		t.Error("the id changes with the zone, or with less than a millisecond")
	}
	for name, change := range map[string]func(*minecanary.Verdict){
		"address":   func(v *minecanary.Verdict) { v.Endpoint.Addr = v.Endpoint.Addr.Next() },
		"port":      func(v *minecanary.Verdict) { v.Endpoint.Port++ },
		"transport": func(v *minecanary.Verdict) { v.Endpoint.Transport = minecanary.UDP },
		"time":      func(v *minecanary.Verdict) { v.At = v.At.Add(time.Millisecond) },
	} {
		other := verdict(minecanary.Confirmed)
		change(&other)
		if NewProbe(other).ID() == probe {
			t.Errorf("another %s has the same id", name)
		}
	}
}

func TestDeadKeepsNothing(t *testing.T) {
	sample := []byte{0xff, 1}
	d := NewDead(time.Time{}, "json", "", sample)
	sample[0] = 0
	if d.Sample != "" || !bytes.Equal(d.SampleBase64, []byte{0xff, 1}) {
		t.Errorf("%+v", d)
	}
}

// TestMapped: Elasticsearch's template names the type of every field of the documents that go there, and of no other.
func TestMapped(t *testing.T) {
	b, err := os.ReadFile("../../docker/elasticsearch/component_template/minecanary-ecs@mappings.json")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Template struct {
			Mappings map[string]any `json:"mappings"`
		} `json:"template"`
	}
	if err := json.Unmarshal(b, &template); err != nil {
		t.Fatal(err)
	}
	mapped := map[string]string{}
	var read func(prefix string, properties any)
	read = func(prefix string, properties any) {
		for name, v := range properties.(map[string]any) {
			p := v.(map[string]any)
			if inner, ok := p["properties"]; ok {
				read(prefix+name+".", inner)
			} else {
				mapped[prefix+name] = p["type"].(string)
			}
		}
	}
	read("", template.Template.Mappings["properties"])
	types := map[string][]string{
		"string": {"keyword", "text", "ip", "date"}, "integer": {"long"}, "number": {"float", "double"}, "boolean": {"boolean"},
	}
	promised := map[string]bool{}
	for _, name := range []string{"hit", "probe", "pool"} {
		for path, kind := range fields(t, name) {
			if kind == "object" || kind == "array" {
				continue
			}
			path = strings.ReplaceAll(path, "[]", "") // Elasticsearch's fields are lists anyway
			promised[path] = true
			if !slices.Contains(types[kind], mapped[path]) {
				t.Errorf("%s: %s is %s and mapped as %q", name, path, kind, mapped[path])
			}
		}
	}
	for path := range mapped {
		if !promised[path] {
			t.Errorf("%s is mapped and in no document", path)
		}
	}
}

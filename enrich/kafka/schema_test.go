package kafka

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/minecanary/minecanary"
)

// TestSchemas: what goes to a topic is what docs/schema promises.
func TestSchemas(t *testing.T) {
	r := &recorder{}
	names := DefaultNames()
	names.Enriched = DefaultEnriched
	dead := NewDeadLetters(r, names.Dead, time.Now, nil)
	s := NewSink(r, names, dead, nil)
	sequel := hit(1)
	sequel.Sequence, sequel.Status = 1, minecanary.HitSuspected
	blocked := verdict(minecanary.Blocked)
	blocked.Dialect, blocked.Coin, blocked.FirstConfirmed, blocked.Evidence = "", "", time.Time{}, nil
	for _, err := range []error{
		s.Write(t.Context(), []minecanary.Hit{hit(1), sequel}),
		s.Probed(t.Context(), []minecanary.Verdict{verdict(minecanary.Confirmed), blocked}),
		dead.Add(t.Context(), Dead{Topic: "zeek", Reason: "json", Error: "line 1", Sample: []byte("{")}),
		dead.Add(t.Context(), Dead{Topic: "zeek", Partition: 7, Offset: 1 << 40, Reason: "json", Sample: []byte("\xff")}),
		dead.Add(t.Context(), Dead{Index: "logs-minecanary.hit-default", ID: "1", Reason: "refused", Sample: []byte("{}")}),
		dead.Flush(t.Context()),
		NewAnnotator(r, names.Enriched, nil).Annotate(t.Context(), []Annotated{
			{[]byte(`{"a":1}`), client, note}, {[]byte("a\tb"), client, note}, {[]byte("\xff"), client, note},
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	schemas := map[string]*jsonschema.Schema{}
	for topic, name := range map[string]string{
		names.Hits: "hit", names.Pools: "pool", names.Probes: "probe", names.Dead: "dead", names.Enriched: "enriched",
	} {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		schema, err := c.Compile(filepath.Join("..", "..", "docs", "schema", name+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		schemas[topic] = schema
	}
	seen := map[string]int{}
	for _, m := range r.msgs {
		seen[m.Topic]++
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Value))
		if err != nil {
			t.Fatal(err)
		}
		if err := schemas[m.Topic].Validate(doc); err != nil {
			t.Errorf("%s: %s: %v", m.Topic, m.Value, err)
		}
	}
	for topic := range schemas {
		if seen[topic] == 0 {
			t.Errorf("nothing was written to %s", topic)
		}
	}
}

package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/prober"
)

var update = flag.Bool("update", false, "renew minecanary.yaml and docs/config.md")

// golden compares with a file, or renews it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not up to date (go test -update renews it): %s", file, diff)
	}
}

func show(tb testing.TB, c *config.Config) string {
	tb.Helper()
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestShippedFile(t *testing.T) {
	golden(t, "minecanary.yaml", show(t, config.Default()))
	c, err := config.Load("minecanary.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Equal(config.Default()) {
		t.Error(cmp.Diff(show(t, config.Default()), show(t, c)))
	}
	data, err := os.ReadFile("minecanary.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, compile(t), data); err != nil {
		t.Error(err)
	}
}

func TestReference(t *testing.T) {
	golden(t, filepath.Join("..", "..", "..", "docs", "config.md"), config.Reference())
}

// TestDefault spells the defaults, so that none changes unseen.
func TestDefault(t *testing.T) {
	want := config.Config{
		Input:   config.Input{Format: "auto", RedisKey: "suricata", RedisMode: "lpush"},
		Slice:   config.Slice{Virtual: 60 * time.Second, Cumulative: true},
		Suspect: config.Suspect{Inactive: 900 * time.Second, Active: 3600 * time.Second, Max: 1000000, Keep: 24 * time.Hour},
		Report:  config.Report{Window: 3600 * time.Second, Lateness: 900 * time.Second},
		Score:   config.Score{Scorer: "canary"},
		Prober: config.Prober{
			Mode: "off", ConnectTimeout: 5 * time.Second, AnswerTimeout: 12 * time.Second, EndpointTimeout: 45 * time.Second,
			Concurrency: 16, PerClientHour: 5, PerNetworkHour: 8, PerASHour: 64, PerSecond: 1, Burst: 10,
			CataloguePerSec: 2, CatalogueBurst: 10, Expiry: 24 * time.Hour,
		},
		Hits:  config.Hits{File: "hits.ndjson"},
		Feed:  config.Feed{RewriteEvery: 60 * time.Second, MaxAge: 24 * time.Hour, MaxNew: 500, MaxChange: 20, MaxHosts: 100, SIDBase: 9100000},
		Watch: config.Watch{MailSecurity: "starttls"},
		State: config.State{Dir: "state", SnapshotEvery: 10 * time.Second},
		HTTP:  config.HTTP{Listen: "127.0.0.1:9417"},
		Log:   config.Log{Level: "info", Format: "text"},
		Catalogue: config.Catalogue{
			Report: true, Retention: 17520 * time.Hour, ResolveEvery: 1800 * time.Second, PerZone: 1, ProbeEvery: 10800 * time.Second,
		},
		API: config.API{Listen: "127.0.0.1:9480", Anonymous: "viewer"},
		Kafka: config.Kafka{
			ClientID: "minecanary", SASL: "none", Group: "minecanary", From: "earliest", Rebuild: 168 * time.Hour,
			HitsTopic: "minecanary.hits", PoolsTopic: "minecanary.pools", ProbesTopic: "minecanary.probes", DeadTopic: "minecanary.dead",
		},
		Redis:         config.Redis{Mode: "single", Prefix: "mc"},
		Elasticsearch: config.Elasticsearch{Retention: 2160 * time.Hour},
	}
	got := config.Default()
	if !got.Equal(&want) {
		t.Error(cmp.Diff(show(t, &want), show(t, got)))
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if got.AuditFile() != filepath.Join("state", "audit.ndjson") {
		t.Errorf("audit file is %s", got.AuditFile())
	}
}

func TestLoad(t *testing.T) {
	text := `
input:
  files: ["/logs/conn.*.log", /logs/a b.log]
  dead_letter: '-'
network:
  local: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32"]
suspect: {max: 2_000_000, active: 1h30m}
report:
  suspected: true
score:
  threshold: 6.5
prober:
  mode: auto
  contact: "noc@example.org"
  deny_ports: [8080, 65535]
  per_second: 0.5
  agent: ''
  connect_timeout: 1500ms
lists:
state:
  dir: "2026"
`
	c, err := config.Parse("m.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Input.Files = []string{"/logs/conn.*.log", "/logs/a b.log"}
	want.Input.DeadLetter = "-"
	want.Network.Local = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32"),
	}
	want.Suspect.Max, want.Suspect.Active = 2000000, 90*time.Minute
	want.Report.Suspected = true
	want.Score.Threshold = 6.5
	want.Prober.Mode, want.Prober.Contact = "auto", "noc@example.org"
	want.Prober.DenyPorts = []uint16{8080, 65535}
	want.Prober.PerSecond, want.Prober.ConnectTimeout = 0.5, 1500*time.Millisecond
	want.State.Dir = "2026"
	if !c.Equal(want) {
		t.Error(cmp.Diff(show(t, want), show(t, c)))
	}

	t.Run("shown and read again it is equal", func(t *testing.T) {
		again, err := config.Parse("shown.yaml", []byte(show(t, c)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Equal(c) {
			t.Error(cmp.Diff(show(t, c), show(t, again)))
		}
	})
	t.Run("shown", func(t *testing.T) {
		shown := show(t, c)
		for _, want := range []string{
			"  # Default: 1000000\n  max: 2000000\n", "  # Default: \"\"\n  dead_letter: \"-\"\n",
			"  files:\n    - /logs/conn.*.log\n    - \"/logs/a b.log\"\n", "    - 2001:db8::/32\n", "  dir: \"2026\"\n",
			"  active: 5400s\n", "  connect_timeout: 1500ms\n", "  per_second: 0.5\n", "  contact: noc@example.org\n", "  keep: 24h\n",
		} {
			if !strings.Contains(shown, want) {
				t.Errorf("%q is not in\n%s", want, shown)
			}
		}
	})
	for name, text := range map[string]string{
		"empty": "", "comment": "# nothing\n", "null": "~\n", "empty mapping": "{}\n", "null sections": "prober:\nfeed: ~\n", "empty lists": "input:\n  files: []\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse("m.yaml", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !c.Equal(config.Default()) {
				t.Error(cmp.Diff(show(t, config.Default()), show(t, c)))
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if c, err := config.Load("", nil); err != nil || !c.Equal(config.Default()) {
			t.Errorf("%v, %v", c, err)
		}
		if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "large.yaml")
		if err := os.WriteFile(file, bytes.Repeat([]byte("#\n"), config.MaxFile/2+1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(file, nil)
		if want := fmt.Sprintf("%s: must not be larger than %d bytes", file, config.MaxFile); err == nil || err.Error() != want {
			t.Errorf("error is %v", err)
		}
	})
}

// TestBadFiles reads testdata/*.bad.yaml; lines that start with #! are the messages to expect.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if message, ok := strings.CutPrefix(line, "#! "); ok {
					want = append(want, file+":"+strings.TrimSuffix(message, "\n"))
				}
			}
			_, err = config.Load(file, nil)
			if _, ok := errors.AsType[config.Problems](err); !ok {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	file := "input:\n  files: [a.log]\nprober:\n  mode: auto\n"
	environ := []string{
		"PATH=/bin", "MINECANARY_PROBER_CONTACT=a=b@example.org", "MINECANARY_INPUT_FILES= x.log, y.log",
		"MINECANARY_NETWORK_LOCAL=10.0.0.0/8,2001:db8::/32", "MINECANARY_PROBER_DENY_PORTS=1,2", "MINECANARY_REPORT_SUSPECTED=true",
		"MINECANARY_SUSPECT_MAX=5000", "MINECANARY_PROBER_PER_SECOND=2", "MINECANARY_HITS_FILE=", "MINECANARY_LOG_LEVEL=warn",
		// Kubernetes, for a service named minecanary.
		"MINECANARY_SERVICE_HOST=10.96.0.7", "MINECANARY_SERVICE_PORT=9417", "MINECANARY_SERVICE_PORT_HTTP=9417", "MINECANARY_PORT=tcp://10.96.0.7:9417",
		"MINECANARY_PORT_9417_TCP=tcp://10.96.0.7:9417", "MINECANARY_PORT_9417_TCP_ADDR=10.96.0.7",
	}
	c, err := config.Parse("m.yaml", []byte(file), environ,
		config.Setting{Name: "--log", Path: "log.level", Value: "info"}, config.Setting{Name: "--log", Path: "log.level", Value: "debug"},
		config.Setting{Name: "--block", Path: "lists.block", Value: ""})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Input.Files = []string{"x.log", "y.log"}
	want.Prober.Mode, want.Prober.Contact = "auto", "a=b@example.org"
	want.Prober.DenyPorts, want.Prober.PerSecond = []uint16{1, 2}, 2
	want.Network.Local = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	want.Report.Suspected, want.Suspect.Max, want.Hits.File, want.Log.Level = true, 5000, "", "debug"
	if !c.Equal(want) {
		t.Error(cmp.Diff(show(t, want), show(t, c)))
	}

	t.Run("bad", func(t *testing.T) {
		_, err := config.Parse("m.yaml", []byte("input:\n  files: [\"[\"]\nlog:\n  level: loud\n"), []string{
			"MINECANARY_PROBER_CONTAKT=x", "MINECANARY_WHAT=x", "MINECANARY_=x", "MINECANARY_PROBER_MODE=auto", "MINECANARY_SUSPECT_MAX=",
			"MINECANARY_INPUT_FILES=a,,b", "MINECANARY_NETWORK_LOCAL=10.0.0.1/8,10.0.0.0/8", "MINECANARY_LOG_FORMAT=text\xff",
			"MINECANARY_SLICE_VIRTUAL=2h", "MINECANARY_NOTHING=1",
		}, config.Setting{Name: "--probe", Path: "prober.mod", Value: "x"}, config.Setting{Name: "--x", Path: "nonsense", Value: "x"})
		want := []string{
			`m.yaml:4: log.level: must be debug, info, warn or error, not "loud"`,
			`MINECANARY_PROBER_CONTAKT: unknown variable (did you mean MINECANARY_PROBER_CONTACT?)`,
			`MINECANARY_WHAT: unknown variable (variables are named after the key, such as MINECANARY_INPUT_FILES)`,
			`MINECANARY_: unknown variable (variables are named after the key, such as MINECANARY_INPUT_FILES)`,
			`MINECANARY_SUSPECT_MAX: suspect.max: must be a whole number, not ""`,
			`MINECANARY_NETWORK_LOCAL: network.local[0]: must have no bits beyond its length: 10.0.0.0/8, not "10.0.0.1/8"`,
			`MINECANARY_NOTHING: unknown variable (variables are named after the key, such as MINECANARY_INPUT_FILES)`,
			`--probe: prober.mod: unknown key (did you mean prober.mode?)`,
			`--x: nonsense: unknown key (the sections are input, network, slice, suspect, report, score, lists, prober, hits, feed, state, http, log, watch, catalogue, api, kafka, redis, elasticsearch and kibana)`,
			`MINECANARY_INPUT_FILES: input.files[1]: must not have an empty element`,
			`MINECANARY_SLICE_VIRTUAL: slice.virtual: must be from 1s to 1h, not "7200s"`,
			`MINECANARY_LOG_FORMAT: log.format: must be valid UTF-8`,
			`MINECANARY_PROBER_MODE: prober.contact: must not be empty with prober.mode auto: the people who are probed must be able to find you`,
		}
		if diff := cmp.Diff(want, strings.Split(fmt.Sprint(err), "\n")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestValidateAfterAChange(t *testing.T) {
	c, err := config.Parse("m.yaml", []byte("state:\n  dir: x\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.State.Dir = ""
	c.Prober.PerSecond = math.NaN()
	c.Prober.Allow = []netip.Prefix{{}}
	want := []string{
		"m.yaml:2: state.dir: must not be empty",
		"prober.allow[0]: must not be every address there is; name the networks",
		`prober.per_second: must be from 0.01 to 100, not "NaN"`,
	}
	if diff := cmp.Diff(want, strings.Split(fmt.Sprint(c.Validate()), "\n")); diff != "" {
		t.Error(diff)
	}
}

// TestBounds tries both ends of every range: the end is allowed, one step beyond is not.
func TestBounds(t *testing.T) {
	tests := []struct {
		path     string
		min, max string
		low, top string
		with     string
	}{
		{"slice.virtual", "1s", "1h", "999ms", "3600001ms", ""},
		{"suspect.inactive", "1s", "24h", "0s", "25h", "MINECANARY_SUSPECT_ACTIVE=24h"},
		{"suspect.active", "60s", "168h", "59s", "169h", "MINECANARY_SUSPECT_INACTIVE=1s MINECANARY_SUSPECT_KEEP=720h"},
		{"suspect.max", "1000", "100000000", "999", "100000001", ""},
		{"suspect.keep", "60s", "720h", "59s", "721h", "MINECANARY_SUSPECT_INACTIVE=1s MINECANARY_SUSPECT_ACTIVE=60s"},
		{"report.window", "1m", "24h", "59s", "25h", ""},
		{"report.lateness", "0s", "24h", "-1ms", "25h", ""},
		{"score.threshold", "0", "1000", "-0.1", "1000.1", ""},
		{"prober.connect_timeout", "100ms", "30s", "99ms", "31s", ""},
		{"prober.answer_timeout", "100ms", "30s", "99ms", "31s", ""},
		{"prober.endpoint_timeout", "1s", "45s", "999ms", "46s", "MINECANARY_PROBER_CONNECT_TIMEOUT=100ms MINECANARY_PROBER_ANSWER_TIMEOUT=100ms"},
		{"prober.concurrency", "1", "256", "0", "257", ""},
		{"prober.per_client_hour", "1", "10000", "0", "10001", ""},
		{"prober.per_network_hour", "1", "10000", "0", "10001", ""},
		{"prober.per_as_hour", "1", "10000", "0", "10001", ""},
		{"prober.catalogue_per_second", "0.01", "100", "0.009", "100.1", ""},
		{"prober.catalogue_burst", "1", "1000", "0", "1001", ""},
		{"prober.per_second", "0.01", "100", "0.009", "100.1", ""},
		{"prober.burst", "1", "1000", "0", "1001", ""},
		{"prober.expiry", "10m", "720h", "599s", "721h", ""},
		{"prober.deny_ports", "1", "65535", "0", "65536", ""},
		{"feed.rewrite_every", "1s", "5m", "999ms", "301s", ""},
		{"feed.max_age", "1m", "720h", "59s", "721h", ""},
		{"state.snapshot_every", "1s", "10m", "0s", "601s", ""},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			try := func(value string) error {
				_, err := config.Parse("", nil, strings.Fields(tt.with), config.Setting{Name: "x", Path: tt.path, Value: value})
				return err
			}
			for _, good := range []string{tt.min, tt.max} {
				if err := try(good); err != nil {
					t.Errorf("%s: %v", good, err)
				}
			}
			for _, bad := range []string{tt.low, tt.top} {
				if err := try(bad); err == nil || !strings.Contains(err.Error(), "must be from ") {
					t.Errorf("%s: %v", bad, err)
				}
			}
		})
	}
}

// TestProberAgrees holds the ranges against the prober's own: what is valid here is valid there.
func TestProberAgrees(t *testing.T) {
	for _, end := range []map[string]string{
		{
			"connect_timeout": "100ms", "answer_timeout": "100ms", "endpoint_timeout": "1s", "per_client_hour": "1",
			"per_network_hour": "1", "per_as_hour": "1", "catalogue_per_second": "0.01", "catalogue_burst": "1", "per_second": "0.01", "burst": "1", "expiry": "10m", "deny_ports": "1",
		},
		{
			"connect_timeout": "30s", "answer_timeout": "15s", "endpoint_timeout": "45s", "per_client_hour": "10000",
			"per_network_hour": "10000", "per_as_hour": "10000", "catalogue_per_second": "100", "catalogue_burst": "1000", "per_second": "100", "burst": "1000", "expiry": "720h", "deny_ports": "65535",
			"agent": strings.Repeat("a", 48), "contact": strings.Repeat("c", 72), "allow": "10.0.0.0/8,fc00::/7",
		},
		{"answer_timeout": "30s"},
	} {
		var settings []config.Setting
		for key, value := range end {
			settings = append(settings, config.Setting{Name: key, Path: "prober." + key, Value: value})
		}
		c, err := config.Parse("", nil, nil, settings...)
		if err != nil {
			t.Fatal(err)
		}
		p := prober.DefaultConfig()
		p.Allow, p.DenyPorts, p.Agent = c.Prober.Allow, c.Prober.DenyPorts, c.Prober.Agent+" ("+c.Prober.Contact+")"
		p.Expiry, p.ClientPerHour, p.NetworkPerHour = c.Prober.Expiry, c.Prober.PerClientHour, c.Prober.PerNetworkHour
		p.ASPerHour = c.Prober.PerASHour
		p.GlobalRate, p.GlobalBurst = c.Prober.PerSecond, c.Prober.Burst
		p.CatalogueRate, p.CatalogueBurst = c.Prober.CataloguePerSec, c.Prober.CatalogueBurst
		p.Connect, p.Timeout, p.EndpointTime = c.Prober.ConnectTimeout, c.Prober.AnswerTimeout, c.Prober.EndpointTimeout
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}

	d, c := prober.DefaultConfig(), config.Default().Prober
	got := []any{c.ConnectTimeout, c.AnswerTimeout, c.EndpointTimeout, c.PerClientHour, c.PerNetworkHour, c.PerASHour, c.PerSecond, c.Burst, c.CataloguePerSec, c.CatalogueBurst, c.Expiry}
	want := []any{d.Connect, d.Timeout, d.EndpointTime, d.ClientPerHour, d.NetworkPerHour, d.ASPerHour, d.GlobalRate, d.GlobalBurst, d.CatalogueRate, d.CatalogueBurst, d.Expiry}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the defaults differ: %s", diff)
	}
}

func TestListen(t *testing.T) {
	for value, good := range map[string]bool{
		"": true, ":0": true, "[::1]:9417": true, "localhost:80": true, "0.0.0.0:65535": true,
		"9417": false, "a:b": false, "::1:9417": false, "a:65536": false, "a:": false, "a:080": false,
	} {
		_, err := config.Parse("", nil, nil, config.Setting{Name: "x", Path: "http.listen", Value: value})
		if (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func compile(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	text, err := config.Schema()
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(config.SchemaID, doc); err != nil {
		tb.Fatal(err)
	}
	schema, err := c.Compile(config.SchemaID)
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

// validate holds a YAML file against the schema, by way of JSON.
func validate(tb testing.TB, schema *jsonschema.Schema, data []byte) error {
	tb.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestSchema(t *testing.T) {
	schema := compile(t)
	tests := []struct {
		name, text string
		good       bool
	}{
		{"empty", "", true},
		{"null section", "prober:\n", true},
		{"values", "input: {files: [a]}\nsuspect: {max: 1000, active: 1h30m}\nnetwork: {local: [10.0.0.0/8, '::1']}\nreport: {suspected: true}\n", true},
		{"unknown section", "probber: {}\n", false},
		{"unknown key", "prober: {modee: off}\n", false},
		{"enum", "log: {level: loud}\n", false},
		{"no unit", "slice: {virtual: 60}\n", false},
		{"bad unit", "slice: {virtual: 1d}\n", false},
		{"no list", "input: {files: a}\n", false},
		{"empty element", "lists: {allow: ['']}\n", false},
		{"range", "prober: {concurrency: 0}\n", false},
		{"port", "prober: {deny_ports: [70000]}\n", false},
		{"no network", "network: {local: [here]}\n", false},
		{"text", "prober: {contact: 1}\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate(t, schema, []byte(tt.text)); (err == nil) != tt.good {
				t.Errorf("schema says %v", err)
			}
			if _, err := config.Parse("m.yaml", []byte(tt.text), nil); (err == nil) != tt.good {
				t.Errorf("loader says %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"minecanary.yaml", "testdata/*.bad.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "")
		}
	}
	f.Add([]byte("input: {files: [\"*.log\", 'a: b', \"\\u00e9#\"]}\nscore: {threshold: 1e1}\n"), "x,y")
	f.Add([]byte("a: &a [*a]\n? [b]\n: <<\n!!binary x: y\nlog: !!str\n"), "~")
	f.Add([]byte("suspect:\n  max: 1_000\n  keep: 48h0.5s\nhits:\n  file: |\n    x\n"), "-: #")
	schema := compile(f)
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		c, err := config.Parse("f", data, []string{"MINECANARY_PROBER_AGENT=" + text, "MINECANARY_LISTS_ALLOW=" + text})
		if err != nil {
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error is %T", err)
			}
			for _, p := range problems {
				if p.Reason == "" || strings.ContainsAny(p.Error(), "\n\r") || p.Line > bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r"))+2 {
					t.Errorf("bad message %q", p.Error())
				}
			}
			return
		}
		shown := []byte(show(t, c))
		again, err := config.Parse("shown", shown, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, shown)
		}
		if !again.Equal(c) {
			t.Fatal(cmp.Diff(string(shown), show(t, again)))
		}
		if err := validate(t, schema, shown); err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			if err := validate(t, schema, data); err != nil {
				t.Fatalf("the loader takes it, the schema does not: %v", err)
			}
		}
	})
}

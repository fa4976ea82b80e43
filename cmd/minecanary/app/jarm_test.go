package app

import (
	"bytes"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/minecanary/minecanary/prober/spar"
)

// TestProbeJARM: probe --jarm tells the fingerprint, for people and for programs; without it none is taken.
func TestProbeJARM(t *testing.T) {
	tests := []struct {
		args []string
		want string // regular expression, "" for no fingerprint
	}{
		{[]string{"--jarm"}, `(?m)^confirmed .*\n(.*\n)? {14}JARM [0-9a-f]{62}$`},
		{[]string{"--jarm", "--json"}, `"strength":"weak","at":"[^"]+","summary":"JARM [0-9a-f]{62}"`},
		{nil, ""},
		{[]string{"--json"}, ""},
	}
	for _, tt := range tests {
		server, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "stratum-v1", TLS: spar.Only})
		if err != nil {
			t.Fatal(err)
		}
		var out, problems bytes.Buffer
		c := newProbe(env{stdin: &bytes.Buffer{}, stdout: &out, stderr: &problems, getenv: func(string) string { return "" }})
		c.SetArgs(append(tt.args, "--allow-probe", "127.0.0.0/8", "--audit", filepath.Join(t.TempDir(), "audit.ndjson"), "stratum+ssl://"+server.Addr().String()))
		err = c.ExecuteContext(t.Context())
		server.Close()
		if err != nil {
			t.Fatalf("%v\n%s", err, problems.String())
		}
		if tt.want == "" && bytes.Contains(out.Bytes(), []byte("JARM")) || !regexp.MustCompile(tt.want).Match(out.Bytes()) {
			t.Errorf("%v: got %s, want %s", tt.args, out.String(), tt.want)
		}
	}
}

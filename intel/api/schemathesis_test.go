package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/api"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// schemathesisTime bounds the run.
const schemathesisTime = 180 * time.Second

// recorder notes the answers of a handler.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// TestSchemathesis has schemathesis (PyPI) look for requests whose answers are not as openapi.yaml describes them, where
// SCHEMATHESIS names the program; test/schemathesis.sh gets it. Every operation must have been carried out at least once.
func TestSchemathesis(t *testing.T) {
	program := os.Getenv("SCHEMATHESIS")
	if program == "" {
		t.Skip("SCHEMATHESIS does not name the program; see test/schemathesis.sh")
	}
	layer, problems := catalog.Parse("rows.yaml", []byte(rows+`
  - id: 2miners
    name: 2Miners
    kind: public
    servers: [{name: xmr.2miners.com, endpoints: [{port: 2222, coin: XMR}]}]
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := newWorld(t, accounts.Viewer, layer)
	// The examples of openapi.yaml are there.
	w.index.SetAddresses("xmr.2miners.com", []lookup.Address{{Name: "xmr.2miners.com", Addr: endpoint("192.0.2.1:2222").Addr}})
	done := http.NewServeMux()
	for _, op := range api.Operations() {
		done.Handle(op.Method+" "+api.Prefix+op.Path, http.NotFoundHandler())
	}
	var mu sync.Mutex
	worked, broken := map[string]int{}, map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, api.Prefix+"/tokens/test-") {
			accounts.Problem(rw, http.StatusConflict, "it would lock itself out")
			return
		}
		rec := &recorder{rw, http.StatusOK}
		w.handler.ServeHTTP(rec, r)
		_, pattern := done.Handler(r)
		mu.Lock()
		defer mu.Unlock()
		if rec.status >= 500 {
			broken[r.Method+" "+r.URL.String()] = rec.status
		}
		if rec.status < 300 {
			worked[pattern]++
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), schemathesisTime)
	defer cancel()
	config, err := filepath.Abs("testdata/schemathesis.toml")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "--config-file", config, "run", server.URL+api.Prefix+"/openapi.json",
		"--header", "Authorization: Bearer "+w.tokens[accounts.Admin], "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
		"--seed", "1", "--continue-on-failure", "--max-examples", "50", "--workers", "1", "--no-color", "--warnings", "off")
	cmd.Dir = t.TempDir() // it leaves its database there
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	for _, op := range api.Operations() {
		if name := op.Method + " " + api.Prefix + op.Path; worked[name] == 0 {
			t.Errorf("%s was never carried out", name)
		}
	}
	for name, status := range broken {
		t.Errorf("%s gave %d", name, status)
	}
}

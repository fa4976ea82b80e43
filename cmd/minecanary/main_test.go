package main

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/minecanary/minecanary/intel/resolver/dnstest"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestMain makes this test binary behave as minecanary when it is called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"minecanary": main})
}

// TestScripts runs every sub-command as a person would. The logs of our generated sessions are in $LOGS, flows of one in
// $FLOWS; a sparring pool
// of each dialect listens on $STRATUM, $CRYPTONOTE, $ETHPROXY and $ZCASH, an echo server on $ECHO, and $CLOSED is a port
// where nobody does. A DNS server at $DNS knows the names of canary-pool.net (zone).
func TestScripts(t *testing.T) {
	logs, err := filepath.Abs("app/demo")
	if err != nil {
		t.Fatal(err)
	}
	flows, err := filepath.Abs("../../consumer/flows/testdata")
	if err != nil {
		t.Fatal(err)
	}
	dns := dnstest.Serve(t, zone)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LOGS", logs)
			e.Setenv("FLOWS", flows)
			e.Setenv("DNS", dns)
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state-home"))
			for name, dialect := range map[string]string{
				"STRATUM": "stratum-v1", "CRYPTONOTE": "cryptonote", "ETHPROXY": "ethproxy", "ZCASH": "zcash", "ECHO": "echo",
			} {
				s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: dialect})
				if err != nil {
					return err
				}
				e.Defer(s.Close)
				e.Setenv(name, s.Addr().String())
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("CLOSED", ln.Addr().String())
			return ln.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"past": past,
			// lines N FILE: the file has N lines.
			"lines": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: lines N FILE")
				}
				if n := strings.Count(ts.ReadFile(args[1]), "\n"); args[0] != strconv.Itoa(n) {
					ts.Fatalf("%s has %d lines, want %s", args[1], n, args[0])
				}
			},
		},
	})
}

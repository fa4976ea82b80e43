package spar_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/minecanary/minecanary/prober/spar"
)

// TestHTTP asks with Go's own client.
func TestHTTP(t *testing.T) {
	t.Parallel()
	const account = "/0x000000000000000000000000000000000000dead"
	ask := func(method string) string { return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":[]}` }
	tests := []struct {
		name, pool, path, body string
		code                   int
		header, want           string
	}{
		{"template", "getblocktemplate", "/", ask("getblocktemplate"), 200, "", `"previousblockhash":"00000000`},
		{"another method", "getblocktemplate", "/", ask("getwork"), 200, "", `"code":-32601`},
		{"template", "locked-node", "/", ask("getblocktemplate"), 401, "Www-Authenticate", "401 Unauthorized"},
		{"work", "getwork", "/", ask("getwork"), 200, "X-Stratum", `"midstate":"`},
		{"another method", "getwork", "/", ask("getblocktemplate"), 200, "", `"code":-32601`},
		{"work", "ethereum-getwork", account + "/rig", ask("eth_getWork"), 200, "", `"result":["0x`},
		{"block", "ethereum-getwork", account, ask("eth_blockNumber"), 200, "", `"message":"Method not found"`},
		{"root", "ethereum-getwork", "/", ask("eth_getWork"), 404, "", "404"},
		{"work", "ethereum-node", "/", ask("eth_getWork"), 200, "", `"result":["0x`},
		{"block", "ethereum-node", "/", ask("eth_blockNumber"), 200, "", `"result":"0x`},
		{"account", "ethereum-node", account, ask("eth_getWork"), 404, "", "404"},
		{"anything", "http-keywords", "/", "?", 200, "", "getblocktemplate"},
		{"anything", "http-accept-all", "/", ask("x"), 200, "", `"id":7,"jsonrpc":"2.0","result":true`},
	}
	for _, tt := range tests {
		t.Run(tt.pool+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: tt.pool, Segments: 5})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tt.code || !strings.Contains(string(body), tt.want) || tt.header != "" && r.Header.Get(tt.header) == "" {
				t.Errorf("%d %v %s, %v; want %d with %s and %q", r.StatusCode, r.Header, body, err, tt.code, tt.header, tt.want)
			}
		})
	}
	exchanges{
		{"a line", "getwork", `{"id":1,"method":"mining.subscribe","params":[]}` + "\n", []string{"HTTP/1.1 400 Bad Request"}},
		{"a line", "websocket", `{"id":1,"method":"mining.subscribe","params":[]}` + "\n", []string{"HTTP/1.1 400 Bad Request"}},
		{
			"two requests on a connection", "ethereum-node", strings.Repeat("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 2),
			[]string{"HTTP/1.1 200 OK", "Content-Type", "Content-Length", "\r\n", "-32601", "HTTP/1.1 200 OK"},
		},
	}.test(t)
}

package spar_test

import "testing"

// TestGrin: what was recorded of open-grin-pool.
func TestGrin(t *testing.T) {
	t.Parallel()
	exchanges{
		{
			"miner", "grin", `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"probe"}}` + "\n" + `{"id":"1","method":"getjobtemplate","params":null}` + "\n",
			[]string{`{"id":"0","jsonrpc":"2.0","method":"login","result":"ok","error":null}`, `"pre_pow":"0005`},
		},
		{"an integer for an id", "grin", `{"id":1,"method":"login","params":{}}` + "\n", []string{"silent"}},
		{"another method", "grin", `{"id":"1","method":"mining.subscribe","params":[]}` + "\n", []string{`"method":"mining.subscribe","result":null,"error":{"code":-32601`}},
	}.test(t)
}

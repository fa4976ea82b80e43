package spar_test

import "testing"

// TestBeam: what Beam's source says.
func TestBeam(t *testing.T) {
	t.Parallel()
	exchanges{
		{"miner", "beam", `{"id":"login","jsonrpc":"2.0","method":"login","api_key":"x"}` + "\n", []string{`"code":0`, `"method":"job"`}},
		{"another method", "beam", `{"id":1,"method":"mining.subscribe","params":[]}` + "\n", []string{"silent"}},
	}.test(t)
}

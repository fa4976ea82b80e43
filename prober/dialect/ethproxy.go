package dialect

import "strings"

// nobodysAccount is a well-formed Ethereum address whose key nobody has; pools refuse malformed ones and zero.
const nobodysAccount = "0x000000000000000000000000000000000000dead"

// ethproxy is Ethereum's getWork over lines (dwarfpool's eth-proxy, ethminer's stratum1).
func ethproxy() Dialect {
	return Dialect{
		Name: Ethproxy,
		Ask: func(Target) []Request {
			return []Request{
				jsonLine("eth_submitLogin", `{"id":1,"jsonrpc":"2.0","method":"eth_submitLogin","worker":"eth1.0","params":["`,
					nobodysAccount, `","x"]}`),
				jsonLine("eth_getWork", `{"id":2,"jsonrpc":"2.0","method":"eth_getWork","params":[]}`),
			}
		},
		judge: func(m *message, s *seen) Finding {
			if !m.isAnswer() || !isWork(m.result) {
				return Finding{}
			}
			f := Finding{
				Level: Proof, Dialect: Ethproxy, Coin: "ethereum-family", Job: ethereumJob(m.result),
				Summary: "work of header hash, seed hash and target",
			}
			if s.foreign {
				// Nodes, too, speak JSON-RPC in lines, and hand out work; but they know no login.
				f.Level, f.Summary = Strong, "work without a login, from a pool or a node"
			}
			return f
		},
	}
}

// longestTarget is the length of the easiest target of work, in hex digits without leading zeros: Ethash's least difficulty
// is 2^17, so that even half of it leaves four zeros. A third hash beside two others has them once in 65536 times.
const longestTarget = 60

// isWork tells the result of eth_getWork: header hash and seed hash of exactly 32 bytes, the target, whose zeros may be
// left out, and with some pools the block number. Lists of nothing but hashes are told apart by the target.
func isWork(v any) bool {
	work, ok := array(v, 3, 4)
	if !ok {
		return false
	}
	for i, element := range work {
		s, _ := element.(string)
		digits, ok := strings.CutPrefix(s, "0x")
		if !ok || digits == "" || len(digits) > 64 || i < 2 && len(digits) != 64 || !hexDigits(digits) {
			return false
		}
		if i == 2 && len(strings.TrimLeft(digits, "0")) > longestTarget {
			return false
		}
	}
	return true
}

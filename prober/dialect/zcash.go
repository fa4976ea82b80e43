package dialect

// zcash is ZIP 301, the Stratum of Zcash and other Equihash coins (s-nomp).
func zcash() Dialect {
	return Dialect{
		Name: Zcash,
		Ask: func(t Target) []Request {
			return []Request{jsonLine("mining.subscribe", `{"id":1,"jsonrpc":"2.0","method":"mining.subscribe","params":[`,
				quoteJSON(t.agent(zcashAgent)), `,null,`, quoteJSON(t.Host), `,`, quoteJSON(t.Port), `]}`)}
		},
		judge: func(m *message, s *seen) Finding {
			switch {
			case m.method == "mining.notify" && isZcashJob(m.params):
				return Finding{Level: Proof, Dialect: Zcash, Coin: "zcash", Summary: "mining.notify with an Equihash header's parameters"}
			case m.isAnswer() && isSession(m.result):
				s.session = true
			case m.method == "mining.set_target" && isTarget(m.params):
				s.target = true
			default:
				return Finding{}
			}
			f := Finding{Level: Strong, Dialect: Zcash, Summary: "half of a ZIP 301 subscription"}
			if s.session && s.target {
				f.Level, f.Summary = Proof, "a ZIP 301 session with nonce1, and mining.set_target"
			}
			return f
		},
	}
}

// isSession tells ZIP 301's result of mining.subscribe: [session or null, nonce1].
func isSession(v any) bool {
	r, ok := array(v, 2, 2)
	return ok && (r[0] == nil || isName(r[0])) && isHex(r[1], 2, 64)
}

// isTarget tells the parameters of mining.set_target: 32 bytes.
func isTarget(v any) bool {
	p, ok := array(v, 1, 1)
	return ok && isHex(p[0], 64, 64)
}

// isZcashJob tells the parameters of ZIP 301's mining.notify: job, version, previous hash, merkle root, reserved, time,
// bits, clean; Zhash coins add the algorithm and the personalization.
func isZcashJob(v any) bool {
	p, ok := array(v, 8, 10)
	if !ok || len(p) == 9 || !isName(p[0]) || !isHex(p[1], 8, 8) || !isHex(p[2], 64, 64) || !isHex(p[3], 64, 64) ||
		!isHex(p[4], 64, 64) || !isHex(p[5], 8, 8) || !isHex(p[6], 8, 8) {
		return false
	}
	if _, ok := p[7].(bool); !ok {
		return false
	}
	return len(p) == 8 || isName(p[8]) && isName(p[9])
}

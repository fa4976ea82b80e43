package dialect

import "strings"

// zcash is ZIP 301, the Stratum of Zcash and other Equihash coins (s-nomp). It is not asked for: its pools take the other
// dialects' mining.subscribe.
func zcash() Dialect {
	return Dialect{
		Name: Zcash,
		judge: func(m *message, s *seen) Finding {
			switch {
			case m.method == methodNotify && isZcashJob(m.params):
				return zcashJob(m.params.([]any))
			case m.isAnswer() && isSession(m.result):
				s.session = true
			case m.method == methodTarget && isTarget(m.params):
				s.target = true
			default:
				return Finding{}
			}
			f := Finding{Level: Strong, Dialect: Zcash, Summary: "half of a ZIP 301 subscription"}
			if s.session && s.target {
				// KawPow begins with the same; its job tells.
				f.Level, f.Summary = Proof, "a ZIP 301 session with nonce1, and mining.set_target"
			}
			if m.method == methodTarget {
				f.Job.Difficulty = hashesPer(m.params.([]any)[0].(string))
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
		!isHex(p[4], 64, 64) || !isHex(p[5], 8, 8) || !isHex(p[6], 8, 8) || !isBool(p[7]) {
		return false
	}
	return len(p) == 8 || isName(p[8]) && isName(p[9])
}

// personalizations are the words that Zhash coins begin their hashing with, by coin.
var personalizations = map[any]string{
	"ZcashPoW": "zcash", "BgoldPoW": "bitcoin-gold", "BitcoinZ": "bitcoinz", "ZelProof": "flux",
	"ZERO_PoW": "zero", "AnonyPoW": "anon", "sngemPoW": "snowgem",
}

// zcashJob reads what isZcashJob told. The nonce is all that changes from miner to miner.
func zcashJob(p []any) Finding {
	f := Finding{Level: Proof, Dialect: Zcash, Coin: "zcash", Summary: "mining.notify with an Equihash header's parameters"}
	f.Job.PreviousHash = strings.ToLower(p[2].(string))
	f.Job.Template = template(p[1].(string), p[2].(string), p[3].(string), p[4].(string), p[6].(string))
	if len(p) == 10 {
		f.Job.Algorithm = word(p[8].(string))
		if f.Coin = personalizations[p[9]]; f.Coin == "" {
			f.Coin = "equihash-family"
		}
	}
	return f
}

package dialect

// kawpow is the Stratum of Ravencoin and other KawPow coins (kawpow-stratum-pool, NiceHash's specification). It is not
// asked for: it subscribes as ZIP 301 does, and its job tells it apart.
func kawpow() Dialect {
	return Dialect{
		Name: Kawpow,
		judge: func(m *message, _ *seen) Finding {
			if m.method != methodNotify {
				return Finding{}
			}
			p, ok := array(m.params, 7, 7)
			if !ok || !isName(p[0]) || !isHex(p[1], 64, 64) || !isHex(p[2], 64, 64) || !isHex(p[3], 64, 64) || !isBool(p[4]) ||
				!isHex(p[6], 8, 8) {
				return Finding{}
			}
			height, ok := unsigned(p[5])
			if !ok {
				return Finding{}
			}
			return Finding{
				Level: Proof, Dialect: Kawpow, Coin: "ravencoin-family",
				Summary: "mining.notify with header hash, seed hash, target, height and bits of KawPow",
				Job: Job{
					Height: height, Difficulty: hashesPer(p[3].(string)),
					Template: template(p[1].(string), p[2].(string), p[6].(string)),
				},
			}
		},
	}
}

package dialect

// kaspa is the Stratum of kaspa-stratum-bridge: EthereumStratum with an answer of its own to mining.subscribe,
// [true, "EthereumStratum/1.0.0"]. It is not asked for, and never authorized: a worker name that is no Kaspa address
// crashes the bridge.
func kaspa() Dialect {
	return Dialect{
		Name: Kaspa,
		judge: func(m *message, _ *seen) Finding {
			r, ok := array(m.result, 2, 2)
			if !ok || !m.isAnswer() || r[0] != true || r[1] != stratumVersion {
				return Finding{}
			}
			return Finding{
				Level: Proof, Dialect: Kaspa, Coin: "kaspa",
				Summary: "mining.subscribe was answered with true and the EthereumStratum version",
			}
		},
	}
}

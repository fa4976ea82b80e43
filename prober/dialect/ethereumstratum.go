package dialect

import "strings"

// ethereumStratum is EthereumStratum/1.0.0 (NiceHash's specification). It is not asked for: its answer to
// mining.subscribe names it.
func ethereumStratum() Dialect {
	return Dialect{
		Name: EthereumStratum,
		judge: func(m *message, _ *seen) Finding {
			r, ok := array(m.result, 2, 2)
			if !ok || !m.isAnswer() || !isHex(r[1], 0, 64) {
				return Finding{}
			}
			triple, ok := array(r[0], 3, 3)
			if !ok || triple[0] != "mining.notify" || !isName(triple[1]) {
				return Finding{}
			}
			if version, _ := triple[2].(string); !strings.HasPrefix(version, "EthereumStratum/") {
				return Finding{}
			}
			return Finding{
				Level: Proof, Dialect: EthereumStratum, Coin: "ethereum-family",
				Summary: "mining.subscribe was answered with an EthereumStratum subscription",
			}
		},
	}
}

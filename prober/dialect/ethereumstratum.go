package dialect

import (
	"strconv"
	"strings"
)

// ethereumStratum is EthereumStratum/1.0.0 (NiceHash's specification). It is not asked for: its answer to
// mining.subscribe names it.
func ethereumStratum() Dialect {
	return Dialect{
		Name: EthereumStratum,
		judge: func(m *message, _ *seen) Finding {
			f := Finding{Level: Proof, Dialect: EthereumStratum, Coin: "ethereum-family"}
			switch {
			case m.isAnswer() && isEthereumSubscription(m.result):
				f.Summary = "mining.subscribe was answered with an EthereumStratum subscription"
			case m.method == methodNotify && isEthereumJob(m.params):
				f.Summary = "mining.notify with seed hash and header hash"
				p := m.params.([]any)
				f.Job.Template = template(p[1].(string), p[2].(string))
			default:
				return Finding{}
			}
			return f
		},
	}
}

// isEthereumSubscription tells [["mining.notify", subscription, "EthereumStratum/…"], extranonce].
func isEthereumSubscription(v any) bool {
	r, ok := array(v, 2, 2)
	if !ok || !isHex(r[1], 0, 64) {
		return false
	}
	triple, ok := array(r[0], 3, 3)
	if !ok || triple[0] != methodNotify || !isName(triple[1]) {
		return false
	}
	version, _ := triple[2].(string)
	return strings.HasPrefix(version, "EthereumStratum/")
}

// isEthereumJob tells the parameters of mining.notify: job, seed hash, header hash, clean.
func isEthereumJob(v any) bool {
	p, ok := array(v, 4, 4)
	return ok && isName(p[0]) && isHex(p[1], 64, 64) && isHex(p[2], 64, 64) && isBool(p[3])
}

// Version 2 as it is asked for, and what every one of its versions begins with.
const (
	ethereumVersion2 = "EthereumStratum/2.0.0"
	ethereumPrefix2  = "EthereumStratum/2."
)

// ethereumStratum2 is EthereumStratum/2.0.0 (EIP-1571). It has a question of its own, because its servers expect a
// greeting before anything else.
func ethereumStratum2() Dialect {
	return Dialect{
		Name: EthereumStratum2,
		Ask: func(t Target) []Request {
			port, _ := strconv.ParseUint(t.Port, 10, 16) // always a port in decimal
			return []Request{jsonLine("mining.hello", `{"id":1,"jsonrpc":"2.0","method":"mining.hello","params":{"agent":`,
				quoteJSON(t.agent(helloAgent)), `,"host":`, quoteJSON(t.Host), `,"port":"`, strconv.FormatUint(port, 16),
				`","proto":"`, ethereumVersion2, `"}}`)}
		},
		judge: func(m *message, _ *seen) Finding {
			hello, _ := m.result.(map[string]any)
			if !m.isAnswer() || !isHello(hello) {
				return Finding{}
			}
			return Finding{
				Level: Proof, Dialect: EthereumStratum2, Coin: "ethereum-family",
				Summary: "mining.hello was answered with version, encoding and limits of EthereumStratum 2",
				Job:     Job{Software: word(hello["node"].(string))},
			}
		},
	}
}

// helloAgent is the mining program that knows EthereumStratum 2.
const helloAgent = "ethminer/0.19.0"

// isHello tells the result of mining.hello: all that the specification demands.
func isHello(hello map[string]any) bool {
	proto, _ := hello["proto"].(string)
	_, node := hello["node"].(string)
	return strings.HasPrefix(proto, ethereumPrefix2) && node && (hello["encoding"] == "plain" || hello["encoding"] == "gzip") &&
		isHexNumber(hello["resume"]) && isHexNumber(hello["timeout"]) && isHexNumber(hello["maxerrors"])
}

// isHexNumber tells a string of one to eight hex digits.
func isHexNumber(v any) bool {
	s, ok := v.(string)
	return ok && s != "" && len(s) <= 8 && hexDigits(s)
}

package dialect

import "fmt"

// Agents with which the dialects ask if none is configured. dcrpool serves only agents it knows, cpuminer/1.0.x among
// them; the others do not look.
const (
	stratumAgent    = "cpuminer/1.0.4"
	cryptoNoteAgent = "XMRig/6.21.0"
	zcashAgent      = "MagicBean/1.0.0"
)

// stratumVersion is the second parameter of mining.subscribe. Bitcoin pools take it for a session to resume;
// open-etc-pool is silent without it.
const stratumVersion = "EthereumStratum/1.0.0"

// mostHex bounds a hex string of an answer by the longest line.
const mostHex = MaxLine

// stratum is Stratum V1 of the Bitcoin family (the Slush Pool specification, BIP 310). All parameters are strings and
// the id is an integer that is not zero, because there are servers that close or stay silent otherwise.
func stratum() Dialect {
	return Dialect{
		Name: StratumV1,
		Ask: func(t Target) []Request {
			return []Request{jsonLine("mining.subscribe", `{"id":1,"jsonrpc":"2.0","method":"mining.subscribe","params":[`,
				quoteJSON(t.agent(stratumAgent)), `,"`, stratumVersion, `"]}`)}
		},
		// The Stratum V2 reference translator closes on more than one parameter.
		Again: func(t Target) []Request {
			return []Request{jsonLine("mining.subscribe", `{"id":1,"jsonrpc":"2.0","method":"mining.subscribe","params":[`,
				quoteJSON(t.agent(stratumAgent)), `]}`)}
		},
		judge: func(m *message, _ *seen) Finding {
			f := Finding{Level: Proof, Dialect: StratumV1, Coin: "bitcoin-family"}
			switch {
			case m.isAnswer() && isSubscription(m.result):
				f.Summary = "mining.subscribe was answered with subscriptions, extranonce1 and extranonce2 size"
			case m.method == "mining.notify" && isBitcoinJob(m.params):
				f.Summary = "mining.notify with a block header's nine parameters"
			case m.isAnswer() && isErrorTriple(m.err):
				triple := m.err.([]any)
				f = Finding{
					Level: Strong, Dialect: StratumV1,
					Summary: fmt.Sprintf("a Stratum error %s: %s", triple[0], Quote([]byte(triple[1].(string)), 128)),
				}
			case m.method == "mining.set_difficulty" && isDifficulty(m.params):
				f = Finding{Level: Strong, Dialect: StratumV1, Summary: "mining.set_difficulty with a number"}
			default:
				return Finding{}
			}
			return f
		},
	}
}

// isSubscription tells the result of mining.subscribe: [subscriptions, extranonce1, extranonce2 size], where
// subscriptions is a list of pairs, or one pair (python p2pool), and extranonce1 is hex and may be empty (also p2pool).
func isSubscription(v any) bool {
	r, ok := array(v, 3, 3)
	if !ok || !isHex(r[1], 0, 64) {
		return false
	}
	if size, ok := integer(r[2]); !ok || size < 0 || size > 16 {
		return false
	}
	list, ok := array(r[0], 1, 16)
	if !ok {
		return false
	}
	if isPair(r[0]) {
		return true
	}
	for _, pair := range list {
		if !isPair(pair) {
			return false
		}
	}
	return true
}

// isPair tells ["mining.notify" or "mining.set_difficulty", the subscription's name].
func isPair(v any) bool {
	pair, ok := array(v, 2, 2)
	return ok && (pair[0] == "mining.notify" || pair[0] == "mining.set_difficulty") && (isName(pair[1]) || isNumber(pair[1]))
}

// isBitcoinJob tells the parameters of mining.notify: job, previous hash, both halves of the coinbase, merkle branch,
// version, bits, time, clean.
func isBitcoinJob(v any) bool {
	p, ok := array(v, 9, 9)
	if !ok || !isName(p[0]) || !isHex(p[1], 64, 64) || !isHex(p[2], 2, mostHex) || !isHex(p[3], 0, mostHex) ||
		!isHex(p[5], 8, 8) || !isHex(p[6], 8, 8) || !isHex(p[7], 8, 8) {
		return false
	}
	branch, ok := array(p[4], 0, 64)
	if !ok {
		return false
	}
	for _, hash := range branch {
		if !isHex(hash, 64, 64) {
			return false
		}
	}
	_, ok = p[8].(bool)
	return ok
}

// isErrorTriple tells Stratum's errors: [20 other, 21 job not found, 22 duplicate, 23 low difficulty, 24 unauthorized,
// 25 not subscribed; text; traceback].
func isErrorTriple(v any) bool {
	triple, ok := array(v, 3, 3)
	if !ok {
		return false
	}
	code, ok := integer(triple[0])
	_, isText := triple[1].(string)
	return ok && isText && code >= 20 && code <= 25
}

// isDifficulty tells the parameters of mining.set_difficulty.
func isDifficulty(v any) bool {
	p, ok := array(v, 1, 1)
	return ok && isNumber(p[0])
}

package dialect

import (
	"encoding/binary"
	"encoding/hex"
)

// kaspa is the Stratum of kaspa-stratum-bridge: EthereumStratum with an answer of its own to mining.subscribe,
// [true, "EthereumStratum/1.0.0"], or with set_extranonce instead of one (NiceHash's specification). It is not asked for,
// and never authorized: a worker name that is no Kaspa address crashes the bridge.
func kaspa() Dialect {
	return Dialect{
		Name: Kaspa,
		judge: func(m *message, s *seen) Finding {
			f := Finding{Level: Proof, Dialect: Kaspa, Coin: "kaspa"}
			switch {
			case m.isAnswer() && isKaspaSubscription(m.result):
				f.Summary = "mining.subscribe was answered with true and the EthereumStratum version"
				if s.versionTold {
					// It may be our own parameter; Stratum V1's Confirm asks without it.
					return Finding{Level: Strong, Dialect: Kaspa, Summary: f.Summary + ", which we had named"}
				}
			case m.method == methodNotify && isKaspaJob(m.params):
				f.Summary = "mining.notify with a hash in four numbers or with the time"
				f.Job.Template = kaspaTemplate(m.params.([]any))
			case m.method == "set_extranonce" && isExtranonce(m.params):
				s.extranonce = true
				if !s.difficulty {
					return Finding{Level: Strong, Dialect: Kaspa, Summary: "set_extranonce with an extranonce"}
				}
				f.Summary = "mining.set_difficulty, and set_extranonce without mining"
			case m.method == "mining.set_difficulty" && isDifficulty(m.params) && s.extranonce:
				f.Summary = "set_extranonce without mining, and mining.set_difficulty"
			default:
				return Finding{}
			}
			return f
		},
	}
}

// isKaspaSubscription tells [true, "EthereumStratum/1.0.0"].
func isKaspaSubscription(v any) bool {
	r, ok := array(v, 2, 2)
	return ok && r[0] == true && r[1] == stratumVersion
}

// The job for BzMiner and ASICs in hex digits: the hash, and with it the time.
const (
	largeHash = 64
	largeJob  = 80
)

// isKaspaJob tells the parameters of mining.notify: job, the hash as four numbers of 8 bytes, time; or job, hash and time
// in hex.
func isKaspaJob(v any) bool {
	p, ok := array(v, 2, 3)
	if !ok || !isName(p[0]) {
		return false
	}
	if len(p) == 2 {
		return isHex(p[1], largeJob, largeJob)
	}
	words, ok := array(p[1], 4, 4)
	if !ok {
		return false
	}
	for _, w := range append(words[:4:4], p[2]) {
		if _, ok := unsigned(w); !ok {
			return false
		}
	}
	return true
}

// kaspaTemplate gives the template of what isKaspaJob told: the hash, whose four numbers have their low byte first.
func kaspaTemplate(p []any) string {
	if len(p) == 2 {
		return template(p[1].(string)[:largeHash])
	}
	var hash []byte
	for _, w := range p[1].([]any) {
		n, _ := unsigned(w)
		hash = binary.LittleEndian.AppendUint64(hash, n)
	}
	return template(hex.EncodeToString(hash))
}

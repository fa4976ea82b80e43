package dialect

import "math"

// beamKey is nobody's API key: a wallet address of 33 bytes in hex, which no key is behind.
const beamKey = "000000000000000000000000000000000000000000000000000000000000000000"

// beam is the Stratum of Beam (beam's pow/stratum.h, served by its node and by pools): objects of its own that borrow
// JSON-RPC's members, with a method in answers, too.
func beam() Dialect {
	return Dialect{
		Name: Beam,
		Ask: func(Target) []Request {
			return []Request{jsonLine("login", `{"id":"login","jsonrpc":"2.0","method":"login","api_key":"`, beamKey, `"}`)}
		},
		judge: func(m *message, _ *seen) Finding {
			if isBeamJob(m) {
				return beamProof(m)
			}
			if !isBeamResult(m) {
				return Finding{}
			}
			prefix, _ := m.object["nonceprefix"].(string)
			isPrefix := prefix != "" && len(prefix) <= 16 && hexDigits(prefix)
			switch code, _ := integer(m.object["code"]); {
			case code == 0 && (isPrefix || isNumber(m.object["forkheight"])):
				return Finding{Level: Proof, Dialect: Beam, Coin: "beam", Summary: "a login was answered with nonceprefix or forkheight"}
			case code == -32003:
				text, _ := m.object["description"].(string)
				return Finding{Level: Strong, Dialect: Beam, Summary: "the login was refused as Beam's server does: " + Quote([]byte(text), 128)}
			}
			return Finding{}
		},
	}
}

// isBeamResult tells a result: an answer in spite of its method, with a code and a description beside it.
func isBeamResult(m *message) bool {
	if m.method != "result" || m.hasResult || m.hasError {
		return false
	}
	_, isCode := integer(m.object["code"])
	_, isText := m.object["description"].(string)
	return isCode && isText
}

// isBeamJob tells a job: the hash to solve for, the packed difficulty and the height, beside the method.
func isBeamJob(m *message) bool {
	if m.method != "job" || !isHex(m.object["input"], 64, 64) || !isName(m.object["id"]) {
		return false
	}
	packed, ok := unsigned(m.object["difficulty"])
	_, isHeight := unsigned(m.object["height"])
	return ok && isHeight && packed <= math.MaxUint32
}

// beamProof gives the finding for a job. The input is the hash of the header, which is the same for all miners.
func beamProof(m *message) Finding {
	f := Finding{Level: Proof, Dialect: Beam, Coin: "beam", Summary: "a job with input, difficulty and height"}
	input, _ := m.object["input"].(string)
	packed, _ := unsigned(m.object["difficulty"])
	f.Job.Height, _ = unsigned(m.object["height"])
	f.Job.Difficulty, f.Job.Template = unpackDifficulty(uint32(packed)), template(input)
	return f
}

// unpackDifficulty gives Beam's difficulty out of its 32 bits (Difficulty::Unpack): an order of 8 bits and a mantissa of
// 24 with a leading one before it.
func unpackDifficulty(packed uint32) float64 {
	const bits = 24
	order, mantissa := packed>>bits, packed&(1<<bits-1)|1<<bits
	return math.Ldexp(float64(mantissa), int(order)-bits)
}

package dialect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// grinAgent is the native agent of Grin's miner; grinLogin is nobody's. open-grin-pool registers whom it does not know,
// which is why Grin is asked late and always with this name.
const (
	grinAgent = "grin-miner"
	grinLogin = "probe"
)

// The header of a Grin block before its proof (grin core, BlockHeader::write_pre_pow): version, height, time, the block
// before, then roots and sizes; in bytes.
const (
	grinHeight   = 2
	grinPrevious = 2 + 8 + 8
	leastPrePow  = grinPrevious + 32
)

// grin is the Stratum of Grin (mimblewimble's stratum.md). Its answers repeat the method they answer, and it is silent on
// ids that are no strings.
func grin() Dialect {
	return Dialect{
		Name: Grin,
		Ask: func(t Target) []Request {
			return []Request{
				jsonLine(methodLogin, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"`, grinLogin, `","pass":"x","agent":`,
					quoteJSON(t.agent(grinAgent)), `}}`),
				jsonLine(methodTemplate, `{"id":"1","jsonrpc":"2.0","method":"getjobtemplate","params":null}`),
			}
		},
		judge: func(m *message, _ *seen) Finding {
			switch {
			case isGrinAnswer(m) && m.method == methodTemplate && isGrinJob(m.result):
				return grinProof(m.result, "getjobtemplate was answered with pre_pow, job_id, height and difficulty")
			case m.method == "job" && isGrinJob(m.params):
				return grinProof(m.params, "a job with pre_pow, job_id, height and difficulty")
			case !isGrinAnswer(m):
				return Finding{}
			case m.err != nil:
				// ERC-4337 has the same code; the words tell them apart.
				if code, text, ok := errorCode(m.err); ok && code == -32500 && strings.HasPrefix(strings.ToLower(text), "login") {
					return Finding{Level: Strong, Dialect: Grin, Summary: "the login was refused as a Grin pool does: " + Quote([]byte(text), 128)}
				}
				return Finding{}
			case m.method == methodLogin && m.result == "ok":
				return Finding{Level: Weak, Dialect: Grin, Summary: "the login was answered as a Grin pool does"}
			}
			return Finding{}
		},
	}
}

// The methods that Grin's answers repeat.
const (
	methodLogin    = "login"
	methodTemplate = "getjobtemplate"
)

// isGrinAnswer tells an answer that repeats our method from our own line: it has no parameters, and either a result of
// Grin's or an error.
func isGrinAnswer(m *message) bool {
	if _, ok := m.object["params"]; ok || m.method != methodLogin && m.method != methodTemplate {
		return false
	}
	if _, _, ok := errorCode(m.err); ok {
		return m.result == nil
	}
	return m.err == nil && (m.result == "ok" || isGrinJob(m.result))
}

// isGrinJob tells a job template: the header as far as the proof of work goes over it, and three numbers.
func isGrinJob(v any) bool {
	job, ok := v.(map[string]any)
	if !ok || !isHex(job["pre_pow"], 2*leastPrePow, mostHex) {
		return false
	}
	for _, member := range []string{"job_id", "height", "difficulty"} {
		if _, ok := unsigned(job[member]); !ok {
			return false
		}
	}
	return true
}

// grinProof gives the finding for a job template. The header holds its height, too: only where both agree it is Grin's, and
// its block before is told.
func grinProof(v any, summary string) Finding {
	o, _ := v.(map[string]any)
	f := Finding{Level: Proof, Dialect: Grin, Coin: "grin", Summary: summary}
	f.Job.Height, _ = unsigned(o["height"])
	f.Job.Difficulty = positive(o["difficulty"])
	text, _ := o["pre_pow"].(string)
	header, err := hex.DecodeString(text)
	if err != nil {
		return f
	}
	if bytes.Equal(header[grinHeight:][:8], binary.BigEndian.AppendUint64(nil, f.Job.Height)) {
		f.Job.PreviousHash = hex.EncodeToString(header[grinPrevious:][:32])
	}
	f.Job.Template = template(text)
	return f
}

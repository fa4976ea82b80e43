package dialect

import (
	"fmt"
	"strings"
)

// An Alephium header without its nonce, in hex digits: version and how many parents, seven parents, then what the block
// holds, and at the end the time and the target.
const (
	alephiumHeader = 604
	alephiumMark   = "0007"
	alephiumGroups = 4
	alephiumTime   = alephiumHeader - 24
)

// mostChains bounds the chains of a job: each of the groups has one to each.
const mostChains = 256

// alephium is the Stratum of Alephium's mining pool. It is not asked for: the pool sends mining.set_difficulty to whoever
// connects, answers mining.subscribe with the word "result", and then sends a job for all chains, again and again.
func alephium() Dialect {
	return Dialect{
		Name: Alephium,
		judge: func(m *message, _ *seen) Finding {
			if m.method != methodNotify {
				return Finding{}
			}
			chains, ok := array(m.params, 1, mostChains)
			if !ok {
				return Finding{}
			}
			fields := make([]string, len(chains))
			for i, chain := range chains {
				if fields[i], ok = alephiumChain(chain); !ok {
					return Finding{}
				}
			}
			f := Finding{
				Level: Proof, Dialect: Alephium, Coin: "alephium",
				Summary: fmt.Sprintf("mining.notify with jobs of %d chains", len(chains)),
				Job:     Job{Template: template(fields...)},
			}
			first := chains[0].(map[string]any)
			f.Job.Height, _ = unsigned(first["height"])
			if header := strings.ToLower(first["headerBlob"].(string)); isAlephiumHeader(header) {
				// The last four parents are those of the chains of our own group, one for each group they lead to.
				to, _ := integer(first["toGroup"])
				if at := len(alephiumMark) + 64*(alephiumGroups-1+to); to < alephiumGroups {
					f.Job.PreviousHash = header[at : at+64]
				}
			}
			return f
		},
	}
}

// isAlephiumHeader tells the header of a network of four groups.
func isAlephiumHeader(header string) bool {
	return len(header) == alephiumHeader && strings.HasPrefix(header, alephiumMark)
}

// alephiumChain reads the job of one chain: jobId, fromGroup, toGroup, txsBlob, targetBlob, headerBlob. It gives what does
// not change from miner to miner.
func alephiumChain(v any) (string, bool) {
	chain, _ := v.(map[string]any)
	from, ok := integer(chain["fromGroup"])
	to, ok2 := integer(chain["toGroup"])
	if !ok || !ok2 || from < 0 || to < 0 || from >= mostChains || to >= mostChains || !isName(chain["jobId"]) ||
		!isHex(chain["headerBlob"], 64, mostHex) || !isHex(chain["targetBlob"], 2, 64) {
		return "", false
	}
	if txs, ok := chain["txsBlob"]; ok && !isHex(txs, 0, mostHex) {
		return "", false
	}
	header := strings.ToLower(chain["headerBlob"].(string))
	if isAlephiumHeader(header) {
		header = header[:alephiumTime]
	}
	return fmt.Sprint(from, " ", to, " ", header), true
}

// isPlaceholder tells the answer of Alephium's pool to mining.subscribe. It says nothing: what counts is the job that
// follows, when the next block comes.
func (m *message) isPlaceholder() bool { return m.isAnswer() && m.result == "result" }

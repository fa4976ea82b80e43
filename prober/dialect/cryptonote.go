package dialect

import "strings"

// nobodysWallet has the length and letters of a Monero address and a wrong checksum: it can be nobody's.
const nobodysWallet = "4" + "7AwMLPUfB5ZwnX3NQTvf3CSbvnNVxJ6z5rXvNq1nyoAdDZuzkYRrZ5pB7mVqvzJqT2q9qDfDpd8YrDBsJjqkLd1P1R4HXM"

// CryptoNote blobs (a block's hashing blob) and targets, in hex digits.
const (
	leastBlob   = 2 * 76
	shortTarget = 8
	longTarget  = 16
)

// poolOnline is the body with which node-cryptonote-pool and its descendants answer HTTP on their mining port.
const poolOnline = "Mining server online"

// cryptoNote is the login of Monero and its kin (xmrig, node-cryptonote-pool, xmrig-proxy, p2pool).
func cryptoNote() Dialect {
	return Dialect{
		Name: CryptoNote,
		Ask: func(t Target) []Request {
			return []Request{jsonLine("login", `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`, nobodysWallet,
				`","pass":"x","agent":`, quoteJSON(t.agent(cryptoNoteAgent)), `,"algo":["rx/0"]}}`)}
		},
		// A pool that checks the wallet gives no job. The same software answers HTTP with a page that proves it.
		Confirm: func(t Target) []Request {
			return []Request{{Line: []byte("GET / HTTP/1.1\r\nHost: " + t.Host + ":" + t.Port + "\r\nConnection: close\r\n\r\n")}}
		},
		judge: func(m *message, _ *seen) Finding {
			job := m.params
			if m.isAnswer() {
				result, _ := m.result.(map[string]any)
				job = result["job"]
			}
			if (m.isAnswer() || m.method == "job") && isCryptoNoteJob(job) {
				f := Finding{
					Level: Proof, Dialect: CryptoNote, Coin: "cryptonote-family",
					Summary: "a CryptoNote job with blob, job_id and target",
				}
				if job.(map[string]any)["algo"] == "rx/0" {
					f.Coin = "monero"
				}
				return f
			}
			if !m.isAnswer() {
				return Finding{}
			}
			object, _ := m.err.(map[string]any)
			text, _ := object["message"].(string)
			for _, refusal := range []struct {
				begin string
				level Level
			}{
				{"Invalid address used for login", Strong},
				{"Invalid payment address provided", Strong},
				{"Disconnected from P2Pool network", Strong},
				{"Missing login", Weak},
				{"Unauthenticated", Weak},
				{"Your IP is banned", Weak},
				{"IP Address currently banned", Weak},
			} {
				if strings.HasPrefix(text, refusal.begin) {
					return Finding{
						Level: refusal.level, Dialect: CryptoNote,
						Summary: "the login was refused as a CryptoNote pool does: " + Quote([]byte(text), 128),
					}
				}
			}
			return Finding{}
		},
	}
}

// isCryptoNoteJob tells a job: blob of at least 76 bytes, job_id, target of 4 or 8 bytes.
func isCryptoNoteJob(v any) bool {
	job, ok := v.(map[string]any)
	return ok && isHex(job["blob"], leastBlob, mostHex) && isName(job["job_id"]) &&
		(isHex(job["target"], shortTarget, shortTarget) || isHex(job["target"], longTarget, longTarget))
}

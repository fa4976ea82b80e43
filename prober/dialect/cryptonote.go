package dialect

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
)

// nobodysWallet has the length and letters of a Monero address and a wrong checksum: it can be nobody's.
const nobodysWallet = "4" + "7AwMLPUfB5ZwnX3NQTvf3CSbvnNVxJ6z5rXvNq1nyoAdDZuzkYRrZ5pB7mVqvzJqT2q9qDfDpd8YrDBsJjqkLd1P1R4HXM"

// proxyOnline is that of xmr-node-proxy and its descendants. They serve miners a job, too, which is asked for in lines.
const proxyOnline = "Mining Proxy Online"

// CryptoNote blobs (a block's hashing blob) and targets, in hex digits. xmrig takes no blob of 408 bytes or more (Job).
const (
	leastBlob   = 2 * 76
	mostBlob    = 2 * 407
	shortTarget = 8
	longTarget  = 16
)

// poolOnline is the body with which node-cryptonote-pool and its descendants answer HTTP on their mining port.
const poolOnline = "Mining server online"

// onlineSoftware is whose page that is; which of the descendants answers cannot be told.
const onlineSoftware = "node-cryptonote-pool family"

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
			result, _ := m.result.(map[string]any)
			if m.isAnswer() {
				job = result["job"]
			}
			if (m.isAnswer() || m.method == "job") && isCryptoNoteJob(job) {
				f := Finding{
					Level: Proof, Dialect: CryptoNote, Coin: cryptoNoteCoin(job),
					Job: cryptoNoteJob(job), Summary: "a CryptoNote job with blob, job_id and target",
				}
				switch {
				case isXMRigProxy(result):
					f.Proxy, f.Job.Software = true, "xmrig-proxy"
					f.Summary += ", from xmrig-proxy"
				case isP2Pool(m, result):
					f.Job.Software = "p2pool"
					f.Summary += ", from p2pool"
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

// isCryptoNoteJob tells a job: blob of 76 to 407 bytes, job_id, target of 4 or 8 bytes.
func isCryptoNoteJob(v any) bool {
	job, ok := v.(map[string]any)
	return ok && isHex(job["blob"], leastBlob, mostBlob) && isName(job["job_id"]) &&
		(isHex(job["target"], shortTarget, shortTarget) || isHex(job["target"], longTarget, longTarget))
}

// cryptoNoteCoin names the coin of a job. rx/0 is Monero's algorithm; of the others many coins share one.
func cryptoNoteCoin(v any) string {
	if job, _ := v.(map[string]any); job["algo"] == "rx/0" {
		return "monero"
	}
	return "cryptonote-family"
}

// cryptoNoteJob tells what a CryptoNote job says of the block. The coinbase transaction stands in the blob only as a part
// of the merkle root, and differs from miner to miner; so the template is the block before, the height, the RandomX seed
// and the number of transactions.
func cryptoNoteJob(v any) Job {
	o, _ := v.(map[string]any)
	algorithm, _ := o["algo"].(string)
	job := Job{Algorithm: word(algorithm)}
	job.Height, _ = unsigned(o["height"])
	target, _ := o["target"].(string)
	job.Difficulty = targetDifficulty(target)
	text, _ := o["blob"].(string)
	blob, err := hex.DecodeString(text)
	if err != nil || !hasCryptoNoteHeader(job.Algorithm) {
		return job
	}
	previous, rest, ok := hashingBlob(blob)
	if !ok {
		return job
	}
	job.PreviousHash = hex.EncodeToString(previous)
	seed, _ := o["seed_hash"].(string)
	job.Template = template(job.PreviousHash, strconv.FormatUint(job.Height, 10), seed, hex.EncodeToString(rest))
	return job
}

// hasCryptoNoteHeader tells whether an algorithm's blob begins with CryptoNote's block header; xmrig speaks this dialect
// also for GhostRider, KawPow and AstroBWT, whose blobs are other headers. Without a name the oldest are meant.
func hasCryptoNoteHeader(algorithm string) bool {
	switch family, _, _ := strings.Cut(algorithm, "/"); family {
	case "", "rx", "cn", "cryptonight", "cn-lite", "cn-heavy", "cn-pico", "argon2", "panthera":
		return true
	}
	return false
}

// targetDifficulty gives the difficulty of a target of 4 or 8 bytes in hex, little-endian: how many hashes a share takes.
// It is 0 for what is no target.
func targetDifficulty(target string) float64 {
	b, err := hex.DecodeString(target)
	var most, limit float64
	switch {
	case err == nil && len(b) == shortTarget/2:
		most, limit = math.MaxUint32, float64(binary.LittleEndian.Uint32(b))
	case err == nil && len(b) == longTarget/2:
		most, limit = math.MaxUint64, float64(binary.LittleEndian.Uint64(b))
	}
	if limit == 0 {
		return 0
	}
	return math.Floor(most / limit)
}

// The first and last second that a block's time may be in: Bytecoin's first year, and when 32 bits are over.
var (
	firstBlock = time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastBlock  = int64(math.MaxUint32)
)

// hashingBlob takes a block hashing blob apart (CryptoNote standard 003, Monero's get_block_hashing_blob): major and minor
// version and time as varints, the block before, the nonce, the merkle root, and the number of transactions, which is
// given with whatever else follows the root. ok is false for what can be none.
func hashingBlob(blob []byte) (previous, rest []byte, ok bool) {
	var header [3]uint64
	for i := range header {
		n := 0
		if header[i], n = binary.Uvarint(blob); n <= 0 {
			return nil, nil, false
		}
		blob = blob[n:]
	}
	const hash, nonce = 32, 4
	seconds := int64(min(header[2], math.MaxInt64))
	if header[0] > math.MaxUint8 || header[1] > math.MaxUint8 || seconds < firstBlock || seconds > lastBlock || len(blob) < hash+nonce+hash {
		return nil, nil, false
	}
	return blob[:hash], blob[hash+nonce+hash:], true
}

// isXMRigProxy tells the result of a login to xmrig-proxy by its list of extensions (Miner::sendJob): in a fixed order, of
// which keepalive is never missing, and by a session of 8 random bytes. A proxy in simple mode leaves out what it is told
// by, and is taken for a pool.
func isXMRigProxy(result map[string]any) bool {
	list, ok := array(result["extensions"], 2, 5)
	if !ok || !isHex(result["id"], 16, 16) || list[len(list)-1] != "keepalive" {
		return false
	}
	rest, told := list, false
	for _, extension := range []string{"algo", "nicehash", "connect", "tls", "keepalive"} {
		if len(rest) > 0 && rest[0] == extension {
			rest = rest[1:]
			told = told || extension == "nicehash" || extension == "connect"
		}
	}
	return told && len(rest) == 0
}

// isP2Pool tells the answer to a login to p2pool (StratumServer::on_login): no error member, a session of 32 bits in hex
// without leading zeros, the connection's first job, RandomX, and the one extension algo.
func isP2Pool(m *message, result map[string]any) bool {
	extensions, ok := array(result["extensions"], 1, 1)
	session, _ := result["id"].(string)
	job, _ := result["job"].(map[string]any)
	return ok && extensions[0] == "algo" && !m.hasError && session != "" && len(session) <= 8 && session[0] != '0' &&
		hexDigits(session) && job["job_id"] == "1" && job["algo"] == "rx/0" && isHex(job["seed_hash"], 64, 64)
}

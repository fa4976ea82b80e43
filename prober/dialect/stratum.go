package dialect

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Agents with which the dialects ask if none is configured. dcrpool serves only agents it knows, cpuminer/1.0.x among
// them; the others do not look.
const (
	stratumAgent    = "cpuminer/1.0.4"
	cryptoNoteAgent = "XMRig/6.21.0"
)

// stratumVersion is the second parameter of mining.subscribe. Bitcoin pools take it for a session to resume;
// open-etc-pool is silent without it.
const stratumVersion = "EthereumStratum/1.0.0"

// mostHex bounds a hex string of an answer by the longest line.
const mostHex = MaxLine

// The methods that more than one dialect looks at.
const (
	methodNotify = "mining.notify"
	methodTarget = "mining.set_target"
)

// Marks of pool programs in the answer to mining.subscribe.
const (
	// nompMark begins every subscription's name with NOMP and its many descendants.
	nompMark = "deadbeefcafebabe"
	// slushMark is the subscription's name in the example of the Slush Pool specification.
	slushMark = "ae6812eb4cd7735a302a8a9dd95cf71f"
)

// subscribe is the one question for all dialects whose methods begin with "mining.". All parameters are strings and the
// id is an integer that is not zero, because there are servers that close or stay silent otherwise.
func subscribe(params ...string) []Request {
	for i, p := range params {
		params[i] = quoteJSON(p)
	}
	return []Request{jsonLine("mining.subscribe", `{"id":1,"jsonrpc":"2.0","method":"mining.subscribe","params":[`,
		strings.Join(params, ","), `]}`)}
}

// stratum is Stratum V1 of the Bitcoin family (the Slush Pool specification, BIP 310) and of those that kept its
// subscription and changed the job: Decred, Sia, Ergo; and Kadena and Nervos, which left the subscriptions' names out.
func stratum() Dialect {
	return Dialect{
		Name: StratumV1,
		Ask:  func(t Target) []Request { return subscribe(t.agent(stratumAgent), stratumVersion) },
		// The Stratum V2 reference translator closes on more than one parameter.
		Again: func(t Target) []Request { return subscribe(t.agent(stratumAgent)) },
		// dcrpool refuses agents that it does not know. Kaspa's bridge answers with a version that may be no more than ours
		// come back.
		Confirm: func(Target) []Request { return subscribe(stratumAgent) },
		judge: func(m *message, s *seen) Finding {
			if m.isAnswer() {
				return judgeSubscription(m, s)
			}
			switch {
			case m.method == methodNotify:
				return judgeStratumJob(m.params, s)
			case m.method == methodTarget && isTarget(m.params) && s.nonces:
				return Finding{Level: Proof, Dialect: StratumV1, Summary: nonceSummary + ", and mining.set_target"}
			case m.method == "mining.set_difficulty" && isDifficulty(m.params):
				f := Finding{Level: Strong, Dialect: StratumV1, Summary: "mining.set_difficulty with a number"}
				f.Job.Difficulty = positive(m.params.([]any)[0])
				if s.difficulty = true; s.nonces {
					f.Level, f.Summary = Proof, nonceSummary+", and mining.set_difficulty"
				}
				return f
			case m.method == "mining.set_version_mask" && isMask(m.params):
				return Finding{Level: Strong, Dialect: StratumV1, Summary: "mining.set_version_mask with a mask"}
			case m.method == "mining.set_extranonce" && isExtranonce(m.params):
				return Finding{Level: Strong, Dialect: StratumV1, Summary: "mining.set_extranonce with an extranonce"}
			}
			return Finding{}
		},
	}
}

const nonceSummary = "mining.subscribe was answered with nonce1 and nonce2 size alone"

// judgeSubscription grades an answer to mining.subscribe or mining.configure.
func judgeSubscription(m *message, s *seen) Finding {
	switch {
	case isSubscription(m.result):
		f := Finding{
			Level: Proof, Dialect: StratumV1, Coin: "bitcoin-family",
			Summary: "mining.subscribe was answered with subscriptions, extranonce1 and extranonce2 size",
		}
		result := m.result.([]any)
		size, _ := integer(result[2])
		s.subscribed, s.extranonces = true, len(result[1].(string))/2+size
		f.Job.Software = poolSoftware(result)
		switch f.Job.Software {
		case "dcrpool":
			f.Coin = "decred"
		case "SRI translator":
			f.Proxy = true
		}
		return f
	case isNonces(m.result):
		s.nonces = true
		f := Finding{Level: Strong, Dialect: StratumV1, Summary: nonceSummary}
		if s.target || s.difficulty {
			f.Level, f.Summary = Proof, nonceSummary+", and mining.set_target or mining.set_difficulty"
		}
		return f
	case isErrorTriple(m.err):
		triple := m.err.([]any)
		return Finding{
			Level: Strong, Dialect: StratumV1,
			Summary: fmt.Sprintf("a Stratum error %s: %s", triple[0], Quote([]byte(triple[1].(string)), 128)),
		}
	case isConfiguration(m.result):
		return Finding{Level: Strong, Dialect: StratumV1, Summary: "an answer to mining.configure"}
	}
	return Finding{}
}

// poolSoftware tells a pool's program from its answer to mining.subscribe, "" if it can't be told.
func poolSoftware(result []any) string {
	nonce, _ := result[1].(string)
	size, _ := integer(result[2])
	if isPair(result[0]) {
		if nonce == "" {
			return "p2pool" // the Python one
		}
		return ""
	}
	names := map[any]string{}
	pairs := result[0].([]any)
	for _, pair := range pairs {
		pair := pair.([]any)
		names[pair[0]], _ = pair[1].(string)
	}
	notify, difficulty := names[methodNotify], names["mining.set_difficulty"]
	switch {
	case strings.HasPrefix(notify, nompMark):
		return "NOMP"
	case len(pairs) == 2 && notify == difficulty && size == 4 && len(nonce) == 8 && (notify == "mn"+nonce || notify == stratumVersion):
		return "dcrpool" // the names are our second parameter, if it gets one
	case len(pairs) == 2 && notify == slushMark && len(difficulty) < 10 && decimal(difficulty):
		return "SRI translator" // the name is its number of the channel
	case len(pairs) == 1 && len(notify) == 8 && hexDigits(notify) && size == 8:
		return "ckpool"
	}
	return ""
}

// decimal tells whether s is a decimal number.
func decimal(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isSubscription tells the result of mining.subscribe: [subscriptions, extranonce1, extranonce2 size], where
// subscriptions is a list of pairs, or one pair (python p2pool), and extranonce1 is hex and may be empty (also p2pool).
func isSubscription(v any) bool {
	r, ok := array(v, 3, 3)
	if !ok || !isHex(r[1], 0, 64) || !isNonceSize(r[2]) {
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

// isNonceSize tells the size of extranonce2 in bytes.
func isNonceSize(v any) bool {
	size, ok := integer(v)
	return ok && size >= 0 && size <= 16
}

// isPair tells ["mining.notify" or "mining.set_difficulty", the subscription's name].
func isPair(v any) bool {
	pair, ok := array(v, 2, 2)
	return ok && (pair[0] == methodNotify || pair[0] == "mining.set_difficulty") && (isName(pair[1]) || isNumber(pair[1]))
}

// isNonces tells the result of mining.subscribe with Kadena (NiceHash's specification) and Nervos: [null, nonce1, nonce2
// size]. It is no proof by itself.
func isNonces(v any) bool {
	r, ok := array(v, 3, 3)
	return ok && r[0] == nil && isHex(r[1], 2, 32) && isNonceSize(r[2])
}

// judgeStratumJob grades the parameters of mining.notify.
func judgeStratumJob(params any, s *seen) Finding {
	for _, form := range []struct {
		read          func([]any, *seen) (Job, bool)
		coin, summary string
	}{
		// Decred's is a special case of Bitcoin's.
		{decredJob, "decred", "mining.notify with a Decred header's parameters"},
		{bitcoinJob, "bitcoin-family", "mining.notify with a block header's nine parameters"},
		{siaJob, "siacoin", "mining.notify with a Sia header's parameters"},
		{ergoJob, "ergo", "mining.notify with height, message and target of Ergo"},
		{kadenaJob, "kadena", "mining.notify with a Chainweb header"},
		{nervosJob, "nervos", "mining.notify with an Eaglesong header's hash, height and parent"},
	} {
		p, ok := array(params, 2, 9)
		if !ok || !isName(p[0]) {
			return Finding{}
		}
		if job, ok := form.read(p, s); ok {
			return Finding{Level: Proof, Dialect: StratumV1, Coin: form.coin, Job: job, Summary: form.summary}
		}
	}
	return Finding{}
}

// bitcoinJob reads: job, previous hash, both halves of the coinbase, merkle branch, version, bits, time, clean.
func bitcoinJob(p []any, s *seen) (Job, bool) {
	if len(p) != 9 || !isHex(p[1], 64, 64) || !isHex(p[2], 2, mostHex) || !isHex(p[3], 0, mostHex) ||
		!isHex(p[5], 8, 8) || !isHex(p[6], 8, 8) || !isHex(p[7], 8, 8) || !isBool(p[8]) {
		return Job{}, false
	}
	branch, ok := hashes(p[4])
	if !ok {
		return Job{}, false
	}
	nonces := -1
	if s.subscribed {
		nonces = s.extranonces
	}
	previous := strings.ToLower(p[1].(string))
	j := Job{PreviousHash: previous, Template: template(previous, strings.Join(branch, ","), p[5].(string), p[6].(string))}
	j.Height, j.Tag = coinbase(p[2].(string), p[3].(string), nonces)
	return j, true
}

// The parts of a Decred header in the third parameter, in hex digits: from the merkle root to the size of the block, and
// the height in it.
const (
	decredHeader = 200
	decredHeight = 184
)

// decredJob reads NiceHash's and dcrpool's form of Bitcoin's nine: the rest of the header stands where the coinbase does;
// the second half is the stake version or empty, the merkle branch is empty, the bits may be.
func decredJob(p []any, _ *seen) (Job, bool) {
	if len(p) != 9 || !isHex(p[1], 64, 64) || !isHex(p[2], decredHeader, mostHex) || !isHexOrEmpty(p[3], 8) ||
		!isHex(p[5], 8, 8) || !isHexOrEmpty(p[6], 8) || !isHex(p[7], 8, 8) || !isBool(p[8]) {
		return Job{}, false
	}
	if _, ok := array(p[4], 0, 0); !ok {
		return Job{}, false
	}
	previous, header := strings.ToLower(p[1].(string)), p[2].(string)[:decredHeader]
	return Job{
		PreviousHash: previous, Height: littleEndian(header[decredHeight : decredHeight+8]),
		Template: template(previous, header, p[5].(string)),
	}, true
}

// siaMark begins the arbitrary data of a Sia transaction that is none of Sia's own.
const siaMark = "NonSia"

// siaJob reads SiaMining's and NiceHash's form of Bitcoin's nine: without a version, with a time of 8 bytes, and with an
// arbitrary transaction, or the merkle root, where the coinbase stands.
func siaJob(p []any, _ *seen) (Job, bool) {
	if len(p) != 9 || !isHex(p[1], 64, 64) || !isHex(p[2], 64, mostHex) || !isHex(p[3], 0, mostHex) || p[5] != "" ||
		!isHexOrEmpty(p[6], 8) || !isHex(p[7], 16, 16) || !isBool(p[8]) {
		return Job{}, false
	}
	branch, ok := hashes(p[4])
	if !ok {
		return Job{}, false
	}
	previous, root := strings.ToLower(p[1].(string)), p[2].(string)
	if len(root) > 64 {
		root = "" // an arbitrary transaction, which may be the miner's own
	}
	j := Job{PreviousHash: previous, Template: template(previous, strings.Join(branch, ","), root, p[6].(string))}
	if arbitrary, err := hex.DecodeString(p[2].(string)); err == nil {
		if _, text, ok := strings.Cut(string(arbitrary), siaMark); ok {
			j.Tag = signature([]byte(text))
		}
	}
	return j, true
}

// ergoJob reads ErgoStratumServer's form of Bitcoin's nine: job, height, message, "", "", version, the target b as a
// decimal string, "", clean.
func ergoJob(p []any, _ *seen) (Job, bool) {
	if len(p) != 9 || !isHex(p[2], 64, 64) || p[3] != "" || p[4] != "" || p[7] != "" || !isBool(p[8]) ||
		!isHex(p[5], 2, 8) && !isNumber(p[5]) {
		return Job{}, false
	}
	height, ok := unsigned(p[1])
	b, isText := p[6].(string)
	if !ok || !isText || len(b) > 78 || !decimal(b) { // 2^256 has 78 digits
		return Job{}, false
	}
	return Job{Height: height, Template: template(p[2].(string), fmt.Sprint(height, " ", p[5]))}, true
}

// A Chainweb header with three neighbours, in hex digits: nonce and time; the parent; how many neighbours; at the end
// the height, the network, the epoch's begin and flags.
const (
	chainwebHeader = 572
	chainwebParent = 32
	chainwebCount  = 96
	chainwebHeight = 516
	chainwebThree  = "0300"
)

// kadenaJob reads: job, header, and with most pools clean.
func kadenaJob(p []any, _ *seen) (Job, bool) {
	if len(p) > 3 || !isHex(p[1], chainwebHeader, chainwebHeader) || len(p) == 3 && !isBool(p[2]) {
		return Job{}, false
	}
	header := strings.ToLower(p[1].(string))
	if !strings.HasPrefix(header[chainwebCount:], chainwebThree) {
		return Job{}, false
	}
	return Job{
		Height:       littleEndian(header[chainwebHeight : chainwebHeight+16]),
		PreviousHash: header[chainwebParent:chainwebCount], Template: template(header[chainwebParent:]),
	}, true
}

// nervosJob reads: job, hash of the header, height, parent hash, clean.
func nervosJob(p []any, _ *seen) (Job, bool) {
	if len(p) != 5 || !isHex(p[1], 64, 64) || !isHex(p[3], 64, 64) || !isBool(p[4]) {
		return Job{}, false
	}
	height, ok := unsigned(p[2])
	previous := p[3]
	if !ok {
		return Job{}, false
	}
	return Job{
		Height: height, PreviousHash: strings.ToLower(previous.(string)),
		Template: template(p[1].(string), previous.(string)),
	}, true
}

// isHexOrEmpty tells whether v is "" or so many hex digits.
func isHexOrEmpty(v any, digits int) bool { return v == "" || isHex(v, digits, digits) }

// littleEndian gives a number of at most 8 bytes that stands in hex with the low byte first.
func littleEndian(s string) uint64 {
	var number [8]byte
	if len(s) > 2*len(number) {
		return 0
	}
	if _, err := hex.Decode(number[:], []byte(s)); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(number[:])
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

// isConfiguration tells the result of mining.configure (BIP 310) for version rolling. It is never asked for.
func isConfiguration(v any) bool {
	extensions, _ := v.(map[string]any)
	return isBool(extensions["version-rolling"]) && isHex(extensions["version-rolling.mask"], 8, 8)
}

// isMask tells the parameters of mining.set_version_mask (BIP 310).
func isMask(v any) bool {
	p, ok := array(v, 1, 1)
	return ok && isHex(p[0], 8, 8)
}

// isExtranonce tells the parameters of mining.set_extranonce: extranonce1, and with Bitcoin's kin the size of extranonce2.
func isExtranonce(v any) bool {
	p, ok := array(v, 1, 2)
	return ok && isHex(p[0], 2, 64) && (len(p) == 1 || isNonceSize(p[1]))
}

// isDifficulty tells the parameters of mining.set_difficulty.
func isDifficulty(v any) bool {
	p, ok := array(v, 1, 1)
	return ok && isNumber(p[0])
}

// isBool tells whether v is true or false.
func isBool(v any) bool {
	_, ok := v.(bool)
	return ok
}

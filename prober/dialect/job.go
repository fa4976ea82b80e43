package dialect

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Bounds of what a Job keeps of a server's words, in bytes.
const (
	maxTag   = 100
	maxWord  = 64 // Algorithm and Software
	leastRun = 4  // shorter runs of printable bytes are chance
)

// enriched gives j with what a later message of the same connection told. A job of another template replaces all that is
// known of the block.
func enriched(j, by Job) Job {
	if by.Template != "" {
		j.Height, j.PreviousHash, j.Tag = 0, "", ""
	}
	return Job{
		Algorithm:    cmp.Or(by.Algorithm, j.Algorithm),
		Height:       cmp.Or(by.Height, j.Height),
		Difficulty:   cmp.Or(by.Difficulty, j.Difficulty),
		PreviousHash: cmp.Or(by.PreviousHash, j.PreviousHash),
		Template:     cmp.Or(by.Template, j.Template),
		Tag:          cmp.Or(by.Tag, j.Tag),
		Software:     cmp.Or(by.Software, j.Software),
	}
}

// template gives the SHA-256 of what a job says of the block. Hex counts the same in either case, and no field runs into
// the next.
func template(fields ...string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.Join(fields, "\n"))))
	return hex.EncodeToString(sum[:])
}

// word gives a server's word as at most maxWord bytes of printable ASCII.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), maxWord)]
}

// positive gives a JSON number as a difficulty, 0 if it is none.
func positive(v any) float64 {
	n, _ := v.(json.Number)
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// hashesPer gives how many hashes a share takes on average, 2^256 through the target (hex, the high digits first); 0 for
// the target 0.
func hashesPer(target string) float64 {
	t, ok := new(big.Int).SetString(target, 16)
	if !ok || t.Sign() <= 0 {
		return 0
	}
	all := new(big.Int).Lsh(big.NewInt(1), 256)
	f, _ := new(big.Float).Quo(new(big.Float).SetInt(all), new(big.Float).SetInt(t)).Float64()
	return f
}

// unsigned gives a JSON number from 0 to 2^64-1 without fraction and exponent.
func unsigned(v any) (uint64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(string(n), 10, 64)
	return u, err == nil
}

// hashes gives a list of at most 64 hashes of 32 bytes: a merkle branch.
func hashes(v any) ([]string, bool) {
	list, ok := array(v, 0, 64)
	if !ok {
		return nil, false
	}
	branch := make([]string, len(list))
	for i, hash := range list {
		if !isHex(hash, 64, 64) {
			return nil, false
		}
		branch[i] = hash.(string)
	}
	return branch, true
}

const (
	// maxScript is the longest script of a coinbase's input in bytes, by Bitcoin's consensus.
	maxScript = 100
	// maxCoinbaseHeight is above every chain's height; other numbers at the place of BIP 34's are none.
	maxCoinbaseHeight = 1 << 27
	// mergeMark begins the 44 bytes of merged mining in the script: 32 of a hash, 4 of a size, 4 of a nonce. They are
	// printable only by chance.
	mergeMark   = "\xfa\xbemm"
	mergeLength = 44
)

// coinbaseInput is the outpoint that a coinbase's only input names: the hash 0, the index 2^32-1.
var coinbaseInput = append(make([]byte, 32), 0xff, 0xff, 0xff, 0xff)

// coinbase gives the block's height (BIP 34) and the pool's signature from a coinbase transaction. A job has it in two
// halves in hex; between them the miner puts both extranonces, that have so many bytes together, -1 if that is unknown.
func coinbase(first, second string, nonces int) (height uint64, tag string) {
	head, _ := hex.DecodeString(first)
	tail, _ := hex.DecodeString(second)
	at := bytes.Index(head, coinbaseInput)
	if at < 0 || at+len(coinbaseInput) >= len(head) {
		return 0, ""
	}
	head = head[at+len(coinbaseInput):]
	length, script := int(head[0]), head[1:]
	if length > maxScript {
		return 0, ""
	}
	after := 0 // how much of the script follows the extranonces
	if nonces >= 0 {
		after = max(length-len(script)-nonces, 0)
	}
	script = script[:min(length, len(script))]
	height, script = scriptHeight(script)
	return height, signature(script, tail[:min(after, len(tail))])
}

// scriptHeight gives the number that a coinbase's script begins with, and what follows it; 0 if there is none.
func scriptHeight(script []byte) (height uint64, rest []byte) {
	if len(script) == 0 {
		return 0, nil
	}
	n := int(script[0])
	switch {
	case n > 0x50 && n <= 0x60: // OP_1 to OP_16
		return uint64(n - 0x50), script[1:]
	case n == 0 || n > 4 || n >= len(script):
		return 0, script
	}
	var number [8]byte
	copy(number[:], script[1:1+n])
	height = binary.LittleEndian.Uint64(number[:])
	if height >= maxCoinbaseHeight {
		height = 0
	}
	return height, script[1+n:]
}

// signature gives the runs of printable bytes in the parts of a coinbase, at most maxTag bytes.
func signature(parts ...[]byte) string {
	var runs []string
	for _, part := range parts {
		if before, after, ok := bytes.Cut(part, []byte(mergeMark)); ok {
			after = after[min(mergeLength-len(mergeMark), len(after)):]
			part = bytes.Join([][]byte{before, after}, []byte{0})
		}
		for _, run := range bytes.FieldsFunc(part, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			if run = bytes.TrimSpace(run); len(run) >= leastRun {
				runs = append(runs, string(run))
			}
		}
	}
	tag := strings.Join(runs, " ")
	return tag[:min(len(tag), maxTag)]
}

package wallets

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/sha3"
)

// alphabet is that of Bitcoin's base 58 (bitcoin/src/base58.cpp), which CryptoNote shares.
const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

const checksumLen = 4 // bytes, of base58check, CryptoNote and Ergo alike

// decode58 reads a number in base 58; every leading 1 is a zero byte. The text is at most 128 bytes, as the way is
// quadratic.
func decode58(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s)) // little end first
	for i := range len(s) {
		carry := strings.IndexByte(alphabet, s[i])
		if carry < 0 {
			return nil, false
		}
		for j := range out {
			carry += int(out[j]) * 58
			out[j], carry = byte(carry), carry>>8
		}
		for ; carry > 0; carry >>= 8 {
			out = append(out, byte(carry))
		}
	}
	for i := 0; i < len(s) && s[i] == alphabet[0]; i++ {
		out = append(out, 0)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, true
}

// base58Checked reads the addresses of Bitcoin's family: version, a hash of 20 bytes, and the first bytes of the SHA-256 of
// the SHA-256 of both.
func base58Checked(s string) (Login, bool) {
	const hashLen, longest = 20, 36
	if len(s) > longest {
		return Login{}, false
	}
	data, ok := decode58(s)
	if !ok {
		return Login{}, false
	}
	for _, v := range versions {
		if len(data) != len(v.bytes)+hashLen+checksumLen || !bytes.HasPrefix(data, []byte(v.bytes)) {
			continue
		}
		body, sum := data[:len(data)-checksumLen], data[len(data)-checksumLen:]
		once := sha256.Sum256(body)
		twice := sha256.Sum256(once[:])
		return Login{Wallet: s, Coins: v.coins, Kind: v.kind, Valid: bytes.Equal(twice[:checksumLen], sum)}, true
	}
	return Login{}, false
}

// ergo reads Ergo's addresses: network and type in a byte, a compressed key or 192 bits of a script's hash, and a checksum
// of BLAKE2b-256 (docs.ergoplatform.com, address types; ergo-lib, enum Address). Addresses that hold a whole script are left
// out: they have any length, and nobody mines to them.
func ergo(s string) (Login, bool) {
	const (
		payToKey, payToScriptHash = 0x01, 0x02 // on the main network, which is 0x00
		keyLen, hashLen           = 33, 24
		longest                   = 52
	)
	if len(s) > longest {
		return Login{}, false
	}
	data, ok := decode58(s)
	if !ok {
		return Login{}, false
	}
	l := Login{Wallet: s, Coins: []string{"ERG"}}
	switch {
	case len(data) == 1+keyLen+checksumLen && data[0] == payToKey && (data[1] == 2 || data[1] == 3):
		l.Kind = PublicKey
	case len(data) == 1+hashLen+checksumLen && data[0] == payToScriptHash:
		l.Kind = Script
	default:
		return Login{}, false
	}
	body, sum := data[:len(data)-checksumLen], data[len(data)-checksumLen:]
	hash := blake2b.Sum256(body)
	l.Valid = bytes.Equal(hash[:checksumLen], sum)
	return l, true
}

// blockChars is how many characters a last block of so many bytes has, in CryptoNote's base 58 (CryptoNote Standard 007,
// section 6; monero/src/common/base58.cpp).
var blockChars = [...]int{0, 2, 3, 5, 6, 7, 9, 10, 11}

// decodeBlocks reads CryptoNote's base 58: blocks of 8 bytes as 11 characters, the last one shorter.
func decodeBlocks(s string) ([]byte, bool) {
	const full, fullChars = 8, 11
	var out []byte
	for s != "" {
		chars, size := min(len(s), fullChars), 0
		for size = range blockChars {
			if blockChars[size] == chars {
				break
			}
		}
		if blockChars[size] != chars {
			return nil, false
		}
		var n uint64
		for i := range chars {
			digit := strings.IndexByte(alphabet, s[i])
			// What does not fit is no other spelling of the same bytes.
			const most = ^uint64(0)
			if digit < 0 || n > most/58 || n*58 > most-uint64(digit) {
				return nil, false
			}
			n = n*58 + uint64(digit)
		}
		if size < full && n>>(8*size) != 0 {
			return nil, false
		}
		for i := size - 1; i >= 0; i-- {
			out = append(out, byte(n>>(8*i)))
		}
		s = s[chars:]
	}
	return out, true
}

// cryptoNote reads the addresses of Monero and its kin: prefix, the spend and the view key, if integrated a payment ID, and
// the first bytes of the Keccak-256 of all that.
func cryptoNote(s string) (Login, bool) {
	const (
		key, id  = 32, 8
		shortest = 50 // a single key
	)
	if len(s) < shortest {
		return Login{}, false
	}
	data, ok := decodeBlocks(s)
	if !ok || len(data) <= checksumLen {
		return Login{}, false
	}
	body, sum := data[:len(data)-checksumLen], data[len(data)-checksumLen:]
	prefix, n := varint(body)
	if n == 0 {
		return Login{}, false
	}
	length := map[Kind]int{Standard: 2 * key, Subaddress: 2 * key, Integrated: 2*key + id, Short: key}
	for _, p := range prefixes {
		if p.prefix != prefix || length[p.kind] != len(body)-n {
			continue
		}
		hash := sha3.NewLegacyKeccak256()
		hash.Write(body)
		l := Login{Wallet: s, Coins: p.coins, Kind: p.kind, Valid: bytes.Equal(hash.Sum(nil)[:checksumLen], sum)}
		if l.Kind == Integrated {
			l.PaymentID = hex.EncodeToString(body[n+2*key:])
		}
		return l, true
	}
	return Login{}, false
}

// varint reads a number of 7 bits a byte, the low ones first, and tells its length; 0 if there is none, or if it is longer
// than needed.
func varint(b []byte) (v uint64, n int) {
	const most = 9 // bytes, 63 bits
	for i := range min(len(b), most) {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if i > 0 && b[i] == 0 {
				return 0, 0
			}
			return v, i + 1
		}
	}
	return 0, 0
}

package wallets

import (
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/sha3"
)

// charset is that of Bech32 (BIP 173), which cash addresses and Kaspa share.
const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// fiveBits reads characters of charset in lower case.
func fiveBits(s string) ([]byte, bool) {
	out := make([]byte, len(s))
	for i := range len(s) {
		n := strings.IndexByte(charset, s[i])
		if n < 0 {
			return nil, false
		}
		out[i] = byte(n)
	}
	return out, true
}

// bytesOf joins groups of five bits to bytes. What is left over is less than a group and all zero, as BIP 173 asks.
func bytesOf(groups []byte) ([]byte, bool) {
	var out []byte
	acc, bits := uint(0), 0
	for _, g := range groups {
		acc, bits = (acc<<5|uint(g))&0xfff, bits+5
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out, bits < 5 && acc&(1<<bits-1) == 0
}

// oneCase gives s in lower case; ok is false if it mixes cases, which Bech32 and cash addresses forbid.
func oneCase(s string) (lower string, ok bool) {
	lower = strings.ToLower(s)
	return lower, s == lower || s == strings.ToUpper(s)
}

// witness reads the addresses of SegWit: Bech32 for version 0 (BIP 173), Bech32m for the others (BIP 350).
func witness(s string) (Login, bool) {
	const sumChars, longest = 6, 90
	lower := strings.ToLower(s)
	hrp, rest, ok := strings.Cut(lower, "1")
	coins := witnessCoins[hrp]
	if !ok || coins == nil || len(s) > longest || len(rest) < sumChars+1 {
		return Login{}, false
	}
	l := Login{Wallet: lower, Coins: coins, Kind: Witness}
	groups, ok := fiveBits(rest)
	if !ok {
		return Login{}, false
	}
	version := groups[0]
	program, padded := bytesOf(groups[1 : len(groups)-sumChars])
	const mostVersion, least, most = 16, 2, 40
	if version > mostVersion || len(program) < least || len(program) > most {
		return Login{}, false
	}
	if version == 0 && len(program) != 20 && len(program) != 32 {
		return Login{}, false
	}
	want := uint32(1) // of Bech32
	if version > 0 {
		want = 0x2bc830a3 // of Bech32m
	}
	_, single := oneCase(s)
	l.Valid = single && padded && polymod32(hrp, groups) == want
	return l, true
}

// polymod32 is the checksum of BIP 173 over prefix and data.
func polymod32(hrp string, data []byte) uint32 {
	generator := [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	sum := uint32(1)
	add := func(v byte) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := range len(hrp) {
		add(hrp[i] >> 5)
	}
	add(0)
	for i := range len(hrp) {
		add(hrp[i] & 31)
	}
	for _, v := range data {
		add(v)
	}
	return sum
}

// cash reads the cash addresses of Bitcoin Cash and eCash and the addresses of Kaspa, which are made like them: a prefix, a
// colon, and a version byte and a hash or key with a checksum of 40 bits. The prefix may be left out; then only the
// checksum, which covers it, tells that there is an address at all.
func cash(s string) (Login, bool) {
	lower, single := oneCase(s)
	given, text, named := strings.Cut(lower, ":")
	if !named {
		given, text = "", lower
	}
	const sumChars = 8
	groups, ok := fiveBits(text)
	if !ok || len(groups) <= sumChars {
		return Login{}, false
	}
	data, padded := bytesOf(groups[:len(groups)-sumChars])
	for _, c := range cashCoins {
		if named && given != c.prefix || len(data) == 0 {
			continue
		}
		kind, ok := c.kind(data[0], len(data)-1)
		if !ok {
			continue
		}
		valid := single && padded && polymod40(c.prefix, groups) == 0
		if valid || named {
			return Login{Wallet: c.prefix + ":" + text, Coins: c.coins, Kind: kind, Valid: valid}, true
		}
	}
	return Login{}, false
}

// polymod40 is the checksum of cash addresses (bitcoincash.org spec/cashaddr.md; kaspad util/bech32).
func polymod40(prefix string, data []byte) uint64 {
	generator := [...]uint64{0x98f2bc8e61, 0x79b76d99e2, 0xf33e5fb3c4, 0xae2eabe2a8, 0x1e4f43e470}
	sum := uint64(1)
	add := func(v byte) {
		top := sum >> 35
		sum = sum&0x07ffffffff<<5 ^ uint64(v)
		for i, g := range generator {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := range len(prefix) {
		add(prefix[i] & 31)
	}
	add(0)
	for _, v := range data {
		add(v)
	}
	return sum ^ 1
}

// hexAccount reads the addresses of Ethereum and its kin: 20 bytes in hexadecimal. Letters of both cases are a checksum
// (EIP-55). Without 0x only a right one tells an address from any other hash.
func hexAccount(s string) (Login, bool) {
	digits, named := strings.CutPrefix(s, "0x")
	if !named {
		digits, named = strings.CutPrefix(s, "0X")
	}
	lower := strings.ToLower(digits)
	if raw, err := hex.DecodeString(lower); err != nil || len(raw) != 20 {
		return Login{}, false
	}
	l := Login{Wallet: "0x" + lower, Coins: accountCoins, Kind: Account}
	if _, single := oneCase(digits); single {
		l.Unchecked = true
		return l, named
	}
	hash := sha3.NewLegacyKeccak256()
	hash.Write([]byte(lower))
	sum := hex.EncodeToString(hash.Sum(nil))
	l.Valid = true
	for i := range len(digits) {
		if c := lower[i]; c >= 'a' && (sum[i] >= '8') != (digits[i] != c) {
			l.Valid = false
		}
	}
	return l, named || l.Valid
}

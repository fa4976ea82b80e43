// Package wallets reads what miners log in with: which coin a wallet is of, whether its checksum is right, and what stands
// beside it (worker, difficulty, payment ID). It looks at text alone and asks nobody.
//
// A wallet that passes its checksum is no typing error and no invention. It tells nothing of who owns it, and who mines for
// it need not be its owner.
package wallets

import (
	"slices"
	"strconv"
	"strings"
)

// The bounds of a login.
const (
	// MaxLogin is the longest login in bytes; a longer one is none.
	MaxLogin = 512
	// MaxWorker is how many bytes of a worker's name are kept.
	MaxWorker = 64

	maxMode = 16
)

// Kind is what sort of address a wallet is.
type Kind string

// The kinds. Standard, Subaddress, Integrated and Short are those of CryptoNote, the next four those of Bitcoin's family and
// of Kaspa and Ergo, Account that of Ethereum's.
const (
	Standard   Kind = "standard"
	Subaddress Kind = "subaddress"
	Integrated Kind = "integrated" // a standard address with a payment ID in it
	Short      Kind = "short"      // one key instead of two
	PublicKey  Kind = "public-key" // a key or its hash
	Script     Kind = "script"
	Witness    Kind = "witness" // Bech32 and Bech32m
	Account    Kind = "account"
)

// Login is what a login says. All strings are printable ASCII.
type Login struct {
	// Wallet is the address in one spelling, whatever the miner wrote: hexadecimal and Bech32 in lower case, cash addresses
	// with their prefix. At most 128 bytes.
	Wallet string `json:"wallet"`
	// Coins are the symbols of the coins whose addresses look so, the usual first; several coins share a version byte, and
	// Ethereum's family shares everything.
	Coins []string `json:"coins"`
	// Kind is what sort of address it is.
	Kind Kind `json:"kind"`
	// Valid tells that the checksum is right. Unchecked tells that the address is written without one, as Ethereum's are in
	// a single case. With neither the checksum is wrong.
	Valid     bool `json:"valid"`
	Unchecked bool `json:"unchecked,omitempty"`
	// Worker is the miner's name for the machine, at most MaxWorker bytes, without characters other than printable ASCII.
	Worker string `json:"worker,omitempty"`
	// Difficulty is what the miner asked for with +N; 0 if it did not. Pools that have N after a dot instead cannot be told
	// from a worker's name.
	Difficulty uint64 `json:"difficulty,omitempty"`
	// PaymentID is that of CryptoNote pools, 16 or 64 hexadecimal digits in lower case. An integrated address has it inside.
	PaymentID string `json:"payment_id,omitempty"`
	// Mode is what stood before a colon, such as "solo", or the coin in which a pool is to pay.
	Mode string `json:"mode,omitempty"`
}

// Parse reads a login: a wallet, before it "mode:", after it a worker, a difficulty, a payment ID and an e-mail address in
// the forms of the usual pools:
//
//	WALLET  WALLET.worker  WALLET/worker  WALLET:worker  WALLET_worker
//	WALLET+20000  WALLET.paymentid  WALLET+paymentid.worker  WALLET%5%OTHER
//	solo:WALLET  LTC:WALLET.worker#code  WALLET.worker/name@example.net
//
// The forms are those of nodejs-pool and cryptonote-nodejs-pool (github.com/MoneroOcean/nodejs-pool lib/pool/miners.js,
// github.com/dvandal/cryptonote-nodejs-pool config_examples). E-mail addresses, percentages and codes are not kept. The
// name of an account at a pool is no wallet: ok is false. A wallet of a clear form with a wrong checksum is ok, and not
// Valid.
func Parse(login string) (l Login, ok bool) {
	login = strings.TrimSpace(login)
	if login == "" || len(login) > MaxLogin {
		return Login{}, false
	}
	mode := ""
	for range 2 {
		end := strings.IndexFunc(login, func(r rune) bool { return !alphanumeric(r) })
		if end < 0 {
			end = len(login)
		}
		word, rest := login[:end], login[end:]
		if after, colon := strings.CutPrefix(rest, ":"); colon {
			// A prefix of the address, a mode before it, or a worker after it.
			if cashPrefix(strings.ToLower(word)) {
				n := strings.IndexFunc(after, func(r rune) bool { return !alphanumeric(r) })
				if n < 0 {
					n = len(after)
				}
				word, rest = word+":"+after[:n], after[n:]
			} else if _, wallet := Recognise(word); !wallet && mode == "" && len(word) <= maxMode {
				mode, login = word, after
				continue
			}
		}
		if l, ok = Recognise(word); ok {
			l.Mode = mode
			l.rest(rest)
			return l, true
		}
		break
	}
	return Login{}, false
}

// rest reads what stands behind the wallet.
func (l *Login) rest(s string) {
	const separators = "./+%:_-@#"
	for len(s) > 0 && strings.IndexByte(separators, s[0]) >= 0 {
		sep := s[0]
		s = s[1:]
		// A worker's name may have further punctuation; dots, slashes and plus signs end it.
		end := strings.IndexAny(s, "./+%#")
		if end < 0 {
			end = len(s)
		}
		part := s[:end]
		if sep == '/' && strings.Contains(s, "@") {
			return // an e-mail address, to the end
		}
		s = s[end:]
		n, err := strconv.ParseUint(part, 10, 64)
		switch {
		case l.PaymentID == "" && l.cryptoNote() && (sep == '.' || sep == '+') && paymentID(part):
			l.PaymentID = strings.ToLower(part)
		case sep == '+' && err == nil && l.Difficulty == 0:
			l.Difficulty = n
		case sep == '%' || sep == '#':
			// A share for somebody else, or a code.
		case l.Worker == "":
			l.Worker = printable(part, MaxWorker)
		}
	}
}

func (l *Login) cryptoNote() bool {
	return l.Kind == Standard || l.Kind == Subaddress || l.Kind == Integrated || l.Kind == Short
}

// Recognise tells which coin a wallet is of, if it is one; s is the address alone. Only addresses of main networks are
// known. What has the form of no address, or neither form nor checksum of one, is none.
func Recognise(s string) (l Login, ok bool) {
	const shortest, longest = 25, 128
	if len(s) < shortest || len(s) > longest {
		return Login{}, false
	}
	for _, read := range []func(string) (Login, bool){hexAccount, witness, cash, cryptoNote, base58Checked, ergo} {
		if l, ok := read(s); ok {
			l.Coins = slices.Clone(l.Coins)
			return l, true
		}
	}
	return Login{}, false
}

// paymentID tells whether s is a payment ID of CryptoNote: 8 bytes, or 32 in its older form.
func paymentID(s string) bool {
	return (len(s) == 16 || len(s) == 64) && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func alphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// printable keeps the printable ASCII characters of s, at most n of them.
func printable(s string, n int) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < n; i++ {
		if c := s[i]; ' ' <= c && c <= '~' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

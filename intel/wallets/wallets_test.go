package wallets_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/wallets"
)

// known are addresses published by the coins or by software for them. Nobody's privacy is touched: they are of
// specifications, tests, and for donations.
var known = []struct {
	wallet string
	coin   string // the first of the candidates
	kind   wallets.Kind
	source string
}{
	{"42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWDm", "XMR", wallets.Standard, "monero tests/functional_tests/validate_address.py"},
	{"44Kbx4sJ7JDRDV5aAhLJzQCjDz2ViLRduE3ijDZu3osWKBjMGkV1XPk4pfDUMqt1Aiezvephdqm6YD19GKFD9ZcXVUTp6BW", "XMR", wallets.Standard, "the same"},
	{"4BxSHvcgTwu25WooY4BVmgdcKwZu5EksVZSZkDd6ooxSVVqQ4ubxXkhLF6hEqtw96i9cf3cVfLw8UWe95bdDKfRQeYtPwLm1Jiw7AKt2LY", "XMR", wallets.Integrated, "the same"},
	{"8AsN91rznfkBGTY8psSNkJBg9SZgxxGGRUhGwRptBhgr5XSQ1XzmA9m8QAnoxydecSh5aLJXdrgXwTDMMZ1AuXsN1EX5Mtm", "XMR", wallets.Subaddress, "the same"},
	{"888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H", "XMR", wallets.Subaddress, "donate.getmonero.org, in the same"},
	{"Wo3MWeKwtA918DU4c69hVSNgejdWFCRCuWjShRY66mJkU2Hv58eygJWDJS1MNa2Ge5M1WjUkGHuLqHkweDxwZZU42d16v94mP", "WOW", wallets.Standard, "bisq assets WowneroTest.java"},
	{"WmsSXcudnpRFjXr5qZzEY5AF64J6CpFKHYXJS92rF9WjHVjQvJxrmSGNQnSfwwJtGGeUMKvLYn5nz2yL9f6M4FN51Z5r8zt4C", "AEON", wallets.Standard, "bisq assets AeonTest.java"},
	{"XnY88EywrSDKiQkeeoq261dShCcz1vEDwgk3Wxz77AWf9JBBtDRMTD9Fe3BMFAVyMPY1sP44ovKKpi4UrAR26o661aAcATQ1k", "AEON", wallets.Subaddress, "the same"},
	{"ar3ZLUTSac5DhxhyLJB11gcXWLYPKJchg7c8hoaKmqchC9TtHEdXzxGgt2vzCLUYwtSvkJQTXNCjzCR7KZiFUySV138PEopVC", "ARQ", wallets.Standard, "bisq assets ArqmaTest.java"},
	{"aRS3V2hXuVAGAb5XWcDvN7McsSyqrEZ3XWyfMdEDCqioWNmVUuoKyNxDo7rwPCg55Ugb6KHXLN7hLZEGcnZzbm8M7uJ9YdVpeN", "ARQ", wallets.Subaddress, "the same"},
	{"RYoLsinT9duNEtHGqAUicJKD2cmGiB9gB6sqHqWvV6suB4TtPSR8ynyh2vVVvNyDE6g7WEaBxCG8GD1KM2ffWP7FLXgeJbNYrp2", "RYO", wallets.Standard, "bisq assets RyoTest.java"},
	{"RYoSrJ7ES1wGsikGHFm69SU6dTTKt8Vi6V7BoC3wsLcc1Y2CXgQkW7vHSe5uArGU9TjUC5RtvzhCycVDnPPbThTmZA8VqDzTPeM", "RYO", wallets.Subaddress, "the same"},
	{"RYoKst8YBCucSywKDshsywbjc5uCi8ybSUtWgvM3LfzaYe93d4qqpsJ", "RYO", wallets.Short, "the same"},
	{"TRTLv2X775FNQmN8x2UC3TVzs6trRHwUAcQSL6RUyRXR6JjwFYP8XG8VTCsi7QgPcWBJUWJk2SwaMYvrMk37T4nFVLPigMXcsf8", "TRTL", wallets.Standard, "bisq assets TurtleCoinTest.java"},
	{"Sumoo64zh7dRFyB8dgDWZMLmzKBgGXYWZCG4NBF2VcvzEuiSQpMjyyiYJ1Ra696pZu56PPFQNBDdB1rZjyeX1RVKeWZgHg7pTxj", "SUMO", wallets.Standard, "a pool's example configuration"},
	{"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "BTC", wallets.PublicKey, "Bitcoin's first block"},
	{"1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu", "BTC", wallets.PublicKey, "bitcoincash.org spec/cashaddr.md"},
	{"3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC", "BTC", wallets.Script, "the same"},
	{"bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "BCH", wallets.PublicKey, "the same"},
	{"bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq", "BCH", wallets.Script, "the same"},
	{"ecash:qpm2qsznhks23z7629mms6s4cwef74vcwva87rkuu2", "XEC", wallets.PublicKey, "bitcoin-abc, ecashaddrjs"},
	{"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "BTC", wallets.Witness, "BIP 173"},
	{"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", "BTC", wallets.Witness, "BIP 350"},
	{"bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", "BTC", wallets.Witness, "BIP 350"},
	{"LVg2kJoFNg45Nbpy53h7Fe1wKyeXVRhMH9", "LTC", wallets.PublicKey, "wallet-address-validator's tests"},
	{"DPS6iZj7roHquvwRYXNBua9QtKPzigUUhM", "DOGE", wallets.PublicKey, "the same"},
	{"A7JjzK9k9x5b2MkkQzqt91WZsuu7wTu6iS", "DOGE", wallets.Script, "the same"},
	{"SiEgX2mSYJjVN9YGuC23uckE6BS1ZSHcGD", "DGB", wallets.Script, "the same"},
	{"dgb1q00002724tefpjkpn8mp233uyqwd8hnny55e0zg", "DGB", wallets.Witness, "the same"},
	{"XoAAqv3oUYZ6xRjX3brfbf9PotrGanS6Th", "DASH", wallets.PublicKey, "the same"},
	{"7SSyVfQK3EbQrmPy7b3j4DKk9vWh7yXZ7R", "DASH", wallets.Script, "php-cryptocurrency-address-validation's tests"},
	{"t1U9yhDa5XEjgfnTgZoKddeSiEN1aoLkQxq", "ZEC", wallets.PublicKey, "wallet-address-validator's tests"},
	{"t3Vz22vK5z2LcKEdg16Yv4FFneEL1zg9ojd", "ZEC", wallets.Script, "the same; Zcash's founders' reward"},
	{"RT1iM3xbqSQ276GNGGNGFdYrMTEeq4hXRH", "RVN", wallets.PublicKey, "Tangem's tests"},
	{"VmhHwXr3J8xMZpy62WuBGpu3xVvThWzcTQ", "VTC", wallets.PublicKey, "wallet-address-validator's tests"},
	{"GUDWdeMyAXQbrNFFivAhkJQ1GfBCFdc7JF", "BTG", wallets.PublicKey, "the same"},
	{"NCPPc7Pzb75CpRPJQPRRh6ouJTq7BCy1H4", "NMC", wallets.PublicKey, "the same"},
	{"PHCEsP6od3WJ8K2WKWEDBYKhH95pc9kiZN", "PPC", wallets.PublicKey, "the same"},
	{"9fRAWhdxEsTcdb8PhGNrZfwqa65zfkuYHAMmkQLcic1gdLSV5vA", "ERG", wallets.PublicKey, "docs.ergoplatform.com, address types"},
	{"8UApt8czfFVuTgQmMwtsRBZ4nfWquNiSwCWUjMg", "ERG", wallets.Script, "the same"},
	{"kaspa:qr35ennsep3hxfe7lnz5ee7j5jgmkjswsn35ennsep3hxfe7ln35cdv0dy335", "KAS", wallets.PublicKey, "kaspad util/address_test.go"},
	{"kaspa:prq20q4qd9ulr044cauyy9wtpeupqpjv67pn2vyc6acly7xqkrjdzmh8rj9f4", "KAS", wallets.Script, "the same"},
	{"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "ETC", wallets.Account, "EIP-55"},
	{"0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "ETC", wallets.Account, "EIP-55"},
	{"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "ETC", wallets.Account, "EIP-55"},
	{"0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb", "ETC", wallets.Account, "EIP-55"},
}

func TestKnown(t *testing.T) {
	for _, tt := range known {
		t.Run(tt.wallet, func(t *testing.T) {
			l, ok := wallets.Recognise(tt.wallet)
			if !ok || !l.Valid || l.Unchecked || l.Kind != tt.kind || l.Coins[0] != tt.coin {
				t.Errorf("%+v, %v; want a valid %s of %s (%s)", l, ok, tt.kind, tt.coin, tt.source)
			}
			if !strings.EqualFold(l.Wallet, tt.wallet) {
				t.Errorf("wallet is %s", l.Wallet)
			}
			again, ok := wallets.Recognise(l.Wallet)
			// Hexadecimal in one case has no checksum any more.
			if !ok || again.Wallet != l.Wallet || again.Valid != (l.Kind != wallets.Account) {
				t.Errorf("its one spelling gives %+v, %v", again, ok)
			}
		})
	}
}

// No change of one character passes a checksum. EIP-55 has no more than a bit or so for each letter: there only changes of
// case are certain.
func TestChangedCharacter(t *testing.T) {
	const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	for _, tt := range known {
		changed, alphabet := []byte(tt.wallet), base58
		if strings.ContainsAny(tt.wallet, "0:") {
			alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7lQP:1bio"
		}
		for i, was := range changed {
			others := alphabet
			if tt.kind == wallets.Account {
				others = ""
				if was >= 'A' && i > 1 {
					others = string(was ^ 0x20)
				}
			}
			// Every fifth is enough for a quick test; the start differs from place to place.
			for j := i % 5; j < len(others); j += 5 {
				if changed[i] = others[j]; others[j] == was {
					continue
				}
				if l, ok := wallets.Parse(string(changed)); ok && l.Valid && l.Wallet != strings.ToLower(tt.wallet) {
					t.Errorf("%s passes as %+v", changed, l)
				}
			}
			changed[i] = was
		}
	}
}

func TestSpellings(t *testing.T) {
	tests := []struct {
		text, wallet     string
		ok, valid, plain bool // plain is Unchecked
	}{
		{text: "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", wallet: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", ok: true, valid: true},
		{text: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kV8f3t4", wallet: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", ok: true},
		{text: "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", wallet: "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", ok: true, valid: true},
		{text: "qpm2qsznhks23z7629mms6s4cwef74vcwva87rkuu2", wallet: "ecash:qpm2qsznhks23z7629mms6s4cwef74vcwva87rkuu2", ok: true, valid: true},
		{text: "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6q"},
		{text: "BITCOINCASH:QPM2QSZNHKS23Z7629MMS6S4CWEF74VCWVY22GDX6A", wallet: "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", ok: true, valid: true},
		{text: "bitcoincash:Qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", wallet: "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", ok: true},
		{text: "ecash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", wallet: "ecash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", ok: true},
		{text: "qr35ennsep3hxfe7lnz5ee7j5jgmkjswsn35ennsep3hxfe7ln35cdv0dy335", wallet: "kaspa:qr35ennsep3hxfe7lnz5ee7j5jgmkjswsn35ennsep3hxfe7ln35cdv0dy335", ok: true, valid: true},
		{text: "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", wallet: "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", ok: true, plain: true},
		{text: "0X5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", wallet: "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", ok: true, plain: true},
		{text: "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", wallet: "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", ok: true, valid: true},
		{text: "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"},   // any SHA-1
		{text: "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"},   // nor with both cases
		{text: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA"},   // 19 bytes
		{text: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg"}, // no hexadecimal
		// BIP 350: a checksum of the other kind, a wrong length, zero padding of more than four bits.
		{text: "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", wallet: "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", ok: true},
		{text: "bc1qr508d6qejxtdg4y5r3zarvaryvqyzf3du", ok: false},
		{text: "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", wallet: "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", ok: true},
		{text: "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}, // the test network
		// Test and stage networks of Monero.
		{text: "9ujeXrjzf7bfeK3KZdCqnYaMwZVFuXemPU8Ubw335rj2FN1CdMiWNyFV3ksEfMFvRp9L9qum5UxkP5rN9aLcPxbH1au4WAB"},
		{text: "53teqCAESLxeJ1REzGMAat1ZeHvuajvDiXqboEocPaDRRmqWoVPzy46GLo866qRFjbNhfkNckyhST3WEvBviDwpUDd7DSzB"},
		{text: "42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWD9", wallet: "42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWD9", ok: true},
		{text: "42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWD"},
		{text: strings.Repeat("z", 95)}, // every block is too large
		{text: strings.Repeat("1", 34)},
		{text: strings.Repeat("1", 129)},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			l, ok := wallets.Recognise(tt.text)
			if ok != tt.ok || l.Wallet != tt.wallet || l.Valid != tt.valid || l.Unchecked != tt.plain {
				t.Errorf("%+v, %v; want %+v", l, ok, tt)
			}
		})
	}
}

const (
	xmr        = "42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWDm"
	integrated = "4CMe2PUhs4J4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfSbLRB61BQVATzerHGj" // monero tests/functional_tests/integrated_address.py
	btc        = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
	kas        = "kaspa:qr35ennsep3hxfe7lnz5ee7j5jgmkjswsn35ennsep3hxfe7ln35cdv0dy335"
	eth        = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
	id8        = "0123456789abcdef"
)

func TestParse(t *testing.T) {
	id32 := strings.Repeat(id8, 4)
	tests := []struct {
		login  string
		wallet string // "" is no login
		want   wallets.Login
	}{
		{login: xmr, wallet: xmr},
		{login: "  " + xmr + "\n", wallet: xmr},
		{login: xmr + ".rig1", wallet: xmr, want: wallets.Login{Worker: "rig1"}},
		{login: xmr + "/rig1", wallet: xmr, want: wallets.Login{Worker: "rig1"}},
		{login: xmr + ":rig1", wallet: xmr, want: wallets.Login{Worker: "rig1"}},
		{login: xmr + "_rig-1:a", wallet: xmr, want: wallets.Login{Worker: "rig-1:a"}},
		{login: xmr + "+20000", wallet: xmr, want: wallets.Login{Difficulty: 20000}},
		{login: xmr + "+20000.rig1", wallet: xmr, want: wallets.Login{Difficulty: 20000, Worker: "rig1"}},
		{login: xmr + ".rig1+20000", wallet: xmr, want: wallets.Login{Difficulty: 20000, Worker: "rig1"}},
		{login: xmr + ".20000", wallet: xmr, want: wallets.Login{Worker: "20000"}},
		{login: xmr + "+99999999999999999999", wallet: xmr, want: wallets.Login{Worker: "99999999999999999999"}},
		{login: xmr + "." + id8, wallet: xmr, want: wallets.Login{PaymentID: id8}},
		{login: xmr + "." + strings.ToUpper(id32) + ".rig1/me@example.net", wallet: xmr, want: wallets.Login{PaymentID: id32, Worker: "rig1"}},
		{login: xmr + "/me@example.net", wallet: xmr},
		{login: xmr + "+" + id8 + "+5000", wallet: xmr, want: wallets.Login{PaymentID: id8, Difficulty: 5000}},
		{login: xmr + ".rig1." + id8, wallet: xmr, want: wallets.Login{PaymentID: id8, Worker: "rig1"}},
		{login: integrated, wallet: integrated, want: wallets.Login{PaymentID: id8}},
		{login: integrated + "." + id8, wallet: integrated, want: wallets.Login{PaymentID: id8, Worker: id8}},
		{login: xmr + "%5%" + integrated + "+300", wallet: xmr, want: wallets.Login{Difficulty: 300}},
		{login: "solo:" + xmr + ".rig1", wallet: xmr, want: wallets.Login{Mode: "solo", Worker: "rig1"}},
		{login: "LTC:" + btc + ".rig1#abcd-1234", wallet: btc, want: wallets.Login{Mode: "LTC", Worker: "rig1"}},
		{login: "solo:" + kas + ".rig1", wallet: kas, want: wallets.Login{Mode: "solo", Worker: "rig1"}},
		{login: kas + ".rig1", wallet: kas, want: wallets.Login{Worker: "rig1"}},
		{login: strings.TrimPrefix(kas, "kaspa:") + ".rig1", wallet: kas, want: wallets.Login{Worker: "rig1"}},
		{login: eth + ".rig1", wallet: eth, want: wallets.Login{Worker: "rig1"}},
		{login: eth + "." + id8, wallet: eth, want: wallets.Login{Worker: id8}},
		{login: btc + ".a\x00b\x1b[31mc\u202e", wallet: btc, want: wallets.Login{Worker: "ab[31mc"}},
		{login: btc + "." + strings.Repeat("w", 300), wallet: btc, want: wallets.Login{Worker: strings.Repeat("w", wallets.MaxWorker)}},
		{login: btc + " and more", wallet: btc},
		{login: ""},
		{login: ":"},
		{login: "alice"},
		{login: "alice.rig1"},
		{login: "slush.worker1"},
		{login: "a.very.long.account.of.a.pool.with.many.dots"},
		{login: "x:x:" + btc},
		{login: "user." + btc}, // an account with a worker that is called so
		{login: btc + strings.Repeat(".", wallets.MaxLogin)},
		{login: "\xff" + btc},
	}
	for _, tt := range tests {
		t.Run(tt.login, func(t *testing.T) {
			got, ok := wallets.Parse(tt.login)
			if ok != (tt.wallet != "") {
				t.Fatalf("%+v, %v", got, ok)
			}
			if ok && !got.Valid && !got.Unchecked {
				t.Error("is not valid")
			}
			tt.want.Wallet = tt.wallet
			got.Coins, got.Kind, got.Valid, got.Unchecked = nil, "", false, false
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is around a valid wallet, no other wallet comes out, and all that comes out is bounded.
func TestParseProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(known).Draw(t, "wallet")
		behind := rapid.StringMatching(`([./+%:_@#-][ -~]{0,80}){0,3}`).Draw(t, "behind")
		l, ok := wallets.Parse(k.wallet + behind)
		if !ok || !l.Valid || !strings.EqualFold(l.Wallet, k.wallet) {
			t.Fatalf("%+v, %v", l, ok)
		}
		checkBounds(t, l)
	})
}

func checkBounds(t interface{ Fatalf(string, ...any) }, l wallets.Login) {
	if len(l.Wallet) > 128 || len(l.Worker) > wallets.MaxWorker || len(l.Mode) > 16 || len(l.PaymentID) > 64 || l.Wallet == "" || len(l.Coins) == 0 || l.Valid && l.Unchecked {
		t.Fatalf("out of bounds: %+v", l)
	}
	for _, s := range append([]string{l.Wallet, l.Worker, l.Mode, l.PaymentID, string(l.Kind)}, l.Coins...) {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("not printable: %q", s)
		}
	}
}

func FuzzLogin(f *testing.F) {
	for _, k := range known {
		f.Add(k.wallet + ".rig1+20000")
	}
	f.Add("solo:" + xmr + "." + id8 + "/me@example.net")
	f.Add(kas + ":" + kas)
	f.Add("alice.1")
	f.Fuzz(func(t *testing.T, login string) {
		l, ok := wallets.Parse(login)
		if !ok {
			if diff := cmp.Diff(wallets.Login{}, l); diff != "" {
				t.Fatal(diff)
			}
			return
		}
		checkBounds(t, l)
		again, ok := wallets.Parse(l.Wallet)
		if !ok && (l.Valid || l.Unchecked) || ok && again.Wallet != l.Wallet {
			t.Fatalf("%+v comes back as %+v, %v", l, again, ok)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, login := range map[string]string{"monero": xmr + ".rig1+20000", "bitcoin": btc + ".rig1", "none": "alice.rig1"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				wallets.Parse(login)
			}
		})
	}
}

package wallets

// prefix is a prefix of CryptoNote addresses.
type prefix struct {
	prefix uint64
	kind   Kind
	coins  []string
}

// prefixes are those of the main networks.
var prefixes = []prefix{
	// github.com/monero-project/monero src/cryptonote_config.h
	{18, Standard, []string{"XMR"}},
	{19, Integrated, []string{"XMR"}},
	{42, Subaddress, []string{"XMR"}},
	// codeberg.org/wownero/wownero src/cryptonote_config.h, as MyMonero's light wallet for Wownero repeats it
	{4146, Standard, []string{"WOW"}},
	{6810, Integrated, []string{"WOW"}},
	{12208, Subaddress, []string{"WOW"}},
	// github.com/haven-protocol-org/haven-main src/cryptonote_config.h
	{0x5af4, Standard, []string{"XHV"}},
	{0xcd774, Integrated, []string{"XHV"}},
	{0x12d974, Subaddress, []string{"XHV"}},
	// github.com/salvium/salvium src/cryptonote_config.h, before and since Carrot
	{0x3ef318, Standard, []string{"SAL"}},
	{0x55ef318, Integrated, []string{"SAL"}},
	{0xf5ef318, Subaddress, []string{"SAL"}},
	{0x180c96, Standard, []string{"SAL"}},
	{0x2ccc96, Integrated, []string{"SAL"}},
	{0x314c96, Subaddress, []string{"SAL"}},
	// github.com/zephyr-protocol/zephyr src/cryptonote_config.h
	{0x3d58c0, Standard, []string{"ZEPH"}},
	{0x331d40, Integrated, []string{"ZEPH"}},
	{0x351f40, Subaddress, []string{"ZEPH"}},
	// github.com/sumoprojects/sumokoin src/cryptonote_config.h; Ryo's addresses were the same until it had its own
	{0x2bb39a, Standard, []string{"SUMO", "RYO"}},
	{0x29339a, Integrated, []string{"SUMO", "RYO"}},
	{0x8319a, Subaddress, []string{"SUMO", "RYO"}},
	// github.com/ryo-currency/ryo-currency src/cryptonote_config.h
	{0x2c6192, Short, []string{"RYO"}},
	{0x2ce192, Standard, []string{"RYO"}},
	{0x2de192, Integrated, []string{"RYO"}},
	{0x2fe192, Subaddress, []string{"RYO"}},
	// github.com/arqma/arqma src/cryptonote_config.h
	{0x2cca, Standard, []string{"ARQ"}},
	{0x116bc7, Integrated, []string{"ARQ"}},
	{0x6847, Subaddress, []string{"ARQ"}},
	// github.com/aeonix/aeon src/cryptonote_config.h
	{0xb2, Standard, []string{"AEON"}},
	{0x2733, Integrated, []string{"AEON"}},
	{0x6b8, Subaddress, []string{"AEON"}},
	// github.com/turtlecoin/turtlecoin src/config/cryptonote_config.h; its integrated addresses have another form
	{3914525, Standard, []string{"TRTL"}},
	// github.com/ConcealNetwork/conceal-core src/CryptoNoteConfig.h
	{0x7ad4, Standard, []string{"CCX"}},
}

// version is the version of addresses in base58check.
type version struct {
	bytes string
	kind  Kind
	coins []string
}

// versions are those of the main networks: base58Prefixes in src/chainparams.cpp of each coin's node (Bitcoin's is now
// src/kernel/chainparams.cpp), read where github.com/guggero/blockchain-demo bitcoin-networks.md and
// github.com/marksuurland/crypto-address-validator src/currencies.ts repeat them; Ravencoin's in clove's network/raven.
var versions = []version{
	{"\x00", PublicKey, []string{"BTC", "BCH", "BSV"}},
	// Litecoin and DigiByte had the version of Bitcoin's scripts first, and still take it; Vertcoin has it.
	{"\x05", Script, []string{"BTC", "BCH", "BSV", "LTC", "DGB", "VTC"}},
	{"\x30", PublicKey, []string{"LTC"}},
	{"\x32", Script, []string{"LTC"}},
	{"\x1e", PublicKey, []string{"DOGE", "DGB"}},
	{"\x16", Script, []string{"DOGE"}},
	{"\x3f", Script, []string{"DGB"}},
	{"\x4c", PublicKey, []string{"DASH"}},
	{"\x10", Script, []string{"DASH"}},
	{"\x3c", PublicKey, []string{"RVN"}},
	{"\x7a", Script, []string{"RVN"}},
	{"\x47", PublicKey, []string{"VTC"}},
	{"\x26", PublicKey, []string{"BTG"}},
	{"\x17", Script, []string{"BTG"}},
	{"\x34", PublicKey, []string{"NMC"}},
	{"\x37", PublicKey, []string{"PPC"}},
	{"\x75", Script, []string{"PPC"}},
	{"\x1c\xb8", PublicKey, []string{"ZEC"}}, // ZIP 32 and protocol specification, section 5.6.1.1
	{"\x1c\xbd", Script, []string{"ZEC"}},
	{"\x20\x89", PublicKey, []string{"ZEN"}},
	{"\x20\x96", Script, []string{"ZEN"}},
}

// witnessCoins are the human-readable parts of Bech32 addresses: BIP 173, and bech32_hrp in the coins' chainparams.cpp.
var witnessCoins = map[string][]string{
	"bc":  {"BTC"},
	"ltc": {"LTC"},
	"dgb": {"DGB"},
}

// cashCoin is a coin with cash addresses; kind reads the version byte for so many bytes that follow it.
type cashCoin struct {
	prefix string
	coins  []string
	kind   func(version byte, size int) (Kind, bool)
}

var cashCoins = []cashCoin{
	{"bitcoincash", []string{"BCH"}, cashKind}, // bitcoincash.org spec/cashaddr.md
	{"ecash", []string{"XEC"}, cashKind},       // github.com/Bitcoin-ABC/bitcoin-abc web/e.cash, ecashaddrjs
	{"kaspa", []string{"KAS"}, kaspaKind},      // github.com/kaspanet/kaspad util/address.go
}

// cashPrefix tells whether a word is the prefix of a coin's addresses.
func cashPrefix(word string) bool {
	for _, c := range cashCoins {
		if c.prefix == word {
			return true
		}
	}
	return false
}

// cashKind knows the two types of cash addresses, and hashes of 20 and, since 2023, 32 bytes.
func cashKind(version byte, size int) (Kind, bool) {
	switch {
	case version == 0 && size == 20:
		return PublicKey, true
	case version == 1<<3 && size == 20, version == 1<<3|3 && size == 32:
		return Script, true
	}
	return "", false
}

// kaspaKind knows keys of Schnorr (0) and ECDSA (1) and hashes of scripts (8).
func kaspaKind(version byte, size int) (Kind, bool) {
	switch {
	case version == 0 && size == 32, version == 1 && size == 33:
		return PublicKey, true
	case version == 8 && size == 32:
		return Script, true
	}
	return "", false
}

// accountCoins are mined coins that took over Ethereum's addresses, Ethereum's own last, as it is not mined any more.
var accountCoins = []string{"ETC", "ETHW", "OCTA", "QUAI", "ETH"}

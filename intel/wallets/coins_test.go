package wallets

import (
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/sha3"
	"pgregory.net/rapid"
)

// encodeBlocks is the other way of decodeBlocks, with big numbers.
func encodeBlocks(data []byte) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(len(data), 8)
		v, text := new(big.Int).SetBytes(data[:n]), ""
		for range blockChars[n] {
			var digit big.Int
			v.DivMod(v, big.NewInt(58), &digit)
			text = alphabet[digit.Int64():][:1] + text
		}
		b.WriteString(text)
		data = data[n:]
	}
	return b.String()
}

// Addresses of keys that do not matter begin as the coins' own configuration says they do.
func TestPrefixesShow(t *testing.T) {
	shows := map[uint64]string{
		18: "4", 19: "4", 42: "8", 4146: "Wo", 12208: "WW",
		0x5af4: "hvx", 0xcd774: "hvi", 0x12d974: "hvs",
		0x3ef318: "SaLv", 0x55ef318: "SaLv", 0xf5ef318: "SaLv", 0x180c96: "SC1", 0x2ccc96: "SC1i", 0x314c96: "SC1s",
		0x3d58c0: "ZEPH", 0x331d40: "ZEii", 0x351f40: "ZEs",
		0x2bb39a: "Sumo", 0x29339a: "Sumi", 0x8319a: "Subo",
		0x2c6192: "RYoK", 0x2ce192: "RYoL", 0x2de192: "RYoN", 0x2fe192: "RYoS",
		0x2cca: "ar", 0x116bc7: "aRi", 0x6847: "aRS", 0xb2: "Wm", 0x2733: "Wz", 0x6b8: "Xn", 3914525: "TRTL", 0x7ad4: "ccx7",
	}
	size := map[Kind]int{Standard: 64, Subaddress: 64, Integrated: 72, Short: 32}
	seen := map[uint64]bool{}
	for _, p := range prefixes {
		if seen[p.prefix] {
			t.Errorf("prefix %#x is there twice", p.prefix)
		}
		seen[p.prefix] = true
		for _, fill := range []byte{0x20, 0x80, 0xe0} {
			var body []byte
			for v := p.prefix; ; v >>= 7 {
				if v < 0x80 {
					body = append(body, byte(v))
					break
				}
				body = append(body, byte(v)|0x80)
			}
			for range size[p.kind] {
				body = append(body, fill)
			}
			hash := sha3.NewLegacyKeccak256()
			hash.Write(body)
			text := encodeBlocks(append(body, hash.Sum(nil)[:checksumLen]...))
			l, ok := Recognise(text)
			if !ok || !l.Valid || l.Kind != p.kind || l.Coins[0] != p.coins[0] {
				t.Errorf("%s: %+v, %v; want %+v", text, l, ok, p)
			}
			if want, ok := shows[p.prefix]; ok && !strings.HasPrefix(text, want) {
				t.Errorf("%s of %v %s does not begin with %s", text, p.coins, p.kind, want)
			}
		}
	}
}

// Decoding is the other way of encoding, and nothing else decodes to the same bytes.
func TestBlocksProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "data")
		text := encodeBlocks(data)
		if got, ok := decodeBlocks(text); !ok || string(got) != string(data) {
			t.Fatalf("%s is %x, %v; want %x", text, got, ok, data)
		}
		free := rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 0, 40, -1).Draw(t, "text")
		if got, ok := decodeBlocks(free); ok && encodeBlocks(got) != free {
			t.Fatalf("%s and %s are the same bytes", free, encodeBlocks(got))
		}
	})
}

func TestDecode58Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("1"+alphabet)), 0, 60, -1).Draw(t, "text")
		got, ok := decode58(text)
		want := new(big.Int)
		for _, c := range text {
			want.Add(want.Mul(want, big.NewInt(58)), big.NewInt(int64(strings.IndexRune(alphabet, c))))
		}
		ones := len(text) - len(strings.TrimLeft(text, "1"))
		if !ok || new(big.Int).SetBytes(got).Cmp(want) != 0 || len(got) != ones+len(want.Bytes()) {
			t.Fatalf("%s is %x", text, got)
		}
	})
}

// The largest block, and what is larger (monero tests/unit_tests/base58.cpp).
func TestBlocksEdges(t *testing.T) {
	if got, ok := decodeBlocks("jpXCZedGfVQ"); !ok || string(got) != "\xff\xff\xff\xff\xff\xff\xff\xff" {
		t.Errorf("%x, %v", got, ok)
	}
	for _, text := range []string{"jpXCZedGfVR", "zzzzzzzzzzz", "5R", "zz", "1", "1111", "11111111", "111111111110"} {
		if got, ok := decodeBlocks(text); ok {
			t.Errorf("%s is %x", text, got)
		}
	}
}

// An address with a right checksum and bits that are left over is none: it would be a second spelling of another.
func TestPadding(t *testing.T) {
	text := func(groups []byte) string {
		var b strings.Builder
		for _, g := range groups {
			b.WriteByte(charset[g])
		}
		return b.String()
	}
	for _, last := range []byte{0, 1} {
		// 32 bytes are 51 groups and a bit, 21 bytes 33 groups and three bits.
		groups := append(make([]byte, 52), last, 0, 0, 0, 0, 0, 0)
		sum := polymod32("bc", groups) ^ 1
		for i := range 6 {
			groups[53+i] = byte(sum>>(5*(5-i))) & 31
		}
		if l, ok := Recognise("bc1" + text(groups)); !ok || l.Valid != (last == 0) {
			t.Errorf("%+v, %v", l, ok)
		}
		groups = append(make([]byte, 33), last, 0, 0, 0, 0, 0, 0, 0, 0)
		long := polymod40("bitcoincash", groups)
		for i := range 8 {
			groups[34+i] = byte(long>>(5*(7-i))) & 31
		}
		if l, ok := Recognise("bitcoincash:" + text(groups)); !ok || l.Valid != (last == 0) {
			t.Errorf("%+v, %v", l, ok)
		}
	}
}

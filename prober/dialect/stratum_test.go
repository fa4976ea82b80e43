package dialect

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What pools send, with the forms of their jobs.
var (
	nomp = `{"id":1,"result":[[["mining.set_difficulty","deadbeefcafebabe0400"],["mining.notify","deadbeefcafebabe0400"]],"70000003",4],"error":null}` + "\n"

	// Both halves of a header from the merkle root on: height 1,000 and bits, then time, nonce, extra data, stake version.
	decredRest = strings.Repeat("0b", 92) + "e8030000" + "aabb0000" + "6b00f700" + strings.Repeat("00", 36) + "03000000"
	decred12   = `"1","` + h64 + `","` + decredRest + `","",[],"09000000","1d00ffff","6b00f700",true`
	sia9       = `"bf","` + h64 + `","` + strings.Repeat("00", 48) + "0100000000000000300000000000000" + "04e6f6e53696100000000000000000000" +
		"4c55584f5200000000000000" + `","0000000000000000",["` + h64 + `"],"","1a08645a","58258e5700000000",false`
	ergo9        = `"1",614400,"` + h64 + `","","","00000002","28948022309329048855892746252171976963209391069768726095651290785379","",true`
	kadenaNonces = `{"id":2,"result":[null,"09e8",6],"error":null}` + "\n"
	kadena3      = `"6412800009e8","0000000000000000` + "1128f13f5ccf0500" + strings.Repeat("0c", 32) + "0300" +
		strings.Repeat("0d", 108+32+32+4+32) + "6e06200000000000" + "05000000" + strings.Repeat("00", 16) + `",true`

	alephiumFirst = `{"id":null,"method":"mining.set_difficulty","params":[1.5]}` + "\n" + `{"id":1,"result":"result"}` + "\n"
	alephiumBlob  = "0007" + strings.Repeat("e0", 32*3) + strings.Repeat("f0", 32) + strings.Repeat("f1", 32) + strings.Repeat("f2", 32) +
		strings.Repeat("f3", 32) + strings.Repeat("aa", 64) + "0000018b2d3c4d5e" + "1b032f55"
	alephium2 = `{"jobId":"1","fromGroup":3,"toGroup":1,"txsBlob":"","targetBlob":"03ffff","headerBlob":"` + alephiumBlob + `","height":1200000},` +
		`{"jobId":"2","fromGroup":3,"toGroup":2,"txsBlob":"00","targetBlob":"03ffff","headerBlob":"` + alephiumBlob + `","height":1200001}`

	kawpowFirst = `{"id":1,"result":[null,"64290b"],"error":null}` + "\n" + `{"id":null,"method":"mining.set_target","params":["00000000ffff` + strings.Repeat("0", 52) + `"]}` + "\n"
	kawpow7     = `"0000cccd","` + h64 + `","` + strings.Repeat("0b", 32) + `","00000000ff` + strings.Repeat("f", 54) + `",true,2900000,"1b00ffff"`

	hello      = `{"id":1,"result":{"proto":"EthereumStratum/2.0.0","encoding":"plain","resume":"0","timeout":"b4","maxerrors":"5","node":"Geth/v1.8.18"}}` + "\n"
	kaspaNonce = `{"id":1,"method":"set_extranonce","params":["0029",6]}` + "\n"
	kaspaJob   = `"1",[723401728380766730,723401728380766730,723401728380766730,18446744073709551615],1700000000000`
)

// notify is a job with the parameters.
func notify(params string) string {
	return `{"id":null,"method":"mining.notify","params":[` + params + `]}` + "\n"
}

// TestSoftware: pool programs are told by their answer to mining.subscribe.
func TestSoftware(t *testing.T) {
	tests := []struct {
		name, result, software string
		proxy                  bool
	}{
		{"ckpool", `[[["mining.notify","6b00f74e"]],"4ef7006b",8]`, "ckpool", false},
		{"one pair with a shorter nonce", `[[["mining.notify","6b00f74e"]],"4ef7006b",4]`, "", false},
		{"NOMP", `[[["mining.set_difficulty","deadbeefcafebabe0400"],["mining.notify","deadbeefcafebabe0400"]],"70000003",4]`, "NOMP", false},
		{"dcrpool", `[[["mining.set_difficulty","mn52bf23f3"],["mining.notify","mn52bf23f3"]],"52bf23f3",4]`, "dcrpool", false},
		{"names of another nonce", `[[["mining.set_difficulty","mn52bf23f3"],["mining.notify","mn52bf23f3"]],"52bf23f4",4]`, "", false},
		{"Python p2pool", `[["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"],"",4]`, "p2pool", false},
		{"flat pair with a nonce", `[["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"],"00",4]`, "", false},
		{"SRI translator", `[[["mining.set_difficulty","3"],["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"]],"01000001000000000000000000000000",4]`, "SRI translator", true},
		{"Slush Pool's example", `[[["mining.set_difficulty","b4b6693b72a50c7116db18d6497cac52"],["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"]],"08000002",4]`, "", false},
		{"names that are numbers", `[[["mining.set_difficulty",1],["mining.notify",2]],"08000002",4]`, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(`{"id":1,"error":null,"result":` + tt.result + "}\n")); err != nil {
				t.Fatal(err)
			}
			got := r.End()
			if got.Level != Proof || got.Job.Software != tt.software || got.Proxy != tt.proxy {
				t.Errorf("got %+v, want %q, proxy %v", got, tt.software, tt.proxy)
			}
		})
	}
}

// TestDecided: a proof that was asked for is decided when its coin and a job are known, an unasked one at once.
func TestDecided(t *testing.T) {
	tests := []struct {
		name, text    string
		asked, listen bool
	}{
		{"nothing", "", false, false},
		{"refusal", `{"id":1,"error":[20,"connected miner with id x is unsupported",null],"result":null}` + "\n", false, false},
		{"subscription", nomp, false, true},
		{"subscription and job", nomp + notify(job9), true, true},
		{"session of an unknown coin", kawpowFirst, false, false},
		{"session and job", kawpowFirst + notify(kawpow7), true, true},
		{"protocol of no pool", "SSH-2.0-OpenSSH_9.6\r\n", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []*Reader{asked(), NewReader()} {
				if err := r.Feed([]byte(tt.text)); err != nil {
					t.Fatal(err)
				}
				want := tt.asked
				if len(r.sent) == 0 {
					want = tt.listen
				}
				if r.Decided() != want {
					t.Errorf("%d questions: decided %v, want %v", len(r.sent), r.Decided(), want)
				}
			}
		})
	}
}

// TestPlaceholder: Alephium's answer to mining.subscribe is not what we wait for.
func TestPlaceholder(t *testing.T) {
	r := asked()
	for i, text := range []string{alephiumFirst, `{"id":1,"result":"results"}` + "\n"} {
		if err := r.Feed([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if r.Answers() != i {
			t.Errorf("%d answers after %q, want %d", r.Answers(), text, i)
		}
	}
}

// TestConfirm: the second question has the native agent, whichever was configured, and not the version, so that the
// version in an answer is the server's own.
func TestConfirm(t *testing.T) {
	const version = `{"id":1,"result":[true,"EthereumStratum/1.0.0"],"error":null}` + "\n"
	for _, agent := range []string{"", "probe (abuse@example.org)"} {
		target := Target{Agent: agent}
		got := stratum().Confirm(target)
		if diff := cmp.Diff(subscribe(stratumAgent), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, tt := range []struct {
			asked []Request
			want  Level
		}{{stratum().Ask(target), Strong}, {got, Proof}} {
			r := NewReader()
			r.Sent(tt.asked[0])
			if err := r.Feed([]byte(version)); err != nil {
				t.Fatal(err)
			}
			if f := r.End(); f.Level != tt.want || f.Dialect != Kaspa {
				t.Errorf("asked %q: got %+v, want %v", tt.asked[0].Line, f, tt.want)
			}
		}
	}
}

// TestJobs: what a connection told of the work.
func TestJobs(t *testing.T) {
	const public = "02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff1703bab30c5075626c69632d506f6f6c"
	a, b := strings.Repeat("0A", 32), strings.Repeat("0b", 32)
	tests := []struct {
		name, text string
		want       Job
	}{
		{
			"public-pool", `{"id":1,"error":null,"result":[[["mining.notify","5a"]],"70000003",4]}` + "\n" + `{"id":null,"method":"mining.set_difficulty","params":[64]}` + "\n" +
				notify(`"e61a60","`+a+`","`+public+`","ffffffff0200",["`+b+`"],"20000000","17034219","6b00f700",true`),
			Job{Height: 832442, Difficulty: 64, PreviousHash: h64, Template: template(h64, b, "20000000", "17034219"), Tag: "Public-Pool"},
		},
		{
			"text on both sides of the extranonces, difficulty last", nomp + notify(`"1","`+a+`","`+strings.Replace(public, "ff17", "ff1e", 1)+`","`+fmt.Sprintf("%x", "/mined")+`ffffffff",[],"20000000","17034219","6b00f700",true`) +
				`{"id":null,"method":"mining.set_difficulty","params":[0.5]}` + "\n",
			Job{Height: 832442, Difficulty: 0.5, PreviousHash: h64, Template: template(h64, "", "20000000", "17034219"), Tag: "Public-Pool /mined", Software: "NOMP"},
		},
		{
			"no subscription: what follows the extranonces is unknown", notify(`"1","` + a + `","` + strings.Replace(public, "ff17", "ff1e", 1) + `","` + fmt.Sprintf("%x", "/mined") + `ffffffff",[],"20000000","17034219","6b00f700",true`),
			Job{Height: 832442, PreviousHash: h64, Template: template(h64, "", "20000000", "17034219"), Tag: "Public-Pool"},
		},
		{
			"the last job counts", notify(`"1","`+a+`","`+public+`","",[],"20000000","17034219","6b00f700",true`) + notify(`"2","`+b+`","00","",[],"20000000","17034219","6b00f700",true`),
			Job{PreviousHash: b, Template: template(b, "", "20000000", "17034219")},
		},
		{"difficulties that are none", nomp + `{"method":"mining.set_difficulty","params":[-1]}` + "\n" + `{"method":"mining.set_difficulty","params":[1e999]}` + "\n", Job{Software: "NOMP"}},
		{"Decred", notify(decred12), Job{Height: 1000, PreviousHash: h64, Template: template(h64, decredRest[:200], "09000000")}},
		{"Sia", notify(sia9), Job{PreviousHash: h64, Template: template(h64, h64, "", "1a08645a"), Tag: "LUXOR"}},
		{"Ergo", nomp + notify(ergo9), Job{Height: 614400, Template: template(h64, "614400 00000002"), Software: "NOMP"}},
		{"Kadena", notify(kadena3), Job{Height: 2098798, PreviousHash: strings.Repeat("0c", 32), Template: template(kadena3[16+32:][:540])}},
		{"Nervos", kadenaNonces + notify(`"1611","`+h64+`",1,"`+b+`",true`), Job{Height: 1, PreviousHash: b, Template: template(h64, b)}},
		{"Alephium", alephiumFirst + notify(alephium2), Job{
			Height: 1200000, Difficulty: 1.5, PreviousHash: strings.Repeat("f1", 32),
			Template: template("3 1 "+alephiumBlob[:580], "3 2 "+alephiumBlob[:580]),
		}},
		{"KawPow", kawpowFirst + notify(kawpow7), Job{Height: 2900000, Difficulty: 1 << 32, Template: template(h64, b, "1b00ffff")}},
		{"EthereumStratum", notify(`"1","` + h64 + `","` + b + `",true`), Job{Template: template(h64, b)}},
		{"EthereumStratum 2", strings.Replace(hello, "Geth", `Ge\u001bth\u202e\n`, 1), Job{Software: "Geth/v1.8.18"}},
		{"long software", strings.Replace(hello, "Geth", strings.Repeat("G", 100), 1), Job{Software: strings.Repeat("G", 64)}},
		{"Zcash", notify(job8), Job{PreviousHash: h64, Template: template("04000000", h64, h64, h64, "1f07ffff")}},
		{"Zhash", notify(job8 + `,"144_5","BgoldPoW"`), Job{Algorithm: "144_5", PreviousHash: h64, Template: template("04000000", h64, h64, h64, "1f07ffff")}},
		{"target", `{"method":"mining.set_target","params":["` + strings.Repeat("0", 63) + `1"]}` + "\n", Job{Difficulty: 0x1p256}},
		{"target 0", `{"method":"mining.set_target","params":["` + strings.Repeat("0", 64) + `"]}` + "\n", Job{}},
		{"Kaspa", notify(kaspaJob), Job{Template: template(strings.Repeat("0a", 24) + strings.Repeat("ff", 8))}},
		{"Kaspa for BzMiner", notify(`"1","` + strings.Repeat("0a", 24) + strings.Repeat("FF", 8) + `0000018b2d3c4d5e"`), Job{Template: template(strings.Repeat("0a", 24) + strings.Repeat("ff", 8))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.End().Job); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTemplate: what changes from miner to miner leaves the template as it is, what says which block it is does not.
func TestTemplate(t *testing.T) {
	form := func(job, previous, first, second, branch, version, bits, time string) string {
		return notify(fmt.Sprintf(`"%s","%s","%s","%s",[%s],"%s","%s","%s",true`, job, previous, first, second, branch, version, bits, time))
	}
	a, b := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	one := form("1", a, "0100", "00", `"`+b+`"`, "20000000", "1d00ffff", "6b00f700")
	tests := []struct {
		name, text string
		same       bool
	}{
		{"job", form("2", a, "0100", "00", `"`+b+`"`, "20000000", "1d00ffff", "6b00f700"), true},
		{"coinbase", form("1", a, "0200", "01", `"`+b+`"`, "20000000", "1d00ffff", "6b00f700"), true},
		{"time", form("1", a, "0100", "00", `"`+b+`"`, "20000000", "1d00ffff", "6b00f701"), true},
		{"upper case", form("1", strings.ToUpper(a), "0100", "00", `"`+b+`"`, "20000000", "1D00FFFF", "6b00f700"), true},
		{"previous hash", form("1", b, "0100", "00", `"`+b+`"`, "20000000", "1d00ffff", "6b00f700"), false},
		{"merkle branch", form("1", a, "0100", "00", ``, "20000000", "1d00ffff", "6b00f700"), false},
		{"version", form("1", a, "0100", "00", `"`+b+`"`, "30000000", "1d00ffff", "6b00f700"), false},
		{"bits", form("1", a, "0100", "00", `"`+b+`"`, "20000000", "1d00fffe", "6b00f700"), false},
	}
	job := func(t *testing.T, text string) string {
		t.Helper()
		r := asked()
		if err := r.Feed([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return r.End().Job.Template
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := job(t, one) == job(t, tt.text); got != tt.same {
				t.Errorf("same template: %v, want %v", got, tt.same)
			}
		})
	}
}

func TestCoinbase(t *testing.T) {
	const before = "0100000001" + "0000000000000000000000000000000000000000000000000000000000000000ffffffff"
	script := func(length int, parts ...string) string {
		return fmt.Sprintf("%s%02x%x", before, length, strings.Join(parts, ""))
	}
	const height = "\x03\xba\xb3\x0c"
	tests := []struct {
		name, first, second string
		nonces              int
		height              uint64
		tag                 string
	}{
		{"nothing", "", "", 0, 0, ""},
		{"no hex", "zz", "zz", 0, 0, ""},
		{"cut before the script", before, "", 0, 0, ""},
		{"empty script", before + "00", "", 0, 0, ""},
		{"height alone", script(4, height), "", 0, 832442, ""},
		{"height of one byte", script(2, "\x01\x7f"), "", 0, 127, ""},
		{"height by opcode", script(6, "\x60pool!"), "", 0, 16, "pool!"},
		{"height cut", script(4, "\x03\xba"), "", 0, 0, ""},
		{"no height", script(9, "\x04\xff\xff\x00\x1dpool"), "", 0, 0, "pool"},
		{"nTime of a proof-of-stake coin", strings.Replace(script(8, height, "pool"), "01000000", "010000006b00f700", 1), "", 0, 832442, "pool"},
		{"script longer than the consensus", script(101, height, "pool"), "", 0, 0, ""},
		{"short runs", script(16, height, "abc\x00abcd\x00xyz"), "", 0, 832442, "abcd"},
		{"what follows the script is no text of it", script(8, height, "pool", "\xff\xff\xff\xffoutputs"), "", 8, 832442, "pool"},
		{"after the extranonces", script(20, height), "2f706f6f6c2e6578" + "ffffffff", 8, 832442, "/pool.ex"},
		{"after extranonces of unknown length", script(20, height), "2f706f6f6c2e6578" + "ffffffff", -1, 832442, ""},
		{"less than the script says", script(90, height), "2f706f6f6c2e6578", 8, 832442, "/pool.ex"},
		{"merged mining", script(4+44+5, height, "\xfa\xbemm", strings.Repeat("x", 40), "/pool"), "", 0, 832442, "/pool"},
		{"merged mining cut", script(60, height, "\xfa\xbemm", strings.Repeat("x", 20)), "", 0, 832442, ""},
		{"long text", script(99, height, strings.Repeat("y", 95)), strings.Repeat("7a", 9), 0, 832442, strings.Repeat("y", 95)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			height, tag := coinbase(tt.first, tt.second, tt.nonces)
			if height != tt.height || tag != tt.tag {
				t.Errorf("coinbase = %d, %q; want %d, %q", height, tag, tt.height, tt.tag)
			}
		})
	}
}

// TestCoinbaseBounds: whatever stands in a coinbase, the text is bounded and printable.
func TestCoinbaseBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := rapid.SliceOfN(rapid.Byte(), 0, 300)
		first := append(append([]byte{1}, coinbaseInput...), half.Draw(t, "first")...)
		height, tag := coinbase(hex.EncodeToString(first), hex.EncodeToString(half.Draw(t, "second")), rapid.IntRange(-1, 48).Draw(t, "nonces"))
		if height >= maxCoinbaseHeight || len(tag) > maxTag || strings.ContainsFunc(tag, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Fatalf("coinbase = %d, %q", height, tag)
		}
	})
}

var (
	reBool    = regexp.MustCompile(`^(true|false)$`)
	reSize    = regexp.MustCompile(`^(-?0|[0-9]|1[0-6])$`)
	reNatural = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	reNumber  = regexp.MustCompile(`^-?[0-9]`)
)

func FuzzStratum(f *testing.F) {
	fuzz(f, StratumV1, func(line []byte) bool {
		m := members(line)
		p := list(m["params"])
		switch method := text(m["method"]); {
		case method == "mining.set_target" && len(p) == 1: // half of a proof with nonces
			return reHex64.MatchString(text(p[0]))
		case method == "mining.set_difficulty" && len(p) == 1:
			return reNumber.Match(p[0])
		case method == "mining.notify" && len(p) == 9 && reNatural.Match(p[1]): // Ergo
			return reHex64.MatchString(text(p[2])) && text(p[3]) == "" && text(p[4]) == "" && reNatural.MatchString(strings.TrimLeft(text(p[6]), "0")+"0") &&
				text(p[7]) == "" && reBool.Match(p[8])
		case method == "mining.notify" && len(p) == 9: // Bitcoin, Decred, Sia
			return reHex64.MatchString(text(p[1])) && reHex.MatchString(text(p[2])) && reHex.MatchString(text(p[3])) && len(p[4]) > 0 && p[4][0] == '[' &&
				(text(p[5]) == "" || reHex8.MatchString(text(p[5]))) && (text(p[6]) == "" || reHex8.MatchString(text(p[6]))) &&
				reTarget.MatchString(text(p[7])) && reBool.Match(p[8])
		case method == "mining.notify" && (len(p) == 2 || len(p) == 3): // Kadena
			return len(text(p[1])) == 572 && reHex.MatchString(text(p[1]))
		case method == "mining.notify" && len(p) == 5: // Nervos
			return reHex64.MatchString(text(p[1])) && reNatural.Match(p[2]) && reHex64.MatchString(text(p[3])) && reBool.Match(p[4])
		}
		r := list(m["result"])
		return len(r) == 3 && (string(r[0]) == "null" || strings.HasPrefix(string(r[0]), "[") && regexp.MustCompile(`"mining\.(notify|set_difficulty)"`).Match(unescaped(r[0]))) &&
			reHex.MatchString(text(r[1])) && reSize.Match(r[2])
	})
}

func FuzzZcash(f *testing.F) {
	// A proof may be of two lines: each is half of one.
	fuzz(f, Zcash, func(line []byte) bool {
		m := members(line)
		if p := list(m["params"]); text(m["method"]) == "mining.notify" && (len(p) == 8 || len(p) == 10) {
			return reHex8.MatchString(text(p[1])) && reHex64.MatchString(text(p[2])) && reHex64.MatchString(text(p[3])) && reHex64.MatchString(text(p[4]))
		}
		if p := list(m["params"]); text(m["method"]) == "mining.set_target" && len(p) == 1 {
			return reHex64.MatchString(text(p[0]))
		}
		return false
	})
}

func FuzzAlephium(f *testing.F) {
	fuzz(f, Alephium, func(line []byte) bool {
		m := members(line)
		chains := list(m["params"])
		if text(m["method"]) != "mining.notify" || len(chains) == 0 {
			return false
		}
		for _, chain := range chains {
			c := members(chain)
			if text(c["jobId"]) == "" || !reNatural.Match(c["fromGroup"]) || !reNatural.Match(c["toGroup"]) || text(c["headerBlob"]) == "" ||
				!reHex.MatchString(text(c["headerBlob"])) || !reHex.MatchString(text(c["targetBlob"])) {
				return false
			}
		}
		return true
	})
}

func FuzzKawpow(f *testing.F) {
	fuzz(f, Kawpow, func(line []byte) bool {
		m := members(line)
		p := list(m["params"])
		return text(m["method"]) == "mining.notify" && len(p) == 7 && reHex64.MatchString(text(p[1])) && reHex64.MatchString(text(p[2])) &&
			reHex64.MatchString(text(p[3])) && reBool.Match(p[4]) && reNatural.Match(p[5]) && reHex8.MatchString(text(p[6]))
	})
}

func FuzzEthereumStratum(f *testing.F) {
	fuzz(f, EthereumStratum, func(line []byte) bool {
		m := members(line)
		if p := list(m["params"]); text(m["method"]) == "mining.notify" && len(p) == 4 {
			return reHex64.MatchString(text(p[1])) && reHex64.MatchString(text(p[2])) && reBool.Match(p[3])
		}
		r := list(m["result"])
		if len(r) != 2 || !reHex.MatchString(text(r[1])) {
			return false
		}
		triple := list(r[0])
		return len(triple) == 3 && text(triple[0]) == "mining.notify" && strings.HasPrefix(text(triple[2]), "EthereumStratum/")
	})
}

func FuzzEthereumStratum2(f *testing.F) {
	fuzz(f, EthereumStratum2, func(line []byte) bool {
		r := members(members(line)["result"])
		return strings.HasPrefix(text(r["proto"]), "EthereumStratum/2.") && regexp.MustCompile(`^(plain|gzip)$`).MatchString(text(r["encoding"])) &&
			len(r["node"]) > 0 && len(r["resume"]) > 0 && len(r["timeout"]) > 0 && len(r["maxerrors"]) > 0
	})
}

func FuzzKaspa(f *testing.F) {
	// A proof may be of two lines: each is half of one.
	fuzz(f, Kaspa, func(line []byte) bool {
		m := members(line)
		p := list(m["params"])
		switch method := text(m["method"]); {
		case method == "mining.notify" && len(p) == 3:
			return len(list(p[1])) == 4 && reNatural.Match(p[2])
		case method == "mining.notify" && len(p) == 2:
			return len(text(p[1])) == 80 && reHex.MatchString(text(p[1]))
		case method == "set_extranonce" && len(p) > 0:
			return reHex.MatchString(text(p[0]))
		}
		r := list(m["result"])
		return len(r) == 2 && string(r[0]) == "true" && text(r[1]) == "EthereumStratum/1.0.0"
	})
}

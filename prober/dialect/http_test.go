package dialect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var sessionTarget = Target{Host: "192.0.2.1", Port: "8332"}

// response makes an HTTP response with the length of its body.
func response(code int, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n%s", code, http.StatusText(code), header, len(body), body)
}

// inChunks makes a chunked response.
func inChunks(body string, size int) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x;x=y\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\nTrailer: x\r\n\r\n"
}

var (
	transaction  = `{"data":"01ff","hash":"` + h64 + `","txid":"` + h64 + `","depends":[],"fee":1,"sigops":4,"weight":900}`
	btcdTemplate = `{"jsonrpc":"2.0","id":1,"error":null,"result":{"bits":"1d00ffff","curtime":1700000000,"height":840000,"previousblockhash":"` + h64 +
		`","transactions":[` + transaction + `],"version":536870912,"coinbasevalue":312500000,"target":"` + h64 + `"}}`
	bitcoindTemplate = `{"result":{"capabilities":["proposal"],"version":536870912,"rules":["csv","!segwit"],"vbavailable":{},"vbrequired":0,"previousblockhash":"` +
		h64 + `","transactions":[` + transaction + strings.Repeat(","+transaction, 400)
	workData  = strings.Repeat("ab", 80) + "00000080" + strings.Repeat("0", 80) + "80020000"
	decred    = strings.Repeat("ab", 180) + "80000001" + "00000000000005a0"
	getwork   = `{"result":{"midstate":"` + h64 + `","data":"` + workData + `","hash1":"` + h64 + h64 + `","target":"` + h64 + `"},"error":null,"id":1}`
	threeWork = `{"id":1,"jsonrpc":"2.0","result":[` + work + `]}`
	keywords  = `mining.notify previousblockhash bits coinbasevalue midstate data target result [` + work + `] {"result":{"previousblockhash":"` + h64 + `"}}`
)

// What the work above tells: two to the 256th through the target, and the block before as it stands in the data.
var (
	workJob  = Job{Difficulty: 25.5, PreviousHash: strings.Repeat("ab", 32)}
	threeJob = Job{Difficulty: 2000000000.0, Template: template(h64)}
)

// sessionCases are what servers say on one connection of a session, and what it tells.
var sessionCases = []struct {
	name, dialect string
	text          string // responses
	end           bool   // the server closes
	want          Finding
	requests      int
}{
	{"btcd", GetBlockTemplate, response(200, "", btcdTemplate), false, Finding{Level: Proof, Node: true, Job: Job{Height: 840000, PreviousHash: h64}}, 1},
	{"in chunks", GetBlockTemplate, inChunks(btcdTemplate, 100), false, Finding{Level: Proof, Node: true, Job: Job{Height: 840000, PreviousHash: h64}}, 1},
	{"until the end", GetBlockTemplate, "HTTP/1.0 200 OK\r\n\r\n" + btcdTemplate + "\n", true, Finding{Level: Proof, Node: true, Job: Job{Height: 840000, PreviousHash: h64}}, 1},
	{"after 100 Continue", GetBlockTemplate, "HTTP/1.1 100 Continue\r\n\r\n" + response(200, "", btcdTemplate), false, Finding{Level: Proof, Node: true, Job: Job{Height: 840000, PreviousHash: h64}}, 1},
	{"with an own coinbase", GetBlockTemplate, response(200, "", strings.Replace(btcdTemplate, `"coinbasevalue":312500000`, `"coinbasetxn":`+transaction, 1)), false, Finding{Level: Proof, Node: true, Job: Job{Height: 840000, PreviousHash: h64}}, 1},
	{"bitcoind, cut", GetBlockTemplate, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bitcoindTemplate, true, Finding{Level: Proof, Node: true, Job: Job{PreviousHash: h64}}, 1},
	{"bitcoind, longer than is read", GetBlockTemplate, response(200, "", bitcoindTemplate+strings.Repeat(","+transaction, 500)+"]}}"), false, Finding{Level: Proof, Node: true, Job: Job{PreviousHash: h64}}, 1},
	{"bitcoind behind a server of chunks, cut", GetBlockTemplate, inChunks(bitcoindTemplate, 1<<20), false, Finding{Level: Proof, Node: true, Job: Job{PreviousHash: h64}}, 1},
	{"cut in the first transaction", GetBlockTemplate, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bitcoindTemplate[:250], true, Finding{}, 1},
	{"cut, but claimed to be whole", GetBlockTemplate, response(200, "", bitcoindTemplate[:20000]), false, Finding{}, 1},
	{"something behind it", GetBlockTemplate, response(200, "", btcdTemplate+"x"), false, Finding{}, 1},
	{"template in an array", GetBlockTemplate, response(200, "", "["+btcdTemplate+"]"), false, Finding{}, 1},
	{"template in a string", GetBlockTemplate, response(200, "", `{"result":`+quoteJSON(btcdTemplate)+`}`), false, Finding{}, 1},
	{"template without value", GetBlockTemplate, response(200, "", strings.Replace(btcdTemplate, "coinbasevalue", "x", 1)), false, Finding{}, 1},
	{"short hash", GetBlockTemplate, response(200, "", strings.Replace(btcdTemplate, h64, h64[2:], 1)), false, Finding{}, 1},
	{"zipped without being asked", GetBlockTemplate, response(200, "Content-Encoding: gzip\r\n", btcdTemplate), false, Finding{}, 1},
	{"password of bitcoind", GetBlockTemplate, response(401, "WWW-Authenticate: Basic realm=\"jsonrpc\"\r\n", ""), false, Finding{Level: Strong, Node: true}, 1},
	{"password of btcd", GetBlockTemplate, response(401, "Www-Authenticate: Basic realm=\"btcd RPC\"\r\n", "401 Unauthorized.\n"), false, Finding{Level: Strong, Node: true}, 1},
	{"password of somebody", GetBlockTemplate, response(401, "WWW-Authenticate: Basic realm=\"jsonrpc of mine\"\r\n", ""), false, Finding{}, 1},
	{"realm without 401", GetBlockTemplate, response(200, "WWW-Authenticate: Basic realm=\"jsonrpc\"\r\n", ""), false, Finding{}, 1},
	{
		"other rules", GetBlockTemplate, response(500, "", `{"result":null,"error":{"code":-8,"message":"getblocktemplate must be called with the segwit & mweb rule sets"},"id":1}`), false,
		Finding{Level: Strong, Node: true},
		1,
	},
	{"method not found", GetBlockTemplate, response(200, "", `{"id":1,"error":{"code":-32601,"message":"no such method: getblocktemplate must be called with"}}`), false, Finding{}, 1},
	{"nothing", GetBlockTemplate, "", true, Finding{}, 1},
	{"no HTTP", GetBlockTemplate, "SSH-2.0-OpenSSH_9.6\r\n\r\n", true, Finding{}, 1},
	{"HTTP/2", GetBlockTemplate, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00\n\n", true, Finding{}, 1},
	{"deep", GetBlockTemplate, response(200, "", `{"x":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+","+btcdTemplate[1:]), false, Finding{}, 1},

	{"pool", GetWork, response(200, "X-Stratum: stratum+tcp://p:3333\r\nX-Long-Polling: /LP\r\n", getwork), false, Finding{Level: Proof, Job: workJob}, 1},
	{"node", GetWork, response(200, "", getwork), false, Finding{Level: Proof, Node: true, Job: workJob}, 1},
	{"dcrd", GetWork, response(200, "", `{"jsonrpc":"1.0","result":{"data":"`+decred+`","target":"`+h64+`"},"error":null,"id":1}`), false, Finding{Level: Proof, Node: true, Job: workJob}, 1},
	{"data without padding", GetWork, response(200, "X-Stratum: x\r\n", strings.Replace(getwork, "80020000", "80020001", 1)), false, Finding{}, 1},
	{"data of 127 bytes", GetWork, response(200, "X-Stratum: x\r\n", strings.Replace(getwork, workData, workData[2:], 1)), false, Finding{}, 1},
	{"without target", GetWork, response(200, "X-Stratum: x\r\n", strings.Replace(getwork, "target", "tarot", 1)), false, Finding{}, 1},
	{"btcd's command unimplemented", GetWork, response(200, "", `{"result":null,"error":{"code":-1,"message":"Command unimplemented"},"id":1}`), false, Finding{}, 1},

	{
		"open-ethereum-pool", EthereumGetWork, response(200, "Content-Type: text/plain\r\n", threeWork) + response(200, "", `{"id":2,"error":{"code":-3,"message":"Method not found"}}`), false,
		Finding{Level: Proof},
		2,
	},
	{"node at the root", EthereumGetWork, response(404, "", "404") + response(200, "", threeWork) + response(200, "", `{"id":2,"result":"0x8a9b1d"}`), false, Finding{Level: Proof, Node: true}, 3},
	{"pool at the root", EthereumGetWork, response(404, "", "404") + response(200, "", threeWork) + response(200, "", `{"id":2,"error":{"code":-32601,"message":"?"}}`), false, Finding{Level: Proof}, 3},
	{"owner unknown", EthereumGetWork, response(200, "Connection: close\r\n", threeWork), false, Finding{Level: Strong}, 1},
	{"owner silent", EthereumGetWork, response(200, "", threeWork), true, Finding{Level: Strong}, 2},
	{"accepts everything", EthereumGetWork, response(200, "", threeWork) + response(200, "", threeWork), false, Finding{Level: Strong}, 2},
	{"block number of another kind", EthereumGetWork, response(200, "", threeWork) + response(200, "", `{"id":2,"result":"0xzz"}`), false, Finding{Level: Strong}, 2},
	{"error and a number", EthereumGetWork, response(200, "", threeWork) + response(200, "", `{"id":2,"result":true,"error":{"code":-3,"message":"x"}}`), false, Finding{Level: Strong}, 2},
	{"pool without work", EthereumGetWork, response(200, "Connection: close\r\n", `{"id":1,"error":{"code":0,"message":"Work not ready"}}`), false, Finding{Level: Strong}, 1},
	{"pool that wants another account", EthereumGetWork, response(200, "", `{"id":1,"error":{"code":-1,"message":"Invalid login"}}`) + response(404, "", ""), false, Finding{Level: Strong}, 2},
	{"pool that knows our address", EthereumGetWork, response(200, "", `{"id":1,"error":{"code":-1,"message":"You are blacklisted"}}`) + response(404, "", ""), false, Finding{Level: Strong}, 2},
	{"node without work", EthereumGetWork, response(404, "", "404") + response(200, "", `{"id":1,"error":{"code":-32000,"message":"no mining work available yet"}}`), false, Finding{Level: Strong, Node: true}, 2},
	{"words of a pool with another code", EthereumGetWork, response(200, "Connection: close\r\n", `{"id":1,"error":{"code":-32603,"message":"Work not ready"}}`), false, Finding{}, 1},
	{"ganache", EthereumGetWork, response(200, "", `{"id":1,"jsonrpc":"2.0","result":[]}`) + response(200, "", `{"id":1,"jsonrpc":"2.0","result":[]}`), false, Finding{}, 2},
}

// innocents are what all kinds of servers say to any request; nothing of it tells anything.
var innocents = []struct{ name, text string }{
	{"nginx", response(404, "Server: nginx\r\n", "<html><center><h1>404 Not Found</h1></center></html>")},
	{"bad request", response(400, "Connection: close\r\n", "400 Bad Request")},
	{"redirect", response(301, "Location: https://example.org/\r\n", "")},
	{"teapot", response(418, "", "")},
	{"accept-all", response(200, "", `{"id":1,"jsonrpc":"2.0","result":true,"error":null}`)},
	{"method not found", response(200, "", `{"id":1,"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"}}`)},
	{"keywords", response(200, "X-Stratumm: x\r\n", keywords)},
	{"keywords in JSON", response(200, "", `{"id":1,"result":`+quoteJSON(keywords+btcdTemplate+getwork+threeWork)+`}`)},
	{"empty", response(200, "", "")},
	{"null", response(200, "", `{"result":null,"error":null,"id":1}`)},
	{"lists", response(200, "", `{"result":[{},[],null],"error":[],"id":1}`)},
	{"switching without being asked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n\x00\x00\x06\x04"},
	{"wrong length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"},
	{"chunk of a huge size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n"},
	{"chunk of a large size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\nx"},
	{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 11000)},
	{"size of a chunk without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", MaxSession)},
	{"trailer without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X\n", MaxSession/2)},
	{"head without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 11000)},
	{"continue without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 2700)},
}

// sessionOf gives a session of a dialect by its name, with a known key for WebSocket.
func sessionOf(name string) Session {
	if name == WebSocket {
		return newWebSocket(sessionTarget, [16]byte{1, 2, 3})
	}
	for _, d := range All() {
		if d.Name == name {
			return d.Session(sessionTarget)
		}
	}
	return nil
}

// hear lets a session hear a text in pieces of the sizes that cut gives, and counts what it says.
func hear(s Session, text []byte, cut func(rest int) int) (f Finding, says int) {
	says = 1
	done := false
	for len(text) > 0 && !done {
		n := cut(len(text))
		var say []byte
		if say, done = s.Take(text[:n]); say != nil {
			says++
		}
		text = text[n:]
	}
	return s.Finding(), says
}

func whole(rest int) int { return rest }
func bytewise(int) int   { return 1 }

func TestSessions(t *testing.T) {
	for _, tt := range sessionCases {
		t.Run(tt.dialect+"/"+tt.name, func(t *testing.T) {
			for name, cut := range map[string]func(int) int{"whole": whole, "byte by byte": bytewise} {
				s := sessionOf(tt.dialect)
				s.Open()
				got, says := hear(s, []byte(tt.text), cut)
				if tt.end {
					s.End()
					got = s.Finding()
				}
				want := tt.want
				want.Summary = got.Summary
				if want.Level != Nothing {
					want.Dialect = tt.dialect
				}
				if want.Level != Nothing && tt.dialect == EthereumGetWork {
					want.Coin = "ethereum-family"
					if strings.Contains(tt.text, threeWork) {
						want.Job = threeJob
					}
				} else if want.Level == Proof {
					want.Coin = "bitcoin-family"
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				if name == "byte by byte" && says != tt.requests {
					t.Errorf("%d requests, want %d", says, tt.requests)
				}
				if (got.Summary == "") != (got.Level == Nothing) {
					t.Errorf("summary %q", got.Summary)
				}
			}
		})
	}
}

// TestEthereumHeight: the number of the block, where a pool gives it and it is one.
func TestEthereumHeight(t *testing.T) {
	for number, want := range map[string]uint64{`,"0x010"`: 16, "": 0, `,"0x` + h64 + `"`: 0} {
		m, ok := parse([]byte(`{"result":[` + work + number + `]}`))
		if got := ethereumJob(m.result); !ok || got.Height != want || got.Difficulty != 2e9 {
			t.Errorf("%s: %+v, want height %d", number, got, want)
		}
	}
}

// TestInnocentsOverHTTP: no session takes an innocent server for anything, nor its own request back.
func TestInnocentsOverHTTP(t *testing.T) {
	for _, name := range []string{GetBlockTemplate, GetWork, EthereumGetWork, WebSocket} {
		for _, tt := range innocents {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				for _, text := range []string{tt.text, tt.text + tt.text, tt.text + strings.Repeat("x", 2*MaxSession)} {
					s := sessionOf(name)
					s.Open()
					hear(s, []byte(text), whole)
					s.End()
					if got := s.Finding(); got != (Finding{}) {
						t.Errorf("got %+v", got)
					}
				}
			})
		}
		s := sessionOf(name)
		hear(s, s.Open(), whole)
		s.End()
		if got := s.Finding(); got != (Finding{}) {
			t.Errorf("%s: its own request back is %+v", name, got)
		}
	}
}

// TestPost: each request is one HTTP/1.1 message that a server can read, without a password.
func TestPost(t *testing.T) {
	for _, name := range []string{GetBlockTemplate, GetWork, EthereumGetWork} {
		for _, host := range []string{"pool.example.org", "192.0.2.1", "2001:db8::1"} {
			for _, d := range All() {
				if d.Name != name {
					continue
				}
				request := d.Session(Target{Host: host, Port: "8332"}).Open()
				in := bufio.NewReader(bytes.NewReader(request))
				q, err := http.ReadRequest(in)
				if err != nil {
					t.Fatalf("%q: %v", request, err)
				}
				body, err := io.ReadAll(q.Body)
				if err != nil || int64(len(body)) != q.ContentLength || in.Buffered() != 0 {
					t.Errorf("%q: body %q, %v", request, body, err)
				}
				m, ok := parse(body)
				if !ok || m.object["jsonrpc"] != "2.0" || !isNumber(m.id) || m.method == "" {
					t.Errorf("body %q", body)
				}
				if q.Header.Get("Authorization") != "" || q.Header.Get("Accept-Encoding") != "identity" || !strings.HasSuffix(q.Host, ":8332") || q.ProtoMinor != 1 {
					t.Errorf("head %+v", q)
				}
				if q.Close != (name != EthereumGetWork) {
					t.Errorf("%s: close is %v", name, q.Close)
				}
			}
		}
	}
}

// TestExchange compares with net/http, however the responses are cut.
func TestExchange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[a-z\r\n0;]{0,200}`)
		var text []byte
		var want []string
		for range rapid.IntRange(1, 4).Draw(t, "responses") {
			b := body.Draw(t, "body")
			want = append(want, b)
			if rapid.Bool().Draw(t, "chunked") {
				text = append(text, inChunks(b, rapid.IntRange(1, 50).Draw(t, "size"))...)
			} else {
				text = append(text, response(200, "X: y\r\n", b)...)
			}
		}
		in := bufio.NewReader(bytes.NewReader(text))
		for i := range want {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != want[i] {
				t.Fatalf("net/http reads %q, %v; want %q", b, err, want[i])
			}
			_ = r.Body.Close()
		}
		var e exchange
		var got []string
		for len(text) > 0 {
			n := rapid.IntRange(1, len(text)).Draw(t, "n")
			e.feed(text[:n])
			text = text[n:]
			for {
				r, ok, err := e.next(false)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				got = append(got, string(r.body))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// TestExchangeBound: no more than MaxSession bytes are kept, and the last of them is.
func TestExchangeBound(t *testing.T) {
	var e exchange
	for range MaxSession - 1 {
		if e.feed([]byte("x")) {
			t.Fatal("full too early")
		}
	}
	if !e.feed([]byte("xyz")) || len(e.buf) != MaxSession || !e.feed([]byte("x")) || len(e.buf) != MaxSession {
		t.Errorf("%d bytes kept, want %d", len(e.buf), MaxSession)
	}
	if _, _, err := parseHead([]byte("HTTP/1.1 2x0 OK\r\n\r\n")); !errors.Is(err, errHead) {
		t.Errorf("parseHead = %v, want %v", err, errHead)
	}
}

// addSeed adds a text that is short enough to be varied quickly; the tests have the long ones.
func addSeed(f *testing.F, text string) {
	f.Helper()
	if len(text) <= 8<<10 {
		f.Add([]byte(text))
	}
}

// fuzzSession lets a session hear any text, whole and byte by byte: the findings are the same, bounded, and a proof has the
// structure that plain finds in the text.
func fuzzSession(f *testing.F, name string, plain func(text []byte) bool) {
	f.Helper()
	for _, tt := range sessionCases {
		addSeed(f, tt.text)
	}
	for _, tt := range innocents {
		addSeed(f, tt.text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		one, other := sessionOf(name), sessionOf(name)
		one.Open()
		other.Open()
		hear(one, text, whole)
		one.End()
		hear(other, text, bytewise)
		other.End()
		got := one.Finding()
		if diff := cmp.Diff(got, other.Finding()); diff != "" {
			t.Errorf("(-whole +byte by byte):\n%s", diff)
		}
		if len(got.Summary) > 400 || strings.ContainsFunc(got.Summary, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("summary %q", got.Summary)
		}
		if got.Level == Proof && (got.Dialect != name || !plain(text)) {
			t.Errorf("without its structure: %+v", got)
		}
	})
}

// matchesAll gives a check that a text has all patterns; one in chunks or with escaped letters can't be checked so.
func matchesAll(patterns ...string) func([]byte) bool {
	expressions := make([]*regexp.Regexp, 0, len(patterns))
	for _, p := range patterns {
		expressions = append(expressions, regexp.MustCompile(p))
	}
	return func(text []byte) bool {
		if bytes.Contains(bytes.ToLower(text), []byte("chunked")) || bytes.Contains(text, []byte(`\u`)) {
			return true
		}
		for _, e := range expressions {
			if !e.Match(text) {
				return false
			}
		}
		return true
	}
}

func FuzzGetBlockTemplate(f *testing.F) {
	fuzzSession(f, GetBlockTemplate, matchesAll(`"previousblockhash"\s*:\s*"[0-9a-fA-F]{64}"`, `"(coinbasevalue|data)"\s*:`, `"(bits|transactions)"`))
}

func FuzzGetWork(f *testing.F) {
	fuzzSession(f, GetWork, matchesAll(`"data"\s*:\s*"([0-9a-fA-F]{256}|[0-9a-fA-F]{384})"`, `"target"\s*:\s*"[0-9a-fA-F]{64}"`))
}

func FuzzEthereumGetWork(f *testing.F) {
	fuzzSession(f, EthereumGetWork, matchesAll(`"result"\s*:\s*\[\s*"0x[0-9a-fA-F]{64}"\s*,\s*"0x[0-9a-fA-F]{64}"\s*,\s*"0x`, `"0x[0-9a-fA-F]{1,16}"|-3`))
}

// TestChunkLines: a chunk's size line and the trailer are read up to a bound, and not anew for every byte of a long one.
func TestChunkLines(t *testing.T) {
	begin, end, _ := strings.Cut(inChunks(btcdTemplate, len(btcdTemplate)), ";x=y")
	size := begin[strings.LastIndexByte(begin, '\n')+1:]
	tests := []struct {
		name, text string
		want       Level
	}{
		{"longest size line", begin + ";" + strings.Repeat("x", mostChunkLine-len(size)-len(";\r\n")) + end, Proof},
		{"size line too long", begin + ";" + strings.Repeat("x", mostChunkLine-len(size)-len(";\r\n")+1) + end, Nothing},
		{"long trailer", begin + strings.Replace(end, "Trailer: x", "Trailer: "+strings.Repeat("x", mostChunkLine/2), 1), Proof},
		{"trailer too long", begin + strings.Replace(end, "Trailer: x", "Trailer: "+strings.Repeat("x", mostChunkLine), 1), Nothing},
		{"trailer of too many lines", begin + strings.Replace(end, "Trailer: x", strings.Repeat("x\n", mostChunkLine), 1), Nothing},
	}
	for _, tt := range tests {
		for _, step := range []int{1, len(tt.text)} {
			f, _ := hear(sessionOf(GetBlockTemplate), []byte(tt.text), func(rest int) int { return min(step, rest) })
			if f.Level != tt.want {
				t.Errorf("%s in steps of %d: got %+v, want %v", tt.name, step, f, tt.want)
			}
		}
	}
}

// TestHTTPHints: what a response tells of what else may be spoken here.
func TestHTTPHints(t *testing.T) {
	tests := []struct {
		name, text          string
		switching, wantsTLS bool
	}{
		{"not found", response(404, "", ""), false, false},
		{"switching", "HTTP/1.1 101 Switching Protocols\r\n\r\n", true, false},
		{"426", response(426, "", ""), true, false},
		{"too many requests", response(429, "", ""), true, false},
		{"502", response(502, "", ""), true, false},
		{"503", response(503, "", ""), true, false},
		{"504", response(504, "", ""), true, false},
		{"a failure", response(500, "", ""), false, false},
		{"nginx", response(400, "", "<center>The plain HTTP request was sent to HTTPS port</center>"), false, true},
		{"Go", response(400, "", "Client sent an HTTP request to an HTTPS server.\n"), false, true},
		{"Apache", response(400, "", "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"), false, true},
	}
	for _, tt := range tests {
		r := NewReader()
		if err := r.Feed([]byte(tt.text)); err != nil {
			t.Fatal(err)
		}
		if r.Switching() != tt.switching || r.WantsTLS() != tt.wantsTLS {
			t.Errorf("%s: switching %v, TLS %v", tt.name, r.Switching(), r.WantsTLS())
		}
	}
}

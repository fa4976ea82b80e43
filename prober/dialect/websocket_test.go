package dialect

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testKey is the key of sessionOf's WebSocket session.
var testKey = base64.StdEncoding.EncodeToString([]byte{1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})

// shake is the server's half of its handshake.
var shake = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + acceptKey(testKey) + "\r\n\r\n"

// serverFrame makes a frame of the server; first is the byte of the final bit and the opcode.
func serverFrame(first byte, payload string) string {
	b := []byte{first}
	switch {
	case len(payload) < 126:
		b = append(b, byte(len(payload)))
	case len(payload) < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload)))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(len(payload)))
	}
	return string(b) + payload
}

func textFrame(payload string) string { return serverFrame(0x81, payload) }

var (
	authed      = `{"type":"authed","params":{"token":"","hashes":0}}`
	coinhiveJob = `{"type":"job","params":{"blob":"` + blob + `","job_id":"x","target":"ffffff00"}}`
	rawJob      = `{"jsonrpc":"2.0","method":"job","params":{"blob":"` + blob + `","job_id":"x","target":"ffffff00"}}`
)

var webSocketCases = []struct {
	name  string
	text  string
	level Level
	// what of ours is asked for, in the frames after the handshake
	login bool
	pongs int
	done  bool
}{
	{"coin-hive-stratum", shake + serverFrame(0x8a, "") + textFrame(authed) + textFrame(coinhiveJob), Proof, true, 0, true},
	{"job at once", shake + textFrame(coinhiveJob), Proof, false, 0, true},
	{"authed alone", shake + textFrame(authed), Proof, false, 0, false},
	{"wrong site key", shake + textFrame(`{"type":"error","params":{"error":"invalid_site_key"}}`) + serverFrame(0x88, ""), Strong, true, 0, true},
	{"raw job", shake + serverFrame(0x8a, "") + textFrame(rawJob), Proof, true, 0, true},
	{"raw job with a line end", shake + textFrame(`{"hello":1}`) + textFrame(rawJob+"\n"), Proof, true, 0, true},
	{"raw refusal", shake + serverFrame(0x8a, "") + textFrame(`{"id":1,"error":{"code":-1,"message":"Invalid address used for login"}}`), Strong, true, 0, false},
	{"in fragments with a ping between", shake + serverFrame(0x01, coinhiveJob[:20]) + serverFrame(0x89, "?") + serverFrame(0x00, coinhiveJob[20:50]) + serverFrame(0x80, coinhiveJob[50:]), Proof, false, 1, true},
	{"the longest message", shake + textFrame(authed+strings.Repeat(" ", MaxFrame-len(authed))), Proof, false, 0, false},
	{"with the long length", shake + "\x81\x7f\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(authed))) + authed, Proof, false, 0, false},

	{"chat", shake + textFrame(`{"type":"authed"}`) + textFrame(`{"type":"authed","params":{"hashes":"0","token":""}}`), Nothing, true, 0, false},
	{"chat with hashes without a token", shake + textFrame(`{"type":"authed","params":{"hashes":0}}`), Nothing, true, 0, false},
	{"chat about jobs", shake + textFrame(`{"type":"job","params":{"job_id":"1","blob":"?","target":"you"}}`), Nothing, true, 0, false},
	{"a short blob", shake + textFrame(`{"type":"job","params":{"job_id":"1","blob":"`+blob[2:]+`","target":"ffffff00"}}`), Nothing, true, 0, false},
	{"keywords", shake + textFrame(quoteJSON(authed+coinhiveJob)), Nothing, true, 0, false},
	{"echo", shake + textFrame(coinhiveAuth) + textFrame(strings.TrimSpace(string(cryptoNote().Ask(sessionTarget)[0].Line))), Nothing, true, 0, false},
	{"binary", shake + serverFrame(0x82, coinhiveJob), Nothing, false, 0, false},
	{"the page of a pool in a frame", shake + textFrame("HTTP/1.1 200 OK\n\nMining server online"), Nothing, true, 0, false},
	{"pings", shake + strings.Repeat(serverFrame(0x89, "x"), 100), Nothing, false, maxPongs, false},
	{"silence", shake, Nothing, false, 0, false},
	{"message too long", shake + serverFrame(0x01, strings.Repeat(" ", MaxFrame)) + serverFrame(0x80, coinhiveJob), Nothing, false, 0, true},
	{"frame too long", shake + serverFrame(0x81, coinhiveJob+strings.Repeat(" ", MaxFrame)), Nothing, false, 0, true},
	{"length of 2^63", shake + "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff" + coinhiveJob, Nothing, false, 0, true},
	{"masked by the server", shake + "\x81\xa0\x00\x00\x00\x00" + coinhiveJob, Nothing, false, 0, true},
	{"compressed", shake + serverFrame(0xc1, coinhiveJob), Nothing, false, 0, true},
	{"continuation of nothing", shake + serverFrame(0x80, coinhiveJob) + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"text in a text", shake + serverFrame(0x01, "x") + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"ping in fragments", shake + serverFrame(0x09, "x") + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"long ping", shake + serverFrame(0x89, strings.Repeat("x", 126)) + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"no opcode", shake + serverFrame(0x83, "") + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"close before the job", shake + serverFrame(0x88, "") + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"hash of another key", strings.Replace(shake, "Accept: ", "Accept: x", 1) + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"frames without handshake", response(200, "", "") + textFrame(coinhiveJob), Nothing, false, 0, true},
	{"426", response(426, "", "Upgrade Required"), Nothing, false, 0, true},
}

// TestWebSocketKey has the example of RFC 6455 section 1.3.
func TestWebSocketKey(t *testing.T) {
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("acceptKey = %s", got)
	}
}

// ours takes our frames apart, as a server would.
func ours(t *testing.T, b []byte) (texts, pings, pongs int) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 6 || b[1]&0x80 == 0 {
			t.Fatalf("no masked frame: %x", b)
		}
		length, head := int(b[1]&0x7f), 2
		if length == 126 {
			length, head = int(binary.BigEndian.Uint16(b[2:])), 4
		}
		mask, payload := b[head:head+4], bytes.Clone(b[head+4:head+4+length])
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		switch b[0] {
		case 0x81:
			texts++
			if _, ok := parse(payload); !ok {
				t.Errorf("said %q", payload)
			}
		case 0x89:
			pings++
		case 0x8a:
			pongs++
		default:
			t.Errorf("opcode %#x", b[0])
		}
		b = b[head+4+length:]
	}
	return texts, pings, pongs
}

func TestWebSocket(t *testing.T) {
	for _, tt := range webSocketCases {
		t.Run(tt.name, func(t *testing.T) {
			s := sessionOf(WebSocket)
			var said []byte
			text, done, turns := []byte(tt.text), false, 1
			for i := 0; i < len(text) && !done; i++ {
				var say []byte
				say, done = s.Take(text[i : i+1])
				if say != nil {
					turns++
				}
				said = append(said, say...)
			}
			got := s.Finding()
			if got.Level != tt.level || got.Level > Nothing && got.Dialect != WebSocket || done != tt.done {
				t.Errorf("got %+v, done %v; want %v, done %v", got, done, tt.level, tt.done)
			}
			texts, pings, pongs := ours(t, said)
			shaken := strings.HasPrefix(tt.text, shake)
			if want := map[bool]int{true: 1}; texts != want[shaken]+want[tt.login] || pings != want[shaken] || pongs != tt.pongs {
				t.Errorf("said %d texts, %d pings, %d pongs; want login %v, %d pongs", texts, pings, pongs, tt.login, tt.pongs)
			}
			if turns > 7 {
				t.Errorf("%d turns", turns)
			}
		})
	}
}

// TestWebSocketSegments: how the frames are cut does not change what they tell.
func TestWebSocketSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tt := rapid.SampledFrom(webSocketCases).Draw(t, "case")
		one, other := sessionOf(WebSocket), sessionOf(WebSocket)
		got, _ := hear(one, []byte(tt.text), whole)
		want, _ := hear(other, []byte(tt.text), func(rest int) int { return rapid.IntRange(1, rest).Draw(t, "n") })
		if diff := cmp.Diff(want, got); diff != "" || got.Level != tt.level {
			t.Fatalf("%s (-pieces +whole):\n%s", tt.name, diff)
		}
	})
}

// TestWebSocketPath: where there is nothing at the root, Coinhive's path is asked for, once.
func TestWebSocketPath(t *testing.T) {
	s := sessionOf(WebSocket)
	var paths []string
	say, done := s.Open(), false
	for len(say) > 0 && !done {
		q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(say)))
		if err != nil {
			t.Fatal(err)
		}
		if q.Header.Get("Sec-WebSocket-Key") != testKey || q.Header.Get("Sec-WebSocket-Version") != "13" || q.Header.Get("Upgrade") != "websocket" || q.Host != "192.0.2.1:8332" {
			t.Errorf("head %+v", q)
		}
		paths = append(paths, q.URL.Path)
		say, done = s.Take([]byte(response(404, "", "not found")))
	}
	if diff := cmp.Diff([]string{"/", "/proxy"}, paths); diff != "" || !done {
		t.Errorf("done %v (-want +got):\n%s", done, diff)
	}
	fresh := func() string {
		for _, d := range All() {
			if d.Name == WebSocket {
				return string(d.Session(sessionTarget).Open())
			}
		}
		return ""
	}
	if first, second := fresh(), fresh(); first == second {
		t.Error("the same key twice")
	}
}

func FuzzWebSocket(f *testing.F) {
	for _, tt := range webSocketCases {
		addSeed(f, tt.text)
	}
	fuzzSession(f, WebSocket, func(text []byte) bool {
		return bytes.Contains(text, []byte(acceptKey(testKey))) && matchesAll(`"(hashes|blob|mining\.notify|result|params)"`)(text)
	})
}

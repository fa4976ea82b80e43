package spar_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"github.com/minecanary/minecanary/prober/spar"
)

// masked makes a frame of a client with a mask of zeros.
func masked(first byte, payload string) string {
	return string([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// texts reads the text frames of a server.
func texts(t *testing.T, in *bufio.Reader, n int) []string {
	t.Helper()
	var got []string
	for range n {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			t.Fatal(err)
		}
		length := int(head[1])
		if length == 126 {
			long := make([]byte, 2)
			if _, err := io.ReadFull(in, long); err != nil {
				t.Fatal(err)
			}
			length = int(long[0])<<8 | int(long[1])
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(in, payload); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(head[:1])+string(payload))
	}
	return got
}

// TestWebSocket shakes hands with the key of RFC 6455 section 1.3, and says what a browser miner says.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	const auth = `{"type":"auth","params":{"site_key":"x","type":"anonymous"}}`
	const login = `{"id":1,"method":"login","params":{}}`
	tests := []struct {
		pool, say string
		want      []string // the beginnings of frames
	}{
		{"websocket", masked(0x81, login) + masked(0x89, "?") + masked(0x81, auth), []string{"\x8a?", "\x81" + `{"type":"authed","params":{"token":"","hashes":0}}`, "\x81" + `{"type":"job"`}},
		{"websocket-raw", masked(0x81, auth) + masked(0x89, "") + masked(0x81, login), []string{"\x8a", "\x81" + `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"`}},
		{"chat", masked(0x81, auth) + masked(0x81, login), []string{"\x81" + `{"type":"authed"}`, "\x81", "\x81", "\x81" + login}},
	}
	for _, tt := range tests {
		t.Run(tt.pool, func(t *testing.T) {
			t.Parallel()
			s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: tt.pool, Segments: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			conn, in := dialLines(t, s)
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"+tt.say); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("%d %v", r.StatusCode, r.Header)
			}
			for i, got := range texts(t, in, len(tt.want)) {
				if want := tt.want[i]; len(got) < len(want) || got[:len(want)] != want {
					t.Errorf("frame %d is %q, want %q", i, got, want)
				}
			}
		})
	}
	exchanges{
		{"GET", "websocket", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", []string{"HTTP/1.1 426 Upgrade Required"}},
	}.test(t)
}

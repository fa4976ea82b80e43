package spar

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
)

// upgrade is the server's half of a WebSocket handshake (RFC 6455 section 4.2); false if there was none.
func upgrade(c *session) bool {
	q, err := nethttp.ReadRequest(c.in)
	if err != nil {
		if c.ctx.Err() == nil {
			http400(c)
		}
		return false
	}
	key := q.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(q.Header.Get("Upgrade"), "websocket") || key == "" {
		c.answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 16\r\nContent-Type: text/plain\r\n\r\nUpgrade Required")
		return false
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return c.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// frame reads one frame of the client and answers pings; false at the end. A client masks its frames (RFC 6455 section 5.1).
func (c *session) frame() (text string, ok bool) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil || head[1]&0x80 == 0 {
			return "", false
		}
		length := int(head[1] & 0x7f)
		if length > 125 {
			var long [2]byte
			if _, err := io.ReadFull(c.in, long[:]); err != nil || length == 127 {
				return "", false
			}
			length = int(binary.BigEndian.Uint16(long[:]))
		}
		var mask [4]byte
		if _, err := io.ReadFull(c.in, mask[:]); err != nil {
			return "", false
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return "", false
		}
		for i := range payload {
			payload[i] ^= mask[i%len(mask)]
		}
		switch head[0] {
		case 0x81:
			return string(payload), true
		case 0x89:
			if !c.send(framed(0x8a, string(payload))) {
				return "", false
			}
		default:
			return "", false
		}
	}
}

// framed makes a frame of the server, of at most 64 KiB.
func framed(first byte, payload string) string {
	if len(payload) < 126 {
		return string([]byte{first, byte(len(payload))}) + payload
	}
	return string(binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(payload)))) + payload
}

// coinhive is what Coinhive's miner and server say to each other.
type coinhive struct {
	Type   string `json:"type"`
	Params struct {
		SiteKey string `json:"site_key"`
	} `json:"params"`
}

// conversation answers each text in a frame of its own; what is answered with nothing is not answered.
func conversation(answer func(c *session, text string, q coinhive) []string) func(*session) {
	return func(c *session) {
		if !upgrade(c) {
			return
		}
		for {
			text, ok := c.frame()
			if !ok {
				return
			}
			var q coinhive
			if err := json.Unmarshal([]byte(text), &q); err != nil {
				q = coinhive{}
			}
			c.heard(q.Type)
			for _, a := range answer(c, text, q) {
				if !c.send(framed(0x81, a)) {
					return
				}
			}
		}
	}
}

// browserPool is coin-hive-stratum, which hears nothing but its own messages.
func browserPool(_ *session, _ string, q coinhive) []string {
	if q.Type != "auth" {
		return nil
	}
	return []string{
		`{"type":"authed","params":{"token":"","hashes":0}}`,
		fmt.Sprintf(`{"type":"job","params":{"blob":"%s","job_id":"%s","target":"ffffff00","algo":"cn/half","id":"%s"}}`, hashingBlob(), random(8), random(8)),
	}
}

// rawBrowserPool passes CryptoNote's own messages on, and is silent on Coinhive's.
func rawBrowserPool(c *session, text string, _ coinhive) []string {
	var r request
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Method != "login" {
		return nil
	}
	return []string{strings.TrimSuffix(cryptonote(c, r).text, "\n")}
}

// chat is a chat that lets anybody in and repeats what is said.
func chat(_ *session, text string, q coinhive) []string {
	if q.Type == "auth" {
		return []string{`{"type":"authed"}`, `{"type":"authed","params":{"user":"guest","hashes":"0"}}`, `{"type":"job","params":{"title":"moderator"}}`}
	}
	return []string{text}
}

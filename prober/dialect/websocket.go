package dialect

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

// Bounds of a WebSocket connection.
const (
	// MaxFrame is the longest frame and the longest message that is taken, in bytes.
	MaxFrame = 32 << 10
	maxPongs = 3 // of the turns that a Session has
)

// coinhiveAuth is what Coinhive's miner said first, with nobody's wallet as the site key.
const coinhiveAuth = `{"type":"auth","params":{"site_key":"` + nobodysWallet + `","type":"anonymous","user":null,"goal":0}}`

// webSocket is mining in browsers (RFC 6455): Coinhive's messages, or those of CryptoNote in text frames.
func webSocket() Dialect {
	return Dialect{
		Name: WebSocket, HTTP: true,
		Session: func(t Target) Session {
			var key [16]byte
			_, _ = rand.Read(key[:]) // never fails
			return newWebSocket(t, key)
		},
	}
}

// coinhivePath is where Coinhive's servers listened; most others take any path.
const coinhivePath = "/proxy"

// webSocketSession is our side of one WebSocket connection.
type webSocketSession struct {
	exchange
	target   Target
	key      string
	path     string
	shaken   bool
	over     bool
	message  []byte // the fragments of a text message so far
	fragment bool   // more of it comes
	binary   bool   // it is no text
	texts    int
	pongs    int
	asked    bool    // the login of CryptoNote was said
	lines    *Reader // judges what is said like lines
	finding  Finding
}

func newWebSocket(t Target, key [16]byte) *webSocketSession {
	return &webSocketSession{target: t, key: base64.StdEncoding.EncodeToString(key[:]), path: "/", lines: NewReader()}
}

// Open asks to switch to WebSocket.
func (w *webSocketSession) Open() []byte {
	host := hostPort(w.target)
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", w.path, host, w.target.agent(browserAgent), w.key)
}

// browserAgent is how a browser begins its name.
const browserAgent = "Mozilla/5.0"

// Take goes on with the handshake, or with frames.
func (w *webSocketSession) Take(b []byte) (say []byte, done bool) {
	full := !w.over && w.feed(b)
	for !w.over && !w.shaken {
		r, ok, err := w.next(false)
		if err == nil && !ok {
			break
		}
		switch {
		case err != nil:
			w.over = true
		case w.accepts(r):
			w.shaken = true
			// The ping tells, by its pong, that the server has heard us and has nothing to say.
			say = append(say, frame(opText, []byte(coinhiveAuth))...)
			say = append(say, frame(opPing, nil)...)
		case r.code == http.StatusNotFound && r.kept && w.path != coinhivePath:
			w.path = coinhivePath
			say = append(say, w.Open()...)
		default:
			w.over = true
		}
	}
	for w.shaken && !w.over {
		more, ok := w.step()
		say = append(say, more...)
		if !ok {
			break
		}
	}
	w.over = w.over || full
	return say, w.over
}

// End has nothing to judge: a frame that is not whole is none.
func (w *webSocketSession) End() { w.over = true }

// Finding is what was found so far.
func (w *webSocketSession) Finding() Finding { return w.finding }

// accepts tells a server's half of the handshake (RFC 6455 section 4.1). A server that gets the hash right speaks
// WebSocket.
func (w *webSocketSession) accepts(r reply) bool {
	return r.code == http.StatusSwitchingProtocols && strings.EqualFold(r.header.Get("Upgrade"), "websocket") &&
		r.header.Get("Sec-WebSocket-Accept") == acceptKey(w.key)
}

// acceptKey gives the answer to a key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// The opcodes of frames (RFC 6455 section 5.2).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// frame gives a frame of ours, masked with fresh bytes. The payload has at most 64 KiB.
func frame(op byte, payload []byte) []byte {
	const final, masked = 0x80, 0x80
	b := []byte{final | op}
	if len(payload) < 126 {
		b = append(b, masked|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(len(payload)))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%len(mask)])
	}
	return b
}

// step takes one frame of the server; ok is false if none is whole, or the connection is of no more interest.
func (w *webSocketSession) step() (say []byte, ok bool) {
	if len(w.buf) < 2 {
		return nil, false
	}
	first, length, head := w.buf[0], uint64(w.buf[1]), 2
	switch length {
	case 126:
		head = 4
		if len(w.buf) < head {
			return nil, false
		}
		length = uint64(binary.BigEndian.Uint16(w.buf[2:]))
	case 127:
		head = 10
		if len(w.buf) < head {
			return nil, false
		}
		length = binary.BigEndian.Uint64(w.buf[2:])
	}
	op, final := first&0x0f, first&0x80 != 0
	// No extension was agreed on, so no other bit is set; a server does not mask, which would count as a length above 127;
	// and control frames are short and whole.
	control := op >= opClose
	if first&0x70 != 0 || w.buf[1]&0x80 != 0 || length > MaxFrame || control && (length > 125 || !final) {
		w.over = true
		return nil, false
	}
	if uint64(len(w.buf)) < uint64(head)+length {
		return nil, false
	}
	payload := bytes.Clone(w.buf[head:][:length])
	w.drop(head + int(length))
	return w.take(op, final, payload), !w.over
}

// take does what a frame asks for.
func (w *webSocketSession) take(op byte, final bool, payload []byte) (say []byte) {
	switch op {
	case opPing:
		if w.pongs++; w.pongs <= maxPongs {
			say = frame(opPong, payload)
		}
		return say
	case opPong:
		if w.texts == 0 {
			say = w.login()
		}
		return say
	case opText, opBinary:
		if w.fragment {
			w.over = true
			return nil
		}
		w.binary = op == opBinary
	case opContinuation:
		if !w.fragment {
			w.over = true
			return nil
		}
	default:
		w.over = true // the end, or no opcode
		return nil
	}
	if len(w.message)+len(payload) > MaxFrame {
		w.over = true
		return nil
	}
	w.message, w.fragment = append(w.message, payload...), !final
	if w.fragment {
		return nil
	}
	text := w.message
	w.message = nil
	if w.binary {
		return nil
	}
	w.texts++
	w.judge(text)
	if w.finding.Level < Proof {
		say = w.login()
	}
	return say
}

// login says what a miner of CryptoNote says first, once.
func (w *webSocketSession) login() []byte {
	if w.asked {
		return nil
	}
	w.asked = true
	request := cryptoNote().Ask(w.target)[0]
	w.lines.Sent(request)
	return frame(opText, bytes.TrimSuffix(request.Line, []byte("\n")))
}

// judge grades one message. A job ends the connection; before it, a server that has accepted us is heard further.
func (w *webSocketSession) judge(text []byte) {
	f := judgeCoinhive(text)
	if f.Level == Nothing {
		if err := w.lines.Feed(append(text, '\n')); err != nil {
			w.over = true
		}
		if said := w.lines.Finding(); said.Level >= Strong {
			f = said
			f.Dialect, f.Summary = WebSocket, "in a WebSocket frame: "+said.Summary
		}
	}
	if f.Level > w.finding.Level || f.Level == w.finding.Level && w.finding.Job == (Job{}) {
		w.finding = f
	}
	if f.Level == Proof && f.Job != (Job{}) {
		w.over = true
	}
}

// judgeCoinhive grades a message of Coinhive's: an authentication with the hashes so far, a job, or the refusal of our
// site key. There are chats that say "authed", too.
func judgeCoinhive(text []byte) Finding {
	m, ok := parse(bytes.Trim(text, blanks))
	if !ok {
		return Finding{}
	}
	params, _ := m.params.(map[string]any)
	_, isToken := params["token"].(string)
	switch {
	case m.object["type"] == "job" && isCryptoNoteJob(m.params):
		return Finding{
			Level: Proof, Dialect: WebSocket, Coin: cryptoNoteCoin(m.params), Job: cryptoNoteJob(m.params),
			Summary: "a browser miner's job with blob, job_id and target",
		}
	case m.object["type"] == "authed" && isToken && isNumber(params["hashes"]):
		return Finding{
			Level: Proof, Dialect: WebSocket, Coin: "cryptonote-family",
			Summary: "a browser miner's authentication with the hashes it has",
		}
	case m.object["type"] == "error" && params["error"] == "invalid_site_key":
		return Finding{Level: Strong, Dialect: WebSocket, Summary: "the site key was refused as a browser miner's server does"}
	}
	return Finding{}
}

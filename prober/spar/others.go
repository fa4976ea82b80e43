package spar

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Sizes and paces of the hostile.
const (
	floodSize = 4 << 20
	dripPause = time.Second
	tickPause = 200 * time.Millisecond
	deepNest  = 2000
)

// others gives all that is no pool: each serves one connection until it returns.
func others() map[string]func(*session) {
	return map[string]func(*session){
		// The hostile, and those that only look like a pool.
		"echo":              echo,
		"accept-all":        each(func(r request, _ string) string { return object(r, `"result":true,"error":null`) }),
		"silent":            silent,
		"close":             func(*session) {},
		"close-on-line":     func(c *session) { c.line() },
		"text-bot":          each(func(request, string) string { return keywords + "\n" }),
		"json-text-bot":     each(func(r request, _ string) string { return object(r, `"result":`+strconv.Quote(keywords)) }),
		"drip":              drip,
		"flood":             flood,
		"tiny-lines":        tinyLines,
		"deep":              deep,
		"login-without-job": each(loginWithoutJob),
		"null":              each(func(r request, _ string) string { return object(r, `"result":null,"error":null`) }),
		"method-in-error": each(func(r request, _ string) string {
			return object(r, fmt.Sprintf(`"result":null,"error":{"code":404,"message":%q}`, "no such method: "+r.Method))
		}),
		"params-back": each(func(r request, _ string) string {
			return object(r, `"result":`+string(orNull(r.Params))+`,"error":null`)
		}),
		"random-bytes": randomBytes,
		"tick":         tick,
		// Over HTTP and WebSocket.
		"chat":            conversation(chat),
		"http-keywords":   web(httpKeywords),
		"http-accept-all": web(webAcceptAll),
		"locked-node":     web(lockedNode),
		"ethereum-node":   web(ethereumNode),
		// Of Stratum V2.
		"random-234":        random234,
		"template-provider": stratumV2(templateDistribution),
		// The innocent.
		"electrum": electrum,
		"json-rpc": each(methodNotFound),
		"user-api": each(userAPI),
		"redis":    each(func(_ request, text string) string { return "-ERR unknown command '" + firstWord(text) + "'\r\n" }),
		"http":     http,
		"http-426": webSocket,
		"redirect": httpBytes(func(func(string) bool) {}, "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n"),
		"http-headers": httpBytes(func(send func(string) bool) {
			for send(strings.Repeat("X-Filler: 0123456789\r\n", 400)) {
			}
		}, "HTTP/1.1 200 OK\r\n"),
		"http-chunks": httpBytes(func(send func(string) bool) {
			for send("400\r\n" + strings.Repeat(" ", 1024) + "\r\n") {
			}
		}, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"http-gzip-bomb": httpBytes(func(send func(string) bool) {
			for send(strings.Repeat(bombPiece, 256)) {
			}
		}, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n"),
		"many-keys": each(func(r request, _ string) string {
			return `{"id":` + string(id(r)) + strings.Repeat(`,"k":1`, 5000) + `,"result":[[["mining.notify","ae"]],"4ef7006b",80],"error":null}` + "\n"
		}),
		"big-number": each(func(r request, _ string) string {
			return `{"id":` + string(id(r)) + `,"result":[[["mining.notify","ae"]],"4ef7006b",` + strings.Repeat("9", 30_000) + `],"error":null}` + "\n"
		}),
		"http2": greet("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"),
		"ssh":   greet("SSH-2.0-OpenSSH_9.6\r\n"),
		"smtp":  greet("220 mail.example.org ESMTP Postfix\r\n"),
		"ftp":   greet("220 (vsFTPd 3.0.5)\r\n"),
		"imap":  greet("* OK [CAPABILITY IMAP4rev1 SASL-IR] Dovecot ready.\r\n"),
		"pop":   greet("+OK Dovecot ready.\r\n"),
	}
}

// keywords has all the words that a careless prober looks for.
const keywords = `mining.subscribe mining.notify mining.set_difficulty mining.set_target extranonce login job_id blob target ` +
	`seed_hash rx/0 status:OK eth_getWork result:true EthereumStratum/1.0.0 jsonrpc Invalid address used for login`

// each answers every line.
func each(answer func(request, string) string) func(*session) {
	return func(c *session) {
		for {
			r, text, ok := c.next()
			if !ok || !c.answer(answer(r, text)) {
				return
			}
		}
	}
}

// greet says its greeting and then nothing that matters.
func greet(greeting string) func(*session) {
	return func(c *session) {
		if c.send(greeting) {
			silent(c)
		}
	}
}

func silent(c *session) {
	_, _ = io.Copy(io.Discard, c.in) // ends with the connection
}

func echo(c *session) {
	for {
		_, text, ok := c.next()
		if !ok || !c.answer(text+"\n") {
			return
		}
	}
}

// drip sends a valid answer to mining.subscribe, one byte a second.
func drip(c *session) {
	r, _, ok := c.next()
	if !ok {
		return
	}
	for _, b := range []byte(bitcoin(c, request{Method: "mining.subscribe", ID: r.ID}).text) {
		if !c.wait(dripPause) {
			return
		}
		if _, err := c.conn.Write([]byte{b}); err != nil {
			return
		}
	}
}

// flood sends 4 MiB without a line end.
func flood(c *session) {
	if _, ok := c.line(); !ok {
		return
	}
	piece := strings.Repeat("0", 64<<10)
	for range floodSize / len(piece) {
		if _, err := io.WriteString(c.conn, piece); err != nil {
			return
		}
	}
	silent(c)
}

// tinyLines sends lines of a byte without end.
func tinyLines(c *session) {
	if _, ok := c.line(); !ok {
		return
	}
	piece := strings.Repeat("0\n", 32<<10)
	for range floodSize / len(piece) {
		if _, err := io.WriteString(c.conn, piece); err != nil {
			return
		}
	}
	silent(c)
}

// deep hides a valid subscription beside deeply nested arrays.
func deep(c *session) {
	for {
		r, _, ok := c.next()
		if !ok || !c.answer(fmt.Sprintf(`{"id":%s,"result":[[["mining.notify","ae"]],"4ef7006b",8],"error":null,"x":%s%s}`+"\n",
			id(r), strings.Repeat("[", deepNest), strings.Repeat("]", deepNest))) {
			return
		}
	}
}

func loginWithoutJob(r request, _ string) string {
	return object(r, fmt.Sprintf(`"result":{"id":"%s","status":"OK","token":"%s"},"error":null`, random(8), random(16)))
}

func randomBytes(c *session) {
	if _, ok := c.line(); !ok {
		return
	}
	b := make([]byte, 234) // the length of act 2 of Stratum V2's handshake
	_, _ = rand.Read(b)
	b[0] |= 0x80 // so that it is no text by chance
	if _, err := c.conn.Write(b); err == nil {
		silent(c)
	}
}

// tick pushes the time of day, whatever it is told.
func tick(c *session) {
	for c.wait(tickPause) {
		if !c.send(fmt.Sprintf(`{"event":"tick","time":%d}`+"\n", time.Now().UnixMilli())) {
			return
		}
	}
}

// electrum is ElectrumX, which asks back instead of answering.
func electrum(c *session) {
	if _, ok := c.line(); !ok {
		return
	}
	pad := func(s string) string { return s + strings.Repeat(" ", 1023-len(s)) + "\n" }
	c.answer(pad(`{"jsonrpc":"2.0","method":"blockchain.relayfee","params":[],"id":0}`) +
		pad(`{"jsonrpc":"2.0","method":"blockchain.estimatefee","params":[2],"id":1}`) +
		`{"jsonrpc":"2.0","error":{"code":1,"message":"use server.version to identify client"},"id":1}` + "\n")
}

func methodNotFound(r request, _ string) string {
	return object(r, fmt.Sprintf(`"error":{"code":-32601,"message":%q}`, "unknown method "+r.Method))
}

// userAPI knows a login of its own.
func userAPI(r request, text string) string {
	if r.Method == "login" {
		return object(r, fmt.Sprintf(`"result":{"token":"%s","user":"x"}`, random(16)))
	}
	return methodNotFound(r, text)
}

func http(c *session) {
	if _, ok := c.line(); ok {
		c.answer("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request")
	}
}

// webSocket is a pool or anything else behind WebSocket.
func webSocket(c *session) {
	if _, ok := c.line(); ok {
		c.answer("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 16\r\nContent-Type: text/plain\r\n\r\nUpgrade Required")
	}
}

// bombPiece is the repeating part of a deflated stream of zeros (RFC 1951): one stored byte begins thousands of copies.
const bombPiece = "\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00\x00"

// httpBytes answers a request with a head and what more sends until the client has enough, and anything else with 400.
func httpBytes(more func(send func(string) bool), head string) func(*session) {
	return func(c *session) {
		head, more := head, more
		first, ok := c.line()
		if !strings.HasSuffix(first, " HTTP/1.1") {
			head, more = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", func(func(string) bool) {}
		}
		if !ok || !c.answer(head) {
			return
		}
		more(func(text string) bool {
			_, err := io.WriteString(c.conn, text)
			return err == nil
		})
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word[:min(len(word), 32)]
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

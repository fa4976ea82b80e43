package spar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
)

// webReply is what an HTTP server says to a request.
type webReply struct {
	code         int
	header, body string // header lines with their ends
}

// maxBody bounds the body of a request, in bytes.
const maxBody = 16 << 10

// web is an HTTP/1.1 server like Go's: 400 and the end for what is no HTTP.
func web(answer func(path string, r request) webReply) func(*session) {
	return func(c *session) {
		for {
			q, err := nethttp.ReadRequest(c.in)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				http400(c)
				return
			}
			body, err := io.ReadAll(io.LimitReader(q.Body, maxBody))
			if err != nil {
				return
			}
			var r request
			if err := json.Unmarshal(body, &r); err != nil {
				r = request{} // answered like any other that asks for nothing
			}
			c.heard(r.Method)
			a := answer(q.URL.Path, r)
			text := fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n", a.code, nethttp.StatusText(a.code), a.header, len(a.body))
			if q.Close {
				text += "Connection: close\r\n"
			}
			if !c.answer(text+"\r\n"+a.body) || q.Close {
				return
			}
		}
	}
}

// http400 is what Go's server says to what is no HTTP.
func http400(c *session) {
	c.answer("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request")
}

// heard counts a method.
func (c *session) heard(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.methods[method] > 0 || len(c.methods) < maxMethods {
		c.methods[method]++
	}
}

// jsonType is the header of a JSON body.
const jsonType = "Content-Type: application/json\r\n"

// rpc gives a JSON-RPC answer over HTTP.
func rpc(r request, members string) webReply {
	return webReply{code: 200, header: jsonType, body: object(r, members)}
}

// node is btcd with a template for whoever asks.
func node(_ string, r request) webReply {
	if r.Method != "getblocktemplate" {
		return rpc(r, `"result":null,"error":{"code":-32601,"message":"Method not found"}`)
	}
	transaction := fmt.Sprintf(`{"data":"%s","hash":"%s","txid":"%s","depends":[],"fee":1000,"sigops":4,"weight":900}`, random(225), random(32), random(32))
	return rpc(r, fmt.Sprintf(`"result":{"bits":"1d00ffff","curtime":1700000000,"height":840000,"previousblockhash":"%s",`+
		`"sigoplimit":80000,"sizelimit":4000000,"weightlimit":4000000,"transactions":[%s],"version":536870912,`+
		`"coinbaseaux":{"flags":"0e2f503253482f627463642f"},"coinbasevalue":312500000,"longpollid":"%s-1700000000",`+
		`"target":"%s","maxtime":1700007200,"mintime":1690000000,"mutable":["time","transactions/add","prevblock","coinbase/append"],`+
		`"noncerange":"00000000ffffffff","capabilities":["proposal"],"rules":["segwit"]},"error":null`,
		"00000000"+random(28), transaction+strings.Repeat(","+transaction, 3), random(32), "00000000ffff"+strings.Repeat("0", 52)))
}

// lockedNode is btcd that wants a password.
func lockedNode(string, request) webReply {
	return webReply{code: 401, header: "Www-Authenticate: Basic realm=\"btcd RPC\"\r\nContent-Type: text/plain; charset=utf-8\r\n", body: "401 Unauthorized.\n"}
}

// work is a pool of the years before Stratum.
func work(_ string, r request) webReply {
	if r.Method != "getwork" {
		return rpc(r, `"result":null,"error":{"code":-32601,"message":"Method not found"}`)
	}
	a := rpc(r, fmt.Sprintf(`"result":{"midstate":"%s","data":"%s00000080%s80020000","hash1":"%s","target":"%s00000000"},"error":null`,
		random(32), random(80), strings.Repeat("0", 80), strings.Repeat("0", 56)+"80000000"+strings.Repeat("0", 56)+"00010000", strings.Repeat("f", 56)))
	a.header += "X-Long-Polling: /LP\r\nX-Roll-NTime: expire=60\r\nX-Stratum: stratum+tcp://pool.example.org:3333\r\n"
	return a
}

// threeStrings is the work of Ethereum.
func threeStrings() string {
	return fmt.Sprintf(`"result":["0x%s","0x%s","0x0225c17d04dad2965cc5a02a23e254c0c3f75d9178046aeb27ce1ca574"]`, random(32), random(32))
}

// ethereumWork is open-ethereum-pool over HTTP: miners call it by their account.
func ethereumWork(path string, r request) webReply {
	account, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if len(account) != 42 || !strings.HasPrefix(account, "0x") {
		return webReply{code: 404, header: "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n", body: "404 page not found\n"}
	}
	a := rpc(r, `"result":null,"error":{"code":-3,"message":"Method not found"}`)
	switch r.Method {
	case "eth_getWork":
		a = rpc(r, threeStrings())
	case "eth_submitHashrate":
		a = rpc(r, `"result":true`)
	}
	a.header = "Content-Type: text/plain; charset=utf-8\r\n"
	return a
}

// ethereumNode is geth from before it lost its miner.
func ethereumNode(path string, r request) webReply {
	if path != "/" {
		return webReply{code: 404, header: "Content-Type: text/plain; charset=utf-8\r\n", body: "404 page not found\n"}
	}
	switch r.Method {
	case "eth_getWork":
		return rpc(r, threeStrings())
	case "eth_blockNumber":
		return rpc(r, `"result":"0x8a9b1d"`)
	}
	return rpc(r, fmt.Sprintf(`"error":{"code":-32601,"message":"the method %s does not exist/is not available"}`, r.Method))
}

// httpKeywords answers everything with a page about mining that has all the words.
func httpKeywords(string, request) webReply {
	return webReply{code: 200, header: "Content-Type: text/html\r\n", body: "<html><title>Mining server online</title><pre>" + keywords +
		` {"id":1,"result":{"previousblockhash":"","bits":"","height":1,"coinbasevalue":1,"data":"","target":"","midstate":""}} getblocktemplate getwork ` +
		`{"type":"authed","params":{"hashes":0}} X-Stratum: X-Long-Polling: realm="jsonrpc"</pre></html>`}
}

// webAcceptAll is satisfied with every method.
func webAcceptAll(_ string, r request) webReply { return rpc(r, `"result":true,"error":null`) }

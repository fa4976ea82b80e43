package spar

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// reply is what a pool does with a request: text to send, or nothing; whether it closes; whether the request is one
// of its dialect at all.
type reply struct {
	text  string
	close bool
	mine  bool
}

// pool is a mining pool's side of a dialect.
type pool struct {
	// first is what it says to whoever connects, before it is asked; "" for nothing.
	first string
	// raw, if set, serves a connection of a dialect that is not spoken in lines; the rest is nil then.
	raw func(*session)
	// handle answers one request of a session.
	handle func(*session, request) reply
	// foreign is what the recorded software does with other requests.
	foreign func(*session, request) reply
}

// pools gives the pools by dialect. Their answers are those recorded of the software that is named with each.
func pools() map[string]*pool {
	return map[string]*pool{
		"stratum-v1": {handle: bitcoin, foreign: closes}, // ckpool
		"zcash":      {handle: equihash, foreign: stays}, // s-nomp
		"cryptonote": {handle: cryptonote, foreign: func(_ *session, r request) reply { // cryptonote-nodejs-pool
			return reply{text: object(r, `"error":{"code":-1,"message":"Invalid method"}`)}
		}},
		"ethproxy": {handle: ethereum, foreign: func(_ *session, r request) reply { // open-ethereum-pool
			return reply{text: object(r, `"error":{"code":-3,"message":"Method not found"}`)}
		}},
		"stratum-v2": {raw: stratumV2(miningProtocol)}, // pool_sv2
		// See the file of each.
		"decred":             {handle: decred, foreign: closes},
		"alephium":           {first: difficulty(1), handle: alephium, foreign: stays},
		"kadena":             {handle: kadena, foreign: stays},
		"ergo":               {handle: ergo, foreign: stays},
		"sia":                {handle: sia, foreign: stays},
		"kawpow":             {handle: kawpow, foreign: stays},
		"ethereum-stratum":   {handle: ethereumStratum, foreign: stays},
		"ethereum-stratum-2": {handle: ethereumStratum2, foreign: badProtocol},
		"kaspa":              {handle: kaspa, foreign: stays},
		"xmrig-proxy":        {handle: xmrigProxy, foreign: closes},
		"p2pool":             {handle: p2pool, foreign: closes},
		"grin":               {handle: grin, foreign: stays},
		"beam":               {handle: beam, foreign: stays},
		"getblocktemplate":   {raw: web(node)}, // a node, no pool
		"getwork":            {raw: web(work)},
		"ethereum-getwork":   {raw: web(ethereumWork)},
		"websocket":          {raw: conversation(browserPool)},
		"websocket-raw":      {raw: conversation(rawBrowserPool)},
	}
}

func closes(*session, request) reply { return reply{close: true} }

func stays(*session, request) reply { return reply{} }

// serve is a pool's side of a connection.
func (c *session) serve(p *pool) {
	if p.raw != nil {
		p.raw(c)
		return
	}
	first := p.first
	if family := c.opts.Dialect == "stratum-v1" || c.opts.Dialect == "zcash"; c.opts.ServerFirst && family {
		first = difficulty(1)
	}
	if first != "" && !c.send(first) {
		return
	}
	for {
		r, text, ok := c.next()
		if !ok {
			return
		}
		answer := reply{close: true}
		if r.Method != "" {
			answer = p.handle(c, r)
		} else if c.opts.Dialect == "cryptonote" && strings.HasPrefix(text, "GET ") {
			answer = reply{mine: true, text: online, close: true}
		}
		if !answer.mine {
			switch c.opts.Foreign {
			case CloseOn:
				answer = reply{close: true}
			case SilentOn:
				answer = reply{}
			case Triple:
				answer = reply{text: fmt.Sprintf(`{"id":%s,"result":null,"error":[20,"Not supported.",null]}`+"\n", id(r))}
			default:
				answer = p.foreign(c, r)
			}
		}
		if answer.text != "" && !c.answer(answer.text) || answer.close {
			return
		}
	}
}

// online is what cryptonote-nodejs-pool answers HTTP on its mining port, bare line feeds included.
const online = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 20\n\nMining server online"

// cryptonote is cryptonote-nodejs-pool on Monero.
func cryptonote(c *session, r request) reply {
	switch r.Method {
	case "login":
		if c.opts.CheckWallet {
			return reply{mine: true, text: object(r, `"error":{"code":-1,"message":"Invalid address used for login"}`)}
		}
		login := random(8)
		return reply{mine: true, text: object(r, fmt.Sprintf(`"error":null,"result":{"id":"%s","job":{"job_id":"%s","id":"%s",`+
			`"blob":"%s","target":"6e128300","algo":"rx/0","height":3200000,"seed_hash":"%s","next_seed_hash":""},"status":"OK"}`,
			login, random(8), login, hashingBlob(), random(32)))}
	case "keepalived":
		return reply{mine: true, text: object(r, `"error":null,"result":{"status":"KEEPALIVED"}`)}
	}
	return reply{}
}

// ethereum is open-ethereum-pool.
func ethereum(_ *session, r request) reply {
	switch r.Method {
	case "eth_submitLogin", "eth_submitHashrate":
		return reply{mine: true, text: object(r, `"result":true`)}
	case "eth_getWork":
		return reply{mine: true, text: object(r, fmt.Sprintf(`"result":["0x%s","0x%s","0x0225c17d04dad2965cc5a02a23e254c0c3f75d9178046aeb27ce1ca574"]`,
			random(32), random(32)))}
	}
	return reply{}
}

// object gives a JSON-RPC 2.0 answer with the members given.
func object(r request, members string) string {
	return fmt.Sprintf(`{"id":%s,"jsonrpc":"2.0",%s}`+"\n", id(r), members)
}

// id gives the request's id again.
func id(r request) json.RawMessage {
	if len(r.ID) == 0 {
		return json.RawMessage("null")
	}
	return r.ID
}

// random gives n fresh bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

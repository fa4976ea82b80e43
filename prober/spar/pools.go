package spar

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
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
	// handle answers one request of a session.
	handle func(*session, request) reply
	// foreign is what the recorded software does with other requests.
	foreign func(*session, request) reply
}

// pools gives the pools by dialect. Their answers are those recorded of the software that is named with each.
func pools() map[string]*pool {
	return map[string]*pool{
		"stratum-v1": {bitcoin, closes}, // ckpool
		"zcash":      {equihash, stays}, // s-nomp
		"cryptonote": {cryptonote, func(_ *session, r request) reply { // cryptonote-nodejs-pool
			return reply{text: object(r, `"error":{"code":-1,"message":"Invalid method"}`)}
		}},
		"ethproxy": {ethereum, func(_ *session, r request) reply { // open-ethereum-pool
			return reply{text: object(r, `"error":{"code":-3,"message":"Method not found"}`)}
		}},
	}
}

func closes(*session, request) reply { return reply{close: true} }

func stays(*session, request) reply { return reply{} }

// serve is a pool's side of a connection.
func (c *session) serve(p *pool) {
	family := c.opts.Dialect == "stratum-v1" || c.opts.Dialect == "zcash"
	if c.opts.ServerFirst && family && !c.send(`{"id":null,"method":"mining.set_difficulty","params":[1]}`+"\n") {
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

// bitcoin is ckpool.
func bitcoin(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		session := random(4)
		return reply{mine: true, text: fmt.Sprintf(`{"result":[[["mining.notify","%s"]],"%s",8],"id":%s,"error":null}`+"\n"+
			`{"params":[1000000],"id":null,"method":"mining.set_difficulty"}`+"\n"+
			`{"params":["%s","%s","%s","%s",["%s","%s"],"20000000","1d00ffff","%08x",true],"id":null,"method":"mining.notify"}`+"\n",
			session, random(4), id(r), session+"00000003", random(32), "01000000010000000000000000"+random(40), random(60),
			random(32), random(32), time.Now().Unix())}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.configure":
		return reply{mine: true, text: fmt.Sprintf(`{"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"id":%s,"error":null}`+"\n", id(r))}
	case "mining.extranonce.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":false,"error":[20,"Not supported.",null]}`+"\n", id(r))}
	}
	return reply{}
}

// authorize accepts any worker, or with Triple none.
func authorize(c *session, r request) reply {
	if c.opts.Foreign == Triple {
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":null,"error":[24,"unauthorized worker",null]}`+"\n", id(r))}
	}
	return reply{mine: true, text: fmt.Sprintf(`{"result":true,"error":null,"id":%s}`+"\n", id(r))}
}

// equihash is s-nomp.
func equihash(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[null,"%s"],"error":null}`+"\n"+
			`{"id":null,"method":"mining.set_target","params":["009fffec%s"]}`+"\n"+
			`{"id":null,"method":"mining.notify","params":["1","04000000","%s","%s","%s","%08x","1f07ffff",true]}`+"\n",
			id(r), random(4), strings.Repeat("0", 56), random(32), random(32), random(32), time.Now().Unix())}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.extranonce.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":true,"error":null}`+"\n", id(r))}
	}
	return reply{}
}

// cryptonote is cryptonote-nodejs-pool on Monero.
func cryptonote(c *session, r request) reply {
	switch r.Method {
	case "login":
		if c.opts.CheckWallet {
			return reply{mine: true, text: object(r, `"error":{"code":-1,"message":"Invalid address used for login"}`)}
		}
		login := random(8)
		return reply{mine: true, text: object(r, fmt.Sprintf(`"error":null,"result":{"id":"%s","job":{"job_id":"%s","id":"%s",`+
			`"blob":"1010%s","target":"6e128300","algo":"rx/0","height":3200000,"seed_hash":"%s","next_seed_hash":""},"status":"OK"}`,
			login, random(8), login, random(74), random(32)))}
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

package spar

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The pools in this file speak dialects whose methods begin with "mining.". Where no software is named, the answers are
// those of the specification that is.

// height is how far the chains of the pools have come.
const height = 900000

// difficulty is the notification of what a share takes.
func difficulty(d float64) string {
	return fmt.Sprintf(`{"id":null,"method":"mining.set_difficulty","params":[%v]}`+"\n", d)
}

// target is the notification of what a share's hash has to be below.
func target(leading string) string {
	return fmt.Sprintf(`{"id":null,"method":"mining.set_target","params":["%s%s"]}`+"\n", leading, strings.Repeat("0", 64-len(leading)))
}

// job is the notification of work.
func job(format string, args ...any) string {
	return `{"id":null,"method":"mining.notify","params":[` + fmt.Sprintf(format, args...) + "]}\n"
}

// seconds gives the time of a header in hex.
func seconds() string { return fmt.Sprintf("%08x", time.Now().Unix()) }

// littleEndian gives a number of so many bytes in hex, the low byte first.
func littleEndian(n uint64, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return hex.EncodeToString(b)
}

// coinbase gives both halves of a coinbase transaction as ckpool makes it: the height (BIP 34) and the time before the
// extranonces, which have 12 bytes together, the pool's signature after them.
func coinbase() (first, second string) {
	const signature = "\x06ckpool\x0f/sparring pool/"
	script := "03" + littleEndian(height, 3) + "04" + littleEndian(uint64(time.Now().Unix()), 4)
	first = "0100000001" + strings.Repeat("0", 64) + "ffffffff" + fmt.Sprintf("%02x", len(script)/2+12+len(signature)) + script
	return first, hex.EncodeToString([]byte(signature)) + "ffffffff01" + littleEndian(312500000, 8) + "160014" + random(20) + "00000000"
}

// bitcoin is ckpool.
func bitcoin(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		session := random(4)
		first, second := coinbase()
		return reply{mine: true, text: fmt.Sprintf(`{"result":[[["mining.notify","%s"]],"%s",8],"id":%s,"error":null}`+"\n"+
			`{"params":[1000000],"id":null,"method":"mining.set_difficulty"}`+"\n"+
			`{"params":["%s","%s","%s","%s",["%s","%s"],"20000000","1d00ffff","%s",true],"id":null,"method":"mining.notify"}`+"\n",
			session, random(4), id(r), session+"00000003", random(32), first, second, random(32), random(32), seconds())}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.configure":
		return reply{mine: true, text: fmt.Sprintf(`{"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"id":%s,"error":null}`+"\n", id(r))}
	case "mining.extranonce.subscribe":
		return unsupported(r)
	}
	return reply{}
}

// unsupported is what pools say to mining.extranonce.subscribe that do not change it.
func unsupported(r request) reply {
	return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":false,"error":[20,"Not supported.",null]}`+"\n", id(r))}
}

// authorize accepts any worker, or with Triple none.
func authorize(c *session, r request) reply {
	if c.opts.Foreign == Triple {
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":null,"error":[24,"unauthorized worker",null]}`+"\n", id(r))}
	}
	return reply{mine: true, text: fmt.Sprintf(`{"result":true,"error":null,"id":%s}`+"\n", id(r))}
}

// texts gives the parameters of a request if all are strings.
func texts(r request) ([]string, bool) {
	var params []string
	err := json.Unmarshal(r.Params, &params)
	return params, err == nil
}

// decred is dcrpool: it serves only the miners it knows, gives the subscriptions the name that the second parameter asks
// for, and sends work only to workers.
func decred(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		params, ok := texts(r)
		if !ok || len(params) == 0 {
			return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"error":[20,"Other/Unknown: no user agent provided for subscribe request",null],"result":null}`+"\n", id(r))}
		}
		if !slices.ContainsFunc([]string{"cpuminer/1.0.", "decred-gominer/2.0.", "decred-gominer/2.1.", "NiceHash/1.0."}, func(known string) bool {
			return strings.HasPrefix(params[0], known)
		}) {
			return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"error":[20,%s,null],"result":null}`+"\n", id(r),
				strconv.QuoteToASCII("Other/Unknown: connected miner with id "+params[0]+" is unsupported"))}
		}
		nonce := random(4)
		name := "mn" + nonce
		if len(params) == 2 {
			name = params[1]
		}
		quoted, _ := json.Marshal(name) // a string always has a JSON form
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"error":null,"result":[[["mining.set_difficulty",%s],["mining.notify",%s]],"%s",4]}`+"\n",
			id(r), quoted, quoted, nonce)}
	case "mining.authorize":
		answer := authorize(c, r)
		if c.opts.Foreign != Triple {
			answer.text += difficulty(20) + job(`"%s","%s","%s%s%s%s%s","",[],"09000000","1d00ffff","%s",true`, random(12), random(32),
				random(92), littleEndian(height, 4), random(4), seconds(), strings.Repeat("00", 36)+"0a000000", seconds())
		}
		return answer
	case "mining.extranonce.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"error":null,"result":false}`+"\n", id(r))}
	}
	return reply{}
}

// blockTime is how often Alephium's chains bring a new job, which takes some seconds in earnest.
const blockTime = 500 * time.Millisecond

// alephium is Alephium's mining pool. It says mining.set_difficulty at once; jobs follow no question but come with the
// next block.
func alephium(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		if !c.answer(fmt.Sprintf(`{"id":%s,"result":"result"}`+"\n", id(r))) || !c.wait(blockTime) {
			return reply{mine: true, close: true}
		}
		var chains []string
		for chain := range 4 {
			header := "0007" + random(32*7) + random(32) + random(32) + fmt.Sprintf("%016x", time.Now().UnixMilli()) + "1b032f55"
			chains = append(chains, fmt.Sprintf(`{"jobId":"%d","fromGroup":%d,"toGroup":%d,"headerBlob":"%s","txsBlob":"","height":%d,"targetBlob":"03ffffffffff%s"}`,
				1+chain, chain, (chain+1)%4, header, height+chain, strings.Repeat("f", 48)))
		}
		return reply{mine: true, text: job("%s", strings.Join(chains, ","))}
	case "mining.authorize":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":true}`+"\n"+`{"method":"mining.set_extranonce","params":["%s"],"id":null}`+"\n", id(r), random(2))}
	case "alph_submitHashrate":
		return reply{mine: true}
	}
	return reply{}
}

// kadena is a Chainweb pool as chainweb-mining-client met them.
func kadena(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		header := strings.Repeat("0", 16) + littleEndian(uint64(time.Now().UnixMicro()), 8) + random(32) + "0300" + random(3*36+32+32) + "05000000" +
			random(32) + littleEndian(height, 8) + "05000000" + littleEndian(uint64(time.Now().UnixMicro()), 8) + strings.Repeat("0", 16)
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[null,"%s",6],"error":null}`+"\n", id(r), random(2)) +
			target("0000000000ffff") + job(`"%s","%s",true`, random(6), header)}
	case "mining.authorize":
		return authorize(c, r)
	}
	return reply{}
}

// ergo is ErgoStratumServer, a descendant of NOMP.
func ergo(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		return reply{mine: true, text: subscribed(r, "deadbeefcafebabe"+random(8), random(2), 6) + difficulty(8) +
			job(`"%s",%d,"%s","","","00000003","28948022309329048855892746252171976963209391069768726095651290785379","",true`, random(2), height, random(32))}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.extranonce.subscribe":
		return unsupported(r)
	}
	return reply{}
}

// subscribed is the answer to mining.subscribe of NOMP's family.
func subscribed(r request, name, nonce string, size int) string {
	return fmt.Sprintf(`{"id":%s,"result":[[["mining.set_difficulty","%s"],["mining.notify","%s"]],"%s",%d],"error":null}`+"\n", id(r), name, name, nonce, size)
}

// sia is SiaMining's specification.
func sia(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		const arbitrary = "NonSia\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + `Pool name: "sparring pool"`
		name := random(8)
		return reply{mine: true, text: subscribed(r, name, random(4), 4) + difficulty(0.999) +
			job(`"%s","%s","%s0100000000000000%s%x","0000000000000000",["%s","%s"],"","1921292f","%s",false`, random(2), random(32),
				strings.Repeat("00", 48), littleEndian(uint64(len(arbitrary)+8), 8), arbitrary, random(32), random(32), littleEndian(uint64(time.Now().Unix()), 8))}
	case "mining.authorize":
		return authorize(c, r)
	}
	return reply{}
}

// kawpow is kawpow-stratum-pool on Ravencoin.
func kawpow(c *session, r request) reply {
	const leading = "00000000ffff"
	switch r.Method {
	case "mining.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[null,"%s"],"error":null}`+"\n", id(r), random(3)) + target(leading) +
			job(`"%s","%s","%s","%s%s",true,%d,"1b00ffff"`, random(4), random(32), random(32), leading, strings.Repeat("0", 64-len(leading)), height)}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.extranonce.subscribe":
		return unsupported(r)
	}
	return reply{}
}

// equihash is s-nomp.
func equihash(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[null,"%s"],"error":null}`+"\n", id(r), random(4)) + target("009fffec") +
			job(`"1","04000000","%s","%s","%s","%s","1f07ffff",true`, random(32), random(32), random(32), seconds())}
	case "mining.authorize":
		return authorize(c, r)
	case "mining.extranonce.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":true,"error":null}`+"\n", id(r))}
	}
	return reply{}
}

// ethereumStratum is open-etc-pool: it closes on a parameter that is no string, and is silent without the second. Work
// follows mining.authorize.
func ethereumStratum(c *session, r request) reply {
	const version = "EthereumStratum/1.0.0"
	switch r.Method {
	case "mining.subscribe":
		switch params, ok := texts(r); {
		case !ok:
			return reply{mine: true, close: true}
		case len(params) < 2:
			return reply{mine: true}
		case params[1] != version:
			return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":null,"error":"unsupported stratum version"}`+"\n", id(r)), close: true}
		}
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[["mining.notify","%s",%q],"%s"],"error":null}`+"\n", id(r), random(8), version, random(2))}
	case "mining.extranonce.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":true,"error":null}`+"\n"+`{"id":null,"method":"mining.set_extranonce","params":["%s"]}`+"\n", id(r), random(2))}
	case "mining.authorize":
		answer := authorize(c, r)
		if c.opts.Foreign != Triple {
			answer.text += difficulty(1.99) + job(`"%s","%s","%s",true`, random(4), random(32), random(32))
		}
		return answer
	}
	return reply{}
}

// ethereumStratum2 is EIP-1571.
func ethereumStratum2(_ *session, r request) reply {
	switch r.Method {
	case "mining.hello":
		var hello struct{ Proto string }
		if err := json.Unmarshal(r.Params, &hello); err != nil || hello.Proto != "EthereumStratum/2.0.0" {
			return reply{}
		}
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":{"proto":%q,"encoding":"plain","resume":"0","timeout":"b4","maxerrors":"5","node":"Geth/v1.10.26"}}`+"\n",
			id(r), hello.Proto)}
	case "mining.bye":
		return reply{mine: true, close: true}
	case "mining.noop":
		return reply{mine: true}
	}
	return reply{}
}

// badProtocol is what EIP-1571 says to who does not begin with mining.hello.
func badProtocol(_ *session, r request) reply {
	return reply{text: fmt.Sprintf(`{"id":%s,"error":{"code":400,"message":"Bad protocol request"}}`+"\n", id(r)), close: true}
}

// kaspaAddress is how long an address is that the bridge cuts to size.
const kaspaAddress = 67

// kaspa is kaspa-stratum-bridge. A worker whose name is shorter than an address ends it with a panic: the server closes
// then, for good.
func kaspa(c *session, r request) reply {
	switch r.Method {
	case "mining.subscribe":
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":[true,"EthereumStratum/1.0.0"],"error":null}`+"\n", id(r))}
	case "mining.authorize":
		params, ok := texts(r)
		if !ok || len(params) == 0 {
			return reply{mine: true, close: true}
		}
		address, _, _ := strings.Cut(params[0], ".")
		if len("kaspa:"+strings.TrimPrefix(address, "kaspa:")) < kaspaAddress {
			c.cancel()
			return reply{mine: true, close: true}
		}
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"result":true,"error":null}`+"\n"+`{"id":null,"jsonrpc":"2.0","method":"set_extranonce","params":["%s"]}`+"\n",
			id(r), random(2)) + difficulty(4) + job(`"1",[%d,%d,%d,%d],%d`, uint64(1<<62), 1<<30, 1<<20, 1<<10, time.Now().UnixMilli())}
	}
	return reply{}
}

//go:build services

package suricata_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/consumer/eve"
)

// hex gives n hexadecimal digits.
func hex(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }

// bigHex gives n hexadecimal digits in capitals.
func bigHex(n int) string { return strings.ToUpper(hex(n)) }

const wallet = "4A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5A1b2C3d4E5abcd"

// What pools say.
func notify() string {
	return `{"id":null,"method":"mining.notify","params":["1","` + hex(64) + `","` + hex(200) + `","` + hex(400) + `",["` + hex(64) + `"],"20000000","1d00ffff","6b00f700",true]}` + "\n"
}

// notifyBackwards is a job as ckpool writes it, with as many branches.
func notifyBackwards(branches int) string {
	return `{"params": ["6b00f74c00000003", "` + hex(64) + `", "` + hex(200) + `", "` + hex(400) + `", [` +
		strings.TrimSuffix(strings.Repeat(`"`+hex(64)+`", `, branches), ", ") + `], "20000000", "1d00ffff", "6b00f700", true], "id": null, "method": "mining.notify"}` + "\n"
}

func job(blob string) string {
	return `{"jsonrpc":"2.0","method":"job","params":{"blob":"` + blob + `","job_id":"7","target":"b88d0600","algo":"rx/0"}}` + "\n"
}

func zcashNotify() string {
	return `{"id":null,"method":"mining.notify","params":["1","04000000","` + hex(64) + `","` + hex(64) + `","` + hex(64) + `","6b00f700","1f07ffff",true]}` + "\n"
}

func work(boundary string) string {
	return `{"id":0,"jsonrpc":"2.0","result":["0x` + hex(64) + `","0x` + hex(64) + `","` + boundary + `"]}` + "\n"
}

func grinJob(prePow string) string {
	return `{"difficulty":4,"height":2000000,"job_id":17,"pre_pow":"` + prePow + `"}`
}

func grinShare(pow string) string {
	return `{"id":"0","jsonrpc":"2.0","method":"submit","params":{"edge_bits":32,"height":2000000,"job_id":17,"nonce":9204387,"pow":[` + pow + `]}}` + "\n"
}

// cycle gives so many edges.
func cycle(n int) string { return strings.TrimSuffix(strings.Repeat("4011233219,", n), ",") }

func beamJob(input string) string {
	return `{"difficulty":171967,"height":3000000,"id":"212","input":"` + input + `","jsonrpc":"2.0","method":"job"}` + "\n"
}

func beamShare(output string) string {
	return `{"method":"solution","id":"212","nonce":"` + hex(16) + `","output":"` + output + `","jsonrpc":"2.0"}` + "\n"
}

const ethereumStratumAnswer = `{"id":1,"result":[["mining.notify","0c1ffd1cfaeb7229","EthereumStratum/1.0.0"],"81bc"],"error":null}` + "\n"

// said is a message of a connection.
type said struct {
	from side
	data string
}

// TestPassiveRules: which rules fire on which messages, each in a connection of its own.
func TestPassiveRules(t *testing.T) {
	tests := []exchange{
		// Stratum v1.
		{"subscribe", one(client, `{"id":1,"method":"mining.subscribe","params":[]}`+"\n"), []int{9000010}},
		{"spaces", one(client, `{ "id" : 1 , "method" : "mining.subscribe" , "params" : [ "cgminer/4.10.0" ] }`+"\n"), []int{9000010}},
		{"tabs, and an empty line first", one(client, "\r\n{\t\"method\"\t:\t\"mining.authorize\",\t\"params\":\t[\"a\",\"x\"],\"id\":2}\n"), []int{9000010}},
		{"params first", one(client, `{"params":["bc1qexample.rig02","1","00","5f","aa"],"id":9,"method":"mining.submit"}`+"\n"), []int{9000010}},
		{"an object in params, first", one(client, `{"params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}],"id":1,"method":"mining.configure"}`+"\n"), []int{9000010}},
		{"capitals", one(client, `{"id":1,"method":"Mining.Subscribe","params":[]}`+"\n"), []int{9000010}},
		{"a quote in a string before", one(client, `{"x":"a\"b{","method":"mining.subscribe","params":[]}`+"\n"), []int{9000010}},
		{"a list of calls", one(client, `[{"id":1,"method":"mining.subscribe","params":[]},{"id":2}]`+"\n"), []int{9000010}},
		{"no end of line", one(client, `{"id":1,"method":"mining.subscribe","params":["x"]}`), []int{9000010}},
		{"two lines, the second tells", one(client, `{"id":1,"method":"hello","params":[]}`+"\n"+`{"id":1,"method":"mining.subscribe","params":["x"]}`), []int{9000010}},
		{"cut into segments", cut(client, `{ "id" : 1, "method" : "mining.subscribe", "params" : ["slow/1.0"] }`+"\n", 7), []int{9000010}},
		{"answer to subscribe", one(server, `{"id":1,"result":[[["mining.set_difficulty","b4b6"],["mining.notify","ae68"]],"08000002",4],"error":null}`+"\n"), []int{9000011}},
		{"answer with one pair", one(server, `{"id":1,"result":[["mining.notify","ae68"],"",4],"error":null}`+"\n"), []int{9000011}},
		{"answer, then more lines", one(server, `{"id":1,"result":true}`+"\n"+`{"params": [1000000], "id": null, "method": "mining.set_difficulty"}`+"\n"), []int{9000011}},
		{"notify", one(server, notify()), []int{9000011}},
		{"notify, method last", one(server, notifyBackwards(1)), []int{9000011}},
		{"notify, method last, in two segments", cut(server, notifyBackwards(15), 1460), []int{9000011}},
		{"met within a notify", one(server, notifyBackwards(15)[1460:]), []int{9000011}},
		{"notify of 16 branches in one large segment", one(server, notifyBackwards(16)), []int{9000011}},

		// Monero.
		{"login with algorithms", one(client, `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"w","pass":"x","algo":["rx/0"]}}`+"\n"), []int{9000012}},
		{"login with an agent", one(client, `{"params" : {"pass":"x", "agent":"XMRig/6.21.0", "login":"w"}, "method" : "login"}`+"\n"), []int{9000012}},
		{"login with a wallet", one(client, `{"id":1,"method":"login","params":{"login":"`+wallet+`.rig","pass":"x"}}`+"\n"), []int{9000012}},
		{"share", one(client, `{"id":2,"jsonrpc":"2.0","method":"submit","params":{"id":"a1","job_id":"7","nonce":"`+bigHex(8)+`","result":"`+bigHex(64)+`"}}`+"\n"), []int{9000012}},
		{"job", one(server, job(hex(152))), []int{9000013}},
		{"job in capitals", one(server, job(bigHex(152))), []int{9000013}},
		{"job, other order", one(server, `{"params":{"target":"b88d0600","id":"x","job_id":"7","blob":"`+hex(152)+`"},"method":"job"}`+"\n"), []int{9000013}},
		{"answer to login", one(server, `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"a","job":{"blob":"`+hex(152)+`","job_id":"7","target":"b88d0600"},"status":"OK"}}`+"\n"), []int{9000013}},

		// ethproxy.
		{"submitLogin", one(client, `{"id":1,"jsonrpc":"2.0","method":"eth_submitLogin","params":["0x1"],"worker":"rig1"}`+"\n"), []int{9000014}},
		{"getWork", one(client, `{"worker":"", "jsonrpc":"2.0", "params": [], "id": 3, "method": "eth_getWork"}`+"\n"), []int{9000014}},
		{"work", one(server, work("0x00000000"+hex(56))), []int{9000015}},
		{"work, boundary without its noughts", one(server, work("0x0225c17d"+hex(50))), []int{9000015}},
		{"work with the block's number", one(server, work(`0x00000000`+hex(56)+`","0x010`)), []int{9000015}},

		// Zcash.
		{"solution", one(client, `{"id":4,"method":"mining.submit","params":["t1.rig","1","6b00f700","`+hex(56)+`","fd4005`+hex(1200)+`"]}`+"\n"), []int{9000010, 9000016}},
		{"Zcash notify", one(server, zcashNotify()), []int{9000011, 9000017}},
		{"Zcash, all in one segment", one(server, `{"id":1,"result":[null,"60000001"],"error":null}`+"\n"+`{"id":null,"method":"mining.set_target","params":["`+hex(64)+`"]}`+"\n"+zcashNotify()), []int{9000011, 9000017}},
		{"Zhash notify", one(server, strings.Replace(zcashNotify(), "true]", `true,"144_5","BgoldPoW"]`, 1)), []int{9000011, 9000017}},

		// EthereumStratum.
		{"EthereumStratum subscribe", one(client, `{"id":1,"method":"mining.subscribe","params":["ethminer/0.19.0","EthereumStratum/1.0.0"]}`+"\n"), []int{9000010, 9000018}},
		{"EthereumStratum hello", one(client, `{"id":0,"method":"mining.hello","params":{"agent":"e","host":"h","port":"d05","proto":"EthereumStratum/2.0.0"}}`+"\n"), []int{9000010, 9000018}},
		{"EthereumStratum share", one(client, `{"id":4,"method":"mining.submit","params":["rig","ac0e092b","909d9bbc0f"]}`+"\n"), []int{9000010, 9000018}},
		{"EthereumStratum answer", one(server, ethereumStratumAnswer), []int{9000011, 9000019}},
		{"EthereumStratum notify", one(server, `{"id":null,"method":"mining.notify","params":["ac0e092b","`+hex(64)+`","`+hex(64)+`",true]}`+"\n"), []int{9000011, 9000019}},
		{"EthereumStratum 2 notify", one(server, `{"method":"mining.notify","params":["bf0488aa","6526d5","`+hex(64)+`","0"]}`+"\n"), []int{9000011, 9000019}},

		// Grin.
		{"Grin login", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"w","pass":"x","agent":"grin-miner"}}`+"\n"), []int{9000020}},
		{"Grin login, other order", one(client, `{ "params" : { "agent" : "grin-miner/0.6.0", "pass" : "x", "login" : "w" }, "method" : "login", "id" : "0" }`+"\n"), []int{9000020}},
		{"Grin asks for a job", one(client, `{"id":"1","jsonrpc":"2.0","method":"getjobtemplate","params":null}`+"\n"), []int{9000020}},
		{"Grin share", one(client, grinShare(cycle(42))), []int{9000020}},
		{"Grin share with spaces", one(client, grinShare(strings.ReplaceAll(cycle(42), ",", " , "))), []int{9000020}},
		{"Grin share, cut into segments", cut(client, grinShare(cycle(42)), 60), []int{9000020}},
		{"Grin answer with a job", one(server, `{"id":"1","jsonrpc":"2.0","method":"getjobtemplate","result":`+grinJob(hex(476))+`,"error":null}`+"\n"), []int{9000021}},
		{"Grin job", one(server, `{"id":"Stratum","jsonrpc":"2.0","method":"job","params":`+grinJob(hex(476))+`}`+"\n"), []int{9000021}},
		{"Grin job, method last", one(server, `{"params":`+grinJob(bigHex(476))+`,"method":"job"}`+"\n"), []int{9000021}},
		{"Grin answers, then a job", one(server, `{"id":"0","jsonrpc":"2.0","method":"login","result":"ok","error":null}`+"\n"+`{"id":"Stratum","jsonrpc":"2.0","method":"job","params":`+grinJob(hex(476))+`}`+"\n"), []int{9000021}},

		// Beam.
		{"Beam login", one(client, `{"method":"login","api_key":"`+hex(66)+`","id":"login","jsonrpc":"2.0"}`+"\n"), []int{9000022}},
		{"Beam login with a rig", one(client, `{ "id" : "login", "jsonrpc" : "2.0", "method" : "login", "api_key" : "`+hex(66)+`.rig1" }`+"\n"), []int{9000022}},
		{"Beam login, a newer address", one(client, `{"method":"login","api_key":"`+wallet+`/rig1","id":"login","jsonrpc":"2.0"}`+"\n"), []int{9000022}},
		{"Beam share", one(client, beamShare(hex(208))), []int{9000022}},
		{"Beam job", one(server, beamJob(hex(64))), []int{9000023}},
		{"Beam job, other order", one(server, `{"method":"job","jsonrpc":"2.0","input":"`+bigHex(64)+`","id":"2","height":3,"difficulty":4}`+"\n"), []int{9000023}},
		{"Beam answer", one(server, `{"id":"login","jsonrpc":"2.0","method":"result","nonceprefix":"0a1b2c","code":0,"description":"Login successful"}`+"\n"), []int{9000023}},
		{"Beam answer with a fork", one(server, `{"code":0,"description":"Login successful","forkheight":777777,"id":"login","jsonrpc":"2.0","method":"result"}`+"\n"), []int{9000023}},

		// Its neighbours are no EthereumStratum and no Zcash.
		{"KawPow notify", one(server, `{"id":null,"method":"mining.notify","params":["1","`+hex(64)+`","`+hex(64)+`","`+hex(64)+`",true,1,"1d00ffff"]}`+"\n"), []int{9000011}},
		{"v1 share", one(client, `{"id":4,"method":"mining.submit","params":["rig","1","00000000","6b00f700","5f5f5f5f"]}`+"\n"), []int{9000010}},

		// The pool says what a miner says, and the other way round: an echo is nobody's protocol.
		{"an echo", one(server, `{"id":1,"method":"mining.subscribe","params":["x"]}`+"\n"), nil},
		{"a client that says what pools say", one(client, notify()), nil},
		{"an echo of Grin", one(server, `{"id":"0","method":"login","params":{"login":"w","pass":"x","agent":"grin-miner"}}`+"\n"), nil},
		{"a client that says what Grin's pools say", one(client, `{"method":"job","params":`+grinJob(hex(476))+`}`+"\n"), nil},
		{"an echo of Beam", one(server, beamShare(hex(208))), nil},
		{"a client that says what Beam's pools say", one(client, beamJob(hex(64))), nil},

		// Words, but no calls.
		{"no params", one(client, `{"ts":1.0,"uid":"C1","protocol":"stratum-v1","method":"mining.subscribe","agent":"x"}`+"\n"), nil},
		{"params of another object", one(client, `{"method":"mining.subscribe","x":{"params":[]}}`+"\n"), nil},
		{"method of another object", one(client, `{"x":{"method":"mining.subscribe"},"params":[]}`+"\n"), nil},
		{"in a string", one(client, `{"x":"{\"method\":\"mining.subscribe\",\"params\":[]}","method":"log","params":[]}`+"\n"), nil},
		{"behind text", one(client, `send {"method":"mining.subscribe","params":[]}`+"\n"), nil},
		{"behind lines of text", one(client, "look\n"+`{"method":"mining.subscribe","params":[]}`+"\n"), nil},
		{"names of methods", one(server, `{"id":1,"result":["mining.notify","mining.set_difficulty"]}`+"\n"), nil},
		{"notify without a job", one(server, `{"id":1,"method":"mining.notify","params":[]}`+"\n"), nil},
		{"login of a person", one(client, `{"id":1,"method":"login","params":{"login":"bob","pass":"x","agent":"Mozilla/5.0"}}`+"\n"), nil},
		{"login with one algorithm", one(client, `{"id":1,"method":"login","params":{"login":"bob","pass":"x","algo":"sha256"}}`+"\n"), nil},
		{"login with a token in hex", one(client, `{"id":1,"method":"login","params":{"login":"`+hex(128)+`"}}`+"\n"), nil},
		{"agent of somebody else", one(client, `{"id":1,"method":"login","params":{"login":"bob"},"agent":"xmrig"}`+"\n"), nil},
		{"submit of a form", one(client, `{"id":1,"method":"submit","params":{"job_id":"7","file":"a.ps","result":"ok"}}`+"\n"), nil},
		{"job of a printer", one(server, `{"method":"job","params":{"job_id":"77","blob":"none","target":"b88d0600"}}`+"\n"), nil},
		{"a build's job", one(server, `{"result":{"job":{"blob":"`+hex(40)+`","job_id":"7","target":"b88d0600"}}}`+"\n"), nil},
		{"blob, but not in the job", one(server, `{"method":"job","params":{"job_id":"77","target":"b88d0600"},"blob":"`+hex(152)+`"}`+"\n"), nil},
		{"agent with grin in its name", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"w","pass":"x","agent":"peregrine/2"}}`+"\n"), nil},
		{"agent of a wallet of Grin", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"w","pass":"x","agent":"grin-wallet"}}`+"\n"), nil},
		{"Grin's miner as a login", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"grin-miner","pass":"x"}}`+"\n"), nil},
		{"Grin's miner, but not in the login", one(client, `{"id":"0","method":"login","params":{"login":"w"},"agent":"grin-miner"}`+"\n"), nil},
		{"Grin's miner in another name", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"w","agent":"chagrin-miner"}}`+"\n"), nil},
		{"Grin's miner, no login", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"user":"w","agent":"grin-miner"}}`+"\n"), nil},
		{"Grin's miner in another call", one(client, `{"id":"0","jsonrpc":"2.0","method":"report","params":{"login":"w","agent":"grin-miner"}}`+"\n"), nil},
		{"Grin's answer to login alone", one(server, `{"id":"0","jsonrpc":"2.0","method":"login","result":"ok","error":null}`+"\n"), nil},
		{"template of a job by its number", one(client, `{"id":"1","jsonrpc":"2.0","method":"getjobtemplate","params":{"id":7}}`+"\n"), nil},
		{"template of a job, other letters", one(client, `{"id":"1","jsonrpc":"2.0","method":"getJobTemplate","params":null}`+"\n"), nil},
		{"template of a job, a number for id", one(client, `{"id":1,"jsonrpc":"2.0","method":"getjobtemplate","params":null}`+"\n"), nil},
		{"template of a job, an older JSON-RPC", one(client, `{"id":"1","jsonrpc":"1.0","method":"getjobtemplate","params":null}`+"\n"), nil},
		{"template of a job, no JSON-RPC", one(client, `{"id":"1","method":"getjobtemplate","params":null}`+"\n"), nil},
		{"a short cycle", one(client, grinShare(cycle(41))), nil},
		{"a long cycle", one(client, grinShare(cycle(43))), nil},
		{"a cycle of words", one(client, grinShare(strings.ReplaceAll(cycle(42), "4011233219", `"a"`))), nil},
		{"a cycle to verify", one(client, strings.Replace(grinShare(cycle(42)), `"submit"`, `"verify"`, 1)), nil},
		{"a cycle without a job", one(client, strings.Replace(grinShare(cycle(42)), `"job_id"`, `"user_id"`, 1)), nil},
		{"a cycle without a height", one(client, strings.Replace(grinShare(cycle(42)), `"height"`, `"width"`, 1)), nil},
		{"a cycle without a nonce", one(client, strings.Replace(grinShare(cycle(42)), `"nonce"`, `"seed"`, 1)), nil},
		{"a cycle of somebody else", one(client, `{"method":"submit","params":{"job_id":17,"height":2,"nonce":9},"x":{"pow":[`+cycle(42)+`]}}`+"\n"), nil},
		{"a header of a few bytes", one(server, `{"method":"job","params":`+grinJob(hex(64))+`}`+"\n"), nil},
		{"a header of words", one(server, `{"method":"job","params":`+grinJob(strings.Repeat("words ", 40))+`}`+"\n"), nil},
		{"a header, but no job", one(server, `{"method":"job","params":{"difficulty":4,"height":2,"job_id":"17","pre_pow":"`+hex(476)+`"}}`+"\n"), nil},
		{"a header without a height", one(server, `{"method":"job","params":`+strings.Replace(grinJob(hex(476)), `"height"`, `"width"`, 1)+`}`+"\n"), nil},
		{"a header without a difficulty", one(server, `{"method":"job","params":`+strings.Replace(grinJob(hex(476)), `"difficulty"`, `"level"`, 1)+`}`+"\n"), nil},
		{"a header in another call", one(server, `{"method":"block","params":`+grinJob(hex(476))+`}`+"\n"), nil},
		{"a header deeper", one(server, `{"result":{"x":`+grinJob(hex(476))+`}}`+"\n"), nil},
		{"a job of Grin in a string", one(server, `{"method":"job","params":{"text":"`+strings.ReplaceAll(grinJob(hex(476)), `"`, `\"`)+`"}}`+"\n"), nil},
		{"login with a token", one(client, `{"method":"login","api_key":"sk-0123456789","id":"login","jsonrpc":"2.0"}`+"\n"), nil},
		{"login with a token in hex, by number", one(client, `{"method":"login","api_key":"`+hex(64)+`","id":1,"jsonrpc":"2.0"}`+"\n"), nil},
		{"login with a token and parameters", one(client, `{"method":"login","api_key":"`+hex(64)+`","id":"login","jsonrpc":"2.0","params":{}}`+"\n"), nil},
		{"login with a token as parameter", one(client, `{"method":"login","id":"login","jsonrpc":"2.0","params":{"api_key":"`+hex(64)+`"}}`+"\n"), nil},
		{"login with a token, no JSON-RPC", one(client, `{"method":"login","api_key":"`+hex(66)+`","id":"login","jsonrpc":"1.0"}`+"\n"), nil},
		{"call with a token", one(client, `{"method":"list","api_key":"`+hex(66)+`","id":"login","jsonrpc":"2.0"}`+"\n"), nil},
		{"solution of a solver", one(client, beamShare(hex(64))), nil},
		{"solution of another call", one(client, strings.Replace(beamShare(hex(208)), `"solution"`, `"verify"`, 1)), nil},
		{"solution without a number", one(client, strings.Replace(beamShare(hex(208)), `"id"`, `"no"`, 1)), nil},
		{"solution without a nonce", one(client, strings.Replace(beamShare(hex(208)), `"nonce"`, `"seed"`, 1)), nil},
		{"solution with a short nonce", one(client, strings.Replace(beamShare(hex(208)), hex(16)+`",`, hex(14)+`",`, 1)), nil},
		{"solution in words", one(client, beamShare(strings.Repeat("a cat ", 40))), nil},
		{"solution as parameter", one(client, `{"jsonrpc":"2.0","id":"1","method":"solution","params":{"nonce":"`+hex(16)+`","output":"`+hex(208)+`"}}`+"\n"), nil},
		{"a puzzle against robots", one(server, `{"jsonrpc":"2.0","method":"job","id":"2","input":"`+hex(64)+`","difficulty":4}`+"\n"), nil},
		{"a job with a short input", one(server, beamJob(hex(40))), nil},
		{"a job without a number", one(server, strings.Replace(beamJob(hex(64)), `"id":"212"`, `"x":{"id":"212"}`, 1)), nil},
		{"a job without a difficulty", one(server, strings.Replace(beamJob(hex(64)), `"difficulty"`, `"level"`, 1)), nil},
		{"an input, but no job", one(server, strings.Replace(beamJob(hex(64)), `"job"`, `"file"`, 1)), nil},
		{"a job with its input as parameter", one(server, `{"jsonrpc":"2.0","method":"job","id":"2","params":{"input":"`+hex(64)+`","difficulty":4,"height":3}}`+"\n"), nil},
		{"a result", one(server, `{"id":"login","jsonrpc":"2.0","method":"result","code":0,"description":"Login successful"}`+"\n"), nil},
		{"a result with a nonce of somebody else", one(server, `{"id":"1","jsonrpc":"2.0","method":"result","code":0,"description":"key","noncePrefix":"0a1b2c"}`+"\n"), nil},
		{"a result with a nonce of another call", one(server, `{"id":"1","jsonrpc":"2.0","method":"login","code":0,"description":"key","nonceprefix":"0a1b2c"}`+"\n"), nil},
		{"a result with a nonce without words", one(server, `{"id":"1","jsonrpc":"2.0","method":"result","code":0,"nonceprefix":"0a1b2c"}`+"\n"), nil},
		{"a refusal with a nonce", one(server, `{"id":"1","jsonrpc":"2.0","method":"result","code":-5,"description":"no","nonceprefix":"0a1b2c"}`+"\n"), nil},
		{"three transactions", one(server, work("0x"+strings.Repeat("9", 64))), nil},
		{"four transactions", one(server, `{"id":1,"result":["0x`+hex(64)+`","0x`+hex(64)+`","0x00000000`+hex(56)+`","0x`+hex(64)+`"]}`+"\n"), nil},
		{"a node's call", one(client, `{"jsonrpc":"2.0","method":"eth_call","params":[{"to":"0x1","data":"0x2"},"latest"],"id":84}`+"\n"), nil},
		{"a node's subscription", one(server, `{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"hash":"0x`+hex(64)+`"}}}`+"\n"), nil},
		{"Electrum", []said{
			{client, `{"jsonrpc":"2.0","id":0,"method":"blockchain.scripthash.subscribe","params":["` + hex(64) + `"]}` + "\n"},
			{server, `{"jsonrpc":"2.0","id":0,"result":"` + hex(64) + `"}` + "\n"},
		}, nil},
		{"a wallet's RPC", []said{
			{client, `{"jsonrpc":"2.0","id":"0","method":"get_transfers","params":{"in":true,"account_index":1}}` + "\n"},
			{server, `{"id":"0","jsonrpc":"2.0","result":{"in":[{"address":"` + wallet + `","txid":"` + hex(64) + `"}]}}` + "\n"},
		}, nil},
		{"the daemon's RPC", []said{
			{client, `{"jsonrpc":"2.0","id":"0","method":"get_block_template","params":{"wallet_address":"` + wallet + `"}}` + "\n"},
			{server, `{"id":"0","jsonrpc":"2.0","result":{"blockhashing_blob":"` + hex(152) + `","blocktemplate_blob":"` + hex(400) + `","difficulty":1}}` + "\n"},
		}, nil},
		{"a language server", one(client, "Content-Length: 60\r\n\r\n"+`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`), nil},
		{"JSON that never ends", one(client, `{"id":1,"method":"x","params":["`+strings.Repeat("mining.", 200)), nil},
		{"braces that never end", one(client, strings.Repeat(`{"method":`, 140)+`"mining.subscribe"`), nil},
	}
	// What is cut into pieces is put together again only where there is a session.
	hold(t, tests, func(tt exchange) []int {
		if len(tt.talk) < 9 {
			return tt.want
		}
		return nil
	})
}

// post gives a request with a body.
func post(body string, header ...string) string {
	return "POST / HTTP/1.1\r\nHost: pool.example\r\n" + message(body, header...)
}

// answer gives the answer to a request.
func answer(body string, header ...string) string {
	return "HTTP/1.1 200 OK\r\n" + message(body, header...)
}

func message(body string, header ...string) string {
	return strings.Join(append(header, "Content-Type: application/json", "Content-Length: "+strconv.Itoa(len(body))), "\r\n") + "\r\n\r\n" + body
}

// packed gives the answer with its body compressed, in chunks.
func packed(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
	whole, half := b.String(), b.Len()/2
	return fmt.Sprintf("%s%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", head, half, whole[:half], len(whole)-half, whole[half:])
}

// padded is a header of Bitcoin's as getwork has it.
func padded() string { return hex(160) + "00000080" + strings.Repeat("0", 80) + "80020000" }

// paddedDecred is one of Decred's.
func paddedDecred() string { return hex(352) + "8000000000000001" + "00000000000005a0" }

func getWork(data string) string {
	return `{"result":{"midstate":"` + hex(64) + `","data":"` + data + `","hash1":"` + hex(128) + `","target":"` + strings.Repeat("f", 56) + `00000000"},"id":1,"error":null}` + "\n"
}

const (
	ethGetWork  = `{"jsonrpc":"2.0","method":"eth_getWork","params":[],"id":1}`
	getTemplate = `{"id": 0, "method": "getblocktemplate", "params": [{"capabilities": ["coinbasetxn"]}]}`
	moneroBlock = `{"id":1,"jsonrpc":"2.0","method":"getblocktemplate","params":{"wallet_address":"` + wallet + `","extra_nonce":"0102"}}`
)

// TestPassiveRulesHTTP: which rules fire on which requests and answers. Suricata has to take a connection for one.
func TestPassiveRulesHTTP(t *testing.T) {
	template := `{"result":{"bits":"1d00ffff","height":9,"previousblockhash":"` + hex(64) + `","target":"` + hex(64) + `","transactions":[{"data":"` + padded() + `"}]},"error":null,"id":1}`
	const miner, fromPool = "X-Mining-Extensions: midstate", "X-Roll-NTime: expire=10"
	tests := []exchange{
		// Ethereum.
		{"getWork", one(client, post(ethGetWork)), []int{9000024}},
		{"getWork, params first", one(client, post(`{ "params" : [], "id" : 1, "method" : "eth_getWork" }`)), []int{9000024}},
		{"hashrate", one(client, post(`{"method":"eth_submitHashrate","params":["0x500000","0x`+hex(64)+`"],"id":2}`)), []int{9000024}},
		{"share", one(client, post(`{"method":"eth_submitWork","params":["0x`+hex(16)+`","0x`+hex(64)+`","0x`+hex(64)+`"],"id":3}`)), []int{9000024}},
		{"a list of calls", one(client, post(`[`+ethGetWork+`,{"method":"eth_blockNumber"}]`)), []int{9000024}},
		{"over many lines", one(client, post("{\n  \"method\": \"eth_getWork\",\n  \"params\": [\n  ]\n}\n")), []int{9000024}},
		{"cut into segments", cut(client, post(ethGetWork), 30), []int{9000024}},
		{"a segment for the body", []said{{client, strings.TrimSuffix(post(ethGetWork), ethGetWork)}, {client, ethGetWork}}, []int{9000014, 9000024}},
		{"work", one(server, answer(work("0x00000000"+hex(56)))), []int{9000025}},
		{"work, compressed", one(server, packed(t, work("0x00000000"+hex(56)))), []int{9000025}},
		{"getWork and work", []said{{client, post(ethGetWork)}, {server, answer(work("0x0225c17d" + hex(50)))}}, []int{9000024, 9000025}},

		// Bitcoin.
		{"getwork's share", one(client, post(`{"method": "getwork", "params": [ "`+padded()+`" ], "id":1}`+"\r\n")), []int{9000026}},
		{"getwork's share of Decred", one(client, post(`{"method":"getwork","params":["`+paddedDecred()+`"],"id":1}`)), []int{9000026}},
		{"getwork's answer", one(server, answer(getWork(padded()))), []int{9000027}},
		{"getwork's answer, compressed", one(server, packed(t, getWork(padded()))), []int{9000027}},
		{"getwork's answer of Decred", one(server, answer(getWork(paddedDecred()))), []int{9000027}},
		{"getwork by a miner", one(client, post(`{"method":"getwork","params":[],"id":0}`, miner)), []int{9000028}},
		{"getblocktemplate by a miner", one(client, post(getTemplate, "x-mining-extensions: longpoll", "User-Agent: cgminer 3.7.2")), []int{9000028, 9000030}},
		{"long polling", one(client, "GET /LP HTTP/1.1\r\nHost: x\r\nX-Mining-Hashrate: 1000\r\n\r\n"), []int{9000028}},
		{"getwork's answer of a pool", one(server, answer(getWork(padded()), fromPool, "X-Long-Polling: /LP")), []int{9000027, 9000029}},
		{"template of a pool", one(server, answer(template, "X-Stratum: stratum+tcp://pool.example:3333")), []int{9000029}},
		{"no work, but Stratum", one(server, answer(`{"id":0,"result":null,"error":{"code":-1}}`, "X-Stratum: stratum+tcp://pool.example:3333")), []int{9000029}},
		{"mining alone", one(client, post(moneroBlock, "User-Agent: XMRig/6.21.0 (Linux x86_64) libuv/1.44.2 gcc/11.2.1")), []int{9000030}},
		{"a block found alone", one(client, post(`{"id":1,"jsonrpc":"2.0","method":"submitblock","params":["`+hex(400)+`"]}`, "User-Agent: XMRig/6.21.0")), []int{9000030}},

		// Nodes and those who ask them.
		{"a pool's server and its node", []said{{client, post(getTemplate, "Authorization: Basic dTpw")}, {server, answer(template)}}, nil},
		{"a wallet and its node", []said{
			{client, post(`{"method":"getbalance","params":[],"id":1}`)},
			{server, answer(`{"result":1.5,"error":null,"id":1}`, "X-Long-Polling: /?longpoll=1")},
		}, nil},
		{"a template of a node that can wait", one(server, answer(template, "X-Long-Polling: /?longpoll=1")), nil},
		{"a daemon of Monero", []said{
			{client, post(moneroBlock, "User-Agent: curl/8.0")},
			{server, answer(`{"id":1,"jsonrpc":"2.0","result":{"blockhashing_blob":"` + hex(152) + `","blocktemplate_blob":"` + hex(400) + `","difficulty":1,"status":"OK"}}`)},
		}, nil},
		{"a miner that asks for the height", one(client, post(`{"id":1,"method":"get_info","params":{}}`, "User-Agent: XMRig/6.21.0")), nil},
		{"a page about miners", one(client, post(moneroBlock, "User-Agent: Mozilla/5.0 (like xmrig)")), nil},
		{"a miner that sends what it measured", one(client, post(`{"method":"log","params":{"x":{"method":"getblocktemplate","params":[]}}}`, "User-Agent: XMRig/6.21.0")), nil},
		{"a node of Ethereum", []said{
			{client, post(`{"jsonrpc":"2.0","method":"eth_blockNumber","params":[],"id":83}`)},
			{server, answer(`{"jsonrpc":"2.0","id":83,"result":"0x10"}`)},
		}, nil},
		{"does it mine?", one(client, post(`{"jsonrpc":"2.0","method":"eth_hashrate","params":[],"id":71}`)), nil},
		{"new transactions", one(server, answer(work("0x"+strings.Repeat("9", 64)))), nil},
		{"three small numbers", one(server, answer(`{"id":1,"result":["0x0a","0x0b","0x0c"]}`)), nil},
		{"a log of four topics", one(server, answer(`{"id":1,"result":["0x`+hex(64)+`","0x`+hex(64)+`","0x00000000`+hex(56)+`","0x`+hex(64)+`"]}`)), nil},

		// Others with a method or a header of that kind.
		{"a queue of jobs", []said{
			{client, post(`{"method":"getwork","params":[],"id":1}`)},
			{server, answer(`{"id":1,"result":{"data":"resize","target":"cat.png"}}`)},
		}, nil},
		{"a queue of jobs by their key", one(client, post(`{"method":"getwork","params":["`+hex(256)+`"],"id":1}`)), nil},
		{"a queue of jobs by a short key", one(client, post(`{"method":"getwork","params":["`+hex(32)+`0000000080020000"],"id":1}`)), nil},
		{"help on getwork", one(client, post(`{"method":"help","params":["`+padded()+`"],"id":"getwork"}`)), nil},
		{"a short target", one(server, answer(`{"result":{"data":"`+padded()+`","target":"ffff"}}`)), nil},
		{"a short header", one(server, answer(getWork(hex(32)+"0000000080020000"))), nil},
		{"a queue of keys", one(server, answer(getWork(hex(256)))), nil},
		{"a padded header without a target", one(server, answer(`{"result":{"data":"`+padded()+`","target":"me"}}`)), nil},
		{"a padded header deeper", one(server, answer(`{"result":{"x":`+getWork(padded())+`}}`)), nil},
		{"mines of another kind", one(client, post(`{"id":1}`, "X-Mining-Company: Example")), nil},
		{"pools of another kind", one(server, answer(`{"id":1,"result":{}}`, "X-Pool: www", "X-Stratum-Id: 7")), nil},
		{"another answer", one(server, answer(`{"status":"ok","x":{"result":null}}`, fromPool)), nil},
		{"an answer in a page", one(server, answer(`<pre>{"id":1,"result":null}`, fromPool)), nil},
		{"a page of a pool", one(server, answer("<html>Stratum</html>", "X-Stratum: stratum+tcp://pool.example:3333")), nil},
		{"headers in a text", []said{
			{client, post(`{"text":"X-Mining-Extensions: midstate"}`)},
			{server, answer(`{"result":{"text":"\r\nX-Stratum: stratum+tcp://pool.example:3333\r\nX-Roll-NTime: 1"}}`)},
		}, nil},
		{"a header in a header", []said{
			{client, post(`{"id":1}`, "X-Note: X-Mining-Extensions: midstate")},
			{server, answer(`{"id":1,"result":null}`, "X-Note: X-Roll-NTime: 1")},
		}, nil},

		// Words, but no calls; the wrong side.
		{"no params", one(client, post(`{"method":"eth_getWork","id":1}`)), nil},
		{"named params", one(client, post(`{"method":"eth_getWork","params":{},"id":1}`)), nil},
		{"in a string", one(client, post(`{"method":"log","params":["{\"method\":\"eth_getWork\",\"params\":[]}"]}`)), nil},
		{"a share behind text", one(client, post(`call={"method":"getwork","params":["`+padded()+`"]}`)), nil},
		{"in an object", one(client, post(`{"events":[`+ethGetWork+`],"method":"log","params":[]}`)), nil},
		{"behind text", one(client, post(`call=`+ethGetWork)), nil},
		{"in the address", one(client, `GET /?q={"method":"eth_getWork","params":[]} HTTP/1.1`+"\r\nHost: x\r\n\r\n"), nil},
		{"in a page", one(server, answer("<pre>"+work("0x00000000"+hex(56)))), nil},
		{"an echo", one(server, answer(ethGetWork, miner)), nil},
		{"an echo of a share", one(server, answer(`{"method":"getwork","params":["`+padded()+`"]}`)), nil},
		{"a client that says what pools say", one(client, post(work("0x00000000"+hex(56)), fromPool)), nil},
		{"a client that says what old pools say", one(client, post(getWork(padded()), fromPool)), nil},
		{"braces that never end", one(client, post(strings.Repeat(`{"params":`, 140)+`"eth_getWork"`)), nil},
	}
	// Without a session there is no HTTP; what stands in a segment of its own is seen for all that.
	hold(t, tests, func(tt exchange) []int {
		return slices.DeleteFunc(slices.Clone(tt.want), func(sid int) bool { return sid >= sidHTTP })
	})
}

// TestPassiveRulesHTTPAtOnce: the alerts on a request and an answer come with the next packet of who sent them, here the
// next exchange, and not when the connection ends.
func TestPassiveRulesHTTPAtOnce(t *testing.T) {
	const every = 5 * time.Second
	for _, start := range starts[:3] {
		t.Run(start.name, func(t *testing.T) {
			var c capture
			k := start.connect(&c)
			first := k.at
			for range 100 {
				k.say(client, post(ethGetWork))
				k.say(server, answer(work("0x00000000"+hex(56))))
				k.at = k.at.Add(every)
			}
			k.bye()
			want := []int{9000024, 9000025}
			for _, e := range events(t, read(t, c.write(t))) {
				if i := slices.Index(want, e.Alert.SID); i >= 0 {
					want = slices.Delete(want, i, i+1)
					if late := e.at(t).Sub(first); late > every+time.Second {
						t.Errorf("%d comes %v late", e.Alert.SID, late)
					}
				}
			}
			if len(want) > 0 {
				t.Errorf("no alert %d", want)
			}
		})
	}
}

// start is a way in which Suricata meets a connection.
type start struct {
	name    string
	connect func(c *capture) *conn
	end     func(k *conn)
	args    []string
}

var starts = []start{
	{"from the handshake", func(c *capture) *conn { return c.connect(passivePort) }, (*conn).bye, nil},
	{"in the middle", func(c *capture) *conn { return c.midstream(passivePort) }, (*conn).bye, nil},
	{"in the middle, the other end first", func(c *capture) *conn {
		k := c.midstream(passivePort)
		k.segment(server, ack, nil)
		return k
	}, (*conn).bye, nil},
	{"in the middle, without midstream", func(c *capture) *conn { return c.midstream(passivePort) }, func(*conn) {}, []string{"--set", "stream.midstream=false"}},
}

// passivePort is the server's port in the connections of these tests.
const passivePort = 3333

// talk puts a connection into a capture and gives the client's address.
func (s *start) talk(c *capture, talk []said) (client string) {
	k := s.connect(c)
	for _, m := range talk {
		k.say(m.from, m.data)
	}
	s.end(k)
	return k.client.Addr().String()
}

// exchange is what is said on a connection of its own, and the sids of the rules that are to fire on it, in order.
type exchange struct {
	name string
	talk []said
	want []int
}

// hold wants of each start the rules to fire as told; alone gives those that fire where there is no session.
func hold(t *testing.T, tests []exchange, alone func(exchange) []int) {
	t.Helper()
	for _, start := range starts {
		t.Run(start.name, func(t *testing.T) {
			var c capture
			want, names := map[string][]int{}, map[string]string{}
			for _, tt := range tests {
				names[start.talk(&c, tt.talk)] = tt.name
				sids := tt.want
				if len(start.args) > 0 {
					sids = alone(tt)
				}
				if len(sids) > 0 {
					want[tt.name] = sids
				}
			}
			if diff := cmp.Diff(want, fired(t, &c, names, start.args...)); diff != "" {
				t.Errorf("sids by message (-want +got):\n%s", diff)
			}
		})
	}
}

// fired gives the sids that fire on each connection of a capture. names tells the connections by their clients.
func fired(t *testing.T, c *capture, names map[string]string, args ...string) map[string][]int {
	t.Helper()
	got := map[string][]int{}
	for _, e := range events(t, read(t, c.write(t), args...)) {
		if e.Type != "alert" {
			continue
		}
		inside, seen, port := e.SrcIP, "client", e.DestPort
		if e.Alert.SID%2 == 1 {
			inside, seen, port = e.DestIP, "server", e.SrcPort
		}
		name := names[inside]
		if name == "" || port != passivePort || !slices.Equal(e.Alert.Metadata["minecanary_seen"], []string{seen}) ||
			!slices.Equal(e.Alert.Metadata["minecanary_protocol"], []string{protocolOf[e.Alert.SID]}) ||
			!slices.Equal(e.Alert.Metadata["mitre_technique_id"], []string{"T1496"}) || e.Alert.Category != "Crypto Currency Mining Activity Detected" {
			t.Errorf("%+v", e)
		}
		if !slices.Contains(got[name], e.Alert.SID) {
			got[name] = append(got[name], e.Alert.SID)
		}
	}
	for name := range maps.Keys(got) {
		slices.Sort(got[name])
	}
	return got
}

// protocolOf is what the reader of the alerts takes each rule for.
var protocolOf = func() map[int]string {
	all := map[int]string{}
	for _, r := range eve.PassiveRules() {
		all[int(r.SID)] = r.Protocol
	}
	return all
}()

// cut gives data in segments of a size.
func cut(from side, data string, size int) (out []said) {
	for piece := range slices.Chunk([]byte(data), size) {
		out = append(out, said{from, string(piece)})
	}
	return out
}

// one gives a single segment.
func one(from side, data string) []said { return []said{{from, data}} }

// TestPassiveRulesAtOnce: an alert comes with the message, not when the stream has grown long enough.
func TestPassiveRulesAtOnce(t *testing.T) {
	var c capture
	k := c.connect(3333)
	said := k.at
	k.say(client, `{"id":1,"method":"mining.subscribe","params":["x"]}`+"\n")
	k.at = k.at.Add(10 * time.Minute)
	k.say(client, `{"id":2,"method":"keepalive","params":[]}`+"\n")
	k.bye()
	for _, e := range events(t, read(t, c.write(t))) {
		if e.Type == "alert" && e.Alert.SID == sidPassive {
			if late := e.at(t).Sub(said); late > time.Second {
				t.Errorf("the alert comes %v late", late)
			}
			return
		}
	}
	t.Error("no alert")
}

// TestPassiveRulesOncePerHour: a miner's every share is not an alert.
func TestPassiveRulesOncePerHour(t *testing.T) {
	var c capture
	k := c.connect(3333)
	for i := range 150 { // two and a half hours
		k.at = began.Add(time.Duration(i) * time.Minute)
		k.say(client, `{"id":`+strconv.Itoa(i)+`,"method":"mining.submit","params":["rig","1","00000000","6b00f700","5f5f5f5f"]}`+"\n")
	}
	k.bye()
	n := 0
	for _, e := range events(t, read(t, c.write(t))) {
		if e.Type == "alert" && e.Alert.SID == sidPassive {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d alerts in two and a half hours", n)
	}
}

// TestPassiveRulesOnTraces: what the Zeek scripts are tested with.
func TestPassiveRulesOnTraces(t *testing.T) {
	for _, tt := range []struct {
		trace string
		want  map[string][]int // by the last byte of client and server
	}{
		{"benign_json.pcap", map[string][]int{}},
		{"mining_json.pcap", map[string][]int{
			"1": {9000010, 9000011}, "2": {9000010}, "3": {9000013}, "4": {9000012}, "5": {9000014}, "6": {9000015},
			"7": {9000011}, "8": {9000010}, "9": {9000013}, "10": {9000028, 9000030}, "11": {9000024},
		}},
	} {
		t.Run(tt.trace, func(t *testing.T) {
			got := map[string][]int{}
			flows := 0
			for _, e := range events(t, read(t, filepath.Join(tracesDir, tt.trace))) {
				if e.Type == "flow" {
					flows++
				}
				if e.Type != "alert" {
					continue
				}
				n := e.SrcIP[strings.LastIndexByte(e.SrcIP, '.')+1:]
				if _, ok := tt.want[n]; !ok && len(tt.want) > 0 {
					continue // one that came later, which may speak anything
				}
				got[n] = append(got[n], e.Alert.SID)
				slices.Sort(got[n])
			}
			if flows < 9 {
				t.Errorf("only %d connections", flows)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sids by connection (-want +got):\n%s", diff)
			}
		})
	}
}

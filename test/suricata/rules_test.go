//go:build services

package suricata_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

const ethereumStratumAnswer = `{"id":1,"result":[["mining.notify","0c1ffd1cfaeb7229","EthereumStratum/1.0.0"],"81bc"],"error":null}` + "\n"

// said is a message of a connection.
type said struct {
	from side
	data string
}

// TestPassiveRules: which rules fire on which messages, each in a connection of its own.
func TestPassiveRules(t *testing.T) {
	one := func(from side, data string) []said { return []said{{from, data}} }
	cut := func(from side, data string, size int) (out []said) {
		for piece := range slices.Chunk([]byte(data), size) {
			out = append(out, said{from, string(piece)})
		}
		return out
	}
	tests := []struct {
		name string
		talk []said
		want []int
	}{
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

		// Its neighbours are no EthereumStratum and no Zcash.
		{"KawPow notify", one(server, `{"id":null,"method":"mining.notify","params":["1","`+hex(64)+`","`+hex(64)+`","`+hex(64)+`",true,1,"1d00ffff"]}`+"\n"), []int{9000011}},
		{"v1 share", one(client, `{"id":4,"method":"mining.submit","params":["rig","1","00000000","6b00f700","5f5f5f5f"]}`+"\n"), []int{9000010}},
		{"Grin login", one(client, `{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"w","pass":"x","agent":"grin-miner"}}`+"\n"), nil},

		// The pool says what a miner says, and the other way round: an echo is nobody's protocol.
		{"an echo", one(server, `{"id":1,"method":"mining.subscribe","params":["x"]}`+"\n"), nil},
		{"a client that says what pools say", one(client, notify()), nil},

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
	for _, start := range []struct {
		name    string
		connect func(c *capture) *conn
		end     func(k *conn)
		args    []string
	}{
		{"from the handshake", func(c *capture) *conn { return c.connect(3333) }, (*conn).bye, nil},
		{"in the middle", func(c *capture) *conn { return c.midstream(3333) }, (*conn).bye, nil},
		{"in the middle, the other end first", func(c *capture) *conn {
			k := c.midstream(3333)
			k.segment(server, ack, nil)
			return k
		}, (*conn).bye, nil},
		{"in the middle, without midstream", func(c *capture) *conn { return c.midstream(3333) }, func(*conn) {}, []string{"--set", "stream.midstream=false"}},
	} {
		t.Run(start.name, func(t *testing.T) {
			var c capture
			want, got := map[string][]int{}, map[string][]int{}
			names := map[string]string{}
			for _, tt := range tests {
				k := start.connect(&c)
				for _, m := range tt.talk {
					k.say(m.from, m.data)
				}
				start.end(k)
				names[k.client.Addr().String()] = tt.name
				// What is cut into pieces is put together again only where there is a session.
				if len(tt.want) > 0 && (len(tt.talk) < 9 || len(start.args) == 0) {
					want[tt.name] = tt.want
				}
			}
			for _, e := range events(t, read(t, c.write(t), start.args...)) {
				if e.Type != "alert" {
					continue
				}
				inside, seen, port := e.SrcIP, "client", e.DestPort
				if e.Alert.SID%2 == 1 {
					inside, seen, port = e.DestIP, "server", e.SrcPort
				}
				name := names[inside]
				if name == "" || port != 3333 || e.Alert.Metadata["minecanary_seen"][0] != seen ||
					e.Alert.Metadata["mitre_technique_id"][0] != "T1496" || e.Alert.Category != "Crypto Currency Mining Activity Detected" {
					t.Errorf("%+v", e)
				}
				if !slices.Contains(got[name], e.Alert.SID) {
					got[name] = append(got[name], e.Alert.SID)
				}
			}
			for name := range maps.Keys(got) {
				slices.Sort(got[name])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sids by message (-want +got):\n%s", diff)
			}
		})
	}
}

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

// TestPassiveRulesOnTraces: what the Zeek scripts are tested with. The two connections that speak HTTP are the Zeek
// package's alone.
func TestPassiveRulesOnTraces(t *testing.T) {
	for _, tt := range []struct {
		trace string
		want  map[string][]int // by the last byte of client and server
	}{
		{"benign_json.pcap", map[string][]int{}},
		{"mining_json.pcap", map[string][]int{
			"1": {9000010, 9000011}, "2": {9000010}, "3": {9000013}, "4": {9000012}, "5": {9000014}, "6": {9000015},
			"7": {9000011}, "8": {9000010}, "9": {9000013},
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

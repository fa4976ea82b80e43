package dialect

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	h64  = strings.Repeat("0a", 32)
	blob = "1010" + strings.Repeat("be", 74)
	job9 = `"6b00f74c00000003","` + h64 + `","01000000","062f",[],"20000000","1d00ffff","6b00f700",true`
	job8 = `"1","04000000","` + h64 + `","` + h64 + `","` + h64 + `","6b00f700","1f07ffff",true`
	work = `"0x` + h64 + `","0x` + h64 + `","0x0225c17d04dad2965cc5a02a23e254c0c3f75d9178046aeb27ce1ca574"`
)

// answers are what servers say, most of them recorded from the software that is named.
var answers = []struct {
	name  string
	text  string
	level Level
	// dialect and coin for Proof and Strong
	dialect, coin string
}{
	{"ckpool", `{"result":[[["mining.notify","6b00f74e"]],"4ef7006b",8],"id":1,"error":null}` + "\n" +
		`{"params":[1000000],"id":null,"method":"mining.set_difficulty"}` + "\n", Proof, StratumV1, "bitcoin-family"},
	{
		"NOMP", `{"id":1,"result":[[["mining.set_difficulty","deadbeefcafebabe0400"],["mining.notify","deadbeefcafebabe0400"]],"70000003",4],"error":null}` + "\n",
		Proof, StratumV1, "bitcoin-family",
	},
	{
		"SRI translator", `{"id":1,"error":null,"result":[[["mining.set_difficulty","3"],["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"]],"01000001000000000000000000000000",4]}` + "\n",
		Proof, StratumV1, "bitcoin-family",
	},
	{"python p2pool", `{"id":1,"result":[["mining.notify","ae6812eb4cd7735a302a8a9dd95cf71f"],"",4],"error":null}` + "\n", Proof, StratumV1, "bitcoin-family"},
	{"dcrpool", `{"id":1,"error":null,"result":[[["mining.set_difficulty","mn52bf23f3"],["mining.notify","mn52bf23f3"]],"52bf23f3",4]}` + "\n", Proof, StratumV1, "decred"},
	{"dcrpool refuses the agent", `{"id":1,"error":[20,"connected miner with id x is unsupported",null],"result":null}` + "\n", Strong, StratumV1, ""},
	{"string id and CRLF", `{"id":"1","result":[[["mining.notify","a"]],"4ef7006b",8],"error":null}` + "\r\n", Proof, StratumV1, "bitcoin-family"},
	{"blank padding", "\n  \r\n" + `   {"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8],"error":null}` + strings.Repeat(" ", 900) + "\n", Proof, StratumV1, "bitcoin-family"},
	{"no line end", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8],"error":null}`, Proof, StratumV1, "bitcoin-family"},
	{"cut before the end", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8],"error":nul`, Noise, "", ""},
	{"job by itself", `{"params":[` + job9 + `],"id":null,"method":"mining.notify"}` + "\n", Proof, StratumV1, "bitcoin-family"},
	{"difficulty by itself", `{"id":null,"method":"mining.set_difficulty","params":[1]}` + "\n", Strong, StratumV1, ""},
	{"unauthorized worker", `{"id":2,"result":false,"error":[24,"unauthorized worker",null]}` + "\n", Strong, StratumV1, ""},
	{"error triple of another code", `{"id":2,"result":false,"error":[26,"?",null]}` + "\n", Noise, "", ""},
	{"empty subscriptions", `{"id":1,"result":[[],"4ef7006b",8],"error":null}` + "\n", Noise, "", ""},
	{"extranonce2 size 17", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",17],"error":null}` + "\n", Noise, "", ""},
	{"extranonce2 size 16", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",16],"error":null}` + "\n", Proof, StratumV1, "bitcoin-family"},
	{"extranonce2 size -1", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",-1],"error":null}` + "\n", Noise, "", ""},
	{"extranonce2 size 4.0", `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",4.0],"error":null}` + "\n", Noise, "", ""},
	{"extranonce1 no hex", `{"id":1,"result":[[["mining.notify","a"]],"nonce",4],"error":null}` + "\n", Noise, "", ""},
	{"subscription as a string", `{"id":1,"result":"[[[\"mining.notify\",\"a\"]],\"4ef7006b\",8]","error":null}` + "\n", Noise, "", ""},
	{"job with a short hash", `{"method":"mining.notify","params":["1","0a","01","06",[],"20000000","1d00ffff","6b00f700",true]}` + "\n", Noise, "", ""},

	{"cryptonote-nodejs-pool", `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"129031870787389","job":{"job_id":"1","id":"2","blob":"` + blob +
		`","target":"6e128300","seed_hash":"` + h64 + `","next_seed_hash":""},"status":"OK"}}` + "\n", Proof, CryptoNote, "cryptonote-family"},
	{"xmrig-proxy", `{"jsonrpc":"2.0","id":1,"error":null,"result":{"id":"1bb539064ebabc18","job":{"blob":"` + blob +
		`","job_id":"x","target":"b88d0600","algo":"rx/0","height":3000000},"extensions":["algo"],"status":"OK"}}` + "\n", Proof, CryptoNote, "monero"},
	{"job pushed", `{"jsonrpc":"2.0","method":"job","params":{"blob":"` + blob + `","job_id":"x","target":"b88d060000000000"}}` + "\n", Proof, CryptoNote, "cryptonote-family"},
	{"job with a short blob", `{"id":1,"result":{"job":{"blob":"` + blob[2:] + `","job_id":"x","target":"b88d0600"}}}` + "\n", Noise, "", ""},
	{"job with a target of 3 bytes", `{"id":1,"result":{"job":{"blob":"` + blob + `","job_id":"x","target":"b88d06"}}}` + "\n", Noise, "", ""},
	{"longest blob", `{"id":1,"result":{"job":{"blob":"` + strings.Repeat("be", 407) + `","job_id":"x","target":"b88d0600"}}}` + "\n", Proof, CryptoNote, "cryptonote-family"},
	{"a program to be flashed", `{"method":"job","params":{"job_id":"17","blob":"` + strings.Repeat("be", 408) + `","target":"0a0b0c0d"}}` + "\n", Noise, "", ""},
	{"job without job_id", `{"id":1,"result":{"job":{"blob":"` + blob + `","target":"b88d0600"}}}` + "\n", Noise, "", ""},
	{"login without job", `{"id":1,"result":{"id":"1","status":"OK","token":"x"},"error":null}` + "\n", Noise, "", ""},
	{"wrong wallet", `{"id":1,"jsonrpc":"2.0","error":{"code":-1,"message":"Invalid address used for login"}}` + "\n", Strong, CryptoNote, ""},
	{"wrong wallet of nodejs-pool", `{"id":1,"error":{"code":-1,"message":"Invalid payment address provided"}}` + "\n", Strong, CryptoNote, ""},
	{"p2pool", `{"error":{"message":"Disconnected from P2Pool network"}}` + "\n", Strong, CryptoNote, ""},
	{"banned", `{"id":1,"error":{"code":-1,"message":"Your IP is banned"}}` + "\n", Weak, CryptoNote, ""},
	{"pool's page", "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 20\n\nMining server online", Proof, CryptoNote, "cryptonote-family"},
	{"proxy's page", "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 19\n\nMining Proxy Online", Strong, CryptoNote, ""},
	{"our header back", "HTTP/1.1 200 OK\r\nX-Mining-Extensions: midstate\r\n\r\n", Negative, "", ""},
	{"getwork header", "HTTP/1.1 400 Bad Request\r\nX-Stratum: stratum+tcp://p:3333\r\n\r\n", Strong, "", ""},
	{"pool's page in a longer one", "HTTP/1.1 200 OK\r\n\r\nNo Mining server online here\n", Negative, "", ""},

	{"open-ethereum-pool's login", `{"id":1,"jsonrpc":"2.0","result":true}` + "\n", Weak, "", ""},
	{"open-ethereum-pool's work", `{"id":2,"jsonrpc":"2.0","result":[` + work + `]}` + "\n", Proof, Ethproxy, "ethereum-family"},
	{"open-etc-pool's work", `{"id":2,"jsonrpc":"2.0","result":[` + work + `,"0x010"],"error":null}` + "\n", Proof, Ethproxy, "ethereum-family"},
	{"work pushed", `{"id":0,"jsonrpc":"2.0","result":[` + work + `]}` + "\n", Proof, Ethproxy, "ethereum-family"},
	{"work of a short hash", `{"id":2,"result":["0x0a","0x` + h64 + `","0x01"]}` + "\n", Noise, "", ""},
	{"work without 0x", `{"id":2,"result":["` + h64 + `","` + h64 + `","` + h64 + `"]}` + "\n", Noise, "", ""},
	{"node in lines", `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"the method eth_submitLogin does not exist/is not available"}}` + "\n" +
		`{"id":2,"jsonrpc":"2.0","result":[` + work + `]}` + "\n", Strong, Ethproxy, "ethereum-family"},
	{"three hashes", `{"jsonrpc":"2.0","id":2,"result":["0x` + h64 + `","0x` + h64 + `","0x` + h64 + `"]}` + "\n", Noise, "", ""},
	{"four hashes", `{"jsonrpc":"2.0","id":2,"result":["0x` + h64 + `","0x` + h64 + `","0x` + h64 + `","0x` + h64 + `"]}` + "\n", Noise, "", ""},
	{"work of the least difficulty", `{"id":2,"result":["0x` + h64 + `","0x` + h64 + `","0x0000` + h64[4:] + `"]}` + "\n", Proof, Ethproxy, "ethereum-family"},
	{"ganache's empty work", `{"id":2,"jsonrpc":"2.0","result":[]}` + "\n", Noise, "", ""},
	{"wrong wallet of ethproxy", `{"id":1,"result":null,"error":{"code":-1,"message":"Invalid login"}}` + "\n", Weak, "", ""},

	{"s-nomp", `{"id":1,"result":[null,"60000001"],"error":null}` + "\n" + `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n" +
		`{"id":null,"method":"mining.notify","params":[` + job8 + `]}` + "\n", Proof, Zcash, "zcash"},
	{
		"s-nomp without job", `{"id":1,"result":[null,"60000001"],"error":null}` + "\n" + `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n",
		Proof, Zcash, "",
	},
	{
		"target before session", `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n" + `{"id":1,"result":["s","60000001"],"error":null}` + "\n",
		Proof, Zcash, "",
	},
	{"session alone", `{"id":1,"result":[null,"60000001"],"error":null}` + "\n", Strong, Zcash, ""},
	{"target alone", `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n", Strong, Zcash, ""},
	{"Zhash job", `{"method":"mining.notify","params":[` + job8 + `,"144_5","BgoldPoW"]}` + "\n", Proof, Zcash, "bitcoin-gold"},
	{"job of 9 with Zcash's first 8", `{"method":"mining.notify","params":[` + job8 + `,"144_5"]}` + "\n", Noise, "", ""},

	{"open-etc-pool's subscription", `{"id":1,"result":[["mining.notify","0c1ffd1cfaeb7229","EthereumStratum/1.0.0"],"81bc"],"error":null}` + "\n", Proof, EthereumStratum, "ethereum-family"},
	{"kaspa-stratum-bridge, or our version back", `{"id":1,"result":[true,"EthereumStratum/1.0.0"],"error":null}` + "\n", Strong, Kaspa, ""},
	{"params back", `{"id":1,"result":["cpuminer/1.0.4","EthereumStratum/1.0.0"],"error":null}` + "\n", Noise, "", ""},

	{
		"dcrpool names the subscriptions as we did", `{"id":1,"error":null,"result":[[["mining.set_difficulty","EthereumStratum/1.0.0"],["mining.notify","EthereumStratum/1.0.0"]],"52bf23f3",4]}` + "\n",
		Proof, StratumV1, "decred",
	},
	{"Decred job", notify(decred12), Proof, StratumV1, "decred"},
	{"Decred job of NiceHash", notify(strings.Replace(decred12, `"1d00ffff"`, `""`, 1)), Proof, StratumV1, "decred"},
	{"Sia job", notify(sia9), Proof, StratumV1, "siacoin"},
	{"Sia job of NiceHash", notify(`"1","` + h64 + `","` + h64 + `","",[],"","","58258e5700000000",true`), Proof, StratumV1, "siacoin"},
	{"Sia job with a time of 4 bytes", notify(strings.Replace(sia9, "58258e5700000000", "58258e57", 1)), Noise, "", ""},
	{"Ergo", nomp + `{"id":null,"method":"mining.set_difficulty","params":[2.5]}` + "\n" + notify(ergo9), Proof, StratumV1, "ergo"},
	{"Ergo job with b in hex", notify(strings.Replace(ergo9, "28948", "f8948", 1)), Noise, "", ""},
	{"Ergo job with a negative height", notify(strings.Replace(ergo9, ",614400,", ",-1,", 1)), Noise, "", ""},
	{"Kadena", kadenaNonces + `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n" + notify(kadena3), Proof, StratumV1, "kadena"},
	{"Kadena without job", kadenaNonces + `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n", Proof, StratumV1, ""},
	{"Kadena, target first", `{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}` + "\n" + kadenaNonces, Proof, StratumV1, ""},
	{"Kadena, difficulty", kadenaNonces + `{"id":null,"method":"mining.set_difficulty","params":[1]}` + "\n", Proof, StratumV1, ""},
	{"Kadena, difficulty first", `{"id":null,"method":"mining.set_difficulty","params":[1]}` + "\n" + kadenaNonces, Proof, StratumV1, ""},
	{"Kadena job", notify(strings.TrimSuffix(kadena3, ",true")), Proof, StratumV1, "kadena"},
	{"Kadena job with four neighbours", notify(strings.Replace(kadena3, "0300", "0400", 1)), Noise, "", ""},
	{"nonces alone", kadenaNonces, Strong, StratumV1, ""},
	{"Nervos", kadenaNonces + notify(`"1611","`+h64+`",1,"`+h64+`",true`), Proof, StratumV1, "nervos"},
	{"answer to mining.configure", `{"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"id":1,"error":null}` + "\n", Strong, StratumV1, ""},
	{"configuration without a mask", `{"result":{"version-rolling":true},"id":1,"error":null}` + "\n", Noise, "", ""},
	{"version mask", `{"params":["1fffe000"],"id":null,"method":"mining.set_version_mask"}` + "\n", Strong, StratumV1, ""},
	{"extranonce", `{"id":null,"method":"mining.set_extranonce","params":["515a"]}` + "\n", Strong, StratumV1, ""},

	{"Alephium", alephiumFirst + notify(alephium2), Proof, Alephium, "alephium"},
	{"Alephium before a job", alephiumFirst, Strong, StratumV1, ""},
	{"Alephium's answer alone", `{"id":1,"result":"result"}` + "\n", Noise, "", ""},
	{"Alephium job with words for blobs", notify(`{"jobId":"1","fromGroup":0,"toGroup":1,"txsBlob":"","targetBlob":"target","headerBlob":"header"}`), Noise, "", ""},
	{"Alephium job without groups", notify(`{"jobId":"1","txsBlob":"","targetBlob":"` + h64 + `","headerBlob":"` + h64 + `"}`), Noise, "", ""},
	{"Alephium job with one chain that is none", notify(alephium2 + `,{}`), Noise, "", ""},
	{"Alephium job without chains", notify(``), Noise, "", ""},

	{"KawPow", kawpowFirst + notify(kawpow7), Proof, Kawpow, "ravencoin-family"},
	{"KawPow without job is as ZIP 301", kawpowFirst, Proof, Zcash, ""},
	{"KawPow job", notify(kawpow7), Proof, Kawpow, "ravencoin-family"},
	{"KawPow job with a height in hex", notify(strings.Replace(kawpow7, "2900000", `"2c4020"`, 1)), Noise, "", ""},
	{"Zhash of another coin", notify(job8 + `,"144_5","NobodyPW"`), Proof, Zcash, "equihash-family"},

	{"EthereumStratum job", notify(`"ac0e092b","` + h64 + `","` + h64 + `",true`), Proof, EthereumStratum, "ethereum-family"},
	{"EthereumStratum job with a short seed", notify(`"ac0e092b","00","` + h64 + `",true`), Noise, "", ""},
	{"EthereumStratum 2", hello, Proof, EthereumStratum2, "ethereum-family"},
	{"EthereumStratum 2 without node", strings.Replace(hello, `,"node":"Geth/v1.8.18"`, "", 1), Noise, "", ""},
	{"EthereumStratum 2 in another encoding", strings.Replace(hello, "plain", "br", 1), Noise, "", ""},
	{"EthereumStratum 20", strings.Replace(hello, "Stratum/2.0.0", "Stratum/20", 1), Noise, "", ""},
	{"hello's params back", `{"id":1,"result":{"agent":"ethminer/0.19.0","host":"h","port":"1","proto":"EthereumStratum/2.0.0"}}` + "\n", Noise, "", ""},

	{"Kaspa of NiceHash alone", kaspaNonce, Strong, Kaspa, ""},
	{"Kaspa of NiceHash", kaspaNonce + `{"id":null,"jsonrpc":"2.0","method":"mining.set_difficulty","params":[4]}` + "\n", Proof, Kaspa, "kaspa"},
	{"Kaspa of NiceHash, difficulty first", `{"method":"mining.set_difficulty","params":[4]}` + "\n" + kaspaNonce, Proof, Kaspa, "kaspa"},
	{"Kaspa job", notify(kaspaJob), Proof, Kaspa, "kaspa"},
	{"Kaspa job for BzMiner", notify(`"1","` + h64 + `0000018b2d3c4d5e"`), Proof, Kaspa, "kaspa"},
	{"Kaspa job of three numbers", notify(`"1",[1,2,3],1700000000000`), Noise, "", ""},
	{"Kaspa job with 2^64", notify(`"1",[1,2,3,18446744073709551616],1700000000000`), Noise, "", ""},
	{"Kaspa job with a fraction", notify(`"1",[1,2,3,4.5],1700000000000`), Noise, "", ""},

	{"echo", `{"id":1,"jsonrpc":"2.0","method":"mining.subscribe","params":["x","EthereumStratum/1.0.0"]}` + "\n", Noise, "", ""},
	{"echo with a result", `{"id":1,"method":"mining.subscribe","result":[[["mining.notify","a"]],"4ef7006b",8]}` + "\n", Noise, "", ""},
	{"null", `{"id":1,"result":null,"error":null}` + "\n", Noise, "", ""},
	{"method not found", `{"id":1,"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"}}` + "\n", Foreign, "", ""},
	{"invalid request", `{"id":1,"jsonrpc":"2.0","error":{"code":-32600,"message":"?"}}` + "\n", Foreign, "", ""},
	{"parse error", `{"id":null,"jsonrpc":"2.0","error":{"code":-32700,"message":"?"}}` + "\n", Foreign, "", ""},
	{"invalid params", `{"id":1,"jsonrpc":"2.0","error":{"code":-32602,"message":"?"}}` + "\n", Noise, "", ""},
	{"Grin repeats the method", `{"id":"1","jsonrpc":"2.0","method":"login","error":{"code":-32601,"message":"Method not found"}}` + "\n", Noise, "", ""},
	{"ethereum pool's method not found", `{"id":1,"error":{"code":-3,"message":"Method not found"}}` + "\n", Weak, "", ""},
	{"cryptonote pool's invalid method", `{"id":1,"error":{"code":-1,"message":"Invalid method"}}` + "\n", Weak, "", ""},
	{"Electrum", `{"jsonrpc":"2.0","method":"blockchain.relayfee","params":[],"id":0}` + strings.Repeat(" ", 950) + "\n", Negative, "", ""},
	{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", Negative, "", ""},
	{"SMTP", "220 mail.example.org ESMTP\r\n", Negative, "", ""},
	{"FTP", "220-Welcome\r\n220 ready\r\n", Negative, "", ""},
	{"IMAP", "* OK ready\r\n", Negative, "", ""},
	{"POP", "+OK ready\r\n", Negative, "", ""},
	{"Redis", "-ERR unknown command\r\n", Negative, "", ""},
	{"greeting in second place", "hello\n220 mail.example.org ESMTP\r\n", Noise, "", ""},
	{"HTTP 400", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Negative, "", ""},
	{"HTTP 404", "HTTP/1.0 404 Not Found\n\n", Negative, "", ""},
	{"HTTP 405 without line end", "HTTP/1.1 405 Method Not Allowed", Negative, "", ""},
	{"HTTP 426 may be a pool behind WebSocket", "HTTP/1.1 426 Upgrade Required\r\n\r\n", Noise, "", ""},
	{"HTTP of a getwork pool", "HTTP/1.1 401 Unauthorized\r\nX-Stratum: stratum+tcp://pool.example.org:3333\r\n\r\n", Strong, "", ""},
	{"HTTP/2", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", Negative, "", ""},
	{"234 bytes", strings.Repeat("\x91\xfe", 117), Noise, "", ""},
	{"blanks", " \r\n\n", Noise, "", ""},
	{"nothing", "", Nothing, "", ""},
	{"two objects on a line", `{"id":1,"result":null}{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8]}` + "\n", Noise, "", ""},
	{"array", `[{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8]}]` + "\n", Noise, "", ""},
	{"keywords in a string", `{"id":1,"result":"mining.notify job_id blob target rx/0 Invalid address used for login"}` + "\n", Noise, "", ""},
}

// asked tells a Reader that every question was put.
func asked() *Reader {
	r := NewReader()
	for _, d := range Asked() {
		if d.Ask == nil {
			continue
		}
		for _, q := range d.Ask(Target{Host: "h", Port: "1"}) {
			r.Sent(q)
		}
	}
	return r
}

func TestAnswers(t *testing.T) {
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			got := r.End()
			want := Finding{Level: tt.level, Dialect: tt.dialect, Coin: tt.coin, Proxy: got.Proxy, Job: got.Job, Summary: got.Summary}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (got.Summary == "") != (tt.level == Nothing) || len(got.Summary) > 300 || strings.ContainsFunc(got.Summary, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Errorf("summary %q", got.Summary)
			}
		})
	}
}

// TestSegments: how an answer is cut does not change what it tells.
func TestSegments(t *testing.T) {
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				r := asked()
				rest := []byte(tt.text)
				for len(rest) > 0 {
					n := rapid.IntRange(1, len(rest)).Draw(t, "n")
					if err := r.Feed(rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if got := r.End(); got.Level != tt.level || got.Dialect != tt.dialect || got.Coin != tt.coin {
					t.Fatalf("got %+v, want %v %q %q", got, tt.level, tt.dialect, tt.coin)
				}
			})
		})
	}
}

func TestBounds(t *testing.T) {
	subscription := `{"id":1,"result":[[["mining.notify","a"]],"4ef7006b",8],"x":%s}`
	nested := func(n int) string {
		return fmt.Sprintf(subscription, strings.Repeat("[", n)+strings.Repeat("]", n)) + "\n"
	}
	padded := func(n int) string {
		s := fmt.Sprintf(subscription, `""`)
		return s[:len(s)-2] + strings.Repeat("x", n-len(s)) + `"}` + "\n"
	}
	tests := []struct {
		name  string
		text  string
		level Level
		err   error
	}{
		{"depth 64", nested(MaxDepth - 1), Proof, nil},
		{"depth 65", nested(MaxDepth), Noise, nil},
		{"depth 15000", nested(15000), Noise, nil},
		{"longest line", padded(MaxLine), Proof, nil},
		{"line too long", padded(MaxLine + 1), Noise, ErrLine},
		{"line too long after a proof", padded(200) + strings.Repeat("x", MaxLine+1), Proof, ErrLine},
		{"HTTP too long", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x\n", MaxLine), Negative, ErrLine},
		{"brackets in a string do not nest", fmt.Sprintf(subscription, `"`+strings.Repeat(`[\"`, 100)+`"`) + "\n", Proof, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(tt.text)); !errors.Is(err, tt.err) {
				t.Errorf("Feed = %v, want %v", err, tt.err)
			}
			if got := r.End(); got.Level != tt.level {
				t.Errorf("got %+v, want %v", got, tt.level)
			}
		})
	}
}

// TestRequests: every question is one JSON object on one line with a non-zero integer id, or a string where the dialect
// wants one, and asks for nothing but to be told of a job.
func TestRequests(t *testing.T) {
	target := Target{Agent: `a"b\`, Host: "pool.example.org", Port: "3333"}
	allowed := map[string]bool{"mining.subscribe": true, "mining.hello": true, "login": true, "eth_submitLogin": true, "eth_getWork": true, "getjobtemplate": true}
	stringIDs := map[string]bool{Grin: true, Beam: true}
	for _, d := range Asked() {
		if d.Ask == nil {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			requests := d.Ask(target)
			if d.Again != nil {
				requests = append(requests, d.Again(target)...)
			}
			for _, q := range requests {
				if strings.Count(string(q.Line), "\n") != 1 || !strings.HasSuffix(string(q.Line), "}\n") {
					t.Errorf("%q is no line", q.Line)
				}
				var m struct {
					ID      any    `json:"id"`
					JSONRPC string `json:"jsonrpc"`
					Method  string `json:"method"`
				}
				if err := json.Unmarshal(q.Line, &m); err != nil {
					t.Fatalf("%s: %v", q.Line, err)
				}
				number, _ := m.ID.(float64)
				name, _ := m.ID.(string)
				if name == "" && number == 0 || stringIDs[d.Name] != (name != "") || m.JSONRPC != "2.0" || m.Method != q.Method || !allowed[m.Method] {
					t.Errorf("request %s", q.Line)
				}
				if got := asked(); true {
					if err := got.Feed(q.Line); err != nil || got.End().Level != Noise {
						t.Errorf("our own line is judged as %+v, %v", got.End(), err)
					}
				}
			}
		})
	}
}

func TestQuote(t *testing.T) {
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{"plain", 64, `"plain"`},
		{"a\nb\x1b[31m\x00", 64, `"a\nb\x1b[31m\x00"`},
		{"\u202eevil\u202c and more of it", 64, `"\u202eevil\u202c and more of it"`},
		{"\x00\x01\x02\xff", 64, "hex 000102ff"},
		{strings.Repeat("x", 100), 16, `"` + strings.Repeat("x", 12) + "..."},
		{strings.Repeat("\xff", 100), 16, "hex " + strings.Repeat("f", 9) + "..."},
	}
	for _, tt := range tests {
		if got := Quote([]byte(tt.in), tt.limit); got != tt.want {
			t.Errorf("Quote(%q, %d) = %s, want %s", tt.in, tt.limit, got, tt.want)
		}
	}
}

// fuzz feeds a text, whole and byte by byte, and checks every line that a dialect takes for a proof by a second, plain
// reading with typed JSON and regular expressions.
func fuzz(f *testing.F, name string, plain func(line []byte) bool) {
	f.Helper()
	for _, a := range answers {
		f.Add([]byte(a.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, bytewise := asked(), asked()
		errWhole := r.Feed(b)
		var errBytes error
		for i := range b {
			if errBytes = bytewise.Feed(b[i : i+1]); errBytes != nil {
				break
			}
		}
		got := r.End()
		if (errWhole == nil) != (errBytes == nil) {
			t.Errorf("whole: %v; byte by byte: %v", errWhole, errBytes)
		}
		if diff := cmp.Diff(got, bytewise.End()); diff != "" {
			t.Errorf("(-whole +byte by byte):\n%s", diff)
		}
		checkJob(t, got.Job)
		if len(got.Summary) > 400 || strings.ContainsFunc(got.Summary, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("summary %q", got.Summary)
		}
		if got.Level != Proof || got.Dialect != name {
			return
		}
		for line := range strings.Lines(string(b)) {
			if plain([]byte(line)) {
				return
			}
		}
		if !plain(b) {
			t.Errorf("%s without its structure: %+v", name, got)
		}
	})
}

// checkJob checks that what is told of the work can be written down: bounded, printable, finite.
func checkJob(t *testing.T, j Job) {
	t.Helper()
	for _, text := range []string{j.Algorithm, j.PreviousHash, j.Template, j.Tag, j.Software} {
		if len(text) > maxTag || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("%q in %+v", text, j)
		}
	}
	if _, err := json.Marshal(j); err != nil || j.Difficulty < 0 {
		t.Errorf("%+v: %v", j, err)
	}
}

var (
	reHex    = regexp.MustCompile(`^([0-9a-fA-F]{2})*$`)
	reHex8   = regexp.MustCompile(`^[0-9a-fA-F]{8}$`)
	reHex64  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	reHash0x = regexp.MustCompile(`^0x[0-9a-fA-F]{64}$`)
	reBlob   = regexp.MustCompile(`^([0-9a-fA-F]{2}){76,}$`)
	reTarget = regexp.MustCompile(`^([0-9a-fA-F]{8}){1,2}$`)
)

// text gives a JSON string, or something no pattern matches.
func text(raw json.RawMessage) string {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "no string"
	}
	return *s
}

func list(raw json.RawMessage) []json.RawMessage {
	var l []json.RawMessage
	_ = json.Unmarshal(raw, &l)
	return l
}

// members gives the exact members of an object; encoding/json matches struct fields in any case, but not map keys.
func members(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(raw, &m)
	return m
}

// unescaped writes a JSON text anew, so that no letter is escaped.
func unescaped(raw json.RawMessage) []byte {
	var v any
	_ = json.Unmarshal(raw, &v)
	b, _ := json.Marshal(v)
	return b
}

func FuzzCryptoNote(f *testing.F) {
	isJob := func(raw json.RawMessage) bool {
		job := members(raw)
		return reBlob.MatchString(text(job["blob"])) && text(job["job_id"]) != "" && reTarget.MatchString(text(job["target"]))
	}
	page := regexp.MustCompile(`(?is)^HTTP/1\.[01] 200.*\n\r?\n\s*Mining server online\s*$`)
	fuzz(f, CryptoNote, func(line []byte) bool {
		m := members(line)
		return isJob(m["params"]) && text(m["method"]) == "job" || isJob(members(m["result"])["job"]) || page.Match(line)
	})
}

func FuzzEthproxy(f *testing.F) {
	fuzz(f, Ethproxy, func(line []byte) bool {
		r := list(members(line)["result"])
		return (len(r) == 3 || len(r) == 4) && reHash0x.MatchString(text(r[0])) && reHash0x.MatchString(text(r[1])) && strings.HasPrefix(text(r[2]), "0x")
	})
}

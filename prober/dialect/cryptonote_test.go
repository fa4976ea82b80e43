package dialect

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	minecanary "github.com/minecanary/minecanary"
)

// moneroBlob is a hashing blob with the versions, time and counts given: what follows differs in nonce and root.
func moneroBlob(seconds uint64, previous string, nonce, root byte, transactions uint64) string {
	b := binary.AppendUvarint([]byte{16, 16}, seconds)
	return hex.EncodeToString(b) + previous + strings.Repeat(hex.EncodeToString([]byte{nonce}), 4) +
		strings.Repeat(hex.EncodeToString([]byte{root}), 32) + hex.EncodeToString(binary.AppendUvarint(nil, transactions))
}

// loginResult is the answer to a login with a job of the members given; rest has the members before and in the result,
// with a bar between.
func loginResult(job, rest string) string {
	before, in, _ := strings.Cut(rest, "|")
	return `{"id":1,"jsonrpc":"2.0",` + before + `"result":{"job":{` + job + `}` + in + `}}` + "\n"
}

// judged is what a whole connection tells.
func judged(t *testing.T, text string) Finding {
	t.Helper()
	r := asked()
	if err := r.Feed([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r.End()
}

func TestCryptoNoteJob(t *testing.T) {
	const now = 1700000000
	usual := moneroBlob(now, h64, 0, 0xbb, 20)
	proxyJob := `"blob":"` + usual + `","job_id":"ab00","target":"b88d0600","algo":"rx/0","height":3000000,"seed_hash":"` + h64 + `"`
	p2poolJob := strings.Replace(proxyJob, "ab00", "1", 1)
	xmrig := minecanary.Job{Algorithm: "rx/0", Height: 3000000, Difficulty: 10000, PreviousHash: h64, Software: "xmrig-proxy"}
	pool := xmrig
	pool.Software = ""
	p2pool := xmrig
	p2pool.Software = "p2pool"
	tests := []struct {
		name  string
		text  string
		coin  string
		proxy bool
		job   Job
	}{
		{"xmrig-proxy", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["algo","nicehash","connect","tls","keepalive"],"status":"OK"`), "monero", true, xmrig},
		{"xmrig-proxy without TLS", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["algo","nicehash","connect","keepalive"]`), "monero", true, xmrig},
		{"xmrig-proxy to an old miner", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["nicehash","keepalive"]`), "monero", true, xmrig},
		{"xmrig-proxy in simple mode tells nothing", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["algo","keepalive"]`), "monero", false, pool},
		{"extensions in another order", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["nicehash","algo","keepalive"]`), "monero", false, pool},
		{"extensions twice", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":["algo","nicehash","nicehash","keepalive"]`), "monero", false, pool},
		{"extensions of a pool with a long session", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18aa","extensions":["algo","nicehash","keepalive"]`), "monero", false, pool},
		{"extensions no strings", loginResult(proxyJob, `"error":null,|,"id":"1bb539064ebabc18","extensions":[1,{},"keepalive"]`), "monero", false, pool},
		{"p2pool", loginResult(p2poolJob, `|,"id":"1bb53906","extensions":["algo"],"status":"OK"`), "monero", false, p2pool},
		{"p2pool with an error member", loginResult(p2poolJob, `"error":null,|,"id":"1bb53906","extensions":["algo"],"status":"OK"`), "monero", false, pool},
		{"p2pool with a later job", loginResult(strings.Replace(p2poolJob, `"1"`, `"12"`, 1), `|,"id":"1bb53906","extensions":["algo"]`), "monero", false, pool},
		{"p2pool with a session out of 64 bits", loginResult(p2poolJob, `|,"id":"1bb539061","extensions":["algo"]`), "monero", false, pool},
		{
			"target of 8 bytes", loginResult(`"blob":"`+usual+`","job_id":"x","target":"ffffffffffffff00"`, `|`), "cryptonote-family", false,
			minecanary.Job{Difficulty: 256, PreviousHash: h64},
		},
		{
			"target of zero", loginResult(`"blob":"`+usual+`","job_id":"x","target":"00000000","algo":"cn/r"`, `|`), "cryptonote-family", false,
			minecanary.Job{Algorithm: "cn/r", PreviousHash: h64},
		},
		{
			"another header", loginResult(`"blob":"`+usual+`","job_id":"x","target":"ffffffff","algo":"ghostrider"`, `|`), "cryptonote-family", false,
			minecanary.Job{Algorithm: "ghostrider", Difficulty: 1},
		},
		{
			"a time before the first block", loginResult(`"blob":"`+moneroBlob(1<<28, h64, 0, 0, 1)+`","job_id":"x","target":"ffffffff"`, `|`), "cryptonote-family", false,
			minecanary.Job{Difficulty: 1},
		},
		{
			"no varint", loginResult(`"blob":"`+strings.Repeat("ff", 80)+`","job_id":"x","target":"ffffffff","height":-5`, `|`), "cryptonote-family", false,
			minecanary.Job{Difficulty: 1},
		},
		{
			"algorithm with an escape", loginResult(`"blob":"`+usual+`","job_id":"x","target":"ffffffff","algo":"rx/\u001b[31m","height":1.5`, `|`), "cryptonote-family", false,
			minecanary.Job{Algorithm: "rx/[31m", Difficulty: 1, PreviousHash: h64},
		},
		{
			"algorithm too long", loginResult(`"blob":"`+usual+`","job_id":"x","target":"ffffffff","algo":"rx/`+strings.Repeat("r", maxWord)+`"`, `|`), "cryptonote-family", false,
			minecanary.Job{Algorithm: "rx/" + strings.Repeat("r", maxWord-3), Difficulty: 1, PreviousHash: h64},
		},
		{"the page", "HTTP/1.1 200 OK\nContent-Length: 20\n\nMining server online", "cryptonote-family", false, minecanary.Job{Software: onlineSoftware}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := judged(t, tt.text)
			job := got.Job
			if (job.Template == "") != (job.PreviousHash == "") || job.Template != "" && !reHex64.MatchString(job.Template) {
				t.Errorf("template %q", job.Template)
			}
			job.Template = ""
			want := Finding{Level: Proof, Dialect: CryptoNote, Coin: tt.coin, Proxy: tt.proxy, Job: tt.job, Summary: got.Summary}
			got.Job = job
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCryptoNoteTemplate: two miners of a pool, and those of a proxy behind it, have the same template until the block
// before, the height, the seed or the transactions change; time, nonce and coinbase do not count.
func TestCryptoNoteTemplate(t *testing.T) {
	other := strings.Repeat("0b", 32)
	job := func(blob, seed string, height int) Job {
		text := loginResult(fmt.Sprintf(`"blob":"%s","job_id":"x","target":"b88d0600","algo":"rx/0","height":%d,"seed_hash":"%s"`, blob, height, seed), `|`)
		return judged(t, text).Job
	}
	base := job(moneroBlob(1700000000, h64, 0, 1, 20), h64, 7)
	if same := job(moneroBlob(1700000060, h64, 9, 2, 20), h64, 7); same.Template != base.Template || base.Template == "" {
		t.Errorf("templates %q and %q of the same block", base.Template, same.Template)
	}
	for name, different := range map[string]Job{
		"block before": job(moneroBlob(1700000000, other, 0, 1, 20), h64, 7),
		"transactions": job(moneroBlob(1700000000, h64, 0, 1, 21), h64, 7),
		"seed":         job(moneroBlob(1700000000, h64, 0, 1, 20), other, 7),
		"height":       job(moneroBlob(1700000000, h64, 0, 1, 20), h64, 8),
	} {
		if different.Template == base.Template {
			t.Errorf("another %s, the same template", name)
		}
	}
}

// TestHashingBlob: no blob panics, and what is taken apart was in it.
func TestHashingBlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blob := rapid.SliceOfN(rapid.Byte(), 0, 120).Draw(t, "blob")
		previous, rest, ok := hashingBlob(blob)
		if ok != (previous != nil) || ok && (len(previous) != 32 || len(rest)+68+5 > len(blob)+2) {
			t.Fatalf("%x: %x, %x, %v", blob, previous, rest, ok)
		}
	})
}

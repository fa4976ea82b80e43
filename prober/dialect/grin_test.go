package dialect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// prePow is a Grin header at height 2,000,000: version, height, time, the block before, and what follows.
var prePow = "0005" + "00000000001e8480" + "0000000065540000" + h64 + strings.Repeat("c4", 220)

func grinLine(method, rest string) string {
	return `{"id":"1","jsonrpc":"2.0","method":"` + method + `",` + rest + "}\n"
}

// grinAnswers are what servers say to Grin's questions.
var grinAnswers = []struct {
	name, text    string
	level         Level
	dialect       string
	height        uint64
	previous      string
	answers       int
	templateGiven bool
}{
	{
		"open-grin-pool", grinLine("login", `"result":"ok","error":null`) +
			grinLine("getjobtemplate", `"result":{"difficulty":4,"height":2000000,"job_id":17,"pre_pow":"`+prePow+`"},"error":null`),
		Proof, Grin, 2000000, h64, 2, true,
	},
	{
		"job pushed", `{"id":"Stratum","jsonrpc":"2.0","method":"job","params":{"difficulty":1,"height":2000000,"job_id":0,"pre_pow":"` + prePow + `"}}` + "\n",
		Proof, Grin, 2000000, h64, 0, true,
	},
	{"header of another height", grinLine("getjobtemplate", `"result":{"difficulty":4,"height":5,"job_id":17,"pre_pow":"`+prePow+`"}`), Proof, Grin, 5, "", 1, true},
	{"login alone", grinLine("login", `"result":"ok","error":null`), Weak, Grin, 0, "", 1, false},
	{"login incorrect", grinLine("login", `"result":null,"error":{"code":-32500,"message":"login incorrect"}`), Strong, Grin, 0, "", 1, false},
	{"login first", grinLine("getjobtemplate", `"error":{"code":-32500,"message":"Login first"}`), Strong, Grin, 0, "", 1, false},
	{"ERC-4337's error", grinLine("login", `"error":{"code":-32500,"message":"AA21 didn't pay prefund, login"}`), Noise, "", 0, "", 1, false},
	{"method not found", grinLine("login", `"error":{"code":-32601,"message":"Method not found"}`), Noise, "", 0, "", 1, false},
	{"without the method", `{"id":"1","jsonrpc":"2.0","error":{"code":-32500,"message":"login incorrect"}}` + "\n", Noise, "", 0, "", 1, false},
	{"our login back", string(grin().Ask(Target{})[0].Line), Noise, "", 0, "", 0, false},
	{"our request back", string(grin().Ask(Target{})[1].Line), Noise, "", 0, "", 0, false},
	{"our request back with a job in it", grinLine("getjobtemplate", `"params":null,"result":{"difficulty":4,"height":2000000,"job_id":17,"pre_pow":"`+prePow+`"}`), Noise, "", 0, "", 0, false},
	{"our request back with null", grinLine("getjobtemplate", `"result":null,"error":null`), Noise, "", 0, "", 0, false},
	{"our method back with true", grinLine("login", `"result":true`), Noise, "", 0, "", 0, false},
	{"a job and an error", grinLine("getjobtemplate", `"result":{"difficulty":4,"height":2000000,"job_id":17,"pre_pow":"`+prePow+`"},"error":{"code":1,"message":"?"}`), Noise, "", 0, "", 0, false},
	{"pre_pow too short", grinLine("getjobtemplate", `"result":{"difficulty":4,"height":1,"job_id":1,"pre_pow":"0001"}`), Noise, "", 0, "", 0, false},
	{"job_id a string", grinLine("getjobtemplate", `"result":{"difficulty":4,"height":1,"job_id":"1","pre_pow":"`+prePow+`"}`), Noise, "", 0, "", 0, false},
	{"negative height", grinLine("getjobtemplate", `"result":{"difficulty":4,"height":-1,"job_id":1,"pre_pow":"`+prePow+`"}`), Noise, "", 0, "", 0, false},
	{"job under another method", grinLine("status", `"result":{"difficulty":4,"height":1,"job_id":1,"pre_pow":"`+prePow+`"}`), Noise, "", 0, "", 0, false},
	{"keywords", grinLine("login", `"result":"ok pre_pow job_id"`), Noise, "", 0, "", 0, false},
}

func TestGrin(t *testing.T) {
	for _, tt := range grinAnswers {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			got := r.End()
			if got.Level != tt.level || got.Dialect != tt.dialect || got.Coin != map[bool]string{true: "grin"}[tt.level == Proof] {
				t.Errorf("got %+v, want %v %q", got, tt.level, tt.dialect)
			}
			if got.Job.Height != tt.height || got.Job.PreviousHash != tt.previous || (got.Job.Template != "") != tt.templateGiven {
				t.Errorf("job %+v", got.Job)
			}
			if r.Answers() != tt.answers {
				t.Errorf("%d answers, want %d", r.Answers(), tt.answers)
			}
		})
	}
}

// TestGrinEcho: whatever we say comes back as noise, also to a Reader that was not told of it.
func TestGrinEcho(t *testing.T) {
	for _, d := range []Dialect{grin(), beam()} {
		for _, q := range d.Ask(Target{Agent: "x"}) {
			r := NewReader()
			if err := r.Feed(q.Line); err != nil {
				t.Fatal(err)
			}
			if got := r.End(); got.Level > Noise {
				t.Errorf("%s: %+v", q.Line, got)
			}
		}
	}
}

func TestGrinDifficulty(t *testing.T) {
	text := grinLine("getjobtemplate", fmt.Sprintf(`"result":{"difficulty":%d,"height":2000000,"job_id":17,"pre_pow":"%s"}`, 9, prePow))
	got := judged(t, text)
	if diff := cmp.Diff(float64(9), got.Job.Difficulty); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzGrin(f *testing.F) {
	for _, a := range grinAnswers {
		f.Add([]byte(a.text))
	}
	fuzz(f, Grin, func(line []byte) bool {
		m := members(line)
		job := members(m["result"])
		if text(m["method"]) == "job" {
			job = members(m["params"])
		} else if _, ok := m["params"]; ok || text(m["method"]) != "getjobtemplate" {
			return false
		}
		pre := text(job["pre_pow"])
		return reHex.MatchString(pre) && len(pre) >= 100 && len(job["job_id"]) > 0 && len(job["height"]) > 0 && len(job["difficulty"]) > 0
	})
}

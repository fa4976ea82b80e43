package dialect

import (
	"regexp"
	"testing"
)

// beamAnswers are what servers say to Beam's login.
var beamAnswers = []struct {
	name, text string
	level      Level
	height     uint64
	difficulty float64
	answers    int
}{
	{"job", `{"difficulty":369098752,"height":1500,"id":"212","input":"` + h64 + `","jsonrpc":"2.0","method":"job"}` + "\n", Proof, 1500, 1 << 22, 0},
	{
		"login and job", `{"code":0,"description":"Login successful","forkheight":1,"id":"login","jsonrpc":"2.0","method":"result","nonceprefix":"ab1"}` + "\n" +
			`{"difficulty":377487360,"height":1500,"id":"212","input":"` + h64 + `","jsonrpc":"2.0","method":"job"}` + "\n", Proof, 1500, 3 << 21, 1,
	},
	{"login with nonceprefix", `{"code":0,"description":"Success","id":"login","jsonrpc":"2.0","method":"result","nonceprefix":"a"}` + "\n", Proof, 0, 0, 1},
	{"login with forkheight", `{"code":0,"description":"Success","id":"login","jsonrpc":"2.0","method":"result","forkheight":321321}` + "\n", Proof, 0, 0, 1},
	{"login without either", `{"code":0,"description":"Success","id":"login","jsonrpc":"2.0","method":"result"}` + "\n", Noise, 0, 0, 1},
	{"login with an odd nonceprefix", `{"code":0,"description":"Success","id":"login","method":"result","nonceprefix":"nonce"}` + "\n", Noise, 0, 0, 1},
	{"login with an empty nonceprefix", `{"code":0,"description":"Success","id":"login","method":"result","nonceprefix":""}` + "\n", Noise, 0, 0, 1},
	{"login failed", `{"code":-32003,"description":"Login failed","id":"login","jsonrpc":"2.0","method":"result","nonceprefix":"ab"}` + "\n", Strong, 0, 0, 1},
	{"failed without description", `{"code":-32003,"id":"login","jsonrpc":"2.0","method":"result"}` + "\n", Noise, 0, 0, 0},
	{"JSON-RPC's error with that code", `{"id":"login","jsonrpc":"2.0","error":{"code":-32003,"message":"Login failed"}}` + "\n", Noise, 0, 0, 1},
	{"job without input", `{"difficulty":1,"height":1,"id":"212","method":"job"}` + "\n", Noise, 0, 0, 0},
	{"job of 31 bytes", `{"difficulty":1,"height":1,"id":"212","input":"` + h64[2:] + `","method":"job"}` + "\n", Noise, 0, 0, 0},
	{"job with a difficulty beyond 32 bits", `{"difficulty":4294967296,"height":1,"id":"212","input":"` + h64 + `","method":"job"}` + "\n", Noise, 0, 0, 0},
	{"our login back", string(beam().Ask(Target{})[0].Line), Noise, 0, 0, 0},
	{"Grin's answer to it", `{"id":"login","jsonrpc":"2.0","method":"login","result":"ok","error":null}` + "\n", Weak, 0, 0, 1},
	{"keywords", `{"id":"login","method":"result","description":"code 0 nonceprefix ab forkheight 1"}` + "\n", Noise, 0, 0, 0},
}

func TestBeam(t *testing.T) {
	for _, tt := range beamAnswers {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			if err := r.Feed([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			got := r.End()
			if got.Level != tt.level || (got.Dialect == Beam) != (tt.level >= Strong) || (got.Coin == "beam") != (tt.level == Proof) {
				t.Errorf("got %+v, want %v", got, tt.level)
			}
			if r.Answers() != tt.answers {
				t.Errorf("%d answers, want %d", r.Answers(), tt.answers)
			}
			if tt.name != "job" { // a login before it is the first proof
				return
			}
			if got.Job.Height != tt.height || got.Job.Difficulty != tt.difficulty || !reHex64.MatchString(got.Job.Template) {
				t.Errorf("job %+v, want height %d, difficulty %v", got.Job, tt.height, tt.difficulty)
			}
		})
	}
}

// TestUnpackDifficulty has the values of Beam's rules (block_crypt.cpp): 2^8 and 2^22.
func TestUnpackDifficulty(t *testing.T) {
	for packed, want := range map[uint32]float64{8 << 24: 256, 22 << 24: 4194304, 22<<24 | 1<<23: 6291456, 0: 1} {
		if got := unpackDifficulty(packed); got != want {
			t.Errorf("unpackDifficulty(%#x) = %v, want %v", packed, got, want)
		}
	}
}

func FuzzBeam(f *testing.F) {
	for _, a := range beamAnswers {
		f.Add([]byte(a.text))
	}
	zero := regexp.MustCompile(`^-?0$`)
	fuzz(f, Beam, func(line []byte) bool {
		m := members(line)
		switch text(m["method"]) {
		case "job":
			return reHex64.MatchString(text(m["input"])) && len(m["difficulty"]) > 0 && len(m["height"]) > 0
		case "result":
			_, prefix := m["nonceprefix"]
			_, fork := m["forkheight"]
			return zero.Match(m["code"]) && (prefix || fork)
		}
		return false
	})
}

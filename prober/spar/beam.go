package spar

import "fmt"

// beam is the Stratum server of Beam's node without a list of keys: it takes any, and hears nothing but its own methods.
func beam(_ *session, r request) reply {
	if r.Method != "login" || string(r.ID) != `"login"` {
		return reply{}
	}
	return reply{mine: true, text: `{"code":0,"description":"Login successful","forkheight":777777,"id":"login","jsonrpc":"2.0",` +
		`"method":"result","nonceprefix":"` + random(3) + `"}` + "\n" +
		fmt.Sprintf(`{"difficulty":%d,"height":%d,"id":"212","input":"%s","jsonrpc":"2.0","method":"job"}`+"\n",
			22<<24, grinHeight, random(32))}
}

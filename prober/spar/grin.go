package spar

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// grinHeight is the height of the blocks that the sparring pools of Grin and Beam work on.
const grinHeight = 2000000

// grin is open-grin-pool: it is silent on ids that are no strings, and repeats the method it answers.
func grin(_ *session, r request) reply {
	if len(r.ID) == 0 || r.ID[0] != '"' {
		return reply{}
	}
	answer := func(members string) reply {
		return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"jsonrpc":"2.0","method":%q,%s}`+"\n", id(r), r.Method, members)}
	}
	switch r.Method {
	case "login", "keepalive":
		return answer(`"result":"ok","error":null`)
	case "getjobtemplate":
		header := binary.BigEndian.AppendUint64([]byte{0, 5}, grinHeight)
		header = binary.BigEndian.AppendUint64(header, uint64(time.Now().Unix()))
		return answer(fmt.Sprintf(`"result":{"difficulty":4,"height":%d,"job_id":17,"pre_pow":"%s%s"},"error":null`,
			grinHeight, hex.EncodeToString(header), random(6*32+8+8+8+4)))
	}
	return answer(`"result":null,"error":{"code":-32601,"message":"Method not found"}`)
}

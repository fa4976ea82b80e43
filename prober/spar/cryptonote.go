package spar

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// hashingBlob makes a Monero block's hashing blob of 76 bytes: versions 16 and 16, the time, the block before, the nonce,
// the merkle root, and 20 transactions.
func hashingBlob() string {
	header := binary.AppendUvarint([]byte{16, 16}, uint64(time.Now().Unix()))
	return hex.EncodeToString(header) + random(32) + "00000000" + random(32) + "14"
}

// rx is a Monero job as xmrig-proxy and p2pool hand it out.
func rx(name string) string {
	return fmt.Sprintf(`{"blob":"%s","job_id":"%s","target":"b88d0600","algo":"rx/0","height":3200000,"seed_hash":"%s"}`,
		hashingBlob(), name, random(32))
}

// xmrigProxy is xmrig-proxy 6 with NiceHash splitting: it takes any login, and closes without a word on everything else
// that comes first, a login with a string for an id among it.
func xmrigProxy(_ *session, r request) reply {
	if len(r.ID) == 0 || r.ID[0] == '"' || r.ID[0] == 'n' {
		return reply{mine: true, close: true}
	}
	switch r.Method {
	case "login":
		return reply{mine: true, text: fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":null,"result":{"id":"%s","job":%s,`+
			`"extensions":["algo","nicehash","connect","tls","keepalive"],"status":"OK"}}`+"\n", id(r), random(8), rx(random(16)+"00"))}
	case "keepalived":
		return reply{mine: true, text: object(r, `"error":null,"result":{"status":"KEEPALIVED"}`)}
	}
	return reply{}
}

// p2pool is p2pool 4 for Monero. It closes on what it cannot process; it would shut the sender out for ten minutes, too,
// but never one on this machine.
func p2pool(_ *session, r request) reply {
	if r.Method != "login" || len(r.ID) == 0 || r.ID[0] == '"' || r.ID[0] == 'n' {
		return reply{}
	}
	return reply{mine: true, text: fmt.Sprintf(`{"id":%s,"jsonrpc":"2.0","result":{"id":"1b%s","job":%s,"extensions":["algo"],"status":"OK"}}`+"\n",
		id(r), random(3), rx("1"))}
}

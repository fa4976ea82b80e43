package elasticsearch

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/minecanary/minecanary"
)

// makeHits gives confirmed hits of the window before the present one; those of different sets have different ids.
func makeHits(set byte, n int) []minecanary.Hit {
	now := time.Now().UTC().Truncate(time.Millisecond)
	window := now.Add(-time.Hour).Truncate(time.Hour)
	hits := make([]minecanary.Hit, n)
	for i := range hits {
		seen := minecanary.Aggregate{
			First: window.UnixMicro(), Last: window.Add(10 * time.Minute).UnixMicro(), ClientPackets: 100, ServerPackets: 90,
			ClientBytes: 9000, ServerBytes: 20000, AckPush: 9, Records: 2,
		}
		hits[i] = minecanary.Hit{
			Pair: minecanary.Pair{
				Client: netip.AddrFrom4([4]byte{10, set, byte(i >> 8), byte(i)}),
				Server: minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 3333, minecanary.TCP),
			},
			Status: minecanary.HitConfirmed,
			Verdict: minecanary.Verdict{
				Status: minecanary.Confirmed, Dialect: "cryptonote", Coin: "monero", At: now, FirstConfirmed: now, Reason: "a job",
				Evidence: []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: now, Summary: "a job", Transcript: []string{">> x", "<< y"}}},
			},
			Score: minecanary.Score{Scorer: "canary", Points: 9, Threshold: 9, Passed: true, Criteria: []minecanary.Criterion{
				{Name: "active_time", Value: 600, Limit: ">= 280", Points: 3, Reason: "active for 600 s"},
			}},
			Window: uint32(window.Unix() / 3600), Report: time.Hour, EventScale: 2, InWindow: seen, Seen: seen,
			FirstSeen: seen.First, LastSeen: seen.Last, ClientPort: 40001, UID: minecanary.NewUID(fmt.Appendf(nil, "C%d", i)), Sensor: "s1", Found: now,
		}
	}
	return hits
}

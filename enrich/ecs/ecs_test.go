package ecs

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
)

// TestCommunityID holds against what Zeek 8.0.10 wrote of our own generated sessions, and the published IPv6 vector of
// github.com/corelight/community-id-spec.
func TestCommunityID(t *testing.T) {
	for _, tt := range []struct{ client, server, want string }{
		{"10.20.1.10:38248", "192.0.2.10:3333", "1:SmrdVoBsmeqkNIK6EyjmJ0WBJU4="},
		{"10.20.1.17:46720", "198.51.100.17:14444", "1:rGJQoIKMwP0F0Yt0FkBJyRtAAKs="},
		{"10.20.1.12:38160", "203.0.113.12:443", "1:+Yno8MahlvjI2xWB9y0FR/eXTIQ="},
	} {
		client, server := netip.MustParseAddrPort(tt.client), netip.MustParseAddrPort(tt.server)
		ep := minecanary.NewEndpoint(server.Addr(), server.Port(), minecanary.TCP)
		if got := CommunityID(client.Addr(), client.Port(), ep); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.client, tt.server, got, tt.want)
		}
		back := minecanary.NewEndpoint(client.Addr(), client.Port(), minecanary.TCP)
		if got := CommunityID(server.Addr(), server.Port(), back); got != tt.want {
			t.Errorf("%s turned around: got %s", tt.client, got)
		}
	}
}

func hit() minecanary.Hit {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	seen := minecanary.Aggregate{
		First: at.UnixMicro(), Last: at.Add(10 * time.Minute).UnixMicro(), ClientPackets: 100, ServerPackets: 90,
		ClientBytes: 9000, ServerBytes: 20000, AckPush: 9, Other: 1, Records: 2,
	}
	return minecanary.Hit{
		Pair: minecanary.Pair{
			Client: netip.MustParseAddr("10.0.0.5"),
			Server: minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.10"), 3333, minecanary.TCP),
		},
		Status: minecanary.HitConfirmed,
		Verdict: minecanary.Verdict{
			Status: minecanary.Confirmed, Dialect: "cryptonote", Coin: "monero", At: at, FirstConfirmed: at, Reason: "a job",
			Evidence: []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: at, Summary: "a job"}},
		},
		Score:  minecanary.Score{Scorer: "canary", Points: 9, Threshold: 9, Passed: true, Criteria: []minecanary.Criterion{{Name: "active_time", Value: 600, Limit: ">= 280", Points: 3, Reason: "active for 600 s"}}},
		Window: 493000, Report: time.Hour, Sequence: 1, EventScale: 2, InWindow: seen, Seen: seen,
		FirstSeen: seen.First, LastSeen: seen.Last, ClientPort: 40001, UID: minecanary.NewUID([]byte("CXYZ")), Sensor: "s1", Found: at.Add(time.Hour),
	}
}

// TestDocument holds the whole document: a field that changes is a change for everybody who reads hits.
func TestDocument(t *testing.T) {
	h := hit()
	b, err := json.Marshal(New(&h))
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	const text = `{"@timestamp":"2026-03-01T13:00:00.000Z","ecs":{"version":"8.11.0"},
"data_stream":{"type":"logs","dataset":"minecanary.hit","namespace":"default"},
"event":{"kind":"alert","category":["network","intrusion_detection"],"type":["connection","info"],"module":"minecanary","dataset":"minecanary.hit",
 "provider":"minecanary","action":"mining-pool-verified","id":"ID","sequence":1,"severity":73,"risk_score":92,
 "start":"2026-03-01T12:00:00.000Z","end":"2026-03-01T12:10:00.000Z","duration":600000000000,
 "reason":"198.51.100.10:3333 answered cryptonote as a pool; 10.0.0.5 has sent to it for 10 min 0 s"},
"message":"10.0.0.5 mines at 198.51.100.10:3333 (cryptonote)",
"rule":{"id":"minecanary-confirmed","name":"Connection to a verified mining pool","category":"Crypto Currency Mining Activity Detected",
 "reference":"https://github.com/minecanary/minecanary#readme"},
"source":{"address":"10.0.0.5","ip":"10.0.0.5","port":40001,"bytes":9000,"packets":100},
"destination":{"address":"198.51.100.10","ip":"198.51.100.10","port":3333,"bytes":20000,"packets":90},
"client":{"ip":"10.0.0.5"},"server":{"ip":"198.51.100.10","port":3333},
"network":{"transport":"tcp","protocol":"stratum","type":"ipv4","direction":"outbound","community_id":"1:bQN30YvuEiKjs9dKZXMWqcXKxdg=","bytes":29000,"packets":190},
"observer":{"type":"ids","product":"zeek","name":"s1"},"related":{"ip":["10.0.0.5","198.51.100.10"]},
"threat":{"framework":"MITRE ATT&CK","tactic":{"id":["TA0040"],"name":["Impact"]},"technique":{"id":["T1496"],"name":["Resource Hijacking"]},
 "enrichments":[{"indicator":{"type":"ipv4-addr","ip":"198.51.100.10","port":3333,"confidence":"High","first_seen":"2026-03-01T12:00:00.000Z","last_seen":"2026-03-01T12:00:00.000Z","provider":"minecanary"},
 "matched":{"atomic":"198.51.100.10","field":"destination.ip","type":"indicator_match_rule"}}]},
"zeek":{"session_id":"CXYZ"},
"minecanary":{"status":"confirmed","verdict":"confirmed","scorer":"canary","score":9,"threshold":9,
 "criteria":[{"name":"active_time","value":600,"limit":">= 280","points":3,"reason":"active for 600 s"}],
 "evidence":[{"kind":"probe","strength":"proof","at":"2026-03-01T12:00:00Z","summary":"a job"},{"kind":"score","strength":"weak","at":"2026-03-01T13:00:00Z","summary":"canary score 9 of 9"}],
 "coin":"monero","dialect":"cryptonote","tls":false,"event_scale":2,"slices":10,"first_seen":"2026-03-01T12:00:00.000Z","last_seen":"2026-03-01T12:10:00.000Z"}}`
	var want any
	community := CommunityID(h.Client, h.ClientPort, h.Server)
	if err := json.Unmarshal([]byte(strings.NewReplacer(`"ID"`, `"`+h.ID()+`"`, "1:bQN30YvuEiKjs9dKZXMWqcXKxdg=", community).Replace(text)), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusesDiffer(t *testing.T) {
	for _, tt := range []struct {
		status             minecanary.HitStatus
		kind, action       string
		threat, enrichment bool
	}{
		{minecanary.HitConfirmed, "alert", "mining-pool-verified", true, true},
		{minecanary.HitKnown, "alert", "mining-pool-known", true, false},
		{minecanary.HitSuspected, "event", "mining-suspected", false, false},
	} {
		t.Run(string(tt.status), func(t *testing.T) {
			h := hit()
			h.Status = tt.status
			d := New(&h)
			if d.Event.Kind != tt.kind || d.Event.Action != tt.action || (d.Threat != nil) != tt.threat {
				t.Errorf("%+v, threat %v", d.Event, d.Threat)
			}
			if tt.threat && (len(d.Threat.Enrichments) > 0) != tt.enrichment {
				t.Errorf("enrichments %+v", d.Threat.Enrichments)
			}
			if tt.status != minecanary.HitConfirmed && d.Minecanary.Coin != "" {
				t.Errorf("a %s hit names the coin %s", tt.status, d.Minecanary.Coin)
			}
		})
	}
}

// TestIDs: the id is of client, endpoint and window, and of nothing else.
func TestIDs(t *testing.T) {
	a := hit()
	same := hit()
	same.Status, same.Sequence, same.Found, same.ClientPort = minecanary.HitSuspected, 7, time.Now(), 1
	if a.ID() != same.ID() {
		t.Error("the id changes with what is found")
	}
	for name, change := range map[string]func(*minecanary.Hit){
		"client": func(h *minecanary.Hit) { h.Client = h.Client.Next() },
		"server": func(h *minecanary.Hit) { h.Server.Addr = h.Server.Addr.Next() },
		"port":   func(h *minecanary.Hit) { h.Server.Port++ },
		"window": func(h *minecanary.Hit) { h.Window++ },
	} {
		b := hit()
		change(&b)
		if a.ID() == b.ID() {
			t.Errorf("another %s has the same id", name)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", 2*time.Hour + 5*time.Minute: "2 h 5 min",
		70 * time.Hour: "2 d 22 h", 1499 * time.Millisecond: "1 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

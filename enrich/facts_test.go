package enrich_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/storetest"
)

// sighting is of client 10.0.0.n and server 198.51.100.m:3333, half an hour into the epoch.
func sighting(kind minecanary.SightingKind, client, server int) minecanary.Sighting {
	s := storetest.Slices(client, server, storetest.Epoch.Add(30*time.Minute), 0)
	out := minecanary.Sighting{Kind: kind, Time: s.Start, Client: s.Client, Server: s.Server}
	switch kind {
	case minecanary.SightedMining:
		out.Protocol, out.Agent, out.Login = "monero", "XMRig/6.21.0", "wallet.worker"
	case minecanary.SightedRule:
		out.Rule, out.Text = 2024792, "ET COINMINER"
	case minecanary.SightedDNS:
		out.Server.Port, out.Name = 0, "xmr.pool.example"
	case minecanary.SightedTLS:
		out.Name = "xmr.pool.example"
	}
	return out
}

// poolNames knows pool.example and what is below it, on port 3333 alone.
func poolNames(name string, port uint16, _ time.Time) (string, bool) {
	return "catalogue: Pool", (name == "pool.example" || strings.HasSuffix(name, ".pool.example")) && (port == 0 || port == 3333)
}

// evidenceOf lists kind and strength of each hit's evidence, by client.
func evidenceOf(hits []minecanary.Hit) map[string][]string {
	out := map[string][]string{}
	for _, h := range hits {
		var list []string
		for _, e := range h.Evidence {
			list = append(list, fmt.Sprintf("%s/%s", e.Kind, e.Strength))
		}
		out[fmt.Sprintf("%s %s", h.Status, h.Client)] = list
	}
	return out
}

// TestSightings: what is reported on the ground of each kind of sighting, and what is not.
func TestSightings(t *testing.T) {
	byServer := sighting(minecanary.SightedMining, 1, 1)
	byServer.ByServer = true
	hides := sighting(minecanary.SightedMining, 6, 6)
	hides.ByServer = true
	allowed := sighting(minecanary.SightedMining, 7, 7)
	allowed.ByServer = true
	other := sighting(minecanary.SightedDNS, 8, 8)
	other.Name = "www.example"
	resolver := sighting(minecanary.SightedDNS, 99, 9)
	// A line that perhaps the server said: with a record of both sides it was.
	perhaps, forged := sighting(minecanary.SightedMining, 13, 13), sighting(minecanary.SightedMining, 14, 14)
	perhaps.ByServer, perhaps.Unsure, forged.ByServer, forged.Unsure = true, true, true, true
	late := sighting(minecanary.SightedDNS, 10, 10)
	late.Time += (48 * time.Hour).Microseconds()
	elsewhere := sighting(minecanary.SightedTLS, 12, 12)
	elsewhere.Server.Port = 443
	b := &enrich.Batch{
		Partition: "mining.log", Next: minecanary.Position{Offset: 1},
		Sightings: []minecanary.Sighting{
			byServer,
			sighting(minecanary.SightedMining, 2, 2), // the client alone: nothing to report, but asked
			sighting(minecanary.SightedRule, 3, 3),   // asked
			sighting(minecanary.SightedDNS, 4, 4),    // went there
			sighting(minecanary.SightedTLS, 5, 5),
			hides, allowed, other, resolver, late,
			sighting(minecanary.SightedDNS, 11, 11), // never went there
			elsewhere, perhaps, forged,
		},
	}
	var conns []minecanary.Slices
	for _, pair := range []int{2, 3, 4, 5, 6, 8, 9, 10, 13} {
		conns = append(conns, session(pair, pair, storetest.Epoch.Add(20*time.Minute), 20*time.Minute, false)...)
	}
	https := session(12, 12, storetest.Epoch.Add(20*time.Minute), 20*time.Minute, false)
	for i := range https {
		https[i].Server.Port = 443
	}
	conns = append(conns, https...)
	for _, first := range []string{"sightings first", "connections first"} {
		t.Run(first, func(t *testing.T) {
			out := &collector{}
			k := &knower{pools: map[string]minecanary.VerdictStatus{"198.51.100.6:3333": minecanary.NotPool}}
			e := enrich.New(testConfig(true), enrich.Deps{
				Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: k, Workers: 1,
				Lists:    listed{allow: map[string]bool{"198.51.100.7:3333": true}},
				PoolName: poolNames,
				Resolver: func(a netip.Addr) bool { return a == resolver.Client },
				Remark: func(h *minecanary.Hit) []minecanary.Evidence {
					return []minecanary.Evidence{{Kind: "remark", Strength: minecanary.Weak, Summary: h.Server.String()}}
				},
			})
			in := []*enrich.Batch{b, {Partition: "conn.log", Next: minecanary.Position{Offset: 1}, Slices: conns}}
			if first != "sightings first" {
				slices.Reverse(in)
			}
			if err := run(t.Context(), e, in); err != nil {
				t.Fatal(err)
			}
			want := map[string][]string{
				"known 10.0.0.1":  {"payload/strong", "remark/weak"},
				"known 10.0.0.13": {"payload/strong", "remark/weak"},
				"known 10.0.0.4":  {"name/strong", "remark/weak"},
				"known 10.0.0.5":  {"name/strong", "remark/weak"},
				"known 10.0.0.6":  {"payload/strong", "remark/weak"},
				"known 10.0.0.9":  {"name/strong", "remark/weak"},
			}
			if diff := cmp.Diff(want, evidenceOf(out.hits)); diff != "" {
				t.Errorf("hits (-want +got):\n%s", diff)
			}
			for _, h := range out.hits {
				if h.Client.String() == "10.0.0.4" && h.ServerName != "xmr.pool.example" {
					t.Errorf("%s has the name %q", h.Server, h.ServerName)
				}
				if got := h.Evidence[0].Summary; h.Client.String() == "10.0.0.1" && got != "the server speaks a mining protocol: monero, agent XMRig/6.21.0, login wallet.worker" {
					t.Errorf("summary %q", got)
				}
			}
			slices.Sort(k.asked)
			// Of 1 there is no record of a session: a single made-up packet would have the sensor write such a line.
			asked := []string{"198.51.100.13:3333", "198.51.100.2:3333", "198.51.100.3:3333", "198.51.100.4:3333", "198.51.100.5:3333", "198.51.100.6:3333", "198.51.100.9:3333"}
			if diff := cmp.Diff(asked, k.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// questions is a verifier that keeps what it is asked.
type questions struct{ all []minecanary.Question }

func (q *questions) Verify(_ context.Context, question minecanary.Question) (minecanary.Verdict, error) {
	q.all = append(q.all, question)
	now := time.Now()
	return minecanary.Verdict{Endpoint: question.Endpoint, Status: minecanary.Inconclusive, At: now, Expires: now.Add(time.Hour)}, nil
}

// TestSightedNameIsAskedFor: the name that a client used goes into the question, whoever's it is.
func TestSightedNameIsAskedFor(t *testing.T) {
	tls, dns := sighting(minecanary.SightedTLS, 1, 1), sighting(minecanary.SightedDNS, 9, 1)
	tls.Name, dns.Name = "tls.example", "dns.example"
	second := sighting(minecanary.SightedDNS, 9, 2)
	second.Name = "second.example"
	asked := &questions{}
	e := enrich.New(testConfig(true), enrich.Deps{Store: newStore(""), Scorer: scorer(t), Verifier: asked, Workers: 1})
	in := &enrich.Batch{
		Partition: "conn.log", Next: minecanary.Position{Offset: 1}, Sightings: []minecanary.Sighting{tls, dns, second},
		Slices: slices.Concat(session(1, 1, storetest.Epoch, 90*time.Minute, true), session(2, 2, storetest.Epoch, 90*time.Minute, true)),
	}
	if err := run(t.Context(), e, []*enrich.Batch{in}); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, q := range asked.all {
		names[q.Endpoint.String()] = q.Name
	}
	if diff := cmp.Diff(map[string]string{"198.51.100.1:3333": "tls.example", "198.51.100.2:3333": "second.example"}, names); diff != "" {
		t.Error(diff)
	}
}

// TestSightingsSurvive: a restart between the mining line and the connection forgets nothing.
func TestSightingsSurvive(t *testing.T) {
	path := t.TempDir() + "/sightings.ndjson"
	out := &collector{}
	for i, b := range []*enrich.Batch{
		{Partition: "dns.log", Next: minecanary.Position{Offset: 1}, Sightings: []minecanary.Sighting{sighting(minecanary.SightedDNS, 4, 4)}},
		{Partition: "conn.log", Next: minecanary.Position{Offset: 1}, Slices: session(4, 4, storetest.Epoch.Add(20*time.Minute), 20*time.Minute, false)},
	} {
		facts, err := memory.OpenFacts(path)
		if err != nil {
			t.Fatal(err)
		}
		e := enrich.New(testConfig(true), enrich.Deps{Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, PoolName: poolNames, Facts: facts})
		if err := run(t.Context(), e, []*enrich.Batch{b}); err != nil {
			t.Fatal(i, err)
		}
		if err := facts.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := evidenceOf(out.hits); len(got["known 10.0.0.4"]) != 1 {
		t.Errorf("hits: %v", got)
	}
}

package score

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

// minerAggregate is the middle of what real miners show.
func minerAggregate(change func(*minecanary.Aggregate)) *minecanary.Aggregate {
	a := &minecanary.Aggregate{
		First: 0, Last: 1200 * microseconds, ClientPackets: 120, ServerPackets: 110,
		ClientBytes: 120 * 110, ServerBytes: 110 * 240, ClientPayload: 120 * 58, ServerPayload: 110 * 188,
		CountedPackets: 110, CountedBytes: 110 * 110, CountedLast: 1200 * microseconds, AckPush: 19, Records: 1,
	}
	change(a)
	return a
}

func TestCanary(t *testing.T) {
	for _, tt := range []struct {
		name   string
		port   uint16
		change func(*minecanary.Aggregate)
		passes bool
	}{
		{"a miner", 3333, func(*minecanary.Aggregate) {}, true},
		{"a miner on the web's port", 443, func(a *minecanary.Aggregate) { a.Services = minecanary.ServiceTLS }, true},
		{"290 s", 3333, func(a *minecanary.Aggregate) { a.Last = 290 * microseconds }, true},
		{"279 s", 3333, func(a *minecanary.Aggregate) { a.Last = 279 * microseconds }, false},
		{"the fastest of the second paper's miners", 3333, func(a *minecanary.Aggregate) {
			a.Last = 400 * microseconds
			a.ClientPackets, a.ServerPackets = 5300, 5000
			a.ClientBytes, a.ServerBytes, a.ClientPayload, a.ServerPayload = 5300*110, 5000*240, 5300*58, 5000*188
		}, true},
		{"keepalives only", 3333, func(a *minecanary.Aggregate) { a.ClientPayload, a.ServerPayload = 120, 110 }, false},
		{"a download", 3333, func(a *minecanary.Aggregate) { a.ServerBytes, a.ServerPayload = 110*1400, 110*1360 }, false},
		{"an upload", 3333, func(a *minecanary.Aggregate) { a.ClientBytes, a.ClientPayload = 120*1400, 120*1360 }, false},
		{"one-sided", 3333, func(a *minecanary.Aggregate) { a.ServerPackets = 30 }, false},
		{"nobody answers", 3333, func(a *minecanary.Aggregate) { a.ServerPackets, a.ServerBytes, a.ServerPayload = 0, 0, 0 }, false},
		{"a packet in five minutes", 3333, func(a *minecanary.Aggregate) { a.Last = 36000 * microseconds }, false},
		{"SSH by its port", 22, func(*minecanary.Aggregate) {}, false},
		{"MQTT as recognised", 3333, func(a *minecanary.Aggregate) { a.Services = minecanary.ServiceOther }, false},
		{"HTTP as recognised", 3333, func(a *minecanary.Aggregate) { a.Services = minecanary.ServiceHTTP }, false},
		{"payload seen, whatever the shape", 22, func(a *minecanary.Aggregate) { *a = minecanary.Aggregate{Services: minecanary.ServiceStratum} }, true},
		{"payload told beyond what the bytes leave room for", 3333, func(a *minecanary.Aggregate) { a.ServerPayload = 110 * 26423 }, true},
		{"nothing", 3333, func(a *minecanary.Aggregate) { *a = minecanary.Aggregate{} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New("canary", 0)
			if err != nil {
				t.Fatal(err)
			}
			e := s.Explain(tt.port, minerAggregate(tt.change))
			if e.Passed != tt.passes {
				t.Errorf("passed %v: %+v", e.Passed, e)
			}
		})
	}
}

func drawAggregate(t *rapid.T) minecanary.Aggregate {
	u := func(name string, most uint64) uint64 { return rapid.Uint64Range(0, most).Draw(t, name) }
	a := minecanary.Aggregate{
		First: rapid.Int64Range(0, 1<<50).Draw(t, "first"), ClientPackets: u("client packets", 1<<40), ServerPackets: u("server packets", 1<<40),
		ClientBytes: u("client bytes", 1<<50), ServerBytes: u("server bytes", 1<<50), ClientPayload: u("client payload", 1<<50),
		ServerPayload: u("server payload", 1<<50), Ack: uint32(u("ack", 1<<30)), AckPush: uint32(u("ackpush", 1<<30)), Other: uint32(u("other", 1<<30)),
		CountedPackets: u("counted packets", 1<<40), CountedBytes: u("counted bytes", 1<<50), Services: minecanary.Services(u("services", 31)), Records: 1,
	}
	a.Last = a.First + rapid.Int64Range(0, 1<<45).Draw(t, "length")
	a.CountedFirst, a.CountedLast = a.First, a.Last
	return a
}

// TestPointsAreExplained: for every scorer the hot path and the explanation agree, the points are the sum of the
// criteria, and every criterion has a name, a limit and a reason.
func TestPointsAreExplained(t *testing.T) {
	for _, name := range Names() {
		s, err := New(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			a, port := drawAggregate(t), rapid.Uint16().Draw(t, "port")
			e := s.Explain(port, &a)
			var sum float64
			for _, c := range e.Criteria {
				sum += c.Points
				if c.Name == "" || c.Limit == "" || c.Reason == "" {
					t.Fatalf("a criterion does not explain itself: %+v", c)
				}
			}
			if p := s.Points(port, &a); p != e.Points || p != sum || e.Passed != (p >= s.Threshold()) {
				t.Fatalf("points %g, explained %g, sum %g, passed %v", p, e.Points, sum, e.Passed)
			}
		})
	}
}

// TestMorePayloadSeenNeverClears: a mining protocol in the payload never lowers canary's score.
func TestMorePayloadSeenNeverClears(t *testing.T) {
	s, err := New("canary", 0)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, port := drawAggregate(t), rapid.Uint16().Draw(t, "port")
		before := s.Points(port, &a)
		a.Services |= minecanary.ServiceStratum
		if after := s.Points(port, &a); after < before || after < s.Threshold() {
			t.Fatalf("%g with the protocol seen, %g without", after, before)
		}
	})
}

func TestNewScorer(t *testing.T) {
	if _, err := New("other", 0); err == nil {
		t.Error("an unknown scorer")
	}
	s, err := New("nemea", 9)
	if err != nil || s.Threshold() != 9 {
		t.Errorf("threshold %v, %v", s, err)
	}
}

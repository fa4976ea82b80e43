package score

import (
	"math/rand/v2"
	"testing"
)

// plainNemea is the seed's score written down a second time, as plainly as it reads in its README, for sane numbers.
func plainNemea(n Nemea) int {
	score := 0
	flows := n.Ack + n.AckPush + n.Other
	if flows > 0 && 100*(n.Ack+n.AckPush)/flows >= 80 {
		score += 2
	}
	bpp := uint64(0)
	if n.Packets != 0 {
		bpp = n.Bytes / n.Packets
	}
	if bpp > 50 && bpp < 130 {
		score += 2
	}
	ppf := uint64(0)
	if flows > 0 {
		ppf = n.Packets / flows
	}
	if ppf < 10 || ppf > 20 {
		score++
	}
	active := n.LastSeen - n.FirstSeen
	if active >= 5 {
		ppm := int64(float64(n.Packets) / (float64(active) / 60))
		if ppm >= 8 && ppm <= 30 {
			score += 2
		}
	}
	if active >= 300 {
		score += 3
	}
	return score
}

func TestNemeaEdges(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   Nemea
		want float64
	}{
		{"maximum", Nemea{Ack: 40, AckPush: 40, Packets: 320, Bytes: 320 * 100, LastSeen: 1200}, 10},
		{"79.99 % is 79", Nemea{AckPush: 7999, Other: 2001, Packets: 10000 * 15, Bytes: 0, LastSeen: 1}, 0},
		{"exactly 80 %", Nemea{AckPush: 8, Other: 2, Packets: 150, LastSeen: 1}, 2},
		{"50 bytes per packet is none", Nemea{Other: 1, Packets: 10, Bytes: 509, LastSeen: 1}, 0},
		{"51 bytes per packet", Nemea{Other: 1, Packets: 10, Bytes: 510, LastSeen: 1}, 2},
		{"129.9 bytes per packet is 129", Nemea{Other: 1, Packets: 10, Bytes: 1299, LastSeen: 1}, 2},
		{"130 bytes per packet is none", Nemea{Other: 1, Packets: 10, Bytes: 1300, LastSeen: 1}, 0},
		{"9.9 packets per slice is 9", Nemea{Other: 10, Packets: 99, LastSeen: 1}, 1},
		{"10 packets per slice is none", Nemea{Other: 10, Packets: 100, LastSeen: 1}, 0},
		{"20.9 packets per slice is 20", Nemea{Other: 10, Packets: 209, LastSeen: 1}, 0},
		{"21 packets per slice", Nemea{Other: 10, Packets: 210, LastSeen: 1}, 1},
		{"7.99 packets per minute is 7", Nemea{Other: 10, Packets: 159, LastSeen: 1200}, 3},
		{"8 packets per minute", Nemea{Other: 10, Packets: 160, LastSeen: 1200}, 5},
		{"30.99 packets per minute is 30", Nemea{Other: 30, Packets: 309, LastSeen: 599}, 5},
		{"31 packets per minute is none", Nemea{Other: 31, Packets: 310, LastSeen: 600}, 3},
		{"4 s: no packets per minute", Nemea{Other: 1, Packets: 1, LastSeen: 4}, 1},
		{"5 s: packets per minute", Nemea{Other: 1, Packets: 1, LastSeen: 5}, 3},
		{"299 s", Nemea{Other: 1, Packets: 15, LastSeen: 299}, 0},
		{"300 s", Nemea{Other: 1, Packets: 15, LastSeen: 300}, 3},
		{"no packets", Nemea{Other: 1, Bytes: 100, LastSeen: 300}, 4},
		{"nothing", Nemea{}, 1},
		{"backwards", Nemea{Ack: 1, FirstSeen: 1000, LastSeen: 10}, 3},
		{"huge", Nemea{Ack: 1 << 63, AckPush: 1 << 63, Other: 1 << 63, Packets: ^uint64(0), Bytes: ^uint64(0), LastSeen: 1<<63 - 1}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.in.Points()
			if got != tt.want {
				t.Errorf("got %g, want %g: %+v", got, tt.want, tt.in.Explain(NemeaThreshold))
			}
			if e := tt.in.Explain(NemeaThreshold); e.Points != got || e.Passed != (got >= NemeaThreshold) {
				t.Errorf("explained as %g, %v", e.Points, e.Passed)
			}
		})
	}
}

// TestNemeaAgainstPlain holds ten million random aggregates against the second implementation.
func TestNemeaAgainstPlain(t *testing.T) {
	runs := 10_000_000
	if testing.Short() {
		runs = 100_000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range runs {
		n := Nemea{
			Ack: rng.Uint64N(60), AckPush: rng.Uint64N(60), Other: rng.Uint64N(30),
			FirstSeen: rng.Int64N(1 << 32),
		}
		// Half of them near the borders of the criteria, half anywhere.
		if rng.Uint64()&1 == 0 {
			n.LastSeen = n.FirstSeen + rng.Int64N(700)
			n.Packets = rng.Uint64N(25 * (n.Ack + n.AckPush + n.Other + 1))
			n.Bytes = n.Packets * (45 + rng.Uint64N(90))
		} else {
			n.LastSeen = n.FirstSeen + rng.Int64N(1<<20)
			n.Packets = rng.Uint64N(1 << rng.Uint64N(40))
			n.Bytes = rng.Uint64N(1 << rng.Uint64N(48))
		}
		got, want := n.Points(), plainNemea(n)
		if got != float64(want) {
			t.Fatalf("%+v: got %g, want %d", n, got, want)
		}
		if got >= NemeaThreshold {
			passed++
		}
	}
	if passed < runs/20 {
		t.Errorf("only %d of %d pass: the draw misses the interesting part", passed, runs)
	}
}

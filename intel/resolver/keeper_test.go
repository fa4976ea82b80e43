package resolver

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var keeperBegun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestKeeper(t *testing.T) {
	at := func(d time.Duration) time.Time { return keeperBegun.Add(d) }
	type step struct {
		after time.Duration
		Answer
	}
	good := func(after time.Duration, list ...string) step {
		return step{after, Answer{Code: NoError, Addrs: addrs(list...)}}
	}
	code := func(after time.Duration, c Code) step { return step{after, Answer{Code: c}} }
	four, six := "192.0.2.1", "2001:db8::1"
	const h, m = time.Hour, time.Minute
	for name, tt := range map[string]struct {
		steps []step
		want  []string
		a     Held // without Addrs
	}{
		"nothing known":      {[]step{code(0, ServFail)}, nil, Held{}},
		"good":               {[]step{good(0, four, six)}, []string{four, six}, Held{Seen: at(0)}},
		"moved":              {[]step{good(0, four), good(h, "192.0.2.2")}, []string{"192.0.2.2"}, Held{Seen: at(h)}},
		"servfail":           {[]step{good(0, four), code(h, ServFail), code(25*h, Timeout)}, []string{four}, Held{Seen: at(0), Stale: at(h)}},
		"servfail too long":  {[]step{good(0, four), code(h, ServFail), code(25*h+1, Timeout)}, nil, Held{Seen: at(0)}},
		"servfail healed":    {[]step{good(0, four), code(h, ServFail), good(2*h, four), code(26*h, Refused)}, []string{four}, Held{Seen: at(2 * h), Stale: at(26 * h)}},
		"one nxdomain":       {[]step{good(0, four), code(h, NXDomain)}, []string{four}, Held{Seen: at(0), Stale: at(h), Denied: at(h)}},
		"two at once":        {[]step{good(0, four), code(h, NXDomain), code(h+10*m-1, NXDomain)}, []string{four}, Held{Seen: at(0), Stale: at(h), Denied: at(h)}},
		"two apart":          {[]step{good(0, four), code(h, NXDomain), code(h+10*m, NXDomain)}, nil, Held{Seen: at(0)}},
		"two around a good":  {[]step{good(0, four), code(h, NXDomain), good(h+m, four), code(2*h, NXDomain)}, []string{four}, Held{Seen: at(h + m), Stale: at(2 * h), Denied: at(2 * h)}},
		"two around a fail":  {[]step{good(0, four), code(h, NXDomain), code(h+m, ServFail), code(2*h, NXDomain)}, nil, Held{Seen: at(0)}},
		"a fail is none":     {[]step{good(0, four), code(h, NXDomain), code(2*h, ServFail)}, []string{four}, Held{Seen: at(0), Stale: at(h), Denied: at(h)}},
		"empty twice":        {[]step{good(0, four, six), good(h, six), good(2*h, six)}, []string{six}, Held{Seen: at(0)}},
		"a loop":             {[]step{good(0, four), {h, Answer{Code: NoError, Loop: true}}, {2 * h, Answer{Code: NoError, Loop: true}}}, []string{four}, Held{Seen: at(0), Stale: at(h)}},
		"the past":           {[]step{good(h, four), good(0, "192.0.2.2"), code(0, NXDomain)}, []string{four}, Held{Seen: at(h)}},
		"missing A":          {[]step{good(0, four, six), {h, Answer{Code: NoError, Missing: A, Addrs: addrs(six)}}, {2 * h, Answer{Code: NoError, Missing: A, Addrs: addrs(six)}}}, []string{four, six}, Held{Seen: at(0), Stale: at(h)}},
		"missing AAAA":       {[]step{good(0, four, six), {h, Answer{Code: NoError, Missing: AAAA, Addrs: addrs(four)}}, {2 * h, Answer{Code: NoError, Missing: AAAA, Addrs: addrs(four)}}}, []string{four, six}, Held{Seen: at(2 * h)}},
		"flapping all night": {[]step{good(0, four), code(h, NXDomain), good(2*h, four), code(3*h, ServFail), code(4*h, NXDomain), good(5*h, four)}, []string{four}, Held{Seen: at(5 * h)}},
	} {
		t.Run(name, func(t *testing.T) {
			var k Keeper
			var b Belief
			for _, s := range tt.steps {
				s.At = at(s.after)
				b = k.Next(b, s.Answer)
				raw, err := json.Marshal(b)
				if err != nil {
					t.Fatal(err)
				}
				b = Belief{} // what was stored is as good as what is remembered
				if err := json.Unmarshal(raw, &b); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(addrs(tt.want...), b.Addrs(), addrsEqual, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			b.A.Addrs = nil
			if diff := cmp.Diff(tt.a, b.A); diff != "" {
				t.Error(diff)
			}
		})
	}
	var k Keeper
	if b := k.Next(Belief{}, Answer{Code: NoError, Addrs: addrs(four)}); len(b.Addrs()) > 0 {
		t.Error("an answer without time counts")
	}
	a := Answer{Code: NoError, At: keeperBegun, Addrs: addrs(four), Chain: []string{"a.example"}}
	b := k.Next(Belief{}, a)
	clear(a.Addrs)
	clear(a.Chain)
	b = k.Next(b, Answer{Code: ServFail, At: at(h)})
	if !slices.Equal(b.Addrs(), addrs(four)) || !slices.Equal(b.Chain, []string{"a.example"}) || b.Code != ServFail || !b.At.Equal(at(h)) {
		t.Errorf("belief %+v", b)
	}
}

func TestTrust(t *testing.T) {
	k := Keeper{MaxStale: 10 * time.Hour}
	h := Held{Addrs: addrs("192.0.2.1"), Seen: keeperBegun}
	stale := h
	stale.Stale = keeperBegun.Add(time.Hour)
	for _, tt := range []struct {
		h     Held
		after time.Duration
		want  float64
	}{
		{Held{}, 0, 0},
		{h, 100 * time.Hour, 1},
		{stale, 0, 1},
		{stale, time.Hour, 1},
		{stale, 6 * time.Hour, 0.5},
		{stale, 11 * time.Hour, 0},
		{stale, 100 * time.Hour, 0},
	} {
		if got := k.Trust(tt.h, keeperBegun.Add(tt.after)); got != tt.want {
			t.Errorf("%+v after %s: %g, want %g", tt.h, tt.after, got, tt.want)
		}
	}
}

// TestKeeperAgainstList holds the keeper against the words of its documentation, applied to the list of all answers.
func TestKeeperAgainstList(t *testing.T) {
	addr := rapid.SampledFrom(addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"))
	addr6 := rapid.SampledFrom(addrs("2001:db8::1", "2001:db8::2"))
	set := func(t *rapid.T, g *rapid.Generator[netip.Addr], label string) []netip.Addr {
		s := rapid.SliceOfN(g, 0, 2).Draw(t, label)
		slices.SortFunc(s, netip.Addr.Compare)
		return slices.Compact(s)
	}
	rapid.Check(t, func(t *rapid.T) {
		k := Keeper{
			MaxStale: time.Duration(rapid.IntRange(1, 40).Draw(t, "max stale")) * time.Minute,
			Apart:    time.Duration(rapid.IntRange(1, 20).Draw(t, "apart")) * time.Minute,
		}
		var list []Answer
		var b Belief
		now := keeperBegun
		for range rapid.IntRange(1, 40).Draw(t, "answers") {
			now = now.Add(time.Duration(rapid.IntRange(0, 15).Draw(t, "pause")) * time.Minute)
			a := Answer{At: now, Code: rapid.SampledFrom([]Code{NoError, NoError, NXDomain, ServFail, Timeout}).Draw(t, "code")}
			if a.Code == NoError {
				a.Missing = rapid.SampledFrom([]Family{NoFamily, A, AAAA}).Draw(t, "missing")
				if a.Missing != A {
					a.Addrs = set(t, addr, "A")
				}
				if a.Missing != AAAA {
					a.Addrs = append(a.Addrs, set(t, addr6, "AAAA")...)
				}
				a.Loop = len(a.Addrs) == 0 && rapid.Bool().Draw(t, "loop")
			}
			list = append(list, a)
			b = k.Next(b, a)
			for _, family := range []Family{A, AAAA} {
				got := b.A
				if family == AAAA {
					got = b.AAAA
				}
				want, stale := plain(k, list, family)
				if !slices.Equal(got.Addrs, want) || !got.Stale.Equal(stale) {
					t.Fatalf("%s after %d answers: %v stale since %s, want %v since %s", family, len(list), got.Addrs, got.Stale, want, stale)
				}
				if trust := k.Trust(got, now); trust < 0 || trust > 1 || (trust == 1) != (len(want) > 0 && !stale.Before(now) || len(want) > 0 && stale.IsZero()) {
					t.Fatalf("%s: trust %g with %v stale since %s at %s", family, trust, want, stale, now)
				}
			}
		}
	})
}

// plain looks for the last answer with addresses, and what came after it.
func plain(k Keeper, list []Answer, family Family) (held []netip.Addr, stale time.Time) {
	last := -1
	for i, a := range list {
		var of []netip.Addr
		for _, addr := range a.Addrs {
			if addr.Is4() == (family == A) {
				of = append(of, addr)
			}
		}
		if len(of) > 0 {
			last, held = i, of
		}
	}
	if last < 0 || last == len(list)-1 {
		return held, time.Time{}
	}
	after := list[last+1:]
	var denials []time.Time
	for _, a := range after {
		if a.Code.Final() && !a.Loop && a.Missing != family {
			denials = append(denials, a.At)
		}
	}
	if now := after[len(after)-1].At; now.Sub(after[0].At) > k.MaxStale {
		return nil, time.Time{}
	}
	if n := len(denials); n > 0 && denials[n-1].Sub(denials[0]) >= k.Apart {
		return nil, time.Time{}
	}
	return held, after[0].At
}

// TestYear flaps through a year: a name that moves every month, whose servers fail for up to a day every third and deny
// it once every fifth question, is never believed gone, and its address never wrong for longer than the servers are.
func TestYear(t *testing.T) {
	var k Keeper
	var b Belief
	truth := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n / (30 * 8))}) }
	for n := range 365 * 8 { // every three hours
		a := Answer{Code: NoError, At: keeperBegun.Add(time.Duration(n) * 3 * time.Hour), Addrs: []netip.Addr{truth(n)}}
		switch {
		case n%(3*8) > 0 && n%(3*8) <= 8:
			a.Code, a.Addrs = ServFail, nil
		case n%5 == 1:
			a.Code, a.Addrs = NXDomain, nil
		}
		b = k.Next(b, a)
		if len(b.Addrs()) != 1 || a.Code == NoError && b.Addrs()[0] != truth(n) {
			t.Fatalf("question %d (%s): %+v", n, a.Code, b)
		}
	}
}

package redis

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	goredis "github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// genEndpoint draws a canonical endpoint of few enough to be near each other.
func genEndpoint(t *rapid.T, name string) minecanary.Endpoint {
	n := rapid.SampledFrom([]int{4, 16}).Draw(t, name+" length")
	b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff}), n, n).Draw(t, name)
	addr, _ := netip.AddrFromSlice(b)
	return minecanary.NewEndpoint(addr, rapid.Uint16().Draw(t, name+" port"), minecanary.Transport(rapid.Uint8().Draw(t, name+" transport")))
}

// TestQueueMember: members order as endpoints do and come back as they were.
func TestQueueMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genEndpoint(t, "a"), genEndpoint(t, "b")
		if got := strings.Compare(queueMember(a), queueMember(b)); got != sign(a.Compare(b)) {
			t.Errorf("%v and %v order as %d", a, b, got)
		}
		if got, err := queueEndpoint(queueMember(a)); err != nil || got != a {
			t.Errorf("%v came back as %v, %v", a, got, err)
		}
	})
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// TestQuestionIsBounded: a name that is none is left out, a long reason cut off.
func TestQuestionIsBounded(t *testing.T) {
	q := minecanary.Question{Endpoint: minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.1"), 3333, minecanary.TCP), Name: strings.Repeat("a", 254), Why: strings.Repeat("b", 1<<20)}
	text, err := encodeQuestion(&q)
	if err != nil || len(text) > 1024 {
		t.Fatal(len(text), err)
	}
	got, err := decodeOffer(queueMember(q.Endpoint), "-1.5", string(text))
	if err != nil {
		t.Fatal(err)
	}
	q.Name, q.Why = "", q.Why[:maxWhy]
	if diff := cmp.Diff(enrich.Offer{Question: q, Points: 1.5}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzDecodeOffer: whatever stands in Redis is an offer or an error.
func FuzzDecodeOffer(f *testing.F) {
	f.Add("\x04\xc6\x33\x64\x01\x0d\x05\x06", "-1.5", `{"client":"10.0.0.1","reply":true,"payload":true,"why":"score"}`)
	f.Add("\x00\x00\x00\x06", "inf", `{}`)
	f.Add("", "", "")
	f.Add("\xff", "nan", `{"client":"10.0.0.1%eth0"}`)
	f.Fuzz(func(t *testing.T, member, score, question string) {
		o, err := decodeOffer(member, score, question)
		if err != nil {
			return
		}
		text, err := encodeQuestion(&o.Question)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeOffer(queueMember(o.Endpoint), queueScore(o.Points), string(text))
		if err != nil {
			t.Fatalf("%+v does not come back: %v", o, err)
		}
		if o.Endpoint != again.Endpoint || o.Client != again.Client {
			t.Errorf("%+v came back as %+v", o, again)
		}
	})
}

// TestUnreachable: without a server everything is an error, soon.
func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer client.Close()
	q, p := NewQueue(client, ""), NewPurse(client, "")
	c := minecanary.ProbeCost{Client: netip.MustParseAddr("10.0.0.1"), Rate: 1, Burst: 1}
	start := time.Now()
	_, offer := q.Offer(t.Context(), []enrich.Offer{{}})
	_, take := q.Take(t.Context(), 1, nil)
	_, count := q.Counts(t.Context())
	_, begin := p.Begin(t.Context(), c)
	_, connect := p.Connect(t.Context(), c)
	_, end := p.End(t.Context(), c, false)
	for what, err := range map[string]error{
		"offer": offer, "take": take, "done": q.Done(t.Context(), []enrich.Lease{{}}), "count": count,
		"begin": begin, "connect": connect, "end": end,
	} {
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestReadGrant: a strange reply is no yes.
func TestReadGrant(t *testing.T) {
	for _, reply := range []any{
		nil,
		"OK",
		int64(0),
		[]any{},
		[]any{"", int64(0), int64(0)},
		[]any{nil, int64(0), int64(0), int64(0)},
		[]any{"client", int64(0), int64(-1), int64(0)},
		[]any{"", "0", int64(0), int64(0)},
	} {
		if g, err := readGrant(reply); err == nil {
			t.Errorf("%v is %+v", reply, g)
		}
	}
	g, err := readGrant([]any{"client", int64(1), int64(0), int64(3)})
	if diff := cmp.Diff(minecanary.ProbeGrant{Refused: "client", Full: true, Wait: time.Millisecond, Tried: 3}, g); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

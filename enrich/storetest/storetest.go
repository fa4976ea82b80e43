// Package storetest is the contract suite that every suspect store passes.
package storetest

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// What a store under test is made with: its timeouts, its bound on the clients of one endpoint, and on the connections
// that are remembered of one shard.
const (
	Report      = time.Hour
	Inactive    = 15 * time.Minute
	Clients     = 250
	Connections = 2000
)

// Run runs the suite. open gives a new, empty store with room for max suspects; reopen gives one that holds what the
// given one had saved, or nil if the store can't be reopened.
func Run(t *testing.T, open func(t *testing.T, limit int) enrich.Store, reopen func(t *testing.T, s enrich.Store) enrich.Store) {
	t.Run("applies a batch once", func(t *testing.T) { once(t, open(t, 100)) })
	t.Run("keeps windows and stretches apart", func(t *testing.T) { stretches(t, open(t, 100)) })
	t.Run("does not see order or batches", func(t *testing.T) { orderFree(t, open) })
	t.Run("takes over changes and removes", func(t *testing.T) { changes(t, open(t, 100)) })
	t.Run("finds the clients of an endpoint", func(t *testing.T) { clients(t, open(t, 100)) })
	t.Run("keeps verdicts", func(t *testing.T) { verdicts(t, open(t, 100)) })
	t.Run("is bounded", func(t *testing.T) { bounded(t, open(t, 64)) })
	t.Run("bounds the clients of an endpoint", func(t *testing.T) { overflow(t, open(t, 1000)) })
	t.Run("cumulative records", func(t *testing.T) { cumulative(t, open, reopen) })
	if reopen != nil {
		t.Run("comes back with state and positions", func(t *testing.T) { comesBack(t, open(t, 1000), reopen) })
	}
}

// Slices makes slices of one pure slice per minute from client number c to server number s.
func Slices(c, s int, start time.Time, length time.Duration) minecanary.Slices {
	n := uint32(max(1, length/time.Minute))
	return minecanary.Slices{
		Pair: minecanary.Pair{
			Client: netip.AddrFrom4([4]byte{10, 0, byte(c >> 8), byte(c)}),
			Server: minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, 100, byte(s)}), 3333, minecanary.TCP),
		},
		ClientPort: uint16(40000 + c), Start: start.UnixMicro(), End: start.Add(length).UnixMicro(),
		AckPush: n, ClientPackets: uint64(n) * 5, ServerPackets: uint64(n) * 5, ClientBytes: uint64(n) * 400,
		ServerBytes: uint64(n) * 900, ClientPayload: uint64(n) * 140, ServerPayload: uint64(n) * 640,
		CountedPackets: uint64(n) * 5, CountedBytes: uint64(n) * 400, CountedStart: start.UnixMicro(),
		UID: minecanary.NewUID([]byte("C" + start.Format("150405"))), Sensor: "s1",
	}
}

// Epoch is a full hour; times of the suite count from it.
var Epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func batch(next int64, sl ...minecanary.Slices) *enrich.Batch {
	return &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: next}, Slices: sl}
}

func apply(t *testing.T, s enrich.Store, b *enrich.Batch) bool {
	t.Helper()
	applied, err := s.Apply(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// Row is a suspect as a test compares it.
type Row struct {
	Pair     string
	Marked   bool
	Segments []enrich.Segment
}

// Dump gives all suspects in a fixed order.
func Dump(t *testing.T, s enrich.Store) []Row {
	t.Helper()
	var rows []Row
	err := s.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		rows = append(rows, Row{
			Pair: v.Client.String() + " " + v.Server.String(), Marked: v.Marked, Segments: slices.Clone(v.Segments),
		})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmpString(a.Pair, b.Pair) })
	return rows
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func once(t *testing.T, s enrich.Store) {
	first := batch(10, Slices(1, 1, Epoch, time.Minute))
	if !apply(t, s, first) {
		t.Fatal("the first batch was not applied")
	}
	want := Dump(t, s)
	for _, next := range []minecanary.Position{{Offset: 10}, {Offset: 5}} {
		again := batch(0, Slices(1, 1, Epoch, time.Minute))
		again.Next = next
		touched := 0
		applied, err := s.Apply(t.Context(), again, func(v *enrich.Suspect) {
			touched++
			if got := v.Segments[0].Aggregate.Records; got != 1 {
				t.Errorf("a repeated batch shows %d records, want 1", got)
			}
		})
		if err != nil || applied {
			t.Errorf("a batch up to %v after one up to 10: applied %v, %v", next, applied, err)
		}
		if touched != 1 {
			t.Errorf("a repeated batch shows %d suspects, want 1: its hits must be told again", touched)
		}
	}
	if diff := cmp.Diff(want, Dump(t, s)); diff != "" {
		t.Errorf("a repeated batch changed the state:\n%s", diff)
	}
	pos, err := s.Positions(t.Context())
	if err != nil || pos["p"] != (minecanary.Position{Offset: 10}) {
		t.Errorf("positions %v, %v", pos, err)
	}
}

func stretches(t *testing.T, s enrich.Store) {
	apply(t, s, batch(
		1,
		Slices(1, 1, Epoch, time.Minute),
		Slices(1, 1, Epoch.Add(40*time.Minute), time.Minute), // same window, a gap of 39 min
		Slices(1, 1, Epoch.Add(61*time.Minute), time.Minute), // next window
	))
	row := Dump(t, s)[0]
	if len(row.Segments) != 3 || row.Segments[0].Window != row.Segments[1].Window+1 || row.Segments[1].Window != row.Segments[2].Window {
		t.Fatalf("want the next window, then two stretches of the first: %+v", row.Segments)
	}
	if got := row.Segments[0].UID.String(); got != "C130100" {
		t.Errorf("uid %q is not that of the newest record", got)
	}
	// Records between the two stretches make them one.
	apply(t, s, batch(2, Slices(1, 1, Epoch.Add(14*time.Minute), 12*time.Minute)))
	row = Dump(t, s)[0]
	if len(row.Segments) != 2 || row.Segments[1].Aggregate.Records != 3 || row.Segments[1].UID.String() != "C124000" {
		t.Errorf("a bridge did not join the stretches: %+v", row.Segments)
	}
}

func orderFree(t *testing.T, open func(*testing.T, int) enrich.Store) {
	rng := rand.New(rand.NewPCG(7, 7))
	var all []minecanary.Slices
	for range 400 {
		start := Epoch.Add(time.Duration(rng.IntN(6*3600)) * time.Second)
		all = append(all, Slices(rng.IntN(5), rng.IntN(3), start, time.Duration(rng.IntN(1500))*time.Second))
	}
	one := open(t, 100)
	apply(t, one, batch(1, slices.Clone(all)...))
	want := Dump(t, one)
	for range 5 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		s := open(t, 100)
		for i, pos := 0, int64(1); i < len(all); pos++ {
			n := min(1+rng.IntN(20), len(all)-i)
			apply(t, s, batch(pos, slices.Clone(all[i:i+n])...))
			i += n
		}
		if diff := cmp.Diff(want, Dump(t, s)); diff != "" {
			t.Fatalf("another order and other batches gave another state:\n%s", diff)
		}
	}
}

func changes(t *testing.T, s enrich.Store) {
	apply(t, s, batch(
		1, Slices(1, 1, Epoch, time.Minute), Slices(1, 1, Epoch.Add(time.Hour), time.Minute), Slices(2, 1, Epoch, time.Minute),
	))
	_ = s.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		if len(v.Segments) == 1 {
			return false
		}
		v.Segments[0].Reports, v.Segments[0].Told, v.Segments[0].Closed = 3, 2, true
		v.Segments = v.Segments[:1]
		v.Marked = true
		return true
	})
	rows := Dump(t, s)
	if len(rows) != 1 || len(rows[0].Segments) != 1 || rows[0].Segments[0].Reports != 3 || rows[0].Segments[0].Told != 2 || !rows[0].Segments[0].Closed || !rows[0].Marked {
		t.Errorf("changes were not kept: %+v", rows)
	}
	apply(t, s, batch(2, Slices(1, 1, Epoch.Add(time.Hour+2*time.Minute), time.Minute)))
	if rows = Dump(t, s); rows[0].Segments[0].Closed || rows[0].Segments[0].Reports != 3 {
		t.Errorf("new data must open a closed window and not forget its reports: %+v", rows[0].Segments[0])
	}
	if st := s.Stats(); st.Suspects != 1 || st.Segments > 1 {
		t.Errorf("stats %+v, want one suspect with one segment", st)
	}
}

func clients(t *testing.T, s enrich.Store) {
	apply(t, s, batch(1, Slices(1, 1, Epoch, time.Minute), Slices(2, 1, Epoch, time.Minute), Slices(3, 2, Epoch, time.Minute)))
	var got []string
	err := s.Clients(t.Context(), Slices(0, 1, Epoch, 0).Server, func(v *enrich.Suspect) { got = append(got, v.Client.String()) })
	slices.Sort(got)
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.2"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func verdicts(t *testing.T, s enrich.Store) {
	ep := Slices(0, 1, Epoch, 0).Server
	if _, ok, err := s.Verdict(t.Context(), ep); ok || err != nil {
		t.Fatalf("a verdict from nowhere: %v, %v", ok, err)
	}
	want := minecanary.Verdict{
		Endpoint: ep, Status: minecanary.Confirmed, Dialect: "stratum-v1", At: Epoch, Expires: Epoch.Add(24 * time.Hour),
		FirstConfirmed: Epoch, Evidence: []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: Epoch, Summary: "x"}},
	}
	if err := s.PutVerdict(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := s.Verdict(t.Context(), ep)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); !ok || err != nil || diff != "" {
		t.Errorf("%v %v\n%s", ok, err, diff)
	}
	if err := s.DropVerdicts(t.Context(), Epoch.Add(23*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Verdicts(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d verdicts before the expiry, %v", len(all), err)
	}
	if err := s.DropVerdicts(t.Context(), Epoch.Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Verdicts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d verdicts after the expiry, %v", len(all), err)
	}
}

// bounded fills a store of 64 beyond its bound; the suite's rank is the number of client packets.
func bounded(t *testing.T, s enrich.Store) {
	for i := range 200 {
		length := time.Minute
		if i < 10 {
			length = 30 * time.Minute // the most suspicious come first
		}
		apply(t, s, batch(int64(i+1), Slices(i, 1, Epoch, length)))
		if n := s.Stats().Suspects; n > 64 {
			t.Fatalf("%d suspects in a store for 64", n)
		}
	}
	st := s.Stats()
	if st.Dropped == 0 || uint64(st.Suspects)+st.Dropped != 200 {
		t.Errorf("%d suspects and %d dropped, want 200 together", st.Suspects, st.Dropped)
	}
	kept := 0
	for _, r := range Dump(t, s) {
		if r.Segments[0].Aggregate.AckPush == 30 {
			kept++
		}
	}
	if kept != 10 {
		t.Errorf("%d of the 10 most suspicious are left", kept)
	}
}

// overflow brings more clients to an endpoint than there is room for.
func overflow(t *testing.T, s enrich.Store) {
	crowd := func(from, to, server int) (out []minecanary.Slices) {
		for c := from; c < to; c++ {
			out = append(out, Slices(c, server, Epoch, time.Minute), Slices(c, server, Epoch.Add(time.Minute), time.Minute))
		}
		return out
	}
	want := func(suspects int, overflow uint64) {
		t.Helper()
		if st := s.Stats(); st.Suspects != suspects || st.Overflow != overflow || st.Dropped != 0 {
			t.Fatalf("%+v, want %d suspects, %d overflown", st, suspects, overflow)
		}
	}
	apply(t, s, batch(1, crowd(0, Clients, 1)...))
	want(Clients, 0)
	apply(t, s, batch(2, crowd(Clients-10, Clients+10, 1)...))
	want(Clients, 10)
	apply(t, s, batch(2, crowd(Clients-10, Clients+10, 1)...)) // repeated
	want(Clients, 10)
	apply(t, s, batch(3, crowd(0, 20, 2)...))
	want(Clients+20, 10)
	rows := map[string]uint32{}
	for _, r := range Dump(t, s) {
		rows[r.Pair] = r.Segments[0].Aggregate.Records
	}
	name := func(c int) string {
		p := Slices(c, 1, Epoch, 0).Pair
		return p.Client.String() + " " + p.Server.String()
	}
	for c, records := range map[int]uint32{0: 2, Clients - 1: 4, Clients: 0} {
		if got := rows[name(c)]; got != records {
			t.Errorf("client %d has %d records, want %d", c, got, records)
		}
	}
	// When some leave there is room again.
	err := s.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		return rows[v.Client.String()+" "+v.Server.String()] != 4
	})
	if err != nil {
		t.Fatal(err)
	}
	want(Clients+10, 10)
	apply(t, s, batch(4, crowd(Clients, Clients+15, 1)...))
	want(Clients+20, 15)
}

func comesBack(t *testing.T, s enrich.Store, reopen func(*testing.T, enrich.Store) enrich.Store) {
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 50 {
		var sl []minecanary.Slices
		for range 20 {
			sl = append(sl, Slices(rng.IntN(300), rng.IntN(9), Epoch.Add(time.Duration(rng.IntN(9000))*time.Second), time.Duration(rng.IntN(900))*time.Second))
		}
		apply(t, s, batch(int64(i+1), sl...))
	}
	_ = s.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		v.Marked = v.Client.As4()[3]%2 == 0
		v.Segments[0].Reports = 2
		return true
	})
	if err := s.PutVerdict(t.Context(), minecanary.Verdict{Endpoint: Slices(0, 1, Epoch, 0).Server, Status: minecanary.NotPool, At: Epoch, Expires: Epoch.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, wantStats := Dump(t, s), s.Stats()
	// What comes after the save is gone after a crash, with its position, or was safe already.
	apply(t, s, batch(51, Slices(999, 1, Epoch, time.Minute)))
	back := reopen(t, s)
	pos, err := back.Positions(t.Context())
	switch {
	case err != nil:
		t.Fatal(err)
	case pos["p"].Offset == 51:
		want, wantStats = Dump(t, s), s.Stats()
	case pos["p"].Offset != 50:
		t.Errorf("position %v, want 50 or 51", pos["p"])
	}
	if diff := cmp.Diff(want, Dump(t, back)); diff != "" {
		t.Errorf("the state came back different:\n%s", diff)
	}
	if diff := cmp.Diff(wantStats, back.Stats()); diff != "" {
		t.Errorf("stats:\n%s", diff)
	}
	if _, err := back.Verdicts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, ok, _ := back.Verdict(t.Context(), Slices(0, 1, Epoch, 0).Server); !ok || v.Status != minecanary.NotPool {
		t.Errorf("the verdict came back as %+v", v)
	}
}

package memory

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/storetest"
)

func testConfig(limit int, file string) Config {
	return Config{
		Max: limit, Clients: storetest.Clients, Connections: storetest.Connections, Report: storetest.Report, Inactive: storetest.Inactive, File: file,
		Rank: func(s *enrich.Suspect) float64 { return float64(s.Segments[0].Aggregate.ClientPackets) },
	}
}

func TestContract(t *testing.T) {
	open := func(t *testing.T, limit int) enrich.Store {
		t.Helper()
		return New(testConfig(limit, filepath.Join(t.TempDir(), "state")))
	}
	reopen := func(t *testing.T, s enrich.Store) enrich.Store {
		t.Helper()
		back := New(s.(*Store).cfg)
		if err := back.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		return back
	}
	storetest.Run(t, open, reopen)
}

// TestIndex inserts and removes at random and wants that exactly what is there is found.
func TestIndex(t *testing.T) {
	cfg := testConfig(10_000, "")
	cfg.Clients = 5000
	s := New(cfg)
	rng := rand.New(rand.NewPCG(5, 5))
	there := map[key]uint32{}
	for range 200_000 {
		sl := storetest.Slices(rng.IntN(3000), 1, storetest.Epoch, time.Minute)
		k := keyOf(sl.Pair)
		if n, ok := there[k]; ok && rng.IntN(2) == 0 {
			s.remove(n)
			delete(there, k)
			continue
		}
		n := s.find(&k, true)
		if old, ok := there[k]; ok && old != n {
			t.Fatalf("a key moved from %d to %d", old, n)
		}
		if s.suspects.at(n).head == none {
			s.add(n, &sl)
		}
		there[k] = n
	}
	for k, n := range there {
		if got := s.find(&k, false); got != n {
			t.Fatalf("found %d, want %d", got, n)
		}
	}
	if s.suspects.used != len(there) {
		t.Errorf("%d used, want %d", s.suspects.used, len(there))
	}
}

func TestSegmentsAreBounded(t *testing.T) {
	s := New(testConfig(10, ""))
	for i := range 3 * DefaultSegments {
		b := &enrich.Batch{
			Partition: "p", Next: minecanary.Position{Offset: int64(i + 1)},
			Slices: []minecanary.Slices{storetest.Slices(1, 1, storetest.Epoch.Add(time.Duration(i)*time.Hour), time.Minute)},
		}
		if _, err := s.Apply(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
	rows := storetest.Dump(t, s)
	if n := len(rows[0].Segments); n != DefaultSegments {
		t.Errorf("%d segments, want %d", n, DefaultSegments)
	}
	var records uint32
	for _, seg := range rows[0].Segments {
		records += seg.Aggregate.Records
	}
	if records != 3*DefaultSegments {
		t.Errorf("%d records are left of %d", records, 3*DefaultSegments)
	}
	if joined := s.Stats().Joined; joined != 2*DefaultSegments {
		t.Errorf("%d joined, want %d", joined, 2*DefaultSegments)
	}
}

// TestTally counts clients of many endpoints up and down and wants the counts of a map.
func TestTally(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	counts := newTally()
	there := map[key]int{}
	for range 300_000 {
		sl := storetest.Slices(rng.IntN(1<<16), rng.IntN(3000)/12, storetest.Epoch, time.Minute)
		sl.Server.Port = uint16(rng.IntN(12))
		k := keyOf(sl.Pair)
		one := k
		clear(one[:16])
		if there[one] > 0 && rng.IntN(2) == 0 {
			counts.remove(&k)
			there[one]--
		} else {
			counts.add(&k)
			there[one]++
		}
	}
	used := 0
	for k, want := range there {
		if got := counts.count(&k); got != want {
			t.Fatalf("%d clients, want %d", got, want)
		}
		if want > 0 {
			used++
		}
	}
	if counts.used != used {
		t.Errorf("%d slots in use, want %d", counts.used, used)
	}
}

// TestMemoryPerSuspect holds the promise of at most 250 bytes for each of a million suspects.
func TestMemoryPerSuspect(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a million suspects")
	}
	const n = 1_000_000
	for _, clients := range []int{1, 10, 10_000} {
		t.Run(strconv.Itoa(clients)+" clients of each endpoint", func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			s := New(Config{Max: n, Report: storetest.Report, Inactive: storetest.Inactive})
			one := []minecanary.Slices{storetest.Slices(1, 1, storetest.Epoch, time.Minute)}
			for i := range n {
				one[0].ClientPort = uint16(i)
				one[0].Client = one[0].Client.Next()
				if i%clients == 0 {
					one[0].Server.Addr = one[0].Server.Addr.Next()
				}
				if _, err := s.Apply(t.Context(), &enrich.Batch{Slices: one}, nil); err != nil {
					t.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			per := float64(after.HeapAlloc-before.HeapAlloc) / n
			t.Logf("%.1f bytes per suspect at %d suspects", per, s.suspects.used)
			if per > 250 || s.suspects.used != n {
				t.Errorf("%.1f bytes per suspect, %d suspects", per, s.suspects.used)
			}
			runtime.KeepAlive(s)
		})
	}
}

// TestMemoryPerConnection holds the promise of DefaultConnections.
func TestMemoryPerConnection(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cfg := testConfig(10, "")
	cfg.Connections = 0
	s := New(cfg)
	one := []minecanary.Slices{storetest.Running("C", time.Minute)}
	for i := range DefaultConnections {
		one[0].UID = minecanary.NewUID(strconv.AppendInt([]byte("C"), int64(i), 10))
		one[0].Final = i%2 == 0
		s.Add(one)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	n := s.Stats().Connections
	per := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	t.Logf("%.1f bytes per connection at %d", per, n)
	if n < DefaultConnections*3/4 || per > 250 {
		t.Errorf("%.1f bytes for each of %d connections", per, n)
	}
	runtime.KeepAlive(s)
}

// TestFutureEnd: an ended connection with a time far ahead does not make all running ones late when it is forgotten.
func TestFutureEnd(t *testing.T) {
	cfg := testConfig(10, "")
	cfg.Connections = 8
	now := storetest.Epoch.Add(time.Hour)
	cfg.Now = func() time.Time { return now }
	s := New(cfg)
	ahead := storetest.Final("ahead", time.Minute)
	ahead.End += (100 * 365 * 24 * time.Hour).Microseconds()
	s.Add([]minecanary.Slices{ahead})
	for i := range cfg.Connections {
		s.Add([]minecanary.Slices{storetest.Final("C"+strconv.Itoa(i), time.Minute)})
	}
	if gone := s.connections.ended.last.Gone; gone != now.UnixMicro() {
		t.Errorf("ended connections are forgotten up to %s, want the wall clock", time.UnixMicro(gone))
	}
	now = now.Add(time.Hour)
	s.Add([]minecanary.Slices{storetest.Running("R", 90*time.Minute)})
	if st := s.Stats(); st.LeftOut != 0 {
		t.Errorf("%d records were left out", st.LeftOut)
	}
}

// TestVersion1: a snapshot of the version before connections were remembered is read, and saved as the present one.
func TestVersion1(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "version1.state"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	want := New(testConfig(100, ""))
	for i := range 4 {
		want.Add([]minecanary.Slices{storetest.Slices(i%3, 1, storetest.Epoch.Add(time.Duration(i)*40*time.Minute), time.Minute)})
	}
	for range 2 {
		s := New(testConfig(100, file))
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(storetest.Dump(t, want), storetest.Dump(t, s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if pos := s.positions["p"].Offset; pos != 4 {
			t.Errorf("position %d, want 4", pos)
		}
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		raw  []byte
		want byte
	}{{raw, 1}, {saved, snapshotVersion}} {
		if got := c.raw[len(snapshotMagic)]; got != c.want {
			t.Errorf("version %d, want %d", got, c.want)
		}
	}
	saved[len(snapshotMagic)] = snapshotVersion + 1
	if err := New(testConfig(100, "")).read(bytes.NewReader(saved)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a newer version: %v", err)
	}
}

// TestFewerConnections: a snapshot with more connections than may be remembered is cut down to them; what is forgotten is
// not counted again.
func TestFewerConnections(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	s := New(testConfig(100, file))
	for i := range 40 {
		s.Add([]minecanary.Slices{storetest.Running("R"+strconv.Itoa(i), 10*time.Minute), storetest.Final("F"+strconv.Itoa(i), 10*time.Minute)})
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(100, file)
	cfg.Connections = 40
	back := New(cfg)
	if err := back.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := storetest.Dump(t, back)
	back.Add([]minecanary.Slices{storetest.Running("R1", 15*time.Minute), storetest.Running("F1", 9*time.Minute)})
	if diff := cmp.Diff(want, storetest.Dump(t, back)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if st := back.Stats(); st.Connections > cfg.Connections || st.LeftOut != 2 {
		t.Errorf("%+v, want two records to be left out", st)
	}
}

// TestSaveIsWholeOrOld cuts and flips a snapshot at many places: nothing but the whole file loads.
func TestSaveIsWholeOrOld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	s := New(testConfig(100, file))
	for i := range 20 {
		b := &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: int64(i + 1)}, Slices: []minecanary.Slices{
			storetest.Slices(i, 1, storetest.Epoch, time.Minute), storetest.Running("C"+strconv.Itoa(i), time.Minute),
		}}
		if _, err := s.Apply(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 7 {
		if err := New(testConfig(100, "")).read(bytes.NewReader(whole[:cut])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("the first %d of %d bytes: %v", cut, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[cut] ^= 0x40
		if err := New(testConfig(100, "")).read(bytes.NewReader(flipped)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", cut, err)
		}
	}
	// A Save that was killed leaves a file that Load removes, and the old state.
	left := filepath.Join(filepath.Dir(file), ".state.123")
	if err := os.WriteFile(left, whole[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	back := New(testConfig(100, file))
	if err := back.Load(t.Context()); err != nil || back.Stats().Suspects != 20 {
		t.Errorf("%d suspects, %v", back.Stats().Suspects, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
}

func TestLoadWithAnotherWindow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	s := New(testConfig(100, file))
	for i := range 4 {
		b := &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: int64(i + 1)}, Slices: []minecanary.Slices{
			storetest.Slices(1, 1, storetest.Epoch.Add(time.Duration(i)*10*time.Minute), time.Minute),
		}}
		if _, err := s.Apply(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(100, file)
	cfg.Report = 24 * time.Hour
	back := New(cfg)
	if err := back.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	seg := storetest.Dump(t, back)[0].Segments
	if want := enrich.Window(storetest.Epoch.Unix() / 86400); len(seg) != 1 || seg[0].Window != want {
		t.Errorf("%+v, want window %d", seg, want)
	}
}

func FuzzSnapshot(f *testing.F) {
	s := New(testConfig(100, ""))
	for i := range 3 {
		b := &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: int64(i + 1)}, Slices: []minecanary.Slices{storetest.Slices(i, 1, storetest.Epoch, time.Minute)}}
		if _, err := s.Apply(f.Context(), b, nil); err != nil {
			f.Fatal(err)
		}
	}
	s.Add([]minecanary.Slices{storetest.Running("Ca", time.Minute), storetest.Final("Cb", time.Minute)})
	var buf bytes.Buffer
	if err := s.write(f.Context(), &buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(snapshotMagic))
	if old, err := os.ReadFile(filepath.Join("testdata", "version1.state")); err != nil {
		f.Error(err)
	} else {
		f.Add(old)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(testConfig(100, ""))
		if err := s.read(bytes.NewReader(b)); err != nil && !errors.Is(err, ErrSnapshot) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	for _, suspects := range []int{1000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(suspects), func(b *testing.B) {
			s := New(Config{Max: 2 * suspects, Report: storetest.Report, Inactive: storetest.Inactive})
			rng := rand.New(rand.NewPCG(1, 1))
			one := &enrich.Batch{Slices: []minecanary.Slices{storetest.Slices(1, 1, storetest.Epoch, time.Minute)}}
			for b.Loop() {
				n := rng.IntN(suspects)
				a := one.Slices[0].Client.As4()
				a[1], a[2], a[3] = byte(n>>16), byte(n>>8), byte(n)
				one.Slices[0].Client = netip.AddrFrom4(a)
				if _, err := s.Apply(b.Context(), one, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package holds_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/holds"
)

var addrs = cmpopts.EquateComparable(netip.Addr{})

func endpoint(i int) minecanary.Endpoint {
	return minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 3333, minecanary.TCP)
}

// TestHolds holds the list against a map, over restarts, whatever the texts are.
func TestHolds(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	rapid.Check(t, func(rt *rapid.T) {
		file := filepath.Join(t.TempDir(), holds.FileName)
		h, err := holds.Open(file)
		if err != nil {
			rt.Fatal(err)
		}
		want := map[minecanary.Endpoint]time.Time{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			ep := endpoint(rapid.IntRange(0, 4).Draw(rt, "endpoint"))
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				delete(want, ep)
				err = h.Remove(rt.Context(), ep)
			case 1:
				h, err = holds.Open(file)
			default:
				until := rapid.SampledFrom([]time.Time{{}, soon}).Draw(rt, "until")
				want[ep] = until
				err = h.Put(rt.Context(), holds.Hold{Endpoint: ep, Until: until, Reason: rapid.String().Draw(rt, "reason"), By: rapid.String().Draw(rt, "by")})
			}
			if err != nil {
				rt.Fatal(err)
			}
			all, err := h.List(rt.Context())
			if err != nil {
				rt.Fatal(err)
			}
			got := map[minecanary.Endpoint]time.Time{}
			for _, held := range all {
				got[held.Endpoint] = held.Until
			}
			if diff := cmp.Diff(want, got, addrs); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}

// TestText keeps who and why over a restart.
func TestText(t *testing.T) {
	file := filepath.Join(t.TempDir(), holds.FileName)
	h, err := holds.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Put(t.Context(), holds.Hold{Endpoint: endpoint(1), Reason: "they asked: please\n198.51.0.2:1 evil", By: "user alice"}); err != nil {
		t.Fatal(err)
	}
	if h, err = holds.Open(file); err != nil {
		t.Fatal(err)
	}
	got, err := h.List(t.Context())
	want := []holds.Hold{{Endpoint: endpoint(1), Reason: "they asked: please 198.51.0.2:1 evil", By: "user alice"}}
	if diff := cmp.Diff(want, got, addrs); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestBounds: what has ended goes, what is too much is refused, a wrong file too.
func TestBounds(t *testing.T) {
	file := filepath.Join(t.TempDir(), holds.FileName)
	var b strings.Builder
	for i := range holds.Max {
		b.WriteString(strings.Replace(endpoint(i).String(), "/tcp", "", 1) + " by a: b\n")
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := holds.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Put(t.Context(), holds.Hold{Endpoint: endpoint(holds.Max)}); !errors.Is(err, holds.ErrFull) {
		t.Error(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := h.Put(t.Context(), holds.Hold{Endpoint: endpoint(0), Until: past}); err != nil {
		t.Error(err)
	}
	if err := h.Put(t.Context(), holds.Hold{Endpoint: endpoint(holds.Max)}); err != nil {
		t.Error(err)
	}
	if all, _ := h.List(t.Context()); len(all) != holds.Max {
		t.Error(len(all))
	}
	for _, bad := range []string{"nonsense!\n", "pool.example\n", "198.51.0.0/24\n", "198.51.0.1\n"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := holds.Open(file); err == nil || !strings.Contains(err.Error(), "hold.txt:1: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

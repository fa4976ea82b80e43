package history

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

// TestRepeats: to be told something again changes not one byte, in whatever order it came and comes, and however much later.
// So processes may tell each other what they found without counting.
func TestRepeats(t *testing.T) {
	dir := t.TempDir()
	ep := minecanary.NewEndpoint(netip.MustParseAddr("5.5.0.1"), 3333, minecanary.TCP)
	day0 := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(r *rapid.T) {
		sub, err := os.MkdirTemp(dir, "repeat") //nolint:usetesting // one for each of many runs
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(sub) }()
		now := day0.Add(100 * time.Hour)
		db, err := Open(filepath.Join(sub, "h.db"), Options{Now: func() time.Time { return now }, noSync: true})
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		type told func(*Tx) error
		one := rapid.Custom(func(r *rapid.T) told {
			at := day0.Add(time.Duration(rapid.IntRange(0, 90).Draw(r, "hour")) * time.Hour)
			if rapid.Bool().Draw(r, "name") {
				o := Observation{Name: "a.example", At: at, Code: rapid.SampledFrom([]string{NoError, NXDomain, "SERVFAIL"}).Draw(r, "code")}
				if o.Code == NoError {
					o.Addrs = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("5.5.0.%d", rapid.IntRange(1, 2).Draw(r, "address")))}
				}
				return func(tx *Tx) error { return tx.Resolved(o) }
			}
			p := Probe{Endpoint: ep, At: at, Reason: rapid.SampledFrom([]string{"a", "b"}).Draw(r, "reason"), Status: rapid.SampledFrom([]minecanary.VerdictStatus{
				minecanary.Confirmed, minecanary.NotPool, minecanary.Inconclusive,
			}).Draw(r, "status")}
			p.Evidence = []minecanary.Evidence{{Strength: minecanary.Proof, At: at, Summary: "s"}}
			return func(tx *Tx) error { return tx.Probed(p) }
		})
		tell := func(list []told) {
			for len(list) > 0 {
				n := rapid.IntRange(1, len(list)).Draw(r, "in one transaction")
				err := db.Update(t.Context(), func(tx *Tx) error {
					for _, f := range list[:n] {
						if err := f(tx); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					r.Fatal(err)
				}
				list = list[n:]
				now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(r, "later")) * time.Hour)
			}
		}
		all := rapid.SliceOfN(one, 1, 20).Draw(r, "observations")
		tell(all)
		before := content(r, db)
		tell(rapid.Permutation(all).Draw(r, "again"))
		if diff := cmp.Diff(before, content(r, db)); diff != "" {
			r.Fatalf("told twice, it is something else:\n%s", diff)
		}
	})
}

// content is all that is in a history.
func content(r *rapid.T, db *DB) map[string][]byte {
	all := map[string][]byte{}
	err := db.bolt.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				all[fmt.Sprintf("%s %x", name, k)] = bytes.Clone(v)
				return nil
			})
		})
	})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

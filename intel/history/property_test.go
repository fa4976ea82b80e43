package history

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

// event is one observation in the plain list that answers are held against.
type event struct {
	at, learnt time.Time
	value      string
	// seen tells that the event before it in time, whose value is the same, was watched on until this one.
	seen bool
}

// events are all observations of one track that count, by time.
type events struct {
	gap  time.Duration
	list []event
}

// add takes an observation, unless it lies where one value was seen without a break.
func (e *events) add(at, learnt time.Time, value string) {
	i, exact := slices.BinarySearchFunc(e.list, at, func(x event, at time.Time) int { return x.at.Compare(at) })
	if exact || i < len(e.list) && e.list[i].seen {
		return
	}
	n := event{at: at, learnt: learnt, value: value}
	if i > 0 {
		last := e.list[i-1]
		sameBatch := true // with the first event of that stretch
		for j := i - 1; ; j-- {
			sameBatch = e.list[j].learnt.Equal(learnt)
			if !e.list[j].seen {
				break
			}
		}
		n.seen = last.value == value && at.Sub(last.at) <= e.gap && (sameBatch || !learnt.After(last.at.Add(e.gap)))
	}
	e.list = slices.Insert(e.list, i, n)
}

// ask looks at every event: the last one before at that was known, if it is not too old.
func (e *events) ask(at, known time.Time) string {
	if known.Before(at) {
		at = known
	}
	for _, x := range slices.Backward(e.list) {
		if !x.at.After(at) && !x.learnt.After(known) {
			if at.Sub(x.at) < e.gap {
				return x.value
			}
			return ""
		}
	}
	return ""
}

// Answers of the file are those of a list of all observations, early or late, for every time and every state of knowledge;
// and stay so when the past is cut off.
func TestHistoryIsListOfEvents(t *testing.T) {
	ep := minecanary.NewEndpoint(netipAddr("192.0.2.7"), 3333, minecanary.TCP)
	statuses := []minecanary.VerdictStatus{minecanary.Confirmed, minecanary.Node, minecanary.Inconclusive}
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		gap := time.Duration(rapid.IntRange(2, 12).Draw(t, "gap")) * time.Hour
		now := hours(200)
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		db, err := Open(path, Options{MaxGap: gap, Now: func() time.Time { return now }, noSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Check(); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}()
		verdicts, reach, answers := events{gap: gap}, events{gap: gap}, events{gap: gap}
		batches := rapid.IntRange(1, 40).Draw(t, "batches")
		learnt := []time.Time{hours(0)}
		for range batches {
			now = now.Add(time.Duration(rapid.IntRange(1, 6).Draw(t, "wait")) * time.Hour / 2)
			learnt = append(learnt, now)
			err := db.Update(t.Context(), func(tx *Tx) error {
				for range rapid.IntRange(1, 6).Draw(t, "events") {
					at := now
					if rapid.IntRange(0, 3).Draw(t, "late") == 0 {
						at = hours(float64(rapid.IntRange(350, 2*int(now.Sub(day0).Hours())).Draw(t, "at")) / 2)
					}
					if rapid.Bool().Draw(t, "lookup") {
						addr := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2"}).Draw(t, "addr")
						answers.add(at, now, addr)
						if err := tx.Resolved(Observation{Name: "a.example", At: at, Addrs: addrs(addr)}); err != nil {
							return err
						}
						continue
					}
					status := rapid.SampledFrom(statuses).Draw(t, "status")
					if status == minecanary.Inconclusive {
						reach.add(at, now, string(status))
					} else {
						reach.add(at, now, "answered")
						verdicts.add(at, now, string(status))
					}
					if err := tx.Probed(Probe{Endpoint: ep, At: at, Status: status}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		compare := func(from float64) {
			err := db.View(func(v *View) error {
				for h := from; h < now.Sub(day0).Hours()+15; h++ {
					q := Query{At: hours(h).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "ms")) * time.Millisecond * 30 * 60_000)}
					for i := range 5 {
						known := hours(10_000)
						if i > 0 {
							known = rapid.SampledFrom(learnt).Draw(t, "known").Add(time.Duration(rapid.IntRange(-1, 90).Draw(t, "more")) * time.Minute)
							q.KnownAt = known
						}
						got := [3]string{}
						states, err := v.Endpoint(ep, q)
						for _, s := range states {
							got[0] += string(s.Status)
						}
						if err != nil {
							return err
						}
						reaches, err := v.Availability(ep, q)
						for _, r := range reaches {
							got[1] += map[bool]string{true: "answered"}[r.Answered] + string(r.Status)
						}
						if err != nil {
							return err
						}
						names, err := v.Addresses("a.example", q)
						for _, a := range names {
							got[2] += a.Addrs[0].String()
						}
						if err != nil {
							return err
						}
						want := [3]string{verdicts.ask(q.At, known), reach.ask(q.At, known), answers.ask(q.At, known)}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Fatalf("at %s known %s (-want +got)\n%s", q.At, known, diff)
						}
						for _, addr := range addrs("192.0.2.1", "192.0.2.2") {
							by, err := v.Names(prefixOf(addr), q)
							if err != nil || (len(by) == 1) != (addr.String() == got[2]) {
								t.Fatalf("by %s at %s known %s: %v %v, and the name has %s", addr, q.At, known, by, err, got[2])
							}
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		compare(170)
		cut := rapid.Float64Range(180, 300).Draw(t, "prune")
		if _, err := db.Prune(t.Context(), hours(cut)); err != nil {
			t.Fatal(err)
		}
		// At a time after the cut, as known then or later.
		learnt = slices.DeleteFunc(learnt, func(l time.Time) bool { return l.Before(hours(cut + 2)) })
		if len(learnt) > 0 {
			compare(cut + 1)
		}
	})
}

// Lists of all intervals tell the same as questions for every moment.
func TestListsAgreeWithMoments(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	for i := range 400 {
		c.now = hours(float64(i) * 7)
		at := c.now
		if i%11 == 5 {
			at = c.now.Add(-time.Duration(i%50) * time.Hour)
		}
		err := db.Resolved(t.Context(), Observation{Name: "a.example", At: at, Addrs: addrs([]string{"192.0.2.1", "192.0.2.2"}[i/3*i%2])})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := ask(t, db, func(v *View) ([]Addresses, error) { return v.Addresses("a.example", Query{}) })
	held, disputed := 0, 0
	for i, a := range list {
		if i > 0 && a.From.Before(list[i-1].From) {
			t.Errorf("%v is not in order", a)
		}
		if a.Disputed {
			disputed++
			continue
		}
		for _, at := range []time.Time{a.From, a.LastSeen, a.Until.Add(-time.Millisecond)} {
			got := ask(t, db, func(v *View) ([]Addresses, error) { return v.Addresses("a.example", Query{At: at}) })
			if diff := cmp.Diff([]Addresses{a}, got, compareAddrs); diff != "" {
				t.Errorf("at %s (-want +got)\n%s", at, diff)
			}
			held++
		}
	}
	if held < 100 || disputed == 0 {
		t.Errorf("the test is too small: %d, %d disputed", held, disputed)
	}
}

package kafka

import (
	"testing"

	"pgregory.net/rapid"
)

// TestLedgerProperties checks the ledger against the plain statement of what it promises: what is due is the end of the
// contiguous run of acknowledged batches of this epoch, never below what was committed, and commits only grow.
func TestLedgerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		initial := rapid.Int64Range(-1, 50).Draw(t, "committed")
		l := newLedger(initial)
		type batch struct {
			ticket
			next  int64
			acked bool
		}
		var (
			all       []*batch // of every epoch
			epoch     []*batch // of this one
			next      = max(initial, 0)
			committed = initial
			stopped   bool
			closed    bool
		)
		t.Repeat(map[string]func(*rapid.T){
			"hand": func(t *rapid.T) {
				next += rapid.Int64Range(1, 10).Draw(t, "size")
				tk, ok := l.hand(l.currentEpoch(), next)
				if ok == closed {
					t.Fatalf("hand: %v, closed: %v", ok, closed)
				}
				if ok {
					b := &batch{ticket: tk, next: next}
					all = append(all, b)
					if !stopped {
						epoch = append(epoch, b)
					}
				}
			},
			"ack": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				b := rapid.SampledFrom(all).Draw(t, "batch")
				l.ack(b.ticket)
				if !stopped && !closed {
					b.acked = true
				}
			},
			"give up": func(t *rapid.T) {
				if len(all) == 0 || rapid.IntRange(0, 5).Draw(t, "rarely") > 0 {
					t.Skip()
				}
				b := rapid.SampledFrom(all).Draw(t, "batch")
				l.giveUp(b.ticket)
				stopped = stopped || !closed && b.epoch == l.currentEpoch()
			},
			"restart": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				b := rapid.SampledFrom(all).Draw(t, "batch")
				want := !closed && b.epoch == l.currentEpoch()
				if got := l.restart(b.ticket); got != want {
					t.Fatalf("restart: %v, want %v", got, want)
				}
				if want {
					epoch, stopped = nil, false
					next = rapid.Int64Range(0, next).Draw(t, "back to")
				}
			},
			"commit": func(t *rapid.T) {
				if o, ok := l.due(); ok {
					if o <= committed {
						t.Fatalf("commit of %d after %d", o, committed)
					}
					l.done(o)
					committed = o
				}
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 20).Draw(t, "rarely") > 0 {
					t.Skip()
				}
				l.close()
				closed = true
			},
			"": func(t *rapid.T) {
				want := committed
				for _, b := range epoch {
					if !b.acked {
						break
					}
					want = max(want, b.next)
				}
				o, ok := l.due()
				if closed && ok {
					t.Fatal("something is due after the end")
				}
				if !closed && ok != (want > committed) || ok && o != want {
					t.Fatalf("due %d, %v; want %d with %d committed", o, ok, want, committed)
				}
				if l.committedOffset() != committed {
					t.Fatalf("committed %d, want %d", l.committedOffset(), committed)
				}
			},
		})
	})
}

// TestLedgerBound wants that batches which nobody acknowledges fill the ledger, and that it has room again after.
func TestLedgerBound(t *testing.T) {
	l := newLedger(-1)
	var first ticket
	for i := range int64(MaxPending) {
		if l.full() {
			t.Fatalf("full at %d", i)
		}
		tk, _ := l.hand(0, i+1)
		if i == 0 {
			first = tk
		}
	}
	if !l.full() {
		t.Fatal("not full")
	}
	l.ack(first)
	select {
	case <-l.room:
	default:
		t.Error("no signal")
	}
	if l.full() {
		t.Error("still full")
	}
}

package watch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/wallets"
	"github.com/minecanary/minecanary/intel/watch"
)

// recorder is a notifier that fails as often as told.
type recorder struct {
	mu     sync.Mutex
	fail   []error
	events []watch.Event
	times  []time.Time
	hang   bool
}

func (r *recorder) Name() string { return "recorder" }

func (r *recorder) Notify(ctx context.Context, e watch.Event) error {
	if r.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, time.Now())
	if len(r.fail) > 0 {
		err := r.fail[0]
		r.fail = r.fail[1:]
		return err
	}
	r.events = append(r.events, e)
	return nil
}

func list(tb testing.TB, text string) *watch.List {
	tb.Helper()
	l, errs := watch.Parse(strings.NewReader(text), "x")
	if len(errs) > 0 {
		tb.Fatal(errs)
	}
	return l
}

func sighting(tb interface{ Fatalf(string, ...any) }, login, client, server string, at time.Time) watch.Sighting {
	l, ok := wallets.Parse(login)
	if !ok {
		tb.Fatalf("%s is no login", login)
	}
	s := watch.Sighting{Time: at, Login: l}
	if client != "" {
		s.Client = netip.MustParseAddr(client)
	}
	if server != "" {
		p := netip.MustParseAddrPort(server)
		s.Server = minecanary.NewEndpoint(p.Addr(), p.Port(), minecanary.TCP)
	}
	return s
}

func TestSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		w := watch.New(watch.Options{Notifiers: []watch.Notifier{r}})
		first := sighting(t, btc+".rig1", "10.0.0.1", "203.0.113.7:3333", at)
		first.Agent, first.Source = "cpuminer\r\nX: y\u202e"+strings.Repeat("z", 200), "sensor1"
		if w.See(first) {
			t.Error("an empty list has a wallet")
		}
		w.SetList(list(t, btc+" label=case-1 a note\n"+eth+" expires=2026-11-22\n"))
		tests := []struct {
			s    watch.Sighting
			want bool
		}{
			{first, true},
			{first, false},
			{sighting(t, btc+".rig2", "::ffff:10.0.0.1", "203.0.113.7:3333", at.Add(time.Hour)), false}, // the same day
			{sighting(t, btc, "10.0.0.2", "203.0.113.7:3333", at), true},
			{sighting(t, btc, "10.0.0.1", "203.0.113.7:443", at), true},
			{sighting(t, btc, "10.0.0.1", "203.0.113.7:3333", at.AddDate(0, 0, 1)), true},
			{sighting(t, xmr, "10.0.0.1", "203.0.113.7:3333", at), false}, // not on the list
			{sighting(t, eth, "", "", at), true},
			{sighting(t, eth, "", "", at.AddDate(0, 0, 1)), false}, // expired
			{sighting(t, btc[:33]+"b", "10.0.0.1", "203.0.113.7:3333", at), false},
			{watch.Sighting{}, false},
		}
		for i, tt := range tests {
			if got := w.See(tt.s); got != tt.want {
				t.Errorf("%d: %v", i, got)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		go w.Run(ctx)
		synctest.Wait()
		stop()
		want := watch.Event{
			Time: at, Wallet: btc, Coins: []string{"BTC", "BCH", "BSV"}, Label: "case-1", Note: "a note", Worker: "rig1",
			Client: "10.0.0.1", Server: "203.0.113.7:3333", Agent: ("cpuminerX: y" + strings.Repeat("z", 200))[:watch.MaxSightingText], Source: "sensor1",
		}
		want.ID = r.events[0].ID
		if diff := cmp.Diff(want, r.events[0]); diff != "" || len(want.ID) != 32 {
			t.Error(diff)
		}
		if diff := cmp.Diff(watch.Stats{Seen: 7, Repeated: 2, Delivered: 5}, w.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// Attempts have pauses that grow; what is permanent has no second attempt; what fails for good is told.
func TestDelivery(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name     string
		fail     []error
		attempts int
		stats    watch.Stats
		least    time.Duration // from the first attempt to the last
	}{
		{"at once", nil, 1, watch.Stats{Seen: 1, Delivered: 1}, 0},
		{"at last", []error{boom, boom}, 3, watch.Stats{Seen: 1, Delivered: 1}, 7 * time.Second / 8 * 6},
		{"never", []error{boom, boom, boom, boom, boom, boom}, 5, watch.Stats{Seen: 1, Failed: 1}, 7 * time.Second / 8 * 30},
		{"permanent", []error{fmt.Errorf("no: %w", watch.ErrPermanent)}, 1, watch.Stats{Seen: 1, Failed: 1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{fail: tt.fail}
				var failed []string
				w := watch.New(watch.Options{Notifiers: []watch.Notifier{r}, Failed: func(name string, e watch.Event, err error) {
					failed = append(failed, name+" "+e.Wallet+" "+err.Error())
				}})
				w.SetList(list(t, btc))
				w.See(sighting(t, btc, "10.0.0.1", "203.0.113.7:1", at))
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				w.Run(ctx)
				if diff := cmp.Diff(tt.stats, w.Stats()); diff != "" {
					t.Error(diff)
				}
				if len(r.times) != tt.attempts {
					t.Fatalf("%d attempts", len(r.times))
				}
				if took := r.times[len(r.times)-1].Sub(r.times[0]); took < tt.least || took > tt.least*3/2 {
					t.Errorf("took %v, want at least %v", took, tt.least)
				}
				if uint64(len(failed)) != tt.stats.Failed {
					t.Errorf("told of %v", failed)
				}
			})
		})
	}
}

// A notifier that hangs fills its own queue, drops, and holds up neither See nor the other.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &recorder{}, &recorder{hang: true}
		w := watch.New(watch.Options{Notifiers: []watch.Notifier{bad, good}, Queue: 2})
		w.SetList(list(t, btc))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		const events = 10
		for i := range events {
			if !w.See(sighting(t, btc, fmt.Sprintf("10.0.0.%d", i), "203.0.113.7:1", at)) {
				t.Errorf("%d is not told", i)
			}
			synctest.Wait()
		}
		if len(good.events) != events {
			t.Errorf("%d events came through", len(good.events))
		}
		stop()
		<-done
		// One hung, two waited, and the rest found no place.
		if diff := cmp.Diff(watch.Stats{Seen: events, Delivered: events, Dropped: events}, w.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// What found no place in any queue is not remembered as told.
func TestDroppedIsNotTold(t *testing.T) {
	r := &recorder{}
	w := watch.New(watch.Options{Notifiers: []watch.Notifier{r}, Queue: 1})
	w.SetList(list(t, btc))
	one, two := sighting(t, btc, "10.0.0.1", "", at), sighting(t, btc, "10.0.0.2", "", at)
	if !w.See(one) || w.See(two) || w.See(two) || w.Stats().Dropped != 2 || w.Stats().Repeated != 0 {
		t.Errorf("%+v", w.Stats())
	}
}

// Whatever comes, a repeat within half of the bound is told once, and memory is bounded: one more round of others than the
// bound makes the watcher forget.
func TestDedupProperty(t *testing.T) {
	watched := list(t, btc)
	rapid.Check(t, func(t *rapid.T) {
		const seen = 20
		w := watch.New(watch.Options{Seen: seen})
		w.SetList(watched)
		last := map[string]int{} // place of the last time that it was told
		told := 0
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			client := fmt.Sprintf("10.0.0.%d", rapid.IntRange(0, 40).Draw(t, "client"))
			got := w.See(sighting(t, btc, client, "203.0.113.7:1", at))
			when, before := last[client]
			switch since := told - when; {
			case !before && !got:
				t.Fatalf("%s was never told", client)
			case before && since <= seen/2 && got:
				t.Fatalf("%s was told %d events ago", client, since)
			case before && since > seen && !got:
				t.Fatalf("%s is remembered after %d events", client, since)
			}
			if got {
				told++
				last[client] = told
			}
		}
	})
}

type topicFunc func(key, value []byte) error

func (f topicFunc) Produce(_ context.Context, key, value []byte) error { return f(key, value) }

func TestTopic(t *testing.T) {
	want := watch.Event{ID: "1", Time: at, Wallet: btc, Coins: []string{"BTC"}}
	boom := errors.New("boom")
	n := watch.Topic{Producer: topicFunc(func(key, value []byte) error {
		var got watch.Event
		if err := json.Unmarshal(value, &got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || string(key) != btc {
			t.Error(diff)
		}
		return boom
	})}
	if err := n.Notify(t.Context(), want); !errors.Is(err, boom) || errors.Is(err, watch.ErrPermanent) || n.Name() != "kafka" {
		t.Error(err)
	}
}

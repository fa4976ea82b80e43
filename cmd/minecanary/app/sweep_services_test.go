//go:build services

package app

import (
	"bufio"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich/redis"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/resolver/dnstest"
	"github.com/minecanary/minecanary/intel/sweep"
	"github.com/minecanary/minecanary/internal/stack"
)

// The environment of the second process of TestSweepTogether.
const (
	sweepState = "SWEEP_STATE"
	sweepRedis = "SWEEP_REDIS"
	sweepDNS   = "SWEEP_DNS"
)

// shareAt gives what processes share at a Redis.
func shareAt(t *testing.T, addr string) *redis.Sweeps {
	t.Helper()
	client, err := redis.Connect(redis.ClientConfig{Mode: redis.Single, Addrs: []string{addr}, Timeout: redisTimeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return redis.NewSweeps(client, "t")
}

// TestSweepProcess is the second process of TestSweepTogether: it sweeps as serve does, until its input ends and
// nothing is due.
func TestSweepProcess(t *testing.T) {
	if os.Getenv(sweepState) == "" {
		t.Skip("it is started by TestSweepTogether")
	}
	cfg := config.Default()
	cfg.State.Dir, cfg.Catalogue.DNS = os.Getenv(sweepState), []string{os.Getenv(sweepDNS)}
	cfg.Catalogue.Resolve, cfg.Catalogue.PerZone = true, resolver.Unlimited
	d, err := openDirectory(cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	d.share = shareAt(t, os.Getenv(sweepRedis))
	if err := d.sweep(nil, false, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.sweeper.Run(ctx) }()
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // or its end
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s := d.sweeper.Status(); s.Names > 0 && s.NamesDue == 0 {
			break
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestSweepTogether has two processes look up the catalogue's names, by a real Redis. The one is killed with SIGKILL in the
// middle: the other does the rest, what was told is not asked again, and in the end both histories are the same.
func TestSweepTogether(t *testing.T) {
	addr := stack.Redis(t, stack.Single).Addrs[0]
	var mu sync.Mutex
	asked := map[string]int{} // questions: two each time, of both families
	server := dnstest.Serve(t, func(name string) dnstest.Answer {
		mu.Lock()
		asked[name]++
		mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		return dnstest.Answer{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{5, 5, byte(len(name)), name[0]})}, TTL: time.Hour}
	})
	state := t.TempDir()
	start := func() (*exec.Cmd, func() error) {
		t.Helper()
		//nolint:gosec // this very test
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSweepProcess$")
		c.Env = append(os.Environ(), sweepState+"="+state, sweepRedis+"="+addr, sweepDNS+"="+server)
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, in.Close
	}
	share := shareAt(t, addr)
	// told gives the names of which others were told.
	told := func() map[string]bool {
		t.Helper()
		all := map[string]bool{}
		for version := uint64(0); ; {
			events, now, err := share.Since(t.Context(), version)
			if err != nil {
				t.Fatal(err)
			}
			if len(events) == 0 {
				return all
			}
			for _, b := range events {
				var e struct{ Name struct{ Name string } }
				if err := json.Unmarshal(b, &e); err != nil {
					t.Fatal(err)
				}
				all[e.Name.Name] = true
			}
			version = now
		}
	}
	first, _ := start()
	for deadline := time.Now().Add(time.Minute); len(told()) < 20; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was told within a minute")
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	before := told()

	cfg := config.Default()
	cfg.State.Dir = t.TempDir()
	d, err := openDirectory(cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	dns, err := resolver.New(resolver.Config{Servers: []string{server}, PerZone: resolver.Unlimited})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dns.Close(); err != nil {
			t.Error(err)
		}
	}()
	var ahead time.Duration
	s := sweep.New(sweep.Config{
		Catalog: d.register.Current, Book: d.history, Index: d.index, Mark: d.mark, Resolver: dns, Share: share,
		Now: func() time.Time { return time.Now().Add(ahead) }, Warn: func(err error) { t.Error(err) },
	})
	step := func() sweep.Status {
		t.Helper()
		if _, err := s.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.Status()
	}
	st := step()
	left := st.Names - len(before) - int(st.Resolved)
	t.Logf("of %d names the first process told %d before it died, the other looked up %d, %d are claimed", st.Names, len(before), st.Resolved, left)
	if left < 1 || int(st.Heard) != len(before) || st.Resolved == 0 {
		t.Errorf("it died with %d claims; %+v", left, st)
	}
	client, err := redis.Connect(redis.ClientConfig{Mode: redis.Single, Addrs: []string{addr}, Timeout: redisTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	claims, err := client.Keys(t.Context(), "t{sweeps}claim:*").Result()
	if err != nil || len(claims) != left {
		t.Errorf("%d claims are held, want %d: %v", len(claims), left, err)
	}
	for _, key := range claims { // five minutes go by, and the turn of 16 at two a second
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > sweep.ClaimFor+10*time.Second {
			t.Errorf("%s is held for %s", key, ttl)
		}
		client.Del(t.Context(), key)
	}
	ahead = 2 * time.Minute
	if st = step(); int(st.Resolved)+len(before) != st.Names {
		t.Errorf("%d of %d names were looked up: %+v", int(st.Resolved)+len(before), st.Names, st)
	}
	mu.Lock()
	for name := range before {
		if asked[name] != 2 {
			t.Errorf("%s was told, and asked %d times", name, asked[name]/2)
		}
	}
	questions := 0
	for _, n := range asked {
		questions += n
	}
	mu.Unlock()

	// The first one comes back, and hears of the rest.
	again, end := start()
	if err := end(); err != nil {
		t.Error(err)
	}
	if err := again.Wait(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	for _, n := range asked {
		questions -= n
	}
	mu.Unlock()
	if questions != 0 {
		t.Errorf("when it came back it asked %d questions", -questions)
	}
	other, err := history.Open(strings.Replace(cfg.HistoryFile(), cfg.State.Dir, state, 1), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	know := func(db *history.DB) map[string][]history.Addresses {
		all := map[string][]history.Addresses{}
		err := db.View(func(v *history.View) (err error) {
			for _, host := range d.register.Current().Hosts() {
				if d.register.Current().Host(host)[0].Server.Name != "" {
					if all[host], err = v.Addresses(host, history.Query{}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	ours := know(d.history)
	alike := cmp.Options{cmpopts.IgnoreFields(history.Span{}, "Learnt"), cmpopts.EquateComparable(netip.Addr{})}
	if diff := cmp.Diff(ours, know(other), alike); diff != "" {
		t.Errorf("the histories differ:\n%s", diff)
	}
	for host, rows := range ours {
		if len(rows) != 1 {
			t.Errorf("of %s %d rows are known", host, len(rows))
		}
	}
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "cmp"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/enrich/ecs"
	"github.com/minecanary/minecanary/prober/spar"
)

// wallet is a Monero address with a right checksum, that of the Monero project's donations.
const wallet = "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"

// miningLine is a line of mining.log.
func miningLine(at time.Time, client, server string, port int, seen, login string) string {
	return fmt.Sprintf(`{"ts":%.6f,"uid":"CM%s%d","id.orig_h":"%s","id.orig_p":40001,"id.resp_h":"%s","id.resp_p":%d,"protocol":"monero","seen":"%s","turned":false,"method":"login","agent":"XMRig/6.21.0","login":"%s"}`,
		seconds(at), client, port, client, server, port, seen, login)
}

func seconds(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }

// connLine is a line of conn.log, or of conn_interim.log with more.
func connLine(at time.Time, client, server string, port int, more string) string {
	return fmt.Sprintf(`{"ts":%.6f,"uid":"CC%s%d","id.orig_h":"%s","id.orig_p":40002,"id.resp_h":"%s","id.resp_p":%d,"proto":"tcp","duration":50.0,"orig_bytes":500,"resp_bytes":900,"conn_state":"S1","history":"ShADad","orig_pkts":9,"orig_ip_bytes":900,"resp_pkts":9,"resp_ip_bytes":1300%s}`,
		seconds(at), client, port, client, server, port, more)
}

// hook is a webhook that keeps what it gets.
type hook struct {
	mu     sync.Mutex
	events []string
}

// ServeHTTP implements http.Handler.
func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var event struct{ Wallet, Client, Server, Label string }
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event.Wallet+" "+event.Client+" "+event.Server+" "+event.Label)
}

func (h *hook) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.events...)
}

// until waits for something to be so, or fails.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestSightings runs the service over logs that grow: a hit from mining.log alone, from names alone, and of a connection
// that is still running when its server is proved to be a pool; each with its evidence. The watch list tells of the wallet,
// and what the operator's files say of client and wallet stands in the hit.
func TestSightings(t *testing.T) {
	pool, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "cryptonote"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	port := int(pool.Addr().Port())
	dir := t.TempDir()
	events := &hook{}
	web := httptest.NewServer(events)
	t.Cleanup(web.Close)
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text + "\n")
			err = gocmp.Or(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	now := time.Now().Add(-time.Minute)
	hits, feedDir := filepath.Join(dir, "hits.ndjson"), filepath.Join(dir, "feed")
	config := write("minecanary.yaml", fmt.Sprintf(`
input: {files: [%[1]s/*.log]}
state: {dir: %[1]s/state, snapshot_every: 1s}
hits: {file: %[2]s}
http: {listen: ""}
api: {listen: ""}
report: {suspected: false}
prober: {mode: auto, contact: test@example.net, allow: [127.0.0.0/8], burst: 100, per_second: 100}
feed: {dir: %[3]s, allow: [127.0.0.0/8], rewrite_every: 1s}
lists: {tor: [%[4]s], wallets: [%[5]s]}
watch: {list: %[6]s, webhook: %[7]s}
`, dir, hits, feedDir,
		write("tor.csv", "address,from,to,flags,fingerprint\n10.1.0.5,2020-01-01,,Exit,"),
		write("labels.csv", "wallet,cluster,label,source\n"+wallet+",c1,somebody,test"),
		write("watch.list", wallet+" label=mine"), web.URL))
	for _, name := range []string{"mining.log", "dns.log", "ssl.log", "conn.log", "conn_interim.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	var stderr bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"serve", "-c", config}, strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
	}()
	defer func() {
		stop()
		if code := <-ended; code != ExitOK {
			t.Errorf("exit code %d", code)
		}
		if t.Failed() {
			t.Log(stderr.String())
		}
	}()
	// reported gives, by client, status and evidence of the newest hit.
	reported := func() map[string]string {
		out := map[string]string{}
		text, _ := os.ReadFile(hits) // it may not be there yet
		for line := range strings.Lines(string(text)) {
			var d ecs.Document
			if json.Unmarshal([]byte(line), &d) != nil {
				continue
			}
			list := []string{string(d.Minecanary.Status)}
			for _, e := range d.Minecanary.Evidence {
				list = append(list, e.Kind)
			}
			out[d.Source.IP+" "+d.Destination.Domain] = strings.Join(list, " ")
		}
		return out
	}

	// From mining.log alone, of a server that nobody may ask: the proof is its own line.
	write("mining.log", miningLine(now, "10.1.0.9", "192.0.2.9", 3333, "server", ""))
	// And of one that may be asked, once there is a record of the session.
	write("mining.log", miningLine(now, "10.1.0.5", "127.0.0.1", port, "both", wallet+".rig"))
	interim := fmt.Sprintf(`,"seq":0,"final":false,"slice_start":%.6f,"slice_end":%.6f,"d_orig_bytes":500,"d_resp_bytes":900,"d_orig_pkts":9,"d_orig_ip_bytes":900,"d_resp_pkts":9,"d_resp_ip_bytes":1300`, seconds(now), seconds(now)+50)
	write("conn_interim.log", connLine(now, "10.1.0.5", "127.0.0.1", port, interim))
	// From names alone.
	write("dns.log", fmt.Sprintf(`{"ts":%.6f,"uid":"CD1","id.orig_h":"10.1.0.6","id.orig_p":40001,"id.resp_h":"10.1.0.1","id.resp_p":53,"proto":"udp","trans_id":5,"query":"gulf.moneroocean.stream","qtype_name":"A","rcode":0,"answers":["192.0.2.20"],"TTLs":[60.0],"rejected":false}`, seconds(now)))
	until(t, "the names", func() bool { return len(reported()) >= 2 })
	write("conn.log", connLine(now, "10.1.0.6", "192.0.2.20", 10128, ""))
	until(t, "hits", func() bool { return len(reported()) >= 3 && strings.HasPrefix(reported()["10.1.0.5 "], "confirmed") })
	want := map[string]string{
		"10.1.0.9 ":                        "known payload",
		"10.1.0.6 gulf.moneroocean.stream": "known name",
		"10.1.0.5 ":                        "confirmed probe payload tor label score",
	}
	if diff := cmp.Diff(want, reported()); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	// A connection that runs, to the server that was proved.
	write("conn_interim.log", connLine(now, "10.1.0.7", "127.0.0.1", port, interim))
	until(t, "the running connection", func() bool { return reported()["10.1.0.7 "] == "confirmed probe" })
	until(t, "the event", func() bool { return len(events.all()) > 0 })
	if diff := cmp.Diff([]string{fmt.Sprintf("%s 10.1.0.5 127.0.0.1:%d mine", wallet, port)}, events.all()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	until(t, "the feed", func() bool {
		text, _ := os.ReadFile(filepath.Join(feedDir, "intel.dat")) // it may not be there yet
		return strings.Contains(string(text), "127.0.0.1")
	})
	if text, _ := os.ReadFile(filepath.Join(feedDir, "intel.dat")); strings.Contains(string(text), "192.0.2.") {
		t.Errorf("what was not proved is in the feed:\n%s", text)
	}
}

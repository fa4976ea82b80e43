package eve_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
)

// captures is where logs of real traffic lie beside the checkout.
const captures = "../../../shared/data"

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(captures, pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skipf("no captures: %s is not there", filepath.Join(captures, pattern))
	}
	return paths
}

func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

func TestCaptures(t *testing.T) {
	for _, pattern := range []string{"eve/*.json", "ours/*/eve.json"} {
		t.Run(pattern, func(t *testing.T) {
			for _, path := range glob(t, pattern) {
				d := eve.New(eve.Config{})
				for n, line := range lines(t, path) {
					var rec minecanary.Record
					if out := d.Decode(line, &rec); out.Kind != consumer.Decoded {
						t.Errorf("%s:%d: outcome %+v: %s", path, n+1, out, line)
					}
					if !rec.Orig.IsValid() || !rec.Resp.IsValid() || rec.OrigPackets == 0 || rec.UID == (minecanary.UID{}) {
						t.Errorf("%s:%d: record %+v", path, n+1, rec)
					}
				}
			}
		})
	}
}

// TestMonero checks every field of one real flow against the bytes a packet capture of it holds: Zeek counts 85840 and
// 101380 IP bytes (ours/monero/conn.log).
func TestMonero(t *testing.T) {
	path := glob(t, "ours/monero/eve.json")[0]
	var got minecanary.Record
	if out := eve.New(eve.Config{}).Decode(lines(t, path)[0], &got); out.Kind != consumer.Decoded {
		t.Fatalf("outcome %+v", out)
	}
	start := time.Date(2025, 7, 2, 8, 53, 56, 500_000_000, time.UTC).UnixMicro()
	want := minecanary.Record{
		Transport: minecanary.TCP,
		Orig:      netip.MustParseAddr("10.20.1.15"), OrigPort: 47120,
		Resp: netip.MustParseAddr("203.0.113.15"), RespPort: 3333,
		Start: start, End: start + 7200_013_500,
		OrigPackets: 705, OrigBytes: 85840, OrigPayload: 85840 - 705*52,
		RespPackets: 666, RespBytes: 101380, RespPayload: 101380 - 666*52,
		OrigFlags:  minecanary.FIN | minecanary.SYN | minecanary.PSH | minecanary.ACK,
		RespFlags:  minecanary.FIN | minecanary.SYN | minecanary.PSH | minecanary.ACK,
		FlagsKnown: true, Handshake: true,
		Services: minecanary.ServiceUnknown,
		UID:      minecanary.NewUID([]byte("1303060119387842")),
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

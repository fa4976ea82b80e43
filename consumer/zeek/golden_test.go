package zeek_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/zeek"
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

type decoder interface {
	Decode(line []byte, rec *minecanary.Record) consumer.Outcome
}

// decodeAll gives the records of a file; all other lines must be skipped for the reason.
func decodeAll(t *testing.T, path string, d decoder, reason string) (recs []minecanary.Record) {
	t.Helper()
	for n, line := range lines(t, path) {
		var rec minecanary.Record
		switch out := d.Decode(line, &rec); {
		case out.Kind == consumer.Decoded:
			recs = append(recs, rec)
		case out.Kind == consumer.Bad || out.Reason != reason:
			t.Errorf("%s:%d: outcome %+v: %s", path, n+1, out, line)
		}
	}
	return recs
}

func TestCapturesJSON(t *testing.T) {
	for _, tc := range []struct {
		pattern, log, reason string
		kind                 minecanary.Kind
	}{
		{"zeek/*/conn.log", "conn", "", minecanary.KindConn},
		{"ours/*/conn.log", "conn", "", minecanary.KindConn},
		{"ours/*/plain/conn.log", "conn", "", minecanary.KindConn},
		{"zeek/*/conn_interim.log", "conn_interim", "", minecanary.KindInterim},
		{"ours/*/conn_interim.log", "conn_interim", "", minecanary.KindInterim},
	} {
		t.Run(tc.pattern, func(t *testing.T) {
			for _, path := range glob(t, tc.pattern) {
				want := len(lines(t, path))
				if tc.reason != "" {
					want = 0
				}
				recs := decodeAll(t, path, zeek.NewJSON(), tc.reason)
				if len(recs) != want {
					t.Errorf("%s: %d records, want %d", path, len(recs), want)
				}
				for _, rec := range recs {
					if rec.Kind != tc.kind || !rec.Orig.IsValid() || !rec.Resp.IsValid() || rec.UID == (minecanary.UID{}) {
						t.Errorf("%s: record %+v", path, rec)
					}
				}
				for _, line := range lines(t, path) {
					if got := zeek.LogName(line); got != tc.log {
						t.Errorf("%s: LogName is %q, want %q", path, got, tc.log)
					}
				}
			}
		})
	}
}

// TestCapturesTSV compares what two runs of Zeek wrote of one capture, as TSV and as JSON. UIDs differ from run to run;
// the runs with our scripts loaded name the service stratum, the others do not, and turn no connection.
func TestCapturesTSV(t *testing.T) {
	for _, path := range glob(t, "zeek-tsv/*/conn.log") {
		capture := filepath.Base(filepath.Dir(path))
		t.Run(capture, func(t *testing.T) {
			fromTSV := decodeAll(t, path, zeek.NewTSV(nil), zeek.ReasonHeader)
			fromJSON := decodeAll(t, filepath.Join(captures, "zeek", capture, "conn.log"), zeek.NewJSON(), "")
			if len(fromTSV) == 0 || len(fromTSV) != countRows(t, path) {
				t.Errorf("%d records, want %d", len(fromTSV), countRows(t, path))
			}
			normalise := func(recs []minecanary.Record) map[string]minecanary.Record {
				m := make(map[string]minecanary.Record)
				for _, r := range recs {
					r.UID, r.InterimSeq = minecanary.UID{}, 0
					if r.Services&minecanary.ServiceStratum != 0 {
						r.Services = minecanary.ServiceUnknown
					}
					m[netip.AddrPortFrom(r.Orig, r.OrigPort).String()+" "+netip.AddrPortFrom(r.Resp, r.RespPort).String()+
						" "+r.Transport.String()] = r
				}
				return m
			}
			if diff := cmp.Diff(normalise(fromJSON), normalise(fromTSV), addrs); diff != "" {
				t.Errorf("JSON and TSV differ (-JSON +TSV):\n%s", diff)
			}
		})
	}
}

func countRows(t *testing.T, path string) (n int) {
	t.Helper()
	for _, line := range lines(t, path) {
		if !strings.HasPrefix(string(line), "#") {
			n++
		}
	}
	return n
}

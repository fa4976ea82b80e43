package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// BenchmarkLookup asks the shipped catalogue over HTTP on loopback, with connections that are kept, a quarter of the
// questions about nothing known.
func BenchmarkLookup(b *testing.B) {
	shipped, _ := catalog.Shipped()
	w := newWorld(b, accounts.Viewer, shipped)
	var questions []string
	for i, host := range w.index.Catalog().Hosts() {
		a := netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)})
		w.index.SetAddresses(host, []lookup.Address{{Name: host, Addr: a}})
		questions = append(questions, host, a.String(), a.String()+":3333", fmt.Sprintf("8.8.%d.%d", byte(i>>8), byte(i)))
	}
	server := httptest.NewServer(w.handler)
	b.Cleanup(server.Close)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			q := questions[int(next.Add(1)*7919)%len(questions)]
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/api/v1/lookup?q="+q, nil)
			if err != nil {
				b.Error(err)
				return
			}
			res, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, res.Body)
			if closeErr := res.Body.Close(); err != nil || closeErr != nil || res.StatusCode != http.StatusOK {
				b.Error(err, closeErr, res.StatusCode)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

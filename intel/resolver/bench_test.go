//go:build unix

package resolver

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkResolve measures names a second, A and AAAA each, server and client in one process. No name is asked twice.
func BenchmarkResolve(b *testing.B) {
	for _, atOnce := range []int{16, 64, 256} {
		b.Run(fmt.Sprintf("atonce=%d", atOnce), func(b *testing.B) {
			r := newResolver(b, Config{Servers: []string{serve(b, "127.0.0.1", dns.HandlerFunc(benchServer))}, PerZone: Unlimited})
			var next, failed atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			before := processorTime(b)
			b.ResetTimer()
			for range atOnce {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						a, err := r.Resolve(b.Context(), fmt.Sprintf("n%d.pool%d.example", i, i%1000))
						if err != nil || len(a.Addrs) != 2 {
							failed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "names/s")
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/name")
			b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "procs")
			if n := failed.Load(); n > 0 {
				b.Errorf("%d of %d names have no answer", n, b.N)
			}
		})
	}
}

// processorTime gives what this process has used so far; on a machine with other work it says more than names a second.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

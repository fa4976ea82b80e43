//go:build services

package kafka

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// noise gives bytes that do not compress.
func noise(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// heap gives the bytes in live objects.
func heap() uint64 {
	runtime.GC()
	return inUse()
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap notes the most bytes in use until its result is called.
func watchHeap(t *testing.T) (highest func() uint64) {
	t.Helper()
	var most uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				most = max(most, inUse())
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	t.Cleanup(end)
	return func() uint64 {
		end()
		return most
	}
}

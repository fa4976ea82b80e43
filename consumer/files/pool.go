package files

import (
	"context"
	"sync"
)

// pool lends a fixed number of buffers, so that memory stays flat however far the reader runs ahead of its receiver.
// The buffer given back last is lent first: it is the one still in the processor's cache.
type pool struct {
	size   int           // bytes of a buffer
	tokens chan struct{} // one per buffer that may be lent
	closed <-chan struct{}

	mu   sync.Mutex
	free [][]byte
}

func newPool(count, size int, closed <-chan struct{}) *pool {
	p := &pool{size: size, tokens: make(chan struct{}, count), closed: closed}
	for range count {
		p.tokens <- struct{}{}
	}
	return p
}

// get waits until a buffer may be lent. Its length is zero.
func (p *pool) get(ctx context.Context) ([]byte, error) {
	select {
	case <-p.tokens:
	default:
		select {
		case <-p.tokens:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.closed:
			return nil, ErrClosed
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b[:0], nil
	}
	return make([]byte, 0, p.size), nil
}

// put takes a buffer back. One that grew for a long line is let go.
func (p *pool) put(b []byte) {
	if cap(b) == p.size {
		p.mu.Lock()
		p.free = append(p.free, b)
		p.mu.Unlock()
	}
	p.tokens <- struct{}{}
}

package kafka

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// readBuffer is what one read asks the kernel for. kafka-go reads through 4 KiB, which costs half of its CPU in calls.
const readBuffer = 64 << 10

// errTooLarge is the error of a read that meets an answer over the connection's limit.
var errTooLarge = errors.New("kafka: the answer is too large to be read the fast way")

// conn reads in larger pieces than kafka-go asks for and never waits longer than idle for the next of them.
// One goroutine reads at a time, as kafka-go does.
type conn struct {
	net.Conn
	idle  time.Duration
	owner *connSet

	// limit is the largest answer, 0 for any. Each is framed by its size in four bytes (Kafka protocol guide, "Common
	// Request and Response Structure"); left is what is still to come of the one being read, head what is known of the
	// next one's size.
	limit int
	left  int
	head  []byte

	buf  []byte
	r, w int

	mu       sync.Mutex
	deadline time.Time
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.r == c.w {
		c.mu.Lock()
		deadline := time.Now().Add(c.idle)
		if !c.deadline.IsZero() && c.deadline.Before(deadline) {
			deadline = c.deadline
		}
		err := c.Conn.SetReadDeadline(deadline)
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if len(p) >= len(c.buf) {
			n, err := c.Conn.Read(p)
			return n, errors.Join(c.check(p[:n]), err)
		}
		n, err := c.Conn.Read(c.buf)
		c.r, c.w = 0, n
		if n == 0 {
			return 0, err
		}
		if err := c.check(c.buf[:n]); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// check follows the frames and refuses one over the limit before any of it is decoded.
func (c *conn) check(b []byte) error {
	for c.limit > 0 && len(b) > 0 {
		if c.left > 0 {
			n := min(c.left, len(b))
			c.left -= n
			b = b[n:]
			continue
		}
		n := min(frameHead-len(c.head), len(b))
		c.head = append(c.head, b[:n]...)
		b = b[n:]
		if len(c.head) == frameHead {
			size := binary.BigEndian.Uint32(c.head)
			c.head = c.head[:0]
			if uint64(size) > uint64(c.limit) {
				return errTooLarge
			}
			c.left = int(size)
		}
	}
	return nil
}

// frameHead is the length of the size before each answer.
const frameHead = 4

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.owner.remove(c)
	return c.Conn.Close()
}

// connSet knows open connections.
type connSet struct {
	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

func (s *connSet) add(raw net.Conn, idle time.Duration, limit int) (*conn, error) {
	c := &conn{Conn: raw, idle: idle, limit: limit, owner: s, buf: make([]byte, readBuffer)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = raw.Close() // nothing was sent
		return nil, net.ErrClosed
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return c, nil
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// cut closes every connection and refuses new ones.
func (s *connSet) cut() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close() // the reader sees it
	}
}

package prober

import (
	"errors"
	"net"
)

// errReadBound and errSendBound end a connection on which too much was said.
var (
	errReadBound = errors.New("more bytes than are read from one connection")
	errSendBound = errors.New("more bytes than are sent on one connection")
)

// boundConn counts and bounds the bytes of a connection, below TLS. It is used by one goroutine.
type boundConn struct {
	net.Conn
	read, sent int64
}

// Read reads at most what is left of MaxRead.
func (c *boundConn) Read(b []byte) (int, error) {
	left := MaxRead - c.read
	if left <= 0 {
		return 0, errReadBound
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), left)])
	c.read += int64(n)
	return n, err
}

// Write writes all or, beyond MaxSent, nothing.
func (c *boundConn) Write(b []byte) (int, error) {
	if c.sent+int64(len(b)) > MaxSent {
		return 0, errSendBound
	}
	n, err := c.Conn.Write(b)
	c.sent += int64(n)
	return n, err
}

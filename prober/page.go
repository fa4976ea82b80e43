package prober

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/audit"
)

// ErrRefused says that the guard, a list or a budget did not allow a connection.
var ErrRefused = errors.New("refused")

// Dial makes one connection for something beside a question, such as a copy of the web page on a pool's address. The guard,
// the lists, the endpoint's connections an hour and the budgets of the catalogue hold for it, and it stands in the audit
// trail before the first packet and when it is closed or failed. Whoever reads from it bounds bytes and time. why is one line for the trail.
func (p *Prober) Dial(ctx context.Context, to netip.AddrPort, why string) (net.Conn, error) {
	ep := minecanary.NewEndpoint(to.Addr(), to.Port(), minecanary.TCP)
	if reason := p.refuse(ep); reason != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	cost := p.catalogueCost(ep)
	g, err := p.purse.Begin(ctx, cost)
	if no := refused(cost, g, err, p.now()); no != nil {
		return nil, fmt.Errorf("%w: %s", ErrRefused, no.reason)
	}
	a := &probe{Prober: p, ep: ep, cost: cost, opts: ProbeOptions{Why: why}, began: p.now()}
	if err := p.audit.Append(a.intent()); err != nil {
		return nil, fmt.Errorf("write audit record: %w", err)
	}
	if g, err = p.purse.Connect(ctx, cost); err != nil || g.Refused != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, refused(cost, g, err, p.now()).reason)
	}
	conn, err := p.guard.dial(ctx, p.cfg.Connect, to)
	if err != nil {
		rec := a.intent()
		rec.Time, rec.Event, rec.Outcome = p.now().UTC(), audit.EventConnection, "failed"
		return nil, errors.Join(fmt.Errorf("connect: %w", err), p.audit.Append(rec))
	}
	return &audited{Conn: conn, of: a}, nil
}

// audited counts the bytes of a connection for the audit trail.
type audited struct {
	net.Conn
	of *probe

	mu         sync.Mutex
	sent, read int64
	closed     bool
}

// Read implements net.Conn.
func (c *audited) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.read += int64(n)
	c.mu.Unlock()
	return n, err
}

// Write implements net.Conn.
func (c *audited) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.mu.Lock()
	c.sent += int64(n)
	c.mu.Unlock()
	return n, err
}

// Close implements net.Conn; the first one writes the audit record.
func (c *audited) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return err
	}
	c.closed = true
	rec := c.of.intent()
	now := c.of.now()
	rec.Time, rec.Event = now.UTC(), audit.EventConnection
	rec.Local = c.LocalAddr().String()
	rec.BytesSent, rec.BytesRead = c.sent, c.read
	rec.DurationMS = now.Sub(c.of.began).Milliseconds()
	return errors.Join(err, c.of.audit.Append(rec))
}

package prober

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/minecanary/minecanary/prober/dialect"
	"github.com/minecanary/minecanary/prober/jarm"
)

const (
	// JARMTime bounds each of the ten connections of a JARM fingerprint, the TCP handshake included.
	JARMTime = 2 * time.Second
	// jarmName stands for the dialect in talks and in the audit trail.
	jarmName = "jarm"
)

// fingerprint takes the server's JARM if that is wanted and there was a proof over TLS: ten connections, one after another,
// if the endpoint's budget has room for all of them. No verdict depends on it; what prevents it is told instead. A
// fingerprint of fewer answers would be another server's, so that the first connection that nobody takes or answers ends it.
func (p *probe) fingerprint(ctx context.Context) {
	if !p.cfg.JARM || p.failed != nil || !slices.ContainsFunc(p.talks, func(t Talk) bool { return t.TLS && t.Finding.Level == dialect.Proof }) {
		return
	}
	if why := p.roomFor(ctx, jarm.Hellos); why != "" {
		p.jarm = "no JARM: " + why
		return
	}
	name := p.opts.Name
	if name == "" {
		name = addrPort(p.ep).Addr().String()
	}
	s := &speaker{cfg: &p.cfg, guard: p.guard, addr: addrPort(p.ep)}
	var answers [jarm.Hellos]jarm.Answer
	answered := false
	for i, hello := range jarm.Hello(name) {
		g, err := p.purse.Connect(ctx, p.cost)
		if no := refused(p.cost, g, err, p.now()); no != nil {
			p.jarm = fmt.Sprintf("no JARM: before hello %d of %d: %s", i+1, jarm.Hellos, no.reason)
			return
		}
		var talk Talk
		talk, answers[i] = s.greet(ctx, hello)
		p.talks = append(p.talks, talk)
		if err := p.audit.Append(p.record(talk)); err != nil {
			p.failed = fmt.Errorf("write audit record: %w", err)
			return
		}
		switch talk.Outcome {
		case Answered, Closed, Reset:
			answered = answered || answers[i].Version != 0
		default:
			p.jarm = fmt.Sprintf("no JARM: hello %d of %d: %s", i+1, jarm.Hellos, talk.Outcome)
			return
		}
	}
	if !answered {
		p.jarm = fmt.Sprintf("no JARM: none of %d hellos drew a ServerHello", jarm.Hellos)
		return
	}
	p.jarm = "JARM " + jarm.Hash(answers)
}

// roomFor tells why the endpoint may not see n connections more now, "" if it may. A purse is asked for one connection
// under a limit that is n-1 smaller; nothing is taken by that.
func (p *probe) roomFor(ctx context.Context, n int) string {
	full := fmt.Sprintf("the endpoint's budget (%d connections an hour) has no room for %d more", p.cost.PerEndpoint, n)
	cost := p.cost
	cost.ByHand = true
	cost.PerEndpoint -= n - 1
	if cost.PerEndpoint < 1 {
		return full
	}
	g, err := p.purse.Begin(ctx, cost)
	switch {
	case err != nil:
		return refused(cost, g, err, p.now()).reason
	case g.Refused != "":
		return full
	}
	return ""
}

// greet makes one connection, says a hello and hears the answer to it, which is zero if it is no ServerHello. The context
// ends it at any time.
func (s *speaker) greet(ctx context.Context, hello []byte) (out Talk, answer jarm.Answer) {
	began := time.Now()
	out = Talk{Dialect: jarmName, TLS: true, Started: began.UTC()}
	defer func() { out.Duration = time.Since(began) }()

	conn, err := s.guard.dial(ctx, min(s.cfg.Connect, JARMTime), s.addr)
	if err != nil {
		out.Outcome = dialOutcome(ctx, err)
		return out, answer
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be written
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		out.Local = local.AddrPort()
	}
	bound := &boundConn{Conn: conn}
	if err = conn.SetDeadline(began.Add(JARMTime)); err == nil {
		if _, err = bound.Write(hello); err == nil {
			answer, err = jarm.Read(bound)
		}
	}
	out.BytesSent, out.BytesRead = bound.sent, bound.read
	switch {
	case err == nil && bound.read > 0:
		out.Outcome = Answered
	case err == nil:
		out.Outcome = Closed
	case ctx.Err() != nil:
		out.Outcome = CutOff
	case errors.Is(err, os.ErrDeadlineExceeded):
		out.Outcome = Silent
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		out.Outcome = Reset
	default:
		out.Outcome = Failed
	}
	return out, answer
}

// Package prober asks an endpoint whether it is a mining pool.
//
// The laws (docs, design): a failed probe proves nothing; the prober can't be used as a weapon and can't be hurt. So
// only public unicast addresses are asked unless allowed by name, never a port of the deny list, at most a few times an
// hour, in few bytes of the protocol's own; what comes back is bounded in bytes, time, length and depth; nothing is ever
// submitted or authorized; redirects are not followed; and each connection leaves a line in the audit trail.
package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/dialect"
)

// How long the verdict of a refusal holds, where no budget tells the time.
const (
	guardedExpiry = time.Hour       // the guard: only another configuration changes it
	oneWayExpiry  = 5 * time.Minute // no two-way session was seen yet
	auditExpiry   = time.Minute     // the audit trail can't be written
)

// Auditor keeps the audit trail. Append returns an error if the record is not kept; then no probe is made. It must be
// safe for concurrent use. *audit.File is one.
type Auditor interface {
	Append(rec audit.Record) error
}

// Prober asks endpoints. It is safe for concurrent use.
type Prober struct {
	cfg   Config
	guard *guard
	purse Purse
	audit Auditor
	now   func() time.Time
	asked []dialect.Dialect // never changed
}

// New gives a Prober; it does no I/O. now is the clock of budgets and verdicts, nil for time.Now. Timeouts on the
// network run by the system's clock.
func New(cfg Config, trail Auditor, now func() time.Time) (*Prober, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	if trail == nil {
		return nil, errors.New("prober: no audit trail")
	}
	if now == nil {
		now = time.Now
	}
	purse := cfg.Purse
	if purse == nil {
		purse = newMemoryPurse(now, MaxTracked)
	}
	return &Prober{cfg: cfg, guard: newGuard(cfg), purse: purse, audit: trail, now: now, asked: dialect.Asked()}, nil
}

// ProbeOptions are the particulars of a probe.
type ProbeOptions struct {
	// Client is on whose behalf the probe is made; the zero Addr by hand.
	Client netip.Addr
	// Why is one line for the audit trail.
	Why string
	// Name is the server's name, for SNI and the Host of a question; "" if unknown. What is no host name is dropped.
	Name string
	// TLS is a hint to try TLS first.
	TLS bool
	// Dialects names the dialects to ask, empty for all; those that are none, or only recognised, are passed over.
	Dialects []string
	// First is the dialect to ask first, a hint; "" for what is customary on the port.
	First string
	// Timeout is how long to wait for an answer, at most MaxConnectionTime; 0 for Config.Timeout.
	Timeout time.Duration
	// skip is how many dialects are put off to the end of the order.
	skip int
}

// Probe asks one endpoint by hand, now. It obeys the guard, the port list and the endpoint's connections per hour. A
// refusal is the status blocked; no packet was sent then.
func (p *Prober) Probe(ctx context.Context, ep minecanary.Endpoint, opts ProbeOptions) Result {
	ep = canonical(ep)
	if reason := p.refuse(ep); reason != "" {
		return blocked(ep, reason, p.now())
	}
	cost := p.cost(opts.Client, ep)
	cost.ByHand = true
	g, err := p.purse.Begin(ctx, cost)
	now := p.now()
	if no := refused(cost, g, err, now); no != nil {
		r := blocked(ep, no.reason, now)
		r.Until = no.until
		return r
	}
	r, _ := p.ask(ctx, cost, opts)
	return r
}

// Verify asks one endpoint on behalf of a client that is suspected, if the guard, a two-way session and all budgets
// agree. For the catalogue nobody has seen a session, as the operator has it asked; everything else holds. If somebody does
// not agree, the verdict is blocked, tells why, and expires when it is worth to try again. An error means that the context
// ended or the audit trail can't be written; the verdict is then not to be kept.
func (p *Prober) Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	now := p.now()
	ep := canonical(q.Endpoint)
	if err := ctx.Err(); err != nil {
		return blocked(ep, err.Error(), now).Verdict(0), err
	}
	if reason := p.refuse(ep); reason != "" {
		return blocked(ep, reason, now).Verdict(guardedExpiry), nil
	}
	if !q.Catalogue && (!q.Reply || !q.Payload) {
		return blocked(ep, "no two-way session was seen: the server never sent data to the client", now).Verdict(oneWayExpiry), nil
	}
	cost := p.cost(q.Client, ep)
	if q.Catalogue {
		q.Client, cost = netip.Addr{}, p.catalogueCost(ep)
	}
	g, err := p.purse.Begin(ctx, cost)
	if ctx.Err() != nil {
		return blocked(ep, ctx.Err().Error(), now).Verdict(0), ctx.Err()
	}
	now = p.now()
	if no := refused(cost, g, err, now); no != nil {
		return blocked(ep, no.reason, now).Verdict(no.until.Sub(now)), nil
	}
	r, err := p.ask(ctx, cost, ProbeOptions{Client: q.Client, Why: q.Why, Name: q.Name, First: q.First, TLS: q.TLS, skip: g.Tried})
	if err == nil && ctx.Err() != nil && (r.Status == minecanary.Inconclusive || r.Status == minecanary.Blocked) {
		err = ctx.Err()
	}
	if err != nil {
		return r.Verdict(auditExpiry), err
	}
	switch {
	case r.Status == minecanary.Confirmed || r.Status == minecanary.Node || r.Status == minecanary.NotPool:
		// Nothing depends on whether the purse hears of it: a back-off that stays only delays the next question.
		_, _ = p.purse.End(context.WithoutCancel(ctx), cost, true)
		return r.Verdict(p.cfg.Expiry), nil
	case !r.Until.IsZero():
		return r.Verdict(r.Until.Sub(r.At)), nil
	case r.Status == minecanary.Blocked:
		return r.Verdict(guardedExpiry), nil
	}
	wait, err := p.purse.End(ctx, cost, false)
	if err != nil {
		wait = p.cfg.BackoffFirst
	}
	return r.Verdict(wait), nil
}

// refuse tells why an endpoint may not be asked, "" if it may.
func (p *Prober) refuse(ep minecanary.Endpoint) string {
	if ep.Transport != minecanary.TCP {
		return "only TCP is asked, not " + ep.Transport.String()
	}
	return p.guard.refuse(ep.Addr, ep.Port)
}

// ask does the probe, to which the guard and the purse have agreed. The error is that of the audit trail.
func (p *Prober) ask(ctx context.Context, cost minecanary.ProbeCost, opts ProbeOptions) (Result, error) {
	ep := cost.Endpoint
	now := p.now()
	if !isHostName(opts.Name) {
		opts.Name = ""
	}
	a := &probe{
		Prober: p, ep: ep, cost: cost, opts: opts, cfg: p.cfg, order: order(p.asked, ep.Port, opts), began: now, started: time.Now(),
	}
	if opts.Timeout > 0 {
		a.cfg.Timeout = min(opts.Timeout, MaxConnectionTime)
	}
	if err := p.audit.Append(a.intent()); err != nil {
		err = fmt.Errorf("write audit record: %w", err)
		return blocked(ep, err.Error(), now), err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.EndpointTime)
	defer cancel()
	a.run(ctx)
	a.fingerprint(ctx)
	return a.result(), a.failed
}

// canonical gives the endpoint in its one spelling.
func canonical(ep minecanary.Endpoint) minecanary.Endpoint {
	return minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport)
}

// isHostName tells whether a name may go into SNI and a Host header: letters, digits, hyphens and underscores between
// dots (RFC 1123, RFC 6066 section 3), and no address.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

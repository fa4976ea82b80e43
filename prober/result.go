package prober

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/dialect"
)

// maxSummary is the longest reason or summary in bytes.
const maxSummary = 512

// Result is what a probe found.
type Result struct {
	Endpoint minecanary.Endpoint
	// Status is confirmed, node, not-pool, inconclusive or blocked.
	Status minecanary.VerdictStatus
	// Dialect and Coin are those of the proof; "" if there is none, or if it does not tell the coin.
	Dialect, Coin string
	// TLS tells that the proof came over TLS, or else that the server speaks it.
	TLS bool
	// Proxy tells that it is a proxy of miners, Job what it told of its work.
	Proxy bool
	Job   minecanary.Job
	// JARM is "JARM" and the server's fingerprint, or one printable line about why it was not taken; "" if it was not to
	// be. It stands in the evidence, too.
	JARM string
	// Evidence holds the proof, or for an inconclusive probe each connection, the certificate and the fingerprint.
	Evidence []minecanary.Evidence
	// Reason is one printable line of at most 512 bytes.
	Reason string
	// Connections is how many connections were tried, BytesRead and BytesSent their bytes, those of TLS included.
	Connections          int
	BytesRead, BytesSent int64
	// At is when the probe ended, Duration how long it took.
	At       time.Time
	Duration time.Duration
	// Talks holds every connection in the order of their begin, at most MaxConnections.
	Talks []Talk
	// Until is when a budget that refused the probe has room again; zero if none did.
	Until time.Time
}

// Verdict gives the result as a verdict that holds for the given time.
func (r Result) Verdict(expiry time.Duration) minecanary.Verdict {
	v := minecanary.Verdict{
		Endpoint: r.Endpoint, Status: r.Status, Dialect: r.Dialect, Coin: r.Coin, TLS: r.TLS, Proxy: r.Proxy,
		Job: r.Job, Reason: r.Reason,
		Evidence: r.Evidence, At: r.At, Expires: r.At.Add(expiry),
	}
	if r.Status == minecanary.Confirmed {
		v.FirstConfirmed = r.At
	}
	return v
}

// MarshalJSON gives the form of `minecanary probe --json`.
func (r Result) MarshalJSON() ([]byte, error) {
	evidence := r.Evidence
	if evidence == nil {
		evidence = []minecanary.Evidence{}
	}
	return json.Marshal(struct {
		Endpoint    minecanary.Endpoint      `json:"endpoint"`
		Verdict     minecanary.VerdictStatus `json:"verdict"`
		Dialect     string                   `json:"dialect"`
		Coin        string                   `json:"coin"`
		TLS         bool                     `json:"tls"`
		Proxy       bool                     `json:"proxy,omitempty"`
		Job         minecanary.Job           `json:"job,omitzero"`
		Evidence    []minecanary.Evidence    `json:"evidence"`
		Reason      string                   `json:"reason"`
		Connections int                      `json:"connections"`
		BytesRead   int64                    `json:"bytes_read"`
		DurationMS  int64                    `json:"duration_ms"`
	}{r.Endpoint, r.Status, r.Dialect, r.Coin, r.TLS, r.Proxy, r.Job, evidence, r.Reason, r.Connections, r.BytesRead, r.Duration.Milliseconds()})
}

// blocked is the result of a probe that was refused before anything was sent.
func blocked(ep minecanary.Endpoint, reason string, now time.Time) Result {
	return Result{Endpoint: ep, Status: minecanary.Blocked, Reason: printable(reason), At: now.UTC()}
}

// printable makes one line of printable ASCII of at most maxSummary bytes.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxSummary {
		s = s[:maxSummary-3] + "..."
	}
	return s
}

// result decides what the connections tell together.
func (p *probe) result() Result {
	now := p.now().UTC()
	r := Result{
		Endpoint: p.ep, Status: minecanary.Inconclusive, TLS: p.mode == secured, Connections: len(p.talks),
		At: now, Duration: time.Since(p.started),
	}
	slices.SortStableFunc(p.talks, func(a, b Talk) int { return a.Started.Compare(b.Started) })
	r.Talks = p.talks
	var best *Talk
	foreign := len(p.talks) > 0 && !p.unasked
	switching := false
	for i := range p.talks {
		t := &p.talks[i]
		r.BytesRead += t.BytesRead
		r.BytesSent += t.BytesSent
		switching = switching || t.Switching
		if best == nil || t.Finding.Level > best.Finding.Level {
			best = t
		}
		// The other mode's connections, on which nothing was said, tell nothing.
		wrongMode := t.Outcome == NoHandshake || p.mode == secured && !t.TLS && t.Finding.Level == dialect.Nothing
		foreign = foreign && (t.Finding.Level == dialect.Foreign || wrongMode)
	}
	switch {
	case p.failed != nil:
		r.Status, r.Reason = minecanary.Blocked, p.failed.Error()
	case best == nil:
		// The endpoint's budget refused the first connection.
		r.Status, r.Reason, r.Until = minecanary.Blocked, p.no.reason, p.no.until
	case best.Outcome == Guarded:
		r.Status, r.Reason = minecanary.Blocked, "the guard refused the address when it was dialled"
	case best.Outcome == NoProxy:
		r.Status, r.Reason = minecanary.Blocked, "the SOCKS5 proxy cannot be used"
	case best.Finding.Level == dialect.Proof:
		r.Status, r.Dialect, r.Coin, r.TLS = minecanary.Confirmed, best.Finding.Dialect, best.Finding.Coin, best.TLS
		if best.Finding.Node {
			r.Status = minecanary.Node
		}
		r.Proxy, r.Job, r.Reason = best.Finding.Proxy, best.Finding.Job, best.Finding.Summary
	case best.Finding.Level == dialect.Strong && best.Finding.Node:
		r.Reason = "answers as a coin's daemon, without work: " + best.Finding.Summary
	case best.Finding.Level == dialect.Strong:
		r.Reason = "answers as a pool, without a job or subscription: " + best.Finding.Summary
	case best.Finding.Level == dialect.Negative && (!best.HTTP || !p.unasked && !switching):
		r.Status, r.TLS = minecanary.NotPool, best.TLS
		r.Reason = best.Finding.Summary
	case best.Finding.Level == dialect.Foreign && foreign:
		r.Status = minecanary.NotPool
		r.Reason = "knows no dialect: " + best.Finding.Summary
	default:
		r.Reason = p.inconclusive()
	}
	r.Reason, r.JARM = printable(r.Reason), printable(p.jarm)
	r.Evidence = p.evidence(r.Status, best)
	return r
}

// inconclusive tells how each connection ended.
func (p *probe) inconclusive() string {
	var ends []string
	for _, t := range p.talks {
		end := t.Dialect
		if t.TLS {
			end += " over TLS"
		}
		end += " " + string(t.Outcome)
		if t.Finding.Level > dialect.Noise {
			end += " (" + t.Finding.Level.String() + ")"
		}
		ends = append(ends, end)
	}
	reason := "no proof: " + strings.Join(ends, ", ")
	if p.no != nil {
		reason += "; " + p.no.reason
	}
	return reason
}

// evidence gives what the verdict rests on: the one talk of a proof, or all of them.
func (p *probe) evidence(status minecanary.VerdictStatus, best *Talk) []minecanary.Evidence {
	var evidence []minecanary.Evidence
	certificate := ""
	for i := range p.talks {
		t := &p.talks[i]
		if t.Certificate != "" && (certificate == "" || t == best) {
			certificate = t.Certificate
		}
		decided := status == minecanary.Confirmed || status == minecanary.Node || status == minecanary.NotPool && best.Finding.Level == dialect.Negative
		if decided && t != best {
			continue
		}
		summary := t.Finding.Summary
		if t.Finding.Level <= dialect.Noise {
			summary = fmt.Sprintf("%s: %s", t.Dialect, t.Outcome)
		}
		evidence = append(evidence, minecanary.Evidence{
			Kind: "probe", Strength: t.Finding.Level.Strength(), At: t.Started,
			Summary: printable(summary), Transcript: t.Transcript,
		})
	}
	if certificate != "" {
		evidence = append(evidence, minecanary.Evidence{Kind: "probe", Strength: minecanary.Weak, At: p.began.UTC(), Summary: printable(certificate)})
	}
	if p.jarm != "" {
		evidence = append(evidence, minecanary.Evidence{Kind: "probe", Strength: minecanary.Weak, At: p.now().UTC(), Summary: printable(p.jarm)})
	}
	return evidence
}

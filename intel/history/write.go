package history

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/minecanary/minecanary"
)

// Bounds of what is kept of one observation. What comes from a peer and is longer is cut.
const (
	// MaxName is the longest name (RFC 1035 section 2.3.4, without the trailing dot).
	MaxName = 253
	// MaxAddrs and MaxChain bound one answer.
	MaxAddrs = 1024
	MaxChain = 32
	// MaxWord bounds codes, dialects and coins, MaxReason a reason, in bytes.
	MaxWord   = 64
	MaxReason = 512
	// MaxEvidence bounds the facts of a proof, MaxTranscript the lines of each transcript, MaxLine every line in bytes.
	MaxEvidence   = 8
	MaxTranscript = 32
	MaxLine       = 1024
)

// Codes of lookups that are answers: they say which addresses a name has, and be it none. With every other code the
// lookup failed.
const (
	NoError  = "NOERROR"
	NXDomain = "NXDOMAIN"
)

// Observation is what looking up a name gave.
type Observation struct {
	// Name is the name asked for, of printable ASCII; case and a trailing dot do not matter.
	Name string
	// At is when the answer came.
	At time.Time
	// Addrs are the addresses of both families in any order, Chain the names of the aliases in theirs. They count with an
	// answer alone (see Code).
	Addrs []netip.Addr
	Chain []string
	// Code is NoError, which "" stands for, or NXDomain; every other word is a failure, as SERVFAIL or timeout.
	Code string
}

// Probe is what asking an endpoint gave.
type Probe struct {
	Endpoint minecanary.Endpoint
	// Name is the server name that was used, "" if none.
	Name string
	// At is when the verdict was made.
	At     time.Time
	Status minecanary.VerdictStatus
	// Dialect, Coin and TLS are as in minecanary.Verdict.
	Dialect, Coin string
	TLS           bool
	// Reason is one line for people.
	Reason string
	// Evidence of a confirmed endpoint is kept, once per endpoint, if some of it is proof.
	Evidence []minecanary.Evidence
}

// ProbeOf makes a Probe of a verdict and the name that was used, "" if none.
func ProbeOf(v minecanary.Verdict, name string) Probe {
	return Probe{
		Endpoint: v.Endpoint, Name: name, At: v.At, Status: v.Status, Dialect: v.Dialect, Coin: v.Coin, TLS: v.TLS,
		Reason: v.Reason, Evidence: v.Evidence,
	}
}

// Proof is what proved an endpoint to be a pool the last time, cut to the bounds.
type Proof struct {
	At       time.Time             `json:"at"`
	Evidence []minecanary.Evidence `json:"evidence"`
}

// Tx is a transaction that writes. It lives until the function it was handed to returns, and is for one goroutine.
type Tx struct {
	View
	learnt int64
}

// Resolved writes one observation of a name. The error wraps ErrInvalid if the name is none, the time is before 1970 or
// more than MaxSkew ahead, or a bound is broken.
func (tx *Tx) Resolved(o Observation) error {
	name, err := CanonicalName(o.Name)
	if err != nil {
		return err
	}
	at, err := tx.time(o.At)
	if err != nil {
		return err
	}
	code := printable(o.Code, MaxWord)
	if code == "" {
		code = NoError
	}
	err = tx.observe(nameKey(name, trackLookups), row{from: at, value: []byte(code)}, nil)
	if err != nil || code != NoError && code != NXDomain {
		return err
	}
	if len(o.Addrs) > MaxAddrs || len(o.Chain) > MaxChain {
		return fmt.Errorf("%w: %s has %d addresses and %d aliases", ErrInvalid, name, len(o.Addrs), len(o.Chain))
	}
	a := answer{addrs: make([]netip.Addr, 0, len(o.Addrs)), chain: make([]string, 0, len(o.Chain))}
	for _, addr := range o.Addrs {
		if !addr.IsValid() {
			return fmt.Errorf("%w: %s has an address that is none", ErrInvalid, name)
		}
		a.addrs = append(a.addrs, minecanary.CanonicalAddr(addr))
	}
	slices.SortFunc(a.addrs, netip.Addr.Compare)
	a.addrs = slices.Compact(a.addrs)
	for _, alias := range o.Chain {
		a.chain = append(a.chain, strings.ToLower(strings.TrimSuffix(printable(alias, MaxName+1), ".")))
	}
	if err := tx.observe(nameKey(name, trackAnswers), row{from: at, value: a.encode()}, nil); err != nil {
		return err
	}
	index := tx.bucket(bucketAddrs)
	for _, addr := range a.addrs {
		key := appendName(appendAddr(nil, addr), name)
		if index.Get(key) != nil {
			continue
		}
		if err := put(index, bucketAddrs, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// Probed writes one observation of an endpoint. The error wraps ErrInvalid if the endpoint has no address or port, there is
// no such status, or the time is before 1970 or more than MaxSkew ahead.
func (tx *Tx) Probed(p Probe) error {
	if !p.Endpoint.Addr.IsValid() || p.Endpoint.Port == 0 {
		return fmt.Errorf("%w: %q is no endpoint", ErrInvalid, p.Endpoint)
	}
	ep := minecanary.NewEndpoint(p.Endpoint.Addr, p.Endpoint.Port, p.Endpoint.Transport)
	at, err := tx.time(p.At)
	if err != nil {
		return err
	}
	reason := printable(p.Reason, MaxReason)
	w := why{name: strings.ToLower(strings.TrimSuffix(printable(p.Name, MaxName+1), ".")), first: reason, last: reason}
	switch p.Status {
	case minecanary.Confirmed, minecanary.Node, minecanary.NotPool:
		v := verdict{
			status: string(p.Status), dialect: printable(p.Dialect, MaxWord), coin: printable(p.Coin, MaxWord), tls: p.TLS,
		}
		err = tx.observe(endpointKey(ep, trackVerdicts), row{from: at, value: v.encode(), extra: w.encode()}, mergeWhy)
		if err == nil {
			// Why it answered stands with the verdict.
			err = tx.observe(endpointKey(ep, trackReach), row{from: at, value: []byte(answered), extra: why{}.encode()}, nil)
		}
	case minecanary.Inconclusive, minecanary.Blocked, minecanary.Unknown:
		err = tx.observe(endpointKey(ep, trackReach), row{from: at, value: []byte(p.Status), extra: w.encode()}, mergeWhy)
	default:
		err = fmt.Errorf("%w: %q is no status", ErrInvalid, p.Status)
	}
	if err != nil || p.Status != minecanary.Confirmed {
		return err
	}
	return tx.prove(ep, p)
}

// answered is the value of trackReach of an endpoint that gave a conclusive answer, whichever.
const answered = "answered"

func mergeWhy(before, now []byte) ([]byte, error) {
	a, err := decodeWhy(before)
	if err != nil {
		return nil, err
	}
	b, err := decodeWhy(now)
	if err != nil {
		return nil, err
	}
	return why{name: b.name, first: a.first, last: b.last}.encode(), nil
}

// prove keeps the evidence of a probe if it is proof, and newer than what is kept.
func (tx *Tx) prove(ep minecanary.Endpoint, p Probe) error {
	if !slices.ContainsFunc(p.Evidence, func(e minecanary.Evidence) bool { return e.Strength == minecanary.Proof }) {
		return nil
	}
	key := appendEndpoint(nil, ep)
	old, err := get(tx.bucket(bucketProofs), bucketProofs, key)
	if err != nil {
		return err
	}
	if d := (decoder{b: old}); d.time() > p.At.UnixMilli() {
		return nil
	}
	proof := Proof{At: time.UnixMilli(p.At.UnixMilli()).UTC()}
	for _, e := range p.Evidence[:min(len(p.Evidence), MaxEvidence)] {
		e.Kind, e.Strength = printable(e.Kind, MaxWord), minecanary.Strength(printable(string(e.Strength), MaxWord))
		e.At = time.UnixMilli(e.At.UnixMilli()).UTC()
		e.Summary = printable(e.Summary, MaxReason)
		e.Transcript = slices.Clone(e.Transcript[:min(len(e.Transcript), MaxTranscript)])
		for i, line := range e.Transcript {
			e.Transcript[i] = printable(line, MaxLine)
		}
		proof.Evidence = append(proof.Evidence, e)
	}
	b, err := json.Marshal(proof)
	if err != nil {
		return fmt.Errorf("%w: its evidence: %w", ErrInvalid, err)
	}
	return put(tx.bucket(bucketProofs), bucketProofs, key, append(appendTime(nil, p.At.UnixMilli()), b...))
}

// time is a time of an observation in milliseconds.
func (tx *Tx) time(at time.Time) (int64, error) {
	t := at.UnixMilli()
	if t < 0 {
		return 0, fmt.Errorf("%w: %s is before 1970", ErrInvalid, at)
	}
	if t > tx.learnt+MaxSkew.Milliseconds() {
		return 0, fmt.Errorf("%w: %s is in the future", ErrInvalid, at)
	}
	return t, nil
}

// CanonicalName is a domain name as the history spells it: lower case, no trailing dot. The error wraps ErrInvalid if it is
// empty, has an empty label, is longer than MaxName, or has other bytes than printable ASCII without spaces.
func CanonicalName(name string) (string, error) {
	s := strings.ToLower(strings.TrimSuffix(name, "."))
	if s == "" || len(s) > MaxName || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return "", fmt.Errorf("%w: %q is no domain name", ErrInvalid, printable(name, MaxName))
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", fmt.Errorf("%w: %q is no domain name", ErrInvalid, printable(name, MaxName))
		}
	}
	return s, nil
}

// printable is a text of at most limit bytes of printable ASCII; every other byte is a question mark.
func printable(s string, limit int) string {
	s = s[:min(len(s), limit)]
	odd := func(c byte) bool { return c < ' ' || c > '~' }
	for i := range len(s) {
		if odd(s[i]) {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if odd(b[j]) {
					b[j] = '?'
				}
			}
			return string(b)
		}
	}
	return s
}

// bucket gives one of the buckets every file has.
func (v *View) bucket(name byte) *bolt.Bucket { return v.tx.Bucket([]byte{name}) }

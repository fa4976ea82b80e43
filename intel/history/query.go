package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/minecanary/minecanary"
)

// DefaultLimit is how many intervals an answer has at most if the query does not tell.
const DefaultLimit = 10_000

// Query tells of which time an answer is.
type Query struct {
	// At is the moment asked for: what held then, at most one interval for each track. Zero lists all intervals, the oldest
	// of a track first, disputed ones among them.
	At time.Time
	// KnownAt is the moment whose knowledge counts: what was learnt later is left out, and of At after KnownAt the last is
	// told that was known. Zero is all we know.
	KnownAt time.Time
	// Limit is how many intervals the answer has at most; 0 is DefaultLimit. An answer of that length may lack others: of
	// one track the oldest, of several the last in the order of the file.
	Limit int
}

// plain is a query in the terms of rows.
type plain struct {
	at, known int64 // at is noTime to list all
	limit     int
}

func (q Query) plain() plain {
	p := plain{at: noTime, known: noTime, limit: q.Limit}
	if !q.At.IsZero() {
		p.at = clamp(q.At)
	}
	if !q.KnownAt.IsZero() {
		p.known = clamp(q.KnownAt)
	}
	if p.limit <= 0 {
		p.limit = DefaultLimit
	}
	return p
}

// clamp is a time in milliseconds, within what rows can have.
func clamp(t time.Time) int64 {
	switch {
	case t.Year() < 1970:
		return -1
	case t.Year() > 5000:
		return maxTime
	}
	return t.UnixMilli()
}

// Span is when a value held.
type Span struct {
	// From is the first observation, LastSeen the last one as far as it was known; in between it was seen without a break.
	From, LastSeen time.Time
	// Until is when it ended: the first moment it does not hold any more. It may lie ahead: so long it holds if nothing
	// else is seen.
	Until time.Time
	// Learnt is when From was written.
	Learnt time.Time
	// Disputed marks one observation that contradicts what was seen without a break.
	Disputed bool
}

func (h held) span() Span {
	t := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	return Span{From: t(h.from), LastSeen: t(h.lastSeen), Until: t(h.until), Learnt: t(h.learnt), Disputed: h.disputed}
}

// Addresses is which addresses a name had, in order; none if it was said to have none.
type Addresses struct {
	Span
	Name  string
	Addrs []netip.Addr
	// Chain are the aliases from Name on, as the servers said.
	Chain []string
}

// Lookup is how looking up a name went.
type Lookup struct {
	Span
	Name, Code string
}

// State is what an endpoint was: Confirmed, Node or NotPool.
type State struct {
	Span
	Endpoint minecanary.Endpoint
	Status   minecanary.VerdictStatus
	// Dialect, Coin and TLS are as in minecanary.Verdict.
	Dialect, Coin string
	TLS           bool
	// Name is the server name it was asked by at LastSeen.
	Name string
	// FirstReason is of From, LastReason of LastSeen.
	FirstReason, LastReason string
}

// Reach is whether an endpoint answered.
type Reach struct {
	Span
	Endpoint minecanary.Endpoint
	Answered bool
	// Status is "" if it answered, else Inconclusive, Blocked or Unknown.
	Status minecanary.VerdictStatus
	// Name is the server name it was asked by at LastSeen, FirstReason is of From, LastReason of LastSeen; they are "" if it
	// answered: see State.
	Name, FirstReason, LastReason string
}

// View is the history at one moment. It lives until the function it was handed to returns.
type View struct {
	tx  *bolt.Tx
	gap int64 // milliseconds
}

// rows answers a query on one track, with room for so many rows.
func (v *View) rows(track []byte, p plain, room int) ([]held, error) {
	if p.at == noTime {
		return v.all(track, p.known, room)
	}
	h, ok, err := v.at(track, p.at, p.known)
	if err != nil || !ok {
		return nil, err
	}
	return []held{h}, nil
}

// Addresses tells which addresses a name had. A name that cannot be one has none.
func (v *View) Addresses(name string, q Query) ([]Addresses, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return nil, nil //nolint:nilerror // what cannot be a name was never observed
	}
	p := q.plain()
	return v.addresses(nil, name, p)
}

func (v *View) addresses(to []Addresses, name string, p plain) ([]Addresses, error) {
	rows, err := v.rows(nameKey(name, trackAnswers), p, p.limit-len(to))
	for _, h := range rows {
		a, err := decodeAnswer(h.value)
		if err != nil {
			return nil, err
		}
		to = append(to, Addresses{Span: h.span(), Name: name, Addrs: a.addrs, Chain: a.chain})
	}
	return to, err
}

// NamesBelow tells the addresses of a name and of all names below it. The names are in the order of their labels from the
// right.
func (v *View) NamesBelow(suffix string, q Query) ([]Addresses, error) {
	suffix, err := CanonicalName(suffix)
	if err != nil {
		return nil, nil //nolint:nilerror // what cannot be a name was never observed
	}
	p := q.plain()
	exact := appendName([]byte{kindName}, suffix)
	prefix := exact[:len(exact)-1]
	var out []Addresses
	c := v.bucket(bucketCurrent).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix) && len(out) < p.limit; key, _ = c.Next() {
		if key[len(key)-1] != trackAnswers || key[len(prefix)] != 0 && key[len(prefix)] != '.' {
			continue
		}
		d := decoder{b: key[1:]}
		if out, err = v.addresses(out, d.name(), p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Names tells which names had an address of a network, and all the addresses they had then. The names are in the order of
// the first address they have there.
func (v *View) Names(network netip.Prefix, q Query) ([]Addresses, error) {
	p := q.plain()
	network = canonical(network)
	var out []Addresses
	told := map[string]bool{}
	err := scan(v.bucket(bucketAddrs).Cursor(), nil, network, func(_ netip.Addr, d decoder) (bool, error) {
		name := d.name()
		if told[name] {
			return true, nil
		}
		told[name] = true
		// The rows of a name that have no such address are no part of the answer, so they must not fill it up.
		all, err := v.addresses(nil, name, plain{at: p.at, known: p.known, limit: maxRows})
		if err != nil {
			return false, err
		}
		for _, a := range all {
			if len(out) < p.limit && slices.ContainsFunc(a.Addrs, network.Contains) {
				out = append(out, a)
			}
		}
		return len(out) < p.limit, nil
	})
	return out, err
}

// maxRows bounds the rows of one name that are looked through for an address.
const maxRows = 100_000

// canonical is a network as its addresses are spelt: an IPv4 network is never in its IPv4-mapped form.
func canonical(network netip.Prefix) netip.Prefix {
	addr, bits := network.Addr().WithZone(""), network.Bits()
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// scan calls fn for every key of a kind with an address of the network, in order, with what follows the address, until
// fn returns false.
func scan(c *bolt.Cursor, kind []byte, network netip.Prefix, fn func(netip.Addr, decoder) (bool, error)) error {
	if !network.IsValid() {
		return nil
	}
	network = canonical(network)
	for key, _ := c.Seek(appendAddr(bytes.Clone(kind), network.Addr())); bytes.HasPrefix(key, kind) && key != nil; key, _ = c.Next() {
		d := decoder{b: key[len(kind):]}
		addr := d.addr()
		if d.bad {
			return fmt.Errorf("%w: its key has no address", errRow)
		}
		if !network.Contains(addr) {
			return nil
		}
		if more, err := fn(addr, d); err != nil || !more {
			return err
		}
	}
	return nil
}

// Lookups tells how looking up a name went.
func (v *View) Lookups(name string, q Query) ([]Lookup, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return nil, nil //nolint:nilerror // what cannot be a name was never observed
	}
	p := q.plain()
	rows, err := v.rows(nameKey(name, trackLookups), p, p.limit)
	var out []Lookup
	for _, h := range rows {
		out = append(out, Lookup{Span: h.span(), Name: name, Code: string(h.value)})
	}
	return out, err
}

// Endpoint tells what an endpoint was.
func (v *View) Endpoint(ep minecanary.Endpoint, q Query) ([]State, error) {
	if !ep.Addr.IsValid() {
		return nil, nil
	}
	return v.states(nil, minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport), q.plain())
}

func (v *View) states(to []State, ep minecanary.Endpoint, p plain) ([]State, error) {
	rows, err := v.rows(endpointKey(ep, trackVerdicts), p, p.limit-len(to))
	for _, h := range rows {
		value, err := decodeVerdict(h.value)
		if err != nil {
			return nil, err
		}
		w, err := decodeWhy(h.extra)
		if err != nil {
			return nil, err
		}
		to = append(to, State{
			Span: h.span(), Endpoint: ep, Status: minecanary.VerdictStatus(value.status), Dialect: value.dialect,
			Coin: value.coin, TLS: value.tls, Name: w.name, FirstReason: w.first, LastReason: w.last,
		})
	}
	return to, err
}

// Endpoints tells what the endpoints with an address of a network were, by address, transport and port.
func (v *View) Endpoints(network netip.Prefix, q Query) ([]State, error) {
	p := q.plain()
	var out []State
	err := scan(v.bucket(bucketCurrent).Cursor(), []byte{kindEndpoint}, network, func(addr netip.Addr, d decoder) (bool, error) {
		d.b = append(appendAddr(nil, addr), d.b...)
		ep := d.endpoint()
		if track := d.take(1); track == nil || track[0] != trackVerdicts {
			return true, nil
		}
		var err error
		out, err = v.states(out, ep, p)
		return len(out) < p.limit, err
	})
	return out, err
}

// Availability tells when an endpoint answered and when not.
func (v *View) Availability(ep minecanary.Endpoint, q Query) ([]Reach, error) {
	if !ep.Addr.IsValid() {
		return nil, nil
	}
	ep = minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport)
	p := q.plain()
	rows, err := v.rows(endpointKey(ep, trackReach), p, p.limit)
	var out []Reach
	for _, h := range rows {
		w, err := decodeWhy(h.extra)
		if err != nil {
			return nil, err
		}
		r := Reach{Span: h.span(), Endpoint: ep, Name: w.name, FirstReason: w.first, LastReason: w.last}
		if r.Answered = string(h.value) == answered; !r.Answered {
			r.Status = minecanary.VerdictStatus(h.value)
		}
		out = append(out, r)
	}
	return out, err
}

// Proof gives what proved an endpoint to be a pool the last time, if anything did.
func (v *View) Proof(ep minecanary.Endpoint) (Proof, bool, error) {
	if !ep.Addr.IsValid() {
		return Proof{}, false, nil
	}
	ep = minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport)
	b, err := get(v.bucket(bucketProofs), bucketProofs, appendEndpoint(nil, ep))
	if err != nil || b == nil {
		return Proof{}, false, err
	}
	d := decoder{b: b}
	d.time()
	var p Proof
	if err := json.Unmarshal(d.b, &p); err != nil {
		return Proof{}, false, fmt.Errorf("read proof: %w", err)
	}
	return p, true, nil
}

// Bounds of documents.
const (
	// MaxDocKey bounds a bucket's name and a key, in bytes.
	MaxDocKey = 512
	// MaxDoc bounds a document: what the API takes in one request.
	MaxDoc = 1 << 20
)

// Doc is a small JSON document of somebody else, kept in the same file and the same transactions.
type Doc struct {
	Key  string
	JSON []byte
}

// docKey is where a document lies.
func docKey(bucket, key string) ([]byte, error) {
	if bucket == "" || len(bucket) > MaxDocKey || len(key) > MaxDocKey || strings.IndexByte(bucket, 0) >= 0 {
		return nil, fmt.Errorf("%w: %q is no bucket for the key %q", ErrInvalid, printable(bucket, MaxWord), printable(key, MaxWord))
	}
	return append(append([]byte(bucket), 0), key...), nil
}

// Get gives a copy of a document; nil if there is none.
func (v *View) Get(bucket, key string) ([]byte, error) {
	at, err := docKey(bucket, key)
	if err != nil {
		return nil, err
	}
	b, err := get(v.bucket(bucketDocs), bucketDocs, at)
	return bytes.Clone(b), err
}

// List gives copies of the documents of a bucket whose keys begin with prefix and come after the key after ("" is from the
// start), in the order of their keys, at most limit; 0 is DefaultLimit.
func (v *View) List(bucket, prefix, after string, limit int) ([]Doc, error) {
	head, err := docKey(bucket, prefix)
	if err != nil {
		return nil, err
	}
	from, err := docKey(bucket, max(prefix, after))
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = DefaultLimit
	}
	var out []Doc
	c := v.bucket(bucketDocs).Cursor()
	for at, stored := c.Seek(from); bytes.HasPrefix(at, head) && len(out) < limit; at, stored = c.Next() {
		key := string(at[len(bucket)+1:])
		if after != "" && key <= after {
			continue
		}
		b, err := opened(bucketDocs, at, stored)
		if err != nil {
			return nil, err
		}
		out = append(out, Doc{Key: key, JSON: bytes.Clone(b)})
	}
	return out, nil
}

// Put writes a document in place of the one that was there. The error wraps ErrInvalid if it is no JSON or breaks a bound.
func (tx *Tx) Put(bucket, key string, doc []byte) error {
	at, err := docKey(bucket, key)
	if err != nil {
		return err
	}
	if len(doc) > MaxDoc || !json.Valid(doc) {
		return fmt.Errorf("%w: %s/%s is no JSON document of at most %d bytes", ErrInvalid, printable(bucket, MaxWord), printable(key, MaxWord), MaxDoc)
	}
	return put(tx.bucket(bucketDocs), bucketDocs, at, doc)
}

// Delete removes a document, if it is there.
func (tx *Tx) Delete(bucket, key string) error {
	at, err := docKey(bucket, key)
	if err != nil {
		return err
	}
	return tx.bucket(bucketDocs).Delete(at)
}

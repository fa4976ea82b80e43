package redis

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// Bounds of the queue in Redis.
const (
	// queueSettle is how long an endpoint is refused after its answer was taken in, until every process has heard of the
	// verdict. It is shorter than the minute after which an endpoint is offered again that a budget refused.
	queueSettle = 15 * time.Second
	// maxName and maxWhy bound the texts of a question in bytes: a host name has at most 253 (RFC 1035 section 2.3.4
	// without the length octets). A longer name is left out, a longer reason cut off.
	maxName = 253
	maxWhy  = 512
	// queueTimeout bounds one call, tries included, where the client heeds contexts (ContextTimeoutEnabled).
	queueTimeout = 5 * time.Second
)

//go:embed queue_lapse.lua
var queueLapse string

//go:embed queue_offer.lua
var queueOffer string

//go:embed queue_take.lua
var queueTake string

//go:embed queue_done.lua
var queueDone string

//go:embed queue_counts.lua
var queueCounts string

// Queue is the probe queue that processes share (enrich.Queue): one script call each, all keys in one hash slot. Leases
// run by the server's clock, so that processes whose clocks differ agree on when they end. What is taken by a call whose
// reply is lost comes back when its lease ends. What Redis loses (a failover, FLUSHALL) is offered again by whoever sees
// the endpoint next.
type Queue struct {
	client                    goredis.UniversalClient
	keys                      []string
	owner                     string
	calls                     atomic.Uint64
	settle                    time.Duration
	shift                     func() time.Duration // of the clock; tests only
	offer, take, done, counts *goredis.Script
}

var _ enrich.Queue = (*Queue)(nil)

// NewQueue gives the queue whose keys begin with the prefix. It does no I/O.
func NewQueue(client goredis.UniversalClient, prefix string) *Queue {
	script := func(body string) *goredis.Script { return goredis.NewScript(queueLapse + body) }
	var keys []string
	for _, name := range []string{"waiting", "leased", "question", "token"} {
		keys = append(keys, prefix+"{queue}:"+name)
	}
	return &Queue{
		client: client, keys: keys, owner: rand.Text(), settle: queueSettle,
		shift: func() time.Duration { return 0 },
		offer: script(queueOffer), take: script(queueTake), done: script(queueDone), counts: script(queueCounts),
	}
}

// run calls a script with the arguments that all have and its own.
func (q *Queue) run(ctx context.Context, script *goredis.Script, what string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	args = append([]any{q.shift().Microseconds(), enrich.MaxQueued}, args...)
	reply, err := script.Run(ctx, q.client, q.keys, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("probe queue: %s: %w", what, err)
	}
	return reply, nil
}

// Offer implements enrich.Queue.
func (q *Queue) Offer(ctx context.Context, offers []enrich.Offer) (dropped int, err error) {
	args := make([]any, 0, 3*len(offers))
	for i := range offers {
		text, err := encodeQuestion(&offers[i].Question)
		if err != nil {
			return 0, fmt.Errorf("probe queue: offer of %s: %w", offers[i].Endpoint, err)
		}
		args = append(args, queueMember(offers[i].Endpoint), queueScore(offers[i].Points), text)
	}
	reply, err := q.run(ctx, q.offer, "offer", args...)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("probe queue: offer: strange reply %T", reply)
	}
	return int(n), nil
}

// Take implements enrich.Queue. What cannot be read is left to its lease, and told with what can.
func (q *Queue) Take(ctx context.Context, n int, renew []enrich.Lease) ([]enrich.Lease, error) {
	token := q.owner + "." + strconv.FormatUint(q.calls.Add(1), 36)
	args := append([]any{n, enrich.QueueLease.Microseconds(), token}, queueLeases(renew)...)
	reply, err := q.run(ctx, q.take, "take", args...)
	if err != nil {
		return nil, err
	}
	fields, ok := reply.([]any)
	if !ok || len(fields)%3 != 0 {
		return nil, fmt.Errorf("probe queue: take: strange reply %T", reply)
	}
	var leases []enrich.Lease
	for ; len(fields) > 0; fields = fields[3:] {
		o, err := decodeOffer(fields[0], fields[1], fields[2])
		if err != nil {
			// Somebody else has written here. It must not come up again and again.
			member, _ := fields[0].(string)
			_, _ = q.run(ctx, q.done, "done", 0, member, token)
			continue
		}
		leases = append(leases, enrich.Lease{Offer: o, Token: token})
	}
	return leases, nil
}

// Done implements enrich.Queue.
func (q *Queue) Done(ctx context.Context, leases []enrich.Lease) error {
	_, err := q.run(ctx, q.done, "done", append([]any{q.settle.Microseconds()}, queueLeases(leases)...)...)
	return err
}

// Counts implements enrich.Queue.
func (q *Queue) Counts(ctx context.Context) (enrich.QueueCounts, error) {
	reply, err := q.run(ctx, q.counts, "count")
	if err != nil {
		return enrich.QueueCounts{}, err
	}
	fields, _ := reply.([]any)
	if len(fields) != 2 {
		return enrich.QueueCounts{}, fmt.Errorf("probe queue: count: strange reply %T", reply)
	}
	waiting, _ := fields[0].(int64)
	leased, _ := fields[1].(int64)
	return enrich.QueueCounts{Waiting: int(waiting), Leased: int(leased)}, nil
}

// queueLeases gives members and tokens as arguments.
func queueLeases(leases []enrich.Lease) []any {
	args := make([]any, 0, 2*len(leases))
	for _, l := range leases {
		args = append(args, queueMember(l.Endpoint), l.Token)
	}
	return args
}

// queueScore gives minus the points, so that the lowest is the best.
func queueScore(points float64) string {
	switch {
	case math.IsNaN(points), math.IsInf(points, -1):
		return "+inf"
	case math.IsInf(points, 1):
		return "-inf"
	}
	return strconv.FormatFloat(-points, 'g', -1, 64)
}

// queueMember gives an endpoint as bytes that order as the endpoints do (Endpoint.Compare): the address's length and
// bytes, the port, the transport.
func queueMember(ep minecanary.Endpoint) string {
	addr := ep.Addr.AsSlice()
	b := append([]byte{byte(len(addr))}, addr...)
	b = binary.BigEndian.AppendUint16(b, ep.Port)
	return string(append(b, byte(ep.Transport)))
}

// errMember is the error of a member that is no endpoint.
var errMember = errors.New("no endpoint")

// queueEndpoint reads what queueMember wrote.
func queueEndpoint(s string) (minecanary.Endpoint, error) {
	b := []byte(s)
	if len(b) == 0 || len(b) != 1+int(b[0])+3 {
		return minecanary.Endpoint{}, errMember
	}
	n := int(b[0])
	addr, ok := netip.AddrFromSlice(b[1 : 1+n])
	if !ok {
		return minecanary.Endpoint{}, errMember
	}
	return minecanary.NewEndpoint(addr, binary.BigEndian.Uint16(b[1+n:]), minecanary.Transport(b[3+n])), nil
}

// queued is a question in Redis; the endpoint is the member.
type queued struct {
	Client    netip.Addr `json:"client"`
	Catalogue bool       `json:"catalogue,omitempty"`
	Reply     bool       `json:"reply,omitempty"`
	Payload   bool       `json:"payload,omitempty"`
	TLS       bool       `json:"tls,omitempty"`
	Name      string     `json:"name,omitempty"`
	First     string     `json:"first,omitempty"`
	Why       string     `json:"why,omitempty"`
}

func encodeQuestion(q *minecanary.Question) ([]byte, error) {
	v := queued{Client: q.Client, Catalogue: q.Catalogue, Reply: q.Reply, Payload: q.Payload, TLS: q.TLS, Name: q.Name, First: q.First, Why: q.Why}
	if len(v.Name) > maxName {
		v.Name = ""
	}
	if len(v.First) > maxName {
		v.First = ""
	}
	if len(v.Why) > maxWhy {
		v.Why = v.Why[:maxWhy]
	}
	return json.Marshal(v)
}

// decodeOffer reads an offer as the script gives it. What is too long is not ours.
func decodeOffer(member, score, question any) (o enrich.Offer, err error) {
	m, _ := member.(string)
	s, _ := score.(string)
	text, _ := question.(string)
	if o.Endpoint, err = queueEndpoint(m); err != nil {
		return o, err
	}
	points, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return o, err
	}
	o.Points = 0 - points
	var v queued
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return o, err
	}
	o.Client, o.Catalogue, o.Reply, o.Payload = v.Client, v.Catalogue, v.Reply, v.Payload
	o.TLS, o.Name, o.First, o.Why = v.TLS, v.Name, v.First, v.Why
	return o, nil
}

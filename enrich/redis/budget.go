package redis

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"net/netip"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
)

const (
	// maxAccounts bounds each table of budgets; a full one refuses newcomers until a place is free (prober.MaxTracked).
	maxAccounts = 1 << 16
	// purseTimeout bounds one call, tries included, where the client heeds contexts (ContextTimeoutEnabled). A probe
	// waits for it between its connections.
	purseTimeout = 3 * time.Second
)

//go:embed budget_common.lua
var purseCommon string

//go:embed budget_begin.lua
var purseBegin string

//go:embed budget_connect.lua
var purseConnect string

//go:embed budget_end.lua
var purseEnd string

// Cost is prober.Cost, a plain struct without a name of its own, as Grant is: so Purse is a prober.Purse though neither
// package imports the other.
type Cost = struct {
	ByHand                             bool
	Client                             netip.Addr
	Network                            netip.Prefix
	Endpoint                           minecanary.Endpoint
	PerClient, PerNetwork, PerEndpoint int
	Rate                               float64
	Burst                              int
	BackoffFirst, BackoffMax           time.Duration
}

// Grant is prober.Grant.
type Grant = struct {
	Refused string
	Full    bool
	Wait    time.Duration
	Tried   int
}

// Purse keeps the prober's budgets for all processes (prober.Purse): one script call each, all keys in one hash slot. The
// hours are those of the server's clock, so that processes whose clocks differ count the same hour. A call that is
// repeated because its reply was lost may take twice, never less than it should. What Redis loses (a failover, FLUSHALL)
// is counted anew.
type Purse struct {
	client              goredis.UniversalClient
	prefix              string
	size                int
	shift               func() time.Duration // of the clock; tests only
	begin, connect, end *goredis.Script
}

// NewPurse gives the purse whose keys begin with the prefix. It does no I/O.
func NewPurse(client goredis.UniversalClient, prefix string) *Purse {
	script := func(body string) *goredis.Script { return goredis.NewScript(purseCommon + body) }
	return &Purse{
		client: client, prefix: prefix + "{budget}:", size: maxAccounts,
		shift: func() time.Duration { return 0 },
		begin: script(purseBegin), connect: script(purseConnect), end: script(purseEnd),
	}
}

// run calls a script with the arguments that all have and its own.
func (p *Purse) run(ctx context.Context, script *goredis.Script, keys []string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, purseTimeout)
	defer cancel()
	return script.Run(ctx, p.client, keys, append([]any{p.shift().Microseconds(), p.size}, args...)...).Result()
}

// table gives the keys of a table and of an account in it.
func (p *Purse) table(name, account string) []string {
	return []string{p.prefix + name, p.prefix + name + ":" + account}
}

// Begin implements prober.Purse.
func (p *Purse) Begin(ctx context.Context, c Cost) (Grant, error) {
	keys := p.table("backoff", c.Endpoint.String())
	keys = append(keys, p.table("client", c.Client.String())...)
	keys = append(keys, p.table("network", c.Network.String())...)
	keys = append(keys, p.table("endpoint", c.Endpoint.String())...)
	keys = append(keys, p.prefix+"global")
	// A whole number of µs, rather a few too many: exact in the script, and never faster than the rate.
	every := int64(math.Ceil(1e6 / c.Rate))
	byHand := 0
	if c.ByHand {
		byHand = 1
	}
	reply, err := p.run(ctx, p.begin, keys, c.PerEndpoint, c.PerClient, c.PerNetwork, every, c.Burst, byHand)
	if err != nil {
		return Grant{}, fmt.Errorf("budgets: begin: %w", err)
	}
	return readGrant(reply)
}

// Connect implements prober.Purse.
func (p *Purse) Connect(ctx context.Context, c Cost) (Grant, error) {
	reply, err := p.run(ctx, p.connect, p.table("endpoint", c.Endpoint.String()), c.PerEndpoint)
	if err != nil {
		return Grant{}, fmt.Errorf("budgets: connect: %w", err)
	}
	return readGrant(reply)
}

// End implements prober.Purse.
func (p *Purse) End(ctx context.Context, c Cost, conclusive bool) (time.Duration, error) {
	over := 0
	if conclusive {
		over = 1
	}
	reply, err := p.run(ctx, p.end, p.table("backoff", c.Endpoint.String()), over, c.BackoffFirst.Microseconds(), c.BackoffMax.Microseconds())
	if err != nil {
		return 0, fmt.Errorf("budgets: end: %w", err)
	}
	wait, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("budgets: end: strange reply %T", reply)
	}
	return time.Duration(wait) * time.Microsecond, nil
}

// readGrant reads what the scripts return. What cannot be read is no yes.
func readGrant(reply any) (Grant, error) {
	fields, _ := reply.([]any)
	if len(fields) != 4 {
		return Grant{}, fmt.Errorf("budgets: strange reply %T", reply)
	}
	who, ok0 := fields[0].(string)
	full, ok1 := fields[1].(int64)
	wait, ok2 := fields[2].(int64)
	tried, ok3 := fields[3].(int64)
	if !ok0 || !ok1 || !ok2 || !ok3 || who != "" && wait < 0 {
		return Grant{}, fmt.Errorf("budgets: strange reply %v", fields)
	}
	g := Grant{Refused: who, Full: full == 1, Wait: time.Duration(wait) * time.Microsecond, Tried: int(tried)}
	if who != "" {
		g.Wait = max(g.Wait, time.Millisecond)
	}
	return g, nil
}

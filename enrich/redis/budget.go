package redis

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"strconv"
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
func (p *Purse) Begin(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	// The catalogue's tables are its own, next to those of suspects.
	own, who := "", minecanary.RefusedGlobal
	if c.Catalogue {
		own, who = "catalogue-", minecanary.RefusedCatalogue
	}
	keys := p.table("backoff", c.Endpoint.String())
	keys = append(keys, p.table("endpoint", c.Endpoint.String())...)
	keys = append(keys, p.prefix+who)
	// A whole number of µs, rather a few too many: exact in the script, and never faster than the rate.
	every := int64(math.Ceil(1e6 / c.Rate))
	byHand := 0
	if c.ByHand {
		byHand = 1
	}
	args := []any{c.PerEndpoint, byHand, who, every, c.Burst}
	charge := func(refused, table, account string, limit int) {
		keys = append(keys, p.table(table, account)...)
		args = append(args, refused, limit)
	}
	if !c.Catalogue {
		charge(minecanary.RefusedClient, "client", c.Client.String(), c.PerClient)
	}
	charge(minecanary.RefusedNetwork, own+"network", c.Network.String(), c.PerNetwork)
	if c.AS != 0 {
		charge(minecanary.RefusedAS, own+"as", strconv.FormatUint(uint64(c.AS), 10), c.PerAS)
	}
	reply, err := p.run(ctx, p.begin, keys, args...)
	if err != nil {
		return minecanary.ProbeGrant{}, fmt.Errorf("budgets: begin: %w", err)
	}
	return readGrant(reply)
}

// Connect implements prober.Purse.
func (p *Purse) Connect(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	reply, err := p.run(ctx, p.connect, p.table("endpoint", c.Endpoint.String()), c.PerEndpoint)
	if err != nil {
		return minecanary.ProbeGrant{}, fmt.Errorf("budgets: connect: %w", err)
	}
	return readGrant(reply)
}

// End implements prober.Purse.
func (p *Purse) End(ctx context.Context, c minecanary.ProbeCost, conclusive bool) (time.Duration, error) {
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
func readGrant(reply any) (minecanary.ProbeGrant, error) {
	fields, _ := reply.([]any)
	if len(fields) != 4 {
		return minecanary.ProbeGrant{}, fmt.Errorf("budgets: strange reply %T", reply)
	}
	who, ok0 := fields[0].(string)
	full, ok1 := fields[1].(int64)
	wait, ok2 := fields[2].(int64)
	tried, ok3 := fields[3].(int64)
	if !ok0 || !ok1 || !ok2 || !ok3 || who != "" && wait < 0 {
		return minecanary.ProbeGrant{}, fmt.Errorf("budgets: strange reply %v", fields)
	}
	g := minecanary.ProbeGrant{Refused: who, Full: full == 1, Wait: time.Duration(wait) * time.Microsecond, Tried: int(tried)}
	if who != "" {
		g.Wait = max(g.Wait, time.Millisecond)
	}
	return g, nil
}

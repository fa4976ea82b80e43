// Package redis is the suspect store of the distributed mode: suspects, positions, verdicts and the duty to decide
// windows live in Redis (6.2 or later, or Valkey; single, Sentinel or Cluster), so that any number of processes share
// them and any of them may be killed.
//
// The suspects are divided into shards by endpoint. The keys of a shard share a hash tag, so one script call adds a
// batch's suspects of a shard and stores the position they led to, both or neither. Redis may lose what it has accepted
// (failover, restored backup): then it loses both, the shard stands behind the others, and the partition is read again
// from there. No key is ever evicted: the server has to run with maxmemory-policy noeviction.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Mode is how Redis is run.
type Mode string

// The modes.
const (
	Single   Mode = "single"
	Sentinel Mode = "sentinel"
	Cluster  Mode = "cluster"
)

// ClientConfig is how Redis is reached.
type ClientConfig struct {
	Mode Mode
	// Addrs are host:port of the server, the sentinels, or some of the cluster's nodes.
	Addrs []string
	// Master is the name of the master that the sentinels watch.
	Master string
	// User and Password of the ACL user; "" is the default user without a password. SentinelUser and SentinelPassword
	// are those of the sentinels.
	User, Password                 string
	SentinelUser, SentinelPassword string
	// DB is the number of the database; 0 in a cluster.
	DB int
	// TLS is nil for none.
	TLS *tls.Config
	// Timeout bounds the wait for one answer. A batch of scripts has to fit in it.
	Timeout time.Duration
}

// Connect gives a client; it does no I/O yet.
func Connect(cfg ClientConfig) (redis.UniversalClient, error) {
	if len(cfg.Addrs) == 0 {
		return nil, errors.New("redis: no address")
	}
	for _, addr := range cfg.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
	}
	o := &redis.UniversalOptions{
		Addrs: cfg.Addrs, Username: cfg.User, Password: cfg.Password, SentinelUsername: cfg.SentinelUser,
		SentinelPassword: cfg.SentinelPassword, DB: cfg.DB, TLSConfig: cfg.TLS,
		ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout,
		// RESP 2: the scripts' answers need no more, and 6.2 speaks it in all its forms.
		Protocol: 2, DisableIdentity: true,
		// The store tries again by itself, and knows what a repeated call means.
		MaxRetries: -1, ContextTimeoutEnabled: true,
	}
	switch cfg.Mode {
	case Single:
		if len(cfg.Addrs) > 1 {
			return nil, errors.New("redis: several addresses of a single server")
		}
	case Sentinel:
		if cfg.Master == "" {
			return nil, errors.New("redis: no name of the master that the sentinels watch")
		}
		o.MasterName = cfg.Master
	case Cluster:
		if cfg.DB != 0 {
			return nil, errors.New("redis: a cluster has only database 0")
		}
		o.IsClusterMode = true
		o.MaxRedirects = 8
	default:
		return nil, fmt.Errorf("redis: unknown mode %q", cfg.Mode)
	}
	redis.SetLogger(silence{}) // there is one for all clients
	return redis.NewUniversalClient(o), nil
}

// noEviction is the only maxmemory-policy that takes no key away behind our back.
const noEviction = "noeviction"

// ErrUnfit says that a server cannot hold the state, however often it is asked.
var ErrUnfit = errors.New("redis cannot hold the state")

// Check asks the servers whether they can hold the state: it gives ErrUnfit if one could evict keys, or is too old.
func Check(ctx context.Context, client redis.UniversalClient) error {
	check := func(ctx context.Context, c *redis.Client) error {
		info, err := c.Info(ctx, "server", "memory").Result()
		if err != nil {
			return err
		}
		field := func(name string) string {
			for line := range strings.Lines(info) {
				if v, ok := strings.CutPrefix(line, name+":"); ok {
					return strings.TrimSpace(v)
				}
			}
			return ""
		}
		if policy := field("maxmemory_policy"); policy != "" && policy != noEviction {
			return fmt.Errorf("%w: its maxmemory-policy is %s, so it would take suspects away unnoticed; it must be %s", ErrUnfit, policy, noEviction)
		}
		var major, minor int
		if n, _ := fmt.Sscanf(field("redis_version"), "%d.%d", &major, &minor); n == 2 && (major < 6 || major == 6 && minor < 2) {
			return fmt.Errorf("%w: its version %d.%d is older than 6.2", ErrUnfit, major, minor)
		}
		return nil
	}
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, check)
	case *redis.Client:
		return check(ctx, c)
	}
	return nil
}

// backoff waits longer each time, and not at all when the context ends.
type backoff struct{ wait time.Duration }

const (
	firstWait = 20 * time.Millisecond
	lastWait  = 2 * time.Second
)

func (b *backoff) sleep(ctx context.Context) error {
	b.wait = min(max(firstWait, 2*b.wait), lastWait)
	t := time.NewTimer(b.wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// passing are errors of commands that time cures. Before version 7 a server wraps them in that of the script.
var passing = []string{
	outOfMemoryText, "-READONLY ", "-LOADING ", "-MISCONF ", "-NOREPLICAS ", "-CLUSTERDOWN ", "-MASTERDOWN ", "-BUSY ", "-TRYAGAIN ",
}

const outOfMemoryText = "OOM command not allowed"

// outOfMemory tells that a server has reached its maxmemory.
func outOfMemory(err error) bool { return strings.Contains(err.Error(), outOfMemoryText) }

// permanent tells errors that trying again will not cure: those of credentials and of the scripts themselves, and that
// the client was closed.
func permanent(err error) bool {
	text := err.Error()
	if slices.ContainsFunc(passing, func(p string) bool { return strings.Contains(text, p) }) {
		return false
	}
	if errors.Is(err, redis.ErrClosed) {
		return true
	}
	return slices.ContainsFunc([]string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR Error running script", "ERR user_script", "ERR unknown command", "WRONGTYPE"}, func(p string) bool {
		return strings.HasPrefix(text, p)
	})
}

// random gives n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

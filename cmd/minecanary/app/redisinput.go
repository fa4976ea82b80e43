package app

import (
	"context"
	"crypto/tls"
	"log/slog"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	eve "github.com/minecanary/minecanary/consumer/redis"
	"github.com/minecanary/minecanary/enrich/redis"
)

// openRedisInput gives the list or stream that Suricata writes.
func (s *service) openRedisInput(positions map[string]minecanary.Position) (localInput, error) {
	c := s.cfg.Input
	var t *tls.Config
	if c.RedisTLS {
		var err error
		if t, err = tlsConfig("input.redis", c.RedisCA, "", "", false); err != nil {
			return nil, err
		}
	}
	client, err := redis.Connect(redis.ClientConfig{
		Mode: redis.Single, Addrs: []string{c.Redis}, User: c.RedisUser, Password: c.RedisPassword, DB: c.RedisDB, TLS: t, Timeout: redisTimeout,
	})
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, client)
	failed := func(err error) {
		s.status.inputErrors.Inc()
		s.quiet.tell("input"+err.Error(), func() { s.log.Warn("input", slog.Any("error", err)) })
	}
	var from reader = redis.NewList(client, c.RedisKey, eve.Mode(c.RedisMode) == eve.RPush, failed)
	if eve.Mode(c.RedisMode) == eve.XAdd {
		from = redis.NewStream(client, c.RedisKey)
	}
	return eve.New(eve.Config{
		Client: redisInput{from}, Key: c.RedisKey, Start: positions[eve.Partition(c.RedisKey)],
		OnError: failed,
	}), nil
}

// reader is a list or stream as the driver's package reads it.
type reader interface {
	Read(ctx context.Context, after minecanary.Position, n int) (from minecanary.Position, entries []redis.InputEntry, err error)
	Safe(ctx context.Context, upTo minecanary.Position) error
}

// redisInput lets the source read through the driver's package.
type redisInput struct{ reader }

// Read implements the source's Client.
func (r redisInput) Read(ctx context.Context, after consumer.Position, n int) (consumer.Position, []eve.Entry, error) {
	from, got, err := r.reader.Read(ctx, after, n)
	entries := make([]eve.Entry, len(got))
	for i, e := range got {
		entries[i] = eve.Entry{Next: e.Next, Data: e.Data}
	}
	return from, entries, err
}

// idle is an input that brings nothing.
type idle struct{}

// Connect implements consumer.Source.
func (idle) Connect(context.Context) error { return nil }

// Read implements consumer.Source: it waits for the end.
func (idle) Read(ctx context.Context) (consumer.Batch, consumer.AckFunc, error) {
	<-ctx.Done()
	return consumer.Batch{}, nil, ctx.Err()
}

// Close implements consumer.Source.
func (idle) Close() error { return nil }

// AtEnd is always so.
func (idle) AtEnd(string) bool { return true }

// Partitions names none.
func (idle) Partitions() []string { return nil }

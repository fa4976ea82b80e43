package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
)

// readVerdicts reads the verdicts of shards whose version is not the one this process knows. Confirmed ones that Redis has
// lost it keeps again.
func (s *Store) readVerdicts(ctx context.Context, shards []int) error {
	now := s.cfg.Now()
	lost := map[int][]any{}
	err := s.run(ctx, len(shards), func(p redis.Pipeliner, k int) redis.Cmder {
		return p.HGetAll(ctx, s.key(shards[k], "v"))
	}, func(k int, cmd redis.Cmder) error {
		sh := &s.shards[shards[k]]
		all := cmd.(*redis.MapStringStringCmd).Val()
		fresh := make(map[minecanary.Endpoint]verdict, len(all))
		confirmed, changed := 0, false
		for name, raw := range all {
			ep, ok := readEndpoint([]byte(name))
			if !ok {
				continue
			}
			v := verdict{raw: raw}
			if err := json.Unmarshal([]byte(raw), &v.Verdict); err != nil {
				return fmt.Errorf("redis: the verdict of %s: %w", ep, err)
			}
			v.Endpoint = ep
			fresh[ep] = v
			if v.Status == minecanary.Confirmed {
				confirmed++
				changed = changed || sh.verdicts[ep].raw != raw
			}
		}
		for ep, v := range sh.verdicts {
			if v.Status != minecanary.Confirmed {
				continue
			}
			confirmed--
			// Nobody takes one away that is valid, or puts an older one in its place: Redis was set back.
			if have, ok := fresh[ep]; v.Valid(now) && (!ok || have.At.Before(v.At)) {
				lost[shards[k]] = append(lost[shards[k]], string(appendEndpoint(nil, ep)), have.raw, v.raw)
				if have.Status != minecanary.Confirmed {
					confirmed++
				}
				fresh[ep] = v
			}
		}
		if changed || confirmed != 0 {
			s.version++
		}
		sh.verdicts, sh.version = fresh, all[""]
		return nil
	})
	if err != nil {
		return err
	}
	for shard, triples := range lost {
		if _, err := s.changeVerdicts(ctx, shard, triples); err != nil {
			return err
		}
	}
	return nil
}

// Verdict implements enrich.Store. It answers from what this process knows, which every answer of Redis brings up to date.
func (s *Store) Verdict(_ context.Context, ep minecanary.Endpoint) (minecanary.Verdict, bool, error) {
	var buf [16 + 3]byte
	v, ok := s.shards[shardOf(appendEndpoint(buf[:0], ep), s.cfg.Shards)].verdicts[ep]
	return v.Verdict, ok, nil
}

// PutVerdict implements enrich.Store. Other processes see it with their next batch that touches the shard.
func (s *Store) PutVerdict(ctx context.Context, v minecanary.Verdict) error {
	if !v.Endpoint.Addr.IsValid() {
		return errors.New("verdict without an endpoint")
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("verdict of %s: %w", v.Endpoint, err)
	}
	endpoint := appendEndpoint(nil, v.Endpoint)
	i := shardOf(endpoint, s.cfg.Shards)
	n, err := s.changeVerdicts(ctx, i, []any{string(endpoint), "*", raw})
	if err != nil {
		return err
	}
	sh := &s.shards[i]
	if v.Status == minecanary.Confirmed || sh.verdicts[v.Endpoint].Status == minecanary.Confirmed {
		s.version++
	}
	sh.verdicts[v.Endpoint] = verdict{v, string(raw)}
	if n > int64(max(1, MaxVerdicts/s.cfg.Shards)) {
		return s.trimVerdicts(ctx, i)
	}
	return nil
}

// changeVerdicts calls the script with triples of endpoint, what was read, and what it becomes; it gives the number of
// verdicts in the shard.
func (s *Store) changeVerdicts(ctx context.Context, shard int, triples []any) (n int64, err error) {
	err = s.run(ctx, 1, func(p redis.Pipeliner, _ int) redis.Cmder {
		return verdictScript.EvalSha(ctx, p, []string{s.key(shard, "v")}, append([]any{random(8)}, triples...)...)
	}, func(_ int, cmd redis.Cmder) error {
		n, err = cmd.(*redis.Cmd).Int64()
		return err
	})
	return n, err
}

// trimVerdicts gives up the verdicts of a shard that are not confirmed and expire first, one in dropShare.
func (s *Store) trimVerdicts(ctx context.Context, shard int) error {
	if err := s.readVerdicts(ctx, []int{shard}); err != nil {
		return err
	}
	var all []verdict
	for _, v := range s.shards[shard].verdicts {
		if v.Status != minecanary.Confirmed {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b verdict) int {
		return cmp.Or(a.Expires.Compare(b.Expires), a.Endpoint.Compare(b.Endpoint))
	})
	all = all[:min(len(all), max(1, len(all)/dropShare))]
	s.droppedVerdicts += uint64(len(all))
	return s.removeVerdicts(ctx, shard, all)
}

func (s *Store) removeVerdicts(ctx context.Context, shard int, list []verdict) error {
	if len(list) == 0 {
		return nil
	}
	var triples []any
	for _, v := range list {
		triples = append(triples, string(appendEndpoint(nil, v.Endpoint)), v.raw, "")
	}
	if _, err := s.changeVerdicts(ctx, shard, triples); err != nil {
		return err
	}
	return s.readVerdicts(ctx, []int{shard})
}

// Verdicts implements enrich.Store.
func (s *Store) Verdicts(ctx context.Context) ([]minecanary.Verdict, error) {
	var unknown []int
	for i := range s.shards {
		if s.shards[i].version == "" {
			unknown = append(unknown, i)
		}
	}
	if err := s.readVerdicts(ctx, unknown); err != nil {
		return nil, err
	}
	var out []minecanary.Verdict
	for i := range s.shards {
		for _, v := range s.shards[i].verdicts {
			out = append(out, v.Verdict)
		}
	}
	slices.SortFunc(out, func(a, b minecanary.Verdict) int { return a.Endpoint.Compare(b.Endpoint) })
	return out, nil
}

// VerdictsVersion implements enrich.Store.
func (s *Store) VerdictsVersion() uint64 { return s.version }

// DropVerdicts implements enrich.Store.
func (s *Store) DropVerdicts(ctx context.Context, before time.Time) error {
	for i := range s.shards {
		var list []verdict
		for _, v := range s.shards[i].verdicts {
			if v.Expires.Before(before) {
				list = append(list, v)
			}
		}
		if err := s.removeVerdicts(ctx, i, list); err != nil {
			return err
		}
	}
	return nil
}

package redis

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary/enrich"
)

// The times of shared facts.
const (
	// factsTTL is how long facts stay when nobody adds any.
	factsTTL = 30 * 24 * time.Hour
	// factsPause is the wait between attempts while the server is away.
	factsPause = 500 * time.Millisecond
	// maxWeakFacts is how many of the facts are of those that anybody can have a sensor see.
	maxWeakFacts = enrich.MaxFacts / 4
	// maxFactsRead is how many facts are read at once.
	maxFactsRead = 1000
)

var (
	//go:embed facts_put.lua
	factsPutText   string
	factsPutScript = redis.NewScript(factsPutText)
)

// Facts shares what sightings say (enrich.Facts). What anybody can have a sensor see is kept apart from the rest, so that it
// pushes nothing else out. Each of the two has a hash with a fact for each key, an index of keys by the version that last
// changed them, and the version.
type Facts struct {
	client  redis.UniversalClient
	kept    [2]factKeys
	failing func(error)
}

// factKeys are the keys of facts that are kept together, and how many there may be.
type factKeys struct {
	hash, index, version string
	most                 int
}

// NewFacts gives the facts under a prefix. failing hears of attempts that failed. It does no I/O.
func NewFacts(client redis.UniversalClient, prefix string, failing func(error)) *Facts {
	keys := func(name string, most int) factKeys {
		name = prefix + "{all}facts:" + name
		return factKeys{name, name + ":index", name + ":version", most}
	}
	return &Facts{client, [2]factKeys{keys("weak", maxWeakFacts), keys("strong", enrich.MaxFacts-maxWeakFacts)}, failing}
}

// Put implements enrich.FactKeeper. It tries until the facts are there or ctx ends.
func (f *Facts) Put(ctx context.Context, facts []enrich.Fact) error {
	for i, keys := range f.kept {
		args := []any{keys.most, int(factsTTL.Seconds())}
		put := func() error {
			if len(args) == 2 {
				return nil
			}
			err := f.insist(ctx, func() error {
				return factsPutScript.Run(ctx, f.client, []string{keys.hash, keys.index, keys.version}, args...).Err()
			})
			args = args[:2]
			return err
		}
		for k := range facts {
			if weak := facts[k].Weight() == 0; weak != (i == 0) {
				continue
			}
			text, err := json.Marshal(&facts[k])
			if err != nil {
				return fmt.Errorf("write a fact: %w", err)
			}
			if args = append(args, facts[k].Key(), text); len(args) >= 2*maxFactsRead {
				if err := put(); err != nil {
					return err
				}
			}
		}
		if err := put(); err != nil {
			return err
		}
	}
	return nil
}

// halves takes a version apart: it is made of those of both kinds.
func halves(version uint64) [2]uint64 { return [2]uint64{version >> 32, version & 0xffffffff} }

// Since implements enrich.FactKeeper. Asked for all it tries until it has them; later what fails is left for the next
// time.
func (f *Facts) Since(ctx context.Context, version uint64) (facts []enrich.Fact, now uint64, err error) {
	ask := func() error {
		facts, now = nil, 0
		for i, keys := range f.kept {
			some, at, err := f.since(ctx, keys, halves(version)[i])
			if err != nil {
				return fmt.Errorf("read shared facts: %w", err)
			}
			facts = append(facts, some...)
			now = now<<32 | at&0xffffffff
		}
		return nil
	}
	if version == 0 {
		err = f.insist(ctx, ask)
		return facts, now, err
	}
	if err := ask(); err != nil {
		f.failing(err)
		return nil, version, nil
	}
	return facts, now, nil
}

func (f *Facts) since(ctx context.Context, keys factKeys, version uint64) (facts []enrich.Fact, now uint64, err error) {
	now, err = f.client.Get(ctx, keys.version).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, version, err
	}
	if now < version {
		version = 0 // they were lost with everything else
	}
	if now == version {
		return nil, now, nil
	}
	list, err := f.client.ZRangeByScore(ctx, keys.index, &redis.ZRangeBy{Min: fmt.Sprintf("(%d", version), Max: strconv.FormatUint(now, 10)}).Result()
	if err != nil {
		return nil, version, err
	}
	for len(list) > 0 {
		some := list[:min(len(list), maxFactsRead)]
		list = list[len(some):]
		values, err := f.client.HMGet(ctx, keys.hash, some...).Result()
		if err != nil {
			return nil, version, err
		}
		for _, v := range values {
			text, ok := v.(string)
			if !ok {
				continue // it left meanwhile
			}
			var fact enrich.Fact
			if err := json.Unmarshal([]byte(text), &fact); err != nil {
				f.failing(fmt.Errorf("a shared fact cannot be read: %w", err))
				continue
			}
			facts = append(facts, fact)
		}
	}
	return facts, now, nil
}

// insist tries again until it works or ctx ends.
func (f *Facts) insist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.failing(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(factsPause):
		}
	}
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxLists bounds the allow and the block list together, as they are shared, in bytes.
const MaxLists = 16 << 20

// ErrListsTooLong says that lists are longer than MaxLists.
var ErrListsTooLong = fmt.Errorf("the lists are longer than %d bytes", MaxLists)

// ListTexts are the texts of the allow and the block list.
type ListTexts struct{ Allow, Block []byte }

// Lists shares what people said of endpoints beforehand: the newest that any process was started with holds for all.
type Lists struct {
	client redis.UniversalClient
	key    string
}

// NewLists gives the lists under a prefix. It does no I/O.
func NewLists(client redis.UniversalClient, prefix string) *Lists {
	return &Lists{client, prefix + "{all}lists"}
}

// offerLists keeps texts unless newer ones are there; of the same time the greater version holds.
var offerLists = redis.NewScript(`
local have = redis.call('HMGET', KEYS[1], 'at', 'version')
local at = tonumber(have[1] or '-1')
if tonumber(ARGV[1]) < at or tonumber(ARGV[1]) == at and ARGV[2] <= have[2] then return 0 end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'version', ARGV[2], 'allow', ARGV[3], 'block', ARGV[4])
return 1`)

// Offer shares texts of which the newest file is of the given time. version tells texts apart, such as their hash.
func (l *Lists) Offer(ctx context.Context, texts ListTexts, version string, at time.Time) error {
	if len(texts.Allow)+len(texts.Block) > MaxLists {
		return ErrListsTooLong
	}
	err := offerLists.Run(ctx, l.client, []string{l.key}, at.UnixMilli(), version, texts.Allow, texts.Block).Err()
	if err != nil {
		return fmt.Errorf("share lists: %w", err)
	}
	return nil
}

// Get gives the texts that hold and their version, unless it is the one already known; "" if there are none.
func (l *Lists) Get(ctx context.Context, known string) (texts ListTexts, version string, err error) {
	version, err = l.client.HGet(ctx, l.key, "version").Result()
	if errors.Is(err, redis.Nil) {
		return texts, "", nil
	}
	if err == nil && version != known {
		var all []any
		if all, err = l.client.HMGet(ctx, l.key, "version", "allow", "block").Result(); err == nil {
			text := func(i int) string { s, _ := all[i].(string); return s }
			version, texts.Allow, texts.Block = text(0), []byte(text(1)), []byte(text(2))
		}
	}
	if err != nil {
		return texts, "", fmt.Errorf("read the shared lists: %w", err)
	}
	return texts, version, nil
}

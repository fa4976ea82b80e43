package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// format is the version of what is stored. Another one needs another prefix.
const format = 1

// Agree makes sure that the state was made with the settings of this process: it gives ErrUnfit if not, as windows and
// shards would mean something else. The first process decides.
func (s *Store) Agree(ctx context.Context) error {
	key := s.key(-1, "settings")
	for _, f := range []struct {
		name, setting string
		value         int64
	}{
		{"format", "the version of minecanary", format},
		{"shards", "the number of shards", int64(s.cfg.Shards)},
		{"report", "report.window (microseconds)", s.report},
		{"inactive", "suspect.inactive (microseconds)", s.cfg.Inactive.Microseconds()},
	} {
		if err := s.client.HSetNX(ctx, key, f.name, f.value).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		have, err := s.client.HGet(ctx, key, f.name).Result()
		if errors.Is(err, redis.Nil) {
			continue // lost this moment
		}
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		if have != strconv.FormatInt(f.value, 10) {
			return fmt.Errorf("%w: the state under the prefix %q was made with another value of %s, %s and not %d; take another redis.prefix or the old value", ErrUnfit, s.cfg.Prefix, f.setting, have, f.value)
		}
	}
	return nil
}

// silence keeps go-redis from writing to standard error by itself: what it has to say comes as errors as well.
type silence struct{}

// Printf implements the driver's logging.
func (silence) Printf(context.Context, string, ...any) {}

package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
)

// InputEntry is a line that somebody wrote into Redis, with the position behind it.
type InputEntry struct {
	Next minecanary.Position
	Data []byte
}

// List reads a list that Suricata pushes to. How many entries were cut off stands in a key beside the list. It belongs to
// one goroutine but for Safe.
type List struct {
	client     redis.UniversalClient
	key, taken string
	// right tells that new entries are pushed to the right end.
	right bool
	warn  func(error)
	// known is the greatest number that the key is known to have had.
	known atomic.Int64
}

// NewList gives the list of a key; right tells that entries are pushed by RPUSH. warn hears of losses. It does no I/O.
func NewList(client redis.UniversalClient, key string, right bool, warn func(error)) *List {
	return &List{client: client, key: key, taken: "{" + key + "}:minecanary:taken", right: right, warn: warn}
}

// listRead gives the number of the first entry there is, and entries behind a number. What was cut off according to the
// key, and according to whoever asks, may differ after a loss of either. If the key has less than it is known to have
// had, Redis has gone back (it was restored from a file): which of the entries were read is not known then, and all are
// taken for new ones.
var listRead = redis.NewScript(`
local taken = tonumber(redis.call('GET', KEYS[2]) or '-1')
local after, n, known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local len = redis.call('LLEN', KEYS[1])
local back = 0
if taken >= 0 and taken < known then back = 1 end
if taken < 0 or back == 1 or after > taken + len then
  if taken >= 0 then back = 1 end
  taken = after
  redis.call('SET', KEYS[2], string.format('%.0f', taken))
end
if after < taken then after = taken end
local skip = after - taken
local got
if ARGV[3] == 'right' then
  got = redis.call('LRANGE', KEYS[1], skip, skip + n - 1)
else
  got = redis.call('LRANGE', KEYS[1], -(skip + n), -(skip + 1))
end
return {string.format('%.0f', after), got, back, string.format('%.0f', taken)}`)

// listSafe cuts off what is before a number, if all of that is there.
var listSafe = redis.NewScript(`
local taken = tonumber(redis.call('GET', KEYS[2]) or '-1')
local up = tonumber(ARGV[1])
if taken < 0 or up <= taken or up > taken + redis.call('LLEN', KEYS[1]) or taken < tonumber(ARGV[3]) then return 0 end
if ARGV[2] == 'right' then
  redis.call('LTRIM', KEYS[1], up - taken, -1)
else
  redis.call('LTRIM', KEYS[1], 0, -(up - taken + 1))
end
redis.call('SET', KEYS[2], string.format('%.0f', up))
return up - taken`)

func (l *List) side() string {
	if l.right {
		return "right"
	}
	return "left"
}

// Read gives the entries behind a position, the oldest first, at most n, and where they begin.
func (l *List) Read(ctx context.Context, after minecanary.Position, n int) (from minecanary.Position, entries []InputEntry, err error) {
	got, err := listRead.Run(ctx, l.client, []string{l.key, l.taken}, after.Offset, n, l.side(), l.known.Load()).Slice()
	if err != nil {
		return after, nil, err
	}
	begin, ok1 := got[0].(string)
	lines, ok2 := got[1].([]any)
	back, ok3 := got[2].(int64)
	number, ok4 := got[3].(string)
	from.Offset, err = strconv.ParseInt(begin, 10, 64)
	taken, err2 := strconv.ParseInt(number, 10, 64)
	if !ok1 || !ok2 || !ok3 || !ok4 || err != nil || err2 != nil {
		return after, nil, fmt.Errorf("%s: unexpected answer", l.key)
	}
	if back == 1 {
		l.warn(fmt.Errorf("%s: Redis has gone back to an earlier state: events may be missing or come twice (appendonly yes keeps them)", l.key))
	}
	l.known.Store(taken)
	for i := range lines {
		line, _ := lines[i].(string)
		if !l.right {
			line, _ = lines[len(lines)-1-i].(string) // the oldest is the last
		}
		entries = append(entries, InputEntry{minecanary.Position{Offset: from.Offset + int64(i) + 1}, []byte(line)})
	}
	return from, entries, nil
}

// Safe cuts the list off behind a position.
func (l *List) Safe(ctx context.Context, upTo minecanary.Position) error {
	cut, err := listSafe.Run(ctx, l.client, []string{l.key, l.taken}, upTo.Offset, l.side(), l.known.Load()).Int64()
	if err == nil && cut > 0 {
		l.known.Store(max(l.known.Load(), upTo.Offset))
	}
	return err
}

// Stream reads a stream that Suricata adds to. It is left as it is.
type Stream struct {
	client redis.UniversalClient
	key    string
}

// NewStream gives the stream of a key. It does no I/O.
func NewStream(client redis.UniversalClient, key string) *Stream { return &Stream{client, key} }

// streamWait is how long a stream without news is waited for.
const streamWait = 200 * time.Millisecond

// Read gives the entries behind an ID, at most n. Each entry's first field is the line.
func (s *Stream) Read(ctx context.Context, after minecanary.Position, n int) (from minecanary.Position, entries []InputEntry, err error) {
	id := fmt.Sprintf("%d-%d", after.Generation, after.Offset)
	got, err := s.client.XRead(ctx, &redis.XReadArgs{Streams: []string{s.key, id}, Count: int64(n), Block: streamWait}).Result()
	if errors.Is(err, redis.Nil) {
		return after, nil, nil
	}
	if err != nil {
		return after, nil, err
	}
	for _, stream := range got {
		for _, m := range stream.Messages {
			e := InputEntry{}
			if e.Next, err = streamID(m.ID); err != nil {
				return after, nil, err
			}
			for _, v := range m.Values {
				if text, ok := v.(string); ok && (e.Data == nil || strings.HasPrefix(text, "{")) {
					e.Data = []byte(text)
				}
			}
			entries = append(entries, e)
		}
	}
	return after, entries, nil
}

// Safe does nothing: whoever writes a stream bounds it.
func (s *Stream) Safe(context.Context, minecanary.Position) error { return nil }

// streamID reads "milliseconds-number".
func streamID(id string) (p minecanary.Position, err error) {
	ms, number, ok := strings.Cut(id, "-")
	if ok {
		p.Generation, err = strconv.ParseUint(ms, 10, 64)
	}
	if ok && err == nil {
		p.Offset, err = strconv.ParseInt(number, 10, 64)
	}
	if !ok || err != nil {
		return p, fmt.Errorf("%q is no ID of a stream", id)
	}
	return p, nil
}

-- Tells events and ends claims. KEYS: events, meta, claims that end. ARGV: who, the most events, the most bytes, seconds to
-- live, events.
-- A version is the time in µs, or one more than the last: so none comes twice after a server has lost the last events.
local meta = KEYS[2]
local function whole(n) return string.format('%.0f', n) end
if #ARGV > 4 then
  local last = tonumber(redis.call('HGET', meta, 'last') or '0')
  local time = redis.call('TIME')
  local bytes = 0
  for i = 5, #ARGV do
    last = math.max(last + 1, time[1] * 1000000 + time[2])
    local member = whole(last) .. ' ' .. ARGV[i]
    redis.call('ZADD', KEYS[1], whole(last), member)
    bytes = bytes + #member
  end
  redis.call('HSET', meta, 'last', whole(last))
  bytes = redis.call('HINCRBY', meta, 'bytes', bytes)
  local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2])
  while over > 0 or bytes > tonumber(ARGV[3]) do
    local old = redis.call('ZPOPMIN', KEYS[1])
    if not old[1] then
      redis.call('HSET', meta, 'bytes', '0') -- the events went without the count
      break
    end
    bytes = redis.call('HINCRBY', meta, 'bytes', -#old[1])
    over = over - 1
  end
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  redis.call('EXPIRE', meta, ARGV[4])
end
for i = 3, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then
    redis.call('DEL', KEYS[i])
  end
end
return 1

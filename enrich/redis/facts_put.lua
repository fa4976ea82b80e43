-- Keeps facts. KEYS: hash, index, version. ARGV: the most that are kept, seconds to live, then key and text of each.
local version = redis.call('INCR', KEYS[3])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], version, ARGV[i])
end
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[1])
while over > 0 do
  local old = redis.call('ZPOPMIN', KEYS[2], math.min(over, 1000))
  for i = 1, #old, 2 do
    redis.call('HDEL', KEYS[1], old[i])
  end
  over = over - 1000
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return version

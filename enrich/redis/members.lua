-- Counts the processes that live.
-- KEYS: their set, the sensors. ARGV: the process's name, milliseconds that it counts as alive ("0" takes it out).
-- Replies: {processes, how many of them have a lesser name, what the hash of sensors is called}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now) -- it needs no memory; see settle.lua
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
local rank, all = 0, redis.call('ZRANGE', KEYS[1], 0, -1)
for _, name in ipairs(all) do
  if name < ARGV[1] then rank = rank + 1 end
end
return {#all, rank, redis.call('HGET', KEYS[2], '0') or ''}

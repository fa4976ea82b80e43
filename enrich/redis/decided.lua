-- Notes that the windows before a limit were decided in a shard.
-- KEYS: the shard's meta hash. ARGV: incarnation, limit, the count of reopenings that the decision has seen, the name of
--       the process.
local meta = KEYS[1]
redis.call('HDEL', meta, '-') -- see settle.lua
local m = redis.call('HMGET', meta, 'i', 'w', 'a', 't')
if m[1] ~= ARGV[1] then return 0 end
local limit = tonumber(ARGV[2])
if limit > tonumber(m[2] or '0') then redis.call('HSET', meta, 'w', limit) end
redis.call('HSET', meta, 's', ARGV[3])
-- What came meanwhile has to be decided yet.
if m[4] and tonumber(m[4]) < limit then redis.call('HINCRBY', meta, 'r', 1) end
if m[3] == ARGV[4] then redis.call('HDEL', meta, 'a', 'b', 't') end
return 1

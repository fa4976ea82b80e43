-- Keeps or drops verdicts of one shard and gives the whole a new version.
-- KEYS: the shard's verdicts. ARGV: the new version, then for each the endpoint, what was read ("*" for whatever, ""
--       for nothing), and
--       what it becomes ("" drops it).
redis.call('HDEL', KEYS[1], '-') -- see settle.lua
for i = 2, #ARGV, 3 do
  if ARGV[i + 1] == '*' or (redis.call('HGET', KEYS[1], ARGV[i]) or '') == ARGV[i + 1] then
    if ARGV[i + 2] == '' then
      redis.call('HDEL', KEYS[1], ARGV[i])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    end
  end
end
redis.call('HSET', KEYS[1], '', ARGV[1])
return redis.call('HLEN', KEYS[1]) - 1

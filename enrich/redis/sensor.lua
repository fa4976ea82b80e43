-- Gives a sensor its number: the first free one from that which its name leads to, so that the numbers are likely the same
-- after the hash was lost.
-- KEYS: the hash of sensors, number to name; 0 is what the hash is called. ARGV: the name, its number (1 to 65535), the most
--       sensors there may be, what to call a new hash.
-- Replies: the number, 0 if there is no room.
redis.call('HDEL', KEYS[1], '-') -- see settle.lua
local n = tonumber(ARGV[2])
while true do
  local name = redis.call('HGET', KEYS[1], n)
  if name == ARGV[1] then return n end
  if not name then break end
  n = n % 65535 + 1
end
redis.call('HSETNX', KEYS[1], '0', ARGV[4])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], n, ARGV[1])
return n

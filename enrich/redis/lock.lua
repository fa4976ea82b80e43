-- Takes a lock, keeps it for longer, or gives it back.
-- KEYS: the lock. ARGV: the process's name, milliseconds that it holds ("0" gives it back).
-- Replies: 1 if it is the process's.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1]) -- it needs no memory; see settle.lua
if ARGV[2] == '0' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

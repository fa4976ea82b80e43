-- Notes that the windows of a shard are being decided: until decided.lua says what was, data of windows that may be among
-- them is marked (apply.lua).
-- KEYS: the shard's meta hash. ARGV: incarnation, the window before which all of them lie, the name of the process.
local meta = KEYS[1]
redis.call('HDEL', meta, '-') -- see settle.lua
if redis.call('HGET', meta, 'i') ~= ARGV[1] then return 0 end
redis.call('HDEL', meta, 't')
redis.call('HSET', meta, 'a', ARGV[3], 'b', ARGV[2])
return 1

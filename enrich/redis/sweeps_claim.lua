-- Claims a key unless another process has it. KEYS: the claim, meta. ARGV: who, µs to hold.
-- Returns 1 or 0, and the version of the newest event.
local ms = math.ceil(tonumber(ARGV[2]) / 1000)
local mine = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ms)
if not mine and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ms)
  mine = true
end
return {mine and 1 or 0, redis.call('HGET', KEYS[2], 'last') or '0'}

-- Reads events. KEYS: events, meta. ARGV: after which version, how many at most.
-- Returns the version of the newest event, then event, version; ...
local last = redis.call('HGET', KEYS[2], 'last') or '0'
local version = ARGV[1]
if tonumber(last) < tonumber(version) then
  version = '0' -- they were lost with everything else
end
if last == version then
  return {last}
end
local out = redis.call('ZRANGE', KEYS[1], '(' .. version, '+inf', 'BYSCORE', 'LIMIT', '0', ARGV[2], 'WITHSCORES')
table.insert(out, 1, last)
return out

-- ARGV[3] how many, ARGV[4] µs of a lease, ARGV[5] the token of this call, ARGV[6..] member, token; ... to renew.
-- Returns member, minus the points, question; ...
local until_ = whole(now + ARGV[4])
for i = 6, #ARGV, 2 do
  local token = call('HGET', tokens, ARGV[i])
  if token and string.match(token, '^[^ ]*') == ARGV[i + 1] then
    call('ZREM', waiting, ARGV[i])
    call('ZADD', leased, until_, ARGV[i])
  end
end
lapse()
local n = tonumber(ARGV[3])
local out = {}
if n < 1 then return out end
local best = call('ZPOPMIN', waiting, n)
for i = 1, #best, 2 do
  local member, score = best[i], best[i + 1]
  local question = call('HGET', data, member)
  if question then
    call('ZADD', leased, until_, member)
    call('HSET', tokens, member, ARGV[5] .. ' ' .. score)
    out[#out + 1] = member
    out[#out + 1] = score
    out[#out + 1] = question
  else
    call('HDEL', tokens, member)
  end
end
return out

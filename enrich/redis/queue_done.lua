-- ARGV[3] for how many µs the endpoints are refused, ARGV[4..] member, token; ...
local until_ = whole(now + ARGV[3])
for i = 4, #ARGV, 2 do
  local member = ARGV[i]
  local token = call('HGET', tokens, member)
  if token and string.match(token, '^[^ ]*') == ARGV[i + 1] then
    call('ZREM', waiting, member)
    call('HDEL', data, member)
    call('HDEL', tokens, member)
    call('ZADD', leased, until_, member)
  end
end
return 0

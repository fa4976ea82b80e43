-- ARGV[3..] member, minus the points, question; ... Returns how many were dropped.
lapse()
local dropped = 0
local size = call('ZCARD', waiting)
for i = 3, #ARGV, 3 do
  local member, score, question = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = call('ZSCORE', waiting, member)
  if old then
    if tonumber(score) < tonumber(old) then
      call('ZADD', waiting, score, member)
      call('HSET', data, member, question)
    end
  elseif not call('ZSCORE', leased, member) then
    local room = size < most
    if not room then
      dropped = dropped + 1
      local worst = call('ZRANGE', waiting, -1, -1, 'WITHSCORES')
      room = tonumber(score) < tonumber(worst[2])
      if room then drop(); size = size - 1 end
    end
    if room then
      call('ZADD', waiting, score, member)
      call('HSET', data, member, question)
      size = size + 1
    end
  end
end
return dropped

-- Tells one shard that a process lives: it renews or takes the duty to decide the shard's windows, and tells which of
-- its partitions are at their end; and tells the process how far the shard is.
-- KEYS: the shard's meta hash, its verdicts.
-- ARGV: incarnation, the process's name, milliseconds that the duty lasts ("0" gives it up, "" does not want it),
--       partitions in three arguments each: field, epoch, milliseconds for which it counts as idle.
-- Replies: {"LOST"}, or {1 if the duty is this process's, 2 if it is nobody's, decided, reopenings, reopenings decided,
--       suspects, overflow, version of the verdicts, all partitions as field, newest record end and whether it is idle,
--       for each of ARGV's partitions its offset, or a word if it has to be started anew, connections that are
--       remembered, cumulative records that were left out}.
local meta = KEYS[1]
redis.call('HDEL', meta, '-') -- see settle.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local m = redis.call('HMGET', meta, 'i', 'd', 'x', 'w', 'r', 'c', 'o', 's', 'n', 'l')
if m[1] ~= ARGV[1] then return {'LOST'} end
local mine = m[2] == ARGV[2]
local free = not m[2] or tonumber(m[3] or '0') <= now
if ARGV[3] == '0' then
  if mine then redis.call('HDEL', meta, 'd', 'x') end
  mine, free = false, free or mine
elseif ARGV[3] ~= '' and (mine or free) then
  redis.call('HSET', meta, 'd', ARGV[2], 'x', now + tonumber(ARGV[3]))
  mine = true
else
  mine = false
end
local bad = {}
for i = 4, #ARGV, 3 do
  local have = redis.call('HGET', meta, ARGV[i])
  local state = 'LOST'
  if have then
    local epoch, offset, newest, was = cmsgpack.unpack(have)
    if epoch == tonumber(ARGV[i + 1]) then
      state = offset
      local idle = tonumber(ARGV[i + 2])
      if idle > 0 then idle = now + idle end
      if idle ~= was then redis.call('HSET', meta, ARGV[i], cmsgpack.pack(epoch, offset, newest, idle)) end
    else
      state = 'FENCED'
    end
  end
  bad[#bad + 1] = state
end
local parts, all = {}, redis.call('HGETALL', meta)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) == 'p' then
    local _, offset, newest, idle = cmsgpack.unpack(all[i + 1])
    parts[#parts + 1] = all[i]
    parts[#parts + 1] = newest
    parts[#parts + 1] = idle > now and 1 or 0
  end
end
return {mine and 1 or free and 2 or 0, tonumber(m[4] or '0'), tonumber(m[5] or '0'), tonumber(m[8] or '0'), tonumber(m[6] or '0'), tonumber(m[7] or '0'),
  redis.call('HGET', KEYS[2], '') or '', parts, bad, tonumber(m[9] or '0'), tonumber(m[10] or '0')}

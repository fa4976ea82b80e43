-- Replaces suspects of one shard that nobody has changed since they were read.
-- KEYS: the shard's meta hash, then the key of each suspect's endpoint.
-- ARGV: incarnation, then for each suspect the client, what was read, and what it becomes
--       ("" removes it).
-- Replies: a text of 1 for done, 2 for removed and 0 for changed meanwhile; nothing at all if the shard was lost.
-- A script that has begun to write is not refused for want of memory: this write needs none, and what the others take is
-- little, or given back.
local meta = KEYS[1]
redis.call('HDEL', meta, '-')
if redis.call('HGET', meta, 'i') ~= ARGV[1] then return '' end
local done, removed = {}, 0
for k = 2, #KEYS do
  local i = 2 + (k - 2) * 3
  local key, client, becomes = KEYS[k], ARGV[i], ARGV[i + 2]
  if redis.call('HGET', key, client) ~= ARGV[i + 1] then
    done[k - 1] = '0'
  else
    done[k - 1] = '1'
    if becomes == '' then
      removed = removed + redis.call('HDEL', key, client)
      done[k - 1] = '2'
    else
      redis.call('HSET', key, client, becomes)
    end
  end
end
if removed > 0 then redis.call('HINCRBY', meta, 'c', -removed) end
return table.concat(done)

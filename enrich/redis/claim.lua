-- Takes over a partition in one shard, or begins it.
-- KEYS: the shard's meta hash. ARGV: an incarnation for a shard that has none, field of the partition, offset to begin
--       at ("" if it is not to be begun), lifetime of the shard (seconds).
-- Replies: {incarnation, epoch, offset}; epoch 0 and offset -1 if the partition was never begun in this shard.
local meta, field = KEYS[1], ARGV[2]
redis.call('HDEL', meta, '-') -- see settle.lua
local inc = redis.call('HGET', meta, 'i')
if not inc then
  inc = ARGV[1]
  redis.call('HSET', meta, 'i', inc)
  redis.call('EXPIRE', meta, ARGV[4])
end
local epoch, offset, newest = 0, -1, 0
local have = redis.call('HGET', meta, field)
if have then
  epoch, offset, newest = cmsgpack.unpack(have)
elseif ARGV[3] ~= '' then
  offset = tonumber(ARGV[3])
else
  return {inc, 0, -1}
end
epoch = epoch + 1
redis.call('HSET', meta, field, cmsgpack.pack(epoch, offset, newest, 0))
return {inc, epoch, offset}

-- Put before the other scripts of the queue. Every key holds endpoints (members) and has the queue's hash tag:
--   KEYS[1] waiting: sorted by minus the points, so that rank 0 is the best and the lower endpoint among equals
--   KEYS[2] leased: sorted by the end of the lease, Unix µs of this server's clock; also what was done a moment ago
--   KEYS[3] data: the question; who has data either waits or is leased
--   KEYS[4] token of the last lease, a space, minus the points
-- ARGV[1] shift of the clock in µs (tests), ARGV[2] most endpoints that wait
local waiting, leased, data, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2] + ARGV[1]
local most = tonumber(ARGV[2])
local function whole(n) return string.format('%.0f', n) end

-- drop takes out the worst that waits.
local function drop()
  local worst = call('ZRANGE', waiting, -1, -1)[1]
  call('ZREM', waiting, worst)
  call('HDEL', data, worst)
  call('HDEL', tokens, worst)
end

-- lapse lets wait again whose lease has ended.
local function lapse()
  local ended = call('ZRANGE', leased, '-inf', whole(now), 'BYSCORE')
  for _, member in ipairs(ended) do
    call('ZREM', leased, member)
    if call('HEXISTS', data, member) == 1 then
      local token = call('HGET', tokens, member)
      call('ZADD', waiting, token and string.match(token, ' (.*)$') or '0', member)
    else
      call('HDEL', tokens, member)
    end
  end
  local over = call('ZCARD', waiting) - most
  for _ = 1, over do drop() end
end

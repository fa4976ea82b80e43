-- Takes what one automatic probe costs: everything or nothing.
-- KEYS: endpoints in back-off, the endpoint's back-off, endpoints, the endpoint's connections, the rate of all; then a table
-- and its account for each of the others that pay, such as the client.
-- ARGV[3] the limit of connections, [4] by hand, [5] name of the rate, [6] µs between probes, [7] burst; then name and limit
-- for each of the others.
-- Returns who refused ('' for nobody), whether its table is full, µs to wait, inconclusive in a row.
if ARGV[4] == '1' then
  local who, full, wait = spent('endpoint', KEYS[3], KEYS[4], tonumber(ARGV[3]))
  return { who, full, wait, 0 }
end
local tried, till, failures_full = failures(KEYS[1], KEYS[2])
if failures_full then return { 'back-off', 1, failures_full - now, 0 } end
if till > now then return { 'back-off', 0, till - now, tried } end
for i = 6, #KEYS, 2 do
  local who, full, wait = spent(ARGV[i + 2], KEYS[i], KEYS[i + 1], tonumber(ARGV[i + 3]))
  if who ~= '' then return { who, full, wait, 0 } end
end
local who, full, wait = spent('endpoint', KEYS[3], KEYS[4], tonumber(ARGV[3]))
if who ~= '' then return { who, full, wait, 0 } end
-- The rate is a token bucket kept as the time at which it is full again.
local every, burst = tonumber(ARGV[6]), tonumber(ARGV[7])
local function fill(at) call('SET', KEYS[5], whole(at), 'PX', whole((at - now) / 1000 + hour / 1000)) end
local filled = math.max(tonumber(call('GET', KEYS[5]) or 0), now)
if filled > now + burst * every then -- the clock was set back, or the burst made smaller: no less than an empty bucket
  filled = now + burst * every
  fill(filled)
end
filled = filled + every
local early = filled - burst * every - now
if early > 0 then return { ARGV[5], 0, early, 0 } end
fill(filled)
for i = 6, #KEYS, 2 do spend(KEYS[i], KEYS[i + 1]) end
return { '', 0, 0, tried }

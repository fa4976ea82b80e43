-- Takes what one automatic probe costs: everything or nothing.
-- KEYS: endpoints in back-off, the endpoint's back-off, clients, the client, networks, the network, endpoints, the
-- endpoint's connections, the rate of all.
-- ARGV[3] the limit of connections, [4] of the client, [5] of the network, [6] µs between probes, [7] burst, [8] by hand
-- Returns who refused ('' for nobody), whether its table is full, µs to wait, inconclusive in a row.
if ARGV[8] == '1' then
  local who, full, wait = spent('endpoint', KEYS[7], KEYS[8], tonumber(ARGV[3]))
  return { who, full, wait, 0 }
end
local tried, till, failures_full = failures(KEYS[1], KEYS[2])
if failures_full then return { 'back-off', 1, failures_full - now, 0 } end
if till > now then return { 'back-off', 0, till - now, tried } end
local accounts = { { 'client', 3, 4 }, { 'network', 5, 5 }, { 'endpoint', 7, 3 } }
for _, a in ipairs(accounts) do
  local who, full, wait = spent(a[1], KEYS[a[2]], KEYS[a[2] + 1], tonumber(ARGV[a[3]]))
  if who ~= '' then return { who, full, wait, 0 } end
end
-- The rate is a token bucket kept as the time at which it is full again.
local every, burst = tonumber(ARGV[6]), tonumber(ARGV[7])
local function fill(at) call('SET', KEYS[9], whole(at), 'PX', whole((at - now) / 1000 + hour / 1000)) end
local filled = math.max(tonumber(call('GET', KEYS[9]) or 0), now)
if filled > now + burst * every then -- the clock was set back, or the burst made smaller: no less than an empty bucket
  filled = now + burst * every
  fill(filled)
end
filled = filled + every
local early = filled - burst * every - now
if early > 0 then return { 'global', 0, early, 0 } end
fill(filled)
spend(KEYS[3], KEYS[4])
spend(KEYS[5], KEYS[6])
return { '', 0, 0, tried }

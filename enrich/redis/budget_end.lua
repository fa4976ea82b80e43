-- Notes how a probe ended.
-- KEYS: endpoints in back-off, the endpoint's back-off. ARGV[3] conclusive, [4] first back-off in µs, [5] longest.
-- Returns µs of the back-off.
if ARGV[3] == '1' then
  call('ZREM', KEYS[1], KEYS[2])
  call('DEL', KEYS[2])
  return 0
end
local count, _, full = failures(KEYS[1], KEYS[2])
local first, longest = tonumber(ARGV[4]), tonumber(ARGV[5])
local wait = first
for _ = 1, count do
  wait = math.min(2 * wait, longest)
  if wait == longest then break end
end
-- A full table does not remember it; the endpoint's other budgets still hold.
if not full then
  local over = wait + forget
  call('SET', KEYS[2], whole(count + 1) .. ' ' .. whole(now + wait), 'PX', whole(over / 1000))
  call('ZADD', KEYS[1], whole(now + over), KEYS[2])
  lengthen(KEYS[1], over)
end
return wait

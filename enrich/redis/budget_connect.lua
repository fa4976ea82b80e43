-- Takes one connection of an endpoint.
-- KEYS: endpoints, the endpoint's connections. ARGV[3] their limit.
-- Returns who refused ('' for nobody), whether its table is full, µs to wait, 0.
local who, full, wait = spent('endpoint', KEYS[1], KEYS[2], tonumber(ARGV[3]))
if who == '' then spend(KEYS[1], KEYS[2]) end
return { who, full, wait, 0 }

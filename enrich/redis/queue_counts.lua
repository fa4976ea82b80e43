-- Returns how many wait, and how many are leased.
lapse()
local n = call('ZCARD', waiting)
return { n, call('HLEN', data) - n }

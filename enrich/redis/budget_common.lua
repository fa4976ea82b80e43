-- Put before the other scripts of the budgets. Times are Unix µs of this server's clock. A table is a sorted set of the
-- keys of an account each, by the time when all they hold is over; an account that is over is none.
-- ARGV[1] shift of the clock in µs (tests), ARGV[2] most accounts in a table
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2] + ARGV[1]
local most = tonumber(ARGV[2])
local hour = 3600 * 1000000
local forget = 24 * hour -- how long after its back-off an endpoint's failures are remembered
local function whole(n) return string.format('%.0f', n) end

-- place tells when a place is free for an account: nil if it has one, or there is one.
local function place(table, account)
  call('ZREMRANGEBYSCORE', table, '-inf', whole(now))
  if call('ZCARD', table) < most or call('ZSCORE', table, account) then return nil end
  return tonumber(call('ZRANGE', table, 0, 0, 'WITHSCORES')[2])
end

-- lengthen keeps a table at least as long as what was put into it.
local function lengthen(table, over)
  if call('PTTL', table) < over / 1000 then call('PEXPIRE', table, whole(over / 1000)) end
end

-- spent tells whether an account, a list of the times of the last hour, has nothing left.
local function spent(who, table, account, limit)
  local at = place(table, account)
  if at then return who, 1, at - now end
  local oldest = call('LINDEX', account, -limit)
  if oldest and oldest + hour > now then
    -- A clock that was set back must not make it longer than an hour.
    return who, 0, math.min(oldest + hour - now, hour)
  end
  return '', 0, 0
end

-- spend adds an event to an account.
local function spend(table, account)
  local oldest = call('LINDEX', account, 0)
  while oldest and oldest + hour <= now do
    call('LPOP', account)
    oldest = call('LINDEX', account, 0)
  end
  call('RPUSH', account, whole(now))
  call('PEXPIRE', account, whole(hour / 1000))
  call('ZADD', table, whole(now + hour), account)
  lengthen(table, hour)
end

-- failures tells how many failures an endpoint has, until when it is left alone, and if there is no place for it, when
-- there will be.
local function failures(table, account)
  local full = place(table, account)
  if full then return 0, 0, full end
  local value = call('GET', account)
  if not value then return 0, 0, nil end
  local count, till = string.match(value, '^(%d+) (%d+)$')
  if not count or till + forget <= now then return 0, 0, nil end
  return tonumber(count), tonumber(till), nil
end

-- Adds the suspects of one shard in some batches, one of each partition, and moves the shard's positions of the
-- partitions: all or nothing.
--
-- KEYS: the shard's meta hash, its verdicts, then the key of each suspect's endpoint; if there are cumulative records, that
--       of the endpoint of each, and the shard's four tables of connections.
-- ARGV: incarnation, number of partitions, for each its field, epoch, offset before, offset after and newest record end;
--       then lowest record end, window length, inactive timeout (all times in microseconds), clients per endpoint,
--       segments per suspect, lifetime of keys (seconds), and the suspects: for each a length byte, the client, two
--       length bytes, its segments. If there are cumulative records they follow in the same form: what comes after the
--       client is a byte that is 1 for the last record of a connection, a length byte, the connection's endpoint and name,
--       and the record as a segment. Then there are arguments more: the number of these records, the wall clock, how many
--       connections are remembered that are running, and that have ended, and how long they must be silent to be forgotten
--       running (microseconds).
-- A batch that ends before it begins tells that the partition's log was cut off there and goes on with other records: the
-- position goes back with it.
-- Replies: {"LOST"}, {"FENCED"} or {"BEHIND"} if a partition has to be started anew, {"MIXED"} if some batches had been
--       added and others not; otherwise
--       {1 if they were added, 0 if they had been; version of the verdicts; decided; suspects; overflow; aggregates},
--       the aggregates as in ARGV without the clients, of length 0 for what is not there, and if there were cumulative
--       records to add: connections that are remembered; records left out.
local call, pack, floor = redis.call, cmsgpack.pack, math.floor
local some, all_of = cmsgpack.unpack_limit, cmsgpack.unpack
local byte, sub, char, bor = string.byte, string.sub, string.char, bit.bor
local meta, partitions = KEYS[1], tonumber(ARGV[2])
local fields = {'i', 'w', 'c', 'o', 'b', 't'}
for i = 0, partitions - 1 do fields[7 + i] = ARGV[3 + 5 * i] end
local m = call('HMGET', meta, unpack(fields))
if m[1] ~= ARGV[1] then return {'LOST'} end
local fresh, repeated, becomes = true, true, {}
for i = 0, partitions - 1 do
  local at, have = 3 + 5 * i, m[7 + i]
  if not have then return {'LOST'} end
  local epoch, offset, newest = all_of(have)
  if epoch ~= tonumber(ARGV[at + 1]) then return {'FENCED'} end
  local from, to = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if offset == from and to ~= from or to < from and offset > from then
    repeated = false
  elseif offset < to then
    return {'BEHIND'}
  else
    fresh = false
  end
  -- 1 stands for a partition that was heard of, but without any record.
  becomes[2 * i + 1], becomes[2 * i + 2] = ARGV[at], pack(epoch, to, math.max(tonumber(ARGV[at + 4]), newest, 1), 0)
end
if not fresh and not repeated then return {'MIXED'} end

local rest = 2 + 5 * partitions
local REPORT, INACTIVE = tonumber(ARGV[rest + 2]), tonumber(ARGV[rest + 3])
local MOST = tonumber(ARGV[rest + 5])
local decided = tonumber(m[2] or '0')
-- While the shard's windows are being decided, those that may be among them are marked as if they were decided already:
-- the one who decides may have passed by.
local open = math.max(decided, tonumber(m[5] or '0'))
local late = floor(tonumber(ARGV[rest + 1]) / REPORT) < open
local reopened, lowest = 0, nil

-- reopen notes that a window has got data that its decision may not have seen.
local function reopen(w)
  if w < decided then reopened = 1 end
  if not lowest or w < lowest then lowest = w end
end

-- less orders connection names by their bytes; the comparison of Lua would follow the server's locale.
local function less(a, b)
  local n = #a
  if #b < n then n = #b end
  for i = 1, n do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- A segment is 20 values: last, last-first, counted first-first, last-counted last, packets and bytes of client and
-- server (4), their payload (2), client packets and bytes not counted (2), ack, ack+push, other, records, flags, client
-- port, sensor, name of the connection. flags: services (5 bits), closed, marked, reopened, told (2 bits), reports.
-- swallow adds segment b to a; what is not added up is a's where both have it.
local function swallow(a, b)
  local l, L = a[1], b[1]
  local f, F = l - a[2], L - b[2]
  local first, last = f, l
  if F < f then first = F end
  if L > l then last = L end
  local p, q
  local n, N = a[13] + a[14] + a[15], b[13] + b[14] + b[15]
  if n > 0 then p, q = f + a[3], l - a[4] end
  if N > 0 then
    local P, Q = F + b[3], L - b[4]
    if not p or P < p then p = P end
    if not q or Q > q then q = Q end
  end
  if l < L or l == L and less(a[20], b[20]) then a[18], a[19], a[20] = b[18], b[19], b[20] end
  for i = 5, 16 do a[i] = a[i] + b[i] end
  a[1], a[2] = last, last - first
  a[3], a[4] = p and p - first or 0, q and last - q or 0
  local x, y = a[17], b[17]
  local told, TOLD = floor(x / 256) % 4, floor(y / 256) % 4
  local reports, REPORTS = floor(x / 1024), floor(y / 1024)
  if TOLD > told then told = TOLD end
  if REPORTS > reports then reports = REPORTS end
  a[17] = bor(x % 32, y % 32) + x % 64 - x % 32 + bor(x % 256 - x % 64, y % 256 - y % 64) + told * 256 + reports * 1024
end

local function split(...)
  local list, n = {}, select('#', ...)
  local all = {...}
  for i = 1, n, 20 do
    local s = {}
    for k = 0, 19 do s[k + 1] = all[i + k] end
    list[#list + 1] = s
  end
  return list
end

-- merge_all adds the segments of one batch to those of the state, each as if it came alone.
local function merge_all(have, delta)
  for _, g in ipairs(split(all_of(delta))) do
    local again = true
    while again do
      again = false
      local w = floor(g[1] / REPORT)
      for i = 1, #have do
        local c = have[i]
        if floor(c[1] / REPORT) == w and g[1] - g[2] - c[1] <= INACTIVE and c[1] - c[2] - g[1] <= INACTIVE then
          swallow(g, c)
          table.remove(have, i)
          again = true
          break
        end
      end
    end
    local w, first, at = floor(g[1] / REPORT), g[1] - g[2], #have + 1
    if w < open then
      if g[17] % 256 < 128 then g[17] = g[17] + 128 end
      reopen(w)
    end
    for i = 1, #have do
      local c = have[i]
      local cw = floor(c[1] / REPORT)
      if cw < w or cw == w and c[1] - c[2] < first then
        at = i
        break
      end
    end
    table.insert(have, at, g)
    if #have > MOST then
      swallow(have[#have - 1], have[#have])
      table.remove(have)
    end
  end
  local out = {}
  for i = 1, #have do
    local s = have[i]
    out[i] = pack(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15], s[16], s[17], s[18], s[19], s[20])
  end
  return table.concat(out)
end

-- SHORTEST is less than the shortest segment.
local SHORTEST = 21

-- merge is the usual case without tables: one segment to add that belongs to the newest one, or comes after it.
local function merge(have, delta)
  local o, l, d, cf, cl, cp, sp, cb, sb, cy, sy, up, ub, ak, ap, ot, rc, fl, po, se, id = some(have, 20, 0)
  local O, L, D, CF, CL, CP, SP, CB, SB, CY, SY, UP, UB, AK, AP, OT, RC, FL, PO, SE, ID = some(delta, 20, 0)
  local w, f, F = floor(L / REPORT), l - d, L - D
  local newest = floor(l / REPORT)
  if O ~= -1 then
    return merge_all(split(all_of(have)), delta)
  end
  if newest < w or newest == w and F - l > INACTIVE then
    if w < open or #have >= MOST * SHORTEST then
      return merge_all(split(all_of(have)), delta)
    end
    return delta .. have
  end
  if newest ~= w or f - L > INACTIVE then
    return merge_all(split(all_of(have)), delta)
  end
  if o ~= -1 then
    -- What comes before must be too far away for both together.
    local _, before = some(have, 1, o)
    if floor(before / REPORT) == w and math.min(f, F) - before <= INACTIVE then
      return merge_all(split(all_of(have)), delta)
    end
  end
  local first, last, p, q = f, l, nil, nil
  if F < f then first = F end
  if L > l then last = L end
  if ak + ap + ot > 0 then p, q = f + cf, l - cl end
  if AK + AP + OT > 0 then
    local P, Q = F + CF, L - CL
    if not p or P < p then p = P end
    if not q or Q > q then q = Q end
  end
  if l < L or l == L and less(id, ID) then po, se, id = PO, SE, ID end
  local sv, SV = fl % 32, FL % 32
  if sv ~= SV then fl = fl - sv + bor(sv, SV) end
  if fl % 64 >= 32 then fl = fl - 32 end
  if w < open then
    reopen(w)
    if fl % 256 < 128 then fl = fl + 128 end
  end
  local sum = pack(last, last - first, p and p - first or 0, q and last - q or 0, cp + CP, sp + SP, cb + CB, sb + SB,
    cy + CY, sy + SY, up + UP, ub + UB, ak + AK, ap + AP, ot + OT, rc + RC, fl, po, se, id)
  if o == -1 then return sum end
  return sum .. sub(have, o + 1)
end

local blob, at, out, n, added, overflow = ARGV[rest + 7], 1, {}, 0, 0, 0
local limit, ttl = tonumber(ARGV[rest + 4]), ARGV[rest + 6]
local cumulative = tonumber(ARGV[rest + 8] or '0')
local ordinary = #KEYS
local missed

-- overflows notes that a suspect was left out, once.
local function overflows(key, client)
  missed = missed or {}
  local name = key .. client
  if not missed[name] then overflow = overflow + 1 end
  missed[name] = true
end

local add, remember
if cumulative > 0 then
  -- Connections lie in generations, running ones in the first two tables and ended ones in the others: those that had a
  -- record since the generations were turned are young, the others old, and the old ones are forgotten together. state
  -- holds for either pair which table is the young one, and the latest ends of the young, of the old, and of those that
  -- were forgotten.
  local NOW, SILENCE = tonumber(ARGV[rest + 9]), tonumber(ARGV[rest + 12])
  local tables = {KEYS[ordinary - 3], KEYS[ordinary - 2], KEYS[ordinary - 1], KEYS[ordinary]}
  local most = {tonumber(ARGV[rest + 10]), tonumber(ARGV[rest + 11])}
  ordinary = ordinary - 4 - cumulative
  local were = call('HMGET', meta, 'k', 'l')
  local state = were[1] and {all_of(were[1])} or {0, 0, 0, 0, 0, 0, 0, 0}
  local left = tonumber(were[2] or '0')
  local RUNNING, ENDED = 1, 2
  local WHICH, YOUNG, OLD, GONE = -3, -2, -1, 0

  local size = {}
  for i = 1, 4 do size[i] = call('HLEN', tables[i]) end

  local function young(kind) return 2 * kind - 1 + state[4 * kind + WHICH] end
  local function old(kind) return 2 * kind - state[4 * kind + WHICH] end

  -- find gives what is remembered of a connection, whether it is running, and the table.
  local function find(id)
    for kind = RUNNING, ENDED do
      local i = young(kind)
      for _ = 1, 2 do
        local v = size[i] > 0 and call('HGET', tables[i], id)
        if v then return v, kind, i end
        i = old(kind)
      end
    end
  end

  -- room tells whether there is room for one more, at an event time. It forgets the old ones for that if it may.
  local function room(kind, time)
    local i, k, s = young(kind), old(kind), 4 * kind
    local a, b = size[i], size[k]
    if (2 * a >= most[kind] or a + b >= most[kind]) and (b == 0 or kind == ENDED or state[s + OLD] + SILENCE < time) then
      if b > 0 then
        state[s + GONE] = math.max(state[s + GONE], state[s + OLD])
        call('DEL', tables[k])
        size[k] = 0
      end
      state[s + WHICH], state[s + OLD], state[s + YOUNG] = 1 - state[s + WHICH], state[s + YOUNG], 0
    end
    return size[i] + size[k] < most[kind]
  end

  -- beyond compares a record with what is remembered of its connection, the highest counters seen and the latest end: it
  -- gives what is new as a segment, if there is anything, what is to be remembered, the latest end, and whether it is later.
  local function beyond(record, value)
    local l, d, cf, cl, cp, sp, cb, sb, cy, sy, up, ub, ak, ap, ot, rc, fl, po, se, uid = all_of(record)
    local counts, sum, news, more = {cp, sp, cb, sb, cy, sy, cp - up, cb - ub, ak, ap, ot}, {all_of(value)}, {}, false
    for i = 1, 11 do
      news[i] = math.max(counts[i] - sum[i], 0)
      if news[i] > 0 then sum[i], more = counts[i], true end
    end
    local before = sum[12]
    if l > before then sum[12] = l end
    value = pack(unpack(sum))
    if not more then return nil, value, sum[12], l > before end
    local first, counted = l - d, l - d + cf
    if before > first then first = before end
    if first > l then first = l end
    return pack(l, l - first, math.max(counted - first, 0), 0, news[1], news[2], news[3], news[4], news[5], news[6], news[1] - news[7],
      news[3] - news[8], news[9], news[10], news[11], 1, fl, po, se, uid), value, sum[12], l > before
  end

  -- add adds to a suspect what is new in a cumulative record, and gives it; connections.go of the store in memory does the
  -- same.
  add = function(have, key, client, text)
    local name = 2 + byte(text, 2)
    local id, final, record = char(#client) .. client .. sub(text, 3, name), byte(text) == 1, sub(text, name + 1)
    local value, kind, where = find(id)
    local becomes, time = RUNNING, nil
    if final or kind == ENDED then becomes = ENDED end
    if kind then
      local news, last, later
      news, value, last, later = beyond(record, value)
      if not news and not later and kind == becomes then return have end
      record, time = news, math.min(last, NOW)
    else
      local _, l, d, _, _, cp, sp, cb, sb, cy, sy, up, ub, ak, ap, ot = some(record, 15, 0)
      if cp + sp + cb + sb + cy + sy + ak + ap + ot == 0 then return have end
      time = math.min(l, NOW)
      if not final and (l <= state[4 * ENDED + GONE] or l - d <= state[4 * RUNNING + GONE] or not room(RUNNING, time)) then
        left = left + 1
        return have
      end
      value = pack(cp, sp, cb, sb, cy, sy, cp - up, cb - ub, ak, ap, ot, l)
    end
    if record then
      local begun = false
      if have then
        have = merge(have, record)
      else
        local clients = call('HLEN', key)
        if clients >= limit then
          overflows(key, client)
          return have
        end
        have, begun, added = merge_all({}, record), clients == 0, added + 1
      end
      call('HSET', key, client, have)
      if begun then call('EXPIRE', key, ttl) end
    end
    if becomes == ENDED then room(ENDED, time) end
    local i = young(becomes)
    if kind and where ~= i then size[where] = size[where] - call('HDEL', tables[where], id) end
    local first = size[i] == 0
    size[i] = size[i] + call('HSET', tables[i], id, value)
    if first then call('EXPIRE', tables[i], ttl) end
    state[4 * becomes + YOUNG] = math.max(state[4 * becomes + YOUNG], time)
    return have
  end

  -- remember keeps the state of the tables.
  remember = function(reply)
    local n = size[1] + size[2] + size[3] + size[4]
    call('HSET', meta, 'k', pack(unpack(state)), 'l', left, 'n', n)
    reply[7], reply[8] = n, left
  end
end

for k = 3, ordinary + cumulative do
  local key = KEYS[k]
  local l = byte(blob, at)
  local client = sub(blob, at + 1, at + l)
  at = at + l + 1
  local size = byte(blob, at) * 256 + byte(blob, at + 1)
  local have = call('HGET', key, client)
  if fresh then
    local delta = sub(blob, at + 2, at + 1 + size)
    if k > ordinary then
      have = add(have, key, client, delta)
    elseif have then
      have = merge(have, delta)
      call('HSET', key, client, have)
    else
      local clients = call('HLEN', key)
      if clients >= limit then
        overflows(key, client)
      else
        have = delta
        if late then have = merge_all({}, delta) end
        call('HSET', key, client, have)
        if clients == 0 then call('EXPIRE', key, ttl) end
        added = added + 1
      end
    end
  end
  at = at + 2 + size
  if have then
    local s = #have
    out[n + 1], out[n + 2] = char(floor(s / 256), s % 256), have
  else
    out[n + 1], out[n + 2] = '\0\0', ''
  end
  n = n + 2
end
local count, over = tonumber(m[3] or '0'), tonumber(m[4] or '0')
if fresh then
  count, over = count + added, over + overflow
  call('HSET', meta, 'c', count, 'o', over, unpack(becomes))
  if reopened > 0 then call('HINCRBY', meta, 'r', 1) end
  if lowest and m[5] and (not m[6] or lowest < tonumber(m[6])) then call('HSET', meta, 't', lowest) end
  call('EXPIRE', meta, ttl - 86400)
end
local reply = {fresh and 1 or 0, call('HGET', KEYS[2], '') or '', decided, count, over, table.concat(out)}
if fresh and remember then remember(reply) end
return reply

-- In front of every script but put.lua. KEYS[1] is NAMESPACE:spoolq:markers: it routes the call, and names the namespace.
-- Arguments are read one after the other. A script does its work inside `atomically`: an error takes back what was done so far,
-- because Redis itself doesn't. Payloads are bytes and stay bytes.
local P = string.sub(KEYS[1], 1, -15)
local S = P .. 'spoolq:'
local MARKERS, DELAYED, COUNTS, LEASES, TALLY = KEYS[1], S .. 'delayed', S .. 'counts', S .. 'leases', S .. 'tally'
local IDLE_FOR_NEW = S .. 'idle:*' -- workers that wait for queues that aren't there yet; no queue has such a name
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local stamp = string.format('%.6f', now)
-- Bytes of payload in one answer, or moved by one script: others wait for it, and a slow link must carry it in time. One job that
-- is larger goes alone.
local MOST_BYTES = 1048576

local ARGV = ARGV -- looked up among the globals each time otherwise
local position = 0
local function arg()
  position = position + 1
  return ARGV[position]
end
local function num() return tonumber(arg()) end
local function list(read)
  local items = {}
  for i = 1, num() do items[i] = read() end
  return items
end

local function call(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then error({said = reply.err}) end -- not `err`: Redis 7's own pcall would make it a string
  return reply
end
-- What is shown to people only, or is Resque's own affair: a key that holds something else, or isn't ours to touch, keeps no job from being settled.
local SERVER = {'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS'}
local function display(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  for _, code in ipairs(SERVER) do
    if string.find(tostring(reply.err), code, 1, true) then error({said = reply.err}) end
  end
end
local undo = {}
local function undone_by(take_back) undo[#undo + 1] = take_back end
local function back(...)
  local command = {...}
  undone_by(function() call(unpack(command)) end)
end
-- What was done so far stays, whatever comes: a job that was moved is moved, and with it all that goes along with that.
local function stays() undo = {} end
-- How many jobs of each queue are delayed ('s:') and claimed ('c:') is counted as they change. Where what stands there can't be right,
-- since somebody else wrote it or took the jobs away, it is counted anew, at the end: it keeps no job from its way.
local miscounted = false
local function cut(text)
  local i = string.find(text, '\n', 1, true)
  if not i then return text, '' end
  return string.sub(text, 1, i - 1), string.sub(text, i + 1)
end
local function recount()
  local jobs = {}
  local function one(kind, value)
    local field = kind .. string.match(value, '^[^\n]*')
    jobs[field] = (jobs[field] or 0) + 1
  end
  local start, members = 0, nil
  repeat
    members = call('ZRANGE', DELAYED, start, start + 99) -- few: a payload may be large
    for _, member in ipairs(members) do one('s:', member) end
    start = start + 100
  until #members < 100
  for _, key in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    local claims = S .. 'claims:' .. key
    for _, token in ipairs(call('HKEYS', claims)) do one('c:', call('HGET', claims, token)) end
  end
  call('DEL', COUNTS) -- it comes first: whatever begins with a removal works also when Redis is full
  for field, n in pairs(jobs) do call('HSET', COUNTS, field, n) end
  display('HINCRBY', TALLY, 'recounted', 1)
end
local function atomically(main)
  local fine, result = pcall(main)
  local whole = true
  for i = fine and 0 or #undo, 1, -1 do
    whole = pcall(undo[i]) and whole
  end
  if miscounted then pcall(recount) end
  if fine then return result end
  local text = type(result) == 'table' and result.said or 'ERR ' .. tostring(result)
  if not whole then return {'undo', text} end
  return redis.error_reply(text)
end
-- Redis looks at its memory before a script's first write only: whatever begins with a removal still works when Redis is full.
local function works_when_full() call('DEL', S .. 'none') end
-- Calls with many values go in slices, since Lua can unpack only so many.
-- The queues that are paused, by name, and since when; '*' for all, for which Ruby's Resque has a key of its own, without a time.
local function pauses()
  local found, flat = {}, call('HGETALL', S .. 'paused')
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  local all = redis.pcall('GET', P .. 'pause-all-workers')
  local every = type(all) == 'string' and string.lower(string.match(all, '^%s*(.-)%s*$')) == 'true'
  found['*'] = every and (found['*'] or '0') or nil
  return found
end
local function slices(values, size, use)
  for i = 1, #values, size do use(i, math.min(i + size - 1, #values)) end
end
local function has_line(text, line) return string.find(text, '\n' .. line .. '\n', 1, true) end
local function add(field, by)
  local total = display('HINCRBY', COUNTS, field, by)
  if not total or total < 0 then miscounted = true end
  if total and total <= 0 then display('HDEL', COUNTS, field) end
end
local function count(field, by)
  add(field, by)
  undone_by(function() add(field, -by) end)
end

-- What has come and gone, by word and queue (spoolq.store.tally). After the write that it counts, whose refusal by a full server is
-- the script's: what can't be counted in begins anew, and keeps no job from its way. (Said once more in put.lua.)
local function tally(word, queue, jobs)
  local field = word .. ':' .. queue
  if jobs == 0 then return end
  if type(redis.pcall('HINCRBY', TALLY, field, jobs)) ~= 'number' then
    redis.pcall('HDEL', TALLY, field)
    if type(redis.pcall('HINCRBY', TALLY, field, jobs)) ~= 'number' then return end
  end
  undone_by(function()
    if redis.pcall('HINCRBY', TALLY, field, -jobs) == 0 then redis.pcall('HDEL', TALLY, field) end
  end)
end
-- Whether spoolq wrote this payload: it is counted when it is put. Others' are counted as found when they are taken.
local function ours(payload) return string.find(payload, '],"id":"', 1, true) ~= nil end

-- queues

-- Wakes one of these idle workers. Answers whether there was one that lives.
local function rouse(idle)
  local worker
  repeat
    worker = redis.pcall('SPOP', idle)
    if type(worker) ~= 'string' then return false end
    local lease = redis.pcall('ZSCORE', LEASES, worker)
  until type(lease) == 'string' and tonumber(lease) > now
  local tokens = S .. 'wake:' .. worker
  if redis.pcall('LLEN', tokens) == 0 then
    redis.pcall('RPUSH', tokens, '1')
    redis.pcall('EXPIRE', tokens, 60)
  end
  return true
end
local function wake(queue, jobs)
  for _ = 1, jobs do
    if not rouse(S .. 'idle:' .. queue) then return end
  end
end
local function know(queue)
  if call('SADD', P .. 'queues', queue) == 1 then
    back('SREM', P .. 'queues', queue)
    while rouse(IDLE_FOR_NEW) do end -- a name in a thousand; what they find is theirs to see
  end
end
local function push(queue, payloads)
  local key = P .. 'queue:' .. queue
  slices(payloads, 200, function(i, j)
    call('RPUSH', key, unpack(payloads, i, j))
    back('RPOP', key, j - i + 1)
  end)
  know(queue)
  wake(queue, #payloads)
end
local function push_front(queue, payload)
  local key = P .. 'queue:' .. queue
  call('LPUSH', key, payload)
  back('LPOP', key)
  know(queue)
  wake(queue, 1)
end
local function delay(queue, id, at, payload)
  local member = queue .. '\n' .. id .. '\n' .. payload
  local new = call('ZADD', DELAYED, at, member) == 1
  if new then
    back('ZREM', DELAYED, member)
    count('s:' .. queue, 1)
  end
  know(queue)
  return new
end
-- Resque's own delayed keys, in node-resque's form
local function delay_resque(at, payload)
  local second = string.format('%d', math.ceil(at))
  local key = 'delayed:' .. second
  call('RPUSH', P .. key, payload)
  back('RPOP', P .. key)
  if call('SADD', P .. 'timestamps:' .. payload, key) == 1 then back('SREM', P .. 'timestamps:' .. payload, key) end
  if call('ZADD', P .. 'delayed_queue_schedule', second, second) == 1 then back('ZREM', P .. 'delayed_queue_schedule', second) end
end

-- messages

-- In groups of neighbours that have queue, time and flags in common. Their ids and payloads stay where they are, a group's in two
-- rows of ARGV, behind the positions that it names: a table for each message took longer than to push it.
local function messages()
  local groups = {}
  for i = 1, num() do
    local queue, at, flags, count = arg(), arg(), arg(), num()
    groups[i] = {
      queue = queue, at = at, due = tonumber(at) <= now, marked = string.find(flags, 'm', 1, true),
      resque = string.find(flags, 'r', 1, true), front = string.find(flags, 'f', 1, true),
      count = count, ids = position, payloads = position + count,
    }
    position = position + 2 * count
  end
  return groups
end
-- Which of them are there already: '1' for each that is new, '0' for the others. Asked of many at once where Redis can (6.2).
local function news(groups)
  local flags, asked, number, n, m = {}, {}, {}, 0, 0
  for _, g in ipairs(groups) do
    for i = 1, g.count do
      n = n + 1
      flags[n] = '1'
      if g.marked then
        m = m + 1
        asked[m], number[m] = ARGV[g.ids + i], n
      end
    end
  end
  local there = {}
  slices(asked, 200, function(i, j)
    local scores = redis.pcall('ZMSCORE', MARKERS, unpack(asked, i, j))
    for k = i, j do
      local id = asked[k]
      if there[id] or (scores.err and call('ZSCORE', MARKERS, id) or scores[k - i + 1]) then flags[number[k]] = '0' end
      there[id] = true
    end
  end)
  return flags
end
-- Push first, mark after. What goes to Resque's own delayed keys is counted when it comes out of them: a stock scheduler makes
-- another payload of it.
local function place(groups, flags, word)
  local queues, order, counted, marks, n, m = {}, {}, {}, {}, 0, 0
  for _, g in ipairs(groups) do
    local line, jobs = queues[g.queue] or {}, 0
    local length = #line
    for i = 1, g.count do
      n = n + 1
      if flags[n] == '1' then
        local id, payload, new = ARGV[g.ids + i], ARGV[g.payloads + i], true
        if not g.due then
          if g.resque then
            delay_resque(tonumber(g.at), payload)
            new = false
          else
            new = delay(g.queue, id, g.at, payload)
          end
        elseif g.front then
          push_front(g.queue, payload)
        else
          length = length + 1
          line[length] = payload
        end
        if new and ours(payload) then jobs = jobs + 1 end
        if g.marked then
          marks[m + 1], marks[m + 2] = stamp, id
          m = m + 2
        end
      end
    end
    if length > 0 and not queues[g.queue] then
      queues[g.queue] = line
      order[#order + 1] = g.queue
    end
    counted[g.queue] = (counted[g.queue] or 0) + jobs
  end
  for _, queue in ipairs(order) do push(queue, queues[queue]) end
  for queue, jobs in pairs(counted) do tally(word or 'put', queue, jobs) end
  slices(marks, 400, function(i, j)
    call('ZADD', MARKERS, 'NX', unpack(marks, i, j))
    undone_by(function()
      for k = i + 1, j, 2 do call('ZREM', MARKERS, marks[k]) end
    end)
  end)
end
-- Markers that may go: of each time, past which they may, where their ids are in ARGV.
local function frees()
  return list(function()
    local after, count = num(), num()
    position = position + count
    return {after = after, first = position - count + 1, last = position}
  end)
end
local function free(times)
  for _, t in ipairs(times) do
    if now > t.after then
      for i = t.first, t.last, 400 do redis.pcall('ZREM', MARKERS, unpack(ARGV, i, math.min(i + 399, t.last))) end
    end
  end
end

-- Away with one job that waits: from a queue ('queue', its name, the payload), from our delayed jobs ('delayed', the queue, the
-- member) or from Resque's ('resque', the second, the payload). Answers whether it waited there still.
local function take_away(kind, name, value)
  if kind == 'delayed' then
    local at = call('ZSCORE', DELAYED, value)
    if call('ZREM', DELAYED, value) == 0 then return false end
    back('ZADD', DELAYED, at, value)
    count('s:' .. name, -1)
    return true
  end
  local key = P .. (kind == 'queue' and 'queue:' or 'delayed:') .. name
  if call('LREM', key, 1, value) == 0 then return false end
  back('LPUSH', key, value)
  return true
end
-- What Resque keeps beside a delayed job of its own goes with the last of its kind. Last in a script: it isn't taken back.
local function forget_delayed(kind, second, payload)
  if kind ~= 'resque' then return end
  local key, left = 'delayed:' .. second, false
  if #redis.call('LRANGE', P .. key, 0, 0) == 0 then redis.pcall('ZREM', P .. 'delayed_queue_schedule', second) end
  for _, other in ipairs(redis.call('LRANGE', P .. key, 0, 999)) do left = left or other == payload end
  if not left then redis.pcall('SREM', P .. 'timestamps:' .. payload, key) end
end

-- guards

-- One that is named like a lock of node-resque's is that lock: its value begins with the time in epoch seconds until which node takes
-- it for held. Ours goes on with the holder, which node doesn't read. `timestamps:JOB` is Resque's set of when the job is due.
local PEER = 'node-resque'
local function guard(name, holder, ttl)
  local g = {name = name, holder = holder, ttl = tonumber(ttl)}
  g.lock = string.sub(name, 1, 5) == 'lock:' or string.sub(name, 1, 12) == 'workerslock:'
  g.delayed = string.sub(name, 1, 11) == 'timestamps:'
  g.key = (g.lock or g.delayed) and P .. name or S .. 'guard:' .. name
  return g
end
-- Who holds it; false or nil: nobody.
local function holder_of(g)
  if g.delayed then
    for _, list in ipairs(call('SMEMBERS', g.key)) do
      if call('EXISTS', P .. list) == 1 then return PEER end -- else one that a killed scheduler left behind
    end
    return nil
  end
  local value = call('GET', g.key)
  if not value or not g.lock then return value end
  local until_when, holder = string.match(value, '^(%d+) (.+)$')
  if holder then return holder end
  return math.floor(now + 0.5) <= tonumber(string.match(value, '^%d+') or 0) and PEER
end
local function take(g)
  if g.delayed or g.ttl == 0 then return end
  local before = call('GET', g.key)
  local left = before and call('PTTL', g.key)
  local value = g.lock and string.format('%d %s', math.floor(now + 0.5) + math.ceil(g.ttl / 1000) + 1, g.holder) or g.holder
  call('SET', g.key, value, 'PX', g.ttl)
  if left and left > 0 then back('SET', g.key, before, 'PX', left) else back('DEL', g.key) end
end
local function let_go(g)
  local fine, holder = pcall(holder_of, g) -- a key that holds something else keeps no job from being settled
  if g.delayed or not fine or holder ~= g.holder then return end
  local value, left = call('GET', g.key), call('PTTL', g.key)
  call('DEL', g.key)
  if left > 0 then back('SET', g.key, value, 'PX', left) end
end

-- effects

local function effects()
  return {
    put = messages(),
    acquire = list(function() return guard(arg(), arg(), arg()) end),
    release = list(function() return guard(arg(), arg()) end),
    values = list(function() return {name = arg(), value = arg(), ttl = arg()} end),
    counters = list(function() return {key = P .. 'stat:' .. arg(), by = num()} end),
    countdown = list(function() return {key = S .. 'batch:' .. arg(), member = arg(), size = num(), ttl = arg(), put = messages()} end),
  }
end
-- The answer that refuses the whole call, where a guard is held by somebody else.
local function guarded(e)
  for _, g in ipairs(e.acquire) do
    local holder = holder_of(g)
    if holder and holder ~= g.holder then return {'guard', g.name, holder} end
  end
end
local function count_down(c)
  local added = redis.pcall('SADD', c.key, c.member)
  if type(added) == 'table' then
    if string.find(added.err, 'WRONGTYPE', 1, true) then call('DEL', c.key) end -- of another's hand: it counts nothing
    added = call('SADD', c.key, c.member)
  end
  if added == 0 then return end
  back('SREM', c.key, c.member)
  call('PEXPIRE', c.key, c.ttl)
  if call('SCARD', c.key) < c.size then return end
  place(c.put, news(c.put))
  local members = call('SMEMBERS', c.key)
  call('DEL', c.key)
  undone_by(function()
    slices(members, 200, function(i, j) call('SADD', c.key, unpack(members, i, j)) end)
    call('PEXPIRE', c.key, c.ttl)
  end)
end
local function apply(e)
  place(e.put, news(e.put))
  for _, c in ipairs(e.countdown) do count_down(c) end
  for _, c in ipairs(e.counters) do
    local total = display('INCRBY', c.key, string.format('%d', c.by)) -- nil: another's key, or at its end
    if total == c.by then back('DEL', c.key) elseif total then back('INCRBY', c.key, string.format('%d', -c.by)) end
  end
  for _, g in ipairs(e.acquire) do take(g) end
  for _, g in ipairs(e.release) do let_go(g) end
  for _, v in ipairs(e.values) do call('SET', S .. 'value:' .. v.name, v.value, 'PX', v.ttl) end
end

-- workers and their claims

local function worker()
  local w = {key = arg(), lease = num(), facts = arg(), started = arg(), ids = list(arg)}
  w.hash, w.claims = S .. 'worker:' .. w.key, S .. 'claims:' .. w.key
  return w
end
-- What the worker's threads are shown to work on in Resque's records: token and Resque's id, line after line.
local function shown(key)
  local ids = {}
  for token, id in string.gmatch(call('HGET', S .. 'worker:' .. key, 'shown') or '', '([^\n]+)\n([^\n]+)') do ids[token] = id end
  return ids
end
-- Where node-resque took a worker of ours for dead, it put a copy of the job that the worker is shown to have into `failed`, and the
-- worker out of `workers`. The job is held still; who retries the copy would run it twice. Found by what node writes in front and
-- behind, and by the job's id, or all its bytes where it has none.
local function is_copy(entry, name, payload)
  local front = '{"worker":"' .. name .. '","queue":"'
  if string.sub(entry, 1, #front) ~= front then return false end
  if not string.find(entry, '"exception":"Worker Timeout (killed manually)"', #front, true) then return false end
  local ids = 0
  for id in string.gmatch(payload, '"id":"[^"\\]+"') do
    if not string.find(entry, id, 1, true) then return false end
    ids = ids + 1
  end
  return ids > 0 or string.find(entry, '"payload":' .. payload .. ',', 1, true) ~= nil
end
local function take_back_copy(id, payload)
  local failed, bytes, at = P .. 'failed', 0, -1
  repeat -- among the newest: it is seen with the next heartbeat, or when the job is rescued or settled
    local entry = redis.pcall('LINDEX', failed, at)
    if type(entry) ~= 'string' then return end
    if is_copy(entry, string.match(id, '^(.*):[^:]*$'), payload) then
      call('LREM', failed, -1, entry)
      back('RPUSH', failed, entry)
      return
    end
    bytes, at = bytes + #entry, at - 1
  until bytes > MOST_BYTES or at < -100
end
local function take_back(key, token, id)
  local value = call('HGET', S .. 'claims:' .. key, token)
  if value then
    local _, payload = cut(value)
    take_back_copy(id, payload)
  end
end
-- Resque's ids of a worker, each between two line ends. The event loop's slots are none of them: they are shown, and not in `workers`.
local function registered(key) return '\n' .. (call('HGET', S .. 'worker:' .. key, 'ids') or '') .. '\n' end
local function taken_for_dead(key, id)
  return has_line(registered(key), id) and display('SISMEMBER', P .. 'workers', id) == 0
end
local function alive(w) call('ZADD', LEASES, string.format('%.6f', now + w.lease), w.key) end
local function register(w)
  alive(w)
  local before = registered(w.key)
  call('HSET', w.hash, 'facts', w.facts, 'lease', w.lease, 'ids', table.concat(w.ids, '\n'))
  for _, id in ipairs(w.ids) do
    if display('SADD', P .. 'workers', id) == 1 then -- whoever takes it out of there deletes the other as well
      display('SET', P .. 'worker:' .. id .. ':started', w.started)
      for token, thread in pairs(has_line(before, id) and shown(w.key) or {}) do
        if thread == id then take_back(w.key, token, id) end
      end
    end
  end
end
local function bury(key)
  local open
  for _, id in pairs(shown(key)) do display('DEL', P .. 'worker:' .. id) end -- also of async tasks, whose slots aren't in `ids`
  for id in string.gmatch(call('HGET', S .. 'worker:' .. key, 'ids') or '', '[^\n]+') do
    local name, queues = string.match(id, '^(.*):([^:]*)$')
    display('SREM', P .. 'workers', id)
    display('DEL', P .. 'worker:' .. id, P .. 'worker:' .. id .. ':started', P .. 'stat:processed:' .. id, P .. 'stat:failed:' .. id,
      P .. 'stat:processed:' .. name, P .. 'stat:failed:' .. name)
    for queue in string.gmatch(queues, '[^,]+') do call('SREM', S .. 'idle:' .. queue, key) end
    open = open or string.find(queues, '[%*!]')
  end
  if open then -- it waited for queues that its id doesn't name
    call('SREM', IDLE_FOR_NEW, key)
    for _, queue in ipairs(display('SMEMBERS', P .. 'queues') or {}) do call('SREM', S .. 'idle:' .. queue, key) end
  end
  call('DEL', S .. 'worker:' .. key, S .. 'wake:' .. key)
end
-- Claims to settle, as spoolq.store.redis.encoding.claims writes them.
local function claims()
  local found = {}
  for _ = 1, num() do
    local worker, queue = arg(), arg()
    for _ = 1, num() do found[#found + 1] = {worker = worker, token = arg(), queue = queue} end
  end
  return found
end
-- Those that are held still, and the tokens of the others.
local function held(claims)
  local have, lost, seen, whose, key = {}, {}, {}, nil, nil
  for _, c in ipairs(claims) do
    if not seen[c.token] then
      seen[c.token] = true
      if c.worker ~= whose then whose, key = c.worker, S .. 'claims:' .. c.worker end
      if call('HEXISTS', key, c.token) == 1 then have[#have + 1] = c else lost[#lost + 1] = c.token end
    end
  end
  return have, lost
end
local function show(key, ids)
  local lines = {}
  for token, id in pairs(ids) do
    lines[#lines + 1] = token
    lines[#lines + 1] = id
  end
  if #lines == 0 then
    call('HDEL', S .. 'worker:' .. key, 'shown')
  else
    call('HSET', S .. 'worker:' .. key, 'shown', table.concat(lines, '\n'))
  end
end
-- The claims end, their jobs as `word` says (nil: they are in their queues again). Last in a script: nothing after it can fail, and it
-- isn't taken back.
local function drop(have, word)
  local workers, queues = {}, {}
  for _, c in ipairs(have) do
    workers[c.worker] = workers[c.worker] or {}
    table.insert(workers[c.worker], c.token)
    queues[c.queue] = (queues[c.queue] or 0) + 1
  end
  for queue, jobs in pairs(queues) do
    count('c:' .. queue, -jobs)
    if word then tally(word, queue, jobs) end
  end
  for key, tokens in pairs(workers) do
    local ids, changed = shown(key), false
    for _, token in ipairs(tokens) do
      if ids[token] and taken_for_dead(key, ids[token]) then take_back(key, token, ids[token]) end
    end
    slices(tokens, 200, function(i, j) call('HDEL', S .. 'claims:' .. key, unpack(tokens, i, j)) end)
    for _, token in ipairs(tokens) do
      if ids[token] then
        display('DEL', P .. 'worker:' .. ids[token])
        ids[token], changed = nil, true
      end
    end
    if changed then show(key, ids) end
  end
end
-- Every settling verb: fenced by the token; `finish` does what becomes of the jobs, `word` is what they are counted as.
local function settle(claims, e, finish, word)
  local have, lost = held(claims)
  if #have == 0 then return {'ok', lost} end
  local fine, refusal = pcall(guarded, e)
  if not fine then e.acquire = {} end -- a key of that name that is no guard: the job goes on without
  if fine and refusal then return refusal end
  works_when_full()
  finish(have)
  apply(e)
  drop(have, word)
  return {'ok', lost}
end

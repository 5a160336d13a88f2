-- needs lib
-- Settle what is done and take what is due, as the worker's numbered call. Answers ok with the lost tokens, what the claims' tokens
-- begin with (their places in the call follow), the value (queue and payload) of each, nothing in place of one that is no longer held,
-- 1 where there may be more that didn't fit into the answer, the queues that are paused, and those at a limit with the seconds to wait;
-- stale; late; guard; undo.
local FULL = 0.25 -- as in spoolq.store.quota
return atomically(function()
  local w, number, not_after, limit, was_idle = worker(), num(), num(), num(), arg()
  local queues, done, word, e = list(arg), claims(), arg(), effects()
  local tokens = w.key .. ':' .. number .. ':'
  local quotas, limited = {}, {}
  for _, q in ipairs(list(function() return {queue = arg(), most = num(), interval = num(), ahead = num()} end)) do quotas[q.queue] = q end
  local open, paused, held_back = queues, {}, limit > 0 and pauses() or {}
  if held_back['*'] then
    open, paused = {}, {'*'}
  elseif next(held_back) then
    open = {}
    for _, queue in ipairs(queues) do
      local those = held_back[queue] and paused or open
      those[#those + 1] = queue
    end
  end
  local state = call('HMGET', w.hash, 'call', 'took', 'lost', 'facts', 'more')
  local last = state[1] and tonumber(state[1])
  if last and number < last then return {'stale'} end
  if last and number == last then
    local again = {}
    for i = 1, tonumber(state[2]) do again[i] = call('HGET', w.claims, tokens .. i) end
    local lost = {}
    for token in string.gmatch(state[3], '[^\n]+') do lost[#lost + 1] = token end
    return {'ok', lost, tokens, again, tonumber(state[5] or 0), paused, limited}
  end
  if now > not_after then return {'late'} end
  local have, lost = held(done)
  local binding = #have > 0 or #done == 0
  local refusal = binding and guarded(e)
  if refusal then return refusal end

  works_when_full()
  if binding then apply(e) end
  local taken, trouble = {}, nil
  local n, more, bytes, largest = 0, 0, 0, 1
  -- How many more jobs of a queue its quota allows, which limit it is that keeps it from more, and when the next one begins.
  local function allowance(q)
    local jobs, why, begins = limit - n, nil, nil
    if q.most > 0 then
      local count = display('HGET', COUNTS, 'c:' .. q.queue)
      local claimed = count == false and 0 or tonumber(string.match(count or '', '^%d+$'))
      if not claimed then claimed, miscounted = q.most, true end -- none for now: they are counted anew
      for _, c in ipairs(have) do claimed = claimed - (c.queue == q.queue and 1 or 0) end -- they are dropped last
      if q.most - claimed <= jobs then jobs, why = math.max(0, q.most - claimed), 'full' end
    end
    if q.interval > 0 then
      local noted = tonumber(display('GET', S .. 'rate:' .. q.queue) or 0) or 0
      begins = math.max(now, math.min(noted, now + q.ahead + q.interval)) -- further away: a clock that was set back
      local room = now + q.ahead - begins
      local due = room < 0 and 0 or math.floor(room / q.interval + 0.000001) + 1
      if due <= jobs then jobs, why = due, 'spaced' end
    end
    return jobs, why, begins
  end
  local function note(q, jobs, why, begins)
    if begins and jobs > 0 then
      local key = S .. 'rate:' .. q.queue
      local before = display('GET', key)
      begins = begins + jobs * q.interval
      call('SET', key, string.format('%.6f', begins), 'PX', math.ceil((begins - now) * 1000) + 1000)
      if before then back('SET', key, before, 'PX', math.ceil((q.ahead + q.interval) * 1000) + 1000) else back('DEL', key) end
    end
    if why and (display('LLEN', P .. 'queue:' .. q.queue) or 0) > 0 then -- else there is nothing to come back for
      limited[#limited + 1] = q.queue
      limited[#limited + 1] = string.format('%.6f', why == 'full' and FULL or math.max(0, begins - q.ahead - now))
    end
  end
  -- The next few of a queue that fit, and how many of those that it shows have been taken; the first of all always fits.
  local function pop(key, most)
    if n == 0 then return redis.pcall('LPOP', key, 1), 1 end
    local few = math.max(1, math.min(most, 16, math.floor((MOST_BYTES - bytes) / largest)))
    local seen = redis.pcall('LRANGE', key, 0, few - 1)
    if seen.err then return seen end
    local fit, size = 0, bytes
    for i, payload in ipairs(seen) do
      size = size + #payload
      if size > MOST_BYTES then
        more = 1
        break
      end
      fit = i
    end
    if fit == 0 then return false end
    local trimmed = redis.pcall('LTRIM', key, fit, -1) -- LPOP would bring all of them a second time
    return trimmed.err and trimmed or seen, fit
  end
  for _, queue in ipairs(open) do
    local key, start, quota, strangers = P .. 'queue:' .. queue, n, quotas[queue], 0
    local most, why, begins = limit - n, nil, nil
    if quota then most, why, begins = allowance(quota) end
    while n - start < most and more == 0 do
      local payloads, fit = pop(key, most - (n - start))
      if not payloads then break end
      if payloads.err then
        trouble = trouble or payloads -- such a queue doesn't keep the worker from the others
        break
      end
      local fields = {}
      for i = 1, fit do
        local payload = payloads[i]
        n, bytes, largest = n + 1, bytes + #payload, math.max(largest, #payload)
        strangers = strangers + (ours(payload) and 0 or 1)
        taken[n] = queue .. '\n' .. payload
        fields[2 * i - 1], fields[2 * i] = tokens .. n, taken[n]
      end
      undone_by(function()
        for i = fit, 1, -1 do call('LPUSH', key, payloads[i]) end
      end)
      call('HSET', w.claims, unpack(fields))
      undone_by(function()
        for i = 1, #fields, 2 do call('HDEL', w.claims, fields[i]) end
      end)
    end
    if n > start then count('c:' .. queue, n - start) end
    tally('found', queue, strangers)
    if quota then note(quota, n - start, n - start == most and why, begins) end
  end
  if trouble and n == 0 and #done == 0 then error({said = trouble.err}) end
  if was_idle == '1' then
    for _, queue in ipairs(queues) do call('SREM', S .. 'idle:' .. queue, w.key) end
  end
  if state[4] then alive(w) else register(w) end
  call('HSET', w.hash, 'call', number, 'took', n, 'lost', table.concat(lost, '\n'), 'more', more)
  drop(have, word)
  return {'ok', lost, tokens, taken, more, paused, limited}
end)

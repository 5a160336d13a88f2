-- needs lib
-- Settle what is done and take what is due, as the worker's numbered call. Answers ok with the lost tokens and token, value (queue and
-- payload) of each claim, 1 where there may be more that didn't fit into the answer, and the queues that are paused; stale; late;
-- guard; undo.
return atomically(function()
  local w, number, not_after, limit, was_idle = worker(), num(), num(), num(), arg()
  local queues, done, e = list(arg), list(claim), effects()
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
    for i = 1, tonumber(state[2]) do
      local token = w.key .. ':' .. number .. ':' .. i
      local value = call('HGET', w.claims, token)
      if value then
        again[#again + 1] = token
        again[#again + 1] = value
      end
    end
    local lost = {}
    for token in string.gmatch(state[3], '[^\n]+') do lost[#lost + 1] = token end
    return {'ok', lost, again, tonumber(state[5] or 0), paused}
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
  -- The next few of a queue that fit; the first of all always does.
  local function pop(key)
    if n == 0 then return redis.pcall('LPOP', key, 1) end
    local few = math.max(1, math.min(limit - n, 16, math.floor((MOST_BYTES - bytes) / largest)))
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
    return fit > 0 and redis.pcall('LPOP', key, fit)
  end
  for _, queue in ipairs(open) do
    local key, start = P .. 'queue:' .. queue, n
    while n < limit and more == 0 do
      local payloads = pop(key)
      if not payloads then break end
      if payloads.err then
        trouble = trouble or payloads -- such a queue doesn't keep the worker from the others
        break
      end
      local again, fields = {}, {}
      for i, payload in ipairs(payloads) do
        n, bytes, largest = n + 1, bytes + #payload, math.max(largest, #payload)
        local token, value = w.key .. ':' .. number .. ':' .. n, queue .. '\n' .. payload
        again[#payloads + 1 - i] = payload
        fields[2 * i - 1], fields[2 * i] = token, value
        taken[#taken + 1] = token
        taken[#taken + 1] = value
      end
      back('LPUSH', key, unpack(again))
      call('HSET', w.claims, unpack(fields))
      for i = 1, #fields, 2 do back('HDEL', w.claims, fields[i]) end
    end
    if n > start then count('c:' .. queue, n - start) end
  end
  if trouble and n == 0 and #done == 0 then error({said = trouble.err}) end
  if was_idle == '1' then
    for _, queue in ipairs(queues) do call('SREM', S .. 'idle:' .. queue, w.key) end
  end
  if state[4] then alive(w) else register(w) end
  call('HSET', w.hash, 'call', number, 'took', n, 'lost', table.concat(lost, '\n'), 'more', more)
  drop(have)
  return {'ok', lost, taken, more, paused}
end)

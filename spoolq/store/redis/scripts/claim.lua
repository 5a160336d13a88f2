-- needs lib
-- Settle what is done and take what is due, as the worker's numbered call. Answers ok with the lost tokens and token, value (queue and
-- payload) of each claim; stale; late; guard; undo.
return atomically(function()
  local w, number, not_after, limit, was_idle = worker(), num(), num(), num(), arg()
  local queues, done, e = list(arg), list(claim), effects()
  local state = call('HMGET', w.hash, 'call', 'took', 'lost', 'facts')
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
    return {'ok', lost, again}
  end
  if now > not_after then return {'late'} end
  local have, lost = held(done)
  local binding = #have > 0 or #done == 0
  local refusal = binding and guarded(e)
  if refusal then return refusal end

  works_when_full()
  if binding then apply(e) end
  local taken, trouble = {}, nil
  local n = 0
  for _, queue in ipairs(queues) do
    if n >= limit then break end
    local key = P .. 'queue:' .. queue
    local payloads = redis.pcall('LPOP', key, limit - n)
    if type(payloads) == 'table' and payloads.err then
      trouble = trouble or payloads -- such a queue doesn't keep the worker from the others
    elseif payloads then
      local again, fields = {}, {}
      for i, payload in ipairs(payloads) do
        n = n + 1
        local token, value = w.key .. ':' .. number .. ':' .. n, queue .. '\n' .. payload
        again[#payloads + 1 - i] = payload
        fields[2 * i - 1], fields[2 * i] = token, value
        taken[#taken + 1] = token
        taken[#taken + 1] = value
      end
      slices(again, 200, function(i, j) back('LPUSH', key, unpack(again, #again + 1 - j, #again + 1 - i)) end)
      slices(fields, 400, function(i, j) call('HSET', w.claims, unpack(fields, i, j)) end)
      for i = 1, #fields, 2 do back('HDEL', w.claims, fields[i]) end
      count('c:' .. queue, #payloads)
    end
  end
  if trouble and n == 0 and #done == 0 then error({said = trouble.err}) end
  if was_idle == '1' then
    for _, queue in ipairs(queues) do call('SREM', S .. 'idle:' .. queue, w.key) end
  end
  if state[4] then alive(w) else register(w) end
  call('HSET', w.hash, 'call', number, 'took', n, 'lost', table.concat(lost, '\n'))
  drop(have)
  return {'ok', lost, taken}
end)

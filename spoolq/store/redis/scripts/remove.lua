-- needs lib
-- Take away one job that waits, with effects: from a queue ('queue', its name, the payload), from our delayed jobs ('delayed', the
-- queue, the member) or from Resque's ('resque', the second, the payload). Answers ok with 1, or with 0 where it waits there no more.
return atomically(function()
  local kind, name, value, e = arg(), arg(), arg(), effects()
  works_when_full()
  local gone
  if kind == 'delayed' then
    local at = call('ZSCORE', DELAYED, value)
    gone = call('ZREM', DELAYED, value)
    if gone == 1 then
      back('ZADD', DELAYED, at, value)
      count('s:' .. name, -1)
    end
  else
    local key = P .. (kind == 'queue' and 'queue:' or 'delayed:') .. name
    gone = call('LREM', key, 1, value)
    if gone == 1 then back('LPUSH', key, value) end
  end
  if gone == 0 then return {'ok', 0} end
  apply(e)
  if kind == 'resque' then
    local key = 'delayed:' .. name
    if #redis.call('LRANGE', P .. key, 0, 0) == 0 then redis.pcall('ZREM', P .. 'delayed_queue_schedule', name) end
    local left = false
    for _, other in ipairs(redis.call('LRANGE', P .. key, 0, 999)) do left = left or other == value end
    if not left then redis.pcall('SREM', P .. 'timestamps:' .. value, key) end
  end
  return {'ok', 1}
end)

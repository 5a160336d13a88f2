-- needs lib
-- Take over claims of workers whose lease ran out, under new tokens. A worker left with nothing is forgotten.
-- Answers token and value (queue and payload), and so on.
return atomically(function()
  local w, limit = worker(), num()
  works_when_full()
  register(w)
  -- No lease ends later than one that begins now, unless the clock was set back since (another server's, after a fail-over)
  for _, key in ipairs(call('ZRANGEBYSCORE', LEASES, '(' .. string.format('%.6f', now + w.lease), '+inf', 'LIMIT', 0, 100)) do
    local lease = tonumber(call('HGET', S .. 'worker:' .. key, 'lease') or w.lease)
    if tonumber(call('ZSCORE', LEASES, key)) > now + lease then call('ZADD', LEASES, string.format('%.6f', now + lease), key) end
  end
  local taken = {}
  for _, key in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', stamp, 'LIMIT', 0, 100)) do
    local claims = S .. 'claims:' .. key
    local left = 0
    for _, token in ipairs(key == w.key and {} or call('HKEYS', claims)) do
      if #taken >= 2 * limit then
        left = left + 1
      else
        local value = call('HGET', claims, token)
        local mine = w.key .. ':r' .. stamp .. ':' .. (#taken / 2 + 1)
        call('HSET', w.claims, mine, value)
        call('HDEL', claims, token)
        taken[#taken + 1] = mine
        taken[#taken + 1] = value
      end
    end
    if left == 0 and key ~= w.key then
      bury(key)
      call('ZREM', LEASES, key)
    end
  end
  return taken
end)

-- needs lib
-- Take over claims of workers whose lease ran out, under new tokens. A worker left with nothing is forgotten.
-- Answers token and value (queue and payload), and so on.
return atomically(function()
  local w, limit = worker(), num()
  works_when_full()
  if call('HEXISTS', w.hash, 'facts') == 1 then alive(w) else register(w) end
  -- No lease ends later than one that begins now, unless the clock was set back since (another server's, after a fail-over)
  for _, key in ipairs(call('ZRANGEBYSCORE', LEASES, '(' .. string.format('%.6f', now + w.lease), '+inf', 'LIMIT', 0, 100)) do
    local lease = tonumber(call('HGET', S .. 'worker:' .. key, 'lease') or w.lease)
    if tonumber(call('ZSCORE', LEASES, key)) > now + lease then call('ZADD', LEASES, string.format('%.6f', now + lease), key) end
  end
  local taken, emptied, bytes = {}, {}, 0
  for _, key in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', stamp, 'LIMIT', 0, 100)) do
    local claims = S .. 'claims:' .. key
    local left = 0
    for token, id in pairs(shown(key)) do
      if key ~= w.key and taken_for_dead(key, id) then take_back(key, token, id) end
    end
    for _, token in ipairs(key == w.key and {} or call('HKEYS', claims)) do
      local size = call('HSTRLEN', claims, token)
      if #taken >= 2 * limit or (#taken > 0 and bytes + size > MOST_BYTES) then
        left = left + 1
      else
        local value = call('HGET', claims, token)
        local mine = w.key .. ':r' .. stamp .. ':' .. (#taken / 2 + 1)
        call('HSET', w.claims, mine, value)
        back('HDEL', w.claims, mine)
        call('HDEL', claims, token)
        back('HSET', claims, token, value)
        bytes = bytes + size
        taken[#taken + 1] = mine
        taken[#taken + 1] = value
      end
    end
    if left == 0 and key ~= w.key then emptied[#emptied + 1] = key end
  end
  -- Last, and nothing here fails the call: without its lease nobody would find what an undo gives back to a dead worker. One whose
  -- records can't be removed is tried again with the next call, and keeps nobody's jobs.
  for _, key in ipairs(emptied) do
    if pcall(bury, key) then redis.pcall('ZREM', LEASES, key) end
  end
  return taken
end)

-- needs lib
-- What is counted and what is there, for each of the queues asked for: name, ready, scheduled, claimed, and the counts by the words
-- asked for; in front of them what the count is called, since when, and how many jobs have been ended since, by whichever workers,
-- or are in the hands of others than spoolq's.
-- Where the count has no name yet, and one is given, it gets that.
return atomically(function()
  local name, queues, words = arg(), list(arg), list(arg)
  local function whole(n) return tonumber(n or 0) or 0 end
  local ended = whole(display('GET', P .. 'stat:processed')) + whole(display('GET', P .. 'stat:failed'))
  if name ~= '' then works_when_full() end
  if name ~= '' and call('HEXISTS', TALLY, 'birth') == 0 then
    local own, flat = {done = 0, failed = 0}, call('HGETALL', TALLY)
    for i = 1, #flat, 2 do
      local word = string.match(flat[i], '^(%a+):')
      if own[word] then own[word] = own[word] + whole(flat[i + 1]) end
    end
    call('HSET', TALLY, 'birth', name, 'since', stamp, 'others', ended - own.done - own.failed)
  end
  -- What another's worker is at now it has taken, and has not counted yet
  local known, busy = {}, 0
  for _, key in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    for id in string.gmatch(registered(key), '[^\n]+') do known[id] = true end
  end
  for _, id in ipairs(display('SMEMBERS', P .. 'workers') or {}) do
    if not known[id] then busy = busy + (display('EXISTS', P .. 'worker:' .. id) or 0) end
  end
  local about, rows = call('HMGET', TALLY, 'birth', 'since', 'others'), {}
  for _, queue in ipairs(queues) do
    local jobs, fields = redis.pcall('LLEN', P .. 'queue:' .. queue), {}
    for i, word in ipairs(words) do fields[i] = word .. ':' .. queue end
    local there = call('HMGET', COUNTS, 's:' .. queue, 'c:' .. queue)
    rows[#rows + 1] = {queue, type(jobs) == 'number' and jobs or 0, whole(there[1]), whole(there[2]), call('HMGET', TALLY, unpack(fields))}
  end
  return {about[1] or '', about[2] or '0', ended + busy - whole(about[3]), rows}
end)

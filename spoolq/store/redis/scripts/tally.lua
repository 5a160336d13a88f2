-- needs lib
-- What is counted and what is there, for each of the queues asked for: name, ready, scheduled, claimed, and the counts by the words
-- asked for; in front of them what the count is called, since when, how many jobs have been ended since, by whichever workers, or are in
-- the hands of others than spoolq's, and how often there was a recount.
-- Where the count has no name yet, and one is given, it gets that. What is delayed and claimed is counted anew where it is not as much
-- as is there: somebody took jobs away without a word, and they are missing.
return atomically(function()
  local name, first, queues, words = arg(), arg(), list(arg), list(arg)
  local function whole(n) return tonumber(n or 0) or 0 end
  local counted, there = 0, first == '1' and display('ZCARD', DELAYED)
  if there then
    for _, n in ipairs(display('HVALS', COUNTS) or {'no hash'}) do counted = counted + (tonumber(n) or math.huge) end
    for _, key in ipairs(call('ZRANGE', LEASES, 0, -1)) do there = there + (display('HLEN', S .. 'claims:' .. key) or 0) end
    if counted ~= there then pcall(recount) end
  end
  local size = redis.pcall('HLEN', TALLY)
  if type(size) == 'table' and string.find(tostring(size.err), 'WRONGTYPE', 1, true) then redis.pcall('DEL', TALLY) end -- begins anew
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
  local about, rows = display('HMGET', TALLY, 'birth', 'since', 'others', 'recounted') or {}, {}
  for _, queue in ipairs(queues) do
    local jobs, fields = redis.pcall('LLEN', P .. 'queue:' .. queue), {}
    for i, word in ipairs(words) do fields[i] = word .. ':' .. queue end
    local there = display('HMGET', COUNTS, 's:' .. queue, 'c:' .. queue) or {}
    rows[#rows + 1] = {queue, type(jobs) == 'number' and jobs or 0, whole(there[1]), whole(there[2]), display('HMGET', TALLY, unpack(fields)) or {}}
  end
  return {about[1] or '', about[2] or '0', ended + busy - whole(about[3]), whole(about[4]), rows}
end)

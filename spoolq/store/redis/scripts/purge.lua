-- needs lib
-- Delete the ready jobs of a queue. Answers how many there were. Those of them that nobody has counted were found: how many is told by
-- what came (the second list of words) and went (the third), since a long queue isn't looked through.
return atomically(function()
  local queue, came, went = arg(), list(arg), list(arg)
  local key = P .. 'queue:' .. queue
  local jobs = call('LLEN', key)
  local function sum(words)
    local total = 0
    for _, word in ipairs(words) do total = total + (tonumber(display('HGET', TALLY, word .. ':' .. queue) or 0) or 0) end
    return total
  end
  local elsewhere = 0
  for _, n in ipairs(display('HMGET', COUNTS, 's:' .. queue, 'c:' .. queue) or {}) do elsewhere = elsewhere + (tonumber(n or 0) or 0) end
  call('UNLINK', key)
  tally('found', queue, math.max(0, jobs - math.max(0, sum(came) - sum(went) - elsewhere)))
  tally('purged', queue, jobs)
  return jobs
end)

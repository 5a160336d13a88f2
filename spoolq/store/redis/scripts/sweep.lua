-- needs lib
-- One step over the keys: members of timestamps:JOB whose delayed list is gone would keep node-resque's DelayQueueLock shut for ever.
-- Answers the cursor of the next step.
return atomically(function()
  local pattern = string.gsub(P, '[%*%?%[%]\\]', '\\%0') .. 'timestamps:*'
  local step = call('SCAN', arg(), 'MATCH', pattern, 'COUNT', 200)
  for _, key in ipairs(step[2]) do
    local members = redis.pcall('SMEMBERS', key)
    for _, member in ipairs(members.err and {} or members) do
      if call('EXISTS', P .. member) == 0 then call('SREM', key, member) end -- a removal: it works when Redis is full, too
    end
  end
  return step[1]
end)

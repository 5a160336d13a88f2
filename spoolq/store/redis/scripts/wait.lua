-- needs lib
-- Answers 1 when a queue has a job. Else the worker is noted as idle, for whoever pushes next, also into a queue that isn't there
-- yet where it says '1' at the end, and 0 is answered.
return atomically(function()
  local key, queues, appear = arg(), list(arg), arg()
  call('DEL', S .. 'wake:' .. key)
  for _, queue in ipairs(queues) do
    local jobs = redis.pcall('LLEN', P .. 'queue:' .. queue)
    if type(jobs) == 'number' and jobs > 0 then return 1 end
  end
  for _, queue in ipairs(queues) do call('SADD', S .. 'idle:' .. queue, key) end
  if appear == '1' then call('SADD', IDLE_FOR_NEW, key) end
  return 0
end)

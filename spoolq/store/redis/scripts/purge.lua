-- needs lib
-- Delete the ready jobs of a queue. Answers how many there were.
return atomically(function()
  local key = P .. 'queue:' .. arg()
  local jobs = call('LLEN', key)
  call('UNLINK', key)
  return jobs
end)

-- needs lib
-- One entry out of the log and its job into a queue. Answers how many: 0 when the entry is gone.
return atomically(function()
  local entry, queue, payload = arg(), arg(), arg()
  if call('LREM', P .. 'failed', -1, entry) == 0 then return 0 end
  back('RPUSH', P .. 'failed', entry)
  push(queue, {payload})
  if ours(payload) then tally('retried', queue, 1) end
  return 1
end)

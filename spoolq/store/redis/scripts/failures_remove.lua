-- needs lib
-- Delete entries of the log, the newest equal one of each. Answers how many were there.
return atomically(function()
  local removed = 0
  for _, entry in ipairs(list(arg)) do removed = removed + call('LREM', P .. 'failed', -1, entry) end
  return removed
end)

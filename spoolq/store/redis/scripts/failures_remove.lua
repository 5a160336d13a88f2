-- needs lib
-- Delete entries of the log: of equal ones the newest each (-1), or the oldest (1). Answers how many were there.
return atomically(function()
  local first, removed = num(), 0
  for _, entry in ipairs(list(arg)) do removed = removed + call('LREM', P .. 'failed', first, entry) end
  return removed
end)

-- needs lib
-- Delete the oldest entries of the log beyond the newest so many, up to a limit, counted here: several workers may do so at once.
-- Answers how many.
return atomically(function()
  local key, keep, limit = P .. 'failed', num(), num()
  works_when_full()
  local over = math.min(call('LLEN', key) - keep, limit)
  if over <= 0 then return 0 end
  call('LTRIM', key, over, -1)
  return over
end)

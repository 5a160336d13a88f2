-- needs lib
-- The worker ends. What it still holds may be rescued at once.
return atomically(function()
  local key = arg()
  works_when_full()
  if call('HLEN', S .. 'claims:' .. key) > 0 then
    call('ZADD', LEASES, 0, key)
  else
    call('ZREM', LEASES, key)
  end
  bury(key)
  return 1
end)

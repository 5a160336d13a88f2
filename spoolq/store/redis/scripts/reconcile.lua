-- needs lib
-- Raise the worker's call number, so that no earlier call takes effect any more, and list its claims: token, value, and so on.
return atomically(function()
  local w, number = worker(), num()
  local last = call('HGET', w.hash, 'call')
  if last and number < tonumber(last) then return {'stale'} end
  works_when_full()
  register(w)
  if not last or number > tonumber(last) then call('HSET', w.hash, 'call', number, 'took', 0, 'lost', '') end
  return {'ok', call('HGETALL', w.claims)}
end)

-- needs lib
-- Raise the worker's call number, so that no earlier call takes effect any more, and list its claims: token, size of
-- its value (-1 for one that the worker knows), and so on. The values are fetched after it, in bearable pieces.
return atomically(function()
  local w, number = worker(), num()
  local known, listed = {}, {}
  for _, token in ipairs(list(arg)) do known[token] = true end
  local last = call('HGET', w.hash, 'call')
  if last and number < tonumber(last) then return {'stale'} end
  works_when_full()
  register(w)
  if not last or number > tonumber(last) then call('HSET', w.hash, 'call', number, 'took', 0, 'lost', '', 'more', 0) end
  for _, token in ipairs(call('HKEYS', w.claims)) do
    listed[#listed + 1] = token
    listed[#listed + 1] = known[token] and -1 or call('HSTRLEN', w.claims, token)
  end
  return {'ok', listed}
end)

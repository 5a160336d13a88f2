-- needs lib
-- The worker lives: its lease, its registration, and Resque's record of what each thread works on ("as it is": what is shown stays).
-- Answers how many claims it holds.
return atomically(function()
  local w, working = worker(), arg()
  local now_on = list(function() return {id = arg(), token = arg(), record = arg()} end)
  works_when_full()
  register(w)
  if working == 'as it is' then return call('HLEN', w.claims) end
  if working == '' then call('HDEL', w.hash, 'working') else call('HSET', w.hash, 'working', working) end
  local before, after, busy = shown(w.key), {}, {}
  for _, j in ipairs(now_on) do
    if j.record ~= '' and call('HEXISTS', w.claims, j.token) == 1 then
      after[j.token], busy[j.id] = j.id, true
      if before[j.token] ~= j.id or display('EXISTS', P .. 'worker:' .. j.id) == 0 then display('SET', P .. 'worker:' .. j.id, j.record) end
    end
  end
  for token, id in pairs(before) do
    if not busy[id] then display('DEL', P .. 'worker:' .. id) end
  end
  if next(before) or next(after) then show(w.key, after) end
  return call('HLEN', w.claims)
end)

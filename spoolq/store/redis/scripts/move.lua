-- needs lib
-- Jobs that wait, each away from where it is (kind, name, value: see take_away) and to where it is to go: a queue's end, its front,
-- or among those that wait for their time, Resque's own to Resque's. Answers a digit for each: 1 where it was there still.
return atomically(function()
  local moves = list(function()
    return {kind = arg(), name = arg(), value = arg(), queue = arg(), id = arg(), at = arg(), front = arg(), payload = arg()}
  end)
  works_when_full()
  local moved = {}
  for i, m in ipairs(moves) do
    moved[i] = take_away(m.kind, m.name, m.value) and '1' or '0'
    -- Resque's own delayed jobs, and those of others, aren't counted yet
    local was, is = m.kind ~= 'resque' and ours(m.value), ours(m.payload)
    if moved[i] == '0' then -- somebody else was faster
      was, is = false, false
    elseif tonumber(m.at) > now then
      if m.kind == 'resque' then
        delay_resque(tonumber(m.at), m.payload)
        is = false
      else
        is = delay(m.queue, m.id, m.at, m.payload) and is
      end
    elseif m.front == '1' then
      push_front(m.queue, m.payload)
    else
      push(m.queue, {m.payload})
    end
    if was and not (is and m.name == m.queue) then tally('moved', m.name, 1) end
    if is and not (was and m.name == m.queue) then tally(was and 'moved_in' or 'put', m.queue, 1) end
  end
  for i, m in ipairs(moves) do
    if moved[i] == '1' then forget_delayed(m.kind, m.name, m.value) end
  end
  return {'ok', table.concat(moved)}
end)

-- needs lib
-- Delete entries of the log. Each has the place at which it was seen: from the newest end (negative) or, where the first argument
-- is 1 and not -1, from the oldest. It is looked for there, then near, since others may have come or gone, then everywhere from
-- that end, which takes long in a long log. What is found by its place goes in one walk through the log for all of them: they
-- are marked first. Answers how many were there.
local MARK = '\0removed\0'
return atomically(function()
  works_when_full()
  local key, first = P .. 'failed', num()
  local seen = list(function() return {place = num(), entry = arg()} end)
  local moved, marked, elsewhere = 0, 0, {}
  local function mark(one)
    for by = moved - 4, moved + 32 do
      local place = one.place - by
      if (place < 0) == (first < 0) and call('LINDEX', key, place) == one.entry then
        call('LSET', key, place, MARK)
        back('LSET', key, place, one.entry)
        moved, marked = by, marked + 1
        return true
      end
    end
  end
  for _, one in ipairs(seen) do
    if not mark(one) then elsewhere[#elsewhere + 1] = one.entry end
  end
  if marked > 0 then call('LREM', key, first * marked, MARK) end
  stays()
  local removed = marked
  for _, entry in ipairs(elsewhere) do removed = removed + call('LREM', key, first, entry) end
  return removed
end)

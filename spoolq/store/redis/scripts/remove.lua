-- needs lib
-- Take away one job that waits (kind, name, value: see take_away), with effects. Answers ok with 1, or with 0 where it waits there
-- no more.
return atomically(function()
  local kind, name, value, word, e = arg(), arg(), arg(), arg(), effects()
  works_when_full()
  if not take_away(kind, name, value) then return {'ok', 0} end
  if kind ~= 'resque' then
    if not ours(value) then tally('found', name, 1) end
    tally(word, name, 1)
  end
  apply(e)
  forget_delayed(kind, name, value)
  return {'ok', 1}
end)

-- needs lib
-- Answers name, holder and milliseconds left (-1: no end) of those of these guards that are held.
return atomically(function()
  local found = {}
  for _, name in ipairs(list(arg)) do
    local g = guard(name)
    local fine, holder = pcall(holder_of, g)
    if fine and holder then
      found[#found + 1] = name
      found[#found + 1] = holder
      found[#found + 1] = call('PTTL', g.key)
    end
  end
  return found
end)

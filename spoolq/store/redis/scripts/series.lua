-- needs lib
-- Add numbers up, in one hash of name to number: ARGV: how many names it may have, then a list of name and number. What can't be
-- added to, another's key or a number at its end, is left as it is: nothing but a picture is wrong by it. Answers how many were added.
return atomically(function()
  local SERIES, most, done = S .. 'series', num(), 0
  local names = display('HLEN', SERIES)
  if not names then return 0 end
  local room = names < most
  for _, one in ipairs(list(function() return {name = arg(), by = arg()} end)) do
    if room or call('HEXISTS', SERIES, one.name) == 1 then
      local total = display('HINCRBY', SERIES, one.name, one.by)
      if total then
        back('HINCRBY', SERIES, one.name, string.format('%d', -tonumber(one.by)))
        done = done + 1
      end
    end
  end
  return done
end)

-- needs lib
-- Entries of a list that have this text in them, looked for from its end to its head: what is pushed or taken meanwhile is passed
-- over by nobody. Begins behind the first `start` from the end, and stops after 1,000, or 1 MiB. Answers how far it came, 1 at the
-- list's head, and the entries.
local key, start, needle = P .. arg(), num(), arg()
local found, bytes, seen = {}, 0, start
local size = redis.pcall('LLEN', key)
if type(size) ~= 'number' then return {start, 1, {}} end -- no list: somebody else's
while seen < size and seen - start < 1000 and bytes < MOST_BYTES do
  local few = redis.call('LRANGE', key, -(seen + 20), -(seen + 1))
  for i = #few, 1, -1 do
    bytes = bytes + #few[i]
    if string.find(few[i], needle, 1, true) then found[#found + 1] = few[i] end
  end
  if #few == 0 then break end
  seen = seen + #few
end
return {seen, seen >= size and 1 or 0, found}

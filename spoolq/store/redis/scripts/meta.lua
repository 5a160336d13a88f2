-- needs lib
-- Set ('set' value) or delete ('del') a setting; with 'is' expected or 'no' only while it has that value or none. Answers 1 or 0.
return atomically(function()
  local key, verb, value, condition, expected = arg(), arg(), arg(), arg(), arg()
  local found = call('HGET', S .. 'meta', key)
  if condition == 'is' and found ~= expected then return 0 end
  if condition == 'no' and found then return 0 end
  works_when_full()
  if verb == 'del' then call('HDEL', S .. 'meta', key) else call('HSET', S .. 'meta', key, value) end
  return 1
end)

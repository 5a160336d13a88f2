-- needs lib
-- Whether Redis could be asked what this user may run (7.0 on), and of those commands the ones that it may not, by number. Where it
-- can't be asked they are tried, on a key of nobody's, which is gone again afterwards.
local key = arg()
local asked = redis.acl_check_cmd
local denied = {}
local function may(command)
  if asked then
    local known, allowed = pcall(asked, unpack(command))
    return not known or allowed ~= false
  end
  local reply = redis.pcall(unpack(command))
  redis.pcall('DEL', key)
  if type(reply) ~= 'table' or not reply.err then return true end
  local said = tostring(reply.err)
  return not (string.find(said, "can't run this command", 1, true) or string.find(said, "can't access at least one of the keys", 1, true))
end
for i, command in ipairs(list(function() return list(arg) end)) do
  if not may(command) then denied[#denied + 1] = i end
end
return {asked and 1 or 0, denied}

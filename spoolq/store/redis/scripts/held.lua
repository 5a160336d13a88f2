-- needs lib
-- The payloads in workers' hands that have this text in them.
local needle, found = arg(), {}
for _, key in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  for _, value in ipairs(redis.call('HVALS', S .. 'claims:' .. key)) do
    local _, payload = cut(value)
    if string.find(payload, needle, 1, true) then found[#found + 1] = payload end
  end
end
return found

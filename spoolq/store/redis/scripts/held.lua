-- needs lib
-- Worker, queue and payload, for each of the jobs in workers' hands that has this text in it.
local needle, found = arg(), {}
for _, key in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  for _, value in ipairs(redis.call('HVALS', S .. 'claims:' .. key)) do
    local queue, payload = cut(value)
    if string.find(payload, needle, 1, true) then
      for _, one in ipairs({key, queue, payload}) do found[#found + 1] = one end
    end
  end
end
return found

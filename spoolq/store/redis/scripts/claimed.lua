-- needs lib
-- A page of the jobs in workers' hands: as many as one answer should hold, at least one. Begins with the claim at `inside` of the
-- worker at `start`. Answers where the next one begins, -1 at the end, and inside; then worker, token, queue and payload of each.
local start, inside, limit = num(), num(), num()
local found, count, bytes = {}, 0, 0
for looked = 1, 1000 do
  local key = redis.call('ZRANGE', LEASES, start, start)[1]
  if not key then return {-1, 0, found} end
  local tokens = redis.call('HKEYS', S .. 'claims:' .. key)
  for i = inside + 1, #tokens do
    local queue, payload = cut(redis.call('HGET', S .. 'claims:' .. key, tokens[i]))
    bytes = bytes + #payload
    if count == limit or (count > 0 and bytes > MOST_BYTES) then return {start, i - 1, found} end
    count = count + 1
    for _, one in ipairs({key, tokens[i], queue, payload}) do found[#found + 1] = one end
  end
  start, inside = start + 1, 0
end
return {start, inside, found}

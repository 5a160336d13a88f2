-- needs lib
-- A page of the jobs that wait: as many as one answer should hold, at least one, however many there are. Looks at 1,000 at most.
-- Of a queue ('queue', its name), of our delayed jobs ('delayed', of the queue of that name, or the empty one: of all) or of
-- Resque's ('resque'), there from the place `inside` of the second at `start` on. Answers where the next page begins, -1 at the
-- end, and inside; then payload, payload …, member, score … or payload, second ….
local kind, name, start, inside, limit = arg(), arg(), num(), num(), num()
local found, count, bytes, looked = {}, 0, 0, 0
local function fits(value, beside)
  if count == limit or (count > 0 and bytes + #value > MOST_BYTES) then return false end
  count, bytes = count + 1, bytes + #value
  found[#found + 1] = value
  if beside then found[#found + 1] = beside end
  return true
end
local function read(...)
  local values = redis.pcall(...)
  return values.err and {} or values -- a key of another type is somebody else's
end

if kind == 'queue' then
  while looked < 1000 do
    local few = read('LRANGE', P .. 'queue:' .. name, start, start + 9)
    for _, payload in ipairs(few) do
      if not fits(payload) then return {start, 0, found} end
      start, looked = start + 1, looked + 1
    end
    if #few < 10 then return {-1, 0, found} end
  end
  return {start, 0, found}
end

if kind == 'delayed' then
  local front = name ~= '' and name .. '\n'
  while looked < 1000 do
    local few = read('ZRANGE', DELAYED, start, start + 9, 'WITHSCORES')
    for i = 1, #few, 2 do
      if not front or string.sub(few[i], 1, #front) == front then
        if not fits(few[i], few[i + 1]) then return {start, 0, found} end
      end
      start, looked = start + 1, looked + 1
    end
    if #few < 20 then return {-1, 0, found} end
  end
  return {start, 0, found}
end

while looked < 1000 do
  local second = read('ZRANGE', P .. 'delayed_queue_schedule', start, start)[1]
  if not second then return {-1, 0, found} end
  local few = read('LRANGE', P .. 'delayed:' .. second, inside, inside + 9)
  for _, payload in ipairs(few) do
    if not fits(payload, second) then return {start, inside, found} end
    inside = inside + 1
  end
  looked = looked + math.max(1, #few)
  if #few < 10 then start, inside = start + 1, 0 end
end
return {start, inside, found}

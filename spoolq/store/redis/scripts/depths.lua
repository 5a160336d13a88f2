-- needs lib
-- Answers name, length, the end of the head, and the counts of scheduled and claimed jobs, for each of the queues asked for: fewer,
-- at least one, where their heads are large, since a list's entry can only be looked at whole.
local rows, bytes = {}, 0
for _, queue in ipairs(list(arg)) do
  if bytes > MOST_BYTES then break end
  local key = P .. 'queue:' .. queue
  local jobs = redis.pcall('LLEN', key)
  local readable = type(jobs) == 'number'
  local head = readable and redis.call('LINDEX', key, 0) or ''
  local counts = display('HMGET', COUNTS, 's:' .. queue, 'c:' .. queue) or {}
  bytes = bytes + #head
  rows[#rows + 1] = {queue, readable and jobs or 0, string.sub(head, -512), counts[1] or '0', counts[2] or '0'}
end
return rows

-- needs lib
-- Answers name, length and head of every queue; and the counts of scheduled (s:NAME) and claimed (c:NAME) jobs.
local queues = {}
for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
  local jobs = redis.pcall('LLEN', P .. 'queue:' .. queue)
  local readable = type(jobs) == 'number'
  queues[#queues + 1] = {queue, readable and jobs or 0, readable and redis.call('LINDEX', P .. 'queue:' .. queue, 0) or ''}
end
return {queues, redis.call('HGETALL', COUNTS)}

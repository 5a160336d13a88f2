-- needs lib
-- Answers key, end of lease, facts, number of claims and what is worked on, for every worker.
local workers = {}
local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local hash = redis.call('HMGET', S .. 'worker:' .. leases[i], 'facts', 'working')
  local claims = redis.call('HLEN', S .. 'claims:' .. leases[i])
  workers[#workers + 1] = {leases[i], leases[i + 1], hash[1] or '', claims, hash[2] or ''}
end
return {workers, stamp}

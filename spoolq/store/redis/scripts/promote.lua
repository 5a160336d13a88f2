-- needs lib
-- Move what has come due into its queue, ours and, while we lead, Resque's own; forget markers past the horizon.
-- Answers how many were moved, 1 when we lead Resque's schedulers, and 1 where more is due than one script should move or forget.
return atomically(function()
  local limit, horizon, leader = num(), num(), arg()
  works_when_full()
  local moved, met, more, bytes, largest = 0, 0, 0, 0, 1
  local function fits(payload)
    if bytes > 0 and bytes + #payload > MOST_BYTES then
      more = 1
      return false
    end
    bytes, largest = bytes + #payload, math.max(largest, #payload)
    return true
  end
  local function due()
    local few = met == 0 and 1 or math.max(1, math.min(limit - met, 16, math.floor((MOST_BYTES - bytes) / largest)))
    return call('ZRANGEBYSCORE', DELAYED, '-inf', stamp, 'LIMIT', 0, few)
  end
  local function move(member)
    local queue, rest = cut(member)
    local _, payload = cut(rest)
    local key = P .. 'queue:' .. queue
    local pushed = redis.pcall('RPUSH', key, payload)
    if type(pushed) == 'table' then
      call('ZADD', DELAYED, string.format('%.6f', now + 60), member) -- its queue can't be written: later, and out of the others' way
    else
      back('RPOP', key)
      count('s:' .. queue, -1)
      know(queue)
      call('ZREM', DELAYED, member)
      stays()
      wake(queue, 1)
      moved = moved + 1
    end
  end

  while met < limit and more == 0 do
    local members = due()
    if #members == 0 then break end
    for _, member in ipairs(members) do
      if not fits(member) then break end
      met = met + 1
      move(member)
    end
  end

  local lock = P .. 'resque_scheduler_leader_lock'
  local holder, leads = display('GET', lock), 0 -- nil: another's key of that name
  if holder == leader then
    call('EXPIRE', lock, 180)
    leads = 1
  elseif holder == false then
    leads = call('SET', lock, leader, 'EX', 180, 'NX') and 1 or 0
  end
  local schedule, passed = P .. 'delayed_queue_schedule', 0
  while leads == 1 and more == 0 and moved < limit and passed < 100 do
    local second = (display('ZRANGEBYSCORE', schedule, '-inf', stamp, 'LIMIT', passed, 1) or {})[1] -- it may be no schedule
    if not second then break end
    local key = 'delayed:' .. second
    local payload = redis.pcall('LINDEX', P .. key, 0)
    if type(payload) == 'table' then
      passed = passed + 1 -- no list: somebody else's
    elseif not payload then
      call('ZREM', schedule, second)
    elseif fits(payload) then
      local fine, job = pcall(cjson.decode, payload)
      local queue = fine and type(job) == 'table' and job.queue
      if type(queue) ~= 'string' or queue == '' or string.find(queue, '\n', 1, true) then queue = 'default' end
      local pushed = redis.pcall('RPUSH', P .. 'queue:' .. queue, payload)
      if type(pushed) == 'table' then
        delay(queue, stamp .. ':' .. moved, string.format('%.6f', now + 60), payload)
      else
        back('RPOP', P .. 'queue:' .. queue)
        know(queue)
      end
      if ours(payload) then tally('put', queue, 1) end
      call('LPOP', P .. key)
      stays()
      if type(pushed) ~= 'table' then wake(queue, 1) end
      redis.pcall('SREM', P .. 'timestamps:' .. payload, key)
      if call('LLEN', P .. key) == 0 then call('ZREM', schedule, second) end
      moved = moved + 1
    end
  end

  local old = call('ZRANGEBYSCORE', MARKERS, '-inf', string.format('%.6f', now - horizon), 'LIMIT', 0, 1000)
  slices(old, 200, function(i, j) call('ZREM', MARKERS, unpack(old, i, j)) end)
  if #old == 1000 then more = 1 end
  return {moved, leads, more}
end)

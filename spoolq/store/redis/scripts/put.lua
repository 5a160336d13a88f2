-- Put one due message; the cheapest form. Answers 1 (new), 0 (the id was there), -1 (came too late), -2 (an undo failed).
-- KEYS: queue:NAME, spoolq:markers, queues, spoolq:idle:NAME, spoolq:tally
-- ARGV: namespace with its colon, queue, not-after, id, payload, then id and time of each marker to free
-- The push comes first: it is its own check of memory and type, and of everything that forbids writing (docs/hand-off.md).
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
if now > tonumber(ARGV[3]) then return -1 end

local pushed = redis.pcall('RPUSH', KEYS[1], ARGV[5])
if type(pushed) == 'table' then return redis.error_reply(pushed.err) end

-- wakes one of the workers that are idle there; answers whether there was one that lives
local function rouse(idle)
  local worker = redis.pcall('SPOP', idle)
  while type(worker) == 'string' do
    local lease = redis.pcall('ZSCORE', ARGV[1] .. 'spoolq:leases', worker)
    if type(lease) == 'string' and tonumber(lease) > now then
      local list = ARGV[1] .. 'spoolq:wake:' .. worker
      if redis.pcall('LLEN', list) == 0 then
        redis.pcall('RPUSH', list, '1')
        redis.pcall('EXPIRE', list, 60)
      end
      return true
    end
    worker = redis.pcall('SPOP', idle)
  end
  return false
end

local failed, known
local marked = redis.pcall('ZADD', KEYS[2], 'NX', clock[1], ARGV[4])
if marked == 1 then
  -- a queue that holds more than this message was made known by whoever pushed the first, but some are pushed by hand
  known = redis.pcall('SADD', KEYS[3], ARGV[2])
  if type(known) == 'table' then
    failed = known
    if type(redis.pcall('ZREM', KEYS[2], ARGV[4])) == 'table' then return -2 end
  end
elseif marked ~= 0 then
  failed = marked
end
if marked ~= 1 or failed then
  if type(redis.pcall('RPOP', KEYS[1])) == 'table' then
    if marked == 1 then redis.pcall('ZADD', KEYS[2], clock[1], ARGV[4]) end -- the push stays, and the next attempt has to know
    return -2
  end
  if failed then return redis.error_reply(failed.err) end
end

if marked == 1 then
  if string.find(ARGV[5], '],"id":"', 1, true) then -- as in lib.lua
    local field = 'put:' .. ARGV[2]
    if type(redis.pcall('HINCRBY', KEYS[5], field, 1)) ~= 'number' then
      redis.pcall('HDEL', KEYS[5], field)
      redis.pcall('HINCRBY', KEYS[5], field, 1)
    end
  end
  rouse(KEYS[4])
  if known == 1 and KEYS[3] == ARGV[1] .. 'queues' then -- a new queue, no probe's: for those who take from whatever appears
    while rouse(ARGV[1] .. 'spoolq:idle:*') do end
  end
end

-- removals last: in front of the push they would switch the out-of-memory refusal off
for i = 6, #ARGV, 2 do
  if now > tonumber(ARGV[i + 1]) then redis.pcall('ZREM', KEYS[2], ARGV[i]) end
end
return marked

-- needs lib
-- Pause a queue ('1'), or let it go on ('0'); '*' stands for all. Answers 1 when that changed something.
return atomically(function()
  local queue, on = arg(), arg() == '1'
  if (pauses()[queue] ~= nil) == on then return 0 end
  works_when_full()
  if on then call('HSET', S .. 'paused', queue, stamp) else call('HDEL', S .. 'paused', queue) end
  if queue == '*' then
    if on then call('SET', P .. 'pause-all-workers', 'true') else call('DEL', P .. 'pause-all-workers') end
  end
  return 1
end)

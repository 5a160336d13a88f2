-- needs lib
-- Give Resque's scheduler lock back, if it is ours.
if redis.call('GET', P .. 'resque_scheduler_leader_lock') == ARGV[1] then
  return redis.call('DEL', P .. 'resque_scheduler_leader_lock')
end
return 0

-- needs lib
-- Back to the front of their queues, in their order.
return atomically(function()
  return settle(claims(), effects(), function(have)
    local queues = {}
    for i = #have, 1, -1 do
      local queue, payload = cut(call('HGET', S .. 'claims:' .. have[i].worker, have[i].token))
      call('LPUSH', P .. 'queue:' .. queue, payload)
      back('LPOP', P .. 'queue:' .. queue)
      if not ours(payload) then tally('found', queue, -1) end -- it will be found again
      queues[queue] = (queues[queue] or 0) + 1
    end
    for queue, jobs in pairs(queues) do
      know(queue)
      wake(queue, jobs)
    end
  end)
end)

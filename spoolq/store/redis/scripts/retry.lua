-- needs lib
-- Back into its queue with a new payload, at once or when it is due.
return atomically(function()
  local mine, payload, at, e = claims(), arg(), arg(), effects()
  return settle(mine, e, function(have)
    local _, before = cut(call('HGET', S .. 'claims:' .. have[1].worker, have[1].token))
    if not (ours(before) or ours(payload)) then tally('found', have[1].queue, -1) end -- it will be found again
    if tonumber(at) > now then
      delay(have[1].queue, have[1].token, at, payload)
    else
      push(have[1].queue, {payload})
    end
  end)
end)

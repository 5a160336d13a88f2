-- needs lib
-- Out of the queue and into Resque's log of failures.
return atomically(function()
  local mine, entry, e = claims(), arg(), effects()
  return settle(mine, e, function()
    call('RPUSH', P .. 'failed', entry)
    back('RPOP', P .. 'failed')
  end, 'failed')
end)

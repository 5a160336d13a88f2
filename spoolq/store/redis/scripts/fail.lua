-- needs lib
-- Out of the queue and into Resque's log of failures.
return atomically(function()
  local claims, entry, e = list(claim), arg(), effects()
  return settle(claims, e, function()
    call('RPUSH', P .. 'failed', entry)
    back('RPOP', P .. 'failed')
  end, 'failed')
end)

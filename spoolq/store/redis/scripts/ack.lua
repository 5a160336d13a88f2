-- needs lib
return atomically(function()
  local done, e = list(claim), effects()
  return settle(done, e, function() end)
end)

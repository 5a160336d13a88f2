-- needs lib
return atomically(function()
  local done, word, e = list(claim), arg(), effects()
  return settle(done, e, function() end, word)
end)

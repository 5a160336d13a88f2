-- needs lib
return atomically(function()
  local done, word, e = claims(), arg(), effects()
  return settle(done, e, function() end, word)
end)

-- needs lib
-- Answers name, since when, name, since when ... of the queues that are paused, with '*' for all.
return atomically(function()
  local flat = {}
  for queue, since in pairs(pauses()) do
    flat[#flat + 1] = queue
    flat[#flat + 1] = since
  end
  return flat
end)

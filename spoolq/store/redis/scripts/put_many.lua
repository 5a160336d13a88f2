-- needs lib
-- Put messages, all or nothing, with effects; then free markers. Answers ok with a '1' or '0' for each (new or not), late, guard, undo.
return atomically(function()
  local not_after, word, messages, e = num(), arg(), messages(), effects()
  local may_go = frees()
  if now > not_after then return {'late'} end
  local flags = news(messages)
  if #messages > 0 and not string.find(table.concat(flags), '1', 1, true) then e.acquire = {} end -- whoever put them has them
  local refusal = guarded(e)
  if refusal then return refusal end
  if #messages + #e.put == 0 and #e.acquire > 0 then works_when_full() end -- a worker's, whose job makes room when it is done
  place(messages, flags, word)
  if #e.values > 0 then
    local there, values, n = {}, {}, 0
    for _, g in ipairs(messages) do
      for i = g.ids + 1, g.ids + g.count do
        n = n + 1
        there[ARGV[i]] = there[ARGV[i]] ~= false and flags[n] == '0'
      end
    end
    for _, v in ipairs(e.values) do
      if not there[string.match(v.name, ':(.*)$')] then values[#values + 1] = v end
    end
    e.values = values
  end
  apply(e)
  free(may_go) -- last: a removal in front would switch the out-of-memory refusal off
  return {'ok', table.concat(flags)}
end)

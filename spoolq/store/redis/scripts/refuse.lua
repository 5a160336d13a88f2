-- needs lib
-- From now on a put of this id is answered as one of a job that is there; where it was not put before, with these effects. Answers
-- ok with 1 or, where it was, with 0; guard; undo.
return atomically(function()
  local id, e = arg(), effects()
  local refusal = guarded(e)
  if refusal then return refusal end
  works_when_full()
  if call('ZADD', MARKERS, 'NX', stamp, id) == 0 then return {'ok', 0} end
  back('ZREM', MARKERS, id)
  apply(e)
  return {'ok', 1}
end)

-- name: doubt
-- an attempt for an id that is there already: it can only add to the doubt
UPDATE jobs SET doubt = 1, was = 1, not_after = max(not_after, ?2) WHERE id = ?1;

-- name: unanswered
UPDATE jobs SET keep = 1, doubt = max(doubt, ?2), was = max(was, ?2) WHERE id = ?1 AND keep = 0;

-- name: recall
-- a row that a local worker has now is not put in doubt: nothing was sent for it
UPDATE jobs SET doubt = 1, was = 1 WHERE id = ?1 AND (state <> 'c' OR doubt = 1);

-- name: known
SELECT 1 FROM jobs WHERE id = ?1;

-- name: ran
SELECT 1 FROM settled WHERE id = ?1 AND until > ?2;

-- name: next
-- in the order of arrival; the claimed rows that it passes over are as many as there are claims
SELECT seq, id, queue, payload, crc, run_at, keep, doubt, not_after, created_at, watch, front FROM jobs
WHERE seq > ?1 AND state IN ('r', 's') ORDER BY seq LIMIT ?2;

-- name: take
UPDATE jobs SET state = 'c', was = doubt, doubt = 1, not_after = max(not_after, ?3), worker = ?4, token = ?5
WHERE seq BETWEEN ?1 AND ?2 AND state IN ('r', 's');

-- name: give_back
UPDATE jobs
SET state = iif(run_at <= ?4, 'r', 's'), doubt = iif(?5, was, doubt), worker = 2305843009213693952, token = 2305843009213693952
WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c';

-- name: quarantine
UPDATE jobs SET seq = -seq, state = 'q', reason = ?3 WHERE seq = ?1 AND token = ?2 AND state = 'c';


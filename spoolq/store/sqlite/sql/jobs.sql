-- name: insert
-- an id that is there, or was settled and is still remembered, stays as it is: zero rows changed. The number is above every
-- other, whatever its sign: a row that is kept or set aside turns its own round. The values of more rows may follow, numbered
INSERT INTO jobs (seq, id, queue, payload, crc, run_at, keep, state, doubt, was, not_after, watch, front, worker, token, created_at)
SELECT max(ifnull((SELECT max(seq) FROM jobs), 0), -ifnull((SELECT min(seq) FROM jobs), 0), 0) + column1,
    column2, column3, column4, column5, column6, column7, column8, column9, column9, column10, column13,
    iif(column14, -max(ifnull((SELECT max(seq) FROM jobs), 0), -ifnull((SELECT min(seq) FROM jobs), 0), 0) - column1, 0),
    2305843009213693952, 2305843009213693952, column11
FROM (VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13))
WHERE NOT EXISTS (SELECT 1 FROM settled WHERE id = column2 AND until > column12)
ON CONFLICT (id) DO NOTHING;

-- name: promote
UPDATE jobs SET state = 'r'
WHERE seq IN (SELECT seq FROM jobs WHERE state = 's' AND queue = ?1 AND run_at <= ?2 ORDER BY run_at LIMIT ?3);

-- name: scheduled_queues
-- the names alone, by hops through the index, however many rows there are
WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM jobs WHERE state = 's')
    UNION ALL
    SELECT (SELECT min(queue) FROM jobs WHERE state = 's' AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL;

-- name: ready_queues
WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'r' AND doubt = 0)
    UNION ALL
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'r' AND doubt = 0 AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL;

-- name: claim
UPDATE jobs SET state = 'c', worker = ?3, token = ?4
WHERE seq IN (SELECT seq FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 ORDER BY front, seq LIMIT ?2)
RETURNING front, seq, id, payload, crc;

-- name: claimed_by_call
SELECT seq, queue, payload FROM jobs WHERE state = 'c' AND worker = ?1 AND token = ?2 ORDER BY front, seq;

-- name: claimed_by_worker
SELECT seq, token, queue, payload FROM jobs WHERE state = 'c' AND worker = ?1 ORDER BY seq;

-- by workers: what a drainer holds doesn't run
-- name: claimed_of_queue
SELECT count(*) FROM jobs
WHERE state = 'c' AND queue = ?1 AND worker IN (SELECT n FROM workers WHERE kind = 'worker');

-- name: held
SELECT id, queue FROM jobs WHERE seq = ?1 AND token = ?2 AND state = 'c';

-- name: held_between
-- the rows of a run, and whether the id of one is to be remembered
SELECT count(*), ifnull(max(keep), 0) FROM jobs WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c';

-- name: delete
DELETE FROM jobs WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c';

-- name: remember
INSERT OR REPLACE INTO settled (id, keep, until)
SELECT id, keep, ?4 FROM jobs WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c' AND (keep <> 0 OR ?5);

-- name: retry
UPDATE jobs
SET payload = ?3, crc = ?4, run_at = ?5, state = iif(?5 <= ?6, 'r', 's'), front = 0, worker = 2305843009213693952, token = 2305843009213693952
WHERE seq = ?1 AND token = ?2 AND state = 'c';

-- name: release
UPDATE jobs
SET state = iif(run_at <= ?4, 'r', 's'), worker = 2305843009213693952, token = 2305843009213693952
WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c';

-- name: rescue
-- never a row in doubt: nobody here may run it
UPDATE jobs SET worker = ?3, token = ?4
WHERE seq IN (SELECT seq FROM jobs WHERE state = 'c' AND worker = ?1 AND doubt = 0 ORDER BY seq LIMIT ?2)
RETURNING seq, id, queue, payload, crc;

-- name: free
-- what a drainer held, or came into doubt while it ran here: somebody may take it to the primary again
UPDATE jobs
SET state = iif(run_at <= ?3, 'r', 's'), worker = 2305843009213693952, token = 2305843009213693952
WHERE seq IN (SELECT seq FROM jobs WHERE state = 'c' AND worker = ?1 AND doubt >= ?4 ORDER BY doubt, seq LIMIT ?2);

-- name: set_aside
UPDATE jobs SET seq = -seq, state = 'q', reason = ?2 WHERE seq = ?1;

-- name: purge_remember
INSERT OR REPLACE INTO settled (id, keep, until)
SELECT id, keep, ?2 FROM jobs
WHERE keep <> 0 AND seq IN (SELECT seq FROM jobs WHERE state = 'r' AND doubt = ?3 AND queue = ?1 ORDER BY front, seq LIMIT ?4);

-- name: purge
DELETE FROM jobs
WHERE seq IN (SELECT seq FROM jobs WHERE state = 'r' AND doubt = ?2 AND queue = ?1 ORDER BY front, seq LIMIT ?3);

-- name: forget_settled
DELETE FROM settled WHERE id = ?1 AND keep = 2;

-- name: forget_row
UPDATE jobs SET keep = 0 WHERE id = ?1 AND keep = 2;

-- name: sweep_settled
DELETE FROM settled WHERE id IN (SELECT id FROM settled WHERE until <= ?1 ORDER BY until LIMIT ?2);

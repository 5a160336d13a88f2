-- name: find
-- a re-run has the id, a tab and its number
SELECT j.seq, j.id, j.queue, j.payload, j.run_at, j.state, j.doubt, w.kind FROM jobs AS j
LEFT JOIN workers AS w ON j.state = 'c' AND w.n = j.worker
WHERE j.id = ?1 OR (j.id > ?2 AND j.id < ?3) ORDER BY j.seq;

-- name: held
SELECT 1 FROM jobs AS j JOIN workers AS w ON w.n = j.worker
WHERE (j.id = ?1 OR (j.id > ?2 AND j.id < ?3)) AND j.state = 'c' AND w.kind = 'worker' LIMIT 1;

-- name: ready
SELECT seq, id, queue, payload, run_at, state, doubt, front FROM jobs
WHERE state = 'r' AND queue = ?1 AND (front, seq) > (?2, ?3) ORDER BY front, seq LIMIT ?4;

-- name: scheduled
SELECT seq, id, queue, payload, run_at, state, doubt, 0 FROM jobs
WHERE state = 's' AND (?1 IS NULL OR queue = ?1) AND (run_at, seq) > (?2, ?3) ORDER BY run_at, seq LIMIT ?4;

-- name: remember
INSERT OR REPLACE INTO settled (id, keep, until)
SELECT id, keep, ?4 FROM jobs WHERE seq = ?1 AND id = ?2 AND doubt = ?3 AND state IN ('r', 's', 'k') AND (keep <> 0 OR ?5);

-- name: remove
-- with the doubt that it was found with: a drainer may have taken it since, and given it back as one that may have arrived
DELETE FROM jobs WHERE seq = ?1 AND id = ?2 AND doubt = ?3 AND state IN ('r', 's', 'k');

-- name: refuse
INSERT INTO settled (id, keep, until)
SELECT ?1, 1, ?2 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)
ON CONFLICT (id) DO UPDATE SET until = excluded.until, keep = 1 WHERE settled.until <= ?3;

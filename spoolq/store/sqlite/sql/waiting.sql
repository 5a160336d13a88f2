-- name: find
-- a re-run has the id, a tab and its number
SELECT j.seq, j.id, j.queue, j.payload, j.run_at, j.state, j.doubt, w.kind, w.key FROM jobs AS j
LEFT JOIN workers AS w ON j.state = 'c' AND w.n = j.worker
WHERE j.id = ?1 OR (j.id > ?2 AND j.id < ?3) ORDER BY j.seq;

-- name: held
SELECT j.seq, j.id, j.queue, j.payload, j.run_at, j.state, j.doubt, w.kind, w.key FROM jobs AS j JOIN workers AS w ON w.n = j.worker
WHERE (j.id = ?1 OR (j.id > ?2 AND j.id < ?3)) AND j.state = 'c' AND w.kind = 'worker' ORDER BY j.seq;

-- name: claimed_places
-- these are few; the index keeps it from going through all that wait
SELECT seq FROM jobs INDEXED BY jobs_claimed WHERE state = 'c' AND seq > ?1 ORDER BY seq LIMIT ?2;

-- name: claimed
SELECT j.seq, j.id, j.queue, j.payload, j.run_at, j.state, j.doubt, w.kind, w.key FROM jobs AS j
LEFT JOIN workers AS w ON w.n = j.worker
WHERE j.seq = ?1 AND j.state = 'c';

-- name: ready
-- Where a page is, without its payloads. By parts, each of which goes on in an index where the last page ended: a comparison of the
-- whole place would begin with the first row of the same front, or of the same time, which may be all of them.
SELECT front, seq FROM (
    SELECT * FROM (SELECT front, seq FROM jobs
        WHERE state = 'r' AND doubt = 0 AND queue = ?1 AND front = ?2 AND seq > ?3 ORDER BY front, seq LIMIT ?4)
    UNION ALL SELECT * FROM (SELECT front, seq FROM jobs
        WHERE state = 'r' AND doubt = 0 AND queue = ?1 AND front > ?2 ORDER BY front, seq LIMIT ?4)
    UNION ALL SELECT * FROM (SELECT front, seq FROM jobs
        WHERE state = 'r' AND doubt = 1 AND queue = ?1 AND front = ?2 AND seq > ?3 ORDER BY front, seq LIMIT ?4)
    UNION ALL SELECT * FROM (SELECT front, seq FROM jobs
        WHERE state = 'r' AND doubt = 1 AND queue = ?1 AND front > ?2 ORDER BY front, seq LIMIT ?4)
) ORDER BY front, seq LIMIT ?4;

-- name: scheduled
SELECT run_at, doubt, seq FROM (
    SELECT * FROM (SELECT run_at, doubt, seq FROM jobs
        WHERE state = 's' AND queue = ?1 AND run_at = ?2 AND doubt = ?3 AND seq > ?4 ORDER BY run_at, doubt, seq LIMIT ?5)
    UNION ALL SELECT * FROM (SELECT run_at, doubt, seq FROM jobs
        WHERE state = 's' AND queue = ?1 AND run_at = ?2 AND doubt > ?3 ORDER BY run_at, doubt, seq LIMIT ?5)
    UNION ALL SELECT * FROM (SELECT run_at, doubt, seq FROM jobs
        WHERE state = 's' AND queue = ?1 AND run_at > ?2 ORDER BY run_at, doubt, seq LIMIT ?5)
) ORDER BY run_at, doubt, seq LIMIT ?5;

-- name: row
SELECT seq, id, queue, payload, run_at, state, doubt FROM jobs WHERE seq = ?1 AND state IN ('r', 's');

-- name: last
SELECT max(ifnull((SELECT max(seq) FROM jobs), 0), -ifnull((SELECT min(seq) FROM jobs), 0), 0);

-- name: move
-- behind all others, by the next number; what is ready now and was not keeps no time that is to come
UPDATE jobs
SET seq = ?4, queue = ?5, payload = ?6, crc = ?7, run_at = iif(?8 <= ?9, min(run_at, ?9), ?8), state = iif(?8 <= ?9, 'r', 's'),
    front = iif(?10, -?4, 0)
WHERE seq = ?1 AND id = ?2 AND doubt = ?3 AND state IN ('r', 's');

-- name: remember
INSERT OR REPLACE INTO settled (id, keep, until)
SELECT id, keep, ?4 FROM jobs WHERE seq = ?1 AND id = ?2 AND doubt = ?3 AND state IN ('r', 's', 'k') AND (keep <> 0 OR ?5);

-- name: remove
-- with the doubt that it was found with: a drainer may have taken it since, and given it back as one that may have arrived
DELETE FROM jobs WHERE seq = ?1 AND id = ?2 AND doubt = ?3 AND state IN ('r', 's', 'k') RETURNING queue, state;

-- name: refuse
INSERT INTO settled (id, keep, until)
SELECT ?1, 1, ?2 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)
ON CONFLICT (id) DO UPDATE SET until = excluded.until, keep = 1 WHERE settled.until <= ?3;

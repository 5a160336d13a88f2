-- name: rows
SELECT seq, id, queue, payload, crc FROM jobs WHERE seq > ?1 ORDER BY seq LIMIT ?2;

-- name: texts
-- only reading it tells whether a text is one: SQLite's own check doesn't
SELECT id, queue FROM jobs;

-- name: quarantined
SELECT seq, id, queue, payload, crc, reason, created_at, doubt FROM jobs WHERE seq < ?1 AND state = 'q' ORDER BY seq DESC LIMIT ?2;

-- name: find_quarantined
SELECT seq, id, queue, payload, crc, reason, created_at, doubt FROM jobs WHERE id = ?1 AND state = 'q';

-- name: release
-- as if it had been spooled now, by its id: what is in doubt for long would be set aside again
UPDATE jobs
SET seq = max(ifnull((SELECT max(seq) FROM jobs), 0), -ifnull((SELECT min(seq) FROM jobs), 0), 0) + 1,
    state = iif(run_at <= ?2, 'r', 's'), crc = ?3, reason = NULL,
    keep = 1, doubt = 1, was = 1, created_at = ?2, worker = 2305843009213693952, token = 2305843009213693952
WHERE id = ?1 AND state = 'q';

-- name: drop
DELETE FROM jobs WHERE id = ?1 AND state = 'q' RETURNING queue;

-- name: page_job
SELECT seq, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front FROM jobs
WHERE seq > ?1 AND seq > 0 AND state IN ('r', 's') ORDER BY seq LIMIT ?2;

-- name: exported
UPDATE jobs SET keep = 1, doubt = 1, was = 1 WHERE seq BETWEEN ?1 AND ?2 AND state IN ('r', 's');

-- name: page_quarantine
SELECT seq, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front FROM jobs
WHERE seq < ?1 AND state = 'q' ORDER BY seq DESC LIMIT ?2;

-- name: page_settled
SELECT id, keep, until FROM settled WHERE id > ?1 AND until > ?3 ORDER BY id LIMIT ?2;

-- name: page_failure
SELECT n, id, failed_at, entry FROM failures WHERE n > ?1 ORDER BY n LIMIT ?2;

-- name: remove_job
-- as it was read: whoever took it since has raised its not-after, and may have sent it
DELETE FROM jobs WHERE seq = ?1 AND not_after = ?2 AND state IN ('r', 's') RETURNING queue;

-- name: remove_quarantine
DELETE FROM jobs WHERE seq = ?1 AND state = 'q' RETURNING queue;

-- name: remove_failure
DELETE FROM failures WHERE n = ?1 RETURNING NULL;

-- name: add_job
INSERT INTO jobs (seq, id, queue, payload, crc, run_at, keep, state, doubt, was, not_after, watch, front, worker, token,
    created_at, reason)
SELECT
    iif(?8 IS NULL, n, -n), ?1, ?2, ?3, ?4, ?5, 1, iif(?8 IS NULL, iif(?5 <= ?9, 'r', 's'), 'q'), 1, 1, ?6, ?10, iif(?11, -n, 0),
    2305843009213693952, 2305843009213693952, ?7, ?8
FROM (SELECT max(ifnull((SELECT max(seq) FROM jobs), 0), -ifnull((SELECT min(seq) FROM jobs), 0), 0) + 1 AS n)
WHERE NOT EXISTS (SELECT 1 FROM settled WHERE id = ?1 AND until > ?9)
ON CONFLICT (id) DO NOTHING;

-- name: add_settled
INSERT INTO settled (id, keep, until) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until);

-- name: add_failure
INSERT INTO failures (id, failed_at, entry)
SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM failures WHERE id = ?1 AND failed_at = ?2 AND entry = ?3);

-- name: free_pages
PRAGMA freelist_count;

-- name: known_ids
-- the unique index alone: readable where the table is not
SELECT seq, id FROM jobs INDEXED BY sqlite_autoindex_jobs_1;

-- name: salvage_up
SELECT seq, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front FROM jobs NOT INDEXED
WHERE seq > ?1 ORDER BY seq LIMIT ?2;

-- name: salvage_down
SELECT seq, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front FROM jobs NOT INDEXED
WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2;

-- name: salvage_one
SELECT seq, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front FROM jobs NOT INDEXED WHERE seq = ?1;

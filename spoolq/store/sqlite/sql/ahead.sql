-- name: watch
INSERT OR IGNORE INTO watches (n, run, line, progress, until) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: watch_of
SELECT n FROM watches WHERE run = ?1 AND line = ?2 AND progress = ?3 AND until = ?4;

-- name: keep
-- the primary has it: out of everybody's way, and in doubt since it was taken
UPDATE jobs SET seq = -seq, state = 'k', worker = ?4, token = 2305843009213693952
WHERE seq BETWEEN ?1 AND ?2 AND token = ?3 AND state = 'c';

-- name: watches
SELECT n, run, line, progress, until FROM watches ORDER BY until;

-- name: kept
SELECT seq, id, keep, not_after FROM jobs WHERE state = 'k' AND worker = ?1 ORDER BY seq DESC LIMIT ?2;

-- name: let_go
DELETE FROM jobs WHERE seq = ?2 AND state = 'k' AND worker = ?1;

-- name: send_again
-- at the place that it had
UPDATE jobs SET seq = -seq, state = iif(run_at <= ?3, 'r', 's'), worker = 2305843009213693952
WHERE seq = ?2 AND state = 'k' AND worker = ?1
RETURNING queue;

-- name: end_watch
DELETE FROM watches WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'k' AND worker = ?1);

-- name: ready
SELECT queue, count(*), min(seq) FROM jobs WHERE state = 'r' AND doubt = 0 GROUP BY queue;

-- name: in_doubt
SELECT queue, count(*), min(seq) FROM jobs WHERE state = 'r' AND doubt = 1 GROUP BY queue;

-- name: scheduled
SELECT queue, count(*) FROM jobs WHERE state = 's' GROUP BY queue;

-- name: claimed
SELECT queue, count(*) FROM jobs WHERE state = 'c' GROUP BY queue;

-- name: since
SELECT max(created_at, run_at) FROM jobs WHERE seq = ?1;

-- name: count_ready
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 LIMIT ?1);

-- name: count_some
SELECT count(*) FROM (SELECT 1 FROM jobs LIMIT ?1);

-- name: count_in_doubt
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 1 LIMIT ?1);

-- name: count_scheduled
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 's' LIMIT ?1);

-- name: count_claimed
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'c' LIMIT ?1);

-- name: count_kept
SELECT count(*) FROM jobs WHERE state = 'k';

-- name: count_quarantined
SELECT count(*) FROM jobs WHERE state = 'q';

-- name: scheduled_in_doubt
SELECT count(*) FROM jobs WHERE state = 's' AND doubt = 1;

-- name: claimed_in_doubt
SELECT count(*) FROM jobs WHERE state = 'c' AND doubt = 1;

-- name: oldest
SELECT created_at FROM jobs WHERE seq > 0 ORDER BY seq LIMIT 1;

-- name: span
SELECT (SELECT max(seq) FROM jobs WHERE seq > 0) - (SELECT min(seq) FROM jobs WHERE seq > 0) + 1;

-- name: any_waiting
SELECT 1 FROM jobs WHERE seq > 0 AND state IN ('r', 's') LIMIT 1;

-- name: any_ready
SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 LIMIT 1;

-- name: next_due
SELECT run_at FROM jobs WHERE state = 's' AND queue = ?1 AND doubt = 0 ORDER BY run_at LIMIT 1;

-- name: set_about
INSERT OR REPLACE INTO about (key, value) VALUES (?1, ?2);

-- name: about
SELECT value FROM about WHERE key = ?1;

-- name: has_front
SELECT count(*) FROM pragma_table_info('jobs') WHERE name = 'front';

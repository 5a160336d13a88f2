-- name: find
SELECT n, call, fence, lost FROM workers WHERE key = ?1;

-- name: register
INSERT INTO workers (n, key, host, pid, queues, threads, started_at, lease, kind, lease_ends, call, fence, lost, working)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, -1, 2305843009213693952, '[]', '[]')
ON CONFLICT (key) DO UPDATE SET
    host = excluded.host, pid = excluded.pid, queues = excluded.queues, threads = excluded.threads,
    started_at = excluded.started_at, lease = excluded.lease, kind = excluded.kind, lease_ends = excluded.lease_ends;

-- name: extend
UPDATE workers SET lease = ?2, lease_ends = ?3 + ?2 WHERE key = ?1 RETURNING n;

-- name: heartbeat
UPDATE workers SET lease = ?2, lease_ends = ?3 + ?2, working = ?4 WHERE key = ?1 RETURNING n;

-- name: called
UPDATE workers SET lease_ends = ?2, call = ?3, fence = ?4, lost = ?5 WHERE n = ?1;

-- name: held
SELECT count(*) FROM jobs WHERE state = 'c' AND worker = ?1;

-- name: not_ahead
-- No lease ends later than one that begins now, unless the clock was set back since; else the dead would hold theirs for so long.
UPDATE workers SET lease_ends = ?1 + lease WHERE lease_ends > ?1 + lease;

-- name: expired
SELECT n, kind FROM workers WHERE lease_ends <= ?1 AND key <> ?2 ORDER BY lease_ends;

-- name: expire
UPDATE workers SET lease_ends = 0, working = '[]' WHERE key = ?1;

-- name: remove
DELETE FROM workers WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'c' AND worker = ?1);

-- name: all
SELECT n, key, host, pid, queues, threads, started_at, lease, kind, lease_ends, working FROM workers ORDER BY key;

-- name: working
SELECT queue, payload FROM jobs WHERE seq = ?1 AND token = ?2 AND state = 'c';

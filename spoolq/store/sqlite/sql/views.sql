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

-- name: in_doubt_queues
WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'r' AND doubt = 1)
    UNION ALL
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'r' AND doubt = 1 AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL;

-- name: ready_of
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 LIMIT ?2);

-- name: in_doubt_of
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 1 AND queue = ?1 LIMIT ?2);

-- name: scheduled_of
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 's' AND queue = ?1 LIMIT ?2);

-- name: ready_head
-- the first to come of those that came to the end of their queue: two hops, whatever is at its front
SELECT seq FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 AND front = 0 ORDER BY seq LIMIT 1;

-- name: in_doubt_head
SELECT seq FROM jobs WHERE state = 'r' AND doubt = 1 AND queue = ?1 AND front = 0 ORDER BY seq LIMIT 1;

-- name: ready_front
-- and of those that were put at the front: the later, the nearer to it
SELECT seq FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 AND front < 0 ORDER BY front DESC LIMIT 1;

-- name: in_doubt_front
SELECT seq FROM jobs WHERE state = 'r' AND doubt = 1 AND queue = ?1 AND front < 0 ORDER BY front DESC LIMIT 1;

-- name: claimed_up_to
SELECT queue, count(*) FROM (SELECT queue FROM jobs WHERE state = 'c' LIMIT ?1) GROUP BY queue;

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
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'k' LIMIT ?1);

-- name: count_quarantined
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'q' LIMIT ?1);

-- name: scheduled_in_doubt
-- among so many: which of them are in doubt no index tells
SELECT count(*) FROM (SELECT doubt FROM jobs WHERE state = 's' LIMIT ?1) WHERE doubt = 1;

-- name: claimed_in_doubt
SELECT count(*) FROM (SELECT doubt FROM jobs WHERE state = 'c' LIMIT ?1) WHERE doubt = 1;

-- name: oldest
SELECT created_at FROM jobs WHERE seq > 0 ORDER BY seq LIMIT 1;

-- name: oldest_job
-- not of one queue
SELECT created_at FROM jobs WHERE seq > 0 AND queue <> ?1 ORDER BY seq LIMIT 1;

-- name: count_relayed
-- of one queue, those that are ready; one that a drainer has in its hands is there for a moment
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 LIMIT ?2);

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

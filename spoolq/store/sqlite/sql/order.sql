-- name: mark
-- whoever spools with order marks the file, so that each drainer and worker of it keeps the order, however it is set itself
INSERT OR IGNORE INTO about (key, value) VALUES ('ordering', 'fifo');

-- name: marked
SELECT 1 FROM about WHERE key = 'ordering';

-- name: unmark
DELETE FROM about WHERE key = 'ordering' AND NOT EXISTS (SELECT 1 FROM jobs WHERE seq > 0);

-- name: holds
SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1)
    OR EXISTS (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 1 AND queue = ?1)
    OR EXISTS (SELECT 1 FROM jobs WHERE state = 's' AND queue = ?1)
    OR EXISTS (SELECT 1 FROM jobs WHERE state = 'c' AND queue = ?1);

-- name: next
SELECT seq, id, queue, payload, crc, run_at, keep, doubt, not_after, created_at, watch, front FROM jobs
WHERE seq > ?1 AND state IN ('r', 's') AND queue NOT IN (SELECT queue FROM jobs WHERE state = 'c') ORDER BY seq LIMIT ?2;

-- name: take
UPDATE jobs SET state = 'c', was = doubt, doubt = 1, not_after = max(not_after, ?2), worker = ?3, token = ?4 WHERE seq = ?1;

-- name: head
-- the row of a queue that a local worker may take: the first, with none of the queue claimed and none in doubt before it
SELECT seq FROM jobs
WHERE seq = (SELECT seq FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 ORDER BY front, seq LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE state = 'c' AND queue = ?1)
    AND NOT EXISTS (SELECT 1 FROM jobs AS e WHERE e.state = 'r' AND e.doubt = 1 AND e.queue = ?1 AND e.seq < jobs.seq);

-- name: claim
UPDATE jobs SET state = 'c', worker = ?2, token = ?3 WHERE seq = ?1 RETURNING front, seq, id, payload, crc;

-- The tally is of counters whose names are a line feed, a word of spoolq.store.tally, a line feed and the queue; samples are values,
-- and go when their time has passed. So neither needs a table, of which the file's first page has room for few more.

-- name: count
-- above 2305843009213693952, so that it is eight bytes wide from birth on; one that was set to the end of numbers stays there,
-- since a count keeps no job from its way
INSERT INTO counters (name, n) VALUES (?1, 2305843009213693952 + ?2)
ON CONFLICT (name) DO UPDATE SET n = iif(n > 9000000000000000000, n, n + ?2);

-- name: quarantined_queues
WITH RECURSIVE q (name) AS (
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'q')
    UNION ALL
    SELECT (SELECT min(queue) FROM jobs WHERE state = 'q' AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL;

-- name: quarantined_of
SELECT count(*), 0 FROM (SELECT 1 FROM jobs WHERE state = 'q' AND queue = ?1 LIMIT ?2);

-- name: in_doubt_of
SELECT count(*), count(*) FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 1 AND queue = ?1 LIMIT ?2);

-- name: scheduled_of
SELECT count(*), coalesce(sum(doubt), 0) FROM (SELECT doubt FROM jobs WHERE state = 's' AND queue = ?1 LIMIT ?2);

-- name: ready_of
SELECT count(*), 0 FROM (SELECT 1 FROM jobs WHERE state = 'r' AND doubt = 0 AND queue = ?1 LIMIT ?2);

-- name: claimed
-- in no order of queues, of which there is no index
SELECT queue, count(*), sum(doubt) FROM (SELECT queue, doubt FROM jobs WHERE state = 'c' LIMIT ?1) GROUP BY queue;

-- name: counts
SELECT name, n - 2305843009213693952 FROM counters WHERE name BETWEEN char(10) AND char(11);

-- name: samples
SELECT value FROM vals WHERE key BETWEEN ?1 AND ?2 AND until > ?3 ORDER BY key;

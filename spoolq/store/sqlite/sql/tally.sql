-- The tally is of counters whose names are a line feed, a word of spoolq.store.tally, a line feed and the queue; samples are values,
-- and go when their time has passed. So neither needs a table, of which the file's first page has room for few more.

-- name: count
-- above 2305843009213693952, so that it is eight bytes wide from birth on; one that was set to the end of numbers stays there,
-- since a count keeps no job from its way
INSERT INTO counters (name, n) VALUES (?1, 2305843009213693952 + ?2)
ON CONFLICT (name) DO UPDATE SET n = iif(n > 9000000000000000000, n, n + ?2);

-- name: ledger
-- one statement, so that all of it is of one moment; each part from an index
SELECT name, '', n - 2305843009213693952 FROM counters WHERE name BETWEEN char(10) AND char(11)
UNION ALL SELECT queue, 'ready', count(*) FROM jobs WHERE state = 'r' AND doubt = 0 GROUP BY queue
UNION ALL SELECT queue, 'in_doubt', count(*) FROM jobs WHERE state = 'r' AND doubt = 1 GROUP BY queue
UNION ALL SELECT queue, iif(doubt, 'in_doubt', 'scheduled'), count(*) FROM jobs WHERE state = 's' GROUP BY queue, doubt
UNION ALL SELECT queue, iif(doubt, 'in_doubt', 'claimed'), count(*) FROM jobs WHERE state = 'c' GROUP BY queue, doubt
UNION ALL SELECT queue, 'quarantined', count(*) FROM jobs WHERE state = 'q' GROUP BY queue;

-- name: counts
SELECT name, '', n - 2305843009213693952 FROM counters WHERE name BETWEEN char(10) AND char(11);

-- name: samples
SELECT value FROM vals WHERE key BETWEEN ?1 AND ?2 AND until > ?3 ORDER BY key;

-- name: add
-- numbers go on where the spool was set aside and begun anew: the first is the time, in microseconds
INSERT INTO events (n, at, kind, text, detail, pid)
VALUES (ifnull((SELECT max(n) FROM events) + 1, ?1), ?1, ?2, ?3, ?4, ?5);

-- name: last_like
-- the newest, if it says the same
SELECT n, detail FROM events WHERE n = (SELECT max(n) FROM events) AND kind = ?1 AND text = ?2 AND at BETWEEN ?3 AND ?4;

-- name: again
UPDATE events SET detail = ?2 WHERE n = ?1;

-- name: beyond
DELETE FROM events WHERE n <= (SELECT max(n) FROM events) - ?1;

-- name: outlived
DELETE FROM events WHERE at < ?1 AND n IN (SELECT n FROM events WHERE n < (SELECT max(n) FROM events) ORDER BY n LIMIT ?2);

-- name: page
SELECT n, at, kind, text, detail, pid FROM events
WHERE n < ?1 AND at >= ?2 AND (?3 = '' OR instr(?3, ' ' || kind || ' ')) ORDER BY n DESC LIMIT ?4;

-- name: after
SELECT n, at, kind, text, detail, pid FROM events
WHERE n > ?1 AND (?2 = '' OR instr(?2, ' ' || kind || ' ')) ORDER BY n LIMIT ?3;

-- name: last_outage
SELECT n, cause, started, ended, seen, tick, spooled, peak, drained, duplicates FROM outages ORDER BY n DESC LIMIT 1;

-- name: begin_outage
INSERT INTO outages (cause, started, ended, seen, tick, spooled, peak, drained, duplicates) VALUES (?1, ?2, 0, ?3, ?4, 0, 0, 0, ?5);

-- name: join_outage
UPDATE outages SET spooled = spooled + ?2 WHERE n = ?1 AND ended = 0;

-- name: set_outage
UPDATE outages SET cause = ?2, started = ?3, ended = ?4, seen = ?5, tick = ?6, spooled = ?7, peak = ?8, drained = ?9, duplicates = ?10
WHERE n = ?1;

-- name: outages
SELECT n, cause, started, ended, seen, tick, spooled, peak, drained, duplicates FROM outages WHERE n < ?1 ORDER BY n DESC LIMIT ?2;

-- name: undrained
SELECT n, cause, started, ended, seen, tick, spooled, peak, drained, duplicates FROM outages
WHERE drained = 0 ORDER BY n DESC;

-- name: forget_outages
DELETE FROM outages WHERE n <= (SELECT max(n) FROM outages) - ?1;

-- name: duplicates
-- of all queues together (see tally.sql)
SELECT ifnull(sum(n - 2305843009213693952), 0) FROM counters
WHERE name BETWEEN char(10) || 'duplicate' || char(10) AND char(10) || 'duplicate' || char(11);

-- name: about
SELECT value FROM about WHERE key = ?1;

-- name: set_about
INSERT OR REPLACE INTO about (key, value) VALUES (?1, ?2);

-- name: delete_about
DELETE FROM about WHERE key = ?1;

-- name: add
INSERT INTO failures (id, failed_at, entry) VALUES (?1, ?2, ?3);

-- name: count
SELECT count(*) FROM failures;

-- name: count_up_to
SELECT count(*) FROM (SELECT 1 FROM failures LIMIT ?1);

-- name: page
SELECT entry FROM failures ORDER BY n DESC LIMIT ?2 OFFSET ?1;

-- name: scan
SELECT n, entry FROM failures WHERE n < ?1 ORDER BY n DESC LIMIT ?2;

-- name: newest
SELECT n, entry FROM failures WHERE id = ?1 ORDER BY n DESC LIMIT 1;

-- name: of
SELECT n, entry FROM failures WHERE id = ?1 ORDER BY n DESC;

-- name: entries
SELECT id, count(*) FROM failures GROUP BY id ORDER BY max(n) DESC;

-- name: entries_of
SELECT count(*), max(n) FROM failures WHERE id = ?1;

-- name: take_out
DELETE FROM failures WHERE n = ?1 AND id = ?2;

-- name: remove
DELETE FROM failures WHERE id = ?1;

-- name: prune
DELETE FROM failures WHERE n IN (SELECT n FROM failures WHERE failed_at > 0 AND failed_at < ?1 ORDER BY failed_at LIMIT ?2);

-- name: oldest_first
DELETE FROM failures WHERE n IN (SELECT n FROM failures ORDER BY n LIMIT ?1);

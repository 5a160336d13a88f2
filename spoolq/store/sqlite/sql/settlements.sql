-- name: write
INSERT INTO settlements (token, worker, queue, verb, argument, effects, crc, at, word, destination, holder, until)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)
ON CONFLICT (token) DO UPDATE SET verb = ?4, argument = ?5, effects = ?6, crc = ?7, at = ?8, word = ?9, holder = ?11;

-- name: strike
DELETE FROM settlements WHERE token = ?1;

-- name: drop
DELETE FROM settlements WHERE rowid = ?1;

-- name: hold
UPDATE settlements SET until = ?2 WHERE holder = ?1;

-- name: any_free
-- nobody holds one for longer than ?3, unless the clock was set back since: the dead would hold theirs for so long
SELECT 1 FROM settlements WHERE destination = ?1 AND (until <= ?2 OR until > ?3) LIMIT 1;

-- name: any_held
SELECT 1 FROM settlements WHERE destination = ?1 AND until > ?2 AND until <= ?3 LIMIT 1;

-- name: free
-- texts as they lie there: a bit of one may have been flipped, so that it is none any more
SELECT rowid, crc, at, argument, effects, CAST(token AS BLOB), CAST(worker AS BLOB), CAST(queue AS BLOB), CAST(verb AS BLOB), CAST(word AS BLOB)
FROM settlements
WHERE destination = ?1 AND (until <= ?2 OR until > ?3) ORDER BY rowid LIMIT ?4;

-- name: adopt
UPDATE settlements SET holder = ?2, until = ?3 WHERE token = ?1;

-- name: count
SELECT count(*) FROM settlements;

-- name: count_up_to
SELECT count(*) FROM (SELECT 1 FROM settlements LIMIT ?1);

-- name: acquire
INSERT OR REPLACE INTO guards (key, holder, until) VALUES (?1, ?2, ?3);

-- name: other
SELECT holder FROM guards WHERE key = ?1 AND holder <> ?2 AND until > ?3;

-- name: other_waits
-- a row that was perhaps handed over may have run: its guard keeps no put out. One in doubt from birth was never sent
SELECT holder FROM guards WHERE key = ?1 AND holder <> ?2 AND until > ?3
AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = guards.holder AND doubt = 1 AND not_after > 0);

-- name: guards
SELECT key, holder, until - ?1 FROM guards WHERE until > ?1 ORDER BY key;

-- name: release
DELETE FROM guards WHERE key = ?1 AND holder = ?2;

-- name: set_value
INSERT OR REPLACE INTO vals (key, value, until) VALUES (?1, ?2, ?3);

-- name: delete_value
DELETE FROM vals WHERE key = ?1;

-- name: value
SELECT value FROM vals WHERE key = ?1 AND until > ?2;

-- name: add_value
INSERT INTO vals (key, value, until) VALUES (?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE vals.until <= ?4;

-- name: count_up
-- how many were added, those included whose time had passed: as long as it is too few they need not be counted
INSERT INTO vals (key, value, until) VALUES (?1, x'31', ?2)
ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(CAST(value AS INTEGER) + 1 AS TEXT) AS BLOB), until = max(until, excluded.until)
RETURNING CAST(value AS INTEGER);

-- name: count_values
SELECT count(*) FROM vals WHERE key > ?1 AND key < ?2 AND until > ?3;

-- name: delete_values
DELETE FROM vals WHERE key >= ?1 AND key < ?2;

-- name: count_untold
-- a drainer's claim puts a row in doubt, and what may have arrived stays so
SELECT count(*) FROM jobs WHERE id > ?1 AND id < ?2 AND state = 'r' AND doubt = 0;

-- name: delete_relayed
DELETE FROM jobs WHERE id > ?1 AND id < ?2 AND state = 'r' AND doubt = 0;

-- name: count
-- one that is at the end of numbers stays there: it keeps no job from its end
INSERT INTO counters (name, n) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET n = n + excluded.n WHERE typeof(n + excluded.n) = 'integer';

-- name: counters
-- without what is between ?1 and ?2: the series, which are nobody's counters; nor is the tally (see tally.sql)
SELECT name, n FROM counters WHERE (name < ?1 OR name >= ?2) AND NOT name BETWEEN char(10) AND char(11) ORDER BY name;

-- name: add_series
INSERT INTO counters (name, n) SELECT ?1, ?2 WHERE ?3 OR EXISTS (SELECT 1 FROM counters WHERE name = ?1)
ON CONFLICT (name) DO UPDATE SET n = n + excluded.n WHERE typeof(n + excluded.n) = 'integer';

-- name: count_series
SELECT count(*) FROM counters WHERE name >= ?1 AND name < ?2;

-- name: series
SELECT name, n FROM counters WHERE name >= ?1 AND name < ?2;

-- name: sweep_guards
DELETE FROM guards WHERE key IN (SELECT key FROM guards WHERE until <= ?1 ORDER BY until LIMIT ?2);

-- name: sweep_values
DELETE FROM vals WHERE key IN (SELECT key FROM vals WHERE until <= ?1 ORDER BY until LIMIT ?2);

-- name: meta
SELECT value FROM meta WHERE key = ?1;

-- name: set_meta
INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2);

-- name: meta_between
SELECT key, value FROM meta WHERE key >= ?1 AND key < ?2 ORDER BY key;

-- name: delete_meta
DELETE FROM meta WHERE key = ?1;

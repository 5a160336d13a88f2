-- A spool or queue file, version 1. Made in one transaction; later versions only add (see migrations.py).
--
-- Times are whole microseconds since the epoch, worker and token are numbers of 62 bits from birth on: all eight bytes wide
-- in the file, so that no claim makes a row grow. At the page limit a row that grows is a claim that fails.

-- Of a job. Said in front of the table: SQLite keeps the text inside, all of which must fit the file's first page, or a damage to
-- the second would make everything unreadable.
--
--   seq        the order of arrival; the same, negative, while nobody is to come across it (k, q)
--   crc        of id, queue and payload: a flipped bit shows in no other way
--   state      ready, scheduled, claimed, kept, in quarantine. For a list of more than two SQLite makes a table, at each row anew
--   keep       once settled, remember the id: 0 as the role has it, 1 given by the caller, 2 until forgotten
--   doubt      1: the primary may have it, or get it yet, so no local worker takes it
--   was        the doubt to go back to when a hand-over surely was not applied
--   not_after  when the last attempt whose answer is not known can no longer be applied
--   watch      write-ahead: microseconds for which it is kept once the primary has it; 0: not at all
--   front      0; of one that was put at the front of its queue its first seq, negative: who claims goes by front, then by seq
--   worker     workers.n; of a kept row watches.n
--   token      the fence of the claim; with seq it is the token that callers see
--   reason     why it is in quarantine
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('r', 's') OR state IN ('c', 'k') OR state = 'q'),
    run_at INTEGER NOT NULL,
    keep INTEGER NOT NULL,
    doubt INTEGER NOT NULL,
    was INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    watch INTEGER NOT NULL,
    front INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    token INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    reason TEXT
) STRICT;

-- state and doubt, the same in every entry, spare claims and counts the look at the row: SQLite doesn't conclude them
CREATE INDEX jobs_ready ON jobs (queue, state, doubt, front) WHERE state = 'r' AND doubt = 0;
CREATE INDEX jobs_scheduled ON jobs (queue, state, run_at, doubt) WHERE state = 's';
CREATE INDEX jobs_claimed ON jobs (worker, state, doubt) WHERE state = 'c';
CREATE INDEX jobs_in_doubt ON jobs (queue, state, doubt, front) WHERE state = 'r' AND doubt = 1;
CREATE INDEX jobs_kept ON jobs (worker, state) WHERE state = 'k';
CREATE INDEX jobs_quarantined ON jobs (queue, state) WHERE state = 'q';

CREATE TABLE failures (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    failed_at INTEGER NOT NULL,
    entry BLOB NOT NULL
) STRICT;

CREATE INDEX failures_id ON failures (id);
CREATE INDEX failures_failed_at ON failures (failed_at);

-- Ids whose row is gone and that must not be put again before `until`.
CREATE TABLE settled (
    id TEXT PRIMARY KEY,
    keep INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX settled_until ON settled (until);

-- Who claims; `queues`, `lost` (tokens that were no longer held) and `working` (slot, token, since) are JSON. Of the last call:
-- its number, the token of the rows that it claimed (`fence`), and `lost`.
CREATE TABLE workers (
    n INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    queues TEXT NOT NULL,
    threads INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    kind TEXT NOT NULL,
    lease_ends INTEGER NOT NULL,
    call INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    lost TEXT NOT NULL,
    working TEXT NOT NULL
) STRICT;

-- Write-ahead: in which life of the primary, and how far on in it, a batch of rows was handed over, and until when they are kept:
-- in whole seconds, so that a watch is not a row's but a second's.
CREATE TABLE watches (
    n INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    line TEXT NOT NULL,
    progress INTEGER NOT NULL,
    until INTEGER NOT NULL,
    UNIQUE (run, line, progress, until)
) STRICT;

-- What became of claims in the primary that could not be told it: the verb and its arguments, never a job. Until `until` it is
-- `holder` who tells it. None of it is ever NULL; to say so would not fit the first page.
CREATE TABLE settlements (
    token TEXT PRIMARY KEY, worker TEXT, queue TEXT, verb TEXT, argument BLOB, effects BLOB, crc INTEGER, at INTEGER, word TEXT,
    destination TEXT, holder TEXT, until INTEGER
) STRICT;

CREATE TABLE guards (key TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE vals (key TEXT PRIMARY KEY, value BLOB NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX guards_until ON guards (until);
CREATE INDEX vals_until ON vals (until);
CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- What befell this host, and the outages it has seen; `detail` is JSON. `ended` and `drained` are 0 until then; `seen` is when
-- the last one looked, `tick` the same on the clock that begins with each boot, behind that boot's name. Until it is drained
-- `duplicates` lacks the counter of that name, of which it holds the negative as it was when the outage began.
CREATE TABLE events (n INTEGER PRIMARY KEY, at INT, kind TEXT, text TEXT, detail TEXT, pid INT) STRICT;
CREATE TABLE outages (
    n INTEGER PRIMARY KEY, cause TEXT, started INT, ended INT, seen INT, tick TEXT, spooled INT, peak INT, drained INT,
    duplicates INT
) STRICT;

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Of the file itself: its destination, the last probe.
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Jobs: what was asked for, what runs, what came of it. Times are nanoseconds since 1970 UTC.

CREATE TABLE jobs (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT    NOT NULL CHECK (kind IN ('fetch_bars', 'refresh_symbols', 'refresh_account', 'backfill', 'repair', 'retention')),
    connection   TEXT    NOT NULL, -- its name; empty where the job is of none
    owner        TEXT    NOT NULL, -- whose private connection it was when the job was queued; empty: global
    symbol       TEXT    NOT NULL, -- canonical; empty: all of the connection
    timeframe    TEXT    NOT NULL, -- its word; empty where the job has none
    parameters   TEXT    NOT NULL, -- JSON object: all of what was asked
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempts     INTEGER NOT NULL, -- begun
    attempts_max INTEGER NOT NULL,
    begun        INTEGER,          -- `done` when this attempt began: what an earlier one did is no part of the speed
    done         INTEGER,
    total        INTEGER,
    rows         INTEGER,
    message      TEXT,
    requested_by TEXT    NOT NULL, -- name of the user, or `schedule`, `activation`, `command line`
    runner       TEXT,             -- while it runs: who runs it, a locked file jobs/RUNNER.lock
    is_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (is_cancelled IN (0, 1)), -- it runs, and is to stop
    queued_ns    INTEGER NOT NULL,
    started_ns   INTEGER,          -- of the last attempt
    finished_ns  INTEGER,
    next_ns      INTEGER NOT NULL  -- queued: not before
) STRICT;

-- No two of the same at a time, whichever process runs them.
CREATE UNIQUE INDEX jobs_running ON jobs (kind, connection, symbol, timeframe) WHERE state = 'running';

CREATE INDEX jobs_waiting ON jobs (next_ns) WHERE state = 'queued';

CREATE INDEX jobs_by_subject ON jobs (kind, connection, timeframe, id);

-- Pairs whose past was asked for when the connection first had the timeframe: not asked for again.
CREATE TABLE first_backfills (
    connection TEXT    NOT NULL,
    symbol     TEXT    NOT NULL,
    timeframe  TEXT    NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (connection, symbol, timeframe)
) STRICT;

-- What a venue last said of its symbols and of the account.
CREATE TABLE venue_answers (
    connection TEXT    NOT NULL,
    subject    TEXT    NOT NULL CHECK (subject IN ('symbols', 'account')),
    at_ns      INTEGER NOT NULL,
    answer     TEXT    NOT NULL, -- JSON
    PRIMARY KEY (connection, subject)
) STRICT;

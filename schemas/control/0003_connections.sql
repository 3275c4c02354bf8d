-- Data connections that are managed here rather than in a configuration file, and what was done with them. Times are
-- nanoseconds since 1970 UTC. A connection's name is that of its source, so it is unique among all, whoever owns them.

CREATE TABLE data_connections (
    id                INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: sealed credentials are bound to it
    name              TEXT    NOT NULL UNIQUE,
    owner             TEXT    NOT NULL,                  -- empty: the administrators', and global; else the user it is private to
    adapter           TEXT    NOT NULL,                  -- word of the adapter
    provider          TEXT    NOT NULL,                  -- who stands behind it, in words
    config            TEXT    NOT NULL,                  -- TOML: what [sources.NAME] would hold, without secrets
    credentials       BLOB,                              -- sealed JSON: key of `config` to secret; NULL where there is none
    is_active         INTEGER NOT NULL CHECK (is_active IN (0, 1)), -- wanted, whatever its status
    status            TEXT    NOT NULL CHECK (status IN ('active', 'inactive', 'error', 'testing', 'stale')),
    stores_ticks      INTEGER NOT NULL CHECK (stores_ticks IN (0, 1)),
    retention_days    INTEGER NOT NULL CHECK (retention_days > 0),
    last_connected_ns INTEGER,
    last_error        TEXT,
    created_ns        INTEGER NOT NULL,
    changed_ns        INTEGER NOT NULL
) STRICT;

-- Stays when its connection is removed: by then only the name says whose it was.
CREATE TABLE data_connection_logs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    connection_id INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    owner         TEXT    NOT NULL,
    at_ns         INTEGER NOT NULL,
    action        TEXT    NOT NULL, -- create, edit, activate, deactivate, remove, connect, disconnect, test, fetch_data, backfill, repair, error
    succeeded     INTEGER NOT NULL CHECK (succeeded IN (0, 1)),
    message       TEXT    NOT NULL,
    metadata      TEXT    NOT NULL  -- JSON object: rows, latency_ms, …
) STRICT;

CREATE INDEX data_connection_logs_by_connection ON data_connection_logs (connection_id, id);

-- The key that every sealed value is sealed with: what a rotation that was broken off is finished by.
CREATE TABLE vault (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    key_name BLOB NOT NULL
) STRICT;

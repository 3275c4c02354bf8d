-- Users of the console, their sessions and API tokens, and settings. Times are nanoseconds since 1970 UTC.

CREATE TABLE users (
    id                INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: sealed secrets are bound to it
    name              TEXT    NOT NULL UNIQUE COLLATE NOCASE, -- as `owner` of connections; no two differ in capitals alone
    password          TEXT    NOT NULL,                  -- argon2id, as a PHC string
    role              TEXT    NOT NULL CHECK (role IN ('administrator', 'staff', 'user', 'demo')),
    permissions       TEXT    NOT NULL,                  -- JSON array of words; empty but for staff
    sources           TEXT,                              -- JSON array of globs of global sources; NULL: all
    is_disabled       INTEGER NOT NULL CHECK (is_disabled IN (0, 1)),
    totp_secret       BLOB,                              -- sealed; NULL: no second factor
    totp_pending      BLOB,                              -- sealed; enrolled, not confirmed by a code yet
    totp_step         INTEGER NOT NULL DEFAULT 0,        -- of the last code that was used, 30 s each: no code counts twice
    created_ns        INTEGER NOT NULL,
    changed_ns        INTEGER NOT NULL,
    last_signed_in_ns INTEGER
) STRICT;

-- Whoever reads this table cannot sign in with it: the cookie holds what `id_hash` is the SHA-256 of.
CREATE TABLE sessions (
    id_hash    BLOB    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_ns INTEGER NOT NULL,
    used_ns    INTEGER NOT NULL, -- to the minute
    expires_ns INTEGER NOT NULL  -- at the latest
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE api_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE, -- SHA-256 of the token
    scopes       TEXT    NOT NULL,        -- JSON array of read, write, stream
    created_ns   INTEGER NOT NULL,
    last_used_ns INTEGER,                 -- to the minute
    expires_ns   INTEGER                  -- NULL: never
) STRICT;

CREATE INDEX api_tokens_by_user ON api_tokens (user_id);

-- Wrong passwords in a row, by name and by address, each as SHA-256: who types a password for the name leaves none here.
CREATE TABLE sign_in_attempts (
    key      BLOB    PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_ns  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key        TEXT    PRIMARY KEY,
    value      TEXT    NOT NULL, -- JSON
    changed_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who did what to whom: sign-ins, users, tokens, settings. The newest hundred thousand stay.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns     INTEGER NOT NULL,
    actor     TEXT    NOT NULL, -- name of the user; empty: nobody signed in, or the command line
    action    TEXT    NOT NULL, -- sign_in, sign_out, first_run, add_user, edit_user, remove_user, password, totp, add_token, remove_token, settings
    subject   TEXT    NOT NULL, -- the user it was done to, the token's name; empty where there is none
    succeeded INTEGER NOT NULL CHECK (succeeded IN (0, 1)),
    address   TEXT    NOT NULL, -- of the peer; empty: the command line
    message   TEXT    NOT NULL
) STRICT;

-- Alerts and whom they are sent to. Times are nanoseconds since 1970 UTC.

-- Where a rule differs from its default.
CREATE TABLE alert_rules (
    rule        TEXT    PRIMARY KEY, -- connection_error, source_mute, …: see schemas/names.md
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    threshold   REAL,                -- in the rule's unit; NULL where it has none
    for_seconds INTEGER NOT NULL CHECK (for_seconds >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    rule            TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    source          TEXT,             -- name of the connection that it is about; NULL: of none
    owner           TEXT    NOT NULL, -- whose private connection that is; empty: nobody's
    severity        TEXT    NOT NULL CHECK (severity IN ('warning', 'critical')),
    message         TEXT    NOT NULL,
    raised_ns       INTEGER NOT NULL,
    cleared_ns      INTEGER,          -- NULL while it is raised
    cleared_message TEXT
) STRICT;

-- Raised once.
CREATE UNIQUE INDEX alerts_raised ON alerts (rule, subject) WHERE cleared_ns IS NULL;

CREATE TABLE webhooks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: the sealed secret is bound to it
    url        TEXT    NOT NULL,
    secret     BLOB,    -- sealed; NULL: what is sent is not signed
    rules      TEXT,    -- JSON array of rules; NULL: all
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    last_ns    INTEGER, -- of the last attempt to deliver
    last_code  INTEGER, -- what it was answered; NULL: nothing
    last_error TEXT     -- NULL: it was taken
) STRICT;

-- What is still to be sent, in the order of the ids. A row goes when its webhook has taken it.
CREATE TABLE alert_deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    alert_id   INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    event      TEXT    NOT NULL CHECK (event IN ('raised', 'cleared')),
    attempts   INTEGER NOT NULL, -- made
    next_ns    INTEGER NOT NULL  -- not before
) STRICT;

CREATE INDEX alert_deliveries_by_webhook ON alert_deliveries (webhook_id, id);
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert_id);

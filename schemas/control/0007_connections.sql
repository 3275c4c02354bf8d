-- What the console's users say of connections beyond their keys. Times are nanoseconds since 1970 UTC.

-- Timeframes whose past bars are fetched: words such as `M1 H1`, separated by spaces; none: those that jobs choose.
ALTER TABLE data_connections ADD COLUMN timeframes TEXT NOT NULL DEFAULT '';

-- Instruments that no configuration file has: the sections [instruments.SYMBOL] beside those of files. A row is never
-- deleted, since records name it.
CREATE TABLE instrument_specs (
    symbol     TEXT    PRIMARY KEY,
    class      TEXT    NOT NULL CHECK (class IN ('fx', 'metal', 'index', 'crypto')),
    digits     INTEGER NOT NULL CHECK (digits BETWEEN 0 AND 9),
    pip        TEXT    NOT NULL, -- exact decimal
    created_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL
) STRICT;

CREATE INDEX data_connection_logs_by_name ON data_connection_logs (name, id);

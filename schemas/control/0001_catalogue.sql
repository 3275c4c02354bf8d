-- Ids are given once and never reused: rows are added, never deleted, and a name keeps its id for ever.

CREATE TABLE engine (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    engine_id INTEGER NOT NULL, -- random, names this state directory
    epoch     INTEGER NOT NULL  -- of the last start; 0 before the first
) STRICT;

CREATE TABLE sources (
    id   INTEGER PRIMARY KEY AUTOINCREMENT, -- 0 is the common price and is never given
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE instruments (
    id     INTEGER PRIMARY KEY AUTOINCREMENT, -- 0 means all and is never given
    symbol TEXT NOT NULL UNIQUE
) STRICT;

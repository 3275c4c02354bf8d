-- Ids of indicators, given once and never reused. Other parameters make another name, so another id.

CREATE TABLE indicators (
    id   INTEGER PRIMARY KEY AUTOINCREMENT, -- 0 means none and is never given
    name TEXT NOT NULL UNIQUE               -- canonical, with parameters: EMA(20), MACD(12,26,9), EMA(20,bid)
) STRICT;

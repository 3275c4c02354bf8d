-- Questions that are asked often, as views: nothing is stored twice.

CREATE VIEW IF NOT EXISTS all_ticks AS
SELECT *, 'accepted' AS verdict, CAST([], 'Array(String)') AS reasons FROM ticks
UNION ALL
SELECT * REPLACE (toString(verdict) AS verdict, CAST(reasons, 'Array(String)') AS reasons) FROM rejects;

-- The newest quote of each symbol.
CREATE VIEW IF NOT EXISTS last_quotes AS
SELECT * FROM quotes ORDER BY epoch DESC, seq DESC LIMIT 1 BY symbol, source;

-- Average and widest spread of accepted ticks, by hour.
CREATE VIEW IF NOT EXISTS spread_by_hour AS
SELECT symbol, source, toStartOfHour(ts_recv) AS hour, count() AS ticks,
       avg(assumeNotNull(ask) - assumeNotNull(bid)) AS avg_spread, max(assumeNotNull(ask) - assumeNotNull(bid)) AS max_spread
FROM ticks WHERE isNotNull(bid) AND isNotNull(ask)
GROUP BY symbol, source, hour;

-- One-minute bars of the mid price, straight from accepted ticks.
CREATE VIEW IF NOT EXISTS ohlc_m1 AS
SELECT symbol, source, toStartOfMinute(ts_recv) AS open_ts,
       argMin(mid, (epoch, seq)) AS open, max(mid) AS high, min(mid) AS low, argMax(mid, (epoch, seq)) AS close, count() AS ticks
FROM (SELECT symbol, source, ts_recv, epoch, seq, (assumeNotNull(bid) + assumeNotNull(ask)) / 2 AS mid
      FROM ticks WHERE isNotNull(bid) AND isNotNull(ask))
GROUP BY symbol, source, open_ts;

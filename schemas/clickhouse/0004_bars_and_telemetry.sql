-- Bars, indicators and measurements of the engine.

-- Computed numbers and no prices: nine decimals would keep five digits of a small MACD. Nothing had been written yet.
ALTER TABLE indicators MODIFY COLUMN IF EXISTS values Array(Nullable(Float64)) COMMENT 'in the order the indicator documents';

-- Rows from before the column say what their two sides show.
ALTER TABLE quotes ADD COLUMN IF NOT EXISTS cross_source Bool DEFAULT state = 'crossed' AND bid_source != ask_source
    COMMENT 'one source bids more than another asks';

ALTER TABLE stage_latency MODIFY COLUMN IF EXISTS count UInt64 COMMENT 'inputs measured: one in 16 of those handled';

CREATE TABLE IF NOT EXISTS pipeline_executions
(
    epoch       UInt32 COMMENT 'with seq the row of bars, source_state or gaps that this one is made from',
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    connection  LowCardinality(String) COMMENT 'name of the source; `best` for bars of the common price, empty: all sources',
    connection_id UInt32,
    symbol      LowCardinality(String) COMMENT 'empty: all symbols of the source',
    instrument_id UInt32,
    timeframe   LowCardinality(String) COMMENT 'of a bar, else empty',
    stage       LowCardinality(String) COMMENT 'bars, feed (a connection failed) or ingest (inputs were dropped)',
    status      LowCardinality(String) COMMENT 'completed or failed',
    started_ts  DateTime64(9, 'UTC') COMMENT 'end of the bar''s interval; when the failure was noticed; last input before the hole' CODEC(Delta, ZSTD(1)),
    finished_ts DateTime64(9, 'UTC') COMMENT 'publication of the bar; when the failure was noticed; first input after the hole' CODEC(Delta, ZSTD(1)),
    duration_ns Int64 COMMENT 'finished less started; negative where a source''s clock is ahead of ours',
    error       LowCardinality(String) COMMENT 'cause of the failure, see names.md; else empty'
)
ENGINE = MergeTree PARTITION BY toYYYYMM(finished_ts) ORDER BY (connection, symbol, stage, finished_ts, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

-- One row for each bar: the last revision of the origin that knows best. A repair was fetched because our own interval
-- had a hole, so it stands above our own; our own is made of every tick that the engine acted on, so it stands above
-- the venue's history; a polled bar may have been asked for before the venue had finished it.
CREATE VIEW IF NOT EXISTS bars_final AS
SELECT * FROM bars FINAL
ORDER BY indexOf(['polled', 'backfill', 'own', 'repair'], toString(origin)) DESC
LIMIT 1 BY symbol, source, timeframe, basis, open_ts;

-- Bars of any length in seconds out of accepted ticks, by the source's stamp (by receipt where it gives none) as the bars
-- stage cuts them. `since` and `until` limit by receipt, which is what the table is ordered by.
CREATE VIEW IF NOT EXISTS ohlc AS
SELECT toStartOfInterval(ts, toIntervalSecond({seconds:UInt32})) AS open_ts,
       argMin(bid, (ts, epoch, seq)) AS bid_o, max(bid) AS bid_h, min(bid) AS bid_l, argMax(bid, (ts, epoch, seq)) AS bid_c,
       argMin(ask, (ts, epoch, seq)) AS ask_o, max(ask) AS ask_h, min(ask) AS ask_l, argMax(ask, (ts, epoch, seq)) AS ask_c,
       argMin(mid, (ts, epoch, seq)) AS mid_o, max(mid) AS mid_h, min(mid) AS mid_l, argMax(mid, (ts, epoch, seq)) AS mid_c,
       count() AS ticks
FROM (SELECT ifNull(ts_event, ts_recv) AS ts, epoch, seq, bid, ask, (bid + ask) / 2 AS mid
      FROM ticks
      WHERE symbol = {symbol:String} AND source = {source:String}
        AND ts_recv >= {since:DateTime64(9, 'UTC')} AND ts_recv < {until:DateTime64(9, 'UTC')})
GROUP BY open_ts ORDER BY open_ts;

-- The newest quote of each symbol, now with `cross_source`.
DROP VIEW IF EXISTS last_quotes;
CREATE VIEW IF NOT EXISTS last_quotes AS
SELECT * FROM quotes ORDER BY epoch DESC, seq DESC LIMIT 1 BY symbol, source;

-- Average, widest and usual spreads of accepted ticks, by hour; the quantiles are exact.
DROP VIEW IF EXISTS spread_by_hour;
CREATE VIEW IF NOT EXISTS spread_by_hour AS
SELECT symbol, source, toStartOfHour(ts_recv) AS hour, count() AS ticks,
       avg(spread) AS avg_spread, max(spread) AS max_spread,
       quantileExactWeighted(0.5)(spread, 1) AS p50_spread, quantileExactWeighted(0.99)(spread, 1) AS p99_spread
FROM (SELECT symbol, source, ts_recv, assumeNotNull(ask) - assumeNotNull(bid) AS spread
      FROM ticks WHERE isNotNull(bid) AND isNotNull(ask))
GROUP BY symbol, source, hour;

-- Market data. Applied to `md` (global sources) and to `md_private` (private sources), same names in both.
-- Prices are exact decimals; a NULL time, size or sequence means that the source does not say it.
-- Rows are found in order of arrival: ts_recv is always known, ts_event is the source's word.

CREATE TABLE IF NOT EXISTS ticks
(
    epoch       UInt32                            COMMENT 'start of the engine that saw it',
    seq         UInt64 COMMENT 'position in that engine''s output, global and in order' CODEC(Delta, ZSTD(1)),
    chain       UInt64 COMMENT 'counter per source, instrument and kind: proves that nothing is missing' CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    ts_event    Nullable(DateTime64(9, 'UTC')) COMMENT 'source''s stamp' CODEC(Delta, ZSTD(1)),
    ts_recv     DateTime64(9, 'UTC') COMMENT 'socket read' CODEC(Delta, ZSTD(1)),
    ts_publish  DateTime64(9, 'UTC') COMMENT 'publication by the engine' CODEC(Delta, ZSTD(1)),
    bid         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    ask         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    bid_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    ask_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    source_seq  Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    flags       Array(LowCardinality(String)) COMMENT 'remarks that do not refuse, see names.md',
    confidence  UInt8 COMMENT 'percent: 100 less 20 for each failed refusing check'
)
ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts_recv) ORDER BY (symbol, source, ts_recv, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS rejects
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    ts_event    Nullable(DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    ts_recv     DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    ts_publish  DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    bid         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    ask         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    bid_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    ask_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    source_seq  Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    flags       Array(LowCardinality(String)),
    confidence  UInt8,
    verdict     LowCardinality(String) COMMENT 'duplicate, out_of_order or refused',
    reasons     Array(LowCardinality(String)) COMMENT 'every refusing check that failed, see names.md'
)
ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts_recv) ORDER BY (symbol, source, ts_recv, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS trades
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    ts_event    Nullable(DateTime64(9, 'UTC')) CODEC(Delta, ZSTD(1)),
    ts_recv     DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    ts_publish  DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    price       Decimal(18, 9) CODEC(Delta, ZSTD(1)),
    size        Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    trade_id    Nullable(UInt64) CODEC(Delta, ZSTD(1)),
    aggressor   LowCardinality(String) COMMENT 'buy, sell or unknown: the side that took',
    flags       Array(LowCardinality(String)),
    verdict     LowCardinality(String) COMMENT 'accepted, duplicate, out_of_order or refused',
    reasons     Array(LowCardinality(String))
)
ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts_recv) ORDER BY (symbol, source, ts_recv, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS quotes
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String) COMMENT '`best` for the common price, else the private source whose own quote it is',
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    ts_event    Nullable(DateTime64(9, 'UTC')) COMMENT 'stamp of the input that changed it' CODEC(Delta, ZSTD(1)),
    ts_recv     DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    ts_publish  DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    bid         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    ask         Nullable(Decimal(18, 9)) CODEC(Delta, ZSTD(1)),
    bid_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    ask_size    Nullable(Decimal(38, 8)) CODEC(ZSTD(1)),
    bid_source  LowCardinality(String) COMMENT 'empty when there is no bid',
    ask_source  LowCardinality(String),
    sources     UInt16 COMMENT 'sources that counted',
    state       LowCardinality(String) COMMENT 'ok, single, stale, crossed or locked'
)
ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts_recv) ORDER BY (symbol, source, ts_recv, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS bars
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String) COMMENT '`best` for the composite',
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    timeframe   LowCardinality(String) COMMENT 'M1 M5 M15 M30 H1 H4 D1 W1 MN',
    origin      LowCardinality(String) COMMENT 'own, polled, backfill or repair',
    basis       LowCardinality(String) COMMENT 'quote (bid, ask and mid), bid, ask, mid or last',
    open_ts     DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    close_ts    DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    bid_o Nullable(Decimal(18, 9)), bid_h Nullable(Decimal(18, 9)), bid_l Nullable(Decimal(18, 9)), bid_c Nullable(Decimal(18, 9)),
    ask_o Nullable(Decimal(18, 9)), ask_h Nullable(Decimal(18, 9)), ask_l Nullable(Decimal(18, 9)), ask_c Nullable(Decimal(18, 9)),
    mid_o Nullable(Decimal(18, 9)), mid_h Nullable(Decimal(18, 9)), mid_l Nullable(Decimal(18, 9)), mid_c Nullable(Decimal(18, 9)),
    ticks       UInt64,
    volume      Nullable(Decimal(38, 8)),
    revision    UInt32,
    state       LowCardinality(String) COMMENT 'final or revised'
)
ENGINE = ReplacingMergeTree(revision) PARTITION BY toYYYYMM(open_ts)
ORDER BY (symbol, source, timeframe, origin, basis, open_ts)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS indicators
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    source_id   UInt32,
    symbol      LowCardinality(String),
    instrument_id UInt32,
    timeframe   LowCardinality(String),
    indicator   LowCardinality(String) COMMENT 'name and parameters, such as EMA(20)',
    bar_ts      DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    values      Array(Nullable(Decimal(18, 9))) COMMENT 'in the order the indicator documents',
    state       LowCardinality(String) COMMENT 'warming or ready'
)
ENGINE = MergeTree PARTITION BY toYYYYMM(bar_ts) ORDER BY (symbol, source, timeframe, indicator, bar_ts, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

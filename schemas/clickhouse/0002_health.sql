-- What happened to the feeds and to the engine itself.

CREATE TABLE IF NOT EXISTS gaps
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String) COMMENT 'empty: all sources',
    source_id   UInt32,
    symbol      LowCardinality(String) COMMENT 'empty: all symbols of the source',
    instrument_id UInt32,
    gap_id      UInt64 COMMENT 'the seq of the row that opened it; with epoch_opened the key of the hole',
    epoch_opened UInt32,
    ts_recv     DateTime64(9, 'UTC') COMMENT 'when the engine noticed' CODEC(Delta, ZSTD(1)),
    from_ts     DateTime64(9, 'UTC') COMMENT 'last data before the hole' CODEC(Delta, ZSTD(1)),
    to_ts       Nullable(DateTime64(9, 'UTC')) COMMENT 'first data after it; NULL while open' CODEC(Delta, ZSTD(1)),
    cause       LowCardinality(String) COMMENT 'see names.md',
    state       LowCardinality(String) COMMENT 'open, closed, repaired or lost',
    lost        Nullable(UInt64) COMMENT 'events known to be missing; NULL when unknown'
)
ENGINE = MergeTree PARTITION BY toYYYYMM(ts_recv) ORDER BY (source, symbol, from_ts, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS source_state
(
    epoch       UInt32,
    seq         UInt64 CODEC(Delta, ZSTD(1)),
    chain       UInt64 CODEC(Delta, ZSTD(1)),
    source      LowCardinality(String),
    source_id   UInt32,
    ts_recv     DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    state       LowCardinality(String) COMMENT 'connecting, live, mute, down or stopped',
    cause       LowCardinality(String),
    attempt     UInt32 COMMENT 'connection attempts since the last live state'
)
ENGINE = MergeTree PARTITION BY toYYYYMM(ts_recv) ORDER BY (source, ts_recv, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS source_quality
(
    epoch       UInt32,
    seq         UInt64,
    source      LowCardinality(String),
    symbol      LowCardinality(String),
    minute      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    ticks       UInt64,
    rejects     UInt64,
    latency_p50_us Int64,
    latency_p99_us Int64,
    avg_spread  Decimal(18, 9),
    uptime_percent Float32,
    completeness_percent Float32,
    best_bid_count UInt64,
    best_ask_count UInt64,
    score       Float32
)
ENGINE = MergeTree PARTITION BY toYYYYMM(minute) ORDER BY (symbol, source, minute, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS stage_latency
(
    epoch       UInt32,
    seq         UInt64,
    stage       LowCardinality(String),
    second      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    count       UInt64,
    p50_ns      UInt64,
    p99_ns      UInt64,
    p999_ns     UInt64
)
ENGINE = MergeTree PARTITION BY toYYYYMMDD(second) ORDER BY (stage, second, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS connection_log
(
    epoch       UInt32,
    seq         UInt64,
    source      LowCardinality(String),
    ts          DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    action      LowCardinality(String),
    success     Bool,
    message     String,
    rows        UInt64,
    latency_ms  UInt32
)
ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY (source, ts, epoch, seq)
SETTINGS non_replicated_deduplication_window = 10000;

-- The quality of sources, by minute. Best effort like stage_latency: measured from what is journaled, not journaled itself,
-- so rows may be missing after a crash or while the database is away (`source_quality_lost_total` counts them), and none is
-- there twice. `seq` counts the rows of a run. Nothing had been written yet.

ALTER TABLE source_quality MODIFY COLUMN IF EXISTS ticks UInt64 COMMENT 'accepted prices';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS rejects UInt64 COMMENT 'prices with any other verdict';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS latency_p50_us Nullable(Int64) COMMENT 'receipt less the source''s stamp; NULL without stamps';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS latency_p99_us Nullable(Int64);
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS avg_spread Nullable(Decimal(18, 9)) COMMENT 'of accepted prices with both sides';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS uptime_percent Float32 COMMENT 'share of open_seconds in which the source was live';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS completeness_percent Float32 COMMENT 'share of open_seconds outside of holes known by then';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS best_bid_count UInt64 COMMENT 'quotes among best_quotes in which it made the bid';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS best_ask_count UInt64 COMMENT 'quotes among best_quotes in which it made the ask';
ALTER TABLE source_quality MODIFY COLUMN IF EXISTS score Float32 COMMENT '0 to 100, see README.md';
ALTER TABLE source_quality ADD COLUMN IF NOT EXISTS reject_reasons Map(LowCardinality(String), UInt64)
    COMMENT 'verdict or failed check, and how often; a price may fail several checks';
ALTER TABLE source_quality ADD COLUMN IF NOT EXISTS ticks_per_second Float32 COMMENT 'ticks by open_seconds';
ALTER TABLE source_quality ADD COLUMN IF NOT EXISTS best_quotes UInt64 COMMENT 'quotes of the common price that had a price';
ALTER TABLE source_quality ADD COLUMN IF NOT EXISTS open_seconds Float32 COMMENT 'watched: less than 60 where the engine started or stopped';
ALTER TABLE source_quality ADD COLUMN IF NOT EXISTS priority UInt16 COMMENT 'the source''s, decides among equal scores';

-- The last 15 minutes that are stored of each symbol, the best source first.
CREATE VIEW IF NOT EXISTS source_scores AS
SELECT symbol, source, min(w_priority) AS priority,
       sum(w_score * seconds) / sum(seconds) AS score,
       sum(w_uptime * seconds) / sum(seconds) AS uptime_percent,
       sum(w_completeness * seconds) / sum(seconds) AS completeness_percent,
       sum(p50 * n) / nullIf(sumIf(n, isNotNull(p50)), 0) / 1000 AS latency_p50_ms,
       max(p99) / 1000 AS latency_p99_ms,
       sum(spread * n) / nullIf(sumIf(n, isNotNull(spread)), 0) AS avg_spread,
       sum(n) / sum(seconds) AS ticks_per_second,
       sum(w_rejects) AS rejects,
       100 * sum(bests) / nullIf(2 * sum(w_quotes), 0) AS best_share_percent,
       max(at) AS last_minute
FROM (SELECT symbol, source, minute AS at, priority AS w_priority, score AS w_score, open_seconds AS seconds,
             uptime_percent AS w_uptime, completeness_percent AS w_completeness, latency_p50_us AS p50, latency_p99_us AS p99,
             toFloat64(avg_spread) AS spread, ticks AS n, rejects AS w_rejects, best_bid_count + best_ask_count AS bests,
             best_quotes AS w_quotes
      FROM source_quality) AS rows
INNER JOIN (SELECT symbol, max(minute) AS newest FROM source_quality GROUP BY symbol) AS last USING (symbol)
WHERE at > newest - INTERVAL 15 MINUTE
GROUP BY symbol, source
ORDER BY symbol, score DESC, priority, source;

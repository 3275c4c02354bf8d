-- Holes that are mended.

-- What became of each hole: its last row, whether it is open, closed, repaired or lost.
CREATE VIEW IF NOT EXISTS last_gaps AS
SELECT * FROM gaps ORDER BY epoch DESC, seq DESC LIMIT 1 BY epoch_opened, gap_id;

ALTER TABLE gaps MODIFY COLUMN IF EXISTS lost Nullable(UInt64)
    COMMENT 'events of the source known to be missing, all its symbols together; NULL when unknown';

ALTER TABLE pipeline_executions MODIFY COLUMN IF EXISTS stage LowCardinality(String)
    COMMENT 'bars, repair (a bar fetched for a hole), feed (a connection failed) or ingest (inputs were dropped)';

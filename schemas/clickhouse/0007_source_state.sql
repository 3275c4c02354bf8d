-- States of a part of a source: where it has several connections, one of them is away, or it does not deliver a symbol any more.

ALTER TABLE source_state ADD COLUMN IF NOT EXISTS symbol LowCardinality(String)
    COMMENT 'the symbol that it is about alone; empty for the whole source';

//! The journal's way into the database, over the real engine: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[path = "storage/audits.rs"]
mod audits;
#[path = "storage/crashes.rs"]
mod crashes;
#[path = "storage/guide.rs"]
mod guide;
#[path = "storage/harness.rs"]
mod harness;
#[path = "storage/journal.rs"]
mod journal;
#[path = "storage/retention.rs"]
mod retention;
#[path = "storage/series.rs"]
mod series;
#[path = "storage/tables.rs"]
mod tables;

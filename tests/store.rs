//! The embedded store over the real engine: needs libchdb (`scripts/get-chdb`) and `curl`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[path = "store/clients.rs"]
mod clients;
#[path = "store/harness.rs"]
mod harness;
#[path = "store/process.rs"]
mod process;
#[path = "store/reader.rs"]
mod reader;

//! The journal's way into ClickHouse.
//!
//! [`writer`] reads what is durable in the journal, [`rows`] says which table a record belongs to and encodes it,
//! [`batch`] gathers rows, [`manifest`] writes a batch down before [`deliver`] sends it. A crash anywhere between is
//! mended by sending what was written down again, byte for byte and under the same token. The hot path never waits for
//! any of this: it ends at the journal.

pub mod audit;
pub mod batch;
pub mod client;
mod column;
pub mod config;
pub mod deliver;
pub mod erase;
pub mod manifest;
pub mod market_data;
pub mod migrate;
pub mod names;
pub mod past; // ticks that venues are asked for
pub mod quality;
pub mod retention;
pub mod rows;
pub mod source;
pub mod status;
pub mod store; // the embedded ClickHouse engine, a process of its own
pub mod telemetry;
pub mod usage;
pub mod writer;

pub use client::Endpoint;
pub use config::{Mode, StorageConfig};
pub use market_data::MarketData;
pub use status::{StatusHandle, StorageStatus};
pub use writer::{Setup, Writer};

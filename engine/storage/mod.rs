//! See the map in `lib.rs`.

pub mod store; // the embedded ClickHouse engine, a process of its own

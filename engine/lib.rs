//! Tickwire: holds each broker connection once and fans one best price out to every terminal.
//!
//! This list is the map of the engine, in the order in which data walks through it. A module imports only from
//! modules above it; `tests/tidy.rs` holds that. Nothing below `market` ever sees a price as a float but
//! the indicators, whose values are no prices; nothing but `clock` asks the time, and nothing between a feed's socket
//! read and the outbound ring allocates, locks, logs or waits for a disk or a peer.

pub mod market; // the vocabulary: prices, instruments, ticks; pure
pub mod clock; // the only place that asks the time
pub mod metrics; // every counter and histogram, declared once
pub mod config; // files and environment -> raw tables; each module parses its own
pub mod ring; // slots, rings, pollers, idle strategies
pub mod feeds; // broker connections: adapters, sessions, ingestion
pub mod stages; // dedupe, validate, aggregate, bars, indicators, gaps: what happens to an input
pub mod journal; // the durable log between the hot path and the database; snapshots
pub mod replay; // recordings of many formats as one stream of inputs; what a replay writes
pub mod fanout; // subscriptions, conflation, resume; QUIC sessions
pub mod storage; // rows, batches, the ClickHouse writer, the embedded store process
pub mod quality; // how good each source is, by symbol and minute, from the journal
pub mod repair; // mends holes: asks venues for the bars of what was missed
pub mod control; // catalogue of ids, connections and their secrets, users, jobs, alerts
pub mod console; // HTTP: health, metrics, JSON API, web pages
pub mod simulator; // brokers that speak the real protocols on loopback
pub mod runtime; // assemble threads from the config, pin, supervise, shut down
pub mod cli; // one file per subcommand

//! Broker connections: each is held once, and what it says goes straight into the inbound ring.
//!
//! In reading order: [`config`] says what to connect; [`ingest`] runs the threads, and [`control`] lets sources come and go;
//! `source` is what one of them is made of: its connections (`shards` says which symbols go over which), and [`standby`]
//! whether it is to be connected; `session` is the one loop that connects, reads and begins again, by the decisions of
//! [`machine`], which is pure, with the connections of `line`; `report` is what a source says of itself; [`adapters`] is
//! one file per venue and the list of them; [`event`], [`json`], [`lines`], [`fix`] and [`zmq`] are what their decoders are
//! made of, pure too; [`net`] holds the sockets; `late` lets in what comes from none; [`rest`] and [`rate`] are for past
//! bars, which are asked for, and [`members`] for other answers; `status` is what the console shows.
//!
//! [`paths`], [`fields`] and [`template`] are what the adapters for any API share: where its JSON says what, and what it is
//! asked; [`poll`] asks again and again; [`probe`] tries a connection once.
//!
//! A decoder never asks the time, never allocates for a well-formed message and never panics for a malformed one.

pub mod adapters;
pub mod config;
pub mod control;
pub mod event;
pub mod fields;
pub mod fix;
mod hours;
pub mod ingest;
pub mod json;
mod late;
mod line;
pub mod lines;
pub mod machine;
pub mod members;
pub mod net;
pub mod paths;
pub mod poll;
pub mod probe;
pub mod rate;
mod report;
pub mod rest;
mod session;
mod shards;
mod source;
pub mod standby;
mod status;
pub mod template;
pub mod turns;
pub mod zmq;

pub use config::{IngestConfig, SourceSpec, SymbolSpec};
pub use control::{Done, FeedsControl};
pub use ingest::{Feed, FeedsError, FeedsHandle, InletMaker, start};
pub use late::LateInputs;
pub use rate::SharedHosts;
pub use session::Task;
pub use standby::StandbySpec;
pub use status::{FeedStatus, Statuses};

//! The durable log between the hot path and the database, and the snapshots of the stages' state.
//!
//! # Constraints
//! - The pipeline never waits for a disk, only for room in memory: the ring's consumer copies records into a bounded
//!   queue and a second thread writes them. When the queue is full the ring backs up and inputs are dropped at the
//!   door, counted and told as a Gap; nothing that reached the queue is ever dropped.
//! - What was synced survives `kill -9` and loss of power. What was not may be cut, and then its end is reported.
//! - A segment explains itself: it names its engine, epoch, sources and instruments. When those grow in a running engine,
//!   a new segment begins, before the first record of a new one.
//!
//! # Files
//! `journal/EEEEEEEEEE-NNNNNNNNNN.twj`: a segment, by epoch and number within it (from 1), decimal. It is preallocated
//! with zeros, so that appending changes no metadata; when it is full or the journal closes it is cut to its data.
//! While it is being made its name ends in `.tmp`.
//!
//! | offset | bytes | field, little endian |
//! |---|---|---|
//! | 0 | 8 | `TICKWJRN` |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | `n`, length of the JSON text |
//! | 16 | 4 | epoch |
//! | 20 | 4 | number |
//! | 24 | 8 | first `seq` |
//! | 32 | n | JSON: `{"engine_id", "sources": […], "instruments": […], "clock": {"started_ns", "timer_ms"}}` |
//! | 32+n | 4 | CRC32C of everything before |
//! | 36+n | | entries |
//!
//! | offset | bytes | field of an entry |
//! |---|---|---|
//! | 0 | 4 | `length` of kind and record together; 0 is the end of the data |
//! | 4 | 4 | CRC32C of kind and record |
//! | 8 | 1 | kind, a [`tickwire_schemas::words::Kind`] |
//! | 9 | length - 1 | the record |
//!
//! What is not an entry and has an entry behind it is damage: it is skipped, counted and reported. What is not an entry
//! and has none behind it is the end: a torn one unless all of it is zeros.
//!
//! A recording (`tickwire record`) is one such file under a name of its own, epoch 1 and number 1: it holds inputs alone,
//! each with the verdict `accepted`, is not preallocated, and is synced every second; see [`recording`]. Its ids are
//! its own: what they stand for is in the header. Older files have no `clock`.
//!
//! `journal/snapshots/EPOCH-SEQ.tws`: the state of all stages after the record with that `seq`, see [`snapshot`].
//! `journal/stored`: the position up to which the database has everything, see [`retention`].
//! `journal/lock`: locked by the engine that writes here.

pub mod config;
pub mod disk;
pub mod durable;
pub mod format;
mod handle;
mod queue;
pub mod reader;
pub mod recording;
pub mod recover;
pub mod retention;
mod segments;
pub mod snapshot;
mod worker;

pub use config::JournalConfig;
pub use durable::{Durable, DurableAt, DurableSetter};
pub use format::{Catalogue, Clock, JournalError, Position, SegmentHeader, SegmentId};
pub use handle::{JournalFill, JournalGrowth, JournalHandle, Setup, start, start_on};
pub use reader::{Entry, Reader, Report};
pub use recording::Recording;
pub use recover::{Recovery, is_input, received_ns, recover};
pub use retention::Stored;
pub use snapshot::Snapshot;

//! What is so now: the newest quote of each symbol, the newest price of each source, the bars that form, the holes.
//!
//! A thread reads what is journaled, as the database's writer does: the hot path has no part in it, sources and instruments
//! that are added come with the journal's own catalogue, and what is shown is what will be stored. A price is on the board
//! some tens of milliseconds after it was received (`journal.sync_ms` and a look each 25 ms). The board has one place for
//! each thing it knows, however fast they change; who looks at it does so at their own pace and is told what has changed
//! since they last looked. So a slow browser costs nothing but its own connection.

mod board;
mod follow;
mod show;
mod sparkline;
mod streams;

pub use board::Board;
pub use follow::{Following, follow};
pub(super) use show::{DepthShown, GapShown, Looked, QuoteShown};
pub(super) use streams::{Permit, Streams};

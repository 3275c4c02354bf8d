//! How good each source is, by symbol and minute, and which source is the best of a symbol; and the holes of this run.
//!
//! Worked out from what is journaled, on a thread of its own that follows the journal: the hot path has no part in it.
//! The rows go to the table `source_quality`, the last 15 minutes to `/health`. These are the definitions:
//!
//! - A minute is one of receipt by the engine's clock. A record that comes with an earlier stamp of receipt counts in the
//!   minute that runs. A minute in which the instrument's market is closed when it begins gives no row, nor does one of
//!   which nothing was watched. `open_seconds` is how much was watched: less than 60 where the engine started or stopped.
//! - `ticks`: accepted prices; `rejects`: prices with any other verdict, `reject_reasons` by `duplicate`, `out_of_order` or
//!   the failed check, of which one price may have several. Trades are no prices and count in neither.
//! - `latency_p50_us`, `latency_p99_us`: receipt less the source's stamp over accepted prices that have one, by nearest
//!   rank. It holds the difference of the clocks too, and is negative where the source's is ahead. From 2,048 prices a
//!   minute on an even part of them is measured.
//! - `avg_spread`: mean of ask less bid over accepted prices with both sides, rounded down at 1e-9.
//! - `uptime_percent`: share of `open_seconds` in which the source's state was `live`. A source that never told its state
//!   (in a recording) is live from its first price on.
//! - `completeness_percent`: share of `open_seconds` outside of holes (`gaps`) of the source and symbol, and not before its
//!   first price or trade of the run. A hole that begins in a minute that is over when it is noticed does not change that
//!   minute's row. Neither does its repair: what was missing when it was wanted was missing.
//! - `best_bid_count`, `best_ask_count`: quotes of the common price in which the source made that side, of `best_quotes`
//!   that had a price.
//! - `ticks_per_second`: `ticks` by `open_seconds`.
//! - `score`: see [`score()`].
//!
//! Over several minutes: `score`, uptime and completeness are means weighted by `open_seconds`, the median latency and
//! the spread means weighted by `ticks`, the latency of 99 of 100 is the greatest.
//!
//! The recommended source of a symbol is the global one with the highest score over the last 15 minutes, the running one
//! included; among equals the smaller `priority`, then the order of the configuration.

mod follow;
mod ledger;
mod score;
mod summary;
mod tracker;

pub use follow::{Follower, FollowerGrowth, start};
pub use ledger::{Hole, Holes, Ledger, NEWEST_MAX, OPEN_MAX};
pub use score::{Parts, score};
pub use summary::{Board, Summary, SymbolNow, WINDOW_MINUTES, recommended};
pub use tracker::Tracker;

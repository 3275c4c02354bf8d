//! Client library for trading terminals: connect to Tickwire over QUIC, subscribe, and prove that nothing was missed.
//!
//! ```no_run
//! use tickwire_terminal::{Data, Event, Subscribe, Terminal, Trust};
//!
//! # async fn example() -> Result<(), tickwire_terminal::TerminalError> {
//! let trust = Trust::Fingerprint("the fingerprint that `tickwire run` prints".into());
//! let terminal = Terminal::connect("127.0.0.1:4433".parse().unwrap(), &trust, "").await?;
//! let request = Subscribe { symbols: vec!["EUR*".into()], ..Terminal::request() };
//! let mut quotes = terminal.subscribe(request).await?;
//! while let Some(event) = quotes.next().await? {
//!     if let Event::Record { data: Data::Quote(quote), skipped, .. } = event {
//!         println!("{:?} {} {} skipped {skipped}", quote.head.instrument_id, quote.bid_e9, quote.ask_e9);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Terminal`] is one connection, [`Subscription`] one stream of it; [`Follow`] is a subscription that reconnects and
//! resumes by itself. Prices are integers in units of 1e-9, sizes of 1e-8, times nanoseconds UTC.

mod error;
mod follow;
mod subscription;
mod terminal;
mod trust;

pub use error::TerminalError;
pub use follow::{Follow, Followed, Target};
pub use subscription::{Data, Event, Subscription};
pub use terminal::{ClockSample, Terminal, refuses};
pub use tickwire_schemas as schemas;
pub use tickwire_schemas::control::{Catalogue, Delivery, Subscribe, Welcome};
pub use tickwire_schemas::words::Kind;
pub use trust::Trust;

//! What a simulated broker has to say, before it is put into the broker's words.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::market::{Price, Size};

/// A bid and an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Index among the simulator's symbols.
    pub symbol: usize,
    /// The broker's stamp, nanoseconds UTC.
    pub event_ns: i64,
    /// Bid.
    pub bid: Price,
    /// Ask.
    pub ask: Price,
    /// Size at the bid.
    pub bid_size: Size,
    /// Size at the ask.
    pub ask_size: Size,
    /// The venue's number of the state of its book.
    pub update_id: u64,
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Index among the simulator's symbols.
    pub symbol: usize,
    /// The broker's stamp, nanoseconds UTC.
    pub event_ns: i64,
    /// Price.
    pub price: Price,
    /// Size.
    pub size: Size,
    /// The venue's number of the trade.
    pub id: u64,
    /// The buyer was waiting in the book: the aggressor sold.
    pub buyer_is_maker: bool,
}

/// A recorded message of a combined stream, its stamps already moved to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Index among the simulator's symbols.
    pub symbol: usize,
    /// Such as `btcusdt@trade`.
    pub stream: Arc<str>,
    /// A trade rather than a quote.
    pub is_trade: bool,
    /// The whole message as sent on a combined connection.
    pub text: Bytes,
    /// Where its payload stands, which is all that a raw connection sends.
    pub payload: Range<usize>,
}

/// Anything that goes to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A quote.
    Quote(Quote),
    /// A trade.
    Trade(Trade),
    /// A recorded message.
    Message(Message),
}

impl Event {
    /// Index among the simulator's symbols.
    #[must_use]
    pub fn symbol(&self) -> usize {
        match self {
            Event::Quote(quote) => quote.symbol,
            Event::Trade(trade) => trade.symbol,
            Event::Message(message) => message.symbol,
        }
    }

    /// Whether the ledger counts it as a trade.
    #[must_use]
    pub fn is_trade(&self) -> bool {
        match self {
            Event::Quote(_) => false,
            Event::Trade(_) => true,
            Event::Message(message) => message.is_trade,
        }
    }
}

//! What decoders say, and how they find the instrument that a venue's symbol stands for.

use tickwire_schemas::words::Cause;

use super::fix::Fault;
use super::json::Malformed;
use crate::market::{DecimalError, InstrumentId, SourceId, TickInput, TradeInput, time_text};

/// What a frame holds, as a decoder tells it to its sink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A price.
    Tick(TickInput),
    /// A trade.
    Trade(TradeInput),
    /// A heartbeat or acknowledgement: the connection is there, but nobody has learnt a price.
    Alive,
    /// The venue was asked, and answered with the price that it gave before: no tick, but no silence either.
    Confirmed,
    /// The venue asks to connect anew.
    Leaving,
    /// The venue's own count says that so many messages before this frame never came. Nothing of this frame is told: the
    /// session connects anew, which brings the state of every symbol, and the hole reaches from the last data before to
    /// the first data after.
    Lost(u64),
    /// The venue refuses to go on, in the words of the frame.
    Refused(Cause),
    /// The frame, or a part of it, is not what the venue's protocol says.
    Reject(Reject),
}

/// Why a frame could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Not the JSON that the venue documents.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not a FIX message.
    #[error(transparent)]
    Fix(#[from] Fault),
    /// A price or size that is not an exact decimal.
    #[error("{field} is {problem}; expected a decimal")]
    Decimal {
        /// The venue's name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: DecimalError,
    },
    /// A field that the message cannot do without is absent or not of the documented form.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A symbol that this source did not subscribe.
    #[error("a symbol that is not subscribed; expected one of the source's symbols")]
    UnknownSymbol,
    /// The venue refuses something that was asked; its words are in the frame.
    #[error("the venue refuses {0}")]
    Refused(&'static str),
}

/// The symbols of one source as its venue writes them.
#[derive(Debug, Clone)]
pub struct Symbols {
    source: SourceId,
    // Sorted by length, then bytes: venues' symbols are mostly equally long, and two words settle most comparisons.
    entries: Vec<(Box<[u8]>, InstrumentId)>,
}

/// A symbol that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Dense index among the source's symbols.
    pub index: usize,
    /// What it stands for.
    pub instrument: InstrumentId,
}

impl Symbols {
    /// The symbols of `source`: how the venue writes each in its messages, and what it stands for.
    pub fn new(source: SourceId, symbols: impl IntoIterator<Item = (String, InstrumentId)>) -> Self {
        let mut entries: Vec<_> =
            symbols.into_iter().map(|(name, id)| (name.into_bytes().into_boxed_slice(), id)).collect();
        entries.sort_by(|(a, _), (b, _)| key(a).cmp(&key(b)));
        Symbols { source, entries }
    }

    /// The source that says the prices.
    #[must_use]
    pub fn source(&self) -> SourceId {
        self.source
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names, as the venue writes them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok())
    }

    /// What they stand for.
    pub fn instruments(&self) -> impl Iterator<Item = InstrumentId> {
        self.entries.iter().map(|(_, instrument)| *instrument)
    }

    /// What `name` stands for.
    ///
    /// # Errors
    /// [`Reject::UnknownSymbol`].
    #[inline]
    pub fn find(&self, name: &[u8]) -> Result<Found, Reject> {
        let index = self.entries.binary_search_by(|(entry, _)| key(entry).cmp(&key(name)));
        index.map(|index| Found { index, instrument: self.entries[index].1 }).map_err(|_| Reject::UnknownSymbol)
    }
}

fn key(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

/// The exact price of a field.
///
/// # Errors
/// [`Reject::Decimal`] naming the field.
#[inline]
pub fn price(field: &'static str, text: &[u8]) -> Result<crate::market::Price, Reject> {
    crate::market::Price::parse(text).map_err(|problem| Reject::Decimal { field, problem })
}

/// The exact size of a field.
///
/// # Errors
/// [`Reject::Decimal`] naming the field.
#[inline]
pub fn size(field: &'static str, text: &[u8]) -> Result<crate::market::Size, Reject> {
    crate::market::Size::parse(text).map_err(|problem| Reject::Decimal { field, problem })
}

/// Nanoseconds UTC of a time such as `2025-06-01T09:30:59.123456Z`; without an offset it is UTC too.
///
/// # Errors
/// [`Reject::Expected`].
#[inline]
pub fn utc_time(text: &[u8]) -> Result<i64, Reject> {
    let time = time_text::date_time(text).ok_or(Reject::Expected("a time such as 2025-06-01T09:30:59.123456Z"))?;
    Ok(time.local_ns - time.offset_ns.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_whatever_their_length() {
        let names = ["EURUSD", "XAUUSD.m", "US30", "EUR_USD"];
        let symbols = Symbols::new(SourceId(3), names.iter().zip(1..).map(|(n, id)| (n.to_string(), InstrumentId(id))));
        for (name, id) in names.iter().zip(1..) {
            assert_eq!(symbols.find(name.as_bytes()).map(|f| f.instrument), Ok(InstrumentId(id)));
        }
        for name in ["", "EURUSDX", "eurusd"] {
            assert_eq!(symbols.find(name.as_bytes()), Err(Reject::UnknownSymbol));
        }
    }
}

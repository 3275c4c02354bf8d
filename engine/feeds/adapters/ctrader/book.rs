//! The entries of a book, known by their ids, and the best prices among them. Pure.

use crate::feeds::event::{Reject, price, size};
use crate::feeds::fix;
use crate::market::{Price, Size};

/// Entries of one book; brokers show some tens.
const ENTRIES_MAX: usize = 1_000;

/// A field of an entry of a W before its type.
pub(super) const NO_TYPE: Reject = Reject::Expected("MDEntryType (269) first in every entry");

/// A field of an entry of an X before its action.
pub(super) const NO_ACTION: Reject = Reject::Expected("MDUpdateAction (279) first in every entry");

const NO_PRICE: Reject = Reject::Expected("MDEntryPx (270) in every entry");

/// A side of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Side {
    Bid,
    Ask,
    /// Trades, opening prices and what else a MDEntryType may be; or not said.
    #[default]
    Other,
}

/// An entry of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    side: Side,
    price: Option<Price>,
    size: Option<Size>,
    pub(super) id: Option<u64>,
}

/// The best price of a side, and what all entries at it add up to, where they say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) price: Price,
    pub(super) size: Option<Size>,
}

/// Bid and ask.
pub(super) type Best = [Option<Level>; 2];

impl Entry {
    /// An entry of this MDEntryType.
    pub(super) fn of(kind: &[u8]) -> Entry {
        let side = match kind {
            b"0" => Side::Bid,
            b"1" => Side::Ask,
            _ => Side::Other,
        };
        Entry { side, ..Entry::default() }
    }

    /// Takes one field.
    #[inline]
    pub(super) fn read(&mut self, tag: u32, value: &[u8]) -> Result<(), Reject> {
        match tag {
            269 => self.side = Entry::of(value).side,
            270 => self.price = Some(price("MDEntryPx (270)", value)?),
            271 => self.size = Some(size("MDEntrySize (271)", value)?),
            278 => self.id = Some(fix::number(value).ok_or(Reject::Expected("a whole number as MDEntryID (278)"))?),
            _ => {}
        }
        Ok(())
    }
}

/// Adds an entry.
#[inline]
pub(super) fn push(entries: &mut Vec<Entry>, entry: Entry) -> Result<(), Reject> {
    if entries.len() >= ENTRIES_MAX {
        return Err(Reject::Expected("at most 1000 entries in a book"));
    }
    entries.push(entry);
    Ok(())
}

/// Checks the entries of a W, and leaves those that are of a side. Whether all have ids: those of the best prices alone
/// have none.
#[inline]
pub(super) fn check(entries: &mut Vec<Entry>) -> Result<bool, Reject> {
    let (mut known, mut others) = (true, false);
    for entry in entries.iter() {
        match entry.side {
            Side::Other => others = true,
            _ if entry.price.is_none() => return Err(NO_PRICE),
            _ => known &= entry.id.is_some(),
        }
    }
    if others {
        entries.retain(|entry| entry.side != Side::Other);
    }
    Ok(known)
}

/// The best bid and ask.
#[inline]
pub(super) fn best(entries: &[Entry]) -> Best {
    let (mut bid, mut ask) = (None, None);
    for entry in entries {
        let Some(price) = entry.price else { continue };
        let level = Level { price, size: entry.size };
        match entry.side {
            Side::Bid => better(&mut bid, level, |new, old| new > old),
            Side::Ask => better(&mut ask, level, |new, old| new < old),
            Side::Other => {}
        }
    }
    [bid, ask]
}

#[inline]
fn better(best: &mut Option<Level>, level: Level, beats: impl Fn(Price, Price) -> bool) {
    match best {
        Some(old) if old.price == level.price => {
            let sum = old.size.zip(level.size).and_then(|(a, b)| a.e8().checked_add(b.e8()));
            old.size = sum.and_then(Size::from_e8);
        }
        Some(old) if !beats(level.price, old.price) => {}
        _ => *best = Some(level),
    }
}

/// What is known of one symbol.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    pub(super) entries: Vec<Entry>,
    /// Whether this connection has told its state.
    pub(super) seen: bool,
    /// Whether the entries are all that there are: told whole, and no message was missed since.
    pub(super) whole: bool,
}

impl Book {
    /// Applies one entry of an X: MDUpdateAction 0 is new, 1 a change, 2 a deletion, which names the id alone.
    pub(super) fn apply(&mut self, action: &[u8], entry: Entry) -> Result<(), Reject> {
        let id = entry.id.ok_or(Reject::Expected("MDEntryID (278) in every entry"))?;
        let at = self.entries.iter().position(|known| known.id == Some(id));
        match (action, at) {
            (b"2", Some(at)) => {
                self.entries.swap_remove(at);
                Ok(())
            }
            (b"1", Some(at)) => {
                let known = &mut self.entries[at];
                known.price = entry.price.or(known.price);
                known.size = entry.size.or(known.size);
                Ok(())
            }
            (b"0", known) => {
                if entry.side == Side::Other {
                    return Err(Reject::Expected("MDEntryType (269) of 0 or 1 in a new entry"));
                }
                if entry.price.is_none() {
                    return Err(NO_PRICE);
                }
                if let Some(at) = known {
                    self.entries.swap_remove(at);
                }
                push(&mut self.entries, entry)
            }
            (b"1" | b"2", None) => Err(Reject::Expected("an entry of the book in MDEntryID (278)")),
            _ => Err(Reject::Expected("MDUpdateAction (279) of 0, 1 or 2")),
        }
    }
}

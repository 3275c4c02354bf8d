//! The book of `level2`: all levels of a product, of which the best are told when they change.
//!
//! Levels are kept in order with the best last, since nearly all changes happen there: then little is moved, and nothing
//! is allocated once there is room.

use std::borrow::Cow;

use super::Text;
use crate::feeds::event::{Reject, price, size};
use crate::feeds::json::{Cursor, Malformed};
use crate::market::{Price, Size};

/// Most levels of a side; the largest seen have some thirty thousand. Beyond it the worst is let go.
const LEVELS_MAX: usize = 200_000;

/// Best bid, its size, best ask, its size.
pub(super) type Top = (Option<Price>, Option<Size>, Option<Price>, Option<Size>);

/// Both sides of one product.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    bids: Side,
    asks: Side,
}

impl Book {
    /// Forgets all levels.
    pub(super) fn clear(&mut self) {
        self.bids.levels.clear();
        self.asks.levels.clear();
    }

    /// Reads an update and applies it.
    pub(super) fn update(&mut self, c: &mut Cursor<'_>) -> Result<(), Reject> {
        let update = Update::read(c)?;
        let at = price("price_level", update.price.ok_or(Reject::Expected("a price_level"))?)?;
        let quantity = size("new_quantity", update.quantity.ok_or(Reject::Expected("a new_quantity"))?)?;
        match update.side.as_deref() {
            // Bids grow towards the best, asks fall.
            Some(b"bid") => self.bids.set(at.e9(), quantity),
            Some(b"offer") => self.asks.set(-at.e9(), quantity),
            _ => return Err(Reject::Expected("bid or offer in side")),
        }
        Ok(())
    }

    pub(super) fn top(&self) -> Top {
        let (bid, ask) = (self.bids.levels.last(), self.asks.levels.last());
        let price = |key: i64| Price::from_e9(key);
        (
            bid.and_then(|level| price(level.0)),
            bid.map(|level| level.1),
            ask.and_then(|level| price(-level.0)),
            ask.map(|level| level.1),
        )
    }
}

/// Levels in the order of their keys, the best last.
#[derive(Debug, Clone, Default)]
struct Side {
    levels: Vec<(i64, Size)>,
}

impl Side {
    fn set(&mut self, key: i64, quantity: Size) {
        match self.levels.binary_search_by_key(&key, |level| level.0) {
            Ok(at) if quantity.e8() == 0 => {
                self.levels.remove(at);
            }
            Ok(at) => self.levels[at].1 = quantity,
            Err(_) if quantity.e8() == 0 => {}
            Err(at) => {
                self.levels.insert(at, (key, quantity));
                if self.levels.len() > LEVELS_MAX {
                    self.levels.remove(0);
                }
            }
        }
    }
}

/// One changed level as text.
#[derive(Default)]
struct Update<'a> {
    side: Option<Text<'a>>,
    price: Option<&'a [u8]>,
    quantity: Option<&'a [u8]>,
}

impl<'a> Update<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, Malformed> {
        if let Some(update) = Update::template(&mut c.clone()) {
            return Ok(update);
        }
        let mut update = Update::default();
        c.object(|key, c| {
            match key {
                b"side" => update.side = Some(c.text()?),
                b"price_level" => update.price = Some(c.number()?),
                b"new_quantity" => update.quantity = Some(c.number()?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        Ok(update)
    }

    /// As the venue writes it today.
    fn template(c: &mut Cursor<'a>) -> Option<Self> {
        c.literal(b"{\"side\":\"")?;
        let side = Some(Cow::Borrowed(c.until_quote()?));
        c.literal(b",\"event_time\":\"")?;
        c.until_quote()?;
        c.literal(b",\"price_level\":\"")?;
        let price = Some(c.until_quote()?);
        c.literal(b",\"new_quantity\":\"")?;
        let quantity = Some(c.until_quote()?);
        c.literal(b"}")?;
        Some(Update { side, price, quantity })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_of_prices(
            changes in proptest::collection::vec((any::<bool>(), 1_i64..30, 0_u64..4, any::<bool>()), 0..200),
        ) {
            let (mut book, mut bids, mut asks) = (Book::default(), BTreeMap::new(), BTreeMap::new());
            for (is_bid, at, quantity, shuffled) in changes {
                let side = if is_bid { "bid" } else { "offer" };
                let text = if shuffled {
                    format!(r#"{{"new_quantity":"{quantity}","price_level":"{at}.5","side":"{side}"}}"#)
                } else {
                    format!(r#"{{"side":"{side}","event_time":"x","price_level":"{at}.5","new_quantity":"{quantity}"}}"#)
                };
                prop_assert_eq!(book.update(&mut Cursor::new(text.as_bytes())), Ok(()));
                let model = if is_bid { &mut bids } else { &mut asks };
                if quantity == 0 { model.remove(&at) } else { model.insert(at, quantity) };
                let price = |at: &i64| Price::from_e9(at * 1_000_000_000 + 500_000_000).unwrap();
                let size = |quantity: &u64| Size::from_e8(quantity * 100_000_000).unwrap();
                let (bid, ask) = (bids.last_key_value(), asks.first_key_value());
                let expected = (bid.map(|l| price(l.0)), bid.map(|l| size(l.1)), ask.map(|l| price(l.0)), ask.map(|l| size(l.1)));
                prop_assert_eq!(book.top(), expected);
            }
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for text in
            [r#"{"side":"buy","price_level":"1","new_quantity":"1"}"#, r#"{"side":"bid","new_quantity":"1"}"#, "[]"]
        {
            assert!(Book::default().update(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
    }
}

//! The book that a depth subscription is told: three levels on each side of a quote, each entry with an id. Pure.

use crate::market::Price;
use crate::simulator::event::Quote;

/// Levels on each side.
const LEVELS: i64 = 3;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    side: &'static str,
    price: Price,
    size: u64,
    id: u64,
}

/// What one subscription was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
}

impl Book {
    /// Follows a quote: the ids that are gone and the entries that are new.
    pub(super) fn follow(&mut self, quote: &Quote, point_e9: i64, next_id: &mut u64) -> (Vec<u64>, Vec<Entry>) {
        // Whole thousands, as brokers show them.
        let thousands = |e8: u64| (e8 / 100_000_000_000).max(1) * 1_000;
        let mut wanted = Vec::new();
        for level in 0..LEVELS {
            for (side, best, size, away) in [
                ("0", quote.bid, quote.bid_size, -2 * level * point_e9),
                ("1", quote.ask, quote.ask_size, 2 * level * point_e9),
            ] {
                let size = if level == 0 { thousands(size.e8()) } else { 500_000 * level.unsigned_abs() };
                if let Some(price) = Price::from_e9(best.e9() + away) {
                    wanted.push((side, price, size));
                }
            }
        }
        let same = |entry: &Entry, (side, price, size): &(&str, Price, u64)| {
            entry.side == *side && entry.price == *price && entry.size == *size
        };
        let is_gone = |entry: &&Entry| !wanted.iter().any(|want| same(entry, want));
        let gone: Vec<u64> = self.entries.iter().filter(is_gone).map(|entry| entry.id).collect();
        self.entries.retain(|entry| !gone.contains(&entry.id));
        let mut new = Vec::new();
        for (side, price, size) in wanted {
            if !self.entries.iter().any(|entry| same(entry, &(side, price, size))) {
                new.push(Entry { side, price, size, id: *next_id });
                *next_id += 1;
            }
        }
        self.entries.extend(new.iter().cloned());
        (gone, new)
    }
}

/// The fields of a W with these entries.
pub(super) fn whole(symbol: &str, entries: &[Entry]) -> Vec<(u32, String)> {
    let mut fields = vec![(55, symbol.to_string()), (268, entries.len().to_string())];
    for entry in entries {
        fields.extend([(269, entry.side.to_string()), (270, entry.price.to_string())]);
        fields.extend([(271, entry.size.to_string()), (278, entry.id.to_string())]);
    }
    fields
}

/// The fields of an X: what is new, and what is gone, which is known by its id alone.
pub(super) fn changes(symbol: &str, gone: &[u64], new: &[Entry]) -> Vec<(u32, String)> {
    let mut fields = vec![(268, (gone.len() + new.len()).to_string())];
    for entry in new {
        fields.extend([(279, "0".to_string()), (269, entry.side.to_string()), (278, entry.id.to_string())]);
        fields.extend([(55, symbol.to_string()), (270, entry.price.to_string()), (271, entry.size.to_string())]);
    }
    for id in gone {
        fields.extend([(279, "2".to_string()), (278, id.to_string()), (55, symbol.to_string())]);
    }
    fields
}

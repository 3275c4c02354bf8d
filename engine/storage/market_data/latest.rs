//! The newest bars of the series that were asked for lately.
//!
//! An entry holds as long as nothing is known to have come to its series: a bar that was journaled and is not in it makes
//! it worth nothing, and so does its age, since bars fetched from a venue's history come past the journal. One question a
//! series is under way at a time, so that an answer never replaces a newer one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Bar, Series};
use crate::storage::client::DatabaseError;

/// Bars of an entry; longer pages are asked of the database.
pub const LATEST_MAX: u32 = 101;

/// Series kept: with some 400 bytes a bar 10 MB in all.
const SERIES_MAX: usize = 256;

/// How long an entry holds when nothing is heard.
const HOLDS: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Entry {
    held: Option<Held>,
    /// Epoch and `seq` of the newest bar of the series that was journaled.
    heard: (u32, u64),
    /// When it was last asked for.
    asked: Option<Instant>,
    /// Counts what makes an answer under way too old to be kept.
    changes: u64,
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

struct Held {
    bars: Arc<[Bar]>,
    /// The newest row among them.
    newest: (u32, u64),
    at: Instant,
}

impl Entry {
    fn valid(&self) -> Option<Arc<[Bar]>> {
        let held = self.held.as_ref()?;
        (held.newest >= self.heard && held.at.elapsed() < HOLDS).then(|| Arc::clone(&held.bars))
    }
}

#[derive(Default)]
pub(super) struct Latest(Mutex<HashMap<Series, Entry>>);

impl Latest {
    fn entries(&self) -> MutexGuard<'_, HashMap<Series, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a series, or what `ask` answers.
    pub(super) async fn get<F>(&self, series: &Series, ask: impl FnOnce() -> F) -> Result<Arc<[Bar]>, DatabaseError>
    where
        F: Future<Output = Result<Vec<Bar>, DatabaseError>>,
    {
        let turn = self.begin(series);
        let _turn = turn.lock().await;
        let changes = {
            let mut entries = self.entries();
            let entry = entries.entry(series.clone()).or_default();
            if let Some(bars) = entry.valid() {
                return Ok(bars);
            }
            entry.changes
        };
        let at = Instant::now();
        let bars: Arc<[Bar]> = ask().await?.into();
        let newest = bars.iter().map(|bar| bar.row).max().unwrap_or_default();
        if let Some(entry) = self.entries().get_mut(series).filter(|entry| entry.changes == changes) {
            entry.held = Some(Held { bars: Arc::clone(&bars), newest, at });
        }
        Ok(bars)
    }

    /// Makes room and an entry; whoever asks for the series waits for its turn.
    fn begin(&self, series: &Series) -> Arc<tokio::sync::Mutex<()>> {
        let mut entries = self.entries();
        if !entries.contains_key(series) && entries.len() >= SERIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.asked).map(|(series, _)| series.clone());
            oldest.map(|series| entries.remove(&series));
        }
        let entry = entries.entry(series.clone()).or_default();
        entry.asked = Some(Instant::now());
        Arc::clone(&entry.one_at_a_time)
    }

    /// Another way to ask has shown more than is kept, perhaps.
    pub(super) fn forget(&self, series: &Series) {
        if let Some(entry) = self.entries().get_mut(series) {
            entry.held = None;
            entry.changes += 1;
        }
    }

    /// The series has a new bar.
    pub(super) fn heard(&self, series: &Series, row: (u32, u64)) {
        if let Some(entry) = self.entries().get_mut(series) {
            entry.heard = entry.heard.max(row);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use tickwire_schemas::words::Timeframe;

    use super::*;
    use crate::storage::rows::Audience;

    fn series(symbol: &str) -> Series {
        let (source, timeframe) = ("best".into(), Timeframe::M1);
        Series { audience: Audience::Global, source, symbol: symbol.into(), timeframe }
    }

    fn bar(seq: u64) -> Bar {
        let head = tickwire_schemas::record::Head { epoch: 1, seq, ..Default::default() };
        Bar::from(&tickwire_schemas::record::Bar { head, ..Default::default() })
    }

    /// What it answers when the database has the rows up to `seq`, and whether the database was asked.
    async fn get(latest: &Latest, of: &str, seq: u64) -> (u64, bool) {
        let asked = Cell::new(false);
        let series = series(of);
        let bars = latest.get(&series, || {
            asked.set(true);
            async move { Ok(vec![bar(seq)]) }
        });
        let answer = bars.await.unwrap()[0].row.1;
        (answer, asked.get())
    }

    #[tokio::test]
    async fn what_is_kept_holds_until_something_newer_is_journaled() {
        let latest = Latest::default();
        assert_eq!(get(&latest, "A", 5).await, (5, true));
        assert_eq!(get(&latest, "A", 6).await, (5, false));
        latest.heard(&series("B"), (1, 9));
        latest.heard(&series("A"), (1, 5));
        assert_eq!(get(&latest, "A", 6).await, (5, false));
        // Journaled, and not in the database yet: asked for until it is there.
        latest.heard(&series("A"), (1, 7));
        assert_eq!(get(&latest, "A", 6).await, (6, true));
        assert_eq!(get(&latest, "A", 7).await, (7, true));
        assert_eq!(get(&latest, "A", 8).await, (7, false));
        // Somebody saw more by another way.
        latest.forget(&series("A"));
        assert_eq!(get(&latest, "A", 8).await, (8, true));
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_is_not_kept() {
        let latest = Latest::default();
        let of = series("A");
        let overtaken = latest.get(&of, || async {
            latest.forget(&of);
            Ok(vec![bar(1)])
        });
        assert_eq!(overtaken.await.unwrap()[0].row.1, 1);
        assert_eq!(get(&latest, "A", 2).await, (2, true));
    }

    #[tokio::test]
    async fn what_is_kept_has_an_end() {
        let latest = Latest::default();
        for of in 0..SERIES_MAX + 10 {
            get(&latest, &of.to_string(), 1).await;
        }
        assert_eq!(latest.entries().len(), SERIES_MAX);
        assert!(!latest.entries().contains_key(&series("0")), "the one that was not asked for the longest");
    }
}

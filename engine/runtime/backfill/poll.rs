//! The latest bars of a venue, again and again, as bars of the origin `polled`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tickwire_schemas::record::Bar;
use tickwire_schemas::words::Origin;

use super::{Backfill, BackfillError, Counted, Fetched, Progress, Stored};
use crate::feeds::SharedHosts;
use crate::storage::Endpoint;
use crate::storage::migrate::migrate;

/// Tries of a request: whoever polls comes again anyway.
const TRIES: u32 = 1;

/// What was stored last, by connection, symbol and timeframe: what a venue says again is not stored again. Bounded by
/// these, and by the bars of one poll.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Polled(Mutex<BTreeMap<[String; 3], BTreeMap<i64, Bar>>>);

impl Polled {
    /// The bars that are not as they were, or were not there.
    fn new_ones(&self, key: &[String; 3], bars: &[Bar]) -> Vec<Bar> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(key);
        let is_known = |bar: &&Bar| known.and_then(|known| known.get(&bar.open_ts_ns)) == Some(*bar);
        bars.iter().filter(|bar| !is_known(bar)).copied().collect()
    }

    fn keep(&self, key: [String; 3], bars: Vec<Bar>) {
        let bars = bars.into_iter().map(|bar| (bar.open_ts_ns, bar)).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, bars);
    }
}

impl Backfill<'_> {
    /// Asks once for the bars of the request, which must be no more than one page, and stores those that are new; how many
    /// these were.
    pub(in crate::runtime) fn poll_until(
        &self,
        state: &Path,
        endpoint: &Endpoint,
        hosts: SharedHosts,
        polled: &Polled,
        stopped: impl Future<Output = ()>,
    ) -> Result<u64, BackfillError> {
        let chunk = (self.request.from_ns, self.until_ns);
        let key = [&self.source.name, &self.instrument.symbol, self.work.word()].map(ToString::to_string);
        let poll = async |run: &mut super::Run<'_>| {
            migrate(endpoint, self.database).await?;
            let mut progress = Progress::new(chunk.0);
            let fetched = run.fetch(chunk, &mut progress, None, TRIES, &mut |_| {}).await?;
            let Fetched::Bars(_) = &fetched else { return Ok(0) };
            let head = run.target().head();
            let rows = self.work.rows(fetched, chunk, head, &mut run.calendar, &mut progress, Counted::new());
            let polled_bar = |row| match row {
                Stored::Bar(bar) => Some(Bar { origin: Origin::Polled.code(), ..bar }),
                _ => None,
            };
            let bars: Vec<Bar> = rows.into_iter().filter_map(polled_bar).collect();
            let new = polled.new_ones(&key, &bars);
            let rows: Vec<Stored> = new.iter().copied().map(Stored::Bar).collect();
            run.store("polled", &rows, chunk).await?;
            polled.keep(key, bars);
            Ok(rows.len() as u64)
        };
        self.with(state, endpoint, hosts, async |run| {
            tokio::select! {
                outcome = poll(run) => outcome,
                () = stopped => Err(BackfillError::Stopped),
            }
        })
    }
}

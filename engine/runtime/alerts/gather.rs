//! What is known of the running engine, as the rules take it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickwire_schemas::words::{Cause, QuoteState, SourceStatus};

use crate::clock;
use crate::console::{Facts, View};
use crate::control::alerts::{AlertRule, FailedJob, Known, Observation, Reading, lasted};
use crate::feeds::FeedStatus;
use crate::metrics;
use crate::quality::SymbolNow;
use crate::storage::StorageStatus;

/// A failed job is nobody's trouble any more after this time: a day.
pub(super) const JOBS_SINCE_NS: i64 = 86_400_000_000_000;

/// Looks around.
pub(super) struct Gatherer {
    state_dir: PathBuf,
    facts: Arc<Facts>,
}

impl Gatherer {
    pub(super) fn new(state_dir: &Path, facts: Arc<Facts>) -> Gatherer {
        Gatherer { state_dir: state_dir.into(), facts }
    }

    /// Everything that is known now; `in_error` are wanted connections of the control database, with owner and error.
    pub(super) fn known(&self, jobs: &[FailedJob], in_error: &[(String, String, String)]) -> Known {
        let mut known = Known::default();
        let (view, symbols) = (self.facts.shown.now(), self.facts.quality.symbols());
        let now_ns = clock::now_ns();
        for at in (0..view.market.sources().len()).filter(|at| !view.removed.contains(at)) {
            if let Some(feed) = (self.facts.feed)(at) {
                // Before anybody told which symbols it has, none of its markets is known to be closed.
                let mut own = symbols.iter().filter(|symbol| symbol.sources.contains(&at)).peekable();
                let is_open = own.peek().is_none() || own.any(|symbol| symbol.is_open);
                known.observations.extend(of_source(&view, at, &feed, is_open, now_ns));
            }
        }
        let runs = |name: &str| {
            let mut sources = view.market.sources().iter().enumerate();
            sources.any(|(at, source)| source.name == name && !view.removed.contains(&at))
        };
        known.observations.extend(in_error.iter().filter(|(name, ..)| !runs(name)).map(of_unfit));
        known.complete.extend([AlertRule::ConnectionError, AlertRule::SourceMute]);
        let makes = |at: &usize| {
            let held = (self.facts.feed)(*at).is_none_or(|feed| feed.cause() == Cause::Standby);
            view.market.is_global(*at) && !view.removed.contains(at) && !held
        };
        for symbol in symbols.iter() {
            let makers = symbol.sources.iter().filter(|at| makes(at)).count();
            known.observations.extend(of_symbol(symbol, makers));
        }
        if !symbols.is_empty() {
            known.complete.extend([AlertRule::SymbolCrossed, AlertRule::SymbolSingleSource]);
        }
        known.observations.extend(of_storage(&(self.facts.storage)()));
        known.observations.extend(of_disk(&self.state_dir));
        known.observations.extend(jobs.iter().map(of_job));
        known.complete.extend([AlertRule::StorageLag, AlertRule::JobFailed]);
        known
    }
}

fn of_source(view: &View, at: usize, feed: &FeedStatus, is_open: bool, now_ns: i64) -> [Observation; 2] {
    let source = &view.market.sources()[at];
    let (name, status, cause) = (&source.name, feed.status(), feed.cause());
    let of = |rule, reading, trouble, well| Observation {
        rule,
        subject: name.clone(),
        source: Some(name.clone()),
        owner: source.owner.clone(),
        reading,
        trouble,
        well,
    };
    // What goes on at its beginning, or while it changes over, says nothing.
    let is_between = matches!(status, SourceStatus::Connecting | SourceStatus::Down);
    let on_purpose = status == SourceStatus::Stopped;
    let error = match feed.is_faulty() {
        true => Reading::Trouble,
        false if is_between && cause != Cause::Mute => Reading::Unknown,
        false => Reading::Well,
    };
    let mute = match cause {
        _ if on_purpose || status == SourceStatus::Live => Reading::Well,
        _ if !is_open => Reading::Well,
        Cause::Mute => Reading::Trouble,
        _ => Reading::Unknown,
    };
    let last_error = feed.last_error();
    let why = if last_error.is_empty() { String::new() } else { format!(": {last_error}") };
    let last_ns = metrics::LAST_DATA_NS.at(at).get();
    let silent = match last_ns {
        0 => "and has said no price yet".to_string(),
        ns => format!("and has said no price for {}", lasted(now_ns - ns)),
    };
    let is_stopped = format!("{name}: was stopped");
    let again = if on_purpose { is_stopped.clone() } else { format!("{name}: is connected again") };
    let prices = match (on_purpose, is_open) {
        (true, _) => is_stopped,
        (false, true) => format!("{name}: prices come again"),
        (false, false) => format!("{name}: its markets are closed"),
    };
    [
        of(AlertRule::ConnectionError, error, format!("{name}: {status} ({cause}){why}"), again),
        of(AlertRule::SourceMute, mute, format!("{name}: is connected {silent}"), prices),
    ]
}

/// A connection that cannot even be tried.
fn of_unfit((name, owner, error): &(String, String, String)) -> Observation {
    Observation {
        rule: AlertRule::ConnectionError,
        subject: name.clone(),
        source: Some(name.clone()),
        owner: owner.clone(),
        reading: Reading::Trouble,
        trouble: format!("{name}: is wanted and cannot run: {error}"),
        // One that can run is not among them.
        well: String::new(),
    }
}

fn of_symbol(symbol: &SymbolNow, makers: usize) -> [Observation; 2] {
    let name = &symbol.symbol;
    let state = symbol.common.map(|(state, _)| state);
    let of = |rule, reading, trouble, well: &str| Observation {
        rule,
        subject: name.to_string(),
        source: None,
        owner: String::new(),
        reading,
        trouble,
        well: if symbol.is_open { format!("{name}: {well}") } else { format!("{name}: its market is closed") },
    };
    let crossed = match state {
        _ if !symbol.is_open => Reading::Well,
        None => Reading::Unknown,
        Some(QuoteState::Crossed) => Reading::Trouble,
        Some(_) => Reading::Well,
    };
    let single = match state {
        _ if !symbol.is_open || makers < 2 => Reading::Well,
        // Without any source there are other alerts.
        None | Some(QuoteState::Stale) => Reading::Unknown,
        Some(QuoteState::Single) => Reading::Trouble,
        Some(_) => Reading::Well,
    };
    let alone = format!("{name}: one source alone makes its price, of {makers} that are to make it");
    [
        of(
            AlertRule::SymbolCrossed,
            crossed,
            format!("{name}: its best bid is above its best ask"),
            "is not crossed any more",
        ),
        of(AlertRule::SymbolSingleSource, single, alone, "does not depend on one source any more"),
    ]
}

fn of_storage(status: &StorageStatus) -> Option<Observation> {
    if status.mode == "off" {
        return None;
    }
    let why = status.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    Some(Observation {
        rule: AlertRule::StorageLag,
        subject: "database".into(),
        source: None,
        owner: String::new(),
        reading: Reading::Measured(status.lag_seconds),
        trouble: format!(
            "the database is {} behind, {} rows{why}",
            lasted((status.lag_seconds * 1e9) as i64),
            status.lag_rows
        ),
        well: format!("the database is {} behind", lasted((status.lag_seconds * 1e9) as i64)),
    })
}

/// Nothing when the file system does not tell.
fn of_disk(state_dir: &Path) -> Option<Observation> {
    let found = rustix::fs::statvfs(state_dir).ok().filter(|found| found.f_blocks > 0)?;
    let percent = found.f_bavail as f64 / found.f_blocks as f64 * 100.0;
    let gib = (found.f_bavail as f64) * (found.f_frsize as f64) / f64::from(1 << 30);
    Some(Observation {
        rule: AlertRule::DiskLow,
        subject: "state directory".into(),
        source: None,
        owner: String::new(),
        reading: Reading::Measured(percent),
        trouble: format!("the disk of the state directory has {percent:.1} % left, {gib:.1} GiB"),
        well: format!("the disk of the state directory has {percent:.1} % left, {gib:.1} GiB"),
    })
}

fn of_job(job: &FailedJob) -> Observation {
    let (kind, connection) = (job.kind.replace('_', " "), &job.connection);
    let subject = if connection.is_empty() { kind } else { format!("{kind} of {connection}") };
    let why = if job.message.is_empty() { String::new() } else { format!(": {}", job.message) };
    Observation {
        rule: AlertRule::JobFailed,
        source: (!connection.is_empty()).then(|| connection.clone()),
        owner: job.owner.clone(),
        reading: Reading::Trouble,
        trouble: format!("{subject}: failed after {} attempts{why}", job.attempts),
        // One that came off is not among the failed ones.
        well: String::new(),
        subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(state: Option<QuoteState>, is_open: bool, makers: usize) -> [Reading; 2] {
        let common = state.map(|state| (state, 0));
        let symbol = SymbolNow { symbol: "EURUSD".into(), common, is_open, sources: Vec::new() };
        of_symbol(&symbol, makers).map(|observation| observation.reading)
    }

    #[test]
    fn a_symbol_is_in_trouble_only_while_its_market_is_open_and_its_state_is_known() {
        use Reading::{Trouble, Unknown, Well};
        assert_eq!(readings(Some(QuoteState::Crossed), true, 2), [Trouble, Well]);
        assert_eq!(readings(Some(QuoteState::Single), true, 2), [Well, Trouble]);
        assert_eq!(readings(Some(QuoteState::Single), true, 1), [Well, Well], "there never was another");
        assert_eq!(readings(Some(QuoteState::Stale), true, 2), [Well, Unknown]);
        assert_eq!(readings(None, true, 2), [Unknown, Unknown], "the engine has just started");
        for state in [QuoteState::Crossed, QuoteState::Single] {
            assert_eq!(readings(Some(state), false, 2), [Well, Well], "closed");
        }
    }

    #[test]
    fn a_database_that_is_off_is_not_behind() {
        let status = |mode| StorageStatus { mode, lag_rows: 9, lag_seconds: 70.0, last_error: Some("away".into()) };
        assert!(of_storage(&status("off")).is_none());
        let behind = of_storage(&status("server")).map(|found| (found.reading, found.trouble));
        assert_eq!(behind, Some((Reading::Measured(70.0), "the database is 1 min 10 s behind, 9 rows: away".into())));
    }
}

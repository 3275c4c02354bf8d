//! How the connections of the control database are: watched in the running engine, and written where the console and the
//! command line look. An entry in a connection's log for each change, not for each attempt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::json;
use tickwire_schemas::words::{Cause, SourceStatus};

use super::reconfigure::Control;
use crate::clock;
use crate::control::connections::{ConnectionError, Connections, DataConnection, LogEntry, Status};
use crate::control::sections::add_connections;
use crate::control::service::status_of;
use crate::feeds::FeedsControl;

/// How often it looks: a state that came and went in between is not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Entries of one connection in a minute; what is beyond is counted in the next entry.
const ENTRIES_PER_MINUTE: u32 = 6;
const MINUTE_NS: i64 = 60_000_000_000;

/// How long a status `testing` is left alone: longer than any test.
const TEST_NS: i64 = 120_000_000_000;

/// The watching thread.
pub(super) struct FeedWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl FeedWatch {
    /// Starts it over a state directory.
    pub(super) fn start(state_dir: &Path, control: Control, feeds: FeedsControl) -> std::io::Result<FeedWatch> {
        let (stop, stopped) = bounded(1);
        let (seen, looked, unfit) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let watcher = Watcher { state_dir: state_dir.into(), control, feeds, seen, looked, unfit, complained: false };
        let thread = std::thread::Builder::new().name("tw-feed-watch".into()).spawn(move || watcher.run(&stopped))?;
        Ok(FeedWatch { stop, thread })
    }

    /// Writes that nothing is connected any more, and ends.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What was last seen of a connection.
#[derive(Debug, Clone, Copy)]
struct Seen {
    status: Status,
    /// In this minute.
    entries: u32,
    minute_ns: i64,
    left_out: u32,
    testing_since_ns: Option<i64>,
}

struct Watcher {
    state_dir: PathBuf,
    control: Control,
    feeds: FeedsControl,
    seen: BTreeMap<i64, Seen>,
    /// When connections were changed that had no feed at the last look, by their ids.
    looked: BTreeMap<i64, i64>,
    /// Why wanted connections cannot be sources, by name.
    unfit: BTreeMap<String, String>,
    /// The database failed, and that was said.
    complained: bool,
}

/// How a feed is now.
struct Now {
    status: Status,
    cause: Cause,
    error: String,
}

impl Watcher {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut open = None;
        loop {
            let ends = !matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout));
            let looked = match &mut open {
                Some(all) => self.look(all, ends),
                None => Connections::open(&self.state_dir).and_then(|all| self.look(open.insert(all), ends)),
            };
            match looked {
                Ok(()) => self.complained = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!("the status of connections is not written: {error}");
                    }
                    open = None;
                }
            }
            if ends {
                return;
            }
        }
    }

    fn look(&mut self, all: &mut Connections, ends: bool) -> Result<(), ConnectionError> {
        let now_ns = clock::now_ns();
        let statuses = self.feeds.statuses().all();
        let kept = all.list()?;
        self.seen.retain(|id, _| kept.iter().any(|connection| connection.id == *id));
        let feed_of = |name: &str| statuses.iter().find(|feed| feed.name == name).filter(|_| !ends);
        if !ends {
            self.look_for_unfit(kept.iter().filter(|c| c.is_active && feed_of(&c.name).is_none()))?;
        }
        for connection in kept {
            let feed = feed_of(&connection.name);
            let problem = self.unfit.get(&connection.name).filter(|_| connection.is_active && !ends);
            let now = match (feed, problem) {
                (Some(feed), _) => Now {
                    status: status_of(feed.status(), feed.cause(), feed.attempt()),
                    cause: feed.cause(),
                    error: feed.last_error(),
                },
                (None, Some(problem)) => Now { status: Status::Error, cause: Cause::None, error: problem.clone() },
                (None, None) => Now { status: Status::Inactive, cause: Cause::Stopped, error: String::new() },
            };
            // Its first attempt after others that failed is no news.
            let trying = feed.is_some_and(|feed| feed.status() == SourceStatus::Connecting);
            self.write(all, &connection, &now, trying, now_ns)?;
        }
        Ok(())
    }

    /// Finds out why wanted connections are without a feed, once after each change of one.
    fn look_for_unfit<'a>(&mut self, missing: impl Iterator<Item = &'a DataConnection>) -> Result<(), ConnectionError> {
        let mut is_news = false;
        for connection in missing {
            let looked = self.looked.insert(connection.id, connection.changed_ns);
            is_news |= looked != Some(connection.changed_ns);
        }
        if is_news {
            let unfit = add_connections(&mut self.control.base(), &self.state_dir)?;
            self.unfit = unfit.into_iter().map(|unfit| (unfit.name, unfit.problem)).collect();
        }
        Ok(())
    }

    fn write(
        &mut self,
        all: &mut Connections,
        connection: &DataConnection,
        now: &Now,
        trying: bool,
        now_ns: i64,
    ) -> Result<(), ConnectionError> {
        let fresh =
            Seen { status: Status::Inactive, entries: 0, minute_ns: now_ns, left_out: 0, testing_since_ns: None };
        let seen = self.seen.entry(connection.id).or_insert(fresh);
        let before = seen.status;
        let status = if trying && before == Status::Error { Status::Error } else { now.status };
        if connection.status == Status::Testing && status == before {
            let since_ns = *seen.testing_since_ns.get_or_insert(now_ns);
            if now_ns - since_ns < TEST_NS {
                return Ok(());
            }
        }
        seen.testing_since_ns = None;
        seen.status = status;
        // Tests of one that is not wanted leave their own word behind.
        if status == connection.status || (!connection.is_active && status == before) {
            return Ok(());
        }
        let connected_ns = (status == Status::Active).then_some(now_ns);
        let error = (status == Status::Error && !now.error.is_empty()).then_some(now.error.as_str());
        all.set_status(&connection.name, status, connected_ns, error)?;
        let Some((action, succeeded, message)) = entry(before, status, now) else { return Ok(()) };
        if now_ns - seen.minute_ns >= MINUTE_NS {
            (seen.minute_ns, seen.entries) = (now_ns, 0);
        }
        if seen.entries >= ENTRIES_PER_MINUTE {
            seen.left_out += 1;
            return Ok(());
        }
        seen.entries += 1;
        let left_out = std::mem::take(&mut seen.left_out);
        let metadata = if left_out == 0 { json!({}) } else { json!({ "left_out": left_out }) };
        all.log(connection, &LogEntry { at_ns: now_ns, action: action.into(), succeeded, message, metadata })
    }
}

/// What the log says of a change.
fn entry(before: Status, after: Status, now: &Now) -> Option<(&'static str, bool, String)> {
    let why = match (now.error.as_str(), now.cause) {
        ("", cause) => cause.to_string(),
        (error, Cause::None) => error.to_string(),
        (error, cause) => format!("{error} ({cause})"),
    };
    match (before, after) {
        (before, after) if before == after => None,
        (_, Status::Active) => Some(("connect", true, "prices flow".into())),
        (_, Status::Error) => Some(("error", false, why)),
        (Status::Active, Status::Stale) => Some(("error", false, "connected, but no price on any symbol".into())),
        (Status::Active | Status::Stale, Status::Inactive) => {
            Some(("disconnect", true, format!("let go ({})", now.cause)))
        }
        _ => None,
    }
}

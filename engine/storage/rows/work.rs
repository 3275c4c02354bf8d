//! What a record says of the pipeline's work: the rows of `pipeline_executions`.

use tickwire_schemas::record::{Head, SourceState};
use tickwire_schemas::words::{Cause, GapState, Origin, SourceStatus};

use super::{Stored, span};

/// A row of `pipeline_executions`: a stored bar, or what failed.
pub(super) struct Execution {
    pub(super) head: Head,
    /// Of a bar, else 0.
    pub(super) timeframe: u8,
    pub(super) stage: &'static str,
    pub(super) started_ns: i64,
    pub(super) finished_ns: i64,
    pub(super) cause: u8,
}

impl Execution {
    pub(super) fn of(stored: &Stored) -> Option<Execution> {
        let execution = |head, stage, (started_ns, finished_ns)| Execution {
            head,
            timeframe: 0,
            stage,
            started_ns,
            finished_ns,
            cause: Cause::None.code(),
        };
        match stored {
            Stored::Bar(r) => {
                let times = (r.close_ts_ns, r.head.ts_publish_ns);
                // How late the venue's bars of a hole are says nothing of how soon ours are there.
                let stage = if r.origin == Origin::Repair.code() { "repair" } else { "bars" };
                Some(Execution { timeframe: r.timeframe, ..execution(r.head, stage, times) })
            }
            Stored::SourceState(r) if has_failed(r) => {
                Some(Execution { cause: r.cause, ..execution(r.head, "feed", (r.ts_recv_ns, r.ts_recv_ns)) })
            }
            // Holes that a failing connection opens are told by its own change of state; a repair is no second drop.
            Stored::Gap(r) if r.state == GapState::Closed.code() && was_dropped(r.cause) => {
                Some(Execution { cause: r.cause, ..execution(r.head, "ingest", span(r)) })
            }
            _ => None,
        }
    }

    /// Every bar is there; what else is told failed.
    pub(super) fn is_bar(&self) -> bool {
        self.timeframe != 0
    }
}

fn was_dropped(cause: u8) -> bool {
    [Cause::RingFull, Cause::JournalFull].iter().any(|dropped| dropped.code() == cause)
}

/// Whether a connection failed: the states before and after it carry the cause too.
fn has_failed(state: &SourceState) -> bool {
    let away = [SourceStatus::Mute.code(), SourceStatus::Down.code()].contains(&state.status);
    let planned = [Cause::None, Cause::Start, Cause::Stopped, Cause::Restart];
    away && !planned.iter().any(|cause| cause.code() == state.cause)
}

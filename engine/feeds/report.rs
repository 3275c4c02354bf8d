//! What the connections of one source say together: its state, told to the stages and to the console.
//!
//! Where all connections are in the same state, one record says it of the whole source. Where they are not, a record for
//! each instrument of the connection that changed says it of that one: nobody's prices are withdrawn, and no hole is
//! opened, because of a connection that does not carry them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use tickwire_schemas::INSTRUMENT_ALL;
use tickwire_schemas::record::{Drop as DropRecord, SourceState};
use tickwire_schemas::words::{Cause, SourceStatus};

use super::event::{Reject, Symbols};
use super::machine::State;
use super::net::blotted_excerpt;
use super::status::FeedStatus;
use crate::clock;
use crate::market::{Input, InstrumentId};
use crate::ring::Inlet;

/// A venue that sends rubbish is reported this often, with a count; all of it is in the metrics.
const REJECT_LOG_NS: i64 = 10_000_000_000;

/// The state before a connection has said one.
const BEGINNING: State = State { status: SourceStatus::Connecting, cause: Cause::Start, attempt: 0 };

/// The voice of one source.
pub(super) struct Report {
    status: Arc<FeedStatus>,
    inlet: Rc<dyn Inlet>,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By the number of the connection. One without instruments is none.
    slots: Vec<Slot>,
    /// What was last said of the whole source, if nothing was said of a part of it since.
    last: Option<State>,
    /// What the source is to deliver.
    wanted: BTreeSet<InstrumentId>,
    /// Nothing more is to be said: the source was stopped.
    closed: bool,
}

#[derive(Default)]
struct Slot {
    instruments: Vec<InstrumentId>,
    state: Option<State>,
}

impl Inner {
    fn slots(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter().enumerate().filter(|(_, slot)| !slot.instruments.is_empty())
    }

    fn slot(&mut self, number: usize) -> &mut Slot {
        if self.slots.len() <= number {
            self.slots.resize_with(number + 1, Slot::default);
        }
        &mut self.slots[number]
    }

    /// The state of the connection that is worst off.
    fn worst(&self) -> State {
        let rank = |state: &State| match state.status {
            SourceStatus::Live => 0,
            SourceStatus::Mute => 1,
            SourceStatus::Connecting => 2,
            SourceStatus::Down => 3,
            SourceStatus::Stopped => 4,
        };
        self.slots().map(|(_, slot)| slot.state.unwrap_or(BEGINNING)).max_by_key(rank).unwrap_or(BEGINNING)
    }
}

impl Report {
    pub(super) fn new(status: Arc<FeedStatus>, inlet: Rc<dyn Inlet>) -> Report {
        Report { status, inlet, inner: RefCell::default() }
    }

    pub(super) fn status(&self) -> &FeedStatus {
        &self.status
    }

    pub(super) fn offer(&self, input: &Input) {
        self.inlet.offer(input);
    }

    /// What the source is to deliver from now on.
    pub(super) fn want(&self, instruments: impl IntoIterator<Item = InstrumentId>) {
        let mut inner = self.inner.borrow_mut();
        inner.wanted = instruments.into_iter().collect();
        inner.closed = false;
        self.status.set_symbols(inner.wanted.len());
    }

    /// What a connection carries from now on; nothing: there is no such connection any more. What the source is not to
    /// deliver any more is at its end.
    pub(super) fn carry(&self, number: usize, symbols: Option<&Symbols>) {
        let mut inner = self.inner.borrow_mut();
        let slot = inner.slot(number);
        let now = symbols.map(|symbols| symbols.instruments().collect()).unwrap_or_default();
        let before = std::mem::replace(&mut slot.instruments, now);
        if symbols.is_none() {
            slot.state = None;
        }
        if !inner.closed {
            let gone: Vec<_> = before.into_iter().filter(|instrument| !inner.wanted.contains(instrument)).collect();
            self.end(&gone, Cause::Stopped);
        }
    }

    /// A connection's state, where it is news.
    pub(super) fn tell(&self, number: usize, state: State, at_ns: Option<i64>) {
        let mut inner = self.inner.borrow_mut();
        let slot = inner.slot(number);
        if slot.instruments.is_empty() || slot.state == Some(state) {
            return;
        }
        slot.state = Some(state);
        if inner.closed {
            return;
        }
        let now_ns = at_ns.unwrap_or_else(clock::now_ns);
        let (live, all) = inner.slots().fold((0, 0), |(live, all), (_, slot)| {
            let is_live = slot.state.is_some_and(|state| state.status == SourceStatus::Live);
            (live + usize::from(is_live), all + 1)
        });
        self.status.set_state(inner.worst(), (live, all), now_ns);
        if matches!(state.status, SourceStatus::Live | SourceStatus::Mute) {
            let connection = (all > 1).then_some(number + 1);
            tracing::info!(source = self.status.name, connection, status = %state.status, cause = %state.cause, "source");
        }
        let common = inner.slots().all(|(_, slot)| slot.state.unwrap_or(BEGINNING).status == state.status);
        if common {
            if inner.last.replace(state) != Some(state) {
                self.record(INSTRUMENT_ALL, state, now_ns);
            }
        } else {
            inner.last = None;
            inner.slots[number].instruments.iter().for_each(|instrument| self.record(instrument.0, state, now_ns));
        }
    }

    /// The whole source is stopped, or (by the cause) held back, before its sessions say goodbye: nobody is to trade on the
    /// prices of a source that is gone. Unless the engine stops with it, its instruments are at their end.
    pub(super) fn stop(&self, cause: Cause, with_the_engine: bool) {
        let mut inner = self.inner.borrow_mut();
        if inner.closed {
            return;
        }
        inner.closed = true;
        if !with_the_engine {
            let all: Vec<_> = inner.wanted.iter().copied().collect();
            self.end(&all, cause);
        }
        let state = State { status: SourceStatus::Stopped, cause, attempt: 0 };
        let now_ns = clock::now_ns();
        self.status.set_state(state, (0, 0), now_ns);
        inner.last = Some(state);
        self.record(INSTRUMENT_ALL, state, now_ns);
    }

    /// Its settings change: its connections are given up, and made anew for what it is to deliver then.
    pub(super) fn restart(&self, wanted: impl IntoIterator<Item = InstrumentId>) {
        let mut inner = self.inner.borrow_mut();
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        let gone: Vec<_> = inner.wanted.difference(&wanted).copied().collect();
        inner.wanted = wanted;
        if std::mem::replace(&mut inner.closed, true) {
            return;
        }
        self.end(&gone, Cause::Stopped);
        let state = State { status: SourceStatus::Down, cause: Cause::Stopped, attempt: 0 };
        let now_ns = clock::now_ns();
        self.status.set_state(state, (0, 0), now_ns);
        inner.last = Some(state);
        self.record(INSTRUMENT_ALL, state, now_ns);
    }

    /// Whether a connection is there, or was: it does not wait to be made.
    pub(super) fn is_connected(&self, number: usize) -> bool {
        let inner = self.inner.borrow();
        let state = inner.slots.get(number).and_then(|slot| slot.state);
        state.is_some_and(|state| matches!(state.status, SourceStatus::Live | SourceStatus::Mute))
    }

    /// Messages that the venue counted and that never came.
    pub(super) fn missed(&self, count: u64, from_ns: i64, to_ns: i64) {
        let mut record =
            DropRecord { from_ns, to_ns, count, cause: Cause::SequenceJump.code(), ..DropRecord::default() };
        record.head.source_id = self.status.source.0;
        self.inlet.offer(&Input::Drop(record));
    }

    /// What went wrong on a connection, in words.
    pub(super) fn set_error(&self, number: usize, text: &str) {
        match self.inner.borrow().slots().count() {
            0 | 1 => self.status.set_error(text),
            count => self.status.set_error(&format!("connection {} of {count}: {text}", number + 1)),
        }
    }

    fn end(&self, instruments: &[InstrumentId], cause: Cause) {
        let (state, now_ns) = (State { status: SourceStatus::Stopped, cause, attempt: 0 }, clock::now_ns());
        instruments.iter().for_each(|instrument| self.record(instrument.0, state, now_ns));
    }

    fn record(&self, instrument_id: u32, state: State, now_ns: i64) {
        let mut record = SourceState {
            ts_recv_ns: now_ns,
            attempt: state.attempt,
            status: state.status.code(),
            cause: state.cause.code(),
            ..SourceState::default()
        };
        (record.head.source_id, record.head.instrument_id) = (self.status.source.0, instrument_id);
        self.inlet.offer(&Input::SourceState(record));
    }
}

/// Reports what could not be decoded, seldom.
pub(super) struct RejectLog {
    next_ns: i64,
    unreported: u64,
}

impl RejectLog {
    pub(super) fn new() -> Self {
        RejectLog { next_ns: i64::MIN, unreported: 0 }
    }

    #[cold]
    pub(super) fn report(&mut self, source: &str, reject: Reject, frame: &[u8], secrets: &[String]) {
        self.unreported += 1;
        let now_ns = clock::monotonic_ns();
        if now_ns < self.next_ns {
            return;
        }
        let (count, text) = (self.unreported, blotted_excerpt(frame, secrets));
        tracing::warn!(source, count, frame = text, "cannot be decoded: {reject}");
        (self.next_ns, self.unreported) = (now_ns.saturating_add(REJECT_LOG_NS), 0);
    }
}

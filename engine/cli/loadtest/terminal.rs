//! One terminal's side of the conversation: frames in, what to answer and what to count out. It has no socket and no
//! clock. It asks for one subscription and never reconnects.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use tickwire_schemas::control::{
    self, Control, ControlKind, ENGINE_CONTROL_BYTES_MAX, Goodbye, SnapshotEnd, Subscribed, Welcome,
};
use tickwire_schemas::frame::{FLAG_SNAPSHOT, Frame};
use tickwire_schemas::record::{Bar, Indicator, TS_PUBLISH_OFFSET};
use tickwire_schemas::words::Kind;

use super::measure::Tally;
use crate::stages::Mixer;

/// Offsets of the head's fields that number a chain, see `schemas/wire.md`.
const CHAIN_AT: usize = 12;
const SOURCE_AT: usize = 20;
const INSTRUMENT_AT: usize = 24;

/// Offset of `ts_recv_ns` in ticks, trades and quotes.
const TS_RECV_AT: usize = 44;

/// What a chain counts: kind, source, instrument, timeframe, indicator.
type ChainKey = (u8, u32, u32, u8, u32);

/// Dense numbers of chains, the same for all terminals, and which stamp of a record is its time.
#[derive(Debug, Default)]
pub(super) struct Chains {
    index: HashMap<ChainKey, u32, BuildHasherDefault<Mixer>>,
    /// Of ticks, trades and quotes the time at which the engine read them from the broker's socket, not of publication.
    since_receive: bool,
}

impl Chains {
    pub(super) fn new(since_receive: bool) -> Chains {
        Chains { since_receive, ..Chains::default() }
    }

    /// The time that a record's latency is counted from.
    fn stamp(&self, kind: u8, body: &[u8]) -> i64 {
        let received = self.since_receive && kind <= Kind::Quote.code();
        u64_at(body, if received { TS_RECV_AT } else { TS_PUBLISH_OFFSET }) as i64
    }

    fn index(&mut self, kind: u8, body: &[u8]) -> usize {
        let field = |layout: &[(&str, usize)], name: &str| {
            layout.iter().find(|(field, _)| *field == name).map_or(usize::MAX, |(_, at)| *at)
        };
        let byte = |at: usize| body.get(at).copied().unwrap_or(0);
        let (timeframe, indicator) = match Kind::from_code(kind) {
            Some(Kind::Bar) => (byte(field(Bar::LAYOUT, "timeframe")), 0),
            Some(Kind::Indicator) => {
                let layout = Indicator::LAYOUT;
                (byte(field(layout, "timeframe")), u32_at(body, field(layout, "indicator_id")))
            }
            _ => (0, 0),
        };
        let key = (kind, u32_at(body, SOURCE_AT), u32_at(body, INSTRUMENT_AT), timeframe, indicator);
        let next = self.index.len() as u32;
        *self.index.entry(key).or_insert(next) as usize
    }
}

fn u32_at(body: &[u8], at: usize) -> u32 {
    body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(body: &[u8], at: usize) -> u64 {
    body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Cuts the bytes of a stream into frames; keeps what is not whole.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// Takes the next bytes and hands each whole frame to `each`.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&Frame<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        // Most of what arrives is whole frames: only what is not is copied.
        let kept = !self.0.is_empty();
        if kept {
            self.0.extend_from_slice(bytes);
        }
        let whole = if kept { &self.0[..] } else { bytes };
        let mut rest = whole;
        while let Some((frame, behind)) =
            Frame::split(rest, ENGINE_CONTROL_BYTES_MAX).map_err(|e| format!("the engine sent no frame: {e}"))?
        {
            each(&frame)?;
            rest = behind;
        }
        let used = whole.len() - rest.len();
        if kept {
            self.0.drain(..used);
        } else {
            self.0.extend_from_slice(&bytes[used..]);
        }
        if self.0.is_empty() && self.0.capacity() > 4096 {
            // After a long Welcome: ten thousand terminals would each keep that much.
            self.0 = Vec::new();
        }
        Ok(())
    }
}

/// How far a terminal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Hello is sent, or will be as soon as there is a connection.
    Greeting,
    /// Subscribe is sent.
    Subscribing,
    /// The snapshot comes.
    Snapshot,
    /// Records come as they are published.
    Live,
}

/// One terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    state: State,
    control: Frames,
    records: Frames,
    /// Number of the last record of each chain, 0 before the first.
    last: Vec<u64>,
    /// A record came that was published after the measurement.
    past: bool,
}

impl Terminal {
    pub(super) fn new() -> Terminal {
        let (control, records) = (Frames::default(), Frames::default());
        Terminal { state: State::Greeting, control, records, last: Vec::new(), past: false }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether all that was published in the measurement has come, as far as one can tell.
    pub(super) fn is_past(&self) -> bool {
        self.past
    }

    /// Bytes of the control stream. True when it is time to subscribe.
    pub(super) fn on_control(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let state = &mut self.state;
        let mut subscribe = false;
        self.control.read(bytes, |frame| {
            match ControlKind::from_code(frame.header.kind) {
                Some(ControlKind::Welcome) => {
                    Welcome::from_body(frame.body).map_err(|e| e.to_string())?;
                    *state = State::Subscribing;
                    subscribe = true;
                }
                Some(ControlKind::Error) => {
                    let error = control::Error::from_body(frame.body).map_err(|e| e.to_string())?;
                    let field = error.field.map(|field| format!(" (field {field})")).unwrap_or_default();
                    return Err(format!("the engine refused: {}{field}", error.text));
                }
                Some(ControlKind::Goodbye) => {
                    let goodbye = Goodbye::from_body(frame.body).map_err(|e| e.to_string())?;
                    return Err(format!("the engine closed the connection: {}", goodbye.reason));
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(subscribe)
    }

    /// Bytes of the subscription's stream, read at `now_ns`.
    pub(super) fn on_records(
        &mut self,
        bytes: &[u8],
        now_ns: i64,
        chains: &mut Chains,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let mut frames = std::mem::take(&mut self.records);
        let read = frames.read(bytes, |frame| self.on_frame(frame, now_ns, chains, tally));
        self.records = frames;
        read
    }

    /// One datagram: whole frames, no stream.
    pub(super) fn on_datagram(
        &mut self,
        bytes: &[u8],
        now_ns: i64,
        chains: &mut Chains,
        tally: &mut Tally,
    ) -> Result<(), String> {
        Frames::default().read(bytes, |frame| self.on_frame(frame, now_ns, chains, tally))
    }

    fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        now_ns: i64,
        chains: &mut Chains,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let kind = frame.header.kind;
        if kind < 128 {
            let snapshot = frame.header.flags & FLAG_SNAPSHOT != 0;
            for body in frame.records().map_err(|e| e.to_string())? {
                if body.len() < TS_RECV_AT + 8 {
                    return Err(format!("the engine sent a record of {} bytes", body.len()));
                }
                let (chain, stamp_ns) = (chains.index(kind, body), chains.stamp(kind, body));
                self.on_record(chain, u64_at(body, CHAIN_AT), snapshot, (stamp_ns, now_ns), tally);
            }
            return Ok(());
        }
        match ControlKind::from_code(kind) {
            Some(ControlKind::Subscribed) => {
                let subscribed = Subscribed::from_body(frame.body).map_err(|e| e.to_string())?;
                if subscribed.instruments.is_empty() {
                    return Err("no symbol of this engine matches --symbols".into());
                }
                self.state = State::Snapshot;
            }
            Some(ControlKind::SnapshotEnd) => {
                SnapshotEnd::from_body(frame.body).map_err(|e| e.to_string())?;
                self.state = State::Live;
            }
            _ => {}
        }
        Ok(())
    }

    fn on_record(&mut self, chain: usize, number: u64, snapshot: bool, times: (i64, i64), tally: &mut Tally) {
        if self.last.len() <= chain {
            self.last.resize(chain + 1, 0);
        }
        let (stamp_ns, now_ns) = times;
        let last = std::mem::replace(&mut self.last[chain], number);
        if snapshot {
            return tally.snapshot();
        }
        // A record of no chain has number 0; for the first of a chain nobody knows what came before.
        let skipped = if last == 0 || number == 0 { 0 } else { number.saturating_sub(last + 1) };
        tally.record(stamp_ns, now_ns, skipped);
        self.past |= tally.is_past(stamp_ns);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tickwire_schemas::frame::Header;
    use tickwire_schemas::record::{Head, Quote, RECORD_BYTES_MAX, Record, Tick, Trade};

    use super::super::measure::Report;
    use super::*;

    fn quote(instrument_id: u32, chain: u64, ts_publish_ns: i64, flags: u16) -> Vec<u8> {
        let head = Head { epoch: 1, seq: chain, chain, source_id: 0, instrument_id, ts_publish_ns };
        let mut body = [0; RECORD_BYTES_MAX];
        let length = Quote { head, ..Quote::default() }.write(&mut body);
        let header = Header { length: length as u32, version: 1, kind: Kind::Quote.code(), flags, count: 1 };
        [&header.to_bytes()[..], &body[..length]].concat()
    }

    fn subscribed(instruments: Vec<u32>) -> Vec<u8> {
        Subscribed { id: 1, instruments, ..Subscribed::default() }.to_frame()
    }

    #[test]
    fn what_was_conflated_is_told_by_the_chain_however_the_bytes_are_cut() {
        let end = SnapshotEnd { id: 1, epoch: 1, seq: 9, records: 1 };
        let stream = [
            subscribed(vec![1, 2]),
            quote(1, 5, 1, FLAG_SNAPSHOT),
            end.to_frame(),
            quote(1, 6, 2, 0),
            quote(1, 9, 3, 0),
            quote(2, 100, 4, 0),
            quote(2, 101, 5, 0),
        ]
        .concat();
        for size in [1, 7, 106, stream.len()] {
            let (mut chains, mut tally, mut terminal) = (Chains::default(), Tally::new(), Terminal::new());
            tally.measure(0, 5);
            for bytes in stream.chunks(size) {
                terminal.on_records(bytes, 10, &mut chains, &mut tally).unwrap();
            }
            let mut report = Report::default();
            tally.report(&mut report);
            // The first of instrument 2 has no one before it; the last one is behind the window.
            assert_eq!((report.records, report.skipped, report.records_total), (3, 2, 5), "{size}");
            assert!(terminal.state() == State::Live && terminal.is_past());
        }
    }

    #[test]
    fn the_time_of_receipt_is_where_we_read_it() {
        for layout in [Tick::LAYOUT, Trade::LAYOUT, Quote::LAYOUT] {
            assert!(layout.contains(&("ts_recv_ns", TS_RECV_AT)), "{layout:?}");
        }
    }

    #[test]
    fn what_the_engine_says_is_passed_on() {
        let error = control::Error {
            code: control::ErrorCode::UnknownSymbol,
            text: "there is no instrument X".into(),
            field: Some("symbols".into()),
            id: Some(1),
        };
        let said = Terminal::new().on_control(&error.to_frame()).unwrap_err();
        assert_eq!(said, "the engine refused: there is no instrument X (field symbols)");
        let goodbye = Goodbye { code: 5, reason: "the engine is stopping".into() };
        assert!(Terminal::new().on_control(&goodbye.to_frame()).unwrap_err().contains("is stopping"));
        let mut tally = Tally::new();
        let said = Terminal::new().on_records(&subscribed(vec![]), 0, &mut Chains::default(), &mut tally).unwrap_err();
        assert!(said.contains("--symbols"), "{said}");
        let short = Header { length: 4, version: 1, kind: Kind::Quote.code(), flags: 0, count: 1 };
        let bytes = [&short.to_bytes()[..], &[0; 4]].concat();
        assert!(Terminal::new().on_records(&bytes, 0, &mut Chains::default(), &mut tally).is_err());
    }
}

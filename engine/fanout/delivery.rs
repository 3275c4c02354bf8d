//! What a subscription sends next. It pulls from the shared window and holds no records of its own: a cursor, and for
//! `latest` the number last sent of each chain. A terminal that reads slowly, or not at all, costs nothing more.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tickwire_schemas::control::{Control, Delivery, Resume, ResumeGone, SnapshotEnd, Subscribe};
use tickwire_schemas::record::{Gap, Head, RECORD_BYTES_MAX, Record};
use tickwire_schemas::words::{Cause, GapState, Kind};
use tickwire_schemas::{NO_NUMBER, NO_TIME, WIRE_VERSION, frame};

use crate::metrics::{FANOUT_CONFLATED, FANOUT_ENCODES};

use super::Core;
use super::access::Grant;
use super::subscription::{Filter, compile};
use super::window::{Run, SnapshotHeaders, Window};

/// Most records of `latest` handed to a connection at a time: what is behind them can still be replaced by newer ones.
const LATEST_AT_ONCE: usize = 64;

/// Most records of `all` handed to a connection at a time, so that one terminal's turn stays short.
const ALL_AT_ONCE: usize = 512;

/// What to write next.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes for the stream, in order. `all` packs neighbouring frames into one piece.
    pub chunks: Vec<Bytes>,
    /// Records in them.
    pub records: u64,
    /// Publication time of each live record.
    pub published_ns: Vec<i64>,
    /// Records that those here replaced.
    pub skipped: u64,
}

impl Batch {
    fn clear(&mut self) {
        self.chunks.clear();
        (self.records, self.skipped) = (0, 0);
        self.published_ns.clear();
    }

    fn live(&mut self, published_ns: i64) {
        self.records += 1;
        self.published_ns.push(published_ns);
    }
}

/// Why nothing, or nothing more, is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The batch is not empty: write it, then pull again.
    Write,
    /// Pull again when the window has something new.
    Idle,
    /// Pull again at this time, which the rate allows.
    Wait(i64),
    /// A reader of `all` needs records that are gone: close it.
    TooFarBehind,
}

enum Piece {
    Control(Bytes),
    Snapshot(Kind, Bytes),
}

/// One subscription of one terminal.
pub struct Subscription {
    id: u32,
    filter: Filter,
    /// Snapshot and marks before the live records; bounded by the number of chains.
    opening: VecDeque<Piece>,
    /// Position in the window of the first record not looked at.
    cursor: u64,
    mode: Mode,
    /// What it was asked for, to understand anew when the catalogue has grown.
    asked: Option<Asked>,
}

struct Asked {
    request: Subscribe,
    grant: Arc<Grant>,
    /// The [`Core::grown`] that the filter is of.
    grown: u32,
}

enum Mode {
    All,
    Latest(Latest),
}

#[derive(Default)]
struct Latest {
    /// Number last sent, by index of the chain.
    sent: Vec<u64>,
    /// Chains to look at after the cursor fell out of the window, bounded by their number.
    missed: VecDeque<u32>,
    /// Zero: no limit.
    interval_ns: i64,
    /// A round brings each chain at most once; it goes up to here.
    round_end: u64,
    next_round_ns: i64,
}

impl Subscription {
    /// A subscription that begins with a snapshot, or after `resume` when it can. The second value says which.
    #[must_use]
    pub fn open(
        id: u32,
        filter: Filter,
        delivery: Delivery,
        max_rate_hz: u32,
        resume: Option<Resume>,
        epoch: u32,
        window: &Window,
    ) -> (Self, bool) {
        let mode = match delivery {
            Delivery::All => Mode::All,
            Delivery::Latest => {
                let sent = window.chains().iter().map(|c| c.number).collect();
                let interval_ns = if max_rate_hz == 0 { 0 } else { 1_000_000_000 / i64::from(max_rate_hz) };
                Mode::Latest(Latest { sent, interval_ns, ..Latest::default() })
            }
        };
        let mut new = Subscription { id, filter, opening: VecDeque::new(), cursor: window.head(), mode, asked: None };
        // `latest` restarts by its snapshot: whatever was missed, the newest is what it is for.
        let resume = resume.filter(|_| delivery == Delivery::All);
        let continued = resume.filter(|r| r.epoch == epoch).and_then(|r| window.after(r.seq));
        if let Some(position) = continued {
            new.cursor = position;
            return (new, true);
        }
        if resume.is_some() {
            let (oldest_seq, newest_seq) = (window.oldest_resumable().unwrap_or(0), window.last_seq());
            let gone = ResumeGone { id, epoch, oldest_seq, newest_seq };
            new.opening.push_back(Piece::Control(gone.to_frame().into()));
        }
        new.snapshot(epoch, window);
        if let Some(resume) = resume {
            new.opening.push_back(Piece::Control(gap(resume, epoch, window)));
        }
        (new, false)
    }

    /// The same that grows with the catalogue: what it was compiled from, for whom, and the [`Core::grown`] of then.
    #[must_use]
    pub fn growing(self, request: Subscribe, grant: Arc<Grant>, grown: u32) -> Self {
        Subscription { asked: Some(Asked { request, grant, grown }), ..self }
    }

    /// Brings what the request stands for now, if the catalogue has grown since the last call: first of all the catalogue
    /// itself, then records of what is new too.
    pub fn keep_up(&mut self, core: &Core) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.grown != core.grown) else { return };
        asked.grown = core.grown;
        // It was understood before, and there is more now than then.
        if let Ok(compiled) = compile(&asked.request, &core.catalogue, &asked.grant) {
            self.filter = compiled.filter;
        }
        let catalogue = core.catalogue.for_terminal(&asked.grant);
        self.opening.push_back(Piece::Control(catalogue.to_frame().into()));
    }

    /// The terminal's number for it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it was asked for.
    #[must_use]
    pub fn request(&self) -> Option<&Subscribe> {
        self.asked.as_ref().map(|asked| &asked.request)
    }

    /// Whether records it has to deliver are gone from the window.
    #[must_use]
    pub fn is_too_far_behind(&self, window: &Window) -> bool {
        matches!(self.mode, Mode::All) && self.cursor < window.start()
    }

    /// Whether nothing is left to pull now.
    #[must_use]
    pub fn is_up_to_date(&self, window: &Window) -> bool {
        let has_missed = matches!(&self.mode, Mode::Latest(latest) if !latest.missed.is_empty());
        self.opening.is_empty() && self.cursor == window.head() && !has_missed
    }

    fn snapshot(&mut self, epoch: u32, window: &Window) {
        let chains = window.chains().iter().filter(|c| c.is_state() && self.filter.matches(c));
        self.opening.extend(chains.map(|c| Piece::Snapshot(c.kind, c.newest.record())));
        let records = self.opening.iter().filter(|p| matches!(p, Piece::Snapshot(..))).count() as u32;
        let end = SnapshotEnd { id: self.id, epoch, seq: window.last_seq(), records };
        self.opening.push_back(Piece::Control(end.to_frame().into()));
    }

    /// Fills `batch` with what comes next.
    pub fn pull(&mut self, window: &Window, headers: &SnapshotHeaders, now_ns: i64, batch: &mut Batch) -> Pulled {
        batch.clear();
        while let Some(piece) = self.opening.pop_front() {
            match piece {
                Piece::Control(frame) => batch.chunks.push(frame),
                Piece::Snapshot(kind, record) => {
                    batch.chunks.push(headers.of(kind));
                    batch.chunks.push(record);
                    batch.records += 1;
                }
            }
            if batch.chunks.len() >= ALL_AT_ONCE {
                return Pulled::Write;
            }
        }
        if !batch.chunks.is_empty() {
            return Pulled::Write;
        }
        match &mut self.mode {
            Mode::All => pull_all(&self.filter, &mut self.cursor, window, batch),
            Mode::Latest(latest) => latest.pull(&self.filter, &mut self.cursor, window, now_ns, batch),
        }
    }
}

fn pull_all(filter: &Filter, cursor: &mut u64, window: &Window, batch: &mut Batch) -> Pulled {
    if *cursor < window.start() {
        return Pulled::TooFarBehind;
    }
    let mut run: Option<Run> = None;
    for entry in window.between(*cursor, window.head()) {
        *cursor += 1;
        if !window.chains().get(entry.chain as usize).is_some_and(|c| filter.matches(c)) {
            continue;
        }
        batch.live(entry.published_ns);
        if !run.as_mut().is_some_and(|run| run.extend(entry)) {
            batch.chunks.extend(run.replace(entry.run).map(|run| window.bytes(run)));
        }
        if batch.records >= ALL_AT_ONCE as u64 {
            break;
        }
    }
    batch.chunks.extend(run.map(|run| window.bytes(run)));
    if batch.chunks.is_empty() { Pulled::Idle } else { Pulled::Write }
}

impl Latest {
    fn pull(&mut self, filter: &Filter, cursor: &mut u64, window: &Window, now_ns: i64, batch: &mut Batch) -> Pulled {
        // A round may turn out to hold nothing for this terminal; the next one may.
        loop {
            let pulled = self.round(filter, cursor, window, now_ns, batch);
            if pulled != Pulled::Idle || *cursor == window.head() {
                return pulled;
            }
        }
    }

    fn round(&mut self, filter: &Filter, cursor: &mut u64, window: &Window, now_ns: i64, batch: &mut Batch) -> Pulled {
        if *cursor >= self.round_end && self.missed.is_empty() {
            if *cursor == window.head() {
                return Pulled::Idle;
            }
            if now_ns < self.next_round_ns {
                return Pulled::Wait(self.next_round_ns);
            }
            self.round_end = window.head();
            self.next_round_ns = if self.interval_ns == 0 { 0 } else { now_ns + self.interval_ns };
        }
        if *cursor < window.start() {
            // Too slow for the window: every chain that has something new, whatever it was that went by.
            self.know(window);
            let changed = window.chains().iter().zip(&self.sent).zip(0..);
            self.missed =
                changed.filter(|((c, sent), _)| c.number > **sent && filter.matches(c)).map(|(_, i)| i).collect();
            (*cursor, self.round_end) = (window.head(), window.head());
        }
        while batch.records < LATEST_AT_ONCE as u64
            && let Some(chain) = self.missed.pop_front()
        {
            self.send_newest(chain, filter, window, batch);
        }
        for entry in window.between(*cursor, self.round_end) {
            if batch.records >= LATEST_AT_ONCE as u64 {
                break;
            }
            *cursor += 1;
            if self.sent.get(entry.chain as usize).is_none_or(|sent| *sent < entry.number) {
                self.send_newest(entry.chain, filter, window, batch);
            }
        }
        if batch.chunks.is_empty() { Pulled::Idle } else { Pulled::Write }
    }

    /// Makes room for chains that began after this subscription.
    fn know(&mut self, window: &Window) {
        let new = window.chains().get(self.sent.len()..).unwrap_or_default();
        self.sent.extend(new.iter().map(|c| c.first.saturating_sub(1)));
    }

    /// The first unsent record of a chain gives its place in the queue to the newest one: no chain starves another.
    fn send_newest(&mut self, index: u32, filter: &Filter, window: &Window, batch: &mut Batch) {
        let at = index as usize;
        let Some(chain) = window.chains().get(at).filter(|c| filter.matches(c)) else { return };
        self.know(window);
        if chain.number <= self.sent[at] {
            return;
        }
        let replaced = chain.number - self.sent[at] - 1;
        FANOUT_CONFLATED.add(replaced);
        batch.skipped += replaced;
        self.sent[at] = chain.number;
        batch.live(chain.published_ns);
        batch.chunks.push(chain.newest.frame());
    }
}

/// The hole between what the terminal had and the snapshot, as a frame. It is in no chain: its number is 0.
fn gap(resume: Resume, epoch: u32, window: &Window) -> Bytes {
    let newest = window.chains().iter().map(|c| c.published_ns).max().unwrap_or(NO_TIME);
    let gap = Gap {
        head: Head { epoch, seq: window.last_seq(), chain: 0, ts_publish_ns: newest, ..Head::default() },
        ts_recv_ns: newest,
        from_ns: NO_TIME,
        to_ns: newest,
        gap_id: resume.seq,
        lost: NO_NUMBER,
        gap_epoch: resume.epoch,
        cause: Cause::ResumeWindow.code(),
        state: GapState::Lost.code(),
    };
    let mut record = [0; RECORD_BYTES_MAX];
    let length = gap.write(&mut record);
    let header =
        frame::Header { length: length as u32, version: WIRE_VERSION, kind: Kind::Gap.code(), flags: 0, count: 1 };
    FANOUT_ENCODES.inc();
    [&header.to_bytes()[..], &record[..length]].concat().into()
}

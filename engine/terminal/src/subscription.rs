use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::RecvStream;
use tickwire_schemas::control::{
    Catalogue, Control, ControlKind, ENGINE_CONTROL_BYTES_MAX, Resume, ResumeGone, SnapshotEnd, Subscribed,
};
use tickwire_schemas::frame::{FLAG_SNAPSHOT, Frame, HEADER_BYTES, Header};
use tickwire_schemas::record::{Bar, Gap, Head, Indicator, Quote, Record, SourceState, Tick, Trade};
use tickwire_schemas::words::Kind;

use crate::TerminalError;
use crate::terminal::{Opened, Shared};

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the record of its name")]
pub enum Data {
    Tick(Tick),
    Trade(Trade),
    Quote(Quote),
    Bar(Bar),
    Indicator(Indicator),
    Gap(Gap),
    SourceState(SourceState),
}

impl Data {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Data::Tick(_) => Kind::Tick,
            Data::Trade(_) => Kind::Trade,
            Data::Quote(_) => Kind::Quote,
            Data::Bar(_) => Kind::Bar,
            Data::Indicator(_) => Kind::Indicator,
            Data::Gap(_) => Kind::Gap,
            Data::SourceState(_) => Kind::SourceState,
        }
    }

    /// Identity and publication time.
    #[must_use]
    pub fn head(&self) -> &Head {
        match self {
            Data::Tick(r) => &r.head,
            Data::Trade(r) => &r.head,
            Data::Quote(r) => &r.head,
            Data::Bar(r) => &r.head,
            Data::Indicator(r) => &r.head,
            Data::Gap(r) => &r.head,
            Data::SourceState(r) => &r.head,
        }
    }

    fn read(kind: Kind, bytes: &[u8]) -> Result<Option<Data>, TerminalError> {
        let read = match kind {
            Kind::Tick => Tick::read(bytes).map(Data::Tick),
            Kind::Trade => Trade::read(bytes).map(Data::Trade),
            Kind::Quote => Quote::read(bytes).map(Data::Quote),
            Kind::Bar => Bar::read(bytes).map(Data::Bar),
            Kind::Indicator => Indicator::read(bytes).map(Data::Indicator),
            Kind::Gap => Gap::read(bytes).map(Data::Gap),
            Kind::SourceState => SourceState::read(bytes).map(Data::SourceState),
            _ => return Ok(None),
        };
        read.map(Some).map_err(|e| TerminalError::Protocol(e.to_string()))
    }

    fn chain(&self) -> ChainKey {
        let head = self.head();
        let (timeframe, indicator) = match self {
            Data::Bar(bar) => (bar.timeframe, 0),
            Data::Indicator(value) => (value.timeframe, value.indicator_id),
            _ => (0, 0),
        };
        (self.kind(), head.source_id, head.instrument_id, timeframe, indicator)
    }
}

type ChainKey = (Kind, u32, u32, u8, u32);

/// What a subscription says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record.
    Record {
        /// The record.
        data: Data,
        /// True for the state at the time of subscription, false for a change.
        snapshot: bool,
        /// Records of its chain between this one and the one before it that this terminal had: conflated with
        /// `latest`; with `all` anything but 0 is a hole.
        skipped: u64,
    },
    /// The snapshot is complete; what follows is live.
    SnapshotEnd(SnapshotEnd),
    /// The records wanted by a resume are gone: a snapshot and a Gap follow.
    ResumeGone(ResumeGone),
    /// There are more instruments or sources: the names of all ids. Records of new ones that the request stands for
    /// follow from here on.
    Catalogue(Arc<Catalogue>),
}

/// The last number seen of each chain of an epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) epoch: u32,
    chains: HashMap<ChainKey, u64>,
    /// Where to resume.
    pub(crate) last: Option<Resume>,
}

impl Memory {
    /// Keeps what still counts in `epoch`.
    pub(crate) fn enter(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.chains.clear();
        }
    }

    fn skipped(&mut self, data: &Data) -> u64 {
        let number = data.head().chain;
        // A record outside all chains: the Gap of a resume that failed.
        if number == 0 {
            return 0;
        }
        match self.chains.insert(data.chain(), number) {
            Some(last) => number.saturating_sub(last).saturating_sub(1),
            None => 0,
        }
    }
}

/// One subscription of a [`crate::Terminal`]: a stream of [`Event`]s.
///
/// It ends with its terminal. Read it or drop it: what is not read is conflated with `latest`, and ends the connection with `all`.
pub struct Subscription {
    recv: RecvStream,
    buffer: BytesMut,
    subscribed: Subscribed,
    shared: Arc<Shared>,
    pub(crate) memory: Memory,
    /// The frame being read, and where its next record begins.
    frame: Option<(Header, Bytes, usize)>,
}

impl Subscription {
    pub(crate) fn new(opened: Opened, shared: Arc<Shared>, epoch: u32) -> Self {
        let Opened { recv, buffer, subscribed } = opened;
        let memory = Memory { epoch, ..Memory::default() };
        Subscription { recv, buffer, subscribed, shared, memory, frame: None }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.subscribed.id
    }

    /// The engine's answer: instruments, whether it resumed, warnings.
    #[must_use]
    pub fn subscribed(&self) -> &Subscribed {
        &self.subscribed
    }

    /// Where to resume with [`crate::Subscribe::resume`]; `None` before the end of the snapshot.
    #[must_use]
    pub fn position(&self) -> Option<Resume> {
        self.memory.last
    }

    /// The next event; `None` after [`crate::Terminal::unsubscribe`]. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection's end with the engine's reason, or bytes that are not the protocol.
    pub async fn next(&mut self) -> Result<Option<Event>, TerminalError> {
        loop {
            if let Some(event) = self.next_in_frame()? {
                return Ok(Some(event));
            }
            if let Some(event) = self.next_in_buffer()? {
                return Ok(Some(event));
            }
            if self.frame.is_some() {
                continue;
            }
            match self.recv.read_chunk(64 * 1024, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.shared.why(error.into())),
            }
        }
    }

    /// Takes the next whole frame off the buffer: records become `self.frame`, marks an event.
    fn next_in_buffer(&mut self) -> Result<Option<Event>, TerminalError> {
        while let Some((frame, _)) = Frame::split(&self.buffer, ENGINE_CONTROL_BYTES_MAX)? {
            let header = frame.header;
            if Kind::from_code(header.kind).is_some() {
                // Whether the length fits the count; each record is read when its turn comes.
                drop(frame.records()?);
            }
            let bytes = self.buffer.split_to(HEADER_BYTES + header.length as usize).freeze();
            let body = bytes.slice(HEADER_BYTES..);
            if Kind::from_code(header.kind).is_some() {
                if header.count > 0 {
                    self.frame = Some((header, body, 0));
                    return Ok(None);
                }
                continue;
            }
            match ControlKind::from_code(header.kind) {
                Some(ControlKind::SnapshotEnd) => {
                    let end = SnapshotEnd::from_body(&body)?;
                    self.memory.last = Some(Resume { epoch: end.epoch, seq: end.seq });
                    return Ok(Some(Event::SnapshotEnd(end)));
                }
                Some(ControlKind::Catalogue) => {
                    return Ok(Some(Event::Catalogue(Arc::new(Catalogue::from_body(&body)?))));
                }
                Some(ControlKind::ResumeGone) => return Ok(Some(Event::ResumeGone(ResumeGone::from_body(&body)?))),
                _ => {}
            }
        }
        Ok(None)
    }

    fn next_in_frame(&mut self) -> Result<Option<Event>, TerminalError> {
        while let Some((header, body, at)) = &mut self.frame {
            let stride = header.length as usize / usize::from(header.count);
            let Some(bytes) = body.get(*at..*at + stride) else {
                self.frame = None;
                break;
            };
            let data = Kind::from_code(header.kind).map_or(Ok(None), |kind| Data::read(kind, bytes))?;
            *at += stride;
            let snapshot = header.flags & FLAG_SNAPSHOT != 0;
            let Some(data) = data else { continue };
            let skipped = self.memory.skipped(&data);
            if !snapshot {
                self.memory.last = Some(Resume { epoch: data.head().epoch, seq: data.head().seq });
            }
            return Ok(Some(Event::Record { data, snapshot, skipped }));
        }
        Ok(None)
    }
}

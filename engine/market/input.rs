//! What enters the engine: the tagged slot of the inbound ring.

use tickwire_schemas::record::{Drop, Head, Record, Repair, SourceState, Tick, Timer, Trade};
use tickwire_schemas::words::{Aggressor, Kind, flag};
use tickwire_schemas::{NO_NUMBER, NO_TIME};

use super::{InstrumentId, Price, Size, SourceId};

/// A price as a feed decoded it: not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickInput {
    /// Who says it.
    pub source: SourceId,
    /// What it is about.
    pub instrument: InstrumentId,
    /// The source's stamp in nanoseconds UTC, where it gives one.
    pub ts_event_ns: Option<i64>,
    /// When the bytes were read from the socket, nanoseconds UTC.
    pub ts_recv_ns: i64,
    /// Bid, where that side is not empty.
    pub bid: Option<Price>,
    /// Ask, where that side is not empty.
    pub ask: Option<Price>,
    /// Size at the bid, where the source says it.
    pub bid_size: Option<Size>,
    /// Size at the ask, where the source says it.
    pub ask_size: Option<Size>,
    /// The source's own sequence number, where it has one.
    pub source_seq: Option<u64>,
    /// The state on subscription rather than a change.
    pub snapshot: bool,
}

/// A trade as a feed decoded it: not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeInput {
    /// Who says it.
    pub source: SourceId,
    /// What it is about.
    pub instrument: InstrumentId,
    /// The source's stamp in nanoseconds UTC, where it gives one.
    pub ts_event_ns: Option<i64>,
    /// When the bytes were read from the socket, nanoseconds UTC.
    pub ts_recv_ns: i64,
    /// Price.
    pub price: Price,
    /// Size, where the source says it.
    pub size: Option<Size>,
    /// The venue's number for it, where it has one.
    pub trade_id: Option<u64>,
    /// Who took liquidity.
    pub aggressor: Aggressor,
}

/// An input of the stages, as the record that it will be published as: its head is not filled in yet, and its verdict
/// is "accepted" until a stage says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A price.
    Tick(Tick),
    /// A trade.
    Trade(Trade),
    /// The clock.
    Timer(Timer),
    /// A source's connection changed.
    SourceState(SourceState),
    /// Inputs were lost at the door.
    Drop(Drop),
    /// A bar of a hole, or its end, from the venue's history.
    Repair(Repair),
}

impl Input {
    /// The input that a journaled record was made from: what the stages added is taken off again. `None` for records
    /// that are derived, or shorter than their kind.
    #[must_use]
    pub fn from_record(kind: Kind, bytes: &[u8]) -> Option<Input> {
        let mut input = match kind {
            Kind::Tick => Input::Tick(Tick::read(bytes).ok()?),
            Kind::Trade => Input::Trade(Trade::read(bytes).ok()?),
            Kind::Timer => Input::Timer(Timer::read(bytes).ok()?),
            Kind::SourceState => Input::SourceState(SourceState::read(bytes).ok()?),
            Kind::Drop => Input::Drop(Drop::read(bytes).ok()?),
            Kind::Repair => Input::Repair(Repair::read(bytes).ok()?),
            _ => return None,
        };
        let head = match &mut input {
            Input::Tick(tick) => {
                *tick = Tick { flags: tick.flags & flag::FROM_FEED, reasons: 0, verdict: 0, confidence: 100, ..*tick };
                &mut tick.head
            }
            Input::Trade(trade) => {
                *trade = Trade { flags: trade.flags & flag::FROM_FEED, reasons: 0, verdict: 0, ..*trade };
                &mut trade.head
            }
            Input::Timer(timer) => &mut timer.head,
            Input::SourceState(state) => &mut state.head,
            Input::Drop(drop) => &mut drop.head,
            Input::Repair(repair) => &mut repair.head,
        };
        *head = Head { source_id: head.source_id, instrument_id: head.instrument_id, ..Head::default() };
        Some(input)
    }
}

/// An input of which the kind is known without a look at memory: where it is one kind for certain, what a stage does with
/// the others falls away when it is compiled.
#[derive(Clone, Copy, Debug)]
pub enum InputRef<'a> {
    /// A price.
    Tick(&'a Tick),
    /// A trade.
    Trade(&'a Trade),
    /// The clock.
    Timer(&'a Timer),
    /// A source's connection changed.
    SourceState(&'a SourceState),
    /// Inputs were lost at the door.
    Drop(&'a Drop),
    /// A bar of a hole, or its end, from the venue's history.
    Repair(&'a Repair),
}

impl<'a> From<&'a Input> for InputRef<'a> {
    #[inline]
    fn from(input: &'a Input) -> InputRef<'a> {
        match input {
            Input::Tick(tick) => InputRef::Tick(tick),
            Input::Trade(trade) => InputRef::Trade(trade),
            Input::Timer(timer) => InputRef::Timer(timer),
            Input::SourceState(state) => InputRef::SourceState(state),
            Input::Drop(drop) => InputRef::Drop(drop),
            Input::Repair(repair) => InputRef::Repair(repair),
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Input::Timer(Timer::default())
    }
}

impl InputRef<'_> {
    /// When it happened: the receive time of data, the time of a timer.
    #[must_use]
    #[inline]
    pub fn now_ns(self) -> i64 {
        match self {
            InputRef::Tick(tick) => tick.ts_recv_ns,
            InputRef::Trade(trade) => trade.ts_recv_ns,
            InputRef::Timer(timer) => timer.now_ns,
            InputRef::SourceState(state) => state.ts_recv_ns,
            InputRef::Drop(drop) => drop.to_ns,
            InputRef::Repair(repair) => repair.ts_recv_ns,
        }
    }
}

impl Input {
    /// [`InputRef::now_ns`].
    #[must_use]
    #[inline]
    pub fn now_ns(&self) -> i64 {
        InputRef::from(self).now_ns()
    }
}

impl From<TickInput> for Input {
    #[inline]
    fn from(t: TickInput) -> Input {
        let mut tick = Tick {
            ts_event_ns: t.ts_event_ns.unwrap_or(NO_TIME),
            ts_recv_ns: t.ts_recv_ns,
            bid_e9: Price::to_wire(t.bid),
            ask_e9: Price::to_wire(t.ask),
            bid_size_e8: Size::to_wire(t.bid_size),
            ask_size_e8: Size::to_wire(t.ask_size),
            source_seq: t.source_seq.unwrap_or(NO_NUMBER),
            flags: if t.ts_event_ns.is_none() { flag::NO_EVENT_TIME } else { 0 },
            confidence: 100,
            ..Tick::default()
        };
        if t.snapshot {
            tick.flags |= flag::SNAPSHOT;
        }
        tick.head.source_id = t.source.0;
        tick.head.instrument_id = t.instrument.0;
        Input::Tick(tick)
    }
}

impl From<TradeInput> for Input {
    fn from(t: TradeInput) -> Input {
        let mut trade = Trade {
            ts_event_ns: t.ts_event_ns.unwrap_or(NO_TIME),
            ts_recv_ns: t.ts_recv_ns,
            price_e9: t.price.e9(),
            size_e8: Size::to_wire(t.size),
            trade_id: t.trade_id.unwrap_or(NO_NUMBER),
            flags: if t.ts_event_ns.is_none() { flag::NO_EVENT_TIME } else { 0 },
            aggressor: t.aggressor.code(),
            ..Trade::default()
        };
        trade.head.source_id = t.source.0;
        trade.head.instrument_id = t.instrument.0;
        Input::Trade(trade)
    }
}

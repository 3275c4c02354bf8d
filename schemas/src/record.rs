//! The records: fixed-size, integers only, little endian, without padding.
//!
//! Prices are `i64` in units of 1e-9, sizes `u64` in units of 1e-8, times `i64` nanoseconds since 1970 UTC. The absent
//! value of each is a constant in the crate root. A field added later goes to the end: a reader takes the record size
//! from the frame and reads the part it knows.

use rkyv::{Archive, Deserialize, Serialize, rancor::Failure};

use crate::words::Kind;

/// Length of the longest record, in bytes: the size of a slot of the outbound ring.
pub const RECORD_BYTES_MAX: usize = 176;

/// Offset of `ts_publish_ns` in every record: the only field in which a replay may differ.
pub const TS_PUBLISH_OFFSET: usize = 28;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record has.
    #[error("a {kind} record needs {expected} bytes, found {found}")]
    TooShort {
        /// Kind of the record.
        kind: Kind,
        /// Length of the record in bytes.
        expected: usize,
        /// Bytes present.
        found: usize,
    },
}

/// A record of one kind: its size, its head, and its bytes.
pub trait Record: Sized + Copy {
    /// The kind of the frame that carries it.
    const KIND: Kind;
    /// Length on the wire in bytes.
    const BYTES: usize;

    /// Identity and publication time.
    fn head(&self) -> &Head;

    /// Identity and publication time, to be filled in by the publisher.
    fn head_mut(&mut self) -> &mut Head;

    /// Writes the record to the front of `out` and returns its length. `out` must hold [`RECORD_BYTES_MAX`] bytes.
    fn write(&self, out: &mut [u8; RECORD_BYTES_MAX]) -> usize;

    /// Reads a record from the front of `bytes`; longer input is a later version of it.
    ///
    /// # Errors
    /// [`RecordError::TooShort`] when `bytes` is shorter than the record.
    fn read(bytes: &[u8]) -> Result<Self, RecordError>;
}

/// The part that every record begins with: 36 bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Start of the engine: a new, greater number each time it runs.
    pub epoch: u32,
    /// Position in the engine's output: global and in order.
    pub seq: u64,
    /// Counter per source, instrument, kind, timeframe and indicator, from 1: `chain - last - 1` records were skipped.
    pub chain: u64,
    /// The source, [`crate::SOURCE_BEST`] for the common price.
    pub source_id: u32,
    /// The instrument, [`crate::INSTRUMENT_ALL`] where the record is about a whole source.
    pub instrument_id: u32,
    /// When the engine published it.
    pub ts_publish_ns: i64,
}

macro_rules! record {
    ($name:ident, $kind:ident, $bytes:literal, $($field:ident @ $offset:literal),*) => {
        const _: () = {
            assert!(size_of::<ArchivedHead>() == 36);
            assert!(size_of::<rkyv::Archived<$name>>() == $bytes);
            assert!($bytes <= RECORD_BYTES_MAX);
            $(assert!(std::mem::offset_of!(rkyv::Archived<$name>, $field) == $offset);)*
        };

        impl $name {
            /// Name and byte offset of every field, in order.
            pub const LAYOUT: &'static [(&'static str, usize)] = &[$((stringify!($field), $offset)),*];
        }

        impl Record for $name {
            const KIND: Kind = Kind::$kind;
            const BYTES: usize = $bytes;

            fn head(&self) -> &Head { &self.head }

            fn head_mut(&mut self) -> &mut Head { &mut self.head }

            fn write(&self, out: &mut [u8; RECORD_BYTES_MAX]) -> usize {
                let mut buffer = rkyv::ser::writer::Buffer::from(out);
                let written = rkyv::api::serialize_using(self, rkyv::rancor::Strategy::<_, Failure>::wrap(&mut buffer));
                debug_assert!(written.is_ok(), "the buffer holds every record");
                $bytes
            }

            fn read(bytes: &[u8]) -> Result<Self, RecordError> {
                let short = RecordError::TooShort { kind: Kind::$kind, expected: $bytes, found: bytes.len() };
                let bytes = bytes.get(..$bytes).ok_or(short)?;
                let archived = rkyv::access::<rkyv::Archived<$name>, Failure>(bytes).map_err(|_| short)?;
                rkyv::deserialize::<$name, Failure>(archived).map_err(|_| short)
            }
        }
    };
}

/// A price from one source, with the verdict of the stages.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Identity and publication time.
    pub head: Head,
    /// The source's stamp, [`crate::NO_TIME`] when it gives none.
    pub ts_event_ns: i64,
    /// When the bytes were read from the socket.
    pub ts_recv_ns: i64,
    /// Bid, [`crate::NO_PRICE`] when that side is empty.
    pub bid_e9: i64,
    /// Ask, [`crate::NO_PRICE`] when that side is empty.
    pub ask_e9: i64,
    /// Size at the bid, [`crate::NO_SIZE`] when unknown.
    pub bid_size_e8: u64,
    /// Size at the ask, [`crate::NO_SIZE`] when unknown.
    pub ask_size_e8: u64,
    /// The source's own sequence number, [`crate::NO_NUMBER`] when it has none.
    pub source_seq: u64,
    /// Remarks: checks that flagged it (bits 0 to 15) and [`crate::words::flag`]s.
    pub flags: u32,
    /// Checks that refused it, as [`crate::words::Check`] bits.
    pub reasons: u32,
    /// [`crate::words::Verdict`].
    pub verdict: u8,
    /// Percent: 100 less 20 for each refusing check that failed.
    pub confidence: u8,
}
record!(Tick, Tick, 102, head @ 0, ts_event_ns @ 36, ts_recv_ns @ 44, bid_e9 @ 52, ask_e9 @ 60, bid_size_e8 @ 68,
    ask_size_e8 @ 76, source_seq @ 84, flags @ 92, reasons @ 96, verdict @ 100, confidence @ 101);

/// A trade from one source, with the verdict of the stages.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trade {
    /// Identity and publication time.
    pub head: Head,
    /// The source's stamp, [`crate::NO_TIME`] when it gives none.
    pub ts_event_ns: i64,
    /// When the bytes were read from the socket.
    pub ts_recv_ns: i64,
    /// Price.
    pub price_e9: i64,
    /// Size, [`crate::NO_SIZE`] when unknown.
    pub size_e8: u64,
    /// The venue's trade number, [`crate::NO_NUMBER`] when it has none.
    pub trade_id: u64,
    /// As in [`Tick`].
    pub flags: u32,
    /// As in [`Tick`].
    pub reasons: u32,
    /// [`crate::words::Verdict`].
    pub verdict: u8,
    /// [`crate::words::Aggressor`].
    pub aggressor: u8,
}
record!(Trade, Trade, 86, head @ 0, ts_event_ns @ 36, ts_recv_ns @ 44, price_e9 @ 52, size_e8 @ 60, trade_id @ 68,
    flags @ 76, reasons @ 80, verdict @ 84, aggressor @ 85);

/// The best bid and ask over the global sources, or a private source's own price.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// Identity and publication time; `source_id` is [`crate::SOURCE_BEST`] or the private source.
    pub head: Head,
    /// The source's stamp of the input that changed it, [`crate::NO_TIME`] when it has none.
    pub ts_event_ns: i64,
    /// Receive time of the input that changed it (of the timer, when age did).
    pub ts_recv_ns: i64,
    /// Best bid, [`crate::NO_PRICE`] when there is none.
    pub bid_e9: i64,
    /// Best ask, [`crate::NO_PRICE`] when there is none.
    pub ask_e9: i64,
    /// Size at the best bid, [`crate::NO_SIZE`] when unknown.
    pub bid_size_e8: u64,
    /// Size at the best ask, [`crate::NO_SIZE`] when unknown.
    pub ask_size_e8: u64,
    /// Who makes the bid, [`crate::SOURCE_BEST`] when nobody.
    pub bid_source_id: u32,
    /// Who makes the ask, [`crate::SOURCE_BEST`] when nobody.
    pub ask_source_id: u32,
    /// How many sources counted.
    pub sources: u16,
    /// [`crate::words::QuoteState`].
    pub state: u8,
    /// [`crate::words::quote_flag`] bits.
    pub flags: u8,
}
record!(Quote, Quote, 96, head @ 0, ts_event_ns @ 36, ts_recv_ns @ 44, bid_e9 @ 52, ask_e9 @ 60, bid_size_e8 @ 68,
    ask_size_e8 @ 76, bid_source_id @ 84, ask_source_id @ 88, sources @ 92, state @ 94, flags @ 95);

/// Open, high, low and close of one price, all [`crate::NO_PRICE`] when there was none: 32 bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ohlc {
    /// First price of the interval.
    pub open_e9: i64,
    /// Highest.
    pub high_e9: i64,
    /// Lowest.
    pub low_e9: i64,
    /// Last.
    pub close_e9: i64,
}

/// A bar of one source or of the common price.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Identity and publication time; `source_id` is [`crate::SOURCE_BEST`] for the composite.
    pub head: Head,
    /// Start of the interval, inclusive.
    pub open_ts_ns: i64,
    /// End of the interval, exclusive.
    pub close_ts_ns: i64,
    /// Bid.
    pub bid: Ohlc,
    /// Ask.
    pub ask: Ohlc,
    /// Mid, rounded half to even at 1e-9.
    pub mid: Ohlc,
    /// Ticks counted.
    pub ticks: u64,
    /// Volume, [`crate::NO_SIZE`] when unknown.
    pub volume_e8: u64,
    /// 0 for the first final bar, greater for each revision.
    pub revision: u16,
    /// [`crate::words::Timeframe`].
    pub timeframe: u8,
    /// [`crate::words::Origin`].
    pub origin: u8,
    /// [`crate::words::Basis`].
    pub basis: u8,
    /// [`crate::words::BarState`].
    pub state: u8,
}
record!(Bar, Bar, 170, head @ 0, open_ts_ns @ 36, close_ts_ns @ 44, bid @ 52, ask @ 84, mid @ 116, ticks @ 148,
    volume_e8 @ 156, revision @ 164, timeframe @ 166, origin @ 167, basis @ 168, state @ 169);

/// The value of an indicator after a final bar.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indicator {
    /// Identity and publication time.
    pub head: Head,
    /// Start of the bar it was computed after.
    pub bar_ts_ns: i64,
    /// Values as bits of IEEE 754 binary64, in the order the indicator documents, [`crate::NO_VALUE`] when absent. A
    /// value is a computed number and no price: nine decimals would keep five digits of a small MACD.
    pub values_bits: [u64; 4],
    /// The indicator with its parameters, named in the catalogue.
    pub indicator_id: u32,
    /// [`crate::words::Timeframe`].
    pub timeframe: u8,
    /// [`crate::words::IndicatorState`].
    pub state: u8,
}
record!(Indicator, Indicator, 82, head @ 0, bar_ts_ns @ 36, values_bits @ 44, indicator_id @ 76, timeframe @ 80, state @ 81);

impl Indicator {
    /// The values, in the order the indicator documents; `None` where absent.
    #[must_use]
    pub fn values(&self) -> [Option<f64>; 4] {
        self.values_bits.map(|bits| (bits != crate::NO_VALUE).then(|| f64::from_bits(bits)))
    }
}

/// A hole in the data of a source.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Identity and publication time.
    pub head: Head,
    /// When the engine noticed.
    pub ts_recv_ns: i64,
    /// Receive time of the last data before the hole.
    pub from_ns: i64,
    /// Receive time of the first data after it, [`crate::NO_TIME`] while it is open.
    pub to_ns: i64,
    /// `seq` of the record that opened it; with `gap_epoch` the key of the hole.
    pub gap_id: u64,
    /// Events of the source known to be missing, all its instruments together; [`crate::NO_NUMBER`] when unknown.
    pub lost: u64,
    /// Epoch of the record that opened it.
    pub gap_epoch: u32,
    /// [`crate::words::Cause`].
    pub cause: u8,
    /// [`crate::words::GapState`].
    pub state: u8,
}
record!(Gap, Gap, 82, head @ 0, ts_recv_ns @ 36, from_ns @ 44, to_ns @ 52, gap_id @ 60, lost @ 68, gap_epoch @ 76,
    cause @ 80, state @ 81);

/// A source changed its state.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Identity and publication time.
    pub head: Head,
    /// When the session noticed.
    pub ts_recv_ns: i64,
    /// Connection attempts since the last live state.
    pub attempt: u32,
    /// [`crate::words::SourceStatus`].
    pub status: u8,
    /// [`crate::words::Cause`].
    pub cause: u8,
}
record!(SourceState, SourceState, 50, head @ 0, ts_recv_ns @ 36, attempt @ 44, status @ 48, cause @ 49);

/// The clock as the stages see it. Journaled, so that a replay sees the same.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Identity and publication time.
    pub head: Head,
    /// The time.
    pub now_ns: i64,
    /// 1 when the stages saved their state with it.
    pub snapshot: u8,
}
record!(Timer, Timer, 45, head @ 0, now_ns @ 36, snapshot @ 44);

/// Inputs that were lost before the stages. Journaled, so that a replay makes the same gaps.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drop {
    /// Identity and publication time; `source_id` and `instrument_id` 0 mean all.
    pub head: Head,
    /// Receive time of the last input before the hole.
    pub from_ns: i64,
    /// Receive time of the first input after it.
    pub to_ns: i64,
    /// Inputs lost, [`crate::NO_NUMBER`] when unknown.
    pub count: u64,
    /// [`crate::words::Cause`].
    pub cause: u8,
}
record!(Drop, Drop, 61, head @ 0, from_ns @ 36, to_ns @ 44, count @ 52, cause @ 60);

/// What the venue's history says of a hole: one bar of it, or that there is no more to come. An input like any other,
/// journaled, so that a replay mends the same.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Identity and publication time; source and instrument of the hole, of a bar never 0.
    pub head: Head,
    /// When the venue's answer came.
    pub ts_recv_ns: i64,
    /// Of a bar the start of its interval; else [`Gap::from_ns`] of the hole.
    pub from_ns: i64,
    /// Of a bar the end of its interval; else [`Gap::to_ns`] of the hole.
    pub to_ns: i64,
    /// [`Gap::gap_id`] of the hole.
    pub gap_id: u64,
    /// [`Gap::lost`] of the hole.
    pub lost: u64,
    /// [`Gap::gap_epoch`] of the hole.
    pub gap_epoch: u32,
    /// Of a bar its bid (basis `quote` and `bid`) or mid (basis `mid` and `last`), else absent.
    pub prices: Ohlc,
    /// Of a bar its ask (basis `quote` and `ask`), else absent.
    pub ask: Ohlc,
    /// Of a bar the ticks that the venue counted.
    pub ticks: u64,
    /// Of a bar its volume, [`crate::NO_SIZE`] when unknown.
    pub volume_e8: u64,
    /// [`crate::words::Timeframe`] of a bar.
    pub timeframe: u8,
    /// [`crate::words::Basis`] of a bar.
    pub basis: u8,
    /// [`crate::words::RepairStep`].
    pub step: u8,
    /// [`crate::words::Cause`] of the hole.
    pub cause: u8,
}
record!(Repair, Repair, 164, head @ 0, ts_recv_ns @ 36, from_ns @ 44, to_ns @ 52, gap_id @ 60, lost @ 68,
    gap_epoch @ 76, prices @ 80, ask @ 112, ticks @ 144, volume_e8 @ 152, timeframe @ 160, basis @ 161, step @ 162,
    cause @ 163);

/// Length of a record of `kind` in this version; `None` for kinds that are reserved.
#[must_use]
pub const fn bytes_of(kind: Kind) -> Option<usize> {
    Some(match kind {
        Kind::Tick => Tick::BYTES,
        Kind::Trade => Trade::BYTES,
        Kind::Quote => Quote::BYTES,
        Kind::Bar => Bar::BYTES,
        Kind::Indicator => Indicator::BYTES,
        Kind::Gap => Gap::BYTES,
        Kind::SourceState => SourceState::BYTES,
        Kind::Timer => Timer::BYTES,
        Kind::Drop => Drop::BYTES,
        Kind::Repair => Repair::BYTES,
        Kind::External | Kind::Signal | Kind::Command | Kind::Ack => return None,
    })
}

/// The head of the record in `bytes`, whatever its kind.
///
/// # Errors
/// [`RecordError::TooShort`] when there are fewer bytes than a head has.
pub fn read_head(kind: Kind, bytes: &[u8]) -> Result<Head, RecordError> {
    let short = RecordError::TooShort { kind, expected: size_of::<ArchivedHead>(), found: bytes.len() };
    let bytes = bytes.get(..size_of::<ArchivedHead>()).ok_or(short)?;
    let archived = rkyv::access::<ArchivedHead, Failure>(bytes).map_err(|_| short)?;
    rkyv::deserialize::<Head, Failure>(archived).map_err(|_| short)
}

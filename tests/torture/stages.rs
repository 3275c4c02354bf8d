//! The pipeline of the engine with a sink that keeps what a test looks at.

use std::collections::HashMap;

use tickwire::config::Config;
use tickwire::market::{Class, Input, Instrument, InstrumentId, Price, Scope, Source, SourceId, TickInput, VolumeOf};
use tickwire::runtime::Pipeline;
use tickwire::stages::{Emit, Layout, Market, NAMES};
use tickwire_schemas::record::{
    Bar, Drop as DropRecord, Gap, Indicator, Quote, RECORD_BYTES_MAX, Record, Repair, SourceState, Tick, Timer, Trade,
};
use tickwire_schemas::words::{BarState, Kind, Origin};

pub const MS: i64 = 1_000_000;
pub const SECOND: i64 = 1_000 * MS;
pub const MINUTE: i64 = 60 * SECOND;

/// Two sources of a currency pair and a crypto currency.
pub fn market() -> Market {
    let source = |id, name: &str| Source {
        id: SourceId(id),
        name: name.into(),
        scope: Scope::Global,
        owner: String::new(),
        priority: 10,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = |id, symbol: &str, class, digits, pip: &str| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class,
        digits,
        pip: pip.parse().unwrap(),
    };
    let instruments =
        vec![instrument(1, "EURUSD", Class::Fx, 5, "0.0001"), instrument(2, "BTCUSD", Class::Crypto, 2, "1")];
    Market::new(vec![source(1, "worst"), source(2, "other")], instruments)
}

/// All stages, with these keys changed.
pub fn pipeline(overrides: &str) -> Pipeline {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(overrides, "test").unwrap();
    let layout = Layout::new(vec![NAMES.iter().map(ToString::to_string).collect()]).unwrap();
    let market = market();
    Pipeline::new(layout.build(&config, &market).unwrap(), market)
}

/// Instrument, code of the timeframe, opening.
pub type BarKey = (u32, u8, i64);

/// What came out.
#[derive(Default)]
pub struct Seen {
    /// Of source 1 the bar that `bars_final` shows: a repair before our own, the greatest revision.
    pub bars: HashMap<BarKey, Bar>,
    /// The same without repairs.
    pub own: HashMap<BarKey, Bar>,
    /// Records of the ledger since they were last taken.
    pub gaps: Vec<Gap>,
    /// Repairs that are journaled, since they were last taken.
    pub repairs: Vec<Repair>,
    /// Common prices since they were last taken.
    pub quotes: Vec<Quote>,
    /// Ticks that were not accepted.
    pub refused: usize,
    /// Records of inputs as the journal has them, where they are kept.
    pub journal: Option<Vec<(Kind, Vec<u8>)>>,
}

impl Seen {
    fn journal<R: Record>(&mut self, record: &R) {
        if let Some(journal) = &mut self.journal {
            let mut bytes = [0; RECORD_BYTES_MAX];
            let length = record.write(&mut bytes);
            journal.push((R::KIND, bytes[..length].to_vec()));
        }
    }
}

impl Emit for Seen {
    fn tick(&mut self, record: &Tick) {
        self.refused += usize::from(record.verdict != 0);
        self.journal(record);
    }

    fn trade(&mut self, _: &Trade) {}

    fn quote(&mut self, record: &Quote) {
        self.quotes.push(*record);
    }

    fn bar(&mut self, record: &Bar) {
        if record.head.source_id != 1 || record.state == BarState::Provisional.code() {
            return;
        }
        let key = (record.head.instrument_id, record.timeframe, record.open_ts_ns);
        let rank = |bar: &Bar| (bar.origin == Origin::Repair.code(), bar.revision);
        let keep = |bars: &mut HashMap<BarKey, Bar>| {
            let best = bars.entry(key).or_insert(*record);
            if rank(record) >= rank(best) {
                *best = *record;
            }
        };
        keep(&mut self.bars);
        if record.origin == Origin::Own.code() {
            keep(&mut self.own);
        }
    }

    fn indicator(&mut self, _: &Indicator) {}

    fn gap(&mut self, record: &Gap) {
        self.gaps.push(*record);
    }

    fn source_state(&mut self, record: &SourceState) {
        self.journal(record);
    }

    fn timer(&mut self, record: &Timer) {
        self.journal(record);
    }

    fn drop(&mut self, record: &DropRecord) {
        self.journal(record);
    }

    fn repair(&mut self, record: &Repair) {
        self.repairs.push(*record);
        self.journal(record);
    }
}

/// A price of a source, with the times of its stamp and of its receipt.
pub fn tick(source: u32, instrument: u32, (event_ns, recv_ns): (i64, i64), (bid_e9, ask_e9): (i64, i64)) -> Input {
    TickInput {
        source: SourceId(source),
        instrument: InstrumentId(instrument),
        ts_event_ns: Some(event_ns),
        ts_recv_ns: recv_ns,
        bid: Price::from_e9(bid_e9),
        ask: Price::from_e9(ask_e9),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    }
    .into()
}

/// The clock.
pub fn timer(now_ns: i64) -> Input {
    Input::Timer(Timer { now_ns, ..Timer::default() })
}

/// Nanoseconds of a time in UTC.
pub fn at(text: &str) -> i64 {
    i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
}

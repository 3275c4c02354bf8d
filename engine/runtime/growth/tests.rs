//! Growing between any two inputs is having been large from the beginning.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tickwire_schemas::record::{Drop as DropRecord, SourceState, Timer};
use tickwire_schemas::words::{Aggressor, Cause, SourceStatus};

use crate::config::Config;
use crate::market::{
    Class, IndicatorId, IndicatorName, Input, Instrument, InstrumentId, Price, Scope, Size, Source, SourceId,
    TickInput, TradeInput, VolumeOf,
};
use crate::runtime::Pipeline;
use crate::stages::{Layout, Market, NAMES, Recorder};

/// A Wednesday noon, when everything trades.
const NOON: i64 = 1_714_564_800_000_000_000;
const MS: i64 = 1_000_000;

const CONFIG: &str = "[bars]\nprovisional_ms = 700\n[aggregate]\nmax_age_ms = 5000\n\
    [validate.fx]\nmax_stale_ms = 0\n\
    [indicators.fast]\nindicator = \"EMA\"\nparameters = [2]\nsymbols = [\"*\"]\nsources = [\"*\"]\ntimeframes = [\"M1\"]\nprice = \"mid\"\n";

/// The ids of sources and instruments: of the small market, then what joins them.
const SOURCES: [u32; 5] = [2, 4, 9, 1, 7];
const INSTRUMENTS: [u32; 4] = [3, 5, 1, 8];
const SMALL: (usize, usize) = (3, 2);

fn source(at: usize) -> Source {
    let private = at == 2 || at == 4;
    Source {
        id: SourceId(SOURCES[at]),
        name: format!("source{at}"),
        scope: if private { Scope::Private } else { Scope::Global },
        owner: if private { "ann".into() } else { String::new() },
        // The one that joins wins among equals.
        priority: if at == 3 { 1 } else { 10 },
        volume: if at == 1 { VolumeOf::BidSize } else { VolumeOf::Trades },
        stores_ticks: true,
    }
}

fn instrument(at: usize) -> Instrument {
    Instrument {
        id: InstrumentId(INSTRUMENTS[at]),
        symbol: format!("SYM{at}"),
        class: if at.is_multiple_of(2) { Class::Fx } else { Class::Crypto },
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    }
}

fn small() -> Market {
    let (sources, instruments) = SMALL;
    let market = Market::new((0..sources).map(source).collect(), (0..instruments).map(instrument).collect());
    market.with_indicators(vec![IndicatorName { id: IndicatorId(1), name: "EMA(2)".into() }])
}

fn large() -> Market {
    let sources = (0..SOURCES.len()).map(source).collect();
    small().grown(sources, (0..INSTRUMENTS.len()).map(instrument).collect())
}

fn layout(split: bool) -> Layout {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
    let groups =
        if split { vec![names(&NAMES[..1]), names(&NAMES[1..2]), names(&NAMES[2..])] } else { vec![names(NAMES)] };
    Layout::new(groups).unwrap()
}

/// What an input says, of the pair with these numbers, and how long after the one before.
#[derive(Debug, Clone, Copy)]
enum Said {
    Tick { bid: i64, spread: i64, late_ms: i64 },
    Trade { price: i64, late_ms: i64 },
    Timer { early_ms: i64 },
    State { code: u8, of_one: bool },
    Drop,
    Restart,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        12 => (1_000_i64..1_030, 1_i64..20, prop_oneof![Just(0_i64), 0_i64..90_000])
            .prop_map(|(bid, spread, late_ms)| Said::Tick { bid, spread, late_ms }),
        2 => (1_000_i64..1_030, 0_i64..3_000).prop_map(|(price, late_ms)| Said::Trade { price, late_ms }),
        // A clock on another thread may be a little behind.
        6 => (0_i64..300).prop_map(|early_ms| Said::Timer { early_ms }),
        1 => (0_u8..5, any::<bool>()).prop_map(|(code, of_one)| Said::State { code, of_one }),
        1 => Just(Said::Drop),
        1 => Just(Said::Restart),
    ]
}

fn input(said: Said, (source, instrument): (usize, usize), now_ns: i64) -> Input {
    let (source_id, instrument_id) = (SOURCES[source], INSTRUMENTS[instrument]);
    match said {
        Said::Tick { bid, spread, late_ms } => TickInput {
            source: SourceId(source_id),
            instrument: InstrumentId(instrument_id),
            ts_event_ns: (bid % 7 != 0).then_some(now_ns - late_ms * MS),
            ts_recv_ns: now_ns,
            bid: Price::from_e9(bid * 1_000_000),
            ask: Price::from_e9((bid * 10 + spread) * 100_000),
            bid_size: Size::from_e8(100),
            ask_size: None,
            source_seq: None,
            snapshot: bid % 5 == 0,
        }
        .into(),
        Said::Trade { price, late_ms } => TradeInput {
            source: SourceId(source_id),
            instrument: InstrumentId(instrument_id),
            ts_event_ns: Some(now_ns - late_ms * MS),
            ts_recv_ns: now_ns,
            price: Price::from_e9(price * 1_000_000).unwrap(),
            size: Size::from_e8(7),
            trade_id: None,
            aggressor: Aggressor::Buy,
        }
        .into(),
        Said::Timer { early_ms } => Input::Timer(Timer { now_ns: now_ns - early_ms * MS, ..Timer::default() }),
        Said::State { code, of_one } => {
            let status = SourceStatus::from_code(code).unwrap_or(SourceStatus::Live);
            let mut state = SourceState { ts_recv_ns: now_ns, status: status.code(), ..SourceState::default() };
            state.head.source_id = source_id;
            state.head.instrument_id = if of_one { instrument_id } else { 0 };
            Input::SourceState(state)
        }
        Said::Drop | Said::Restart => {
            let restart = matches!(said, Said::Restart);
            let cause = if restart { Cause::Restart } else { Cause::RingFull }.code();
            let mut drop = DropRecord { from_ns: now_ns - MS, to_ns: now_ns, count: 3, cause, ..DropRecord::default() };
            drop.head.source_id = if restart { 0 } else { source_id };
            Input::Drop(drop)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn it_does_not_matter_when_a_market_grew(
        steps in proptest::collection::vec((said(), 0..SOURCES.len(), 0..INSTRUMENTS.len(), prop_oneof![4 => 0_i64..900, 1 => 0_i64..70_000]), 1..300),
        at in 0_usize..300,
        split: bool,
    ) {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(CONFIG, "test").unwrap();
        let build = |market: &Market| layout(split).build(&config, market).unwrap();
        let (mut grows, mut is_large) =
            (Pipeline::new(build(&small()), small()), Pipeline::new(build(&large()), large()));
        let (mut of_grown, mut of_large) = (Recorder::default(), Recorder::default());
        let mut now_ns = NOON;
        let mut has_grown = false;
        for (n, (said, source, instrument, after_ms)) in steps.into_iter().enumerate() {
            if n == at {
                grows.grow(build(&large()), &large()).unwrap();
                has_grown = true;
            }
            now_ns += after_ms * MS;
            let pair = if has_grown { (source, instrument) } else { (source % SMALL.0, instrument % SMALL.1) };
            let input = input(said, pair, now_ns);
            grows.run(&input, &mut of_grown, now_ns);
            is_large.run(&input, &mut of_large, now_ns);
            prop_assert_eq!(&of_grown.records, &of_large.records, "input {}: {:?}", n, input);
            of_grown.records.clear();
            of_large.records.clear();
        }
        if !has_grown {
            grows.grow(build(&large()), &large()).unwrap();
        }
        // What it would go on with is the same, to the byte.
        prop_assert_eq!(grows.save(), is_large.save());
        grows.finish(&mut of_grown, now_ns);
        is_large.finish(&mut of_large, now_ns);
        prop_assert_eq!(of_grown.records, of_large.records);
    }
}

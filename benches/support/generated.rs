//! Ticks that are made up, the same ones every time: two sources, four currency pairs, a tick every 10 ms.

use tickwire::market::{
    Class, Input, Instrument, InstrumentId, InstrumentSpec, Price, Scope, Size, Source, SourceId, TickInput, VolumeOf,
};
use tickwire::stages::Market;
use tickwire_schemas::record::Timer;

/// A Wednesday noon, when everything trades.
pub(crate) const NOON_NS: i64 = 1_714_564_800_000_000_000;

const STEP_NS: i64 = 10_000_000;
const TICKS_A_SECOND: u64 = 100;

/// The pairs and their first prices.
const PAIRS: [(&str, i64); 4] =
    [("EURUSD", 1_085_000_000), ("GBPUSD", 1_270_000_000), ("AUDUSD", 655_000_000), ("NZDUSD", 600_000_000)];

/// A tenth of a pip.
const POINT_E9: i64 = 10_000;

/// The instruments of the made-up ticks.
pub(crate) fn instruments() -> Vec<Instrument> {
    let of = |(id, (symbol, _)): (u32, &(&str, i64))| {
        let InstrumentSpec { class, digits, pip } = InstrumentSpec::by_convention(symbol).unwrap();
        assert_eq!(class, Class::Fx);
        Instrument { id: InstrumentId(id), symbol: (*symbol).into(), class, digits, pip }
    };
    (1..).zip(&PAIRS).map(of).collect()
}

/// The sources of the made-up ticks.
pub(crate) fn sources() -> Vec<Source> {
    let of = |(id, name): (u32, &str)| Source {
        id: SourceId(id),
        name: name.into(),
        scope: Scope::Global,
        owner: String::new(),
        priority: 100,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    (1..).zip(["alpha", "beta"]).map(of).collect()
}

/// Both.
pub(crate) fn market() -> Market {
    Market::new(sources(), instruments())
}

/// `ticks` of them, with a timer each second between.
pub(crate) fn inputs(ticks: u64) -> Vec<Input> {
    let mut made = Ticks { number: 0, random: 88_172_645_463_325_252, mids: PAIRS.map(|(_, mid)| mid) };
    let mut inputs = Vec::with_capacity((ticks + ticks / TICKS_A_SECOND + 1) as usize);
    for number in 0..ticks {
        if number % TICKS_A_SECOND == 0 {
            let now_ns = NOON_NS + number as i64 * STEP_NS;
            inputs.push(Input::Timer(Timer { now_ns, ..Timer::default() }));
        }
        // Every fiftieth tick is the one before it once more.
        let repeated = if number % 50 == 49 { inputs.last().copied() } else { None };
        let tick = made.next_tick().into();
        inputs.push(repeated.unwrap_or(tick));
    }
    inputs
}

struct Ticks {
    number: u64,
    random: u64,
    mids: [i64; PAIRS.len()],
}

impl Ticks {
    fn next_tick(&mut self) -> TickInput {
        let number = self.number;
        self.number += 1;
        // A xorshift: what matters is that it is the same everywhere.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let pair = (number / 2) as usize % PAIRS.len();
        self.mids[pair] += ((self.random >> 33) as i64 % 5 - 2) * POINT_E9;
        // One in a hundred is crossed, and refused.
        let half_spread = if number % 100 == 37 { -1 } else { 1 + (self.random >> 20) as i64 % 5 } * POINT_E9;
        let at_ns = NOON_NS + number as i64 * STEP_NS;
        TickInput {
            source: SourceId(1 + (number % 2) as u32),
            instrument: InstrumentId(1 + pair as u32),
            ts_event_ns: Some(at_ns),
            ts_recv_ns: at_ns + 1_000_000,
            bid: Price::from_e9(self.mids[pair] - half_spread),
            ask: Price::from_e9(self.mids[pair] + half_spread),
            bid_size: Size::from_e8(150_000_000_000_000),
            ask_size: None,
            source_seq: None,
            snapshot: false,
        }
    }
}

/// A market of so many sources and crypto pairs, which trade at any hour.
pub(crate) fn wide_market(sources: u32, symbols: u32) -> Market {
    let source = |id: u32| Source { id: SourceId(id), name: format!("source{id}"), ..self::sources().swap_remove(0) };
    let instrument = |id: u32| Instrument {
        id: InstrumentId(id),
        symbol: format!("SYM{id}USDT"),
        class: Class::Crypto,
        digits: 2,
        pip: Price::from_e9(10_000_000).unwrap(),
    };
    Market::new((1..=sources).map(source).collect(), (1..=symbols).map(instrument).collect())
}

/// Ticks of every source and pair of such a market by turns, 10,000 a second, with a timer each second between.
pub(crate) fn wide_inputs(sources: u32, symbols: u32, ticks: u64) -> Vec<Input> {
    const STEP_NS: i64 = 100_000;
    let mut random = 88_172_645_463_325_252_u64;
    let mut mids = vec![60_000_000_000_000_i64; symbols as usize];
    let mut inputs = Vec::with_capacity(ticks as usize + 1_000);
    for number in 0..ticks {
        let at_ns = NOON_NS + number as i64 * STEP_NS;
        if number % 10_000 == 0 {
            inputs.push(Input::Timer(Timer { now_ns: at_ns, ..Timer::default() }));
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (symbol, source) = (number % u64::from(symbols), number / u64::from(symbols) % u64::from(sources));
        let mid = &mut mids[symbol as usize];
        *mid += ((random >> 33) as i64 % 5 - 2) * 10_000_000;
        let half_spread = (1 + (random >> 20) as i64 % 5) * 10_000_000;
        inputs.push(
            TickInput {
                source: SourceId(1 + source as u32),
                instrument: InstrumentId(1 + symbol as u32),
                ts_event_ns: Some(at_ns - 1_000_000),
                ts_recv_ns: at_ns,
                bid: Price::from_e9(*mid - half_spread),
                ask: Price::from_e9(*mid + half_spread),
                bid_size: None,
                ask_size: None,
                source_seq: None,
                snapshot: false,
            }
            .into(),
        );
    }
    inputs
}

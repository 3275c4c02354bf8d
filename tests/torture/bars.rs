//! The ticks of a day, and the bars that a venue has of them: grouped in the plainest way.

use std::collections::BTreeMap;

use tickwire::market::{Calendar, Class, Holidays};
use tickwire_schemas::record::{Bar, Head, Ohlc};
use tickwire_schemas::words::{BarState, Basis, Origin, Timeframe};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::stages::{MINUTE, MS};

/// The instruments' numbers, classes, first bids, steps and spreads in units of 1e-9.
pub const INSTRUMENTS: [(u32, Class, i64, i64, i64); 2] =
    [(1, Class::Fx, 1_085_000_000, 10_000, 100_000), (2, Class::Crypto, 64_000_000_000_000, 10_000_000, 5_000_000_000)];

/// Time between two ticks of one instrument.
pub const TICK_EVERY: i64 = 250 * MS;

/// A price: time, bid, ask.
pub type Said = (i64, i64, i64);

/// How long before its receipt the second instrument's ticks are stamped.
pub const LATE: i64 = 60 * MS;

/// Four ticks a second of each instrument, each a step or a few up or down: by the venue's stamp. The second's are received in
/// the middle between the first's.
pub fn ticks((from_ns, to_ns): (i64, i64), seed: u64) -> [Vec<Said>; 2] {
    let mut rng = fastrand::Rng::with_seed(seed);
    [0, 1].map(|at| {
        let (.., first, step, spread) = INSTRUMENTS[at];
        let mut bid = first;
        let begin = from_ns + at as i64 * (TICK_EVERY / 2 - LATE);
        let times = (0..).map(|n| begin + n * TICK_EVERY).take_while(|ns| *ns < to_ns);
        let say = |ns| {
            // Back to where it began, slowly, so that a day stays in a believable range.
            let drift = if bid > first + 2_000 * step { -1 } else { i64::from(bid < first - 2_000 * step) };
            bid += (rng.i64(-3..=3) + drift) * step;
            (ns, bid, bid + spread + rng.i64(0..5) * step)
        };
        times.map(say).collect()
    })
}

/// Calendars of the instruments.
pub fn calendars() -> [Calendar; 2] {
    INSTRUMENTS.map(|(_, class, ..)| Calendar::new(class, &Holidays::default()).unwrap())
}

/// A venue's past bars, by index of the instrument, code of the timeframe, and opening.
pub struct History(BTreeMap<(usize, u8, i64), Bar>);

impl History {
    /// Of all ticks, heard or not.
    pub fn of(ticks: &[Vec<Said>; 2]) -> History {
        let mut bars = BTreeMap::new();
        for (at, calendar) in calendars().iter_mut().enumerate() {
            let mut minutes = ticks[at].chunk_by(|a, b| a.0.div_euclid(MINUTE) == b.0.div_euclid(MINUTE));
            for minute in &mut minutes {
                for timeframe in Timeframe::ALL {
                    let span = calendar.interval(*timeframe, minute[0].0).unwrap();
                    let new = || Bar {
                        head: Head { source_id: 1, instrument_id: INSTRUMENTS[at].0, ..Head::default() },
                        open_ts_ns: span.from_ns,
                        close_ts_ns: span.to_ns,
                        bid: of(minute[0].1),
                        ask: of(minute[0].2),
                        mid: of(NO_PRICE),
                        ticks: 0,
                        volume_e8: NO_SIZE,
                        revision: 0,
                        timeframe: timeframe.code(),
                        origin: Origin::Backfill.code(),
                        basis: Basis::Quote.code(),
                        state: BarState::Final.code(),
                    };
                    let bar = bars.entry((at, timeframe.code(), span.from_ns)).or_insert_with(new);
                    for (_, bid, ask) in minute {
                        say(&mut bar.bid, *bid);
                        say(&mut bar.ask, *ask);
                        bar.ticks += 1;
                    }
                }
            }
        }
        History(bars)
    }

    /// The bars that open in `[from_ns, to_ns)`.
    pub fn answer(&self, instrument: usize, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Vec<Bar> {
        let key = |ns| (instrument, timeframe.code(), ns);
        self.0.range(key(from_ns)..key(to_ns)).map(|(_, bar)| *bar).collect()
    }
}

fn of(price: i64) -> Ohlc {
    Ohlc { open_e9: price, high_e9: price, low_e9: price, close_e9: price }
}

fn say(ohlc: &mut Ohlc, price: i64) {
    ohlc.high_e9 = ohlc.high_e9.max(price);
    ohlc.low_e9 = ohlc.low_e9.min(price);
    ohlc.close_e9 = price;
}

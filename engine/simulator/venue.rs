//! How one broker quotes the market: its rate by the hour, spread, window, delay, clock and faults. Pure.

use fastrand::Rng;

use super::event::{Event, Quote, Trade};
use super::model::{STEP_NS, Walk};
use super::stamp::hour_of;
use super::symbols::Symbol;
use crate::market::{Price, Size};

/// What makes a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct VenueSpec {
    /// Its name, which its own chance is derived from.
    pub name: String,
    /// Canonical symbols; events name them by index.
    pub symbols: Vec<String>,
    /// Quotes per instrument in a calm 1,000 seconds at the busiest hour.
    pub quotes_per_1000s: u64,
    /// Trades per instrument in a calm 1,000 seconds.
    pub trades_per_1000s: u64,
    /// Spread in thousandths of the usual one.
    pub spread_permille: i64,
    /// At most one quote per instrument in this time, the last one kept; 0 = all.
    pub window_ns: i64,
    /// From quote to socket.
    pub delay_ns: i64,
    /// Random addition to the delay.
    pub jitter_ns: i64,
    /// How far its clock is ahead.
    pub skew_ns: i64,
    /// Per million: sent twice, sent after the successor, bid above ask, off by 3 to 10 %.
    pub faults: Faults,
}

/// Rates of faults, per million quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Sent twice.
    pub duplicates: u32,
    /// Sent after the next one.
    pub out_of_order: u32,
    /// Bid above ask.
    pub crossed: u32,
    /// Off by 3 to 10 %.
    pub fat_finger: u32,
}

/// Share of the busiest hour's rate by UTC hour, in thousandths: Asia, London, the overlap with New York, the close.
const FX_HOURS: [u64; 24] = [
    450, 450, 400, 400, 400, 450, 600, 850, 900, 850, 800, 800, 900, 1_000, 1_000, 950, 800, 650, 550, 450, 350, 250,
    300, 400,
];
/// Crypto never sleeps, but yawns.
const CRYPTO_HOURS: [u64; 24] = [
    800, 750, 700, 700, 650, 650, 700, 750, 800, 800, 800, 850, 950, 1_000, 1_000, 1_000, 950, 900, 900, 850, 800, 800,
    800, 800,
];

/// A broker's memory.
#[derive(Debug)]
pub(super) struct Venue {
    spec: VenueSpec,
    lines: Vec<Line>,
}

/// A broker's memory of one instrument.
#[derive(Debug)]
struct Line {
    rng: Rng,
    /// Index of the instrument's walk.
    walk: usize,
    last: Option<Quote>,
    /// Kept back by the window.
    windowed: Option<Quote>,
    window_ends_ns: i64,
    /// Kept back to be sent after its successor.
    late: Option<Quote>,
    last_due_ns: i64,
    update_id: u64,
    trade_id: u64,
}

impl Venue {
    pub(super) fn new(seed: u64, spec: VenueSpec, walks: &[Walk]) -> Venue {
        let line = |name: &String| {
            let walk = walks.iter().position(|walk| walk.symbol.name == *name).unwrap_or(0);
            let mut rng = Rng::with_seed(seed ^ fingerprint(&spec.name) ^ fingerprint(name).rotate_left(17));
            let (update_id, trade_id) =
                (rng.u64(10_000_000_000..90_000_000_000), rng.u64(1_000_000_000..5_000_000_000));
            let (last, windowed, late) = (None, None, None);
            Line { rng, walk, last, windowed, window_ends_ns: 0, late, last_due_ns: 0, update_id, trade_id }
        };
        let lines = spec.symbols.iter().map(line).collect();
        Venue { spec, lines }
    }

    /// Appends what is said in the step that begins at `from_ns`, with when it is due.
    pub(super) fn step(&mut self, from_ns: i64, walks: &[Walk], out: &mut Vec<(i64, Event)>) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.step(index, from_ns, &self.spec, &walks[line.walk], out);
        }
    }
}

impl Line {
    fn step(&mut self, index: usize, from_ns: i64, spec: &VenueSpec, walk: &Walk, out: &mut Vec<(i64, Event)>) {
        let hours = if walk.symbol.crypto { &CRYPTO_HOURS } else { &FX_HOURS };
        let lively = hours[hour_of(from_ns)] * walk.activity.unsigned_abs() / 1_000;
        let quotes = self.count(spec.quotes_per_1000s * lively / 1_000).max(u64::from(self.last.is_none()));
        for nth in 0..quotes {
            let at_ns = self.moment(from_ns, nth, quotes);
            self.window(from_ns, at_ns, spec, walk, out);
            let quote = self.quote(index, at_ns, spec, walk);
            if at_ns < self.window_ends_ns {
                self.windowed = Some(quote);
            } else {
                self.window_ends_ns = at_ns + spec.window_ns;
                self.say(quote, at_ns, spec, walk, out);
            }
        }
        self.window(from_ns, from_ns + STEP_NS - 1, spec, walk, out);
        let trades = self.count(spec.trades_per_1000s * lively / 1_000);
        for nth in 0..trades {
            let at_ns = self.moment(from_ns, nth, trades);
            self.trade(index, at_ns, spec, walk, out);
        }
    }

    /// How many of so many per 1,000 s fall into one step: the whole part, and chance for the rest.
    fn count(&mut self, per_1000s: u64) -> u64 {
        const STEPS: u64 = 1_000_000_000_000 / STEP_NS.unsigned_abs();
        per_1000s / STEPS + u64::from(self.rng.u64(0..STEPS) < per_1000s % STEPS)
    }

    /// The `nth` of `of` moments in a step, each in its own part of it, so that they are in order.
    fn moment(&mut self, from_ns: i64, nth: u64, of: u64) -> i64 {
        let part = STEP_NS / i64::try_from(of.max(1)).unwrap_or(1);
        from_ns + part * i64::try_from(nth).unwrap_or(0) + self.rng.i64(0..part.max(1))
    }

    /// Lets out what the window kept back, when the window has ended.
    fn window(&mut self, from_ns: i64, now_ns: i64, spec: &VenueSpec, walk: &Walk, out: &mut Vec<(i64, Event)>) {
        if self.windowed.is_some() && self.window_ends_ns <= now_ns {
            let at_ns = self.window_ends_ns.max(from_ns);
            self.window_ends_ns = at_ns + spec.window_ns;
            if let Some(quote) = self.windowed.take() {
                self.say(quote, at_ns, spec, walk, out);
            }
        }
    }

    /// A quote around the true price, on the grid of the symbol, and different from the last where the grid allows.
    fn quote(&mut self, index: usize, at_ns: i64, spec: &VenueSpec, walk: &Walk) -> Quote {
        let point = walk.symbol.point_e9();
        let usual = walk.symbol.spread_points * spec.spread_permille / 1_000;
        let wide = (usual * walk.activity / 1_000 * self.rng.i64(800..=1_250) / 1_000).max(1);
        let noise = self.rng.i64(-(wide / 4).max(1)..=(wide / 4).max(1));
        let mut bid = walk.mid_e9 / point - wide / 2 + noise;
        if self.last.is_some_and(|last| last.bid.e9() == bid * point && last.ask.e9() == (bid + wide) * point) {
            bid += if self.rng.bool() { 1 } else { -1 };
        }
        self.update_id += self.rng.u64(1..10);
        let (bid, ask) = (price(bid * point), price((bid + wide) * point));
        let (bid_size, ask_size) = (self.size(&walk.symbol), self.size(&walk.symbol));
        let event_ns = at_ns + spec.skew_ns;
        let quote = Quote { symbol: index, event_ns, bid, ask, bid_size, ask_size, update_id: self.update_id };
        self.last = Some(quote);
        quote
    }

    /// Worth up to some 650,000 of the quote currency, in five decimals.
    fn size(&mut self, symbol: &Symbol) -> Size {
        let most = (65_000_000_000_000_000 / (symbol.anchor_e9 / 1_000).max(1)).clamp(10, 100_000_000);
        size(self.rng.u64(1..most.unsigned_abs()) * 1_000)
    }

    fn trade(&mut self, index: usize, at_ns: i64, spec: &VenueSpec, walk: &Walk, out: &mut Vec<(i64, Event)>) {
        let Some(last) = self.last else { return };
        self.trade_id += 1;
        let buyer_is_maker = self.rng.bool();
        let price = if buyer_is_maker { last.bid } else { last.ask };
        let size = size((self.size(&walk.symbol).e8() / 10_000).max(1) * 1_000);
        let event_ns = at_ns + spec.skew_ns;
        let trade = Trade { symbol: index, event_ns, price, size, id: self.trade_id, buyer_is_maker };
        self.deliver(Event::Trade(trade), at_ns, spec, out);
    }

    /// Says a quote, with the faults that chance gives it.
    fn say(&mut self, mut quote: Quote, at_ns: i64, spec: &VenueSpec, walk: &Walk, out: &mut Vec<(i64, Event)>) {
        if self.happens(spec.faults.crossed) {
            std::mem::swap(&mut quote.bid, &mut quote.ask);
        }
        if self.happens(spec.faults.fat_finger) {
            let point = walk.symbol.point_e9();
            let off = self.rng.i64(30..=100) * if self.rng.bool() { 1 } else { -1 };
            let shift = quote.bid.e9() / 1_000 * off / point * point;
            (quote.bid, quote.ask) = (price(quote.bid.e9() + shift), price(quote.ask.e9() + shift));
        }
        if self.late.is_none() && self.happens(spec.faults.out_of_order) {
            self.late = Some(quote);
            return;
        }
        self.deliver(Event::Quote(quote), at_ns, spec, out);
        if self.happens(spec.faults.duplicates) {
            self.deliver(Event::Quote(quote), at_ns, spec, out);
        }
        if let Some(late) = self.late.take() {
            self.deliver(Event::Quote(late), at_ns, spec, out);
        }
    }

    fn happens(&mut self, per_million: u32) -> bool {
        // Always drawn, so that one fault's rate does not change the market that follows.
        self.rng.u32(0..1_000_000) < per_million
    }

    /// Due after the delay, and never before what the broker said of this instrument earlier: one connection, in order.
    fn deliver(&mut self, event: Event, at_ns: i64, spec: &VenueSpec, out: &mut Vec<(i64, Event)>) {
        let jitter = self.rng.i64(0..=spec.jitter_ns.max(0));
        self.last_due_ns = self.last_due_ns.max(at_ns + spec.delay_ns + jitter);
        out.push((self.last_due_ns, event));
    }
}

/// The sentinel cannot be reached from a positive price; zero stands for the impossible.
fn price(e9: i64) -> Price {
    Price::from_e9(e9).unwrap_or(ZERO)
}

const ZERO: Price = match Price::from_e9(0) {
    Some(zero) => zero,
    None => panic!("zero is a price"),
};

fn size(e8: u64) -> Size {
    Size::from_e8(e8).unwrap_or(ONE)
}

const ONE: Size = match Size::from_e8(100_000_000) {
    Some(one) => one,
    None => panic!("one is a size"),
};

/// FNV-1a: the same on every machine and in every version.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

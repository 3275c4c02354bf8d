//! Marks what a source said before, and what it says too late.
//!
//! Per source, instrument and channel (ticks, trades). A tick with the same source sequence, or with the same stamp,
//! prices and sizes as one inside the window is a *duplicate*; one with neither stamp nor sequence only when it equals
//! the tick before it. An older sequence or stamp is *out of order*, but twenty of them over a second, with none in order
//! between, are the new order. The same prices at a new time are news: that the price still holds.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{Verdict, flag};
use tickwire_schemas::{NO_NUMBER, NO_TIME};

use super::{Market, Pair, PerPair, Stage, StateError};
use crate::market::InputRef;
use crate::ring::Mark;

mod window;

use window::Window;

/// The section `[dedupe]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    window_s: u32,
    entries: usize,
}

/// So many ticks out of order with none in order between them...
const LATE_RUN_MAX: u32 = 20;
/// ...over at least so long are the new order. A burst that was held up somewhere is shorter.
const LATE_RUN_NS: i64 = 1_000_000_000;

/// At least so many ticks in order come between two looks for what has left the window; what asks of the window looks always.
const LOOK_EVERY: usize = 64;

/// What makes two ticks the same. A source sequence stands alone; without one it is the stamp, and prices and sizes in the form
/// of their [`fingerprint`]. Greater is later: the sequence or stamp comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key(i64, u64);

impl Key {
    /// Stands for prices and sizes in a key that is a sequence.
    const SEQUENCE: u64 = u64::MAX;
}

/// Four numbers as one, so that a minute of ticks takes half the room, which has to share the processor's first cache with
/// everything else. That two ticks of one stamp with different prices or sizes have the same one happens once in some 2^64.
#[inline]
fn fingerprint([a, b, c, d]: [u64; 4]) -> u64 {
    let folded = |x: u64, y: u64| {
        let product = u128::from(x) * u128::from(y);
        product as u64 ^ (product >> 64) as u64
    };
    // Odd numbers without a pattern: digits of the golden ratio and of roots like it.
    let prices = folded(a ^ 0x9E37_79B9_7F4A_7C15, b ^ 0xD1B5_4A32_D192_ED03);
    let sizes = folded(c ^ 0x8CB9_2BA7_2F3D_8DD7, d ^ 0xABC9_8388_FB8F_AC03);
    prices.rotate_left(23) ^ sizes
}

/// What one channel said lately.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Recent {
    /// The largest sequence so far, if the source has one.
    last_seq: Option<u64>,
    /// The latest stamp so far.
    last_event_ns: Option<i64>,
    /// Ticks out of order since the last one in order, and when the first of them came.
    late_run: u32,
    late_since_ns: i64,
    /// The tick before this one, if it had neither stamp nor sequence.
    previous: Option<Key>,
    /// The first part of the last key in order: a greater one is news without a look.
    greatest: Option<i64>,
    /// Inside the window: keys that were not below any when they came. So they are sorted by their first part, and any is
    /// found by halving.
    in_order: Window,
    /// The others.
    late: Window,
    /// Their keys, to look up.
    #[serde(skip)]
    late_keys: HashSet<Key>,
    /// A stamp beyond this one, which is not below 0, is in order and news: the latest, where nothing is out of order and the
    /// tick before had a stamp; `i64::MAX` where that is to be looked at. While ticks go on so, `last_event_ns` and `greatest`
    /// stay behind.
    goes_on_after_ns: i64,
    /// So many keys in order are held before a look for those that have left the window.
    #[serde(skip)]
    room: usize,
}

impl Recent {
    fn knows(&self, key: &Key) -> bool {
        let is_greater = self.greatest.is_none_or(|greatest| key.0 > greatest);
        (!is_greater && self.is_in_order(key)) || (self.late.len() > 0 && self.late_keys.contains(key))
    }

    /// Whether it is among those in order. Those of one moment stand as they came.
    fn is_in_order(&self, key: &Key) -> bool {
        let known = self.in_order.entries();
        let from = known.partition_point(|(_, known)| known.0 < key.0);
        known[from..].iter().take_while(|(_, known)| known.0 == key.0).any(|(_, known)| known == key)
    }

    /// Lets go of keys from before `horizon_ns`.
    fn expire(&mut self, horizon_ns: i64) {
        self.in_order.expire(horizon_ns);
        while self.late.oldest_ns() < horizon_ns {
            self.forget_late();
        }
    }

    /// Takes up what nearly every tick is: stamped, by no clock ahead of ours, later than all before it, where nothing is out
    /// of order. False, and nothing taken up, where [`Dedupe::check_any`] has to say what it is.
    #[inline(always)]
    fn goes_on(&mut self, now_ns: i64, at: i64, rest: u64, limits: (usize, i64)) -> bool {
        if at <= self.goes_on_after_ns || at > now_ns {
            return false;
        }
        if self.in_order.len() >= self.room && !self.make_room(limits) {
            return false;
        }
        self.goes_on_after_ns = at;
        self.in_order.push(now_ns, Key(at, rest));
        true
    }

    /// Lets go of what has left the window. Nobody looks among the old ones while ticks go on, and how many a tick outlives cannot
    /// be foretold: so many of them leave together. False where the window is full.
    #[inline(never)]
    fn make_room(&mut self, (limit, horizon_ns): (usize, i64)) -> bool {
        self.expire(horizon_ns);
        let count = self.in_order.len();
        self.room = limit.min(count + LOOK_EVERY.max(count / 2));
        count < limit
    }

    /// Takes up what came by [`Recent::goes_on`] since [`Recent::look_ahead`]: it is beyond all that was known then.
    fn catch_up(&mut self) {
        let known = self.last_event_ns.max(self.greatest).unwrap_or(0);
        if self.goes_on_after_ns > known && self.goes_on_after_ns != i64::MAX {
            (self.last_event_ns, self.greatest) = (Some(self.goes_on_after_ns), Some(self.goes_on_after_ns));
        }
    }

    /// Whether what comes next may go on by [`Recent::goes_on`].
    fn look_ahead(&mut self) {
        let is_plain = self.late.len() == 0 && self.late_run == 0 && self.previous.is_none();
        let newest = self.last_event_ns.max(self.greatest).unwrap_or(0).max(0);
        self.goes_on_after_ns = if is_plain { newest } else { i64::MAX };
    }

    /// Takes up a key that is not in the window; beyond `limit` the oldest leaves.
    fn remember(&mut self, now_ns: i64, key: Key, limit: usize) {
        if self.in_order.len() + self.late.len() >= limit {
            if self.late.oldest_ns() < self.in_order.oldest_ns() {
                self.forget_late();
            } else {
                self.in_order.pop();
            }
        }
        if self.in_order.len() == 0 || self.greatest.is_none_or(|greatest| key.0 >= greatest) {
            self.greatest = Some(key.0);
            self.in_order.push(now_ns, key);
        } else {
            self.late.push(now_ns, key);
            self.late_keys.insert(key);
        }
    }

    fn forget_late(&mut self) {
        if let Some(oldest) = self.late.pop() {
            self.late_keys.remove(&oldest);
        }
    }

    /// What comes next is the order from now on: all that is known is late by it.
    fn begin_anew(&mut self) {
        (self.last_seq, self.last_event_ns, self.greatest) = (None, None, None);
        self.late.merge(std::mem::take(&mut self.in_order));
        self.reindex();
    }

    fn reindex(&mut self) {
        self.late_keys = self.late.entries().iter().map(|(_, key)| *key).collect();
    }
}

/// The stage.
pub struct Dedupe {
    market: Market,
    limit: usize,
    window_ns: i64,
    ticks: PerPair<Recent>,
    trades: PerPair<Recent>,
}

impl Dedupe {
    #[inline(never)]
    fn check_any(recent: &mut Recent, seen: &Seen, (limit, horizon_ns): (usize, i64)) -> (Verdict, u32) {
        recent.catch_up();
        recent.expire(horizon_ns);
        let (mut verdict, mut flags) = match (seen.seq, seen.event_ns) {
            (None, None) => (if recent.previous == Some(seen.key) { Verdict::Duplicate } else { Verdict::Accepted }, 0),
            _ if recent.knows(&seen.key) => (Verdict::Duplicate, 0),
            (Some(seq), _) if recent.last_seq.is_some_and(|last| seq < last) => (Verdict::OutOfOrder, 0),
            (None, Some(at)) if recent.last_event_ns.is_some_and(|last| at < last) => {
                (Verdict::OutOfOrder, flag::CLOCK_BACKWARDS)
            }
            _ => (Verdict::Accepted, 0),
        };
        if seen.event_ns.is_some_and(|at| at > seen.now_ns) {
            flags |= flag::CLOCK_AHEAD;
        }
        // One stamp far in the future, a clock set back, a sequence that began anew: none may block a feed for ever.
        match verdict {
            Verdict::OutOfOrder => {
                if recent.late_run == 0 {
                    recent.late_since_ns = seen.now_ns;
                }
                recent.late_run += 1;
                if recent.late_run >= LATE_RUN_MAX && seen.now_ns - recent.late_since_ns >= LATE_RUN_NS {
                    recent.late_run = 0;
                    recent.begin_anew();
                    verdict = Verdict::Accepted;
                }
            }
            // Says nothing about the order: a repeat may be of before or of after.
            Verdict::Duplicate => {}
            _ => recent.late_run = 0,
        }
        if verdict != Verdict::Duplicate {
            recent.last_seq = recent.last_seq.max(seen.seq);
            // A stamp ahead of our clock must not make later ones late.
            recent.last_event_ns = recent.last_event_ns.max(seen.event_ns.map(|at| at.min(seen.now_ns)));
            let is_ordered = seen.seq.is_some() || seen.event_ns.is_some();
            recent.previous = (!is_ordered).then_some(seen.key);
            if is_ordered {
                recent.remember(seen.now_ns, seen.key, limit);
            }
        }
        recent.look_ahead();
        (verdict, flags)
    }
}

/// What matters of an input here.
struct Seen {
    now_ns: i64,
    seq: Option<u64>,
    event_ns: Option<i64>,
    key: Key,
}

impl Seen {
    #[inline]
    fn new(now_ns: i64, seq: u64, event_ns: i64, rest: u64) -> Seen {
        let seq = (seq != NO_NUMBER).then_some(seq);
        let event_ns = (event_ns != NO_TIME).then_some(event_ns);
        let key = match seq {
            // Beyond 2^63 numbers are still told apart, though not in order.
            Some(seq) => Key(seq as i64, Key::SEQUENCE),
            None => Key(event_ns.unwrap_or(NO_TIME), rest),
        };
        Seen { now_ns, seq, event_ns, key }
    }
}

impl Stage for Dedupe {
    const NAME: &'static str = "dedupe";
    const DERIVES: bool = false;
    // A minute of every tick: by far the most that any stage remembers.
    const MOVES: bool = true;
    type Config = Config;

    fn build(config: Config, market: &Market) -> Result<Self, String> {
        if config.entries == 0 {
            return Err("entries is 0, expected at least 1".into());
        }
        Ok(Dedupe {
            market: market.clone(),
            limit: config.entries,
            window_ns: i64::from(config.window_s) * 1_000_000_000,
            ticks: PerPair::new(market),
            trades: PerPair::new(market),
        })
    }

    #[inline(always)]
    fn judge(&mut self, input: InputRef<'_>, pair: Option<Pair>, mark: &mut Mark) {
        let Some(pair) = pair else { return };
        let (recent, now_ns, seq, event_ns, rest) = match input {
            InputRef::Tick(t) => {
                let rest = fingerprint([t.bid_e9 as u64, t.ask_e9 as u64, t.bid_size_e8, t.ask_size_e8]);
                (self.ticks.at(pair), t.ts_recv_ns, t.source_seq, t.ts_event_ns, rest)
            }
            InputRef::Trade(t) => {
                let rest = fingerprint([t.price_e9 as u64, t.size_e8, u64::from(t.aggressor), 0]);
                (self.trades.at(pair), t.ts_recv_ns, t.trade_id, t.ts_event_ns, rest)
            }
            _ => return,
        };
        let limits = (self.limit, now_ns - self.window_ns);
        // No stamp is before all stamps, and so goes on after none.
        if seq == NO_NUMBER && recent.goes_on(now_ns, event_ns, rest, limits) {
            return;
        }
        let (verdict, flags) = Self::check_any(recent, &Seen::new(now_ns, seq, event_ns, rest), limits);
        mark.flags |= flags;
        if mark.verdict == Verdict::Accepted {
            mark.verdict = verdict;
        }
    }

    fn take_over(&mut self, smaller: &mut Dedupe) {
        self.ticks.take_over(&mut smaller.ticks);
        self.trades.take_over(&mut smaller.trades);
    }

    fn save(&self, out: &mut Vec<u8>) {
        let used = |recent: &Recent| {
            recent.last_seq.is_some() || recent.last_event_ns.is_some() || recent.goes_on_after_ns > 0
        };
        let (mut ticks, mut trades) = (Vec::new(), Vec::new());
        self.ticks.save(&self.market, used, &mut ticks);
        self.trades.save(&self.market, used, &mut trades);
        super::group::save_value(&(ticks, trades), out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (ticks, trades): (Vec<u8>, Vec<u8>) = super::group::load_value(bytes)?;
        self.ticks.load(&self.market, &ticks)?;
        self.trades.load(&self.market, &trades)?;
        for source in 0..self.market.sources().len() {
            self.ticks.row(source).iter_mut().chain(self.trades.row(source)).for_each(Recent::reindex);
        }
        Ok(())
    }
}

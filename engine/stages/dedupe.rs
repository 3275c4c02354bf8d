//! Marks what a source said before, and what it says too late.
//!
//! Per source, instrument and channel (ticks, trades). A tick with the same source sequence, or with the same stamp,
//! prices and sizes as one inside the window is a *duplicate*; one with neither stamp nor sequence only when it equals
//! the tick before it. An older sequence or stamp is *out of order*, but twenty of them over a second, with none in order
//! between, are the new order. The same prices at a new time are news: that the price still holds.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{Verdict, flag};
use tickwire_schemas::{NO_NUMBER, NO_TIME};

use super::{Market, Pair, PerPair, Stage, StateError};
use crate::market::Input;
use crate::ring::Mark;

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

/// What makes two ticks the same. A source sequence stands alone; without one it is stamp, prices and sizes. Greater is
/// later: the sequence or stamp comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key(i64, [u64; 4]);

impl Key {
    /// Stands for prices and sizes in a key that is a sequence.
    const SEQUENCE: [u64; 4] = [u64::MAX; 4];
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
    /// The tick before this one.
    previous: Option<Key>,
    /// Inside the window, with receive times: keys that were not below any when they came. So they are sorted by their first
    /// part: a greater one is news without a look, any other is found by halving.
    in_order: VecDeque<(i64, Key)>,
    /// The others, oldest first.
    late: VecDeque<(i64, Key)>,
    /// Their keys, to look up.
    #[serde(skip)]
    late_keys: HashSet<Key>,
}

impl Recent {
    fn knows(&self, key: &Key) -> bool {
        let is_greatest = self.in_order.back().is_none_or(|(_, greatest)| key.0 > greatest.0);
        (!is_greatest && self.is_in_order(key)) || (!self.late.is_empty() && self.late_keys.contains(key))
    }

    /// Whether it is among those in order. Those of one moment stand as they came.
    fn is_in_order(&self, key: &Key) -> bool {
        let from = self.in_order.partition_point(|(_, known)| known.0 < key.0);
        self.in_order.range(from..).take_while(|(_, known)| known.0 == key.0).any(|(_, known)| known == key)
    }

    /// Lets go of keys from before `horizon_ns`.
    #[inline]
    fn expire(&mut self, horizon_ns: i64) {
        while self.in_order.front().is_some_and(|(at, _)| *at < horizon_ns) {
            self.in_order.pop_front();
        }
        while self.late.front().is_some_and(|(at, _)| *at < horizon_ns) {
            self.forget_late();
        }
    }

    /// Takes up what nearly every tick is: stamped, by no clock ahead of ours, later than all before it, where nothing is out
    /// of order. False, and nothing done, where [`Dedupe::check_any`] has to say what it is.
    #[inline]
    fn goes_on(&mut self, seen: &Seen, limit: usize) -> bool {
        let (None, Some(at)) = (seen.seq, seen.event_ns) else { return false };
        let is_later = self.last_event_ns.is_none_or(|last| at > last)
            && self.in_order.back().is_none_or(|(_, greatest)| at > greatest.0);
        if !is_later || at > seen.now_ns || !self.late.is_empty() || self.in_order.len() >= limit {
            return false;
        }
        self.late_run = 0;
        self.previous = Some(seen.key);
        self.last_event_ns = Some(at);
        self.in_order.push_back((seen.now_ns, seen.key));
        true
    }

    /// Takes up a key that is not in the window; beyond `limit` the oldest leaves.
    fn remember(&mut self, now_ns: i64, key: Key, limit: usize) {
        if self.in_order.len() + self.late.len() >= limit {
            let oldest = |keys: &VecDeque<(i64, Key)>| keys.front().map_or(i64::MAX, |(at, _)| *at);
            if oldest(&self.late) < oldest(&self.in_order) {
                self.forget_late();
            } else {
                self.in_order.pop_front();
            }
        }
        if self.in_order.back().is_none_or(|(_, greatest)| key.0 >= greatest.0) {
            self.in_order.push_back((now_ns, key));
        } else {
            self.late.push_back((now_ns, key));
            self.late_keys.insert(key);
        }
    }

    fn forget_late(&mut self) {
        if let Some((_, oldest)) = self.late.pop_front() {
            self.late_keys.remove(&oldest);
        }
    }

    /// What comes next is the order from now on: all that is known is late by it.
    fn begin_anew(&mut self) {
        (self.last_seq, self.last_event_ns) = (None, None);
        self.late.extend(self.in_order.drain(..));
        self.late.make_contiguous().sort_by_key(|(at, _)| *at);
        self.reindex();
    }

    fn reindex(&mut self) {
        self.late_keys = self.late.iter().map(|(_, key)| *key).collect();
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
    #[inline]
    fn check(recent: &mut Recent, seen: &Seen, limit: usize, window_ns: i64) -> (Verdict, u32) {
        recent.expire(seen.now_ns - window_ns);
        if recent.goes_on(seen, limit) { (Verdict::Accepted, 0) } else { Self::check_any(recent, seen, limit) }
    }

    fn check_any(recent: &mut Recent, seen: &Seen, limit: usize) -> (Verdict, u32) {
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
            recent.previous = Some(seen.key);
            recent.last_seq = recent.last_seq.max(seen.seq);
            // A stamp ahead of our clock must not make later ones late.
            recent.last_event_ns = recent.last_event_ns.max(seen.event_ns.map(|at| at.min(seen.now_ns)));
            if seen.seq.is_some() || seen.event_ns.is_some() {
                recent.remember(seen.now_ns, seen.key, limit);
            }
        }
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
    fn new(now_ns: i64, seq: u64, event_ns: i64, rest: [u64; 4]) -> Seen {
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

    #[inline]
    fn judge(&mut self, input: &Input, pair: Option<Pair>, mark: &mut Mark) {
        let Some(pair) = pair else { return };
        let (seen, table) = match input {
            Input::Tick(t) => {
                let rest = [t.bid_e9 as u64, t.ask_e9 as u64, t.bid_size_e8, t.ask_size_e8];
                (Seen::new(t.ts_recv_ns, t.source_seq, t.ts_event_ns, rest), &mut self.ticks)
            }
            Input::Trade(t) => {
                let rest = [t.price_e9 as u64, t.size_e8, u64::from(t.aggressor), 0];
                (Seen::new(t.ts_recv_ns, t.trade_id, t.ts_event_ns, rest), &mut self.trades)
            }
            _ => return,
        };
        let (verdict, flags) = Self::check(table.at(pair), &seen, self.limit, self.window_ns);
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
        let used = |recent: &Recent| recent.previous.is_some();
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

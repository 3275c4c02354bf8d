//! Marks what a source said before, and what it says too late.
//!
//! Per source, instrument and channel (ticks, trades). A tick with the same source sequence, or with the same stamp,
//! prices and sizes as one inside the window is a *duplicate*; one with neither stamp nor sequence only when it equals
//! the tick before it. An older sequence or stamp is *out of order*, but a run of twenty of them is the new order. The
//! same prices at a new time are news: that the price still holds.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{Verdict, flag};
use tickwire_schemas::{NO_NUMBER, NO_TIME};

use super::{Market, PerPair, Stage, StateError};
use crate::market::Input;
use crate::ring::Mark;

/// The section `[dedupe]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    window_s: u32,
    entries: usize,
}

/// So many ticks in a row that are out of order are the new order.
const LATE_RUN_MAX: u32 = 20;

/// What makes two ticks the same. A source sequence stands alone; without one it is stamp, prices and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
struct Key([u64; 5]);

/// What one channel said lately.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Recent {
    /// The largest sequence so far, if the source has one.
    last_seq: Option<u64>,
    /// The latest stamp so far.
    last_event_ns: Option<i64>,
    /// Ticks in a row that were out of order.
    late_run: u32,
    /// The tick before this one.
    previous: Option<Key>,
    /// Keys inside the window with their receive times, oldest first.
    order: VecDeque<(i64, Key)>,
    /// The same keys, to look up.
    #[serde(skip)]
    keys: HashSet<Key, FewBits>,
}

/// Keys are already spread by prices and times: one multiplication mixes them, as good for this table as a slow hash.
type FewBits = std::hash::BuildHasherDefault<Mixer>;

#[derive(Debug, Default, Clone)]
struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Recent {
    /// Lets go of keys from before `horizon_ns`.
    fn expire(&mut self, horizon_ns: i64) {
        while self.order.front().is_some_and(|(at, _)| *at < horizon_ns) {
            self.forget_oldest();
        }
    }

    /// Takes up a key that is not in the window; beyond `limit` the oldest leaves.
    fn remember(&mut self, now_ns: i64, key: Key, limit: usize) {
        if self.order.len() >= limit {
            self.forget_oldest();
        }
        self.order.push_back((now_ns, key));
        self.keys.insert(key);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.keys.remove(&oldest);
        }
    }

    fn reindex(&mut self) {
        self.keys = self.order.iter().map(|(_, key)| *key).collect();
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
        let (mut verdict, mut flags) = match (seen.seq, seen.event_ns) {
            (None, None) => (if recent.previous == Some(seen.key) { Verdict::Duplicate } else { Verdict::Accepted }, 0),
            _ if recent.keys.contains(&seen.key) => (Verdict::Duplicate, 0),
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
        recent.late_run = if verdict == Verdict::OutOfOrder { recent.late_run + 1 } else { 0 };
        if recent.late_run == LATE_RUN_MAX {
            (recent.late_run, recent.last_seq, recent.last_event_ns) = (0, None, None);
            verdict = Verdict::Accepted;
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
    fn new(now_ns: i64, seq: u64, event_ns: i64, rest: [u64; 4]) -> Seen {
        let seq = (seq != NO_NUMBER).then_some(seq);
        let event_ns = (event_ns != NO_TIME).then_some(event_ns);
        let key = match seq {
            Some(seq) => Key([seq, u64::MAX, 0, 0, 0]),
            None => Key([event_ns.unwrap_or(NO_TIME) as u64, rest[0], rest[1], rest[2], rest[3]]),
        };
        Seen { now_ns, seq, event_ns, key }
    }
}

impl Stage for Dedupe {
    const NAME: &'static str = "dedupe";
    const DERIVES: bool = false;
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

    fn judge(&mut self, input: &Input, mark: &mut Mark) {
        let (head, seen, table) = match input {
            Input::Tick(t) => {
                let rest = [t.bid_e9 as u64, t.ask_e9 as u64, t.bid_size_e8, t.ask_size_e8];
                (&t.head, Seen::new(t.ts_recv_ns, t.source_seq, t.ts_event_ns, rest), &mut self.ticks)
            }
            Input::Trade(t) => {
                let rest = [t.price_e9 as u64, t.size_e8, u64::from(t.aggressor), 0];
                (&t.head, Seen::new(t.ts_recv_ns, t.trade_id, t.ts_event_ns, rest), &mut self.trades)
            }
            _ => return,
        };
        let Some(pair) = self.market.pair(head) else { return };
        let (verdict, flags) = Self::check(table.at(pair), &seen, self.limit, self.window_ns);
        mark.flags |= flags;
        if mark.verdict == Verdict::Accepted {
            mark.verdict = verdict;
        }
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

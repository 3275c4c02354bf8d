//! Judges prices: each check that fails either *refuses* a tick or *flags* it, as configured.
//!
//! A refused tick is kept with its reasons and counts nowhere. Flags never exclude and never lower confidence. A price
//! that jumps is refused, but not for ever: a level that persists (`level_ticks` ticks over `level_ms`), or that another
//! global source shows too, becomes the new level. Likewise a spread that stays wide is only flagged from then on: news
//! widens spreads for minutes, and a feed must not be mute through them. The first price of a source is measured against what other global
//! sources said within `confirm_ms`.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Tick, Trade};
use tickwire_schemas::words::{Check, Verdict, flag};
use tickwire_schemas::{NO_PRICE, NO_TIME};

use super::{Market, Pair, PerPair, Stage, StateError};
use crate::market::{Calendar, Class, InputRef, Span};
use crate::ring::Mark;

mod limits;

use limits::Usual;
pub use limits::{Config, Distance, Limits};

/// What one source last said about one instrument that was believed, and what it says that is not believed yet.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Level {
    /// Twice the mid of the last good tick: a sum of two prices needs no rounding. 0 before the first.
    good_sum: i64,
    good_recv_ns: i64,
    /// Time of the previous tick that was not refused, for the interval; 0, which is longer ago than any, before the first.
    last_ns: i64,
    /// A level beyond the jump limit: its sum, how often it was seen, and since when.
    candidate_sum: i64,
    candidate_ticks: u32,
    candidate_since_ns: i64,
    candidate_last_ns: i64,
    /// Ticks in a row wider than allowed, and since when.
    wide_ticks: u32,
    wide_since_ns: i64,
    /// What the next tick keeps within if it is like those before. Not saved: the first tick after a start computes it again.
    #[serde(skip)]
    usual: Usual,
}

impl Level {
    /// Whether a spread beyond the limit has lasted long enough to be what the source really quotes.
    #[inline]
    fn stays_wide(&mut self, failed: u32, now_ns: i64, limits: &Limits) -> bool {
        if failed & Check::Spread.bit() == 0 {
            // Crossed prices have no spread, and say nothing of it.
            if failed & Check::Crossed.bit() == 0 {
                self.wide_ticks = 0;
            }
            return false;
        }
        if self.wide_ticks == 0 {
            self.wide_since_ns = now_ns;
        }
        self.wide_ticks = self.wide_ticks.saturating_add(1);
        self.wide_ticks >= limits.level_ticks && now_ns - self.wide_since_ns >= limits.level_ns
    }

    /// Takes up what nearly every tick is: all is as usual but for the interval, which many a feed does not keep. False, and
    /// nothing done, where [`Validate::judge_any`] has to say what it is.
    #[inline(always)]
    fn goes_on(&mut self, tick: &Tick, mark: &mut Mark) -> bool {
        let Usual { sums_from, sums, spread, age_ns, open_from_ns, open_ns, interval_ns, refuse } = self.usual;
        let (bid, ask, now_ns) = (tick.bid_e9, tick.ask_e9, tick.ts_recv_ns);
        let said = Said { sum: bid.wrapping_add(ask), now_ns, said_ns: said_ns(tick) };
        let too_soon = self.too_soon(&said, interval_ns);
        // An absent price is no positive number. Of two that are, a sum beyond 64 bits is among no usual ones.
        let is_usual = 0 < bid
            && bid <= ask
            && ask.wrapping_sub(bid) as u64 <= spread
            && (said.sum.wrapping_sub(sums_from) as u64) < sums
            && now_ns.wrapping_sub(said.said_ns) as u64 <= age_ns
            && (now_ns.wrapping_sub(open_from_ns) as u64) < open_ns
            && too_soon & refuse == 0;
        if is_usual {
            mark.flags |= too_soon;
            self.last_ns = said.said_ns;
            self.good_sum = said.sum;
            self.good_recv_ns = now_ns;
        }
        is_usual
    }

    /// Looks whether the next tick may go on by [`Level::goes_on`], and within what.
    fn look_ahead(&mut self, limits: &Limits, open: Option<Span>, now_ns: i64) {
        // A candidate or wide spreads are to be counted.
        let is_settled = self.good_sum > 0 && self.candidate_ticks == 0 && self.wide_ticks == 0;
        match open {
            Some(open) if is_settled => {
                if !self.usual.holds(self.good_sum, now_ns) {
                    self.usual = limits.usual(self.good_sum, open);
                }
            }
            _ => self.usual = Usual::default(),
        }
    }

    /// The check of the interval: as a number without a sign a time before the last is a very long one.
    #[inline]
    fn too_soon(&self, said: &Said, interval_ns: u64) -> u32 {
        u32::from((said.said_ns.wrapping_sub(self.last_ns) as u64) < interval_ns) * Check::Interval.bit()
    }

    /// Leaves the checks that failed on the mark, and takes up what is not refused by them.
    #[inline]
    fn conclude(&mut self, said: Said, (failed, refuse): (u32, u32), mark: &mut Mark) {
        mark.reasons |= (failed & refuse) as u16;
        mark.flags |= failed & !refuse;
        if mark.reasons != 0 {
            mark.verdict = Verdict::Refused;
            return;
        }
        // Of a refused tick the next one is not too soon: else a fast feed would be refused for ever.
        self.last_ns = said.said_ns;
        if said.sum != 0 {
            self.good_sum = said.sum;
            self.good_recv_ns = said.now_ns;
            self.candidate_ticks = 0;
            self.candidate_sum = 0;
        }
    }
}

/// What matters of a tick to its source's level.
#[derive(Clone, Copy)]
struct Said {
    /// Twice the mid, 0 without a price.
    sum: i64,
    /// When it was received, and when the source said it.
    now_ns: i64,
    said_ns: i64,
}

/// The stage.
pub struct Validate {
    market: Market,
    limits: Vec<Limits>,
    calendars: Vec<Calendar>,
    levels: PerPair<Level>,
    last_trade_sum: PerPair<i64>,
}

/// What is absent is neither positive nor above anything.
const _: () = assert!(NO_PRICE < 0);

impl Validate {
    /// Checks that look at the prices of this tick alone.
    fn price_checks(limits: &Limits, bid: i64, ask: i64) -> u32 {
        let mut failed = 0;
        if bid == NO_PRICE || ask == NO_PRICE {
            failed |= Check::EmptySide.bit();
        }
        if (bid != NO_PRICE && bid <= 0) || (ask != NO_PRICE && ask <= 0) || (bid == NO_PRICE && ask == NO_PRICE) {
            failed |= Check::NonPositive.bit();
        }
        if bid != NO_PRICE && ask != NO_PRICE {
            if bid > ask {
                failed |= Check::Crossed.bit();
            } else if limits.too_wide(bid, ask) {
                failed |= Check::Spread.bit();
            }
        }
        failed
    }

    /// The level to compare with: the source's own, for its first price another's, if one is fresh. 0 when there is none.
    fn known_sum(&self, pair: Pair, now_ns: i64) -> i64 {
        let own = self.levels.get(pair).good_sum;
        if own != 0 {
            return own;
        }
        let others = (0..self.market.sources().len()).filter(|s| self.market.is_global(*s));
        let levels = others.map(|source| self.levels.get((source, pair.1)));
        let fresh = levels.filter(|l| l.good_sum != 0 && now_ns - l.good_recv_ns <= self.limits[pair.1].confirm_ns);
        fresh.max_by_key(|level| level.good_recv_ns).map_or(0, |level| level.good_sum)
    }

    /// Whether a sum beyond the jump limit is believed after all: it persisted, or another source shows it too.
    fn persists(&mut self, pair: Pair, sum: i64, now_ns: i64) -> bool {
        let limits = &self.limits[pair.1];
        // A private source confirms nothing: what its owner feeds must not move the common price.
        let others = (0..self.market.sources().len()).filter(|s| *s != pair.0 && self.market.is_global(*s));
        let confirmed = { others }.any(|source| {
            let other = self.levels.get((source, pair.1));
            let near =
                |level: i64, at_ns: i64| level != 0 && now_ns - at_ns <= limits.confirm_ns && !limits.jumps(level, sum);
            near(other.good_sum, other.good_recv_ns) || near(other.candidate_sum, other.candidate_last_ns)
        });
        let level = self.levels.at(pair);
        if level.candidate_ticks == 0 || limits.jumps(level.candidate_sum, sum) {
            level.candidate_ticks = 0;
            level.candidate_since_ns = now_ns;
        }
        level.candidate_sum = sum;
        level.candidate_last_ns = now_ns;
        level.candidate_ticks += 1;
        let lasted = now_ns - level.candidate_since_ns >= limits.level_ns;
        confirmed || (level.candidate_ticks >= limits.level_ticks && lasted)
    }

    #[inline(always)]
    fn judge_tick(&mut self, tick: &Tick, pair: Pair, mark: &mut Mark) {
        if !self.levels.at(pair).goes_on(tick, mark) {
            *mark = self.judge_any(tick, pair, *mark);
        }
    }

    /// Takes the mark and gives it back, so that nobody needs an address of it: what has none stays in registers.
    #[inline(never)]
    fn judge_any(&mut self, tick: &Tick, pair: Pair, mut mark: Mark) -> Mark {
        self.check(tick, pair, &mut mark);
        let limits = &self.limits[pair.1];
        let open = self.calendars[limits.class as usize].known_open();
        self.levels.at(pair).look_ahead(limits, open, tick.ts_recv_ns);
        mark
    }

    fn check(&mut self, tick: &Tick, pair: Pair, mark: &mut Mark) {
        let limits = &self.limits[pair.1];
        let now_ns = tick.ts_recv_ns;
        let mut failed = stamp_checks(limits, tick.ts_event_ns, now_ns, tick.flags)
            | Self::price_checks(limits, tick.bid_e9, tick.ask_e9);
        if !self.calendars[limits.class as usize].is_open(now_ns) {
            failed |= Check::Session.bit();
        }
        let level = self.levels.at(pair);
        let said = Said { sum: sum_of(tick), now_ns, said_ns: said_ns(tick) };
        failed |= level.too_soon(&said, limits.interval_ns as u64);
        let mut refuse = limits.refuse;
        if level.stays_wide(failed, now_ns, limits) {
            refuse &= !Check::Spread.bit();
        }
        let is_broken = failed & refuse != 0 || said.sum == 0;
        // Nearly always the source's own last level is known, and near.
        if !is_broken && (level.good_sum == 0 || limits.jumps(level.good_sum, said.sum)) {
            return self.judge_far(said, pair, (failed, refuse), mark);
        }
        level.conclude(said, (failed, refuse), mark);
    }

    /// A price that the source's own last level does not confirm.
    #[cold]
    fn judge_far(&mut self, said: Said, pair: Pair, (mut failed, refuse): (u32, u32), mark: &mut Mark) {
        let known = self.known_sum(pair, said.now_ns);
        if known != 0 && self.limits[pair.1].jumps(known, said.sum) {
            if self.persists(pair, said.sum, said.now_ns) {
                mark.flags |= flag::NEW_LEVEL;
            } else {
                failed |= Check::Jump.bit();
            }
        }
        self.levels.at(pair).conclude(said, (failed, refuse), mark);
    }

    /// Trades have one price: it must be positive, not stale, and near the last one or the last good mid.
    fn judge_trade(&mut self, trade: &Trade, pair: Pair, mark: &mut Mark) {
        let limits = &self.limits[pair.1];
        let mut failed = stamp_checks(limits, trade.ts_event_ns, trade.ts_recv_ns, trade.flags);
        let sum = trade.price_e9.saturating_mul(2);
        if trade.price_e9 <= 0 {
            failed |= Check::NonPositive.bit();
        } else {
            let mid = self.levels.get(pair).good_sum;
            let last = *self.last_trade_sum.at(pair);
            let far = |level: i64| level != 0 && limits.jumps(level, sum);
            if (mid != 0 || last != 0) && (mid == 0 || far(mid)) && (last == 0 || far(last)) {
                failed |= Check::Jump.bit();
            }
            // A trade happened: at the second of its kind the price is believed.
            *self.last_trade_sum.at(pair) = sum;
        }
        mark.reasons |= (failed & limits.refuse) as u16;
        mark.flags |= failed & !limits.refuse;
        if mark.reasons != 0 {
            mark.verdict = Verdict::Refused;
        }
    }
}

/// Stale and future stamps. The state on subscription is as old as the last change: that is no fault.
#[inline]
fn stamp_checks(limits: &Limits, event_ns: i64, recv_ns: i64, flags: u32) -> u32 {
    if event_ns == NO_TIME {
        return 0;
    }
    // Nearly always. A difference that is no number of 64 bits is not among these either.
    if recv_ns.wrapping_sub(event_ns) as u64 <= limits.stale_ns as u64 {
        return 0;
    }
    let age_ns = recv_ns.saturating_sub(event_ns);
    if age_ns < -limits.future_ns {
        return Check::Future.bit();
    }
    let stale = limits.stale_ns > 0 && age_ns > limits.stale_ns && flags & flag::SNAPSHOT == 0;
    if stale { Check::Stale.bit() } else { 0 }
}

/// Several ticks of one socket read share its receive time; the source's own stamps tell them apart.
#[inline]
fn said_ns(tick: &Tick) -> i64 {
    if tick.ts_event_ns == NO_TIME { tick.ts_recv_ns } else { tick.ts_event_ns }
}

/// Twice the mid, or twice the one side there is; 0 when there is none.
#[inline]
fn sum_of(tick: &Tick) -> i64 {
    if tick.bid_e9 > 0 && tick.ask_e9 > 0 {
        return tick.bid_e9.saturating_add(tick.ask_e9);
    }
    match (tick.bid_e9, tick.ask_e9) {
        (NO_PRICE, NO_PRICE) => 0,
        (NO_PRICE, one) | (one, NO_PRICE) => one.saturating_mul(2),
        (bid, ask) => bid.saturating_add(ask),
    }
}

impl Stage for Validate {
    const NAME: &'static str = "validate";
    const DERIVES: bool = false;
    type Config = Config;

    fn build(config: Config, market: &Market) -> Result<Self, String> {
        config.check(market)?;
        let limits = market.instruments().iter().map(|i| config.limits(i)).collect::<Result<_, _>>()?;
        let calendars = Class::ALL.iter().map(|class| market.calendar(*class)).collect::<Result<_, _>>()?;
        let levels = PerPair::new(market);
        Ok(Validate { market: market.clone(), limits, calendars, levels, last_trade_sum: PerPair::new(market) })
    }

    #[inline(always)]
    fn judge(&mut self, input: InputRef<'_>, pair: Option<Pair>, mark: &mut Mark) {
        // What was said before or too late needs no second judgement, and must not move the level.
        let (Verdict::Accepted, Some(pair)) = (mark.verdict, pair) else { return };
        match input {
            InputRef::Tick(tick) => self.judge_tick(tick, pair, mark),
            InputRef::Trade(trade) => self.judge_trade(trade, pair, mark),
            _ => {}
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        let (mut levels, mut trades) = (Vec::new(), Vec::new());
        self.levels.save(
            &self.market,
            |level| level.last_ns != 0 || level.candidate_ticks + level.wide_ticks != 0,
            &mut levels,
        );
        self.last_trade_sum.save(&self.market, |sum| *sum != 0, &mut trades);
        super::group::save_value(&(levels, trades), out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (levels, trades): (Vec<u8>, Vec<u8>) = super::group::load_value(bytes)?;
        self.levels.load(&self.market, &levels)?;
        self.last_trade_sum.load(&self.market, &trades)
    }
}

//! Every hole in a source's data, opened when it begins, closed when data flows again, and in the end repaired or lost.
//!
//! A hole belongs to one source and one instrument that had data. It begins with the last data before the source went
//! away (disconnected, mute, stopped, or the engine itself was down) and ends with the first data after; a source that
//! goes away for another reason while a hole is open makes no second one. Inputs that were dropped at the door make holes
//! that are closed at once, from the last input before to the first after, in every instrument of the source that had data
//! and has no hole open; one for all of them where none had any. Which instruments the dropped inputs were of nobody
//! knows: each of these holes counts them all.
//!
//! A state that names an instrument is about that one alone: where a source has several connections, one of them broke.
//! Stopped then means that it is not subscribed any more: an open hole ends there, and no later one begins.
//!
//! After a start of the engine, holes that were left open are told again, under the key that they have.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Drop as DropRecord, Gap, Head, Repair, SourceState};
use tickwire_schemas::words::{Cause, GapState, RepairStep, SourceStatus};
use tickwire_schemas::{INSTRUMENT_ALL, NO_NUMBER, NO_TIME};

use super::{Derived, Emit, Market, Pair, PerPair, Stage, StateError};
use crate::market::InputRef;
use crate::ring::Mark;

/// The section `[gaps]`: it has no keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// The flow of one source and instrument.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Flow {
    /// Receive time of the last data; 0 before the first.
    last_data_ns: i64,
    /// The hole that is open, if one is.
    open: Option<Hole>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Hole {
    epoch: u32,
    seq: u64,
    from_ns: i64,
    cause: u8,
}

/// The stage.
pub struct Gaps {
    market: Market,
    flows: PerPair<Flow>,
}

impl Gaps {
    /// Opens a hole for every instrument of a source that had data and has none open.
    fn open(&mut self, source: usize, now_ns: i64, cause: u8, out: &mut Derived<'_, impl Emit>) {
        for instrument in 0..self.market.instruments().len() {
            self.open_one((source, instrument), now_ns, cause, out);
        }
    }

    fn open_one(&mut self, pair: Pair, now_ns: i64, cause: u8, out: &mut Derived<'_, impl Emit>) {
        let flow = self.flows.at(pair);
        if flow.last_data_ns == 0 || flow.open.is_some() {
            return;
        }
        let (epoch, seq) = out.next_key();
        let hole = Hole { epoch, seq, from_ns: flow.last_data_ns, cause };
        flow.open = Some(hole);
        out.gap(hole.record(self.ids(pair), now_ns, NO_TIME, GapState::Open));
    }

    /// Nobody wants this instrument of this source any more: what is missing ends here, and silence is none.
    fn end(&mut self, pair: Pair, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        if let Some(hole) = std::mem::take(self.flows.at(pair)).open {
            out.gap(hole.record(self.ids(pair), now_ns, now_ns, GapState::Closed));
        }
    }

    fn ids(&self, (source, instrument): Pair) -> (u32, u32) {
        (self.market.sources()[source].id.0, self.market.instruments()[instrument].id.0)
    }

    #[inline]
    fn on_data(&mut self, pair: Option<Pair>, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        let Some(pair) = pair else { return };
        let flow = self.flows.at(pair);
        flow.last_data_ns = now_ns;
        if flow.open.is_some() {
            self.close(pair, now_ns, out);
        }
    }

    #[cold]
    fn close(&mut self, pair: Pair, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        if let Some(hole) = self.flows.at(pair).open.take() {
            out.gap(hole.record(self.ids(pair), now_ns, now_ns, GapState::Closed));
        }
    }

    fn on_state(&mut self, state: &SourceState, out: &mut Derived<'_, impl Emit>) {
        // Connecting too: where the ring was full it may be all that is left of a disconnection.
        let is_away = state.status != SourceStatus::Live.code();
        let (true, Some(source)) = (is_away, self.market.source(state.head.source_id)) else { return };
        if state.head.instrument_id == INSTRUMENT_ALL {
            return self.open(source, state.ts_recv_ns, state.cause, out);
        }
        let Some(instrument) = self.market.instrument(state.head.instrument_id) else { return };
        if state.status == SourceStatus::Stopped.code() {
            self.end((source, instrument), state.ts_recv_ns, out);
        } else {
            self.open_one((source, instrument), state.ts_recv_ns, state.cause, out);
        }
    }

    fn on_drop(&mut self, drop: &DropRecord, out: &mut Derived<'_, impl Emit>) {
        if drop.cause == Cause::Restart.code() {
            for source in 0..self.market.sources().len() {
                self.tell_again(source, drop.to_ns, out);
                self.open(source, drop.to_ns, drop.cause, out);
            }
            return;
        }
        let source = self.market.source(drop.head.source_id);
        let flows = source.map_or(&[][..], |source| self.flows.row(source));
        let mut had_data = false;
        for (instrument, flow) in flows.iter().enumerate().filter(|(_, flow)| flow.last_data_ns != 0) {
            had_data = true;
            // What is open reaches over this.
            if flow.open.is_none() {
                dropped(drop, self.market.instruments()[instrument].id.0, out);
            }
        }
        if !had_data {
            dropped(drop, INSTRUMENT_ALL, out);
        }
    }

    /// Publishes the holes that were open when the engine stopped.
    fn tell_again(&mut self, source: usize, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        for instrument in 0..self.market.instruments().len() {
            if let Some(hole) = self.flows.get((source, instrument)).open {
                out.gap(hole.record(self.ids((source, instrument)), now_ns, NO_TIME, GapState::Open));
            }
        }
    }

    /// The end of a repair: all that is known of the hole comes with it.
    fn on_repair(&self, repair: &Repair, out: &mut Derived<'_, impl Emit>) {
        let state = match RepairStep::from_code(repair.step) {
            Some(RepairStep::Repaired) => GapState::Repaired,
            Some(RepairStep::Lost) => GapState::Lost,
            Some(RepairStep::Bar) | None => return,
        };
        let (source_id, instrument_id) = (repair.head.source_id, repair.head.instrument_id);
        let is_known = instrument_id == INSTRUMENT_ALL || self.market.instrument(instrument_id).is_some();
        if is_known && self.market.source(source_id).is_some() {
            out.gap(Gap {
                head: Head { source_id, instrument_id, ..Head::default() },
                ts_recv_ns: repair.ts_recv_ns,
                from_ns: repair.from_ns,
                to_ns: repair.to_ns,
                gap_id: repair.gap_id,
                lost: repair.lost,
                gap_epoch: repair.gap_epoch,
                cause: repair.cause,
                state: state.code(),
            });
        }
    }
}

/// Publishes the hole that dropped inputs made in an instrument.
fn dropped(drop: &DropRecord, instrument_id: u32, out: &mut Derived<'_, impl Emit>) {
    let (epoch, seq) = out.next_key();
    let hole = Hole { epoch, seq, from_ns: drop.from_ns, cause: drop.cause };
    let gap = hole.record((drop.head.source_id, instrument_id), drop.to_ns, drop.to_ns, GapState::Closed);
    out.gap(Gap { lost: drop.count, ..gap });
}

impl Hole {
    fn record(&self, (source_id, instrument_id): (u32, u32), now_ns: i64, to_ns: i64, state: GapState) -> Gap {
        Gap {
            head: Head { source_id, instrument_id, ..Head::default() },
            ts_recv_ns: now_ns,
            from_ns: self.from_ns,
            to_ns,
            gap_id: self.seq,
            lost: NO_NUMBER,
            gap_epoch: self.epoch,
            cause: self.cause,
            state: state.code(),
        }
    }
}

impl Stage for Gaps {
    const NAME: &'static str = "gaps";
    const DERIVES: bool = true;
    type Config = Config;

    fn build(_config: Config, market: &Market) -> Result<Self, String> {
        Ok(Gaps { market: market.clone(), flows: PerPair::new(market) })
    }

    #[inline]
    fn derive(&mut self, input: InputRef<'_>, pair: Option<Pair>, _mark: Mark, out: &mut Derived<'_, impl Emit>) {
        match input {
            // Refused data is data: the source speaks, whatever it says.
            InputRef::Tick(tick) => self.on_data(pair, tick.ts_recv_ns, out),
            InputRef::Trade(trade) => self.on_data(pair, trade.ts_recv_ns, out),
            InputRef::SourceState(state) => self.on_state(state, out),
            InputRef::Drop(drop) => self.on_drop(drop, out),
            InputRef::Repair(repair) => self.on_repair(repair, out),
            InputRef::Timer(_) => {}
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        self.flows.save(&self.market, |flow| flow.last_data_ns != 0, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.flows.load(&self.market, bytes)
    }
}

#[cfg(test)]
mod tests;

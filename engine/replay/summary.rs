//! What a replay counted, and how it is told.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{BarState, Check, QuoteState, Verdict};

use crate::stages::Market;

/// Bits of `reasons` that are checks.
const CHECKS: usize = 16;

/// What came of one source's ticks and trades.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Ticks.
    pub ticks: u64,
    /// Trades.
    pub trades: u64,
    /// Both by verdict, by its code.
    pub verdicts: [u64; Verdict::ALL.len()],
    /// Failed checks of what was refused, by their code.
    pub reasons: [u64; CHECKS],
    /// Too late to change their bar.
    pub late: u64,
}

/// What a replay counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// By dense index.
    pub sources: Vec<SourceCounts>,
    /// Dense index by persistent id.
    index: Vec<u16>,
    /// Best prices published.
    pub quotes: u64,
    /// Those whose bid is above their ask.
    pub crossed: u64,
    /// Those where one source bids more than another asks.
    pub cross_source: u64,
    /// Bars by state, by its code.
    pub bars: [u64; BarState::ALL.len()],
    /// Values of indicators.
    pub indicators: u64,
    /// Holes, opened or closed.
    pub gaps: u64,
    /// Ticks of the clock.
    pub timers: u64,
}

impl Summary {
    /// Of nothing yet.
    #[must_use]
    pub fn new(market: &Market) -> Summary {
        Summary {
            sources: vec![SourceCounts::default(); market.sources().len()],
            index: market.source_table().to_vec(),
            ..Summary::default()
        }
    }

    fn of(&mut self, source_id: u32) -> Option<&mut SourceCounts> {
        let dense = *self.index.get(source_id as usize)?;
        self.sources.get_mut(usize::from(dense))
    }

    #[inline]
    pub(super) fn tick(&mut self, source_id: u32, verdict: u8, reasons: u32) {
        if let Some(counts) = self.of(source_id) {
            counts.ticks += 1;
            counts.judged(verdict, reasons);
        }
    }

    pub(super) fn trade(&mut self, source_id: u32, verdict: u8, reasons: u32) {
        if let Some(counts) = self.of(source_id) {
            counts.trades += 1;
            counts.judged(verdict, reasons);
        }
    }

    pub(super) fn quote(&mut self, state: u8, crosses: bool) {
        self.quotes += 1;
        self.crossed += u64::from(state == QuoteState::Crossed.code());
        self.cross_source += u64::from(crosses);
    }

    pub(super) fn bar(&mut self, state: u8) {
        if let Some(count) = self.bars.get_mut(usize::from(state)) {
            *count += 1;
        }
    }

    pub(super) fn late(&mut self, source: usize) {
        if let Some(counts) = self.sources.get_mut(source) {
            counts.late += 1;
        }
    }

    /// Ticks of all sources.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.sources.iter().map(|source| source.ticks).sum()
    }

    /// Trades of all sources.
    #[must_use]
    pub fn trades(&self) -> u64 {
        self.sources.iter().map(|source| source.trades).sum()
    }

    /// As text for people, a line for each kind of record and each source.
    #[must_use]
    pub fn render(&self, market: &Market) -> String {
        let mut text = String::new();
        let mut line = |name: &str, rest: String| {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "{name:<12} {rest}");
        };
        line("ticks", self.ticks().to_string());
        line("trades", self.trades().to_string());
        for (source, counts) in market.sources().iter().zip(&self.sources) {
            line("source", format!("{}: {}", source.name, counts.render()));
        }
        line("quotes", format!("{}, crossed {}, cross-source {}", self.quotes, self.crossed, self.cross_source));
        let bars = BarState::ALL.iter().zip(&self.bars).map(|(state, count)| format!("{state} {count}"));
        line("bars", bars.collect::<Vec<_>>().join(", "));
        line("indicators", self.indicators.to_string());
        line("gaps", self.gaps.to_string());
        line("late ticks", self.sources.iter().map(|source| source.late).sum::<u64>().to_string());
        text
    }
}

impl SourceCounts {
    #[inline]
    fn judged(&mut self, verdict: u8, reasons: u32) {
        if let Some(count) = self.verdicts.get_mut(usize::from(verdict)) {
            *count += 1;
        }
        if reasons != 0 {
            for check in Check::ALL.iter().filter(|check| reasons & check.bit() != 0) {
                self.reasons[usize::from(check.code())] += 1;
            }
        }
    }

    fn render(&self) -> String {
        let verdicts = Verdict::ALL.iter().zip(&self.verdicts).map(|(verdict, count)| format!("{verdict} {count}"));
        let reasons = Check::ALL.iter().map(|check| (check, self.reasons[usize::from(check.code())]));
        let reasons: Vec<String> =
            reasons.filter(|(_, count)| *count > 0).map(|(check, count)| format!("{check} {count}")).collect();
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!("{}{why}", verdicts.collect::<Vec<_>>().join(", "))
    }
}

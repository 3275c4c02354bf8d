//! What one viewer is shown of the board: all at first, then what has changed since they last looked.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tickwire_schemas::record::{Gap, Quote, Tick};
use tickwire_schemas::words::{GapState, QuoteState, SourceStatus};
use tickwire_schemas::{INSTRUMENT_ALL, NO_TIME, SOURCE_BEST};
use utoipa::ToSchema;

use super::board::{Board, Placed, SeriesId, State};
use crate::console::api::time;
use crate::console::viewer::Viewer;
use crate::market::{Price, Size};
use crate::storage::market_data::Bar;

/// When nothing at all was journaled for so long the stages stand still, whatever their last word was: the clock alone
/// writes each second.
const SILENT_NS: i64 = 10_000_000_000;

/// The best bid and ask of a symbol.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in crate::console) struct QuoteShown {
    symbol: String,
    #[schema(required)]
    bid: Option<String>,
    #[schema(required)]
    ask: Option<String>,
    /// Who makes the bid; `null` when nobody, or a source that the viewer may not read.
    #[schema(required)]
    bid_source: Option<String>,
    #[schema(required)]
    ask_source: Option<String>,
    /// The spread in pips of the instrument; a measure, not a price.
    #[schema(required)]
    spread_pips: Option<f64>,
    /// `ok`, `single` (one source alone), `stale`, `crossed` or `locked`.
    state: &'static str,
    /// When the input that changed it was received.
    at: String,
}

/// What one source says of a symbol.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in crate::console) struct DepthShown {
    source: String,
    #[schema(required)]
    bid: Option<String>,
    #[schema(required)]
    ask: Option<String>,
    #[schema(required)]
    bid_size: Option<String>,
    #[schema(required)]
    ask_size: Option<String>,
    /// When it was received.
    at: String,
    /// `fresh`, `stale` (too old to count), or what the source is instead of live: `connecting`, `mute`, `down`,
    /// `stopped`.
    state: &'static str,
}

/// A hole in the data.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in crate::console) struct GapShown {
    source: String,
    /// `null`: of all symbols of the source.
    #[schema(required)]
    symbol: Option<String>,
    #[schema(required)]
    from: Option<String>,
    /// `null` while it is open.
    #[schema(required)]
    to: Option<String>,
    /// `open`, `closed`, `repaired` or `lost`.
    state: &'static str,
}

fn price(e9: i64) -> Option<String> {
    Price::from_e9(e9).map(|price| price.to_string())
}

fn size(e8: u64) -> Option<String> {
    Size::from_e8(e8).map(|size| size.to_string())
}

fn moment(ns: i64) -> Option<String> {
    (ns != NO_TIME).then(|| time(ns))
}

/// What a viewer was shown last: versions and states, no larger than the board itself.
#[derive(Debug, Default)]
pub(in crate::console) struct Looked {
    quotes: HashMap<u32, (u64, &'static str)>,
    depth: HashMap<u32, (u64, &'static str)>,
    /// The version up to which bars and holes were shown.
    version: u64,
}

impl Board {
    /// The quotes that changed since the last look, by symbol.
    pub(in crate::console) fn quotes(&self, viewer: &Viewer, looked: &mut Looked, now_ns: i64) -> Vec<QuoteShown> {
        let state = self.state();
        let silent = now_ns.saturating_sub(state.published_ns) > SILENT_NS;
        let mut changed = BTreeMap::new();
        for (instrument, Placed { value, version }) in &state.quotes {
            let word = match QuoteState::from_code(value.state) {
                Some(known) if !silent => known.word(),
                _ => QuoteState::Stale.word(),
            };
            if looked.quotes.insert(*instrument, (*version, word)) != Some((*version, word))
                && let Some(shown) = quote_shown(&state, viewer, value, word)
            {
                changed.insert(shown.symbol.clone(), shown);
            }
        }
        changed.into_values().collect()
    }

    /// The prices of a symbol by source, of those that the viewer may read, that changed since the last look.
    pub(in crate::console) fn depth(
        &self,
        viewer: &Viewer,
        symbol: &str,
        looked: &mut Looked,
        now_ns: i64,
    ) -> Vec<DepthShown> {
        let state = self.state();
        let Some(instrument) = state.instrument_of(symbol) else { return Vec::new() };
        let mut changed = Vec::new();
        for ((_, source), Placed { value, version }) in state.depth.range((instrument, 0)..=(instrument, u32::MAX)) {
            let Some(of) = state.sources.get(source).filter(|of| viewer.reads(of)) else { continue };
            let word = self.state_of(&state, *source, value, now_ns);
            if looked.depth.insert(*source, (*version, word)) != Some((*version, word)) {
                changed.push(DepthShown {
                    source: of.name.clone(),
                    bid: price(value.bid_e9),
                    ask: price(value.ask_e9),
                    bid_size: size(value.bid_size_e8),
                    ask_size: size(value.ask_size_e8),
                    at: time(value.ts_recv_ns),
                    state: word,
                });
            }
        }
        changed
    }

    fn state_of(&self, state: &State, source: u32, tick: &Tick, now_ns: i64) -> &'static str {
        match state.status.get(&source) {
            None | Some(SourceStatus::Live) => {
                let age_ns = now_ns.saturating_sub(tick.ts_recv_ns);
                let too_old = self.max_age_ns > 0 && age_ns > self.max_age_ns;
                if too_old { "stale" } else { "fresh" }
            }
            Some(other) => other.word(),
        }
    }

    /// The bars of a series that changed, and the holes of its symbol that did, of sources that the viewer may read, since
    /// the last look; by when they changed.
    pub(in crate::console) fn bars_and_gaps(
        &self,
        viewer: &Viewer,
        (source, symbol, timeframe): (&str, &str, u8),
        looked: &mut Looked,
    ) -> (Vec<Bar>, Vec<GapShown>) {
        let state = self.state();
        let since = std::mem::replace(&mut looked.version, state.version);
        let instrument = state.instrument_of(symbol);
        let series: Option<SeriesId> = state.source_of(source).zip(instrument).map(|(s, i)| (s, i, timeframe));
        let bars = series.and_then(|series| state.bars.get(&series)).copied().unwrap_or_default();
        let bars = [bars.revised, bars.closed, bars.forming].into_iter().flatten();
        let bars = bars.filter(|bar| bar.version > since).map(|bar| Bar::from(&bar.value)).collect();
        let gaps = state.gaps.iter().filter(|gap| gap.version > since);
        (bars, gaps.filter_map(|gap| gap_shown(&state, viewer, &gap.value, instrument?)).collect())
    }

    /// The mids of the common price over the last ten minutes, by symbol.
    pub(in crate::console) fn sparklines(&self, now_ns: i64) -> BTreeMap<String, Vec<String>> {
        let state = self.state();
        let of = |(instrument, line): (&u32, &super::sparkline::Sparkline)| {
            let points = line.points(now_ns).into_iter().map(|mid| mid.to_string()).collect();
            Some((state.instruments.get(instrument)?.symbol.clone(), points))
        };
        state.sparklines.iter().filter_map(of).collect()
    }
}

fn quote_shown(state: &State, viewer: &Viewer, quote: &Quote, word: &'static str) -> Option<QuoteShown> {
    let instrument = state.instruments.get(&quote.head.instrument_id)?;
    let name = |id: u32| {
        let source = state.sources.get(&id).filter(|_| id != SOURCE_BEST)?;
        viewer.reads(source).then(|| source.name.clone())
    };
    let sides = Price::from_e9(quote.bid_e9).zip(Price::from_e9(quote.ask_e9));
    let pip = instrument.pip.e9();
    let spread_pips = sides.filter(|_| pip > 0).map(|(bid, ask)| {
        let spread = i128::from(ask.e9()) - i128::from(bid.e9());
        (spread as f64 / pip as f64 * 1e3).round() / 1e3
    });
    Some(QuoteShown {
        symbol: instrument.symbol.clone(),
        bid: price(quote.bid_e9),
        ask: price(quote.ask_e9),
        bid_source: name(quote.bid_source_id),
        ask_source: name(quote.ask_source_id),
        spread_pips,
        state: word,
        at: time(quote.ts_recv_ns),
    })
}

fn gap_shown(state: &State, viewer: &Viewer, gap: &Gap, instrument: u32) -> Option<GapShown> {
    let of_all = gap.head.instrument_id == INSTRUMENT_ALL;
    if !of_all && gap.head.instrument_id != instrument {
        return None;
    }
    let source = state.sources.get(&gap.head.source_id).filter(|source| viewer.reads(source))?;
    Some(GapShown {
        source: source.name.clone(),
        symbol: if of_all { None } else { state.instruments.get(&instrument).map(|of| of.symbol.clone()) },
        from: moment(gap.from_ns),
        to: moment(gap.to_ns),
        state: GapState::from_code(gap.state).map_or("closed", GapState::word),
    })
}

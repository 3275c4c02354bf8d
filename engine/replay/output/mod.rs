//! The tables that a replay writes: CSV with a header, or Parquet where the file is named so.
//!
//! | table | columns |
//! |---|---|
//! | quotes | [`QUOTES`]; `ts_ns` is the time of receipt of the input that changed the price |
//! | bars | [`BARS`]; `volume` in the source's unit |
//! | rejects | [`REJECTS`]: ticks and trades with any verdict but accepted, `reasons` joined by `|`; a trade has its price in `bid` and `ask` and its size in `bid_size` |
//! | indicators | [`INDICATORS`]; `ts_ns` is the opening of the bar |
//!
//! Prices and sizes are exact decimals without zeros at the end, values the shortest text that reads back as the same
//! binary64. What is absent is an empty field, in Parquet null. In Parquet prices are DECIMAL(18,9) and sizes DECIMAL(18,8)
//! on INT64, times INT64 nanoseconds.

mod csv;
mod parquet;

use std::io;
use std::path::{Path, PathBuf};

use tickwire_schemas::record::{
    Bar, Drop as DropRecord, Gap, Indicator, Ohlc, Quote, Repair, SourceState, Tick, Timer, Trade,
};
use tickwire_schemas::words::{BarState, Check, IndicatorState, Origin, QuoteState, Timeframe, Verdict, quote_flag};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::ReplayError;
use super::summary::Summary;
use crate::stages::{Emit, Market};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A word.
    Text,
    /// A whole number.
    Int,
    /// A price.
    Price,
    /// A size.
    Size,
    /// A computed number.
    Value,
}

/// Name and type of each column.
pub type Columns = &'static [(&'static str, Type)];

/// Columns of `--quotes`.
pub const QUOTES: Columns = &[
    ("ts_ns", Type::Int),
    ("source", Type::Text),
    ("symbol", Type::Text),
    ("bid", Type::Price),
    ("ask", Type::Price),
    ("bid_size", Type::Size),
    ("ask_size", Type::Size),
    ("bid_source", Type::Text),
    ("ask_source", Type::Text),
    ("sources", Type::Int),
    ("state", Type::Text),
    ("cross_source", Type::Int),
];

/// Columns of `--bars`.
pub const BARS: Columns = &[
    ("source", Type::Text),
    ("symbol", Type::Text),
    ("timeframe", Type::Text),
    ("open_ts_ns", Type::Int),
    ("bid_o", Type::Price),
    ("bid_h", Type::Price),
    ("bid_l", Type::Price),
    ("bid_c", Type::Price),
    ("ask_o", Type::Price),
    ("ask_h", Type::Price),
    ("ask_l", Type::Price),
    ("ask_c", Type::Price),
    ("ticks", Type::Int),
    ("volume", Type::Size),
    ("revision", Type::Int),
    ("state", Type::Text),
    ("origin", Type::Text),
];

/// Columns of `--rejects`.
pub const REJECTS: Columns = &[
    ("ts_ns", Type::Int),
    ("source", Type::Text),
    ("symbol", Type::Text),
    ("bid", Type::Price),
    ("ask", Type::Price),
    ("bid_size", Type::Size),
    ("ask_size", Type::Size),
    ("verdict", Type::Text),
    ("reasons", Type::Text),
];

/// Columns of `--indicators`.
pub const INDICATORS: Columns = &[
    ("ts_ns", Type::Int),
    ("source", Type::Text),
    ("symbol", Type::Text),
    ("timeframe", Type::Text),
    ("indicator", Type::Text),
    ("v1", Type::Value),
    ("v2", Type::Value),
    ("v3", Type::Value),
    ("v4", Type::Value),
    ("state", Type::Text),
];

/// A table on its way to a file. Fields are written in the order of the columns; what goes wrong is kept for
/// [`Table::flush`] or [`Table::finish`] to tell.
enum Table {
    Csv(csv::Csv),
    Parquet(Box<parquet::Parquet>),
}

/// Calls one method of either.
macro_rules! either {
    ($self:ident, $table:ident => $call:expr) => {
        match $self {
            Table::Csv($table) => $call,
            Table::Parquet($table) => $call,
        }
    };
}

impl Table {
    fn create(path: &Path, columns: Columns) -> io::Result<Table> {
        Ok(if is_parquet(path) {
            Table::Parquet(Box::new(parquet::Parquet::create(path, columns)?))
        } else {
            Table::Csv(csv::Csv::create(path, columns)?)
        })
    }

    fn text(&mut self, text: &[u8]) -> &mut Table {
        either!(self, table => table.text(text));
        self
    }

    fn int(&mut self, value: i64) -> &mut Table {
        either!(self, table => table.int(value));
        self
    }

    fn price(&mut self, e9: i64) -> &mut Table {
        either!(self, table => table.price((e9 != NO_PRICE).then_some(e9)));
        self
    }

    fn size(&mut self, e8: u64) -> &mut Table {
        either!(self, table => table.size((e8 != NO_SIZE).then_some(e8)));
        self
    }

    fn value(&mut self, value: Option<f64>) -> &mut Table {
        either!(self, table => table.value(value));
        self
    }

    fn end_row(&mut self) {
        either!(self, table => table.end_row());
    }

    fn flush(&mut self) -> io::Result<()> {
        either!(self, table => table.flush())
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Table::Csv(mut table) => table.flush(),
            Table::Parquet(table) => table.finish(),
        }
    }
}

/// Whether a file is to be Parquet.
#[must_use]
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Where the tables go; those without a file are not written.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Best prices.
    pub quotes: Option<PathBuf>,
    /// Bars.
    pub bars: Option<PathBuf>,
    /// Ticks and trades that were not accepted.
    pub rejects: Option<PathBuf>,
    /// Values of indicators.
    pub indicators: Option<PathBuf>,
}

impl Paths {
    /// Every table with its file and its columns, in a fixed order.
    fn each(&self) -> [(Option<&PathBuf>, Columns); 4] {
        [
            (self.quotes.as_ref(), QUOTES),
            (self.bars.as_ref(), BARS),
            (self.rejects.as_ref(), REJECTS),
            (self.indicators.as_ref(), INDICATORS),
        ]
    }

    /// The files that are written.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.each().into_iter().filter_map(|(path, _)| path)
    }
}

/// Takes the records of a replay: counts them and writes the tables that were asked for.
pub struct Outputs {
    paths: Paths,
    tables: [Option<Table>; 4],
    names: Names,
    /// What was counted.
    pub summary: Summary,
}

const QUOTES_AT: usize = 0;
const BARS_AT: usize = 1;
const REJECTS_AT: usize = 2;
const INDICATORS_AT: usize = 3;

impl Outputs {
    /// Creates the files.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file.
    pub fn create(paths: Paths, market: &Market) -> Result<Outputs, ReplayError> {
        Outputs::open(paths, market, Summary::new(market), Table::create)
    }

    /// Goes on with files of a replay that was stopped: each is cut to the length it had.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file, also when it is shorter.
    pub fn resume(paths: Paths, market: &Market, summary: Summary, lengths: &[u64]) -> Result<Outputs, ReplayError> {
        let mut lengths = lengths.iter();
        let open = |path: &Path, _| {
            let length = lengths.next().copied().ok_or_else(|| io::Error::other("its length is not known"))?;
            csv::Csv::resume(path, length).map(Table::Csv)
        };
        Outputs::open(paths, market, summary, open)
    }

    fn open(
        paths: Paths,
        market: &Market,
        summary: Summary,
        mut open: impl FnMut(&Path, Columns) -> io::Result<Table>,
    ) -> Result<Outputs, ReplayError> {
        let mut tables = [const { None }; 4];
        for (table, (path, columns)) in tables.iter_mut().zip(paths.each()) {
            if let Some(path) = path {
                *table = Some(open(path, columns).map_err(|error| failed(path, &error))?);
            }
        }
        Ok(Outputs { tables, names: Names::new(market), summary, paths })
    }

    /// Writes out what is in memory, and tells what went wrong since the last time.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file.
    pub fn flush(&mut self) -> Result<(), ReplayError> {
        for (table, (path, _)) in self.tables.iter_mut().zip(self.paths.each()) {
            if let (Some(table), Some(path)) = (table, path) {
                table.flush().map_err(|error| failed(path, &error))?;
            }
        }
        Ok(())
    }

    /// Brings everything to the disk; the lengths of the files.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file.
    pub fn sync(&mut self) -> Result<Vec<u64>, ReplayError> {
        let mut lengths = Vec::new();
        for (table, (path, _)) in self.tables.iter_mut().zip(self.paths.each()) {
            if let (Some(Table::Csv(table)), Some(path)) = (table, path) {
                lengths.push(table.sync().map_err(|error| failed(path, &error))?);
            }
        }
        Ok(lengths)
    }

    /// Ends the files.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file.
    pub fn finish(self) -> Result<Summary, ReplayError> {
        for (table, (path, _)) in self.tables.into_iter().zip(self.paths.each()) {
            if let (Some(table), Some(path)) = (table, path) {
                table.finish().map_err(|error| failed(path, &error))?;
            }
        }
        Ok(self.summary)
    }
}

fn failed(path: &Path, error: &io::Error) -> ReplayError {
    ReplayError::File(format!("{}: {error}", path.display()))
}

/// Names by persistent id.
struct Names {
    sources: Vec<Vec<u8>>,
    instruments: Vec<Vec<u8>>,
    indicators: Vec<Vec<u8>>,
}

impl Names {
    fn new(market: &Market) -> Names {
        let mut sources = by_id(market.sources().iter().map(|s| (s.id.0, s.name.as_str())));
        sources[0] = b"best".into();
        Names {
            sources,
            instruments: by_id(market.instruments().iter().map(|i| (i.id.0, i.symbol.as_str()))),
            indicators: by_id(market.indicators().iter().map(|i| (i.id.0, i.name.as_str()))),
        }
    }
}

fn by_id<'a>(named: impl Iterator<Item = (u32, &'a str)>) -> Vec<Vec<u8>> {
    let mut names = vec![Vec::new()];
    for (id, name) in named {
        names.resize(names.len().max(id as usize + 1), Vec::new());
        // A name with parameters holds commas: what would break the row is quoted.
        names[id as usize] =
            if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")).into() } else { name.into() };
    }
    names
}

fn name(names: &[Vec<u8>], id: u32) -> &[u8] {
    names.get(id as usize).map_or(b"", Vec::as_slice)
}

fn ohlc(table: &mut Table, ohlc: &Ohlc) {
    table.price(ohlc.open_e9).price(ohlc.high_e9).price(ohlc.low_e9).price(ohlc.close_e9);
}

/// Words of failed checks, joined.
fn reasons(bits: u32) -> Vec<u8> {
    let words: Vec<&str> =
        Check::ALL.iter().filter(|check| bits & check.bit() != 0).map(|check| check.word()).collect();
    words.join("|").into()
}

/// What a row of rejects holds beside its names.
struct Reject {
    ts_ns: i64,
    prices: (i64, i64),
    sizes: (u64, u64),
    verdict: u8,
    reasons: u32,
}

impl Outputs {
    fn reject(&mut self, head: &tickwire_schemas::record::Head, reject: &Reject) {
        let Some(table) = &mut self.tables[REJECTS_AT] else { return };
        let names = &self.names;
        table
            .int(reject.ts_ns)
            .text(name(&names.sources, head.source_id))
            .text(name(&names.instruments, head.instrument_id))
            .price(reject.prices.0)
            .price(reject.prices.1)
            .size(reject.sizes.0)
            .size(reject.sizes.1)
            .text(Verdict::from_code(reject.verdict).map_or("", Verdict::word).as_bytes())
            .text(&reasons(reject.reasons))
            .end_row();
    }
}

impl Emit for Outputs {
    fn tick(&mut self, tick: &Tick) {
        self.summary.tick(tick.head.source_id, tick.verdict, tick.reasons);
        if tick.verdict != Verdict::Accepted.code() {
            let (prices, sizes) = ((tick.bid_e9, tick.ask_e9), (tick.bid_size_e8, tick.ask_size_e8));
            let (verdict, reasons) = (tick.verdict, tick.reasons);
            self.reject(&tick.head, &Reject { ts_ns: tick.ts_recv_ns, prices, sizes, verdict, reasons });
        }
    }

    fn trade(&mut self, trade: &Trade) {
        self.summary.trade(trade.head.source_id, trade.verdict, trade.reasons);
        if trade.verdict != Verdict::Accepted.code() {
            let (prices, sizes) = ((trade.price_e9, trade.price_e9), (trade.size_e8, NO_SIZE));
            let (verdict, reasons) = (trade.verdict, trade.reasons);
            self.reject(&trade.head, &Reject { ts_ns: trade.ts_recv_ns, prices, sizes, verdict, reasons });
        }
    }

    fn quote(&mut self, quote: &Quote) {
        let crosses = quote.flags & quote_flag::CROSS_SOURCE != 0;
        self.summary.quote(quote.state, crosses);
        let Some(table) = &mut self.tables[QUOTES_AT] else { return };
        // Nobody makes a side that is absent.
        let who = |id: u32| if id == 0 { &b""[..] } else { name(&self.names.sources, id) };
        table
            .int(quote.ts_recv_ns)
            .text(name(&self.names.sources, quote.head.source_id))
            .text(name(&self.names.instruments, quote.head.instrument_id))
            .price(quote.bid_e9)
            .price(quote.ask_e9)
            .size(quote.bid_size_e8)
            .size(quote.ask_size_e8)
            .text(who(quote.bid_source_id))
            .text(who(quote.ask_source_id))
            .int(i64::from(quote.sources))
            .text(QuoteState::from_code(quote.state).map_or("", QuoteState::word).as_bytes())
            .int(i64::from(crosses))
            .end_row();
    }

    fn bar(&mut self, bar: &Bar) {
        self.summary.bar(bar.state);
        let Some(table) = &mut self.tables[BARS_AT] else { return };
        table
            .text(name(&self.names.sources, bar.head.source_id))
            .text(name(&self.names.instruments, bar.head.instrument_id))
            .text(Timeframe::from_code(bar.timeframe).map_or("", Timeframe::word).as_bytes())
            .int(bar.open_ts_ns);
        ohlc(table, &bar.bid);
        ohlc(table, &bar.ask);
        table
            .int(i64::try_from(bar.ticks).unwrap_or(i64::MAX))
            .size(bar.volume_e8)
            .int(i64::from(bar.revision))
            .text(BarState::from_code(bar.state).map_or("", BarState::word).as_bytes())
            .text(Origin::from_code(bar.origin).map_or("", Origin::word).as_bytes())
            .end_row();
    }

    fn indicator(&mut self, indicator: &Indicator) {
        self.summary.indicators += 1;
        let Some(table) = &mut self.tables[INDICATORS_AT] else { return };
        table
            .int(indicator.bar_ts_ns)
            .text(name(&self.names.sources, indicator.head.source_id))
            .text(name(&self.names.instruments, indicator.head.instrument_id))
            .text(Timeframe::from_code(indicator.timeframe).map_or("", Timeframe::word).as_bytes())
            .text(name(&self.names.indicators, indicator.indicator_id));
        for value in indicator.values() {
            table.value(value);
        }
        table.text(IndicatorState::from_code(indicator.state).map_or("", IndicatorState::word).as_bytes()).end_row();
    }

    fn gap(&mut self, _: &Gap) {
        self.summary.gaps += 1;
    }

    fn source_state(&mut self, _: &SourceState) {}

    fn timer(&mut self, _: &Timer) {
        self.summary.timers += 1;
    }

    fn drop(&mut self, _: &DropRecord) {}

    fn repair(&mut self, _: &Repair) {}

    fn late(&mut self, source: usize) {
        self.summary.late(source);
    }
}

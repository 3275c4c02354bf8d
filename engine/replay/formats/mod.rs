//! The formats that recordings are read in, one file each: from the bytes of a row to inputs, pure.

pub mod bi5;
pub mod binance;
pub mod csv;
pub mod journal;
pub mod lean;
pub mod mql;

use std::io;
use std::path::Path;

use super::buffer::{Buffer, Packing};
use super::{Entry, Format};
use crate::market::{BrokerClock, Input, Instrument, InstrumentId, Price, Size, SourceId, TickInput};
use crate::stages::Market;

/// What reading one row came to.
pub(super) enum Outcome {
    /// It is read: none, one or several inputs are ready.
    Read,
    /// It is not of the format; the sentence names its place in the file.
    Bad(String),
    /// There is none: the file is over.
    End,
}

/// A decoder of lines. Pure: no clock, no I/O.
trait Lines {
    /// Appends what a line says; a line may say nothing that matters here.
    fn line(&mut self, line: &[u8], out: &mut Vec<Input>) -> Result<(), String>;
}

/// The decoder of one entry, for all its files.
pub(super) enum Decoder {
    Lean(lean::Lean),
    Bi5(bi5::Bi5),
    Mql(mql::Mql),
    Binance(binance::Binance),
    Csv(csv::Csv),
    Journal(journal::Journal),
}

impl Decoder {
    /// The decoder of an entry, whose name and symbol `market` knows.
    pub(super) fn new(entry: &Entry, market: &Market) -> Decoder {
        if entry.format == Format::Journal {
            return Decoder::Journal(journal::Journal::new(entry, market.clone()));
        }
        // Both are there: the market was made of the same entries.
        let source = market.sources().iter().find(|s| s.name == entry.name).map_or(SourceId(0), |s| s.id);
        let instrument = market.instruments().iter().find(|i| i.symbol == entry.symbol);
        let digits = entry.digits.or(instrument.map(|i| i.digits)).unwrap_or(0);
        let names = Names { source, instrument: instrument.map_or(InstrumentId(0), |i: &Instrument| i.id) };
        let clock = BrokerClock::new(entry.clock);
        match entry.format {
            Format::LeanQuote => Decoder::Lean(lean::Lean::new(names, clock, entry.date_ns)),
            Format::Bi5 => Decoder::Bi5(bi5::Bi5::new(names, clock, entry.date_ns.unwrap_or(0), digits)),
            Format::MqlTick => Decoder::Mql(mql::Mql::new(names, clock)),
            Format::BinanceCapture => Decoder::Binance(binance::Binance::new(names, &entry.symbol)),
            Format::Csv | Format::Journal => {
                Decoder::Csv(csv::Csv::new(names, clock, &entry.symbol, entry.only.as_deref()))
            }
        }
    }

    /// How the files are packed.
    pub(super) fn packing(&self) -> Packing {
        if matches!(self, Decoder::Bi5(_)) { Packing::Lzma } else { Packing::None }
    }

    /// A new file begins.
    ///
    /// # Errors
    /// What its name or its beginning lacks.
    pub(super) fn begin(&mut self, file: &Path, bytes: &mut Buffer) -> io::Result<Result<(), String>> {
        Ok(match self {
            Decoder::Lean(lean) => lean.begin(file),
            Decoder::Bi5(bi5) => bi5.begin(file),
            Decoder::Mql(mql) => mql.begin(bytes.line()?.unwrap_or_default()),
            Decoder::Csv(csv) => csv.begin(bytes.line()?.unwrap_or_default()),
            Decoder::Journal(journal) => return journal.begin(bytes),
            Decoder::Binance(_) => Ok(()),
        })
    }

    /// Reads one row.
    pub(super) fn next(&mut self, bytes: &mut Buffer, out: &mut Vec<Input>) -> io::Result<Outcome> {
        match self {
            Decoder::Lean(lean) => next_line(lean, bytes, out),
            Decoder::Mql(mql) => next_line(mql, bytes, out),
            Decoder::Binance(binance) => next_line(binance, bytes, out),
            Decoder::Csv(csv) => next_line(csv, bytes, out),
            Decoder::Bi5(bi5) => bi5.next(bytes, out),
            Decoder::Journal(journal) => journal.next(bytes, out),
        }
    }

    /// Reads some rows more, as far as they are of the usual form; each gives one input. For formats that have such a form.
    #[inline]
    pub(super) fn read_ahead(&mut self, bytes: &mut Buffer, out: &mut Vec<Input>) {
        if let Decoder::Lean(lean) = self {
            lean.read_ahead(bytes, out);
        }
    }
}

#[inline]
fn next_line(decoder: &mut impl Lines, bytes: &mut Buffer, out: &mut Vec<Input>) -> io::Result<Outcome> {
    let Some(line) = bytes.line()? else { return Ok(Outcome::End) };
    if line.is_empty() {
        return Ok(Outcome::Read);
    }
    match decoder.line(line, out) {
        Ok(()) => Ok(Outcome::Read),
        Err(problem) => {
            let found = excerpt(line);
            Ok(Outcome::Bad(format!("line {}: {problem}, found \"{found}\"", bytes.line_number())))
        }
    }
}

/// The beginning of a row, to be shown.
fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 120;
    let more = if line.len() > SHOWN { "…" } else { "" };
    format!("{}{more}", line[..line.len().min(SHOWN)].escape_ascii())
}

/// Who says it, and what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    source: SourceId,
    instrument: InstrumentId,
}

impl Names {
    /// A tick of which the recording has one stamp: of the source and of receipt alike.
    #[inline]
    fn tick(self, at_ns: i64, prices: (Option<Price>, Option<Price>), sizes: (Option<Size>, Option<Size>)) -> Input {
        Input::from(TickInput {
            source: self.source,
            instrument: self.instrument,
            ts_event_ns: Some(at_ns),
            ts_recv_ns: at_ns,
            bid: prices.0,
            ask: prices.1,
            bid_size: sizes.0,
            ask_size: sizes.1,
            source_seq: None,
            snapshot: false,
        })
    }
}

/// The price in a field, named in the error.
fn price(name: &str, field: &[u8]) -> Result<Price, String> {
    Price::parse(field).map_err(|problem| format!("{name}: {problem}; expected a decimal"))
}

/// A price that may be absent: an empty field.
fn optional_price(name: &str, field: &[u8]) -> Result<Option<Price>, String> {
    if field.is_empty() { Ok(None) } else { price(name, field).map(Some) }
}

/// A size that may be absent: an empty field.
fn optional_size(name: &str, field: &[u8]) -> Result<Option<Size>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    Size::parse(field).map(Some).map_err(|problem| format!("{name}: {problem}; expected a decimal"))
}

/// A whole number; `None` for anything else, and for what does not fit.
fn whole(field: &[u8]) -> Option<i64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_i64, |value, b| {
        if b.is_ascii_digit() { value.checked_mul(10)?.checked_add(i64::from(b - b'0')) } else { None }
    })
}

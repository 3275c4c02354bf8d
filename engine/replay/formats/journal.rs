//! What this engine recorded: segments of its journal, see [`crate::journal`]. Inputs alone are taken; what the stages
//! derived is made anew. Sources and instruments keep their names and get the numbers of the replay.

use std::io;
use std::path::Path;

use super::Outcome;
use crate::journal::format::{ENTRY_BYTES_MAX, ENTRY_HEAD_BYTES, HEADER_FIXED_BYTES, VERSION, entry_bytes, take_entry};
use crate::journal::{Catalogue, SegmentHeader};
use crate::market::Input;
use crate::replay::Entry;
use crate::replay::buffer::{Buffer, BytesRead, Packing};
use crate::stages::Market;

/// The decoder.
pub struct Journal {
    market: Market,
    name: String,
    symbol: String,
    /// The numbers of the segment with those of the replay; what is not there is left out.
    sources: Vec<(u32, u32)>,
    instruments: Vec<(u32, u32)>,
}

impl Journal {
    pub(super) fn new(entry: &Entry, market: Market) -> Journal {
        let (name, symbol) = (entry.name.clone(), entry.symbol.clone());
        Journal { market, name, symbol, sources: Vec::new(), instruments: Vec::new() }
    }

    pub(super) fn begin(&mut self, bytes: &mut Buffer) -> io::Result<Result<(), String>> {
        let catalogue = match read_header(bytes)? {
            Ok(header) => header.catalogue,
            Err(problem) => return Ok(Err(problem)),
        };
        let wanted = |filter: &str, name: &str| filter.is_empty() || filter == name;
        let (market, name, symbol) = (&self.market, &self.name, &self.symbol);
        let source = |s: &crate::market::Source| {
            let here = market.sources().iter().find(|here| here.name == s.name && wanted(name, &s.name))?;
            Some((s.id.0, here.id.0))
        };
        let instrument = |i: &crate::market::Instrument| {
            let here = market.instruments().iter().find(|here| here.symbol == i.symbol && wanted(symbol, &i.symbol))?;
            Some((i.id.0, here.id.0))
        };
        self.sources = catalogue.sources.iter().filter_map(source).collect();
        self.instruments = catalogue.instruments.iter().filter_map(instrument).collect();
        Ok(Ok(()))
    }

    pub(super) fn next(&mut self, bytes: &mut Buffer, out: &mut Vec<Input>) -> io::Result<Outcome> {
        let at = bytes.offset();
        let Some(total) = sound_entry(bytes)? else { return skip(bytes, at) };
        if let Some((kind, _)) = take_entry(bytes.available())
            && let Some(mut input) = Input::from_record(kind, &bytes.available()[ENTRY_HEAD_BYTES + 1..total])
            && self.rename(&mut input)
        {
            out.push(input);
        }
        bytes.consume(total);
        Ok(Outcome::Read)
    }

    /// Gives an input the numbers of the replay; false when it is not wanted. 0 stands for all, or none.
    fn rename(&self, input: &mut Input) -> bool {
        let head = match input {
            Input::Tick(tick) => &mut tick.head,
            Input::Trade(trade) => &mut trade.head,
            Input::Timer(timer) => &mut timer.head,
            Input::SourceState(state) => &mut state.head,
            Input::Drop(drop) => &mut drop.head,
            Input::Repair(repair) => &mut repair.head,
        };
        let find = |table: &[(u32, u32)], id: u32| {
            if id == 0 { Some(0) } else { table.iter().find(|(from, _)| *from == id).map(|(_, to)| *to) }
        };
        match (find(&self.sources, head.source_id), find(&self.instruments, head.instrument_id)) {
            (Some(source), Some(instrument)) => {
                (head.source_id, head.instrument_id) = (source, instrument);
                true
            }
            _ => false,
        }
    }
}

/// Length of the sound entry at the front; `None` when there is none.
fn sound_entry(bytes: &mut Buffer) -> io::Result<Option<usize>> {
    if !bytes.fill(4)? {
        return Ok(None);
    }
    let Some(total) = entry_bytes(bytes.available()) else { return Ok(None) };
    bytes.fill(total)?;
    Ok(take_entry(bytes.available()).map(|(_, total)| total))
}

/// Goes to the next sound entry: zeros to the end are the room that a segment kept, anything else is damage.
fn skip(bytes: &mut Buffer, at: u64) -> io::Result<Outcome> {
    let mut zeros = true;
    let mut last = at;
    while bytes.fill(1)? {
        // Within what is in memory, so that long runs of zeros are quick.
        if sound_entry(bytes)?.is_some() {
            let skipped = bytes.offset() - at;
            return Ok(Outcome::Bad(format!("byte {at}: {skipped} bytes are no entry, expected a sound one")));
        }
        let run = bytes.available().iter().take_while(|b| **b == 0).count();
        if run > ENTRY_BYTES_MAX {
            bytes.consume(run - ENTRY_HEAD_BYTES);
            continue;
        }
        if bytes.available()[0] != 0 {
            zeros = false;
            last = bytes.offset();
        }
        bytes.consume(1);
    }
    if zeros {
        return Ok(Outcome::End);
    }
    Ok(Outcome::Bad(format!("byte {at}: the file is torn, {} bytes to its end are no entry", last + 1 - at)))
}

/// The header at the front of a segment, consumed.
fn read_header(bytes: &mut Buffer) -> io::Result<Result<SegmentHeader, String>> {
    let expected = "it does not begin with a sound header, expected a segment of a journal (.twj)";
    bytes.fill(HEADER_FIXED_BYTES)?;
    let Some(length) = SegmentHeader::length_of(bytes.available()) else { return Ok(Err(expected.into())) };
    if !bytes.fill(length)? {
        return Ok(Err(expected.into()));
    }
    let front = &bytes.available()[..length];
    let header = match SegmentHeader::sound_version(front) {
        Some(found) if found > VERSION => {
            return Ok(Err(format!("it has version {found}, expected at most {VERSION}: a later engine wrote it")));
        }
        _ => SegmentHeader::from_bytes(front).ok_or_else(|| expected.to_string()),
    };
    bytes.consume(length);
    Ok(header)
}

/// Who and what a segment is about.
///
/// # Errors
/// A sentence when it is no segment, or cannot be read.
pub(in crate::replay) fn catalogue_of(file: &Path) -> Result<Catalogue, String> {
    let header = Buffer::open(file, Packing::None, BytesRead::default()).and_then(|mut bytes| read_header(&mut bytes));
    header.map_err(|error| error.to_string())?.map(|header| header.catalogue)
}

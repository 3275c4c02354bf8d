//! Many files as one stream of inputs.
//!
//! Inputs come in the order of their times (of receipt, where a recording has two), ties in the order of the manifest's
//! entries, and within an entry in that of its files and rows. A row whose time lies before that of an earlier row of its
//! entry is handed out in its place in the file: it is a late tick. The clock that the stages see is made here: a timer at
//! every multiple of `timer_ms`, before the inputs of the same time. In a hole of more than an hour there is, behind its
//! first hour, a timer an hour. A journal has its own timers: with one among the entries none are made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tickwire_schemas::record::Timer;

use super::buffer::{Buffer, BytesRead};
use super::formats::{Decoder, Outcome, journal};
use super::manifest::spec_of;
use super::{Entry, Format, Manifest, ReplayError};
use crate::market::{Input, Instrument, InstrumentId, InstrumentSpec, Scope, Source, SourceId, VolumeOf};
use crate::stages::Market;

const HOUR_NS: i64 = 3_600_000_000_000;
const MINUTE_NS: i64 = 60_000_000_000;

/// What times can be: nanoseconds end soon after, and clocks must be able to go on.
pub(super) const TIMES: std::ops::Range<i64> = 0..9_190_000_000_000_000_000;

/// Most malformed rows that are described; all are counted.
const NOTES_MAX: usize = 20;

/// The key of an entry that is over; no time is.
const ENDED: i64 = i64::MAX;

/// Rank among equal prices of a source that nothing is known of: that of a configured one.
const PRIORITY: u16 = 100;

/// The merged inputs of a manifest.
pub struct Recording {
    market: Market,
    tracks: Vec<Track>,
    /// Time of each track's next input, [`ENDED`] when it has none: all that is looked at to find the first.
    keys: Vec<i64>,
    /// The track whose input was handed out last: it is gone on in when the next is asked for.
    taken: Option<usize>,
    timers: Option<Timers>,
    /// The timer that was handed out last.
    timer: Input,
    bytes_read: BytesRead,
    bytes_total: u64,
    strict: bool,
    malformed: u64,
    notes: VecDeque<String>,
}

impl Recording {
    /// Opens the first file of every entry. Sources and instruments are numbered from 1 in the order in which the manifest
    /// names them; `instruments` are those that a configuration describes, others follow the conventions.
    ///
    /// # Errors
    /// [`ReplayError`] naming the entry or the file.
    pub fn open(manifest: &Manifest, instruments: &BTreeMap<String, InstrumentSpec>) -> Result<Recording, ReplayError> {
        let market = market_of(manifest, instruments)?;
        let bytes_read = BytesRead::default();
        let track = |entry: &Entry| Track {
            files: entry.files.iter().cloned().collect(),
            entry: entry.clone(),
            decoder: Decoder::new(entry, &market),
            bytes: None,
            ready: Vec::new(),
            ahead: 0,
            next: 0,
            key_ns: i64::MIN,
            begins: false,
            rows: 0,
            inputs: 0,
        };
        let own_clock = manifest.entries.iter().any(|entry| entry.format == Format::Journal);
        let files = manifest.entries.iter().flat_map(|entry| &entry.files);
        let mut recording = Recording {
            tracks: manifest.entries.iter().map(track).collect(),
            keys: vec![ENDED; manifest.entries.len()],
            taken: None,
            timer: Input::default(),
            timers: (!own_clock).then(|| Timers::new(manifest.timer_ns)),
            bytes_total: files.filter_map(|file| Some(file.metadata().ok()?.len())).sum(),
            bytes_read,
            market,
            strict: false,
            malformed: 0,
            notes: VecDeque::new(),
        };
        for at in 0..recording.tracks.len() {
            recording.refill(at)?;
        }
        Ok(recording)
    }

    /// Stops at the first malformed row.
    pub fn be_strict(&mut self) {
        self.strict = true;
    }

    /// Behind the last input, lets the clock go on until this long after the end of its minute: bars close then.
    pub fn close_after(&mut self, delay_ns: i64) {
        if let Some(timers) = &mut self.timers {
            timers.close_delay_ns = Some(delay_ns);
        }
    }

    /// The sources and instruments that inputs are about.
    #[must_use]
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// The next input; `None` at the end.
    ///
    /// # Errors
    /// As [`Recording::advance`].
    #[allow(clippy::should_implement_trait)] // An Iterator's items cannot fail once and for all.
    pub fn next(&mut self) -> Result<Option<Input>, ReplayError> {
        Ok(self.advance()?.copied())
    }

    /// The same where it stands, for whoever has done with it before the next.
    ///
    /// # Errors
    /// [`ReplayError`] when a file cannot be read, or at a malformed row where none is tolerated.
    #[inline]
    pub fn advance(&mut self) -> Result<Option<&Input>, ReplayError> {
        if let Some(at) = self.taken.take() {
            self.go_on(at)?;
        }
        let (mut first_ns, mut first) = (ENDED, 0);
        for (at, key_ns) in self.keys.iter().enumerate() {
            if *key_ns < first_ns {
                (first_ns, first) = (*key_ns, at);
            }
        }
        let is_over = first_ns == ENDED;
        let timer = self.timers.as_mut().and_then(|timers| timers.before((!is_over).then_some(first_ns)));
        if let Some(now_ns) = timer {
            self.timer = Input::Timer(Timer { now_ns, ..Timer::default() });
            return Ok(Some(&self.timer));
        }
        if is_over {
            return Ok(None);
        }
        self.taken = Some(first);
        let track = &self.tracks[first];
        Ok(track.ready.get(track.next))
    }

    /// Goes to the next input of a track.
    #[inline]
    fn go_on(&mut self, at: usize) -> Result<(), ReplayError> {
        let track = &mut self.tracks[at];
        track.next += 1;
        if track.next < track.ready.len() {
            if track.next >= track.ahead {
                track.rows += 1;
                track.inputs += 1;
            }
            track.advance_key();
            self.keys[at] = track.key_ns;
            return Ok(());
        }
        track.ready.clear();
        track.next = 0;
        self.refill(at)
    }

    /// Malformed rows so far.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The oldest description of a malformed row that was not taken yet; the first twenty are described.
    pub fn take_note(&mut self) -> Option<String> {
        self.notes.pop_front()
    }

    /// Rows read so far, by entry.
    #[must_use]
    pub fn rows(&self) -> Vec<u64> {
        self.tracks.iter().map(|track| track.rows).collect()
    }

    /// Numbers of the entries that gave no input, at the end.
    #[must_use]
    pub fn silent(&self) -> Vec<usize> {
        self.tracks.iter().filter(|track| track.inputs == 0).map(|track| track.entry.number).collect()
    }

    /// Bytes read so far and bytes of all files, packed as they are.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.bytes_read.load(Relaxed), self.bytes_total)
    }

    /// Reads on in an entry until it has an input or ends.
    fn refill(&mut self, at: usize) -> Result<(), ReplayError> {
        // Until there is another, also when reading fails.
        self.keys[at] = ENDED;
        loop {
            match self.tracks[at].read(&self.bytes_read)? {
                Step::Ready => {
                    self.keys[at] = self.tracks[at].key_ns;
                    return Ok(());
                }
                Step::End => return Ok(()),
                Step::Bad(problem) if self.strict => return Err(ReplayError::Malformed(problem)),
                Step::Bad(problem) => {
                    self.malformed += 1;
                    if self.malformed <= NOTES_MAX as u64 {
                        self.notes.push_back(problem);
                    }
                }
            }
        }
    }
}

enum Step {
    Ready,
    Bad(String),
    End,
}

/// One entry while it is read.
struct Track {
    entry: Entry,
    files: VecDeque<std::path::PathBuf>,
    decoder: Decoder,
    /// The file that is open.
    bytes: Option<(std::path::PathBuf, Buffer)>,
    /// What the last row gave, and from `ahead` on an input for each of some rows that were read ahead: these are counted as
    /// their turn comes. And which of all is next.
    ready: Vec<Input>,
    ahead: usize,
    next: usize,
    /// Time of the next input, or of a later one before it in the file.
    key_ns: i64,
    /// No input of the open file was handed out yet.
    begins: bool,
    rows: u64,
    inputs: u64,
}

impl Track {
    fn read(&mut self, count: &BytesRead) -> Result<Step, ReplayError> {
        loop {
            let Some((path, bytes)) = &mut self.bytes else {
                if !self.open_next(count)? {
                    return Ok(Step::End);
                }
                continue;
            };
            let outcome = self.decoder.next(bytes, &mut self.ready);
            match outcome.map_err(|error| ReplayError::File(format!("{}: {error}", path.display())))? {
                Outcome::Read => {
                    self.rows += 1;
                    let (from_ns, to_ns) = (self.entry.from_ns, self.entry.to_ns);
                    if (from_ns, to_ns) != (i64::MIN, i64::MAX) {
                        self.ready.retain(|input| (from_ns..to_ns).contains(&input.now_ns()));
                    }
                    if self.ready.iter().any(|input| !TIMES.contains(&input.now_ns())) {
                        self.ready.clear();
                        let place = match bytes.line_number() {
                            0 => format!("before byte {}", bytes.offset()),
                            line => format!("line {line}"),
                        };
                        let problem = format!("{place}: its time is outside 1970 to 2261");
                        return Ok(Step::Bad(format!("{}: {problem}", path.display())));
                    }
                    if let Some(first) = self.ready.first() {
                        self.inputs += self.ready.len() as u64;
                        // Of a journal's segments the names give the order.
                        if std::mem::take(&mut self.begins)
                            && first.now_ns() < self.key_ns
                            && self.entry.format != Format::Journal
                        {
                            let path = path.display();
                            return Err(ReplayError::File(format!(
                                "{path}: it begins before the end of the file before it; expected files in the order of their times"
                            )));
                        }
                        self.ahead = self.ready.len();
                        if (from_ns, to_ns) == (i64::MIN, i64::MAX) {
                            self.decoder.read_ahead(bytes, &mut self.ready);
                        }
                        self.advance_key();
                        return Ok(Step::Ready);
                    }
                }
                Outcome::Bad(problem) => {
                    self.rows += 1;
                    return Ok(Step::Bad(format!("{}: {problem}", path.display())));
                }
                Outcome::End => self.bytes = None,
            }
        }
    }

    fn advance_key(&mut self) {
        if let Some(input) = self.ready.get(self.next) {
            self.key_ns = self.key_ns.max(input.now_ns());
        }
    }

    fn open_next(&mut self, count: &BytesRead) -> Result<bool, ReplayError> {
        let Some(path) = self.files.pop_front() else { return Ok(false) };
        let wrong = |problem: String| ReplayError::File(format!("{}: {problem}", path.display()));
        let mut bytes =
            Buffer::open(&path, self.decoder.packing(), Arc::clone(count)).map_err(|e| wrong(e.to_string()))?;
        let begun = self.decoder.begin(&path, &mut bytes).map_err(|e| wrong(e.to_string()))?;
        begun.map_err(wrong)?;
        self.bytes = Some((path, bytes));
        self.begins = true;
        Ok(true)
    }
}

/// The clock of recordings that have none.
struct Timers {
    step_ns: i64,
    /// The next timer, once there was data.
    next_ns: Option<i64>,
    /// Time of the last data.
    last_ns: i64,
    close_delay_ns: Option<i64>,
}

impl Timers {
    fn new(step_ns: i64) -> Timers {
        Timers { step_ns, next_ns: None, last_ns: i64::MIN, close_delay_ns: None }
    }

    /// The next timer that comes before data at `data_ns`, or before the end.
    #[inline]
    fn before(&mut self, data_ns: Option<i64>) -> Option<i64> {
        let until_ns = match data_ns {
            Some(data_ns) => {
                if self.next_ns.is_some_and(|next_ns| next_ns > data_ns) {
                    self.last_ns = data_ns;
                    return None;
                }
                data_ns
            }
            None => self.end_ns()?,
        };
        let Some(next_ns) = self.next_ns else {
            // The first data: the clock begins with it.
            self.next_ns = Some(up_to_multiple(until_ns, self.step_ns));
            self.last_ns = until_ns;
            return self.before(data_ns);
        };
        if next_ns > until_ns {
            return None;
        }
        let quiet_hour = up_to_multiple(self.last_ns.saturating_add(HOUR_NS), HOUR_NS);
        // From whole hour to whole hour, and from the last one before the data in steps as ever.
        let in_hole = next_ns >= quiet_hour && next_ns % HOUR_NS == 0 && until_ns - next_ns >= HOUR_NS;
        self.next_ns = Some(next_ns + if in_hole { HOUR_NS } else { self.step_ns });
        Some(next_ns)
    }

    /// Where the clock stops behind the last data.
    fn end_ns(&self) -> Option<i64> {
        let minute_ns = self.next_ns.map(|_| up_to_multiple(self.last_ns + 1, MINUTE_NS))?;
        Some(up_to_multiple(minute_ns + self.close_delay_ns?, self.step_ns))
    }
}

fn up_to_multiple(ns: i64, step_ns: i64) -> i64 {
    ns.saturating_add(step_ns - 1).div_euclid(step_ns) * step_ns
}

/// The sources and instruments of a manifest, numbered in its order.
fn market_of(manifest: &Manifest, configured: &BTreeMap<String, InstrumentSpec>) -> Result<Market, ReplayError> {
    let (mut sources, mut instruments): (Vec<Source>, Vec<Instrument>) = (Vec::new(), Vec::new());
    let add_source = |sources: &mut Vec<Source>, source: Source| {
        if !sources.iter().any(|known| known.name == source.name) {
            sources.push(Source { id: SourceId(sources.len() as u32 + 1), ..source });
        }
    };
    let add_instrument = |instruments: &mut Vec<Instrument>, instrument: Instrument| {
        if !instruments.iter().any(|known| known.symbol == instrument.symbol) {
            instruments.push(Instrument { id: InstrumentId(instruments.len() as u32 + 1), ..instrument });
        }
    };
    for entry in &manifest.entries {
        if entry.format == Format::Journal {
            for file in &entry.files {
                let found = journal::catalogue_of(file)
                    .map_err(|problem| ReplayError::File(format!("{}: {problem}", file.display())))?;
                let wanted = |filter: &str, name: &str| filter.is_empty() || filter == name;
                found
                    .sources
                    .into_iter()
                    .filter(|s| wanted(&entry.name, &s.name))
                    .for_each(|s| add_source(&mut sources, s));
                found
                    .instruments
                    .into_iter()
                    .filter(|i| wanted(&entry.symbol, &i.symbol))
                    .for_each(|i| add_instrument(&mut instruments, i));
            }
            continue;
        }
        add_source(&mut sources, plain_source(&entry.name));
        if entry.format == Format::Bi5 {
            sources.iter_mut().filter(|s| s.name == entry.name).for_each(|s| s.volume = VolumeOf::BidSize);
        }
        let InstrumentSpec { class, digits, pip } =
            spec_of(&entry.symbol, configured).map_err(|problem| manifest.wrong(entry, &problem))?;
        let id = InstrumentId(0);
        add_instrument(&mut instruments, Instrument { id, symbol: entry.symbol.clone(), class, digits, pip });
    }
    Ok(Market::new(sources, instruments))
}

fn plain_source(name: &str) -> Source {
    Source {
        id: SourceId(0),
        name: name.into(),
        scope: Scope::Global,
        owner: String::new(),
        priority: PRIORITY,
        volume: VolumeOf::Trades,
        stores_ticks: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timers before each data time, and behind the last.
    fn run(step_ns: i64, data: &[i64], close_delay_ns: i64) -> Vec<Vec<i64>> {
        let mut timers = Timers::new(step_ns);
        timers.close_delay_ns = Some(close_delay_ns);
        let mut before = |at_ns: Option<i64>| std::iter::from_fn(|| timers.before(at_ns)).collect::<Vec<_>>();
        let mut all: Vec<_> = data.iter().map(|at_ns| before(Some(*at_ns))).collect();
        all.push(before(None));
        all
    }

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn the_clock_begins_with_the_data_and_goes_on_until_the_last_minute_is_closed() {
        let s = |seconds: &[i64]| seconds.iter().map(|s| s * SECOND_NS).collect::<Vec<_>>();
        let data = [65 * SECOND_NS + 5, 66 * SECOND_NS, 68 * SECOND_NS + 1, 68 * SECOND_NS + 1];
        let expected = [s(&[]), s(&[66]), s(&[67, 68]), s(&[]), (69..=121).map(|s| s * SECOND_NS).collect()];
        assert_eq!(run(SECOND_NS, &data, SECOND_NS / 2), expected);
        assert_eq!(run(SECOND_NS, &[], 5), [s(&[])], "without data there is no time");
    }

    #[test]
    fn a_long_hole_has_a_timer_an_hour_behind_its_first() {
        let data = [HOUR_NS + SECOND_NS, 100 * HOUR_NS + 2 * SECOND_NS];
        let timers = &run(SECOND_NS, &data, 0)[1];
        assert!(timers.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(timers.last(), Some(&data[1]));
        let in_steps = |from: i64, to: i64| (from..=to).step_by(SECOND_NS as usize).all(|ns| timers.contains(&ns));
        assert!(in_steps(data[0] + SECOND_NS, data[0] + HOUR_NS) && in_steps(100 * HOUR_NS, data[1]));
        assert!((3..=100).all(|hour| timers.contains(&(hour * HOUR_NS))), "on the hour");
        assert!(timers.len() < 2 * 3_600 + 110, "{}", timers.len());
    }
}

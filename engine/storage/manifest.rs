//! What was sent to the database, written down before it is sent: the memory that makes a crash harmless.
//!
//! One file, `manifests/NNNNNNNN.log`, of lines `CRC JSON`. A batch is *begun* (appended and synced), then sent, then
//! *done*. When the file has grown long it is written anew with the sums of what is done and the batches that are not,
//! so its length is bounded by lanes and epochs and not by batches. A torn last line is cut; a damaged line elsewhere
//! is an error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::{Lane, Table};
use crate::journal::Position;

/// A batch as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where its rows go.
    #[serde(flatten)]
    pub lane: Lane,
    /// Their epoch.
    pub epoch: u32,
    /// `seq` of the first row.
    pub first_seq: u64,
    /// `seq` of the last row.
    pub last_seq: u64,
    /// How many rows.
    pub rows: u64,
    /// CRC32C of the encoded rows.
    pub crc: u32,
    /// [`super::rows::ENCODING`] of the engine that made it.
    pub encoding: u32,
    /// Where the first row's record stands in the journal.
    pub from: Position,
    /// Where the last row's record stands.
    pub to: Position,
    /// Wrapping sum of every `seq`.
    pub seq_sum: u64,
    /// Exclusive or of every `seq`.
    pub seq_xor: u64,
}

impl Manifest {
    /// Names the batch, in the file and in errors.
    #[must_use]
    pub fn token(&self) -> String {
        format!("{}:{}:{}-{}", self.lane, self.epoch, self.first_seq, self.last_seq)
    }
}

/// What was acknowledged of one lane in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The lane.
    #[serde(flatten)]
    pub lane: Lane,
    /// The epoch.
    pub epoch: u32,
    /// `seq` of the first row.
    pub first_seq: u64,
    /// `seq` of the last row.
    pub last_seq: u64,
    /// Rows.
    pub rows: u64,
    /// Batches.
    pub batches: u64,
    /// Wrapping sum of every `seq`.
    pub seq_sum: u64,
    /// Exclusive or of every `seq`.
    pub seq_xor: u64,
    /// Where the last row's record stands in the journal.
    pub to: Position,
}

/// The lines of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Begun(Manifest),
    Done { token: String },
    Total(Total),
    Stored { position: Position },
    Since { table: Table, position: Position },
}

/// Tables that an older engine did not fill, from records that it stored elsewhere.
const LATER_TABLES: [Table; 1] = [Table::PipelineExecutions];

/// Everything that the file says.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    totals: BTreeMap<(Lane, u32), Total>,
    begun: BTreeMap<String, Manifest>,
    stored: Option<Position>,
    since: BTreeMap<Table, Position>,
}

impl Ledger {
    /// Reads the newest file in `dir` without changing anything; empty when there is none.
    ///
    /// # Errors
    /// When a file cannot be read or a line is damaged.
    pub fn read(dir: &Path) -> io::Result<Ledger> {
        loop {
            let Some((_, path)) = newest(dir)? else { return Ok(Ledger::default()) };
            match std::fs::read(&path) {
                Ok(bytes) => return Ok(Ledger::parse(&bytes, &path)?.0),
                // The writer has just replaced it by a newer one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The ledger and the length of its good lines.
    fn parse(bytes: &[u8], path: &Path) -> io::Result<(Ledger, u64)> {
        let mut ledger = Ledger::default();
        let mut good = 0;
        for (number, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            match parse_line(line) {
                Some(line) => ledger.apply(line),
                // Only the last line can be torn by a crash: what was begun was synced before it was sent.
                None if good + line.len() == bytes.len() => break,
                None => {
                    let problem = format!("{}: line {} is damaged", path.display(), number + 1);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                }
            }
            good += line.len();
        }
        Ok((ledger, good as u64))
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Begun(manifest) => drop(self.begun.insert(manifest.token(), manifest)),
            Line::Done { token } => {
                if let Some(manifest) = self.begun.remove(&token) {
                    self.add(&manifest);
                }
            }
            Line::Total(total) => drop(self.totals.insert((total.lane, total.epoch), total)),
            Line::Stored { position } => self.stored = Some(position),
            Line::Since { table, position } => drop(self.since.insert(table, position)),
        }
    }

    fn add(&mut self, m: &Manifest) {
        let total = self.totals.entry((m.lane, m.epoch)).or_insert(Total {
            lane: m.lane,
            epoch: m.epoch,
            first_seq: m.first_seq,
            last_seq: m.last_seq,
            rows: 0,
            batches: 0,
            seq_sum: 0,
            seq_xor: 0,
            to: m.to,
        });
        total.first_seq = total.first_seq.min(m.first_seq);
        total.last_seq = total.last_seq.max(m.last_seq);
        // A damaged file may say any number: the audit finds that it is wrong, the engine starts.
        total.rows = total.rows.saturating_add(m.rows);
        total.batches = total.batches.saturating_add(1);
        total.seq_sum = total.seq_sum.wrapping_add(m.seq_sum);
        total.seq_xor ^= m.seq_xor;
        total.to = total.to.max(m.to);
    }

    /// What was acknowledged, by lane and epoch.
    pub fn totals(&self) -> impl Iterator<Item = &Total> {
        self.totals.values()
    }

    /// Batches that were begun and not acknowledged, in the order of their epochs and rows.
    #[must_use]
    pub fn begun(&self) -> Vec<Manifest> {
        let mut begun: Vec<_> = self.begun.values().copied().collect();
        begun.sort_by_key(|m| (m.epoch, m.first_seq));
        begun
    }

    /// Everything before this place in the journal is acknowledged.
    #[must_use]
    pub fn stored(&self) -> Option<Position> {
        self.stored
    }

    /// Where in the journal the rows of a table begin: those of a table that came with a later engine begin where the
    /// database was when that engine first ran.
    #[must_use]
    pub fn since(&self, table: Table) -> Position {
        if !LATER_TABLES.contains(&table) {
            return Position::default();
        }
        self.since.get(&table).copied().or(self.stored).unwrap_or_default()
    }

    /// Whether the row `seq` of `epoch` in `lane` has been begun already: batches of a lane are begun in order.
    #[must_use]
    pub fn has(&self, lane: Lane, epoch: u32, seq: u64) -> bool {
        let of_lane = self.totals.range((lane, 0)..=(lane, u32::MAX)).next_back().map(|(_, t)| (t.epoch, t.last_seq));
        let begun = self.begun.values().filter(|m| m.lane == lane).map(|m| (m.epoch, m.last_seq));
        of_lane.into_iter().chain(begun).any(|last| (epoch, seq) <= last)
    }

    /// Epoch and `seq` of the newest row that has been begun, zeros when there is none.
    #[must_use]
    pub fn newest(&self) -> (u32, u64) {
        let totals = self.totals.values().map(|t| (t.epoch, t.last_seq));
        totals.chain(self.begun.values().map(|m| (m.epoch, m.last_seq))).max().unwrap_or_default()
    }

    /// The last place in the journal of which a row has been begun: rows behind it are new.
    #[must_use]
    pub fn last_begun(&self) -> Option<Position> {
        self.totals.values().map(|t| t.to).chain(self.begun.values().map(|m| m.to)).max()
    }
}

/// Lines after which the file is written anew, beyond those that it then had: 4,096 lines are under a megabyte.
const LINES_MAX: usize = 4_096;

/// The file, open for writing by the one writer.
#[derive(Debug)]
pub struct Manifests {
    dir: PathBuf,
    number: u64,
    file: File,
    ledger: Ledger,
    lines: usize,
    lines_max: usize,
    // Held for as long as the writer lives, so that the audit knows whether rows may still be on their way.
    _lock: File,
}

impl Manifests {
    /// Opens (or begins) the file in `dir`; a torn last line is cut.
    ///
    /// # Errors
    /// When another writer holds the folder, a file cannot be read or written, or a line is damaged.
    pub fn open(dir: &Path) -> io::Result<Manifests> {
        std::fs::create_dir_all(dir)?;
        let lock = File::create(dir.join("lock"))?;
        if lock.try_lock().is_err() {
            let problem = format!("{} is in use by another engine", dir.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, problem));
        }
        let (number, ledger, file) = match newest(dir)? {
            Some((number, path)) => {
                let (ledger, good) = Ledger::parse(&std::fs::read(&path)?, &path)?;
                let file = OpenOptions::new().append(true).open(&path)?;
                file.set_len(good)?;
                (number, ledger, file)
            }
            None => (1, Ledger::default(), create(&file_path(dir, 1))?),
        };
        let mut manifests =
            Manifests { dir: dir.into(), number, file, ledger, lines: 0, lines_max: LINES_MAX, _lock: lock };
        sync_dir(dir)?;
        manifests.remove_others()?;
        for table in LATER_TABLES {
            if !manifests.ledger.since.contains_key(&table) {
                let position = manifests.ledger.since(table);
                manifests.append(Line::Since { table, position }, true)?;
            }
        }
        Ok(manifests)
    }

    /// Whether a writer holds `dir` now.
    #[must_use]
    pub fn in_use(dir: &Path) -> bool {
        File::open(dir.join("lock")).is_ok_and(|lock| lock.try_lock().is_err())
    }

    /// What is written so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Writes down a batch that is about to be sent, and waits until it is on the disk.
    ///
    /// # Errors
    /// When the disk refuses; the batch must not be sent then.
    pub fn begin(&mut self, manifest: Manifest) -> io::Result<()> {
        self.append(Line::Begun(manifest), true)
    }

    /// Writes down that a batch was acknowledged. Not synced: a batch that is sent again is recognised by its token.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn done(&mut self, token: &str) -> io::Result<()> {
        self.append(Line::Done { token: token.into() }, false)
    }

    /// Writes down that everything before `position` in the journal is acknowledged.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn stored(&mut self, position: Position) -> io::Result<()> {
        if self.ledger.stored == Some(position) {
            return Ok(());
        }
        self.append(Line::Stored { position }, false)
    }

    fn append(&mut self, line: Line, sync: bool) -> io::Result<()> {
        if self.lines >= self.lines_max {
            self.rotate()?;
        }
        let text = print_line(&line)?;
        let written = self.file.write_all(&text).and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // Nobody knows what of the line is there: the next one goes into a new file.
            self.lines = self.lines_max;
            return Err(error);
        }
        self.lines += 1;
        self.ledger.apply(line);
        Ok(())
    }

    /// Writes what counts into the next file, and removes this one.
    fn rotate(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        let ledger = &self.ledger;
        let totals = ledger.totals.values().map(|t| Line::Total(*t));
        let begun = ledger.begun().into_iter().map(Line::Begun);
        let stored = ledger.stored.map(|position| Line::Stored { position });
        let since = ledger.since.iter().map(|(table, position)| Line::Since { table: *table, position: *position });
        for line in totals.chain(begun).chain(stored).chain(since) {
            text.extend(print_line(&line)?);
        }
        let temporary = self.dir.join("next.tmp");
        let mut file = create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        let next = file_path(&self.dir, self.number + 1);
        std::fs::rename(&temporary, &next)?;
        sync_dir(&self.dir)?;
        self.file = OpenOptions::new().append(true).open(&next)?;
        self.number += 1;
        self.lines = 0;
        self.remove_others()
    }

    /// Removes files older than the current one: all of what they say is in it.
    fn remove_others(&mut self) -> io::Result<()> {
        for (number, path) in files(&self.dir)? {
            if number < self.number {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).open(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".log"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            found.push((number, path));
        }
    }
    Ok(found)
}

fn newest(dir: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    Ok(files(dir)?.into_iter().max())
}

fn print_line(line: &Line) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(line)?;
    Ok(format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (crc, json) = text.split_once(' ')?;
    let good = u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(json.as_bytes()));
    good.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests;

//! What was deleted on purpose, for the audit: `manifests/retention.log`, lines of JSON.
//!
//! A deletion is *begun* (appended and synced) with what is about to be deleted, and *done* when it is gone. A line without
//! either word is of somebody who dropped a partition by hand: the audit then says nothing about it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::storage::rows::Lane;

/// Rows of one epoch, as far as they can be told without looking at each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// How many.
    pub rows: u64,
    /// Wrapping sum of every `seq`.
    pub seq_sum: u64,
    /// Exclusive or of every `seq`.
    pub seq_xor: u64,
}

impl Rows {
    fn add(&mut self, other: &Rows) {
        self.rows += other.rows;
        self.seq_sum = self.seq_sum.wrapping_add(other.seq_sum);
        self.seq_xor ^= other.seq_xor;
    }
}

/// A deletion in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The partition.
    #[serde(flatten)]
    pub lane: Lane,
    /// Which of its rows, as a condition.
    pub due: String,
    /// What they are, by epoch. (A list: JSON has no numbers for keys.)
    pub epochs: Vec<(u32, Rows)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begun {
        begun: Deletion,
    },
    Done {
        done: Lane,
    },
    /// What is done, summed up, when the file is written anew.
    Total {
        total: Lane,
        epochs: Vec<(u32, Rows)>,
    },
    /// The whole partition, whatever was in it.
    Whole(Lane),
}

/// What was deleted of an epoch of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// These rows.
    Rows(Rows),
    /// These, and of these others nobody knows: their deletion was broken off.
    Begun(Rows, Rows),
    /// Everything.
    Whole,
}

/// Everything that the file says.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    whole: Vec<Lane>,
    done: BTreeMap<Lane, BTreeMap<u32, Rows>>,
    begun: BTreeMap<Lane, Deletion>,
}

/// Where it is.
#[must_use]
pub fn path(manifests_dir: &Path) -> PathBuf {
    manifests_dir.join("retention.log")
}

impl Ledger {
    /// Reads it; empty when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or a line but the last is damaged.
    pub fn read(manifests_dir: &Path) -> io::Result<Ledger> {
        let path = path(manifests_dir);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(&bytes, &path)?.0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            Err(e) => Err(e),
        }
    }

    /// The ledger, the length of its good lines, and how many they are.
    fn parse(bytes: &[u8], path: &Path) -> io::Result<(Ledger, u64, usize)> {
        let (mut ledger, mut good, mut lines) = (Ledger::default(), 0, 0);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let whole = line.strip_suffix(b"\n").map(<[u8]>::trim_ascii);
            match whole.map(|text| (text.is_empty(), serde_json::from_slice(text))) {
                Some((true, _)) => {}
                Some((false, Ok(line))) => ledger.apply(line),
                // Only the last line can be torn by a crash.
                _ if good + line.len() == bytes.len() => break,
                _ => {
                    let problem = format!("{}: line {} is damaged", path.display(), lines + 1);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                }
            }
            good += line.len();
            lines += 1;
        }
        Ok((ledger, good as u64, lines))
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Whole(lane) => self.whole.push(lane),
            Line::Total { total, epochs } => self.add(total, &epochs),
            Line::Begun { begun } => drop(self.begun.insert(begun.lane, begun)),
            Line::Done { done } => {
                if let Some(deletion) = self.begun.remove(&done) {
                    self.add(done, &deletion.epochs);
                }
            }
        }
    }

    fn add(&mut self, lane: Lane, epochs: &[(u32, Rows)]) {
        let of_lane = self.done.entry(lane).or_default();
        epochs.iter().for_each(|(epoch, rows)| of_lane.entry(*epoch).or_default().add(rows));
    }

    /// What was deleted of an epoch of a partition; `None`: nothing.
    #[must_use]
    pub fn gone(&self, lane: Lane, epoch: u32) -> Option<Gone> {
        if self.whole.contains(&lane) {
            return Some(Gone::Whole);
        }
        let done = self.done.get(&lane).and_then(|epochs| epochs.get(&epoch)).copied();
        let begun = self.begun.get(&lane).and_then(|deletion| deletion.epochs.iter().find(|(of, _)| *of == epoch));
        match begun {
            Some((_, begun)) => Some(Gone::Begun(done.unwrap_or_default(), *begun)),
            None => done.map(Gone::Rows),
        }
    }
}

/// Lines after which the file is written anew.
const LINES_MAX: usize = 10_000;

/// The file, open for the one process that deletes.
#[derive(Debug)]
pub struct Writer {
    file: File,
    ledger: Ledger,
}

impl Writer {
    /// Opens it; a torn last line is cut, and a long file is written anew with its sums.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line is damaged.
    pub fn open(manifests_dir: &Path) -> io::Result<Writer> {
        let path = path(manifests_dir);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let (ledger, good, lines) = Ledger::parse(&std::fs::read(&path)?, &path)?;
        file.set_len(good)?;
        let mut writer = Writer { file, ledger };
        if lines > LINES_MAX {
            writer.rewrite(manifests_dir)?;
        }
        Ok(writer)
    }

    /// Deletions that were begun and are not done.
    #[must_use]
    pub fn begun(&self) -> Vec<Deletion> {
        self.ledger.begun.values().cloned().collect()
    }

    /// Writes down what is about to be deleted, and waits until that is on the disk. A partition has one at a time.
    ///
    /// # Errors
    /// When the disk refuses; nothing may be deleted then.
    pub fn begin(&mut self, deletion: &Deletion) -> io::Result<()> {
        self.append(Line::Begun { begun: deletion.clone() })
    }

    /// Writes down that it is gone.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn done(&mut self, deletion: &Deletion) -> io::Result<()> {
        self.append(Line::Done { done: deletion.lane })
    }

    fn append(&mut self, line: Line) -> io::Result<()> {
        self.file.write_all(&print(&line)?)?;
        self.file.sync_data()?;
        self.ledger.apply(line);
        Ok(())
    }

    fn rewrite(&mut self, manifests_dir: &Path) -> io::Result<()> {
        let Ledger { whole, done, begun } = &self.ledger;
        let mut text = Vec::new();
        let whole = whole.iter().map(|lane| Line::Whole(*lane));
        let done = done
            .iter()
            .map(|(lane, epochs)| Line::Total { total: *lane, epochs: epochs.clone().into_iter().collect() });
        for line in whole.chain(done).chain(begun.values().map(|begun| Line::Begun { begun: begun.clone() })) {
            text.extend(print(&line)?);
        }
        let beside = manifests_dir.join("retention.tmp");
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        let path = path(manifests_dir);
        std::fs::rename(&beside, &path)?;
        File::open(manifests_dir)?.sync_all()?;
        self.file = OpenOptions::new().append(true).open(&path)?;
        Ok(())
    }
}

fn print(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::rows::{Audience, Table};

    const LANE: Lane = Lane { audience: Audience::Private, table: Table::Ticks, partition: 20260101 };

    fn deletion(rows: u64) -> Deletion {
        let epochs = vec![(3, Rows { rows, seq_sum: u64::MAX, seq_xor: 5 })];
        Deletion { lane: LANE, due: "ts_recv < 'x'".into(), epochs }
    }

    #[test]
    fn what_is_done_adds_up_and_what_was_broken_off_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path()).unwrap();
        writer.begin(&deletion(7)).unwrap();
        writer.done(&deletion(7)).unwrap();
        writer.begin(&deletion(2)).unwrap();
        let (done, begun) = (Rows { rows: 7, seq_sum: u64::MAX, seq_xor: 5 }, deletion(2).epochs[0].1);
        let ledger = Ledger::read(dir.path()).unwrap();
        assert_eq!(ledger.gone(LANE, 3), Some(Gone::Begun(done, begun)));
        assert_eq!((ledger.gone(LANE, 4), ledger.gone(Lane { partition: 1, ..LANE }, 3)), (None, None));
        drop(writer);
        let mut writer = Writer::open(dir.path()).unwrap();
        assert_eq!(writer.begun(), [deletion(2)]);
        writer.done(&deletion(2)).unwrap();
        let both = Rows { rows: 9, seq_sum: u64::MAX - 1, seq_xor: 0 };
        assert_eq!(Ledger::read(dir.path()).unwrap().gone(LANE, 3), Some(Gone::Rows(both)));
        // Written anew it says the same.
        writer.begin(&deletion(1)).unwrap();
        writer.rewrite(dir.path()).unwrap();
        writer.done(&deletion(1)).unwrap();
        let all = Rows { rows: 10, seq_sum: u64::MAX - 2, seq_xor: 5 };
        assert_eq!(Ledger::read(dir.path()).unwrap().gone(LANE, 3), Some(Gone::Rows(all)));
    }

    #[test]
    fn a_torn_line_is_cut_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        Writer::open(dir.path()).unwrap().begin(&deletion(7)).unwrap();
        let text = std::fs::read_to_string(path(dir.path())).unwrap();
        std::fs::write(path(dir.path()), format!("{text}{}", &text[..20])).unwrap();
        assert_eq!(Writer::open(dir.path()).unwrap().begun(), [deletion(7)]);
        assert_eq!(std::fs::read_to_string(path(dir.path())).unwrap(), text);
        std::fs::write(path(dir.path()), format!("{{}}\n{text}")).unwrap();
        assert!(Ledger::read(dir.path()).unwrap_err().to_string().contains("line 1 is damaged"));
    }
}

//! A replay: recordings through the stages in one thread, into tables.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Pipeline, Settings};
use crate::clock;
use crate::market::{IndicatorName, Input};
use crate::replay::{Checkpoint, Manifest, Outputs, Paths, Recording, ReplayError, Summary};
use crate::stages::{Layout, Market};

/// Inputs between two looks at the clock and the progress.
const BATCH: u64 = 1 << 16;

/// A replay begins a world of its own.
const EPOCH: u32 = 1;

/// What a replay is asked to do.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// The manifest.
    pub manifest: PathBuf,
    /// The stages to run; empty for those of the configuration.
    pub stages: Vec<String>,
    /// What to write.
    pub paths: Paths,
    /// How many times faster than it happened; `None` for as fast as it goes.
    pub speed: Option<f64>,
    /// Stops at the first malformed row.
    pub strict: bool,
    /// Where the state is kept so that a replay that was killed goes on, and after how many inputs each time.
    pub checkpoint: Option<(PathBuf, u64)>,
}

/// Who watches a replay.
pub trait Watcher {
    /// So many bytes of so many are read.
    fn progress(&mut self, read: u64, total: u64);
    /// A malformed row was left out: the first twenty are told.
    fn malformed(&mut self, note: &str);
}

/// What a replay came to.
#[derive(Debug)]
pub struct ReplayReport {
    /// What was counted.
    pub summary: Summary,
    /// Who and what it is about.
    pub market: Market,
    /// Malformed rows, which were left out.
    pub malformed: u64,
    /// Numbers of the manifest's entries that gave no input.
    pub silent: Vec<usize>,
    /// Inputs that the stages of this process took: without those behind a checkpoint.
    pub inputs: u64,
    /// Ticks and trades among them.
    pub data: u64,
    /// How long it took.
    pub wall: Duration,
}

/// Of the bars' section what matters here.
#[derive(Deserialize)]
pub(super) struct BarsTiming {
    pub(super) close_delay_ms: u32,
}

/// Replays a manifest.
///
/// # Errors
/// [`ReplayError`]: one sentence naming what is wrong.
pub fn replay(
    settings: &Settings,
    options: &ReplayOptions,
    watcher: &mut dyn Watcher,
) -> Result<ReplayReport, ReplayError> {
    let manifest = Manifest::read(&options.manifest)?;
    check_paths(options, &manifest)?;
    let timing: BarsTiming = settings.config.section("bars").map_err(|e| ReplayError::Options(e.to_string()))?;
    let mut recording = Recording::open(&manifest, &settings.instruments)?;
    recording.close_after(i64::from(timing.close_delay_ms) * 1_000_000);
    if options.strict {
        recording.be_strict();
    }
    let market = recording.market().clone().with_holidays(settings.holidays.clone());
    let market = market.with_indicators(IndicatorName::numbered(&settings.indicators));
    let layout = if options.stages.is_empty() {
        settings.layout.clone()
    } else {
        Layout::new(vec![options.stages.clone()]).map_err(|e| ReplayError::Options(format!("--stages: {e}")))?
    };
    let groups = layout.build(&settings.config, &market).map_err(|e| ReplayError::Options(e.to_string()))?;
    let run = Run {
        pipeline: Pipeline::new(groups, market.clone()),
        recording,
        market,
        fingerprint: fingerprint(settings, options, &manifest, &layout),
        inputs: 0,
    };
    run.run(options, watcher)
}

/// What is written may be no file that is read, and no two tables may share one; only CSV can be cut to a length.
fn check_paths(options: &ReplayOptions, manifest: &Manifest) -> Result<(), ReplayError> {
    let files: Vec<&PathBuf> = options.paths.files().collect();
    let read = manifest.entries.iter().flat_map(|entry| &entry.files).chain([&manifest.path]);
    let mut known: Vec<(PathBuf, &str)> = read.map(|path| (place_of(path), "read by this replay")).collect();
    let checkpoint = options.checkpoint.iter().map(|(path, _)| (path, "named as the checkpoint"));
    for (path, role) in checkpoint.chain(files.iter().map(|path| (*path, "named for another table"))) {
        let place = place_of(path);
        if let Some((_, other)) = known.iter().find(|(taken, _)| *taken == place) {
            let path = path.display();
            return Err(ReplayError::Options(format!("{path} is {other}, expected another file to write")));
        }
        known.push((place, role));
    }
    let parquet = files.iter().find(|file| crate::replay::output::is_parquet(file));
    match (&options.checkpoint, parquet) {
        (Some(_), Some(file)) => Err(ReplayError::Options(format!(
            "{}: a Parquet file cannot be continued, expected CSV files with --checkpoint",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Where a path leads, by whatever name; of a file that is not there yet its folder counts.
fn place_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_folder = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_path_buf())
}

/// What must not change between a checkpoint and its resumption.
fn fingerprint(settings: &Settings, options: &ReplayOptions, manifest: &Manifest, layout: &Layout) -> String {
    let mut text = format!("{}\n{}\n{layout:?}\n{:?}\n", manifest.text, settings.config.masked(), options.paths);
    for file in manifest.entries.iter().flat_map(|entry| &entry.files) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        // Writing to memory cannot fail.
        let _ = writeln!(text, "{} {length}", file.display());
    }
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A replay under way.
struct Run {
    pipeline: Pipeline,
    recording: Recording,
    market: Market,
    fingerprint: String,
    /// Inputs taken, of the clock too, with those behind a checkpoint.
    inputs: u64,
}

impl Run {
    fn run(mut self, options: &ReplayOptions, watcher: &mut dyn Watcher) -> Result<ReplayReport, ReplayError> {
        let mut outputs = self.begin(options, watcher)?;
        let (skipped, counted) = (self.inputs, outputs.summary.ticks() + outputs.summary.trades());
        let started_ns = clock::monotonic_ns();
        let mut pace = options.speed.map(|speed| Pace { speed, started_ns, first_ns: None });
        let every = options.checkpoint.as_ref().map_or(u64::MAX, |(_, every)| *every);
        let mut last_ns = 0;
        while let Some(input) = self.recording.advance()? {
            if let Some(pace) = &mut pace {
                pace.wait(input);
            }
            last_ns = input.now_ns();
            self.pipeline.run(input, &mut outputs, last_ns);
            self.inputs += 1;
            if self.inputs.is_multiple_of(BATCH) {
                outputs.flush()?;
                self.tell(watcher);
            }
            if self.inputs.is_multiple_of(every) {
                self.checkpoint(options, &mut outputs)?;
            }
        }
        self.pipeline.finish(&mut outputs, last_ns);
        self.tell(watcher);
        let summary = outputs.finish()?;
        if let Some((path, _)) = &options.checkpoint {
            remove(path)?;
        }
        let wall_ns = clock::monotonic_ns() - started_ns;
        Ok(ReplayReport {
            data: summary.ticks() + summary.trades() - counted,
            inputs: self.inputs - skipped,
            malformed: self.recording.malformed(),
            silent: self.recording.silent(),
            wall: Duration::from_nanos(wall_ns.unsigned_abs()),
            market: self.market,
            summary,
        })
    }

    /// Begins anew, or behind a checkpoint.
    fn begin(&mut self, options: &ReplayOptions, watcher: &mut dyn Watcher) -> Result<Outputs, ReplayError> {
        let found = match &options.checkpoint {
            Some((path, _)) => Checkpoint::read(path, &self.fingerprint)?,
            None => None,
        };
        let Some(found) = found else {
            self.pipeline.resume_after(EPOCH, 0);
            return Outputs::create(options.paths.clone(), &self.market);
        };
        let stages = found.stages();
        self.pipeline.load(&stages).map_err(|error| ReplayError::Options(format!("the checkpoint: {error}")))?;
        self.pipeline.resume_after(stages.epoch, stages.seq);
        // Reading again is quick beside the stages, and finds everything where it was.
        while self.inputs < found.inputs && self.recording.next()?.is_some() {
            self.inputs += 1;
            if self.inputs.is_multiple_of(BATCH) {
                self.tell(watcher);
            }
        }
        if (self.inputs, self.recording.rows()) != (found.inputs, found.rows.clone()) {
            let problem = "the recordings changed since the checkpoint was written; remove it to begin anew";
            return Err(ReplayError::Options(problem.into()));
        }
        Outputs::resume(options.paths.clone(), &self.market, found.summary, &found.lengths)
    }

    fn tell(&mut self, watcher: &mut dyn Watcher) {
        let (read, total) = self.recording.progress();
        watcher.progress(read, total);
        while let Some(note) = self.recording.take_note() {
            watcher.malformed(&note);
        }
    }

    fn checkpoint(&mut self, options: &ReplayOptions, outputs: &mut Outputs) -> Result<(), ReplayError> {
        let Some((path, _)) = &options.checkpoint else { return Ok(()) };
        let lengths = outputs.sync()?;
        let (rows, summary) = (self.recording.rows(), outputs.summary.clone());
        Checkpoint::new(&self.fingerprint, self.inputs, rows, lengths, summary, self.pipeline.save()).write(path)
    }
}

fn remove(path: &PathBuf) -> Result<(), ReplayError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ReplayError::File(format!("checkpoint {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Holds a replay to the times of its recordings.
struct Pace {
    speed: f64,
    started_ns: i64,
    first_ns: Option<i64>,
}

impl Pace {
    fn wait(&mut self, input: &Input) {
        let first_ns = *self.first_ns.get_or_insert(input.now_ns());
        let due_ns = (input.now_ns().saturating_sub(first_ns) as f64 / self.speed) as i64;
        let early_ns = due_ns - (clock::monotonic_ns() - self.started_ns);
        if early_ns > 0 {
            std::thread::sleep(Duration::from_nanos(early_ns.unsigned_abs()));
        }
    }
}

//! Starting and stopping the journal's two threads.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{JoinHandle, Thread, park_timeout};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};

use super::config::JournalConfig;
use super::disk::{Disk, SystemDisk, sync_dir};
use super::durable::{Durable, DurableAt};
use super::format::{Catalogue, JournalError, list_segments};
use super::queue::{BLOCK_BYTES, Filler, PARK_MAX, Queue};
use super::retention::{Retention, Stored};
use super::segments::Segments;
use super::snapshot::{self, Snapshot};
use super::worker::{Finished, Growth, Parts, Worker};
use crate::ring::{Drained, Outlet};
use crate::{clock, metrics};

/// Most records taken off the ring before the disk thread's question is answered: some 20 µs of copying.
const DRAIN_MAX: usize = 256;

/// Snapshots on their way to the disk: one being written, one waiting. A third is not taken.
const SNAPSHOTS_MAX: usize = 2;

/// What distinguishes one run of the journal from another.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Start of the engine: never used before in this folder.
    pub epoch: u32,
    /// `seq` of the first record there will be.
    pub first_seq: u64,
    /// Who and what the records are about.
    pub catalogue: Catalogue,
}

/// Lets a running journal name more sources and instruments.
#[derive(Clone, Debug)]
pub struct JournalGrowth {
    growths: Sender<Growth>,
    queue: Arc<Queue>,
}

impl JournalGrowth {
    /// Begins a segment with this catalogue and returns when it is on the disk: every record that the pipeline publishes
    /// after this is in a segment that names what is in `catalogue`. Waits for `patience` at most.
    ///
    /// # Errors
    /// [`JournalError`] when the catalogue does not fit into a segment, the disk does not answer, or the journal stops.
    pub fn grow(&self, catalogue: Catalogue, patience: Duration) -> Result<(), JournalError> {
        let (tell, done) = bounded(1);
        self.growths.send_timeout((catalogue, tell), patience).map_err(|_| JournalError::Slow)?;
        self.queue.wake_disk();
        match done.recv_timeout(patience) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => Err(JournalError::Slow),
            Err(RecvTimeoutError::Disconnected) => Err(JournalError::Stopping),
        }
    }
}

/// How full the memory between the stages and the disk is.
#[derive(Debug, Clone)]
pub struct JournalFill(Arc<Queue>);

impl JournalFill {
    /// Bytes in use, and how many there are; in whole blocks.
    #[must_use]
    pub fn now(&self) -> (u64, u64) {
        let (used, all) = self.0.fill();
        (used as u64 * BLOCK_BYTES as u64, all as u64 * BLOCK_BYTES as u64)
    }

    /// Records that will never be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost()
    }
}

/// A running journal.
#[derive(Debug)]
pub struct JournalHandle {
    dir: PathBuf,
    durable: Durable,
    snapshots: Sender<Snapshot>,
    growth: JournalGrowth,
    stored: Stored,
    queue: Arc<Queue>,
    consumer: JoinHandle<()>,
    disk: JoinHandle<Finished>,
    /// Held as long as the threads may write.
    _lock: Lock,
}

/// Starts journaling what `outlet` says into the folder `dir`, which is made if it is not there. The first segment is
/// on the disk when this returns.
///
/// # Errors
/// [`JournalError`] when the folder or the first segment cannot be made, another engine uses the folder, or the epoch
/// was used before.
pub fn start(
    config: &JournalConfig,
    dir: &Path,
    setup: Setup,
    outlet: Box<dyn Outlet>,
) -> Result<JournalHandle, JournalError> {
    start_on(Box::new(SystemDisk), config, dir, setup, outlet)
}

/// [`start`] on a disk other than the machine's own.
///
/// # Errors
/// As [`start`].
pub fn start_on(
    disk: Box<dyn Disk>,
    config: &JournalConfig,
    dir: &Path,
    setup: Setup,
    outlet: Box<dyn Outlet>,
) -> Result<JournalHandle, JournalError> {
    make_folders(dir)?;
    let lock = Lock::take(dir)?;
    if let Some(used) = list_segments(dir)?.iter().rfind(|id| id.epoch >= setup.epoch) {
        return Err(JournalError::Exists { path: used.path(dir) });
    }
    let segments = Segments::new(disk, dir, config.segment_bytes, setup.epoch, setup.first_seq, setup.catalogue)?;
    let at = DurableAt { position: segments.position(), seq: setup.first_seq.saturating_sub(1) };
    let (setter, durable) = Durable::channel(at);
    let (snapshots, snapshots_rx) = bounded(SNAPSHOTS_MAX);
    let stored = Stored::default();
    let queue = Arc::new(Queue::new(config.queue_bytes));
    // One at a time.
    let (growths, growths_rx) = bounded(1);
    let growth = JournalGrowth { growths, queue: queue.clone() };
    let worker = Worker::new(Parts {
        queue: queue.clone(),
        dir: dir.into(),
        segments,
        durable: (setter, at),
        snapshots: snapshots_rx,
        growths: growths_rx,
        retention: Retention::new(dir, config.keep_hours, config.max_bytes, stored.clone()),
        sync_ms: config.sync_ms,
    });
    let disk = spawn("tw-journal-disk", dir, move || worker.run())?;
    let consumer = spawn("tw-journal", dir, {
        let queue = queue.clone();
        move || consume(&queue, outlet)
    })?;
    Ok(JournalHandle { dir: dir.into(), durable, snapshots, growth, stored, queue, consumer, disk, _lock: lock })
}

fn spawn<T: Send + 'static>(
    name: &str,
    dir: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, JournalError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(JournalError::io("start a thread for", dir))
}

/// The folder is ours: no other engine may write or mend there. Reading needs no lock.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the folder until the lock is dropped or the process ends.
    pub(super) fn take(dir: &Path) -> Result<Lock, JournalError> {
        let path = dir.join("lock");
        let file = File::create(&path).map_err(JournalError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked { path }),
            Err(TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child process that was forked meanwhile, until that has begun its program.
        let _ = self.0.unlock();
    }
}

/// Makes the journal's folders, durably.
pub(super) fn make_folders(dir: &Path) -> Result<(), JournalError> {
    let snapshots = snapshot::folder(dir);
    std::fs::create_dir_all(&snapshots).map_err(JournalError::io("create", &snapshots))?;
    sync_dir(dir).map_err(JournalError::io("sync", dir))?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_dir(parent).map_err(JournalError::io("sync", parent)),
        None => Ok(()),
    }
}

impl JournalHandle {
    /// How far the journal is on the disk.
    #[must_use]
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// The journal's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where snapshots go: `try_send`, since a snapshot that finds no room is not worth waiting for. Each is written
    /// when its record is durable.
    #[must_use]
    pub fn snapshots(&self) -> Sender<Snapshot> {
        self.snapshots.clone()
    }

    /// What lets it name more sources and instruments.
    #[must_use]
    pub fn growth(&self) -> JournalGrowth {
        self.growth.clone()
    }

    /// How full its memory is.
    #[must_use]
    pub fn fill(&self) -> JournalFill {
        JournalFill(Arc::clone(&self.queue))
    }

    /// Where the storage writer tells what the database has.
    #[must_use]
    pub fn stored(&self) -> Stored {
        self.stored.clone()
    }

    /// From `patience` on nothing waits for a disk that does not answer: what finds no room is discarded and counted.
    /// To be called before waiting for the pipeline to stop, since the pipeline may be waiting for room in the ring.
    pub fn hurry(&self, patience: Duration) {
        self.queue.give_up_at(in_ns(patience));
    }

    /// Waits until everything that the pipeline published before it stopped is on the disk, and closes. To be called
    /// when the pipeline has stopped. After `patience`, or that of an earlier [`JournalHandle::hurry`], a disk that does
    /// not answer is given up; after twice `patience` everything is.
    ///
    /// # Errors
    /// [`JournalError::Unwritten`] when records had to be given up.
    pub fn stop(self, patience: Duration) -> Result<DurableAt, JournalError> {
        self.queue.leave_at(in_ns(patience.saturating_mul(2)));
        self.hurry(patience);
        let crashed = |_| JournalError::Unwritten { records: self.queue.lost(), reason: "a thread panicked".into() };
        self.consumer.join().map_err(crashed)?;
        let Finished { at, reason } = self.disk.join().map_err(crashed)?;
        // What was handed over after the disk had been given up.
        while let Some(block) = self.queue.pop() {
            self.queue.lose(block.records);
        }
        match self.queue.lost() {
            0 => Ok(at),
            records => Err(JournalError::Unwritten { records, reason }),
        }
    }
}

/// The time in `patience` from now.
fn in_ns(patience: Duration) -> i64 {
    clock::monotonic_ns().saturating_add(i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX)).min(i64::MAX - 1)
}

/// Wakes the consumer's thread when the ring has records.
struct WakeThread {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for WakeThread {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The thread `tw-journal`: from the ring into the queue.
fn consume(queue: &Queue, mut outlet: Box<dyn Outlet>) {
    let mut filler = Filler::new(queue);
    let wake = Arc::new(WakeThread { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(wake.clone());
    let mut context = Context::from_waker(&waker);
    let mut slept = false;
    loop {
        match outlet.drain(DRAIN_MAX, &mut |kind, bytes| filler.push(kind, bytes)) {
            Drained::Shutdown => break,
            Drained::Records(count) => {
                metrics::OUTBOUND_TAKEN[0].add(count as u64);
                if slept && !wake.woken.load(Ordering::Acquire) && !filler.is_asked() {
                    metrics::PARK_BACKSTOPS.inc();
                }
                slept = false;
                filler.answer();
            }
            Drained::Empty => {
                filler.answer();
                wake.woken.store(false, Ordering::Release);
                slept = outlet.poll_ready(&mut context).is_pending();
                if slept && !filler.is_asked() {
                    park_timeout(PARK_MAX);
                }
            }
        }
        if queue.leaving() {
            tracing::error!("journal: the pipeline did not stop in time; what it still says is not journaled");
            break;
        }
    }
    filler.end();
}

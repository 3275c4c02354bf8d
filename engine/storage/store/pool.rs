//! The threads that run requests on the engine: few, with a bounded queue before them, apart for writer and readers so
//! that no query of a quant can keep the engine's batches waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::{mpsc, oneshot};

use super::chdb::Progress;
use super::reply::{Code, Failure};
use super::session::{Engine, Job, Sink, User};

/// Threads per kind of user: one insert in flight for each of ten tables rarely coincide; two readers compute at once.
const THREADS: usize = 4;
/// Requests that may wait per kind of user: all connections of the front may.
const WAITING: usize = super::http::CONNECTIONS;
/// Pieces of a result between the engine and a client.
const PIECES: usize = 4;
/// How long a client may leave a piece untaken before its query is given up.
const STALLED: Duration = Duration::from_secs(30);

/// An answer that has begun.
pub(super) struct Answer {
    pub(super) format: String,
    /// Set when the answer is complete at once.
    pub(super) done: Option<Progress>,
    pub(super) first: Bytes,
    pub(super) rest: mpsc::Receiver<Result<Bytes, Failure>>,
}

struct Task {
    job: Job,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// The threads' entrance.
#[derive(Clone)]
pub(super) struct Pool {
    writers: Sender<Task>,
    readers: Sender<Task>,
}

impl Pool {
    /// Starts the threads; they end when the last `Pool` is dropped.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub(super) fn start(engine: Arc<Engine>, runtime: &tokio::runtime::Handle) -> std::io::Result<Self> {
        let lane = |name: &str| -> std::io::Result<Sender<Task>> {
            let (sender, receiver) = bounded(WAITING);
            for n in 0..THREADS {
                let (receiver, engine, runtime) = (receiver.clone(), engine.clone(), runtime.clone());
                let name = format!("store-{name}-{n}");
                std::thread::Builder::new().name(name).spawn(move || work(&receiver, &engine, &runtime))?;
            }
            Ok(sender)
        };
        Ok(Self { writers: lane("write")?, readers: lane("read")? })
    }

    /// Hands a request over and waits for the beginning of its answer.
    ///
    /// # Errors
    /// The failure for the client; too many are waiting already.
    pub(super) async fn run(&self, job: Job) -> Result<Answer, Failure> {
        let lane = if job.user == User::Writer { &self.writers } else { &self.readers };
        let (reply, answer) = oneshot::channel();
        match lane.try_send(Task { job, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let what = format!("{WAITING} requests of this user are waiting already");
                return Err(Failure::new(Code::TooManySimultaneousQueries, what));
            }
            Err(TrySendError::Disconnected(_)) => return Err(stopping()),
        }
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> Failure {
    Failure::new(Code::TooManySimultaneousQueries, "the store is stopping")
}

fn work(tasks: &Receiver<Task>, engine: &Engine, runtime: &tokio::runtime::Handle) {
    for Task { job, reply } in tasks {
        if reply.is_closed() {
            continue;
        }
        let mut sink = Outlet { runtime, reply: Some(reply), format: String::new(), first: None, rest: None };
        let outcome = engine.run(job, &mut sink);
        sink.finish(outcome);
    }
}

/// Holds the first piece back: an answer of one piece goes out whole, with its length and what it read.
struct Outlet<'r> {
    runtime: &'r tokio::runtime::Handle,
    reply: Option<oneshot::Sender<Result<Answer, Failure>>>,
    format: String,
    first: Option<Bytes>,
    rest: Option<mpsc::Sender<Result<Bytes, Failure>>>,
}

impl Sink for Outlet<'_> {
    fn begin(&mut self, format: &str) {
        self.format = format.to_owned();
    }

    fn piece(&mut self, bytes: Bytes) -> bool {
        if self.first.is_none() {
            self.first = Some(bytes);
            return true;
        }
        if let Some(reply) = self.reply.take() {
            let (sender, rest) = mpsc::channel(PIECES);
            self.rest = Some(sender);
            let first = self.first.clone().unwrap_or_default();
            if reply.send(Ok(Answer { format: self.format.clone(), done: None, first, rest })).is_err() {
                return false;
            }
        }
        self.send(Ok(bytes))
    }
}

impl Outlet<'_> {
    fn send(&self, piece: Result<Bytes, Failure>) -> bool {
        let Some(sender) = &self.rest else { return false };
        self.runtime
            .block_on(async { tokio::time::timeout(STALLED, sender.send(piece)).await.is_ok_and(|r| r.is_ok()) })
    }

    fn finish(mut self, outcome: Result<Progress, Failure>) {
        let Some(reply) = self.reply.take() else {
            if let Err(failure) = outcome {
                self.send(Err(failure));
            }
            return;
        };
        let answer = outcome.map(|progress| Answer {
            format: std::mem::take(&mut self.format),
            done: Some(progress),
            first: self.first.take().unwrap_or_default(),
            rest: mpsc::channel(1).1,
        });
        // A client that is gone needs no answer.
        let _ = reply.send(answer);
    }
}

//! The session loop, one for all adapters: connect, subscribe, read, and begin again.
//!
//! It joins a [`Stream`], the decisions of a [`Machine`] and the stages' inlet. Decoding happens where the bytes are read,
//! on the same thread, and what comes out goes straight into the inlet. A source has one session, or (where the venue
//! limits the symbols of a connection) several, each with symbols of its own.
//!
//! Where the venue bears it, a connection that is too old, whose token expires, or whose symbols change is replaced without
//! a hole: the new one is made while the old one delivers, and takes over with its first price, or when the old one ends.
//! The old one is read a little longer, for what was on its way. What both deliver is a duplicate to the stages.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::adapters::{Decoder, Stream};
use super::event::{Event, Symbols};
use super::hours::Hours;
use super::line::{self, End, Heard, Line, Next, Progress};
use super::machine::{Machine, Pace, Step};
use super::net::{Connection, Failure, blotted_excerpt, excerpt};
use super::rate::SharedHosts;
use super::report::{RejectLog, Report};
use crate::clock;
use crate::market::Calendar;
use crate::metrics;

/// How long a connection is read after another took its place.
const GRACE: Duration = Duration::from_millis(500);

/// What a session needs beside its adapter.
pub struct Task {
    pub(super) told: watch::Receiver<Told>,
    pub(super) pace: Pace,
    pub(super) connect_timeout: Duration,
    pub(super) hosts: SharedHosts,
    pub(super) report: Rc<Report>,
    /// Which of the source's connections it is.
    pub(super) number: usize,
    /// Counts reads that brought prices.
    pub(super) prices: Rc<Cell<u64>>,
}

/// What a session is told to do.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// What to subscribe.
    pub(super) symbols: Arc<Symbols>,
    /// When these trade, a calendar for each class; none: always.
    pub(super) calendars: Arc<[Calendar]>,
    /// Changes when it is to connect anew, whatever it thinks of its connection.
    pub(super) anew: u64,
    pub(super) stop: bool,
}

/// Runs the session of one connection until it is stopped.
pub(super) async fn run<S: Stream>(stream: &S, task: Task) {
    let pace = Pace {
        ping_every_ns: stream.ping_every().map(nanos),
        age_max_ns: stream.age_max().map(nanos),
        overlaps: stream.overlaps(),
        ..task.pace
    };
    let mut session = Session::new(pace, task);
    while !session.is_over() {
        session.adopt_told();
        let step = session.step();
        session.publish(None);
        let news = until_told(session.task.told.clone());
        match step {
            Step::Connect => {
                let (hosts, limit) = (session.task.hosts.clone(), session.task.connect_timeout);
                let symbols = Arc::clone(&session.symbols);
                let opened = tokio::select! {
                    opened = line::open(stream, &symbols, &hosts, limit) => opened,
                    () = news => continue,
                };
                match opened {
                    Ok(connection) => session.serve(stream, connection).await,
                    Err(failure) => session.failed(&failure),
                }
            }
            Step::Wait(until_ns) => tokio::select! { () = sleep(until(until_ns)) => {}, () = news => {} },
            // The machine gives these only between `connected` and the end of `serve`.
            Step::Read(_) | Step::Ping | Step::Disconnect | Step::Replace => {
                session.machine.leave(clock::monotonic_ns(), Cause::None);
            }
        }
    }
}

/// One connection of a source, made again and again.
pub(super) struct Session {
    machine: Machine,
    hours: Hours,
    task: Task,
    symbols: Arc<Symbols>,
    anew: u64,
    connected_before: bool,
    /// When the last price was read, nanoseconds UTC; 0 before the first.
    last_data_ns: i64,
    rejects: RejectLog,
}

/// What is to be done about news from the supervisor.
enum Heed {
    Stop,
    Leave,
    Replace,
    Nothing,
}

/// What ended a wait.
enum Woke {
    Told,
    Read(Result<(), Failure>),
    Next(Progress),
    Alarm,
}

impl Session {
    fn new(pace: Pace, mut task: Task) -> Session {
        let Told { symbols, calendars, anew, .. } = task.told.borrow_and_update().clone();
        let hours = Hours::new(calendars.to_vec());
        let machine = Machine::new(pace, fastrand::u64(..));
        let (connected_before, last_data_ns, rejects) = (false, 0, RejectLog::new());
        Session { machine, hours, task, symbols, anew, connected_before, last_data_ns, rejects }
    }

    /// Whether it is time to stop; nobody left to say so is the same.
    fn is_over(&self) -> bool {
        self.task.told.borrow().stop || self.task.told.has_changed().is_err()
    }

    /// Takes note of what it was told while there is no connection.
    fn adopt_told(&mut self) {
        let told = self.task.told.borrow_and_update().clone();
        self.anew = told.anew;
        if !Arc::ptr_eq(&self.symbols, &told.symbols) {
            self.symbols = told.symbols;
            self.hours = Hours::new(told.calendars.to_vec());
            self.carry();
            // The wait was for other symbols, which may be what was refused.
            self.machine.hurry(clock::monotonic_ns());
        }
    }

    /// What the machine says now.
    fn step(&mut self) -> Step {
        let now_ns = clock::monotonic_ns();
        let is_open = self.hours.is_open(now_ns);
        self.machine.step(now_ns, is_open)
    }

    /// Reads a connection, and those that take its place, until there is none.
    async fn serve<S: Stream>(&mut self, stream: &S, connection: Connection) {
        let mut line = Line::new(stream, connection, Arc::clone(&self.symbols));
        let mut next: Option<Next<'_, S::Decoder>> = None;
        self.machine.connected(clock::monotonic_ns());
        self.connected(line.life());
        let mut alarm = pin!(sleep(Duration::ZERO));
        let mut news = pin!(until_told(self.task.told.clone()));
        loop {
            let step = self.step();
            self.publish(None);
            let until_ns = match step {
                Step::Read(until_ns) => until_ns,
                Step::Replace => {
                    let beside = self.successor(stream);
                    self.retire(next.replace(beside));
                    continue;
                }
                Step::Ping => {
                    if let Some(Next::Open(next)) = &mut next {
                        let _ = next.ping().await;
                    }
                    match line.ping().await {
                        Ok(()) => continue,
                        Err(failure) => break self.failed(&failure),
                    }
                }
                Step::Disconnect | Step::Connect | Step::Wait(_) => break self.left(),
            };
            // Only ever moved when it would ring too late or has rung: prices push the time back, and it may ring early.
            let deadline = Instant::now() + until(until_ns);
            if alarm.is_elapsed() || alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            let (heard, said) = (RefCell::new(Heard::default()), RefCell::new(Heard::default()));
            let woke = {
                let session = RefCell::new(&mut *self);
                tokio::select! {
                    biased;
                    () = news.as_mut() => Woke::Told,
                    // Before the old one, which may never be silent.
                    progress = Next::advance(&mut next, &session, &said) => Woke::Next(progress),
                    read = line.read(&session, &heard) => Woke::Read(read),
                    () = alarm.as_mut() => Woke::Alarm,
                }
            };
            match woke {
                Woke::Told => {
                    let heed = self.heed(stream);
                    news.set(until_told(self.task.told.clone()));
                    match heed {
                        Heed::Stop => return line.close().await,
                        Heed::Leave => break self.left(),
                        Heed::Replace => {
                            let beside = self.successor(stream);
                            self.retire(next.replace(beside));
                        }
                        Heed::Nothing => {}
                    }
                }
                Woke::Next(progress) => next = self.advanced(stream, next, progress, said.into_inner(), &mut line),
                Woke::Read(read) => {
                    if let Some(end) = heard.into_inner().end(read) {
                        match (end, next.take()) {
                            (End::Failed(_) | End::Leaving, Some(Next::Open(new))) => {
                                drop(self.succeed(&mut line, new));
                                self.carry();
                            }
                            (end, beside) => {
                                self.ended(end, &line);
                                break next = beside;
                            }
                        }
                    }
                }
                Woke::Alarm => {}
            }
        }
        // Before the goodbye, which may take its time: nobody is to trade on the prices of a source that is gone.
        self.publish(None);
        self.retire(next);
        self.carry();
        line.close().await;
    }

    /// A connection beside the one that is read, for what the session was last told.
    fn successor<'a, S: Stream>(&mut self, stream: &'a S) -> Next<'a, S::Decoder> {
        self.machine.replacing();
        let (hosts, limit) = (self.task.hosts.clone(), self.task.connect_timeout);
        let symbols = Arc::clone(&self.task.told.borrow().symbols);
        let subscribed = Arc::clone(&symbols);
        Next::Opening(Box::pin(async move { line::open(stream, &subscribed, &hosts, limit).await }), symbols)
    }

    /// The successor came a step further. What is left of it.
    fn advanced<'a, S: Stream>(
        &mut self,
        stream: &S,
        next: Option<Next<'a, S::Decoder>>,
        progress: Progress,
        said: Heard,
        line: &mut Line<S::Decoder>,
    ) -> Option<Next<'a, S::Decoder>> {
        let priced = said.data;
        match (progress, next) {
            (Progress::Opened(Ok(connection)), Some(Next::Opening(_, symbols))) => {
                return Some(Next::Open(Line::new(stream, *connection, symbols)));
            }
            (Progress::Opened(Err(failure)), _) => self.not_replaced(&failure),
            (Progress::Read(read), Some(next)) => match (said.end(read), next) {
                (None, Next::Open(new)) if priced => {
                    return Some(Next::Old(self.succeed(line, new), Instant::now() + GRACE));
                }
                (None, next) => return Some(next),
                (Some(End::Failed(failure)), Next::Open(new)) => self.not_replaced(&failure.without(&new.secrets)),
                (Some(_), Next::Open(_)) => {
                    self.not_replaced(&Failure::new(Cause::ClosedByPeer, "the new connection did not hold"));
                }
                (Some(_), old) => self.retire(Some(old)),
            },
            (Progress::Over, old) => self.retire(old),
            (_, next) => return next,
        }
        None
    }

    /// What is beside the connection is not needed any more.
    fn retire<D: Decoder>(&self, beside: Option<Next<'_, D>>) {
        match beside {
            Some(Next::Open(line)) => drop(spawn_local(line.close())),
            Some(Next::Old(line, _)) => {
                self.carry();
                drop(spawn_local(line.close()));
            }
            Some(Next::Opening(..)) | None => {}
        }
    }

    fn not_replaced(&mut self, failure: &Failure) {
        let (name, text) = (&self.task.report.status().name, excerpt(failure.text.as_bytes()));
        tracing::warn!(source = name, cause = %failure.cause, "a second connection to take over: {text}");
        self.machine.replace_failed(failure.retry_after.map(nanos), clock::monotonic_ns());
    }

    /// The successor is what is read from now on. Returns the one before.
    fn succeed<D: Decoder>(&mut self, line: &mut Line<D>, new: Line<D>) -> Line<D> {
        let old = std::mem::replace(line, new);
        self.symbols = Arc::clone(&line.symbols);
        self.machine.replaced(clock::monotonic_ns());
        self.connected(line.life());
        let told = self.task.told.borrow();
        self.hours = Hours::new(told.calendars.to_vec());
        if !Arc::ptr_eq(&self.symbols, &told.symbols) {
            // Told something else in the meantime.
            self.machine.expires(clock::monotonic_ns());
        }
        drop(told);
        tracing::info!(source = self.task.report.status().name, "a new connection took over from the old one");
        old
    }

    /// Says what the connection carries: what the one before did and nobody wants any more is at its end.
    fn carry(&self) {
        self.task.report.carry(self.task.number, Some(&self.symbols));
    }

    /// A connection was made.
    fn connected(&mut self, life: Option<Duration>) {
        if std::mem::replace(&mut self.connected_before, true) {
            self.task.report.status().reconnected();
        }
        if let Some(life) = life {
            self.machine.expires(clock::monotonic_ns().saturating_add(nanos(life)));
        }
    }

    /// What the supervisor wants while there is a connection.
    fn heed<S: Stream>(&mut self, stream: &S) -> Heed {
        let told = self.task.told.borrow_and_update().clone();
        if told.stop || self.task.told.has_changed().is_err() {
            return Heed::Stop;
        }
        let now_ns = clock::monotonic_ns();
        if std::mem::replace(&mut self.anew, told.anew) != told.anew {
            self.machine.failed(Cause::Mute, None, now_ns);
            return Heed::Leave;
        }
        match (Arc::ptr_eq(&told.symbols, &self.symbols), stream.overlaps()) {
            (true, _) => Heed::Nothing,
            (false, true) => Heed::Replace,
            (false, false) => {
                self.machine.again(now_ns);
                Heed::Leave
            }
        }
    }

    /// Decodes one frame into inputs.
    #[inline]
    pub(super) fn frame<D: Decoder>(
        &mut self,
        decoder: &mut D,
        symbols: &Symbols,
        frame: &[u8],
        at_ns: i64,
        secrets: &[String],
        heard: &mut Heard,
    ) {
        if heard.lost.is_some() {
            return;
        }
        decoder.decode(frame, at_ns, symbols, &mut |event| match event {
            Event::Tick(tick) => {
                self.on_data(heard, at_ns);
                self.task.report.offer(&tick.into());
            }
            Event::Trade(trade) => {
                self.on_data(heard, at_ns);
                self.task.report.offer(&trade.into());
            }
            Event::Confirmed => self.on_data(heard, at_ns),
            Event::Alive => {}
            Event::Leaving => heard.leaving = true,
            Event::Lost(count) => heard.lost = Some(count),
            Event::Refused(cause) => heard.refused = Some(Failure::new(cause, blotted_excerpt(frame, secrets))),
            Event::Reject(reject) => {
                let status = self.task.report.status();
                metrics::DECODE_ERRORS.at(status.index, 0).inc();
                self.rejects.report(&status.name, reject, frame, secrets);
            }
        });
    }

    /// The first price of a read: the machine is told once for all of them, and of a new state ahead of the price.
    #[inline]
    fn on_data(&mut self, heard: &mut Heard, at_ns: i64) {
        if std::mem::replace(&mut heard.data, true) {
            return;
        }
        self.last_data_ns = at_ns;
        self.task.prices.set(self.task.prices.get() + 1);
        if self.machine.data(clock::monotonic_ns()) {
            self.publish(Some(at_ns));
        }
    }

    /// By the other side's count so many messages never came, though the connection goes on.
    pub(super) fn missed(&mut self, count: u64, from_ns: i64) {
        let (report, now_ns) = (&self.task.report, clock::now_ns());
        tracing::warn!(source = report.status().name, count, "messages never came, by the venue's count");
        report.missed(count, if from_ns == 0 { now_ns } else { from_ns }, now_ns);
    }

    /// When the last price was read, nanoseconds UTC; 0 before the first.
    pub(super) fn last_data_ns(&self) -> i64 {
        self.last_data_ns
    }

    /// A connection came to its end, and there is no other.
    fn ended<D>(&mut self, end: End, line: &Line<D>) {
        match end {
            End::Failed(failure) => self.failed(&failure.without(&line.secrets)),
            End::Leaving => self.machine.leave(clock::monotonic_ns(), Cause::ClosedByPeer),
            End::Lost(count) => {
                self.complain(&format!("by the venue's count {count} message(s) never came; connecting anew"));
                self.machine.leave(clock::monotonic_ns(), Cause::SequenceJump);
            }
        }
    }

    /// What came is no frame.
    pub(super) fn unreadable(&self) {
        metrics::DECODE_ERRORS.at(self.task.report.status().index, 0).inc();
    }

    fn failed(&mut self, failure: &Failure) {
        // The words may be a stranger's: cut, and without what a terminal would obey.
        self.complain(&excerpt(failure.text.as_bytes()));
        self.machine.failed(failure.cause, failure.retry_after.map(nanos), clock::monotonic_ns());
        self.publish(None);
    }

    /// The machine let go of the connection.
    fn left(&self) {
        if self.machine.state().cause == Cause::Mute {
            self.complain("connected, but no price on any symbol; connecting anew");
        }
    }

    fn complain(&self, text: &str) {
        let Task { report, number, .. } = &self.task;
        tracing::warn!(source = report.status().name, connection = number + 1, "{text}");
        report.set_error(*number, text);
    }

    fn publish(&self, at_ns: Option<i64>) {
        self.task.report.tell(self.task.number, self.machine.state(), at_ns);
    }
}

/// Ready when there is news, or nobody is left who could have some.
async fn until_told(mut told: watch::Receiver<Told>) {
    let _ = told.changed().await;
}

/// From now until a monotonic time; a year at most, which timers can hold.
fn until(ns: i64) -> Duration {
    let left = ns.saturating_sub(clock::monotonic_ns()).clamp(0, 365 * 86_400 * 1_000_000_000);
    Duration::from_nanos(left.unsigned_abs())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

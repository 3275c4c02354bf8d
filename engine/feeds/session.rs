//! The session loop, one for all adapters: connect, subscribe, read, and begin again.
//!
//! It joins a [`Stream`], the decisions of a [`Machine`] and the stages' [`Inlet`]. Decoding happens where the bytes
//! are read, on the same thread, and what comes out goes straight into the inlet.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tickwire_schemas::record::SourceState;
use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::adapters::{Decoder, Stream};
use super::event::{Event, Reject, Symbols};
use super::machine::{Machine, Pace, State, Step};
use super::net::{Connection, Failure, blotted_excerpt, excerpt};
use super::status::FeedStatus;
use crate::clock;
use crate::market::{Calendar, Input};
use crate::metrics;
use crate::ring::Inlet;

/// A venue that sends rubbish is reported this often, with a count; all of it is in the metrics.
const REJECT_LOG_NS: i64 = 10_000_000_000;

/// How long a ping may take to leave.
const PING_MAX: Duration = Duration::from_secs(5);

/// What a session needs beside its adapter.
pub struct Task {
    pub(super) symbols: Symbols,
    pub(super) pace: Pace,
    pub(super) calendars: Vec<Calendar>,
    pub(super) connect_timeout: Duration,
    pub(super) inlet: Rc<dyn Inlet>,
    pub(super) statuses: Arc<Vec<FeedStatus>>,
    pub(super) index: usize,
    pub(super) stop: watch::Receiver<bool>,
}

/// Runs the sessions of one source until it is stopped.
pub(super) async fn run<S: Stream>(stream: &S, task: Task) {
    let pace =
        Pace { ping_every_ns: stream.ping_every().map(nanos), age_max_ns: stream.age_max().map(nanos), ..task.pace };
    let mut stop = task.stop.clone();
    let hours = Hours { calendars: task.calendars.clone(), is_open: true, look_ns: i64::MIN };
    let machine = Machine::new(pace, fastrand::u64(..));
    let mut session = Session { machine, hours, task, published: None, rejects: RejectLog::new() };
    let open_max = stream.open_max().unwrap_or_default().max(session.task.connect_timeout);
    while !stopped(&stop) {
        let step = session.step();
        session.publish(None);
        match step {
            Step::Connect => {
                let opening = timeout(open_max, stream.open(&session.task.symbols));
                let opened = tokio::select! { opened = opening => opened, () = until_stopped(&mut stop) => break };
                match opened {
                    Ok(Ok(connection)) => session.serve(stream, connection, &mut stop).await,
                    Ok(Err(failure)) => session.failed(&failure),
                    Err(_) => session.failed(&Failure::new(
                        Cause::ConnectFailed,
                        format!("no connection within {} ms", open_max.as_millis()),
                    )),
                }
            }
            Step::Wait(until_ns) => {
                let wait = sleep(until(until_ns));
                tokio::select! { () = wait => {}, () = until_stopped(&mut stop) => break }
            }
            // The machine gives these only between `connected` and the end of `serve`.
            Step::Read(_) | Step::Ping | Step::Disconnect => session.machine.leave(clock::monotonic_ns(), Cause::None),
        }
    }
    session.machine.stop();
    session.publish(None);
}

struct Session {
    machine: Machine,
    hours: Hours,
    task: Task,
    published: Option<State>,
    rejects: RejectLog,
}

/// Whether any of the source's markets is open.
struct Hours {
    /// None: always open.
    calendars: Vec<Calendar>,
    is_open: bool,
    /// When to ask the calendars again, monotonic: not at every price.
    look_ns: i64,
}

/// How long an answer of the calendars holds, in nanoseconds.
const LOOK_EVERY_NS: i64 = 500_000_000;

impl Hours {
    fn is_open(&mut self, monotonic_ns: i64) -> bool {
        if monotonic_ns >= self.look_ns && !self.calendars.is_empty() {
            let now_ns = clock::now_ns();
            self.is_open = self.calendars.iter_mut().any(|calendar| calendar.is_open(now_ns));
            self.look_ns = monotonic_ns.saturating_add(LOOK_EVERY_NS);
        }
        self.is_open
    }
}

/// What the frames of one read led to, beyond inputs.
#[derive(Default)]
struct Heard {
    data: bool,
    leaving: bool,
    lost: Option<u64>,
    refused: Option<Failure>,
}

impl Session {
    /// What the machine says now.
    fn step(&mut self) -> Step {
        let now_ns = clock::monotonic_ns();
        let is_open = self.hours.is_open(now_ns);
        self.machine.step(now_ns, is_open)
    }

    /// Reads a connection until it ends.
    async fn serve<S: Stream>(&mut self, stream: &S, mut connection: Connection, stop: &mut watch::Receiver<bool>) {
        let _held = HeldSocket::new();
        let secrets = connection.take_secrets();
        let mut decoder = stream.decoder(&self.task.symbols);
        self.status().connected();
        self.machine.connected(clock::monotonic_ns());
        let (mut alarm, mut stopping) = (pin!(sleep(Duration::ZERO)), pin!(until_stopped(stop)));
        loop {
            let step = self.step();
            self.publish(None);
            let until_ns = match step {
                Step::Read(until_ns) => until_ns,
                Step::Ping => match timeout(PING_MAX, connection.ping()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(failure)) => break self.failed(&failure),
                    Err(_) => break self.failed(&Failure::new(Cause::ReadError, "a ping could not be sent")),
                },
                Step::Disconnect | Step::Connect | Step::Wait(_) => break self.left(),
            };
            // Only ever moved when it would ring too late or has rung: prices push the time back, and it may ring early.
            let deadline = Instant::now() + until(until_ns);
            if alarm.is_elapsed() || alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            let mut heard = Heard::default();
            let mut each = |frame: &[u8], at_ns| self.frame(&mut decoder, frame, at_ns, &secrets, &mut heard);
            let read = tokio::select! {
                biased;
                () = stopping.as_mut() => break self.machine.stop(),
                read = connection.read(&mut each) => read,
                () = alarm.as_mut() => Ok(()),
            };
            if let Err(Failure { cause: Cause::ProtocolError, .. }) = read {
                metrics::DECODE_ERRORS.at(self.status().index, 0).inc();
            }
            if let Some(failure) = heard.refused.or(read.err()) {
                break self.failed(&failure.without(&secrets));
            }
            if let Some(count) = heard.lost {
                break self.lost(count);
            }
            if heard.leaving {
                break self.machine.leave(clock::monotonic_ns(), Cause::ClosedByPeer);
            }
        }
        // Before the goodbye, which may take its time: nobody is to trade on the prices of a source that is gone.
        self.publish(None);
        connection.close().await;
    }

    /// Decodes one frame into inputs.
    #[inline]
    fn frame<D: Decoder>(&mut self, decoder: &mut D, frame: &[u8], at_ns: i64, secrets: &[String], heard: &mut Heard) {
        if heard.lost.is_some() {
            return;
        }
        let Session { machine, task, published, rejects, .. } = self;
        decoder.decode(frame, at_ns, &task.symbols, &mut |event| match event {
            Event::Tick(tick) => {
                on_data(machine, task, published, heard, at_ns);
                task.inlet.offer(tick.into());
            }
            Event::Trade(trade) => {
                on_data(machine, task, published, heard, at_ns);
                task.inlet.offer(trade.into());
            }
            Event::Confirmed => on_data(machine, task, published, heard, at_ns),
            Event::Alive => {}
            Event::Leaving => heard.leaving = true,
            Event::Lost(count) => heard.lost = Some(count),
            Event::Refused(cause) => heard.refused = Some(Failure::new(cause, blotted_excerpt(frame, secrets))),
            Event::Reject(reject) => {
                let status = &task.statuses[task.index];
                metrics::DECODE_ERRORS.at(status.index, 0).inc();
                rejects.report(&status.name, reject, frame, secrets);
            }
        });
    }

    fn status(&self) -> &FeedStatus {
        &self.task.statuses[self.task.index]
    }

    fn failed(&mut self, failure: &Failure) {
        let status = self.status();
        // The words may be a stranger's: cut, and without what a terminal would obey.
        let (cause, text) = (failure.cause, excerpt(failure.text.as_bytes()));
        tracing::warn!(source = status.name, %cause, "{text}");
        status.set_error(&text);
        self.machine.failed(cause, failure.retry_after.map(nanos), clock::monotonic_ns());
        self.publish(None);
    }

    /// The venue skipped messages. Only a new subscription says what holds now; until then nothing of this source does.
    fn lost(&mut self, count: u64) {
        let status = self.status();
        let text = format!("by the venue's count {count} message(s) never came; connecting anew");
        tracing::warn!(source = status.name, "{text}");
        status.set_error(&text);
        self.machine.leave(clock::monotonic_ns(), Cause::SequenceJump);
    }

    /// The machine let go of the connection.
    fn left(&self) {
        if self.machine.state().cause == Cause::Mute {
            let text = "connected, but no price on any symbol; connecting anew";
            tracing::warn!(source = self.status().name, "{text}");
            self.status().set_error(text);
        }
    }

    fn publish(&mut self, at_ns: Option<i64>) {
        publish(&self.machine, &self.task, &mut self.published, at_ns);
    }
}

/// The first price of a read: the machine is told once for all of them.
#[inline]
fn on_data(machine: &mut Machine, task: &Task, published: &mut Option<State>, heard: &mut Heard, at_ns: i64) {
    if !std::mem::replace(&mut heard.data, true) && machine.data(clock::monotonic_ns()) {
        publish(machine, task, published, Some(at_ns));
    }
}

/// Tells the stages and the console of a new state, ahead of the price that brought it.
fn publish(machine: &Machine, task: &Task, published: &mut Option<State>, at_ns: Option<i64>) {
    let state = machine.state();
    if *published == Some(state) {
        return;
    }
    *published = Some(state);
    let now_ns = at_ns.unwrap_or_else(clock::now_ns);
    let status = &task.statuses[task.index];
    status.set_state(state, now_ns);
    if matches!(state.status, SourceStatus::Live | SourceStatus::Mute) {
        tracing::info!(source = status.name, status = %state.status, cause = %state.cause, "source");
    }
    let mut record = SourceState {
        ts_recv_ns: now_ns,
        attempt: state.attempt,
        status: state.status.code(),
        cause: state.cause.code(),
        ..SourceState::default()
    };
    record.head.source_id = task.symbols.source().0;
    task.inlet.offer(Input::SourceState(record));
}

/// Reports what could not be decoded, seldom.
struct RejectLog {
    next_ns: i64,
    unreported: u64,
}

impl RejectLog {
    fn new() -> Self {
        RejectLog { next_ns: i64::MIN, unreported: 0 }
    }

    #[cold]
    fn report(&mut self, source: &str, reject: Reject, frame: &[u8], secrets: &[String]) {
        self.unreported += 1;
        let now_ns = clock::monotonic_ns();
        if now_ns < self.next_ns {
            return;
        }
        let (count, text) = (self.unreported, blotted_excerpt(frame, secrets));
        tracing::warn!(source, count, frame = text, "cannot be decoded: {reject}");
        (self.next_ns, self.unreported) = (now_ns.saturating_add(REJECT_LOG_NS), 0);
    }
}

/// Counts a socket to a broker for as long as it lives.
struct HeldSocket;

impl HeldSocket {
    fn new() -> Self {
        metrics::BROKER_SOCKETS.add(1);
        HeldSocket
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        metrics::BROKER_SOCKETS.add(-1);
    }
}

/// Whether it is time to stop; nobody left to say so is the same.
pub(super) fn stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Ready when it is time to stop.
pub(super) async fn until_stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// From now until a monotonic time; a year at most, which timers can hold.
fn until(ns: i64) -> Duration {
    let left = ns.saturating_sub(clock::monotonic_ns()).clamp(0, 365 * 86_400 * 1_000_000_000);
    Duration::from_nanos(left.unsigned_abs())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

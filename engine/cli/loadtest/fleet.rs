//! All terminals of one process, over few sockets, on one thread: `quinn-proto` without a runtime.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{ClientConfig, Connection, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId, VarInt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tickwire_schemas::control::CloseCode;

use crate::clock::now_ns;
use crate::fanout::udp::Inbox;

use super::link::Link;
use super::measure::Tally;
use super::terminal::{Chains, State, Terminal};
use super::wheel::Wheel;

/// Terminals that share a socket: the kernel's room of one socket is for so many.
const TERMINALS_PER_SOCKET: usize = 160;

/// The longest sleep.
const IDLE_MAX: Duration = Duration::from_millis(64);

/// What all terminals do.
pub(super) struct Orders {
    pub(super) engine: SocketAddr,
    pub(super) client: ClientConfig,
    pub(super) server_name: String,
    /// Frames to send: Hello, and then Subscribe.
    pub(super) hello: Vec<u8>,
    pub(super) subscribe: Vec<u8>,
    /// Look again at once instead of sleeping.
    pub(super) spin: bool,
    /// Latency counts from the engine's read of the broker's socket, not from publication.
    pub(super) since_receive: bool,
}

/// One terminal with its connection.
struct Member {
    link: usize,
    handle: ConnectionHandle,
    connection: Connection,
    terminal: Terminal,
    control: Option<StreamId>,
    records: Option<StreamId>,
    /// Bytes for the control stream that it did not take yet.
    outgoing: Vec<u8>,
    began: Instant,
    /// The step of the wheel in which the connection is looked at.
    timer: Option<u64>,
    /// In the list of those to be looked at.
    dirty: bool,
    live: bool,
    /// Over: its connection is gone, or will be.
    ended: bool,
    past: bool,
}

/// What the members share.
struct Shared {
    tally: Tally,
    chains: Chains,
    wheel: Wheel,
    live: usize,
    failed: usize,
    past: usize,
    first_failure: Option<String>,
    closing: bool,
}

/// All terminals.
pub(super) struct Fleet {
    orders: Orders,
    links: Vec<Link>,
    members: Vec<Member>,
    shared: Shared,
    inbox: Inbox,
    dirty: Vec<u32>,
    due: Vec<(u32, u64)>,
    /// Sockets that have something to read.
    ready: Vec<usize>,
    /// One of them had more than its turn allows.
    busy: bool,
}

impl Fleet {
    /// Room for `terminals`; none is connected.
    pub(super) fn new(orders: Orders, terminals: usize) -> Result<Fleet, String> {
        let sockets = terminals.div_ceil(TERMINALS_PER_SOCKET);
        let links = (0..sockets).map(|_| Link::new(orders.engine)).collect::<Result<Vec<_>, _>>()?;
        let (tally, chains, wheel) = (Tally::new(), Chains::new(orders.since_receive), Wheel::new(Instant::now()));
        let shared = Shared { tally, chains, wheel, live: 0, failed: 0, past: 0, first_failure: None, closing: false };
        let (members, inbox) = (Vec::with_capacity(terminals), Inbox::of_pieces());
        let (dirty, due, ready) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Fleet { orders, links, members, shared, inbox, dirty, due, ready, busy: false })
    }

    pub(super) fn sockets(&self) -> usize {
        self.links.len()
    }

    /// Terminals begun, and of those live, failed, and done with the measurement.
    pub(super) fn begun(&self) -> usize {
        self.members.len()
    }

    pub(super) fn live(&self) -> usize {
        self.shared.live
    }

    pub(super) fn failed(&self) -> usize {
        self.shared.failed
    }

    pub(super) fn all_past(&self) -> bool {
        self.shared.past >= self.shared.live
    }

    pub(super) fn first_failure(&self) -> Option<&str> {
        self.shared.first_failure.as_deref()
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.shared.tally
    }

    /// Datagrams received and sent so far.
    pub(super) fn packets(&self) -> (u64, u64) {
        let counts = self.links.iter().map(|link| link.socket.counts());
        counts.fold((0, 0), |(received, sent), counts| (received + counts.received, sent + counts.sent))
    }

    /// Begins one more connection.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        let (id, now) = (self.members.len(), Instant::now());
        let link = id % self.links.len();
        let orders = &self.orders;
        let (client, engine) = (orders.client.clone(), orders.engine);
        let (handle, connection) = self.links[link].connect(id as u32, now, client, engine, &orders.server_name)?;
        self.members.push(Member {
            link,
            handle,
            connection,
            terminal: Terminal::new(),
            control: None,
            records: None,
            outgoing: orders.hello.clone(),
            began: now,
            timer: None,
            dirty: true,
            live: false,
            ended: false,
            past: false,
        });
        self.dirty.push(id as u32);
        Ok(())
    }

    /// Gives up who began before `deadline` and is not live yet.
    pub(super) fn give_up_begun_before(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        for (id, member) in self.members.iter_mut().enumerate() {
            if !member.live && !member.ended && member.began < deadline {
                let reason = format!("no answer in time from {}: is an engine running there?", self.orders.engine);
                member.fail(&mut self.shared, reason);
                member.dirty = true;
                self.dirty.push(id as u32);
            }
        }
    }

    /// Waits for something to do, at most until `until`, and does it.
    pub(super) fn turn(&mut self, until: Instant) -> Result<(), String> {
        self.drive(Instant::now());
        self.flush();
        self.wait(until)?;
        let now = Instant::now();
        self.receive(now)?;
        self.shared.wheel.advance(now, &mut self.due);
        for (id, step) in self.due.drain(..) {
            let member = &mut self.members[id as usize];
            // An entry that an earlier one took the place of.
            if member.timer != Some(step) {
                continue;
            }
            member.timer = None;
            member.connection.handle_timeout(now);
            if !std::mem::replace(&mut member.dirty, true) {
                self.dirty.push(id);
            }
        }
        self.drive(now);
        self.flush();
        Ok(())
    }

    /// Says goodbye on every connection that is left, a batch at a time.
    pub(super) fn close(&mut self) -> Result<(), String> {
        self.shared.closing = true;
        for first in (0..self.members.len()).step_by(64) {
            let now = Instant::now();
            for id in first..self.members.len().min(first + 64) {
                let member = &mut self.members[id];
                if !std::mem::replace(&mut member.ended, true) {
                    let code = VarInt::from_u32(CloseCode::Done.code());
                    member.connection.close(now, code, Bytes::from_static(b"done"));
                }
                if !std::mem::replace(&mut member.dirty, true) {
                    self.dirty.push(id as u32);
                }
            }
            self.turn(now)?;
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant) -> Result<(), String> {
        self.busy = false;
        let ready = std::mem::take(&mut self.ready);
        for &at in &ready {
            let (members, dirty) = (&mut self.members, &mut self.dirty);
            self.busy |= self.links[at].receive(now, &mut self.inbox, |id, event| {
                let Some(member) = members.get_mut(id as usize) else { return };
                member.connection.handle_event(event);
                if !std::mem::replace(&mut member.dirty, true) {
                    dirty.push(id);
                }
            })?;
            self.drive(now);
        }
        self.ready = ready;
        Ok(())
    }

    fn flush(&mut self) {
        for link in &mut self.links {
            link.flush();
        }
    }

    fn drive(&mut self, now: Instant) {
        // What is driven may make nothing else dirty.
        for id in self.dirty.drain(..) {
            let member = &mut self.members[id as usize];
            member.dirty = false;
            let link = &mut self.links[member.link];
            member.drive(id, link, &mut self.shared, &self.orders, now);
        }
    }

    /// Waits until a socket has something to read, a timer is due, or it is `until`.
    fn wait(&mut self, until: Instant) -> Result<(), String> {
        let now = Instant::now();
        let longest = until.saturating_duration_since(now).min(IDLE_MAX);
        let at_once = self.busy || self.orders.spin;
        let idle = if at_once { Duration::ZERO } else { self.shared.wheel.idle(now, longest) };
        let wanted = |link: &Link| if link.outbox.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut sockets: Vec<PollFd<'_>> =
            self.links.iter().map(|link| PollFd::new(&link.socket, wanted(link))).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(idle.subsec_nanos()) };
        match poll(&mut sockets, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for packets: {error}")),
        }
        let readable = |at: &usize| !sockets[*at].revents().is_empty();
        self.ready.clear();
        self.ready.extend((0..sockets.len()).filter(readable));
        Ok(())
    }
}

impl Member {
    /// Ends a terminal that was not told to end.
    fn fail(&mut self, shared: &mut Shared, reason: String) {
        if std::mem::replace(&mut self.ended, true) || shared.closing {
            return;
        }
        shared.failed += 1;
        shared.live -= usize::from(self.live);
        shared.past -= usize::from(self.past);
        shared.first_failure.get_or_insert(reason);
        self.connection.close(Instant::now(), VarInt::from_u32(CloseCode::Done.code()), Bytes::new());
    }

    /// Takes what the connection has to say, answers, and sends.
    fn drive(&mut self, id: u32, link: &mut Link, shared: &mut Shared, orders: &Orders, now: Instant) {
        while let Some(event) = self.connection.poll() {
            if let Err(reason) = self.on_event(event, shared, orders) {
                self.fail(shared, reason);
            }
        }
        link.endpoint_events(self.handle, &mut self.connection);
        link.transmit(now, &mut self.connection);
        link.endpoint_events(self.handle, &mut self.connection);
        let Some(deadline) = self.connection.poll_timeout() else { return };
        let step = shared.wheel.step_of(deadline);
        if self.timer.is_none_or(|timer| timer > step) {
            self.timer = Some(shared.wheel.set(id, deadline));
        }
    }

    fn on_event(&mut self, event: Event, shared: &mut Shared, orders: &Orders) -> Result<(), String> {
        match event {
            Event::Connected => {
                let control = self.connection.streams().open(Dir::Bi);
                self.control = Some(control.ok_or("the engine allows no control stream")?);
                self.send()
            }
            Event::ConnectionLost { reason } => Err(format!("the connection was lost: {reason}")),
            Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                while let Some(id) = self.connection.streams().accept(Dir::Uni) {
                    self.records = Some(id);
                    self.read(id, shared, orders)?;
                }
                Ok(())
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id, shared, orders),
            Event::Stream(StreamEvent::Writable { .. }) => self.send(),
            Event::DatagramReceived => {
                let at_ns = now_ns();
                while let Some(bytes) = self.connection.datagrams().recv() {
                    self.terminal.on_datagram(&bytes, at_ns, &mut shared.chains, &mut shared.tally)?;
                }
                self.tell(shared);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads what a stream has.
    fn read(&mut self, id: StreamId, shared: &mut Shared, orders: &Orders) -> Result<(), String> {
        if self.ended {
            return Ok(());
        }
        let (mut subscribe, mut end) = (false, false);
        let is_control = self.control == Some(id);
        {
            let mut stream = self.connection.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
            let at_ns = now_ns();
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) if is_control => subscribe |= self.terminal.on_control(&chunk.bytes)?,
                    Ok(Some(chunk)) => {
                        let (chains, tally) = (&mut shared.chains, &mut shared.tally);
                        self.terminal.on_records(&chunk.bytes, at_ns, chains, tally)?;
                    }
                    Ok(None) | Err(ReadError::Reset(_)) => {
                        end = true;
                        break;
                    }
                    Err(ReadError::Blocked) => break,
                }
            }
            // The packet that gives the engine more room is sent after this anyway.
            let _ = chunks.finalize();
        }
        if end {
            return Err("the engine ended the subscription".into());
        }
        if subscribe {
            self.outgoing.extend_from_slice(&orders.subscribe);
            self.send()?;
        }
        self.tell(shared);
        Ok(())
    }

    /// Counts a terminal that has become live, or has seen all of the measurement.
    fn tell(&mut self, shared: &mut Shared) {
        if !self.live && self.terminal.state() == State::Live {
            self.live = true;
            shared.live += 1;
        }
        if self.live && !self.past && self.terminal.is_past() {
            self.past = true;
            shared.past += 1;
        }
    }

    /// Writes to the control stream what it takes.
    fn send(&mut self) -> Result<(), String> {
        let Some(control) = self.control.filter(|_| !self.outgoing.is_empty()) else { return Ok(()) };
        match self.connection.send_stream(control).write(&self.outgoing) {
            Ok(written) => {
                self.outgoing.drain(..written);
                Ok(())
            }
            Err(quinn_proto::WriteError::Blocked) => Ok(()),
            Err(error) => Err(format!("the control stream: {error}")),
        }
    }
}

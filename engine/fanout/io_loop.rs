//! The transport that pulls: a thread, no runtime, `quinn-proto` for the protocol and batches of datagrams for the kernel.
//!
//! A turn takes what is new from the ring, encoded once for all; gives a number of terminals what their connections can
//! send now; and hands all their packets to the kernel together. While it works the ring fills, so the next terminals in
//! the round get what is newest then: under load batches grow, `latest` conflates, and a delivery costs less. Between,
//! it reads what came in and does what is due. Nothing is queued for a terminal beyond one batch that its connection has
//! not sent.

mod delivery;
mod pace;
mod peer;
mod timers;
mod wire;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use quinn_proto::{
    AckFrequencyConfig, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Incoming, ServerConfig, VarInt,
};
use tokio::sync::{mpsc, watch};

use super::Growth;
use super::hub::{self, Arrival, CLOSE_WITHIN, Hub, STOP_WITHIN, Setup};
use super::steering;
use super::udp::{self, Inbox, Socket};
use crate::ring::Outlet;
use peer::{Peer, Tools};
use timers::Timers;
use wire::Wire;

pub(super) use pace::{Bell, Pace};

/// Terminals served in a turn before the ring and the socket are looked at again: some 0.3 ms.
const SERVED_PER_TURN: usize = 64;

/// Terminals for which the clock is read once: a reading is nothing to one and a tenth of what many cost.
const SERVED_BY_ONE_CLOCK: usize = 16;

/// A loop that has not slept for so long is behind. Unless its core is its own, it then rests from serving alone:
/// [`rest`].
const BREATHLESS_AFTER: Duration = Duration::from_millis(2);

/// The longest rest: serving that took longer was itself held up.
const REST_MAX: Duration = Duration::from_millis(4);

/// Those attended to in a turn, for whom something came in or is due: what is new does not wait longer than that for
/// acknowledgements.
const ATTENDED_PER_TURN: usize = 32;

/// Reads in a turn: no more datagrams than a turn answers.
const RECEIVES_PER_TURN: usize = 64 / udp::BATCH;

/// Room in the kernel for datagrams in each direction: the answers of 10,000 terminals to one packet each.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;

/// Packets that a terminal acknowledges together, where it can be asked to. Without asking it is every second one, and
/// reading acknowledgements then costs a third of everything. Terminals are asked for different numbers by turns: they all
/// get the same packets, and would all answer at the same moment.
const PACKETS_PER_ACK: RangeInclusive<u32> = 10..=17;

/// How often other threads see new figures.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// How far the end has come.
enum Phase {
    Serving,
    /// Goodbyes are on their way.
    Stopping(Instant),
    /// Connections are closed; the last packets are on their way.
    Closing(Instant),
}

/// How long not to serve after serving for so long: batches grow by as much, and what comes in, other threads and whoever
/// reads all the packets come along too.
fn rest(took: Duration) -> Duration {
    (took / 2).min(REST_MAX)
}

/// Runs until stopped; `ready` gets the outcome of the start.
pub(super) fn run(setup: Setup, outlet: Box<dyn Outlet>, pace: Pace, ready: &SyncSender<Result<(), String>>) {
    match Loop::new(setup, outlet, pace) {
        Ok(mut all) => {
            drop(ready.send(Ok(())));
            all.run();
        }
        Err(error) => drop(ready.send(Err(error))),
    }
}

struct Loop {
    hub: Rc<Hub>,
    endpoint: Endpoint,
    /// What connections are accepted with, the first one next: [`PACKETS_PER_ACK`].
    by_turns: VecDeque<Arc<ServerConfig>>,
    wire: Wire,
    inbox: Option<Box<Inbox>>,
    /// What the endpoint itself answers.
    answer: Vec<u8>,
    /// By the number of their connection.
    peers: Vec<Option<Box<Peer>>>,
    /// Those to attend to, each once, in the order in which it came up.
    dirty: VecDeque<usize>,
    timers: Timers,
    tools: Tools,
    outlet: Box<dyn Outlet>,
    ended: bool,
    growths: mpsc::Receiver<Growth>,
    stopped: watch::Receiver<bool>,
    /// Counts what is new; a terminal that has seen this number has nothing to get.
    news: u64,
    /// The next in the round, and how many of it are left.
    next: usize,
    left: usize,
    /// When it slept last, and the earliest time to serve again.
    slept: Instant,
    next_serve: Instant,
    flush: Option<Duration>,
    /// There is something new that waits for this time.
    unseen_until: Option<Instant>,
    last_flush: Instant,
    next_figures: Instant,
    pace: pace::Sleeper,
    phase: Phase,
}

impl Loop {
    fn new(setup: Setup, outlet: Box<dyn Outlet>, pace: Pace) -> Result<Loop, String> {
        let tls = quinn_proto::crypto::rustls::QuicServerConfig::try_from(setup.tls).map_err(|e| e.to_string())?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(hub::transport_config(setup.datagram_bytes_max)));
        let server = Arc::new(server);
        let answering = |packets| {
            let mut server = ServerConfig::clone(&server);
            let mut transport = hub::transport_config(setup.datagram_bytes_max);
            let mut acks = AckFrequencyConfig::default();
            acks.ack_eliciting_threshold(VarInt::from_u32(packets));
            transport.ack_frequency_config(Some(acks));
            server.transport_config(Arc::new(transport));
            Arc::new(server)
        };
        let by_turns = PACKETS_PER_ACK.map(answering).collect();
        let socket = Socket::new(setup.socket, SOCKET_BYTES).map_err(|e| e.to_string())?;
        let (mut config, (thread, threads)) = (EndpointConfig::default(), setup.thread);
        if threads > 1 {
            steering::number(&mut config, u8::try_from(thread).map_err(|e| e.to_string())?);
        }
        let endpoint = Endpoint::new(Arc::new(config), Some(server), !socket.may_fragment(), None);
        let now = Instant::now();
        Ok(Loop {
            hub: Rc::new(Hub::new(setup.core, (thread, setup.stats), setup.doors)?),
            endpoint,
            by_turns,
            wire: Wire::new(socket),
            inbox: Some(Box::default()),
            answer: Vec::new(),
            peers: Vec::new(),
            dirty: VecDeque::new(),
            timers: Timers::default(),
            tools: Tools::default(),
            outlet,
            ended: false,
            growths: setup.growths,
            stopped: setup.stopped,
            news: 0,
            next: 0,
            left: 0,
            slept: now,
            next_serve: now,
            flush: (setup.flush_ms > 0).then(|| Duration::from_millis(u64::from(setup.flush_ms))),
            unseen_until: None,
            last_flush: now,
            next_figures: now,
            pace: pace.start(),
            phase: Phase::Serving,
        })
    }

    fn run(&mut self) {
        loop {
            let worked = self.turn();
            if self.is_over() {
                return;
            }
            // A kernel without room is waited for, whatever else there is to do.
            if worked && self.wire.has_room() {
                self.pace.busy();
            } else {
                let until = self.next_due();
                let outlet = (!self.ended).then_some(self.outlet.as_mut());
                if self.pace.idle(self.wire.socket(), !self.wire.is_empty(), outlet, until) && self.left == 0 {
                    self.slept = Instant::now();
                }
            }
        }
    }

    /// Does what there is to do now, a bounded part of each kind. False: nothing.
    fn turn(&mut self) -> bool {
        let mut worked = self.take_news();
        worked |= self.serve_and_send();
        worked |= self.receive();
        worked |= self.expire();
        worked |= self.grow();
        worked |= self.attend();
        worked | self.wire.flush()
    }

    fn take_news(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let (got, end) = self.hub.drain(self.outlet.as_mut());
        self.ended = end;
        if got || end {
            self.unseen_until.get_or_insert(self.flush.map_or(self.last_flush, |flush| self.last_flush + flush));
        }
        let due = self.unseen_until.is_some_and(|until| self.flush.is_none() || end || Instant::now() >= until);
        if due {
            self.unseen_until = None;
            if self.flush.is_some() {
                self.last_flush = Instant::now();
            }
            self.spread();
        }
        got
    }

    /// There is news for every terminal: another round, which begins where the last one stands.
    fn spread(&mut self) {
        self.news += 1;
        self.left = self.peers.len();
    }

    /// Gives the next terminals of the round what is new, and takes a rest after it when that has to be.
    fn serve_and_send(&mut self) -> bool {
        if self.left == 0 {
            return self.wire.flush();
        }
        let began = self.tools.look_at_the_clock();
        if began < self.next_serve {
            return self.wire.flush();
        }
        let served = self.serve(began);
        let sent = self.wire.flush();
        let now = Instant::now();
        if !self.pace.is_dedicated() && now - self.slept > BREATHLESS_AFTER {
            self.next_serve = now + rest(now - began);
        }
        served || sent
    }

    fn serve(&mut self, mut now: Instant) -> bool {
        let mut served = 0;
        while self.left > 0 && served < SERVED_PER_TURN && self.wire.has_room() {
            self.left -= 1;
            if self.next >= self.peers.len() {
                self.next = 0;
            }
            let at = self.next;
            self.next += 1;
            let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut) else { continue };
            let is_its_turn = peer.is_in_line(self.news);
            peer.seen = self.news;
            if !is_its_turn {
                continue;
            }
            served += 1;
            if served % SERVED_BY_ONE_CLOCK == 0 {
                now = self.tools.look_at_the_clock();
            }
            if peer.holds_something() {
                self.look_at(at, now);
            } else {
                peer.serve(&self.hub, &mut self.wire, &mut self.tools, now);
                self.look_after(at);
            }
        }
        served > 0
    }

    /// Attends to those that something happened to.
    fn attend(&mut self) -> bool {
        // Whoever has more to do than fits in a turn comes again behind the others.
        let count = self.dirty.len().min(ATTENDED_PER_TURN);
        let mut now = self.tools.look_at_the_clock();
        for attended in 1..=count {
            let Some(at) = self.dirty.pop_front() else { break };
            if attended % SERVED_BY_ONE_CLOCK == 0 {
                now = self.tools.look_at_the_clock();
            }
            if let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut) {
                peer.is_dirty = false;
            }
            self.look_at(at, now);
        }
        count > 0
    }

    /// Looks at one whole, whatever the reason. One that is gone is forgotten.
    fn look_at(&mut self, at: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut) else { return };
        let gone = peer.attend(&mut self.endpoint, (&self.hub, self.news), &mut self.wire, &mut self.tools, now);
        if gone {
            self.timers.forget(at, &mut peer.armed);
            self.peers[at] = None;
        } else {
            self.look_after(at);
        }
    }

    /// Notes when this one is due next, and whether that is at once.
    fn look_after(&mut self, at: usize) {
        let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut) else { return };
        let due = peer.due();
        self.timers.arm(at, &mut peer.armed, due);
        if peer.has_more() {
            mark(&mut self.dirty, at, peer);
        }
    }

    fn expire(&mut self) -> bool {
        let now = Instant::now();
        let mut worked = false;
        while let Some(at) = self.timers.due(now) {
            worked = true;
            if let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut) {
                peer.armed = None;
                mark(&mut self.dirty, at, peer);
            }
        }
        if now >= self.next_figures {
            self.next_figures = now + FIGURES_EVERY;
            let mut shown: Vec<_> = self.peers.iter().flatten().filter_map(|peer| peer.shown()).collect();
            shown.sort_unstable_by_key(|terminal| terminal.id);
            self.hub.publish(shown);
        }
        worked
    }

    fn grow(&mut self) -> bool {
        let Ok((catalogue, done)) = self.growths.try_recv() else { return false };
        self.hub.core.borrow_mut().grow(catalogue);
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if let Some(peer) = peer {
                mark(&mut self.dirty, at, peer);
            }
        }
        // Nobody need wait for it.
        let _ = done.send(());
        true
    }

    fn receive(&mut self) -> bool {
        let Some(mut inbox) = self.inbox.take() else { return false };
        let mut worked = false;
        for _ in 0..RECEIVES_PER_TURN {
            let count = self.wire.receive(&mut inbox);
            worked |= count > 0;
            let now = Instant::now();
            for datagram in inbox.datagrams() {
                self.answer.clear();
                let (remote, local_ip, ecn) = (datagram.remote, datagram.local_ip, datagram.ecn);
                match self.endpoint.handle(now, remote, local_ip, ecn, datagram.to_bytes(), &mut self.answer) {
                    Some(DatagramEvent::ConnectionEvent(ConnectionHandle(at), event)) => {
                        if let Some(peer) = self.peers.get_mut(at).and_then(Option::as_mut)
                            && let Some(event) = peer.hold(event, self.news)
                        {
                            peer.take(event);
                            mark(&mut self.dirty, at, peer);
                        }
                    }
                    Some(DatagramEvent::NewConnection(incoming)) => self.arrive(incoming, now),
                    Some(DatagramEvent::Response(transmit)) => self.wire.answer(&transmit, &self.answer),
                    None => {}
                }
            }
            if count < udp::BATCH {
                break;
            }
        }
        self.inbox = Some(inbox);
        worked
    }

    /// Somebody knocks.
    fn arrive(&mut self, incoming: Incoming, now: Instant) {
        if !matches!(self.phase, Phase::Serving) {
            return self.endpoint.ignore(incoming);
        }
        let (full, count) = match self.hub.knock() {
            Arrival::Welcome(count) => (false, count),
            Arrival::Full(count) => (true, count),
            Arrival::Refuse => {
                let transmit = self.endpoint.refuse(incoming, &mut self.answer);
                return self.wire.answer(&transmit, &self.answer);
            }
        };
        self.by_turns.rotate_left(1);
        match self.endpoint.accept(incoming, now, &mut self.answer, self.by_turns.front().cloned()) {
            Ok((ConnectionHandle(at), connection)) => {
                if self.peers.len() <= at {
                    self.peers.resize_with(at + 1, || None);
                }
                let mut peer = Box::new(Peer::new(ConnectionHandle(at), connection, full, count, now));
                // Its first turn is in the next round: this one may be past it.
                peer.seen = self.news;
                mark(&mut self.dirty, at, &mut peer);
                self.peers[at] = Some(peer);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.wire.answer(&transmit, &self.answer);
                }
            }
        }
    }

    /// The earliest time that something is due.
    fn next_due(&self) -> Instant {
        let end = match self.phase {
            Phase::Serving => None,
            Phase::Stopping(until) | Phase::Closing(until) => Some(until),
        };
        let waiting = self.unseen_until.filter(|_| self.flush.is_some());
        // A kernel without room says itself when it has some.
        let serving = (self.left > 0 && self.wire.is_empty()).then_some(self.next_serve);
        let first = [self.timers.first(), end, waiting, serving].into_iter().flatten().min();
        first.map_or(self.next_figures, |first| first.min(self.next_figures))
    }

    /// Says goodbye, then closes, then waits for the last packets; true when all that is done or has taken too long.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        match self.phase {
            Phase::Serving if self.ended || *self.stopped.borrow() => {
                self.phase = Phase::Stopping(now + STOP_WITHIN);
                self.each(|peer, hub, tools| peer.say_goodbye(hub, tools, now));
                false
            }
            Phase::Stopping(until) if self.hub.connections() == 0 || now >= until => {
                self.phase = Phase::Closing(now + CLOSE_WITHIN);
                self.each(|peer, _, _| peer.shut(now));
                false
            }
            Phase::Closing(until) => now >= until || self.peers.iter().all(Option::is_none),
            _ => false,
        }
    }

    fn each(&mut self, act: impl Fn(&mut Peer, &Rc<Hub>, &mut Tools)) {
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if let Some(peer) = peer {
                act(peer, &self.hub, &mut self.tools);
                mark(&mut self.dirty, at, peer);
            }
        }
    }
}

/// This one is to be attended to.
fn mark(dirty: &mut VecDeque<usize>, at: usize, peer: &mut Peer) {
    if !peer.is_dirty {
        peer.is_dirty = true;
        dirty.push_back(at);
    }
}

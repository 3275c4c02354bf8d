//! One connection: where it stands, its control stream, its subscriptions, and what it may send now.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionEvent, ConnectionHandle, Dir, Endpoint, Event, ReadError, StreamEvent, StreamId, VarInt,
    WriteError,
};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, CloseCode};

use super::delivery::{Delivered, Delivery};
use super::wire::{Taken, Wire};
use crate::clock::{monotonic_ns, now_ns};
use crate::fanout::board::{Subscribed, TerminalShown};
use crate::fanout::delivery::Batch;
use crate::fanout::hub::{
    self, Admitted, CONTROL_WRITE_WITHIN, Count, HELLO_WITHIN, Hub, LAST_WORDS_WITHIN, NO_CONTROL_STREAM, NO_HELLO,
    NOT_READ, STOPPING,
};
use crate::fanout::session::{Action, Session};
use crate::metrics::TERMINALS_CLOSED;

/// Pieces of one connection at a time, each of several packets, and batches: one terminal's turn stays short.
const PIECES_AT_ONCE: usize = 4;
const BATCHES_AT_ONCE: usize = 4;

/// Packets of one terminal that wait for its turn; with one more all are looked at.
const HELD_MAX: usize = 8;

/// That the network holds a connection up is concluded, not known. After so long it is given one more batch.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// What all peers use in turn.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) batch: Batch,
    pub(super) actions: Vec<Action>,
    /// On the clock of [`monotonic_ns`], by which rates go: read once for a number of terminals.
    pub(super) now_ns: i64,
}

impl Tools {
    /// What time it is now, on both clocks.
    pub(super) fn look_at_the_clock(&mut self) -> Instant {
        self.now_ns = monotonic_ns();
        Instant::now()
    }
}

/// Where a connection stands.
enum Stage {
    /// The handshake is not over.
    Shaking { until: Instant, full: bool },
    /// There is no control stream yet.
    Connected { until: Instant },
    /// Who has not said Hello by then is closed.
    Talking { hello_until: Instant },
    /// The control stream is ended once all is said; the connection is closed when that has arrived, or then.
    Leaving { until: Instant, finished: bool, code: CloseCode, text: String },
    /// Closed; what is left of it goes by itself.
    Over,
}

/// What a connection holds that it has not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsent {
    Nothing,
    /// More than the pieces of one turn.
    Much,
    /// What it was given, until the network allows more; after that time it is tried anew.
    Held {
        doubt: Instant,
    },
}

pub(super) struct Peer {
    handle: ConnectionHandle,
    connection: Connection,
    stage: Stage,
    session: Session,
    control: Option<StreamId>,
    /// Frames that the control stream did not take. Nothing more is read from it until it has.
    unsaid: VecDeque<Bytes>,
    /// It is closed then if the control stream has taken nothing.
    unsaid_until: Option<Instant>,
    deliveries: Vec<Delivery>,
    unsent: Unsent,
    /// Whether something was written since all was sent.
    written: bool,
    /// A batch was left for the next turn.
    more: bool,
    /// When the rate of a subscription allows the next values.
    rate_until: Option<Instant>,
    /// Counts it as long as it is connected.
    count: Option<Count>,
    admitted: Option<Admitted>,
    /// Where its entry among the timers stands.
    pub(super) armed: Option<Instant>,
    /// Whether it is in the list of those to attend to.
    pub(super) is_dirty: bool,
    /// The number of the news that it was served last.
    pub(super) seen: u64,
    /// What came in while it was in line.
    held: Vec<ConnectionEvent>,
}

impl Peer {
    /// A connection whose handshake has begun; `full`: it is let in only to be told that there is no room.
    pub(super) fn new(
        handle: ConnectionHandle,
        connection: Connection,
        full: bool,
        count: Count,
        now: Instant,
    ) -> Peer {
        Peer {
            handle,
            connection,
            stage: Stage::Shaking { until: now + HELLO_WITHIN, full },
            session: Session::new(false),
            control: None,
            unsaid: VecDeque::new(),
            unsaid_until: None,
            deliveries: Vec::new(),
            unsent: Unsent::Nothing,
            written: false,
            more: false,
            rate_until: None,
            count: Some(count),
            admitted: None,
            armed: None,
            is_dirty: false,
            seen: 0,
            held: Vec::new(),
        }
    }

    /// Something came in for it.
    pub(super) fn take(&mut self, event: ConnectionEvent) {
        self.take_held();
        self.connection.handle_event(event);
    }

    /// Keeps what came in until it is served, which is soon: with many terminals, fetching the state of one costs more than what
    /// is done with it then. Gives back what cannot wait: it may be what lets it send on. The time of arrival stands in the
    /// event, so nothing that the protocol measures becomes longer by it.
    pub(super) fn hold(&mut self, event: ConnectionEvent, news: u64) -> Option<ConnectionEvent> {
        if !self.is_in_line(news) || self.unsent != Unsent::Nothing || self.held.len() >= HELD_MAX {
            return Some(event);
        }
        self.held.push(event);
        None
    }

    pub(super) fn holds_something(&self) -> bool {
        !self.held.is_empty()
    }

    fn take_held(&mut self) {
        for event in self.held.drain(..) {
            self.connection.handle_event(event);
        }
    }

    /// Whether the round of this news is still to come to it.
    pub(super) fn is_in_line(&self, news: u64) -> bool {
        self.seen != news && self.is_subscribed()
    }

    fn is_subscribed(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Whether it has more to do than fitted in its turn.
    pub(super) fn has_more(&self) -> bool {
        self.more || self.unsent == Unsent::Much
    }

    /// Its line for those who ask who is connected.
    pub(super) fn shown(&self) -> Option<TerminalShown> {
        let admitted = self.admitted.as_ref()?;
        Some(admitted.tally.shown(self.connection.remote_address(), self.connection.rtt()))
    }

    /// When something is due next.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Shaking { until, .. } | Stage::Connected { until } | Stage::Leaving { until, .. } => Some(*until),
            Stage::Talking { hello_until } => (!self.session.is_open()).then_some(*hello_until),
            Stage::Over => None,
        };
        let doubt = match self.unsent {
            Unsent::Held { doubt } => Some(doubt),
            Unsent::Nothing | Unsent::Much => None,
        };
        let due = [self.connection.poll_timeout(), stage, self.unsaid_until, self.rate_until, doubt];
        due.into_iter().flatten().min()
    }

    /// Looks at everything: timers, what came in, what is to be said and delivered. True when nothing is left of it.
    pub(super) fn attend(
        &mut self,
        endpoint: &mut Endpoint,
        (hub, news): (&Rc<Hub>, u64),
        wire: &mut Wire,
        tools: &mut Tools,
        now: Instant,
    ) -> bool {
        self.take_held();
        if self.connection.poll_timeout().is_some_and(|due| due <= now) {
            self.connection.handle_timeout(now);
        }
        self.expire(hub, tools, now);
        self.hear_of(hub, now);
        self.talk(hub, tools, now);
        // Who acknowledges does not overtake those who have waited longer: then some would be served often and some seldom.
        if self.is_in_line(news) {
            self.more = false;
        } else {
            self.serve(hub, wire, tools, now);
        }
        self.transmit(wire, now);
        // Its end may take the control stream with it.
        while let Some(event) = self.connection.poll_endpoint_events() {
            if event.is_drained() {
                self.over();
                endpoint.handle_event(self.handle, event);
                return true;
            }
            if let Some(answer) = endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(answer);
                self.more = true;
            }
        }
        false
    }

    /// Sends what it holds, then gives it what is new, as much as it can send now.
    pub(super) fn serve(&mut self, hub: &Rc<Hub>, wire: &mut Wire, tools: &mut Tools, now: Instant) {
        self.more = false;
        if self.unsent != Unsent::Nothing {
            self.transmit(wire, now);
        }
        for _ in 0..BATCHES_AT_ONCE {
            if self.unsent != Unsent::Nothing {
                let core = hub.core.borrow();
                let behind = self.deliveries.iter().find(|d| d.is_too_far_behind(&core)).map(Delivery::id);
                drop(core);
                return self.left_behind(behind, hub, wire, tools, now);
            }
            let (more, behind) = self.deliver(hub, tools, now);
            if self.written {
                self.transmit(wire, now);
            }
            self.left_behind(behind, hub, wire, tools, now);
            if !more {
                return;
            }
        }
        self.more = self.unsent == Unsent::Nothing;
    }

    /// Ends the conversation of a terminal that has lost its place in the window.
    fn left_behind(&mut self, id: Option<u32>, hub: &Rc<Hub>, wire: &mut Wire, tools: &mut Tools, now: Instant) {
        let Some(id) = id else { return };
        self.session.end(CloseCode::TooFarBehind, &hub::too_far_behind(id), &mut tools.actions);
        self.perform(hub, tools, now);
        self.say(now);
        self.transmit(wire, now);
    }

    /// Writes a batch of each subscription: whether there may be another, and which of them has lost its place in the window.
    fn deliver(&mut self, hub: &Hub, tools: &mut Tools, now: Instant) -> (bool, Option<u32>) {
        let Some(admitted) = self.admitted.as_ref() else { return (false, None) };
        let core = hub.core.borrow();
        let (mut more, mut behind, mut wait_ns) = (false, None, None::<i64>);
        self.deliveries.retain_mut(|delivery| {
            match delivery.advance(&mut self.connection, (&core, hub, &admitted.tally), tools, &mut self.written) {
                Delivered::Batch => more |= !delivery.is_up_to_date(&core),
                Delivered::Wait(until_ns) => wait_ns = Some(wait_ns.map_or(until_ns, |ns| ns.min(until_ns))),
                Delivered::TooFarBehind => behind = Some(delivery.id()),
                Delivered::Nothing | Delivered::Stuck => {}
                Delivered::Unwanted => return false,
            }
            true
        });
        self.rate_until = wait_ns.map(|until_ns| {
            let ns = u64::try_from(until_ns - tools.now_ns).unwrap_or(0);
            now + Duration::from_nanos(ns)
        });
        (more, behind)
    }

    /// Takes its packets, as many as one turn allows. When it has none although something was written, the network holds
    /// it up, and it gets nothing more until a packet has gone. Then something may still be held: the next attempt tells.
    fn transmit(&mut self, wire: &mut Wire, now: Instant) {
        for _ in 0..PIECES_AT_ONCE {
            if !wire.has_room() {
                break;
            }
            let taken = wire.take(&mut self.connection, now);
            if taken == Taken::Last {
                (self.unsent, self.written) = (Unsent::Nothing, false);
                return;
            }
            if taken == Taken::Nothing {
                let doubt = match self.unsent {
                    Unsent::Held { doubt } => doubt,
                    _ => now + DOUBT_AFTER,
                };
                let held = self.written && now < doubt;
                self.unsent = if held { Unsent::Held { doubt } } else { Unsent::Nothing };
                self.written = held;
                return;
            }
            self.unsent = Unsent::Much;
            self.written = false;
        }
        self.unsent = Unsent::Much;
    }

    fn expire(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
        match &self.stage {
            Stage::Shaking { until, .. } if now >= *until => self.hang_up(now),
            Stage::Connected { until } if now >= *until => {
                TERMINALS_CLOSED.inc();
                self.close(CloseCode::Timeout, NO_CONTROL_STREAM, now);
            }
            Stage::Talking { hello_until } if now >= *hello_until && !self.session.is_open() => {
                self.session.end(CloseCode::Timeout, NO_HELLO, &mut tools.actions);
                self.perform(hub, tools, now);
            }
            Stage::Leaving { until, code, text, .. } if now >= *until => {
                let (code, text) = (*code, text.clone());
                self.close(code, &text, now);
            }
            _ => {}
        }
        self.rate_until = self.rate_until.filter(|until| now < *until);
        if self.unsaid_until.is_some_and(|until| now >= until) {
            TERMINALS_CLOSED.inc();
            self.close(CloseCode::Timeout, NOT_READ, now);
        }
    }

    /// Takes in what the connection has to tell.
    fn hear_of(&mut self, hub: &Hub, now: Instant) {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => match self.stage {
                    Stage::Shaking { full: true, .. } => self.close(CloseCode::TooMany, &hub.too_many(), now),
                    Stage::Shaking { .. } => self.stage = Stage::Connected { until: now + HELLO_WITHIN },
                    _ => {}
                },
                Event::ConnectionLost { .. } => self.over(),
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.open(now),
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. })
                    if Some(id) == self.control =>
                {
                    // The last words have arrived, or are not wanted.
                    if let Stage::Leaving { code, text, .. } = &self.stage {
                        let (code, text) = (*code, text.clone());
                        self.close(code, &text, now);
                    }
                }
                // Of the rest nothing is to be noted: all streams are looked at behind this.
                _ => {}
            }
        }
    }

    /// The terminal has opened the control stream.
    fn open(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Connected { .. }) {
            return;
        }
        let Some(id) = self.connection.streams().accept(Dir::Bi) else { return };
        // Control answers go before records.
        let _ = self.connection.send_stream(id).set_priority(1);
        self.control = Some(id);
        self.session = Session::new(self.connection.remote_address().ip().to_canonical().is_loopback());
        self.stage = Stage::Talking { hello_until: now + HELLO_WITHIN };
    }

    /// Says what is to be said, the names of what is new too, and reads what the terminal says, one piece after the other.
    fn talk(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
        loop {
            self.say(now);
            if !self.unsaid.is_empty() || !matches!(self.stage, Stage::Talking { .. }) {
                return;
            }
            self.session.on_growth(&hub.core.borrow(), &mut tools.actions);
            if !tools.actions.is_empty() {
                self.perform(hub, tools, now);
                continue;
            }
            match self.hear() {
                Ok(Some(bytes)) if bytes.is_empty() => return,
                Ok(Some(bytes)) => {
                    self.session.on_bytes(&bytes, &hub.core.borrow(), now_ns(), &mut tools.actions);
                }
                Ok(None) => self.session.on_end(&mut tools.actions),
                Err(()) => return self.hang_up(now),
            }
            self.perform(hub, tools, now);
        }
    }

    /// The next piece of the control stream, empty when there is none now; `None` at its end, an error when it is cut off.
    fn hear(&mut self) -> Result<Option<Bytes>, ()> {
        let Some(id) = self.control else { return Ok(Some(Bytes::new())) };
        let mut stream = self.connection.recv_stream(id);
        let mut chunks = stream.read(true).map_err(|_| ())?;
        let heard = match chunks.next(CONTROL_BYTES_MAX as usize) {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(ReadError::Blocked) => Ok(Some(Bytes::new())),
            Err(ReadError::Reset(_)) => Err(()),
        };
        // Whether that calls for a packet shows when packets are asked for, which is always.
        let _ = chunks.finalize();
        heard
    }

    /// Writes what is to be said, as much as the control stream takes, and its end when that is due.
    fn say(&mut self, now: Instant) {
        let Some(id) = self.control else { return };
        while let Some(frame) = self.unsaid.front_mut() {
            match self.connection.send_stream(id).write_chunks(std::slice::from_mut(frame)) {
                Ok(written) => {
                    self.written = true;
                    if written.chunks > 0 {
                        self.unsaid.pop_front();
                        self.unsaid_until = None;
                    }
                }
                Err(WriteError::Blocked) => {
                    self.unsaid_until.get_or_insert(now + CONTROL_WRITE_WITHIN);
                    return;
                }
                Err(_) => return self.hang_up(now),
            }
        }
        if let Stage::Leaving { until, finished, .. } = &mut self.stage
            && !*finished
        {
            *finished = true;
            // Nobody is there to read the end: nothing is waited for.
            let is_read = self.connection.send_stream(id).finish().is_ok();
            *until = if is_read { now + LAST_WORDS_WITHIN } else { now };
        }
    }

    fn perform(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
        for action in tools.actions.drain(..) {
            match action {
                Action::Send(frame) => self.unsaid.push_back(frame),
                Action::Admitted(grant) => {
                    self.admitted = Some(Admitted::new(hub, self.connection.remote_address(), &grant));
                }
                Action::Open(subscription, subscribed) => {
                    self.unsaid.push_back(subscribed.clone());
                    if let (Some(request), Some(admitted)) = (subscription.request(), &self.admitted) {
                        admitted.tally.opened(subscription.id(), Subscribed::of(request));
                    }
                    self.deliveries.push(Delivery::new(*subscription, subscribed));
                }
                Action::End(id) => {
                    if let Some(admitted) = &self.admitted {
                        admitted.tally.ended(id);
                    }
                    if let Some(at) = self.deliveries.iter().position(|delivery| delivery.id() == id) {
                        self.deliveries.swap_remove(at).end(&mut self.connection);
                    }
                }
                Action::Close(code, text) => {
                    hub::ended(self.connection.remote_address(), code, &text);
                    let until = now + CONTROL_WRITE_WITHIN;
                    self.stage = Stage::Leaving { until, finished: false, code, text };
                }
            }
        }
    }

    /// The engine is stopping.
    pub(super) fn say_goodbye(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
        if matches!(self.stage, Stage::Talking { .. }) {
            self.session.end(CloseCode::Shutdown, STOPPING, &mut tools.actions);
            self.perform(hub, tools, now);
        }
    }

    /// The engine has stopped.
    pub(super) fn shut(&mut self, now: Instant) {
        self.close(CloseCode::Shutdown, STOPPING, now);
    }

    fn hang_up(&mut self, now: Instant) {
        self.connection.close(now, VarInt::from_u32(0), Bytes::new());
        self.over();
    }

    fn close(&mut self, code: CloseCode, text: &str, now: Instant) {
        self.connection.close(now, VarInt::from_u32(code.code()), Bytes::copy_from_slice(text.as_bytes()));
        self.over();
    }

    /// It is counted no more and gets nothing more; the protocol ends it in its own time.
    fn over(&mut self) {
        self.stage = Stage::Over;
        (self.control, self.admitted, self.count) = (None, None, None);
        (self.unsaid_until, self.rate_until) = (None, None);
        self.unsaid = VecDeque::new();
        self.deliveries = Vec::new();
        (self.written, self.more) = (false, false);
    }
}

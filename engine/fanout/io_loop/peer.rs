//! One connection: its subscriptions, and what it may send now.

mod conversation;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionEvent, ConnectionHandle, Endpoint, StreamId};
use tickwire_schemas::control::CloseCode;

use self::conversation::Stage;
use super::delivery::{Delivered, Delivery};
use super::wire::{Taken, Wire};
use crate::clock::monotonic_ns;
use crate::fanout::board::TerminalShown;
use crate::fanout::delivery::Batch;
use crate::fanout::hub::{self, Admitted, Count, HELLO_WITHIN, Hub};
use crate::fanout::session::{Action, Session};

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
}

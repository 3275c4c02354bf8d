//! What is said on a connection besides records: from the handshake over the control stream to the last words.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Dir, Event, ReadError, StreamEvent, VarInt, WriteError};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, CloseCode};

use super::{Peer, Tools};
use crate::clock::now_ns;
use crate::fanout::board::Subscribed;
use crate::fanout::hub::{
    self, Admitted, CONTROL_WRITE_WITHIN, HELLO_WITHIN, Hub, LAST_WORDS_WITHIN, NO_CONTROL_STREAM, NO_HELLO, NOT_READ,
    STOPPING,
};
use crate::fanout::io_loop::delivery::Delivery;
use crate::fanout::session::{Action, Session};
use crate::metrics::TERMINALS_CLOSED;

/// Where a connection stands.
pub(super) enum Stage {
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

impl Peer {
    pub(super) fn expire(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
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
    pub(super) fn hear_of(&mut self, hub: &Hub, now: Instant) {
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
    pub(super) fn talk(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
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
    pub(super) fn say(&mut self, now: Instant) {
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

    pub(super) fn perform(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
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
    pub(in crate::fanout::io_loop) fn say_goodbye(&mut self, hub: &Rc<Hub>, tools: &mut Tools, now: Instant) {
        if matches!(self.stage, Stage::Talking { .. }) {
            self.session.end(CloseCode::Shutdown, STOPPING, &mut tools.actions);
            self.perform(hub, tools, now);
        }
    }

    /// The engine has stopped.
    pub(in crate::fanout::io_loop) fn shut(&mut self, now: Instant) {
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
    pub(super) fn over(&mut self) {
        self.stage = Stage::Over;
        (self.control, self.admitted, self.count) = (None, None, None);
        (self.unsaid_until, self.rate_until) = (None, None);
        self.unsaid = VecDeque::new();
        self.deliveries = Vec::new();
        (self.written, self.more) = (false, false);
    }
}

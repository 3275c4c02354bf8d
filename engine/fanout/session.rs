//! One terminal's conversation on the control stream: bytes in, actions out. It has no socket and no clock.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tickwire_schemas::WIRE_VERSION;
use tickwire_schemas::control::{
    CONTROL_BYTES_MAX, CloseCode, Control, ControlError, ControlKind, Delivery, Error, ErrorCode, Goodbye, Hello,
    Limits, Ping, Pong, Subscribe, Subscribed, Unsubscribe, Welcome,
};
use tickwire_schemas::frame::{Frame, HEADER_BYTES};

use super::Core;
use super::access::Grant;
use super::delivery::Subscription;
use super::subscription::{self, LIST_ENTRIES_MAX};

/// Subscriptions of one terminal at one time; each is a stream.
pub const SUBSCRIPTIONS_MAX: usize = 64;

/// What the transport is to do, in order.
pub enum Action {
    /// Write a frame to the control stream.
    Send(Bytes),
    /// The terminal is admitted, with this grant.
    Admitted(Arc<Grant>),
    /// Write the frame to the control stream; open a stream, write the frame to it too, then what the subscription says.
    Open(Box<Subscription>, Bytes),
    /// Finish the stream of this subscription.
    End(u32),
    /// Close the connection after what was sent has arrived, or a moment has passed.
    Close(CloseCode, String),
}

enum State {
    /// Waiting for Hello.
    New,
    /// Admitted.
    Open(Arc<Grant>),
    /// Nothing is read any more.
    Closed,
}

/// The state of a conversation.
pub struct Session {
    state: State,
    /// An incomplete frame: at most a header and [`CONTROL_BYTES_MAX`], and the read that completes it.
    buffer: BytesMut,
    subscriptions: Vec<u32>,
    loopback: bool,
    /// The [`Core::grown`] of the catalogue that the terminal has.
    grown: u32,
}

impl Session {
    /// A conversation that has not begun. `loopback`: the terminal is on this machine.
    #[must_use]
    pub fn new(loopback: bool) -> Self {
        Session { state: State::New, buffer: BytesMut::new(), subscriptions: Vec::new(), loopback, grown: 0 }
    }

    /// Whether Hello was answered by Welcome, and nothing ended it since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes bytes of the control stream and says what to do.
    pub fn on_bytes(&mut self, bytes: &[u8], core: &Core, now_ns: i64, actions: &mut Vec<Action>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        while !matches!(self.state, State::Closed) {
            let (kind, body) = match Frame::split(&self.buffer, CONTROL_BYTES_MAX) {
                Ok(None) => return,
                Ok(Some((frame, _))) => (frame.header.kind, HEADER_BYTES..HEADER_BYTES + frame.body.len()),
                Err(error) => return self.fail(ErrorCode::TooLong, None, error.to_string(), actions),
            };
            let mut frame = self.buffer.split_to(body.end);
            frame.advance(body.start);
            self.on_frame(kind, &frame, core, now_ns, actions);
        }
    }

    /// The catalogue may have grown: tells the terminal if it has an older one.
    pub fn on_growth(&mut self, core: &Core, actions: &mut Vec<Action>) {
        if let State::Open(grant) = &self.state
            && self.grown != core.grown
        {
            self.grown = core.grown;
            actions.push(Action::Send(core.catalogue.for_terminal(grant).to_frame().into()));
        }
    }

    /// The terminal closed its side of the control stream.
    pub fn on_end(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            actions.push(Action::Close(CloseCode::Done, "the terminal ended the control stream".into()));
        }
    }

    /// The engine ends the conversation: says why, then closes.
    pub fn end(&mut self, code: CloseCode, reason: &str, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            let goodbye = Goodbye { code: code.code(), reason: reason.into() };
            actions.push(Action::Send(goodbye.to_frame().into()));
            actions.push(Action::Close(code, reason.into()));
        }
    }

    fn on_frame(&mut self, kind: u8, body: &[u8], core: &Core, now_ns: i64, actions: &mut Vec<Action>) {
        // A kind of a later version, or one reserved for terminals that send records, is skipped.
        let Some(kind) = ControlKind::from_code(kind) else { return };
        let done = match kind {
            ControlKind::Hello => Hello::from_body(body).map(|hello| self.hello(&hello, core, now_ns, actions)),
            ControlKind::Subscribe => Subscribe::from_body(body).map(|request| self.subscribe(&request, core, actions)),
            ControlKind::Unsubscribe => Unsubscribe::from_body(body).map(|which| self.unsubscribe(which, actions)),
            ControlKind::Ping => Ping::from_body(body).map(|ping| self.ping(ping, now_ns, actions)),
            ControlKind::Goodbye => {
                self.on_end(actions);
                Ok(())
            }
            _ => {
                let text = format!("a terminal does not send {kind:?}");
                self.fail(ErrorCode::Unexpected, None, text, actions);
                Ok(())
            }
        };
        if let Err(ControlError { field, problem, .. }) = done {
            self.fail(ErrorCode::Malformed, Some(field), format!("{kind:?}: {problem}"), actions);
        }
    }

    fn hello(&mut self, hello: &Hello, core: &Core, now_ns: i64, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::New) {
            return self.fail(ErrorCode::Unexpected, None, "Hello comes once, and first".into(), actions);
        }
        if hello.version == 0 || hello.version > WIRE_VERSION {
            let text = format!("this engine speaks wire version {WIRE_VERSION}, not {}", hello.version);
            return self.fail(ErrorCode::Version, Some("version".into()), text, actions);
        }
        let Some(grant) = core.access.admit(&hello.token, self.loopback) else {
            let text = if hello.token.is_empty() { "a token is required" } else { "the token is not known" };
            return self.fail(ErrorCode::Unauthorized, Some("token".into()), text.into(), actions);
        };
        let limits = Limits {
            control_bytes: CONTROL_BYTES_MAX,
            subscriptions: SUBSCRIPTIONS_MAX as u32,
            list_entries: LIST_ENTRIES_MAX as u32,
            max_rate_hz: grant.max_rate_hz,
        };
        let welcome = Welcome {
            engine_id: core.engine_id.clone(),
            epoch: core.epoch,
            version: WIRE_VERSION,
            capabilities: Vec::new(),
            now_ns,
            catalogue: core.catalogue.for_terminal(&grant),
            limits,
        };
        let grant = Arc::new(grant);
        actions.push(Action::Admitted(Arc::clone(&grant)));
        actions.push(Action::Send(welcome.to_frame().into()));
        self.grown = core.grown;
        self.state = State::Open(grant);
    }

    fn subscribe(&mut self, request: &Subscribe, core: &Core, actions: &mut Vec<Action>) {
        let State::Open(grant) = &self.state else { return self.too_early(actions) };
        let refuse =
            |code, field: &str, text: String| Error { code, text, field: Some(field.into()), id: Some(request.id) };
        let compiled = if self.subscriptions.contains(&request.id) {
            Err(refuse(ErrorCode::BadId, "id", format!("subscription {} exists already", request.id)))
        } else if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let text = format!("at most {SUBSCRIPTIONS_MAX} subscriptions at one time are allowed");
            Err(refuse(ErrorCode::Limit, "id", text))
        } else if request.delivery == Delivery::All && grant.max_rate_hz > 0 {
            let text = "this token is limited in rate and cannot ask for all".to_string();
            Err(refuse(ErrorCode::Forbidden, "delivery", text))
        } else {
            subscription::compile(request, &core.catalogue, grant)
        };
        let mut compiled = match compiled {
            Ok(compiled) => compiled,
            Err(error) => return actions.push(Action::Send(error.to_frame().into())),
        };
        if request.delivery == Delivery::All && request.max_rate_hz > 0 {
            compiled.warnings.push("max_rate_hz: has no effect with all".into());
        }
        if request.delivery == Delivery::Latest && request.resume.is_some() {
            compiled.warnings.push("resume: latest always starts with a snapshot".into());
        }
        let rate = [grant.max_rate_hz, request.max_rate_hz].into_iter().filter(|hz| *hz > 0).min().unwrap_or(0);
        let (subscription, resumed) = Subscription::open(
            request.id,
            compiled.filter,
            request.delivery,
            rate,
            request.resume,
            core.epoch,
            &core.window,
        );
        let subscription = subscription.growing(request.clone(), Arc::clone(grant), core.grown);
        let (instruments, warnings) = (compiled.instruments, compiled.warnings);
        let subscribed = Subscribed { id: request.id, instruments, resumed, warnings };
        self.subscriptions.push(request.id);
        actions.push(Action::Open(Box::new(subscription), subscribed.to_frame().into()));
    }

    fn unsubscribe(&mut self, which: Unsubscribe, actions: &mut Vec<Action>) {
        if !self.is_open() {
            return self.too_early(actions);
        }
        match self.subscriptions.iter().position(|id| *id == which.id) {
            Some(at) => {
                self.subscriptions.swap_remove(at);
                actions.push(Action::End(which.id));
            }
            None => {
                let text = format!("there is no subscription {}", which.id);
                let error = Error { code: ErrorCode::BadId, text, field: Some("id".into()), id: Some(which.id) };
                actions.push(Action::Send(error.to_frame().into()));
            }
        }
    }

    fn ping(&mut self, ping: Ping, now_ns: i64, actions: &mut Vec<Action>) {
        if !self.is_open() {
            return self.too_early(actions);
        }
        // The answer leaves in the same turn: the two clock readings of the engine are one.
        let pong = Pong { id: ping.id, t1_ns: ping.t1_ns, t2_ns: now_ns, t3_ns: now_ns };
        actions.push(Action::Send(pong.to_frame().into()));
    }

    fn too_early(&mut self, actions: &mut Vec<Action>) {
        self.fail(ErrorCode::Unexpected, None, "the first message is Hello".into(), actions);
    }

    /// Says what was wrong and closes.
    fn fail(&mut self, code: ErrorCode, field: Option<String>, text: String, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        self.buffer = BytesMut::new();
        let refused = matches!(code, ErrorCode::Version | ErrorCode::Unauthorized);
        let close = if refused { CloseCode::Refused } else { CloseCode::Protocol };
        let error = Error { code, text: text.clone(), field, id: None };
        actions.push(Action::Send(error.to_frame().into()));
        actions.push(Action::Close(close, text));
    }
}

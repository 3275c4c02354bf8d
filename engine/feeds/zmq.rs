//! ZeroMQ's wire protocol, ZMTP 3.0 (RFC 23) with the security mechanism NULL: what the bridges to MetaTrader speak.
//!
//! [`peer::Peer`] is one side of one connection, pure: bytes in, messages out, and what is to be sent back. [`link::Link`] is
//! a peer on its socket. A library's socket reconnects by itself, does not say when bytes were read and takes frames of any
//! size; here the session machine decides when to connect anew, every message has the time of its socket read, and a frame's
//! length is refused before anything is kept for it.
//!
//! Announced is 3.0, so that peers of 3.1 (libzmq from 4.2 on) send subscriptions as messages; their PING is answered.

pub mod link;
pub mod peer;

/// What a socket does. Two that talk to each other are a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says to all who subscribed.
    Pub,
    /// Subscribes.
    Sub,
    /// Asks, and waits for the answer.
    Req,
    /// Answers.
    Rep,
    /// Says to one of those who listen.
    Push,
    /// Listens.
    Pull,
}

impl Kind {
    /// The word in READY.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Pub => "PUB",
            Kind::Sub => "SUB",
            Kind::Req => "REQ",
            Kind::Rep => "REP",
            Kind::Push => "PUSH",
            Kind::Pull => "PULL",
        }
    }

    /// The words of those that it may talk to.
    #[must_use]
    pub const fn partners(self) -> &'static [&'static str] {
        match self {
            Kind::Pub => &["SUB", "XSUB"],
            Kind::Sub => &["PUB", "XPUB"],
            Kind::Req => &["REP", "ROUTER"],
            Kind::Rep => &["REQ", "DEALER"],
            Kind::Push => &["PULL"],
            Kind::Pull => &["PUSH"],
        }
    }

    /// Whether an empty frame stands before each message.
    const fn is_delimited(self) -> bool {
        matches!(self, Kind::Req | Kind::Rep)
    }
}

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not begin as ZMTP does.
    #[error("the other side does not speak ZeroMQ; expected a greeting of ZMTP 3")]
    NotZeroMq,
    /// A version before 3.
    #[error("the other side speaks version {0} of ZMTP; expected 3")]
    Version(u8),
    /// Another security mechanism.
    #[error("the other side asks for the security mechanism {0}; only NULL is spoken")]
    Security(String),
    /// A socket that this one has nothing to say to: mostly a wrong port.
    #[error("the other side is a {found} socket; a {own} socket expects {expected}")]
    Partner {
        /// What it is.
        found: String,
        /// What we are.
        own: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The other side refuses, in its words.
    #[error("refused: {0}")]
    Refused(String),
    /// Not ZMTP.
    #[error("not ZMTP: expected {0}")]
    Malformed(&'static str),
    /// A message longer than the limit.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
}

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Appends a frame: its flags, its length in one byte or eight, its body.
fn put_frame(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend_from_slice(&[flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests;

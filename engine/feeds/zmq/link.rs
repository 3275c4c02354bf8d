//! A peer on its socket.

use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::peer::Peer;
use super::{Fault, Kind};
use crate::feeds::net::{self, FRAME_BYTES_MAX, Failure, Stamped};

/// What one read takes at most.
const READ_BYTES: usize = 16 << 10;

/// How long a connection may take to be made, where nobody else sets a limit.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A socket of some kind, connected.
#[derive(Debug)]
pub struct Link {
    socket: Stamped,
    peer: Peer,
    buffer: Box<[u8]>,
    /// Messages that came with the end of the handshake: at most what one read holds.
    early: Vec<(Vec<u8>, i64)>,
}

impl Link {
    /// Connects, and returns when the other side has introduced itself.
    ///
    /// # Errors
    /// [`Cause::ConnectFailed`] when there is nobody, the connection ends or nothing is said for ten seconds, [`Cause::LoginRefused`] when the other side
    /// refuses, [`Cause::ProtocolError`] when it is something else than expected; each names host and port.
    pub async fn connect(host: &str, port: u16, kind: Kind, bytes_max: usize) -> Result<Link, Failure> {
        let link = async { Link::new(net::tcp(host, port).await?, kind, bytes_max).introduce().await };
        let late = || Failure::new(Cause::ConnectFailed, format!("no greeting within {} s", CONNECT_MAX.as_secs()));
        timeout(CONNECT_MAX, link).await.unwrap_or_else(|_| Err(late())).map_err(|failure| {
            let (cause, said) = match failure.cause {
                // Some close without a word when they find a socket that they have nothing to say to.
                Cause::ClosedByPeer | Cause::ReadError => {
                    let expected = kind.partners()[0];
                    let text = format!("{} before the handshake was over; expected a {expected} socket", failure.text);
                    (Cause::ConnectFailed, text)
                }
                cause => (cause, failure.text),
            };
            // Where there is nobody, the address is there already.
            let place = format!("{host}:{port}: ");
            let text = if said.starts_with(&place) { said } else { place + &said };
            Failure::new(cause, text)
        })
    }

    /// The other side of the same, for servers.
    ///
    /// # Errors
    /// When the client is not what is expected, or goes.
    pub async fn accept(socket: TcpStream, kind: Kind) -> Result<Link, Failure> {
        Link::new(Stamped::from(socket), kind, FRAME_BYTES_MAX).introduce().await
    }

    fn new(socket: Stamped, kind: Kind, bytes_max: usize) -> Link {
        Link { socket, peer: Peer::new(kind, bytes_max), buffer: vec![0; READ_BYTES].into(), early: Vec::new() }
    }

    async fn introduce(mut self) -> Result<Link, Failure> {
        let mut early = Vec::new();
        while !self.peer.is_open() {
            let read = self.read(&mut |message, at_ns| early.push((message.to_vec(), at_ns))).await;
            if let Err(failure) = read {
                // By our introduction the other side knows what is wrong; if it does not listen, it does not.
                let _ = self.flush().await;
                return Err(failure);
            }
        }
        self.early = early;
        self.flush().await?;
        Ok(self)
    }

    /// Sends a message with the next [`Link::read`] or [`Link::flush`].
    pub fn say(&mut self, message: impl AsRef<[u8]>) {
        self.peer.say(message.as_ref());
    }

    /// Subscribes to the messages that begin with `topic`, with the next read.
    pub fn subscribe(&mut self, topic: &str) {
        self.peer.say(&[b"\x01", topic.as_bytes()].concat());
    }

    /// Sends what is to be sent. Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// [`Cause::ReadError`] when it cannot be written.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::new(Cause::ReadError, format!("cannot be written to: {e}"));
        while !self.peer.out().is_empty() {
            let count = self.socket.write(self.peer.out()).await.map_err(failed)?;
            self.peer.out().drain(..count);
        }
        Ok(())
    }

    /// Waits for bytes and hands on each message that they complete, with the time at which they were read. May hand on
    /// none. Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// When the connection is at its end, or the other side does not speak as it should.
    pub async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        if !self.early.is_empty() {
            std::mem::take(&mut self.early).iter().for_each(|(message, at_ns)| each(message, *at_ns));
            return Ok(());
        }
        self.flush().await?;
        match self.socket.read(&mut self.buffer).await {
            Ok(0) => Err(Failure::new(Cause::ClosedByPeer, "the connection was closed")),
            Ok(count) => {
                let at_ns = self.socket.read_ns();
                self.peer.push(&self.buffer[..count], |message| each(message, at_ns)).map_err(failure)
            }
            Err(error) => Err(Failure::new(Cause::ReadError, error.to_string())),
        }
    }

    /// Reads until `found` has found an answer; other messages are passed over. `None` when none comes within `at_most`.
    ///
    /// # Errors
    /// What `found` says, or when the connection ends.
    pub async fn answer<T>(
        &mut self,
        at_most: Duration,
        mut found: impl FnMut(&[u8]) -> Option<Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        let answer = async {
            loop {
                let mut answer = None;
                let read = self.read(&mut |message, _| answer = answer.take().or_else(|| found(message))).await;
                if let Some(answer) = answer {
                    return answer;
                }
                // Closed or broken before it answered.
                read.map_err(|failure| match failure.cause {
                    Cause::ClosedByPeer | Cause::ReadError => Failure { cause: Cause::ConnectFailed, ..failure },
                    _ => failure,
                })?;
            }
        };
        timeout(at_most, answer).await.ok().transpose()
    }

    /// Closes.
    pub async fn close(mut self) {
        // Whatever comes of it, the socket is closed when it is dropped.
        let _ = self.socket.shutdown().await;
    }
}

fn failure(fault: Fault) -> Failure {
    let cause = match fault {
        Fault::Refused(_) | Fault::Security(_) => Cause::LoginRefused,
        _ => Cause::ProtocolError,
    };
    Failure::new(cause, fault.to_string())
}

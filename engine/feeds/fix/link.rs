//! A FIX session over a socket: it answers what the session must answer by itself, as a WebSocket answers pings, and
//! hands on the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tickwire_schemas::words::Cause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::MaybeTlsStream;

use super::frame::Framer;
use super::session::{End, Heard, Identity, Now, Session};
use super::{Draft, Message, number};
use crate::clock;
use crate::feeds::net::{self, FRAME_BYTES_MAX, Failure, Stamped};

/// What one read takes at most.
const READ_BYTES: usize = 16 << 10;

/// Messages that may come before the subscriptions are sent: a venue has nothing to say then.
const EARLY_MAX: usize = 4_096;

/// Longest time that a timer is set for; it is set again when it rings.
const ALARM_MAX_NS: i64 = 86_400 * 1_000_000_000;

/// What TLS trusts: the public authorities, or only the certificates of a PEM file.
///
/// # Errors
/// One sentence naming the file.
pub fn tls(ca_file: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    net::install_crypto();
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |e: &dyn std::fmt::Display| format!("{path}: {e}; expected a PEM file of certificates");
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            if roots.is_empty() {
                return Err(bad(&"no certificate in it"));
            }
        }
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// What a logon needs.
#[derive(Debug)]
pub struct Logon<'a> {
    /// Who talks to whom.
    pub identity: Identity,
    /// HeartBtInt (108), seconds; 0: none.
    pub heartbeat_s: u32,
    /// Username (553).
    pub username: &'a str,
    /// Password (554).
    pub password: &'a str,
}

/// A session on its socket.
pub struct Link {
    socket: MaybeTlsStream<Stamped>,
    framer: Framer,
    buffer: Box<[u8]>,
    session: Session,
    alarm: Pin<Box<Sleep>>,
    early: Vec<(Vec<u8>, i64)>,
    after_gap: Vec<(&'static str, Draft)>,
    missed: u64,
    ended: Option<Failure>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not what is to be sent, which may hold a password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

fn now() -> Now {
    Now { utc_ns: clock::now_ns(), monotonic_ns: clock::monotonic_ns() }
}

impl Link {
    /// Connects and logs on; with `tls` by TLS.
    ///
    /// # Errors
    /// When there is no connection, or the venue refuses the logon: then in its words.
    pub async fn open(
        host: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
        logon: Logon<'_>,
    ) -> Result<Link, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(Cause::ConnectFailed, format!("{host}:{port}: {e}"));
        let socket = net::tcp(host, port).await?;
        let socket = match tls {
            None => MaybeTlsStream::Plain(socket),
            Some(tls) => {
                let name = ServerName::try_from(host.to_string()).map_err(|e| failed(&e))?;
                MaybeTlsStream::Rustls(TlsConnector::from(tls).connect(name, socket).await.map_err(|e| failed(&e))?)
            }
        };
        let mut link = Link {
            socket,
            framer: Framer::new(FRAME_BYTES_MAX),
            buffer: vec![0; READ_BYTES].into(),
            session: Session::new(logon.identity, i64::from(logon.heartbeat_s) * 1_000_000_000, now()),
            alarm: Box::pin(sleep(Duration::ZERO)),
            early: Vec::new(),
            after_gap: Vec::new(),
            missed: 0,
            ended: None,
        };
        let fields = Draft::default().with(98, "0").number(108, logon.heartbeat_s.into()).with(141, "Y");
        link.session.say("A", &fields.with(553, logon.username).with(554, logon.password), now());
        let agreed = link.wait(|message| match message.kind {
            b"A" => Some(Ok(message.find(108).and_then(number))),
            b"3" | b"j" => {
                let said = message.words(58).unwrap_or_default();
                Some(Err(Failure::new(Cause::LoginRefused, format!("logon refused: {said}"))))
            }
            _ => None,
        });
        let agreed = agreed.await.map_err(|failure| match failure.cause {
            // Closed without a word, or with one.
            Cause::ReadError => Failure { cause: Cause::ConnectFailed, ..failure },
            Cause::ClosedByPeer if failure.text.starts_with(LOGOUT) => {
                Failure { cause: Cause::LoginRefused, ..failure }
            }
            Cause::ClosedByPeer => Failure { cause: Cause::ConnectFailed, ..failure },
            _ => failure,
        })?;
        if let Some(seconds) = agreed.and_then(|seconds| i64::try_from(seconds.min(86_400)).ok()) {
            link.session.set_heartbeat(seconds * 1_000_000_000);
        }
        Ok(link)
    }

    /// Sends an application message with the next read.
    pub fn request(&mut self, kind: &'static str, fields: Draft) {
        self.session.request(kind, fields, now());
    }

    /// Messages to send whenever messages of the other side were missed.
    pub fn set_after_gap(&mut self, messages: Vec<(&'static str, Draft)>) {
        self.after_gap = messages;
    }

    /// Reads until `found` has found what it looks for. All that comes is kept for [`Link::read`].
    ///
    /// # Errors
    /// What `found` answers, or when the connection is at its end.
    pub async fn wait<T>(
        &mut self,
        mut found: impl FnMut(&Message<'_>) -> Option<Result<T, Failure>>,
    ) -> Result<T, Failure> {
        loop {
            let (mut answer, mut early) = (None, std::mem::take(&mut self.early));
            let mut each = |frame: &[u8], at_ns| {
                if answer.is_none()
                    && let Ok(message) = Message::parse(frame)
                {
                    answer = found(&message);
                }
                early.push((frame.to_vec(), at_ns));
            };
            let read = self.read_socket(&mut each).await;
            self.early = early;
            if let Some(answer) = answer {
                return answer;
            }
            read?;
            if self.early.len() > EARLY_MAX {
                let text = format!("more than {EARLY_MAX} messages before anything was subscribed");
                return Err(Failure::new(Cause::ProtocolError, text));
            }
        }
    }

    /// Waits for bytes and hands the decoder's messages to `each`, with the time at which they were read. Dropping the
    /// future before it is ready loses nothing.
    ///
    /// # Errors
    /// When the connection is at its end.
    pub async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        if !self.early.is_empty() {
            std::mem::take(&mut self.early).iter().for_each(|(frame, at_ns)| each(frame, *at_ns));
            return Ok(());
        }
        self.read_socket(each).await
    }

    /// How many messages the other side's numbers say were missed, since this was last asked. They are asked for again,
    /// but prices that come late are no prices.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    async fn read_socket(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        if let Some(failure) = &self.ended {
            return Err(failure.clone());
        }
        self.flush().await?;
        // Only ever moved when it would ring too late or has rung: what is read pushes the time back.
        let left_ns = self.session.due_ns().saturating_sub(clock::monotonic_ns()).clamp(0, ALARM_MAX_NS);
        let deadline = Instant::now() + Duration::from_nanos(left_ns.unsigned_abs());
        if self.alarm.is_elapsed() || self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        tokio::select! {
            biased;
            read = self.socket.read(&mut self.buffer) => match read {
                Ok(0) => return Err(Failure::new(Cause::ClosedByPeer, "the connection was closed")),
                Ok(count) => self.take(count, each)?,
                Err(error) => return Err(Failure::new(Cause::ReadError, error.to_string())),
            },
            () = self.alarm.as_mut() => {}
        }
        self.session.tick(now()).map_err(failure)
    }

    /// Hands on what the first `count` bytes of the buffer complete.
    fn take(&mut self, count: usize, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        let at_ns = self.socket.get_ref().read_ns();
        let now = Now { utc_ns: at_ns, monotonic_ns: clock::monotonic_ns() };
        let Link { framer, buffer, session, ended, missed, .. } = self;
        let mut gap = false;
        let pushed = framer.push(&buffer[..count], |frame| match session.receive(frame, now) {
            _ if ended.is_some() => {}
            Ok(Heard::Take | Heard::Old) => each(frame, at_ns),
            Ok(Heard::TakeAfterGap(count)) => {
                gap = true;
                *missed = missed.saturating_add(count);
                each(frame, at_ns);
            }
            Err(end) => *ended = Some(failure(end)),
        });
        if gap {
            self.after_gap.iter().for_each(|(kind, fields)| self.session.request(kind, fields.clone(), now));
        }
        if let Some(failure) = &self.ended {
            return Err(failure.clone());
        }
        pushed.map_err(|e| Failure::new(Cause::ProtocolError, e.to_string()))
    }

    /// Sends what the session has to say.
    async fn flush(&mut self) -> Result<(), Failure> {
        while !self.session.out.is_empty() {
            let failed = |e: std::io::Error| Failure::new(Cause::ReadError, format!("cannot be written to: {e}"));
            // Writes some, or (when dropped) nothing.
            let count = self.socket.write(&self.session.out).await.map_err(failed)?;
            self.session.out.drain(..count);
            if self.session.out.is_empty() {
                self.socket.flush().await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Logs out and closes, if the other side listens.
    pub async fn close(mut self) {
        self.session.logout("", now());
        if self.flush().await.is_ok() {
            let _ = self.socket.shutdown().await;
        }
    }
}

/// How a failure begins when the venue logged out.
const LOGOUT: &str = "logout: ";

fn failure(end: End) -> Failure {
    match end {
        End::Logout(words) => Failure::new(cause_of(&words, Cause::ClosedByPeer), format!("{LOGOUT}{words}")),
        End::Broken(text) => Failure::new(Cause::ProtocolError, text),
        End::Silent => Failure::new(Cause::ReadError, "no heartbeat, and no answer to a test request"),
    }
}

/// FIX has no code for too many requests, and this venue documents none: it is known by the words, those of its other
/// API among them.
fn cause_of(words: &str, otherwise: Cause) -> Cause {
    let words = words.to_ascii_lowercase();
    let limited = ["frequency_exceeded", "too many", "rate limit"].iter().any(|phrase| words.contains(phrase));
    if limited { Cause::RateLimited } else { otherwise }
}

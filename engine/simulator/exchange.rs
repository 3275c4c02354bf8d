//! What the simulated exchanges that are subscribed to by messages have in common; each speaks a [`Dialect`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::event::Event;
use super::http::WebSocket;
use super::hub::Hub;

/// Longer than any test or demonstration.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// What a server says at once, and which quotes and trades are in it, for the ledger.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) texts: Vec<String>,
    pub(super) shown: Vec<Event>,
}

impl Said {
    pub(super) fn one(text: String) -> Said {
        Said { texts: vec![text], shown: Vec::new() }
    }
}

/// One connection in the words of an exchange.
pub(super) trait Dialect: Send + 'static {
    /// Time between two [`Dialect::beat`]s, in seconds.
    const BEAT_S: u64;

    /// What is said to a client that has connected.
    fn greeting(&mut self) -> Said {
        Said::default()
    }

    /// Obeys a client's message and gives the answer.
    fn command(&mut self, hub: &Hub, text: &str) -> Said;

    /// Whether anything of a symbol is subscribed.
    fn has(&self, symbol: usize) -> bool;

    /// Whether an event is for this connection.
    fn wants(&self, event: &Event) -> bool;

    /// An event that it wants, in words.
    fn words(&mut self, hub: &Hub, event: &Event) -> Vec<String>;

    /// What is said from time to time.
    fn beat(&mut self, _: &Hub) -> Said {
        Said::default()
    }

    /// How long a client may say nothing before it is sent away.
    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve<D: Dialect>(hub: Arc<Hub>, mut dialect: D, mut socket: WebSocket) {
    let farewell = tokio::select! {
        farewell = session(&hub, &mut dialect, &mut socket) => farewell,
        () = hub.until_old(0) => Some("connection too old"),
        () = hub.until_cut() => None,
    };
    if let Some(reason) = farewell {
        // A client that does not listen any more need not hear it.
        let frame = CloseFrame { code: CloseCode::Policy, reason: Utf8Bytes::from_static(reason) };
        let _ = socket.close(Some(frame)).await;
    }
}

/// Why the server ends a connection; `None` when it is already gone.
async fn session<D: Dialect>(hub: &Arc<Hub>, dialect: &mut D, socket: &mut WebSocket) -> Option<&'static str> {
    let mut source = hub.source();
    let mut beat = hub.heartbeat(D::BEAT_S);
    let mut heard = Instant::now();
    say(hub, socket, dialect.greeting()).await?;
    loop {
        hub.subscribed(|symbol| dialect.has(symbol));
        let patience = heard + dialect.patience().unwrap_or(FOR_EVER);
        tokio::select! {
            () = tokio::time::sleep_until(patience) => return Some("nothing was said for too long"),
            _ = beat.tick() => {
                let said = dialect.beat(hub);
                say(hub, socket, said).await?;
            }
            frame = socket.next() => match frame?.ok()? {
                Frame::Text(text) => {
                    heard = Instant::now();
                    let said = dialect.command(hub, &text);
                    say(hub, socket, said).await?;
                }
                Frame::Close(_) => return None,
                _ => socket.flush().await.ok()?,
            },
            batch = source.next(|event| dialect.wants(event)) => {
                for text in batch.events.iter().flat_map(|event| dialect.words(hub, event)) {
                    socket.feed(Frame::text(text)).await.ok()?;
                }
                socket.flush().await.ok()?;
                source.sent(&batch);
            }
        }
    }
}

async fn say(hub: &Hub, socket: &mut WebSocket, said: Said) -> Option<()> {
    for text in said.texts {
        socket.feed(Frame::text(text)).await.ok()?;
    }
    socket.flush().await.ok()?;
    hub.count(&said.shown);
    Some(())
}

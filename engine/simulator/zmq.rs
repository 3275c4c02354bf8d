//! What the simulated expert advisers over ZeroMQ share: the symbols that they tell prices of, the socket that answers, and
//! past bars on their clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::Server;
use super::event::{Event, Quote};
use super::hub::{Batch, Hub};
use super::past::{Admission, Candle, Cut, Length};
use super::stamp::ServerTime;
use crate::clock;
use crate::feeds::net::Failure;
use crate::feeds::zmq::Kind;
use crate::feeds::zmq::link::Link;

/// Answers that wait for somebody to listen: the high-water mark of one that DWX asks for, and what its socket's buffers
/// hold beside it. What is too many is dropped, as both advisers do.
const ANSWERS_MAX: usize = 16;

/// Bars and ticks of one answer.
const ROWS_MAX: usize = 10_000;

/// One adviser's subscriptions and answers, whoever asked.
#[derive(Debug)]
pub(super) struct Desk {
    /// By symbol: how many times its price is told.
    tracks: watch::Sender<Vec<usize>>,
    answers: mpsc::Sender<String>,
    waiting: Mutex<mpsc::Receiver<String>>,
    listeners: AtomicUsize,
}

impl Default for Desk {
    fn default() -> Self {
        let (answers, waiting) = mpsc::channel(ANSWERS_MAX);
        let tracks = watch::Sender::new(Vec::new());
        Desk { tracks, answers, waiting: Mutex::new(waiting), listeners: AtomicUsize::new(0) }
    }
}

impl Desk {
    /// Tells prices of other symbols from now on: the list is `change`d, which has a place for each of `symbols`.
    pub(super) fn track(&self, symbols: usize, change: impl FnOnce(&mut [usize])) {
        self.tracks.send_modify(|tracks| {
            tracks.resize(symbols, 0);
            change(tracks);
        });
    }

    /// Gives an answer to one of those who listen; to nobody where nobody does.
    pub(super) fn answer(&self, text: String) {
        if self.listeners.load(Ordering::Relaxed) > 0 {
            let _ = self.answers.try_send(text);
        }
    }
}

/// Counts a listener for as long as it lives.
struct Listening<'a>(&'a AtomicUsize);

impl<'a> Listening<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Listening(count)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one client of the answers' port.
pub(super) async fn answers(server: Arc<Server>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let _listening = Listening::new(&server.desk.listeners);
    let serve = async {
        let mut link = Link::accept(stream, Kind::Push).await?;
        loop {
            let answer = async { server.desk.waiting.lock().await.recv().await };
            let mut passed_over = |_: &[u8], _| ();
            tokio::select! {
                Some(answer) = answer => link.say(answer),
                read = link.read(&mut passed_over) => read?,
            }
            link.flush().await?;
        }
    };
    let served: Result<(), Failure> = tokio::select! {
        served = serve => served,
        () = server.hub.until_cut() => Ok(()),
    };
    left(&server.hub, served);
}

/// Serves one client of the port of commands: `obey` gives what to say at once, where something is.
pub(super) async fn commands(
    server: Arc<Server>,
    stream: TcpStream,
    kind: Kind,
    obey: impl Fn(&Server, &[u8]) -> Option<String>,
) {
    let serve = async {
        let mut link = Link::accept(stream, kind).await?;
        loop {
            let mut said = Vec::new();
            link.read(&mut |command, _| said.extend(obey(&server, command))).await?;
            said.iter().for_each(|text| link.say(text));
            link.flush().await?;
        }
    };
    let served: Result<(), Failure> = tokio::select! {
        served = serve => served,
        () = server.hub.until_cut() => Ok(()),
    };
    left(&server.hub, served);
}

/// Serves one client of the port of prices, a PUB or PUSH socket: `say` puts a quote into words. Who listens to PUB must have
/// subscribed to how they begin.
pub(super) async fn prices(
    server: Arc<Server>,
    stream: TcpStream,
    kind: Kind,
    topic: impl Fn(&str) -> String,
    say: impl FnMut(&Hub, &Quote) -> Option<String>,
) {
    let _ = stream.set_nodelay(true);
    let served = tokio::select! {
        served = session(&server, stream, kind, topic, say) => served,
        () = server.hub.until_old(0) => Ok(()),
        () = server.hub.until_cut() => Ok(()),
    };
    left(&server.hub, served);
}

async fn session(
    server: &Server,
    stream: TcpStream,
    kind: Kind,
    topic: impl Fn(&str) -> String,
    mut say: impl FnMut(&Hub, &Quote) -> Option<String>,
) -> Result<(), Failure> {
    let mut link = Link::accept(stream, kind).await?;
    let (hub, mut tracks) = (&server.hub, server.desk.tracks.subscribe());
    let mut source = hub.source();
    let mut subscribed = vec![kind != Kind::Pub; hub.symbols.len()];
    loop {
        let tracked = tracks.borrow_and_update().clone();
        let times = |symbol: usize| if subscribed[symbol] { tracked.get(symbol).copied().unwrap_or(0) } else { 0 };
        hub.subscribed(|symbol| times(symbol) > 0);
        let mut said = Vec::new();
        let mut hear = |message: &[u8], _| said.push(message.to_vec());
        tokio::select! {
            // It lives as long as the server.
            _ = tracks.changed() => {}
            read = link.read(&mut hear) => read?,
            batch = source.next(|event| matches!(event, Event::Quote(_)) && times(event.symbol()) > 0) => {
                let batch = tell(&mut link, hub, batch, times, &mut say);
                link.flush().await?;
                source.sent(&batch);
            }
        }
        for message in said {
            subscribe(&message, &mut subscribed, |symbol| topic(&hub.symbols[symbol].name));
        }
    }
}

/// Says what `say` has words for, as often as its symbol is subscribed, and gives back what that was.
fn tell(
    link: &mut Link,
    hub: &Hub,
    mut batch: Batch,
    times: impl Fn(usize) -> usize,
    say: &mut impl FnMut(&Hub, &Quote) -> Option<String>,
) -> Batch {
    batch.events.retain(|event| {
        let Event::Quote(quote) = event else { return false };
        let Some(text) = say(hub, quote) else { return false };
        (0..times(quote.symbol)).for_each(|_| link.say(&text));
        true
    });
    batch
}

/// Obeys a subscription: one byte, and how the messages begin that it is for.
fn subscribe(message: &[u8], subscribed: &mut [bool], topic: impl Fn(usize) -> String) {
    let Some((on @ 0..=1, prefix)) = message.split_first() else { return };
    for (symbol, subscribed) in subscribed.iter_mut().enumerate() {
        if topic(symbol).as_bytes().starts_with(prefix) {
            *subscribed = *on == 1;
        }
    }
}

fn left(hub: &Hub, served: Result<(), Failure>) {
    if let Err(failure) = served {
        tracing::debug!(simulator = hub.name, "a client left: {failure}");
    }
}

/// The broker's clock, which was checked when the configuration was read.
pub(super) fn rule(hub: &Hub) -> ServerTime {
    ServerTime::parse(&hub.config.server_time).unwrap_or(ServerTime::Fixed(0))
}

/// Whether one more request for the past is answered.
pub(super) fn admits(hub: &Hub) -> bool {
    matches!(hub.admit(Instant::now()), Admission::Admitted(_))
}

/// Bars of the bid that open in an interval of the broker's clock, both ends included, with the one that forms; their times
/// are on that clock.
pub(super) fn bars(hub: &Hub, symbol: usize, length: Length, from_ns: i64, to_ns: i64) -> Vec<Candle> {
    let (rule, now_ns, symbol) = (rule(hub), clock::now_ns(), &hub.symbols[symbol]);
    let to_utc = |wall_ns: i64| wall_ns - rule.offset_ns(wall_ns - rule.offset_ns(wall_ns));
    let below = ((symbol.spread_points as f64 * hub.config.spread) as i64).max(1) / 2 * symbol.point_e9();
    let cut = Cut { rule, length };
    let spans = cut.bars(to_utc(from_ns), to_utc(to_ns).saturating_add(1).min(now_ns));
    let candles = spans.filter_map(|(from, to)| hub.past.candle(symbol, from, to.min(now_ns)));
    let on_the_wall = |candle: Candle| Candle {
        open_ns: candle.open_ns + rule.offset_ns(candle.open_ns),
        open: candle.open - below,
        high: candle.high - below,
        low: candle.low - below,
        close: candle.close - below,
        ..candle
    };
    candles.take(ROWS_MAX).map(on_the_wall).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_to_how_messages_begin() {
        let topics = ["EURUSD:|:", "EURUSD.m:|:", "XAUUSD:|:"];
        let mut subscribed = [false; 3];
        let mut tell = |message: &[u8]| {
            subscribe(message, &mut subscribed, |at| topics[at].to_string());
            subscribed
        };
        assert_eq!(tell(b"\x01EURUSD:|:"), [true, false, false]);
        assert_eq!(tell(b"\x01EUR"), [true, true, false]);
        assert_eq!(tell(b"\x00EURUSD:|:"), [false, true, false]);
        assert_eq!(tell(b"what"), [false, true, false]);
        assert_eq!(tell(b"\x01"), [true, true, true]);
    }

    #[test]
    fn what_nobody_listens_to_is_dropped_and_so_is_too_much() {
        let desk = Desk::default();
        desk.answer("lost".into());
        let listening = Listening::new(&desk.listeners);
        (0..=ANSWERS_MAX).for_each(|at| desk.answer(at.to_string()));
        let Ok(mut waiting) = desk.waiting.try_lock() else { panic!() };
        let heard: Vec<String> = std::iter::from_fn(|| waiting.try_recv().ok()).collect();
        assert_eq!((heard.len(), heard[0].as_str()), (ANSWERS_MAX, "0"));
        drop(listening);
        desk.answer("lost".into());
        assert!(waiting.try_recv().is_err());
    }
}

//! What all connections of one simulated broker share: its prices, its ledger of what was sent, and its moods.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, broadcast, watch};
use tokio::time::Instant;

use super::config::{Broker, Config};
use super::event::{Event, Quote};
use super::past::{Admission, Gate, Past};
use super::playback::{Player, Row, Stage};
use super::symbols::Symbol;

/// Batches of live prices that a slow reader may be behind before it loses some (counted as `lagged`): three seconds at five
/// batches a millisecond, the most there are.
const LIVE_BATCHES: usize = 16_384;

/// Recorded rows handed to one write.
const ROWS_PER_WRITE: usize = 512;

/// The ledger's line of one symbol.
#[derive(Debug, Default)]
struct Count {
    ticks: AtomicU64,
    trades: AtomicU64,
}

/// What was sent of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SymbolStats {
    /// Quotes written to subscribers.
    pub ticks: u64,
    /// Trades written to subscribers.
    pub trades: u64,
}

/// What a simulator has sent so far.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Name in the configuration.
    pub simulator: String,
    /// The protocol it speaks.
    pub broker: &'static str,
    /// Price connections at this moment.
    pub subscribers: u64,
    /// Price connections so far.
    pub sessions: u64,
    /// Batches of live prices that slow readers missed; recordings miss none.
    pub lagged: u64,
    /// Rows of the recordings; 0 when the market is shown.
    pub playback_rows: u64,
    /// Rows played, sent or passed over because nobody had subscribed to them.
    pub playback_played: u64,
    /// Everything has been played; false when there is nothing to play.
    pub playback_finished: bool,
    /// Requests that the broker limits, refused ones too: those for past bars; all of OANDA's but its streams.
    pub requests: u64,
    /// Those refused because there were too many.
    pub throttled: u64,
    /// Those refused because the client went on after that.
    pub banned: u64,
    /// Past bars shown.
    pub bars: u64,
    /// Past ticks shown.
    pub past_ticks: u64,
    /// Counts by canonical symbol.
    pub symbols: BTreeMap<String, SymbolStats>,
}

/// The shared state of one simulated broker.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) symbols: Vec<Symbol>,
    counts: Vec<Count>,
    last: Mutex<Vec<Option<Quote>>>,
    live: broadcast::Sender<Arc<[Event]>>,
    player: Option<Arc<tokio::sync::Mutex<Player>>>,
    recorded: Vec<bool>,
    rows: u64,
    played: AtomicU64,
    stage: Arc<Stage>,
    muted: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    mute_armed: AtomicBool,
    subscribers: AtomicU64,
    sessions: AtomicU64,
    lagged: AtomicU64,
    pub(super) past: Past,
    gate: Mutex<Gate>,
    requests: AtomicU64,
    throttled: AtomicU64,
    banned: AtomicU64,
    bars: AtomicU64,
    past_ticks: AtomicU64,
}

impl Hub {
    pub(super) fn new(name: &str, config: Config, names: &[String], rows: Vec<Row>, stage: Arc<Stage>) -> Hub {
        let symbols: Vec<Symbol> = names.iter().map(|name| Symbol::named(name)).collect();
        let mut recorded = vec![false; symbols.len()];
        rows.iter().for_each(|row| recorded[row.symbol()] = true);
        let count = rows.len() as u64;
        let player = (!config.playback.is_empty()).then(|| Arc::new(tokio::sync::Mutex::new(Player { rows, at: 0 })));
        Hub {
            name: name.to_string(),
            counts: symbols.iter().map(|_| Count::default()).collect(),
            last: Mutex::new(vec![None; symbols.len()]),
            live: broadcast::Sender::new(LIVE_BATCHES),
            player,
            recorded,
            rows: count,
            played: AtomicU64::new(0),
            stage,
            muted: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            mute_armed: AtomicBool::new(config.mute_after_s > 0),
            subscribers: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
            past: Past::new(config.seed, super::drive::permille(config.volatility), config.holes()),
            gate: Mutex::new(gate(&config)),
            requests: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            banned: AtomicU64::new(0),
            bars: AtomicU64::new(0),
            past_ticks: AtomicU64::new(0),
            config,
            symbols,
        }
    }

    /// Whether the market is shown rather than recordings.
    pub(super) fn is_live(&self) -> bool {
        self.player.is_none()
    }

    /// The market's news for this broker.
    pub(super) fn publish(&self, events: Vec<Event>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &events {
            if let Event::Quote(quote) = event {
                last[quote.symbol] = Some(*quote);
            }
        }
        drop(last);
        // No subscriber, no news.
        let _ = self.live.send(events.into());
    }

    /// The newest quote of a symbol.
    pub(super) fn last(&self, symbol: usize) -> Option<Quote> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[symbol]
    }

    /// Index of the symbol that this broker calls so.
    pub(super) fn find(&self, is: impl Fn(&Symbol) -> bool) -> Option<usize> {
        self.symbols.iter().position(is)
    }

    /// A new price connection. It counts as open until the source is dropped.
    pub(super) fn source(self: &Arc<Self>) -> Source {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
        self.sessions.fetch_add(1, Ordering::Relaxed);
        if self.mute_armed.swap(false, Ordering::Relaxed) {
            let hub = self.clone();
            tokio::spawn(async move { hub.mute_later().await });
        }
        Source { hub: self.clone(), live: self.live.subscribe(), player: None }
    }

    /// Tells what a price connection has subscribed to, so that recordings can start.
    pub(super) fn subscribed(&self, wants: impl Fn(usize) -> bool) {
        if self.player.is_some() {
            let complete = self.recorded.iter().enumerate().all(|(symbol, recorded)| !recorded || wants(symbol));
            self.stage.arrived(&self.name, complete);
        }
    }

    async fn mute_later(&self) {
        tokio::time::sleep(Duration::from_secs(self.config.mute_after_s.into())).await;
        self.set_muted(true);
        if self.config.mute_for_s > 0 {
            tokio::time::sleep(Duration::from_secs(self.config.mute_for_s.into())).await;
            self.set_muted(false);
        }
    }

    /// Stops or resumes prices while keep-alives go on.
    pub(super) fn set_muted(&self, muted: bool) {
        self.muted.send_replace(muted);
    }

    /// Whether prices have stopped.
    pub(super) fn is_muted(&self) -> bool {
        *self.muted.borrow()
    }

    /// Breaks every connection without a word.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Returns when connections are cut after this call.
    pub(super) async fn until_cut(&self) {
        let mut cuts = self.cuts.subscribe();
        if cuts.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when a price connection of this broker has become too old, `limit_s` where the configuration is silent.
    pub(super) async fn until_old(&self, limit_s: u64) {
        match u64::from(self.config.drop_after_s) {
            0 if limit_s == 0 => std::future::pending().await,
            0 => tokio::time::sleep(Duration::from_secs(limit_s)).await,
            seconds => tokio::time::sleep(Duration::from_secs(seconds)).await,
        }
    }

    /// Time between keep-alives, `usual_s` where the configuration is silent.
    pub(super) fn heartbeat(&self, usual_s: u64) -> tokio::time::Interval {
        let every = match self.config.heartbeat_ms {
            0 => Duration::from_secs(usual_s),
            millis => Duration::from_millis(millis.into()),
        };
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval
    }

    /// Enters into the ledger what has been written.
    pub(super) fn count(&self, events: &[Event]) {
        for event in events {
            let count = &self.counts[event.symbol()];
            let which = if event.is_trade() { &count.trades } else { &count.ticks };
            which.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that the broker limits, and says whether it is one too many.
    pub(super) fn admit(&self, now: Instant) -> Admission {
        let admission = self.gate.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        self.requests.fetch_add(1, Ordering::Relaxed);
        match admission {
            Admission::Admitted(_) => {}
            Admission::TooMany(_) => drop(self.throttled.fetch_add(1, Ordering::Relaxed)),
            Admission::Insists => drop(self.banned.fetch_add(1, Ordering::Relaxed)),
        }
        admission
    }

    /// Answers no request for past bars for so long.
    pub(super) fn ban(&self, now: Instant, wait: Duration) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).close_for(now, wait);
    }

    /// Enters past bars into the ledger.
    pub(super) fn showed_bars(&self, count: u64) {
        self.bars.fetch_add(count, Ordering::Relaxed);
    }

    /// Enters past ticks into the ledger.
    pub(super) fn showed_ticks(&self, count: u64) {
        self.past_ticks.fetch_add(count, Ordering::Relaxed);
    }

    /// What was sent so far.
    pub(super) fn stats(&self) -> Stats {
        let played = self.played.load(Ordering::Acquire);
        let of = |(symbol, count): (&Symbol, &Count)| {
            let (ticks, trades) = (count.ticks.load(Ordering::Relaxed), count.trades.load(Ordering::Relaxed));
            (symbol.name.clone(), SymbolStats { ticks, trades })
        };
        Stats {
            simulator: self.name.clone(),
            broker: self.config.broker.word(),
            subscribers: self.subscribers.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
            banned: self.banned.load(Ordering::Relaxed),
            bars: self.bars.load(Ordering::Relaxed),
            past_ticks: self.past_ticks.load(Ordering::Relaxed),
            playback_rows: self.rows,
            playback_played: played,
            playback_finished: self.player.is_some() && played == self.rows,
            symbols: self.symbols.iter().zip(&self.counts).map(of).collect(),
        }
    }
}

/// The broker's limit on requests for past bars: OANDA's 120 in a second, Binance's weight of 6,000 in a minute at 2 each;
/// those of the others are not documented and are taken as 10 in a second.
fn gate(config: &Config) -> Gate {
    let second = Duration::from_secs(1);
    match (config.requests_per_s, config.broker) {
        (0, Broker::Oanda) => Gate::new(120, second),
        (0, Broker::Binance | Broker::BinanceUsdm) => Gate::new(3_000, 60 * second),
        (0, _) => Gate::new(10, second),
        (most, _) => Gate::new(most as usize, second),
    }
}

/// Where one price connection gets its events from.
#[derive(Debug)]
pub(super) struct Source {
    hub: Arc<Hub>,
    live: broadcast::Receiver<Arc<[Event]>>,
    player: Option<OwnedMutexGuard<Player>>,
}

/// Events for one write.
#[derive(Debug)]
pub(super) struct Batch {
    /// What the connection wants of them.
    pub(super) events: Vec<Event>,
    /// Rows of the recordings that are done with when it is written.
    rows: usize,
}

impl Source {
    /// The next events that the connection wants. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, wants: impl Fn(&Event) -> bool) -> Batch {
        let hub = self.hub.clone();
        match &hub.player {
            None => self.next_live(wants).await,
            Some(player) => {
                if self.player.is_none() {
                    self.player = Some(player.clone().lock_owned().await);
                }
                self.next_recorded(wants).await
            }
        }
    }

    async fn next_live(&mut self, wants: impl Fn(&Event) -> bool) -> Batch {
        loop {
            match self.live.recv().await {
                Ok(_) if *self.hub.muted.borrow() => {}
                Ok(batch) => {
                    let events: Vec<Event> = batch.iter().filter(|event| wants(event)).cloned().collect();
                    if !events.is_empty() {
                        return Batch { events, rows: 0 };
                    }
                }
                Err(broadcast::error::RecvError::Lagged(batches)) => {
                    self.hub.lagged.fetch_add(batches, Ordering::Relaxed);
                }
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    async fn next_recorded(&mut self, wants: impl Fn(&Event) -> bool) -> Batch {
        let start = self.hub.stage.started().await;
        let pace = self.hub.config.pace;
        loop {
            let mut muted = self.hub.muted.subscribe();
            if muted.wait_for(|muted| !muted).await.is_err() {
                std::future::pending::<()>().await;
            }
            let Some((player, at)) = self.player.as_ref().map(|player| (player, player.at)) else {
                return std::future::pending().await;
            };
            let Some(next) = player.rows.get(at) else { return std::future::pending().await };
            tokio::time::sleep_until(next.due(start, pace)).await;
            let now = tokio::time::Instant::now();
            let due = player.rows[at..].iter().take(ROWS_PER_WRITE).take_while(|row| row.due(start, pace) <= now);
            let all: Vec<Event> = due.map(|row| row.event(start, pace)).collect();
            let rows = all.len();
            let events: Vec<Event> = all.into_iter().filter(|event| wants(event)).collect();
            if !events.is_empty() {
                return Batch { events, rows };
            }
            self.pass(rows);
        }
    }

    /// The batch is on its way: it goes into the ledger, and the recordings move on.
    pub(super) fn sent(&mut self, batch: &Batch) {
        self.hub.count(&batch.events);
        if self.player.is_some() {
            let mut last = self.hub.last.lock().unwrap_or_else(PoisonError::into_inner);
            for event in &batch.events {
                if let Event::Quote(quote) = event {
                    last[quote.symbol] = Some(*quote);
                }
            }
        }
        self.pass(batch.rows);
    }

    fn pass(&mut self, rows: usize) {
        if let Some(player) = &mut self.player {
            player.at += rows;
            // Published after the counts, so that "finished" comes with the final ones.
            self.hub.played.store(player.at as u64, Ordering::Release);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.hub.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

//! An engine's fan-out on loopback, fed by the test instead of a pipeline.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

use std::collections::HashMap;
use std::task::{Context, Poll};

use tempfile::TempDir;
use tickwire::clock::now_ns;
use tickwire::config::Secret;
use tickwire::fanout::{Catalogue, FanoutConfig, FanoutHandle, TokenConfig, Transport, start};
use tickwire::market::{
    Class, IndicatorId, IndicatorName, Instrument, InstrumentId, Price, Scope, Source, SourceId, VolumeOf,
};
use tickwire::ring::{Drained, Outlet};
use tickwire_schemas::record::{Gap, Head, Quote, RECORD_BYTES_MAX, Record, Tick, Timer};
use tickwire_schemas::words::Kind;
use tickwire_terminal::{Data, Event, Subscribe, Subscription, Target, Terminal, TerminalError, Trust};
use tokio::sync::{mpsc, watch};

/// Makes a test of each function for each transport, and for three threads that share the terminals.
#[macro_export]
macro_rules! over_each {
    ($($test:ident),* $(,)?) => {
        mod over_tokio {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::fanout_common::Over::Tokio).await;
            })*
        }
        mod over_the_loop {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::fanout_common::Over::Loop).await;
            })*
        }
        mod over_three_loops {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::fanout_common::Over::ThreeLoops).await;
            })*
        }
    };
}

/// Who moves the datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tokio,
    Loop,
    ThreeLoops,
}

pub const EPOCH: u32 = 7;
pub const EURUSD: u32 = 1;
pub const BTCUSDT: u32 = 3;
/// The source of user `ann`.
pub const ANNS: u32 = 3;

type Slot = (Kind, Vec<u8>);

struct Fake {
    records: mpsc::UnboundedReceiver<Slot>,
    next: Option<Slot>,
    /// How many were taken.
    taken: watch::Sender<u64>,
}

impl Outlet for Fake {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        let drained = self.take(limit, each);
        if let Drained::Records(count) = drained {
            self.taken.send_modify(|taken| *taken += count as u64);
        }
        drained
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none() {
            self.next = std::task::ready!(self.records.poll_recv(cx));
        }
        Poll::Ready(())
    }
}

impl Fake {
    fn take(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        for n in 0..limit {
            match self.next.take().map_or_else(|| self.records.try_recv(), Ok) {
                Ok((kind, bytes)) => each(kind, &bytes),
                Err(_) if n > 0 => return Drained::Records(n),
                Err(mpsc::error::TryRecvError::Empty) => return Drained::Empty,
                Err(mpsc::error::TryRecvError::Disconnected) => return Drained::Shutdown,
            }
        }
        Drained::Records(limit)
    }
}

/// What the pipeline would publish.
pub struct Feed {
    outlets: Vec<(mpsc::UnboundedSender<Slot>, watch::Receiver<u64>)>,
    pub seq: u64,
    chains: HashMap<(Kind, u32, u32), u64>,
}

impl Feed {
    pub fn send<R: Record>(&mut self, mut record: R, source_id: u32, instrument_id: u32) -> u64 {
        self.seq += 1;
        let chain = self.chains.entry((R::KIND, source_id, instrument_id)).or_default();
        *chain += 1;
        let (epoch, seq, chain) = (EPOCH, self.seq, *chain);
        *record.head_mut() = Head { epoch, seq, chain, source_id, instrument_id, ts_publish_ns: now_ns() };
        let mut bytes = [0; RECORD_BYTES_MAX];
        let length = record.write(&mut bytes);
        for (slots, _) in &self.outlets {
            slots.send((R::KIND, bytes[..length].to_vec())).unwrap();
        }
        seq
    }

    /// A quote of the common price; the bid is told apart by `n`.
    pub fn quote(&mut self, instrument_id: u32, n: i64) -> u64 {
        let quote = Quote { bid_e9: 1_000_000_000 + n, ask_e9: 1_000_000_100 + n, sources: 2, ..Quote::default() };
        self.send(quote, 0, instrument_id)
    }

    pub fn tick(&mut self, source_id: u32, instrument_id: u32) -> u64 {
        self.send(Tick::default(), source_id, instrument_id)
    }

    pub fn gap(&mut self, source_id: u32) -> u64 {
        self.send(Gap::default(), source_id, 0)
    }

    pub fn timer(&mut self) -> u64 {
        self.send(Timer::default(), 0, 0)
    }
}

pub struct Engine {
    pub handle: FanoutHandle,
    pub feed: Feed,
    pub state: TempDir,
}

pub fn catalogue() -> Catalogue {
    let instruments = ["EURUSD", "GBPUSD", "BTCUSDT"].into_iter().zip(1..).map(|(symbol, id)| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class: if id == 3 { Class::Crypto } else { Class::Fx },
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    });
    let source = |id, name: &str, scope, owner: &str| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: owner.into(),
        priority: 1,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let sources = vec![
        source(1, "oanda", Scope::Global, ""),
        source(2, "binance", Scope::Global, ""),
        source(ANNS, "anns", Scope::Private, "ann"),
    ];
    let ema = IndicatorName { id: IndicatorId(7), name: "EMA(20)".into() };
    Catalogue::new(instruments.collect(), sources).with_indicators(vec![ema])
}

pub fn token(name: &str) -> TokenConfig {
    let every = || vec!["*".to_string()];
    TokenConfig {
        name: name.into(),
        token: Secret::new(format!("{name}-secret")),
        user: name.into(),
        symbols: every(),
        kinds: every(),
        sources: every(),
        max_rate_hz: 0,
    }
}

pub fn config(over: Over) -> FanoutConfig {
    let listen = "127.0.0.1:0".parse().unwrap();
    let transport = if over == Over::Tokio { Transport::Tokio } else { Transport::Loop };
    let threads = if over == Over::ThreeLoops { 3 } else { 1 };
    FanoutConfig { listen, transport, threads, tokens: vec![token("ann"), token("bob")], ..FanoutConfig::default() }
}

/// For so many threads.
pub fn outlets(threads: u32) -> (Feed, Vec<Box<dyn Outlet>>) {
    let mut feed = Feed { outlets: Vec::new(), seq: 0, chains: HashMap::new() };
    let outlet = |_| {
        let ((slots, records), (taken, is_taken)) = (mpsc::unbounded_channel(), watch::channel(0));
        feed.outlets.push((slots, is_taken));
        Box::new(Fake { records, next: None, taken }) as Box<dyn Outlet>
    };
    let outlets = (0..threads).map(outlet).collect();
    (feed, outlets)
}

pub fn engine(config: &FanoutConfig) -> Engine {
    let state = TempDir::new().unwrap();
    let (feed, outlets) = outlets(config.threads);
    let handle = start(config, catalogue(), "test".into(), EPOCH, state.path(), None, outlets).unwrap();
    Engine { handle, feed, state }
}

impl Engine {
    pub fn trust(&self) -> Trust {
        Trust::Fingerprint(self.handle.fingerprint().into())
    }

    pub async fn connect(&self, token: &str) -> Result<Terminal, TerminalError> {
        Terminal::connect(self.handle.local_addr(), &self.trust(), token).await
    }

    pub fn target(&self) -> Target {
        Target { address: self.handle.local_addr(), trust: self.trust(), token: String::new() }
    }

    /// Waits until what was fed so far is in the window of every thread.
    pub async fn settle(&mut self) {
        let sent = self.feed.seq;
        for (_, taken) in &mut self.feed.outlets {
            taken.wait_for(|taken| *taken >= sent).await.unwrap();
        }
    }
}

pub fn request(symbols: &[&str], kinds: &[Kind]) -> Subscribe {
    let symbols = symbols.iter().map(ToString::to_string).collect();
    Subscribe { symbols, kinds: kinds.to_vec(), ..Subscribe::default() }
}

/// The next record: itself, whether of the snapshot, and what was skipped.
pub async fn record(subscription: &mut Subscription) -> (Data, bool, u64) {
    loop {
        if let Event::Record { data, snapshot, skipped } = subscription.next().await.unwrap().unwrap() {
            return (data, snapshot, skipped);
        }
    }
}

/// Reads up to the end of the snapshot.
pub async fn snapshot(subscription: &mut Subscription) -> Vec<Data> {
    let mut found = Vec::new();
    loop {
        match subscription.next().await.unwrap().unwrap() {
            Event::Record { data, snapshot, .. } => {
                assert!(snapshot, "live before the end of the snapshot: {data:?}");
                found.push(data);
            }
            Event::SnapshotEnd(end) => {
                assert_eq!(end.records as usize, found.len());
                return found;
            }
            other => panic!("{other:?}"),
        }
    }
}

pub fn bid(data: &Data) -> i64 {
    match data {
        Data::Quote(quote) => quote.bid_e9 - 1_000_000_000,
        other => panic!("not a quote: {other:?}"),
    }
}

//! One source: its connections, how its symbols are spread over them, and when it is to be connected at all.
//!
//! It runs on the thread that hosts the source, beside its sessions. What it is told from outside it does one after the
//! other, and answers when it is done.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{Instrument, trace_span};

use super::event::Symbols;
use super::ingest::{Feed, until_stopped};
use super::rate::SharedHosts;
use super::report::Report;
use super::session::{Task, Told};
use super::shards::plan;
use super::standby::{Service, Standby};
use super::status::{FeedStatus, Statuses};
use crate::clock;
use crate::market::{Calendar, InstrumentId};
use crate::ring::Inlet;

/// What a source is told from outside; the answer comes when it is done.
pub(super) enum Order {
    Replace(Box<Feed>, oneshot::Sender<()>),
    Remove(oneshot::Sender<()>),
}

/// What all sources of a thread share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) inlet: Rc<dyn Inlet>,
    pub(super) statuses: Statuses,
    pub(super) hosts: SharedHosts,
    pub(super) stop: watch::Receiver<bool>,
}

/// A symbol as the venue writes it, and what it stands for.
type Symbol = (String, InstrumentId);

/// A connection's session, and what it was last told.
struct Shard {
    symbols: Vec<Symbol>,
    calendars: Vec<Calendar>,
    told: watch::Sender<Told>,
    prices: Rc<Cell<u64>>,
    session: JoinHandle<()>,
    /// Prices at the last check, and the first check that found no more than that, monotonic.
    seen: u64,
    silent_ns: Option<i64>,
}

/// Runs a source until it is removed (then the answer's sender is returned) or the engine stops.
pub(super) async fn run(
    feed: Feed,
    status: Arc<FeedStatus>,
    context: Context,
    mut orders: mpsc::Receiver<Order>,
) -> Option<oneshot::Sender<()>> {
    let mut stop = context.stop.clone();
    let mut flips = context.statuses.flips();
    let mut source = Source::new(feed, status, context);
    let mut check = source.checks();
    loop {
        let look_ns = source.place().await;
        let wait_ns = look_ns.saturating_sub(clock::monotonic_ns()).clamp(0, 86_400_000_000_000);
        tokio::select! {
            biased;
            () = until_stopped(&mut stop) => {
                source.end(Cause::Stopped, true).await;
                return None;
            }
            order = orders.recv() => match order {
                Some(Order::Replace(feed, answer)) => {
                    source.replace(*feed).await;
                    check = source.checks();
                    let _ = answer.send(());
                }
                Some(Order::Remove(answer)) => {
                    source.end(Cause::Stopped, false).await;
                    return Some(answer);
                }
                // Nobody is left who could give orders: then it runs until the engine stops.
                None => {
                    until_stopped(&mut stop).await;
                    source.end(Cause::Stopped, true).await;
                    return None;
                }
            },
            _ = check.tick() => source.check(),
            _ = flips.changed(), if source.standby.is_some() => {}
            () = sleep(Duration::from_nanos(wait_ns.unsigned_abs())), if look_ns < i64::MAX => {}
        }
    }
}

struct Source {
    feed: Feed,
    context: Context,
    report: Rc<Report>,
    /// By the number of the connection.
    shards: Vec<Option<Shard>>,
    standby: Option<Standby>,
    /// Held back, and that was said.
    held: bool,
}

impl Source {
    fn new(feed: Feed, status: Arc<FeedStatus>, context: Context) -> Source {
        let report = Rc::new(Report::new(status, Rc::clone(&context.inlet)));
        let standby = feed.spec.standby.as_ref().map(Standby::new);
        Source { feed, context, report, shards: Vec::new(), standby, held: false }
    }

    fn checks(&self) -> tokio::time::Interval {
        let every = self.feed.spec.health_check;
        let mut check = interval(every);
        check.reset();
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        check
    }

    /// Connects or lets go, as its standing in for another wants it. Returns when to look again, monotonic.
    async fn place(&mut self) -> i64 {
        let now_ns = clock::monotonic_ns();
        let (runs, look_ns) = match (&mut self.standby, &self.feed.spec.standby) {
            (Some(standby), Some(spec)) => {
                let gone = Service { serves: false, since_ns: 0 };
                let first = self.context.statuses.named(&spec.of).map_or(gone, |status| status.service());
                standby.look(first, now_ns)
            }
            _ => (true, i64::MAX),
        };
        let is_running = self.shards.iter().any(Option::is_some);
        if runs && !is_running {
            if let Some(spec) = self.feed.spec.standby.as_ref().filter(|_| self.held) {
                tracing::warn!(
                    source = self.feed.spec.name,
                    first = spec.of,
                    "takes the place of a source that is away"
                );
            }
            self.held = false;
            self.spread();
        } else if !runs && !self.held {
            self.held = true;
            self.report.want(self.feed.instruments.iter().copied());
            self.end(Cause::Standby, false).await;
        }
        look_ns
    }

    /// Gives every connection its symbols: makes those that are missing, tells those whose symbols change, and stops those
    /// that have none any more.
    fn spread(&mut self) {
        let wanted = self.feed.wire_symbols();
        self.report.want(self.feed.instruments.iter().copied());
        let current: Vec<Vec<Symbol>> =
            self.shards.iter().map(|shard| shard.as_ref().map_or_else(Vec::new, |s| s.symbols.clone())).collect();
        for (number, symbols) in plan(&current, &wanted, self.feed.spec.connection_symbols).into_iter().enumerate() {
            if self.shards.len() <= number {
                self.shards.push(None);
            }
            match &mut self.shards[number] {
                Some(shard) if shard.symbols == symbols => {}
                Some(shard) if symbols.is_empty() => {
                    shard.told.send_modify(|told| told.stop = true);
                    self.report.carry(number, None);
                    self.shards[number] = None;
                }
                Some(shard) => {
                    let said = Arc::new(Symbols::new(self.feed.source, symbols.iter().cloned()));
                    shard.calendars = calendars(&self.feed, &symbols);
                    let hours = shard.calendars.clone().into();
                    shard.told.send_modify(|told| (told.symbols, told.calendars) = (said, hours));
                    shard.symbols = symbols;
                }
                None if symbols.is_empty() => {}
                None => self.shards[number] = Some(self.connect(number, symbols)),
            }
        }
    }

    fn connect(&self, number: usize, symbols: Vec<Symbol>) -> Shard {
        let said = Arc::new(Symbols::new(self.feed.source, symbols.iter().cloned()));
        self.report.carry(number, Some(&said));
        let calendars = calendars(&self.feed, &symbols);
        let first = Told { symbols: said, calendars: calendars.clone().into(), anew: 0, stop: false };
        let (told, hears) = watch::channel(first);
        let prices: Rc<Cell<u64>> = Rc::default();
        let task = Task {
            told: hears,
            pace: self.feed.spec.pace,
            connect_timeout: self.feed.spec.connect_timeout,
            hosts: self.context.hosts.clone(),
            report: Rc::clone(&self.report),
            number,
            prices: Rc::clone(&prices),
        };
        let span = trace_span!(target: "spans", "session", source = %self.feed.spec.name, number);
        let session = spawn_local(Arc::clone(&self.feed.spec.venue).run(task).instrument(span));
        Shard { symbols, calendars, told, prices, session, seen: 0, silent_ns: None }
    }

    /// Other symbols over the connections that there are; with other settings, everything anew.
    async fn replace(&mut self, feed: Feed) {
        let same = feed.spec.settings == self.feed.spec.settings;
        if !same {
            self.report.restart(feed.instruments.iter().copied());
            self.stop_sessions().await;
            self.standby = feed.spec.standby.as_ref().map(Standby::new);
            self.held = false;
        }
        self.feed = feed;
        if self.shards.iter().any(Option::is_some) {
            self.spread();
        }
    }

    /// Says that the source is stopped, then stops it.
    async fn end(&mut self, cause: Cause, with_the_engine: bool) {
        self.report.stop(cause, with_the_engine);
        self.stop_sessions().await;
    }

    async fn stop_sessions(&mut self) {
        let shards = std::mem::take(&mut self.shards);
        let told = |shard: &Shard| shard.told.send_modify(|told| told.stop = true);
        shards.iter().flatten().for_each(told);
        for (number, shard) in shards.into_iter().enumerate() {
            if let Some(shard) = shard {
                // A panic aborts the process; there is no other way to fail.
                let _ = shard.session.await;
                self.report.carry(number, None);
            }
        }
    }

    /// Makes connections anew that bring nothing, whatever their sessions think of them, and says which. Before a session
    /// itself would call its connection mute, it is left alone.
    fn check(&mut self) {
        self.report.status().repeat();
        let (now_ns, utc_ns) = (clock::monotonic_ns(), clock::now_ns());
        let count = self.shards.iter().flatten().count();
        for (number, shard) in self.shards.iter_mut().enumerate() {
            let Some(shard) = shard else { continue };
            let prices = shard.prices.get();
            let hours = &mut shard.calendars;
            let is_open = hours.is_empty() || hours.iter_mut().any(|calendar| calendar.is_open(utc_ns));
            if std::mem::replace(&mut shard.seen, prices) != prices || !is_open || !self.report.is_connected(number) {
                shard.silent_ns = None;
                continue;
            }
            let since_ns = *shard.silent_ns.get_or_insert(now_ns);
            // The second look that finds nothing, at the earliest.
            if since_ns == now_ns || now_ns - since_ns < self.feed.spec.pace.liveness_ns {
                continue;
            }
            shard.silent_ns = None;
            let (name, symbols) = (&self.feed.spec.name, shard.symbols.len());
            tracing::warn!(
                source = name,
                connection = number + 1,
                of = count,
                symbols,
                "no price for long; connecting anew"
            );
            shard.told.send_modify(|told| told.anew += 1);
        }
    }
}

/// When the symbols of a connection trade: silence on one of a closed market is no fault, whatever the others do.
fn calendars(feed: &Feed, symbols: &[Symbol]) -> Vec<Calendar> {
    let place = |(_, id): &Symbol| feed.instruments.iter().position(|instrument| instrument == id);
    let of = |symbol: &Symbol| feed.spec.symbol_calendars.get(place(symbol)?).copied();
    let Some(used) = symbols.iter().map(of).collect::<Option<BTreeSet<usize>>>() else {
        return feed.spec.calendars.clone();
    };
    used.into_iter().filter_map(|at| feed.spec.calendars.get(at).cloned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;
    use crate::feeds::config::sources;
    use crate::market::{Class, Holidays, SourceId};

    #[test]
    fn a_connection_knows_the_hours_of_its_own_symbols() {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let keys = "adapter = \"oanda\"\nbase_url = \"http://h\"\naccount = \"1\"\ntoken = \"t\"";
        config.overlay(&format!("[sources.a]\n{keys}\nsymbols = [\"EURUSD\", \"BTCUSD\"]"), "test").unwrap();
        let mut spec = sources(&config).unwrap().remove(0);
        let calendar = |class| Calendar::new(class, &Holidays::default()).unwrap();
        spec.calendars = vec![calendar(Class::Fx), calendar(Class::Crypto)];
        let instruments = vec![InstrumentId(1), InstrumentId(2)];
        let mut feed = Feed { spec, source: SourceId(1), index: 0, instruments };
        let saturday =
            i64::try_from("2026-11-21T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap();
        let open = |feed: &Feed, symbols: &[Symbol]| {
            calendars(feed, symbols).iter_mut().map(|calendar| calendar.is_open(saturday)).collect::<Vec<_>>()
        };
        let [euro, coin]: [Symbol; 2] = feed.wire_symbols().try_into().unwrap();
        assert_eq!(open(&feed, std::slice::from_ref(&euro)), [false, true], "nobody said which is whose");
        feed.spec.symbol_calendars = vec![0, 1];
        assert_eq!(open(&feed, std::slice::from_ref(&euro)), [false]);
        assert_eq!(open(&feed, std::slice::from_ref(&coin)), [true]);
        assert_eq!(open(&feed, &[coin, euro]), [false, true]);
    }
}

//! Sources that come, change and go while the others run.
//!
//! The thread that hosts a source is the one that hosts fewest when it comes. Orders go to that thread over a bounded
//! channel and are answered when they are done; nothing else is touched.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use super::ingest::{Feed, FeedsError};
use super::source::Order;
use super::standby::circle;
use super::status::{FeedStatus, Statuses};
use crate::market::SourceId;
use crate::metrics::SOURCES_MAX;

/// Orders to one source that may wait: more than one at a time is unusual, and each is answered.
const ORDERS_MAX: usize = 4;

/// Sources that may wait to be hosted by one thread: all there can be.
pub(super) const ARRIVALS_MAX: usize = SOURCES_MAX;

/// A source that a thread is to host.
pub(super) struct Arrival {
    pub(super) feed: Feed,
    pub(super) status: Arc<FeedStatus>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) answer: oneshot::Sender<()>,
}

/// Who hosts what.
#[derive(Debug)]
pub(super) struct Hosted {
    threads: Vec<mpsc::Sender<Arrival>>,
    sources: BTreeMap<u32, Place>,
}

#[derive(Debug)]
struct Place {
    name: String,
    index: usize,
    thread: usize,
    standby_of: Option<String>,
    orders: mpsc::Sender<Order>,
    leaving: bool,
}

/// Adds, changes and removes sources of running feeds. For as many threads as want one.
#[derive(Debug, Clone)]
pub struct FeedsControl {
    hosted: Arc<Mutex<Hosted>>,
    statuses: Statuses,
}

/// An order that is being carried out: to be awaited, or waited for.
#[derive(Debug)]
#[must_use = "an order that is not waited for may still fail"]
pub struct Done(oneshot::Receiver<()>);

impl Done {
    /// Waits; not inside an asynchronous context, where it is to be awaited.
    ///
    /// # Errors
    /// [`FeedsError::Stopping`].
    pub fn wait(self) -> Result<(), FeedsError> {
        self.0.blocking_recv().map_err(|_| FeedsError::Stopping)
    }
}

impl Future for Done {
    type Output = Result<(), FeedsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| FeedsError::Stopping)
    }
}

impl FeedsControl {
    pub(super) fn new(threads: Vec<mpsc::Sender<Arrival>>, statuses: Statuses) -> FeedsControl {
        let hosted = Hosted { threads, sources: BTreeMap::new() };
        FeedsControl { hosted: Arc::new(Mutex::new(hosted)), statuses }
    }

    /// Hosts a new source. Done when it is being connected; its status tells how that goes.
    ///
    /// # Errors
    /// [`FeedsError`]: what it says is wrong with it, there is one already of this number, name or index, or the feeds are
    /// stopping. Nothing has changed then.
    pub fn add(&self, feed: Feed) -> Result<Done, FeedsError> {
        feed.check()?;
        let mut hosted = self.lock();
        let Hosted { threads, sources } = &mut *hosted;
        let name = feed.spec.name.clone();
        let taken =
            |(id, place): (&u32, &Place)| *id == feed.source.0 || place.name == name || place.index == feed.index;
        if sources.iter().any(taken) {
            return Err(FeedsError::Taken { source_name: name });
        }
        check_circle(sources, &feed)?;
        let load = |thread: usize| sources.values().filter(|place| place.thread == thread).count();
        let thread = (0..threads.len()).min_by_key(|thread| load(*thread)).unwrap_or(0);
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (answer, done) = oneshot::channel();
        let (source, index) = (feed.source, feed.index);
        let standby_of = feed.spec.standby.as_ref().map(|standby| standby.of.clone());
        let place = Place { name: name.clone(), index, thread, standby_of, orders, leaving: false };
        let status = self.statuses.add(name.clone(), source, index);
        let arrival = Arrival { feed, status, orders: inbox, answer };
        let sent = threads.get(thread).map(|thread| thread.try_send(arrival));
        if !matches!(sent, Some(Ok(()))) {
            self.statuses.remove(source);
            return Err(match sent {
                Some(Err(mpsc::error::TrySendError::Full(_))) => FeedsError::Busy { source_name: name },
                _ => FeedsError::Stopping,
            });
        }
        sources.insert(source.0, place);
        Ok(Done(done))
    }

    /// Gives a source other symbols or other settings. Where only the symbols differ and the venue bears two connections
    /// for a moment, nothing of what stays is missed; else this one source connects anew. Done when its connections know;
    /// its status tells how that goes.
    ///
    /// # Errors
    /// [`FeedsError`]: what it says is wrong with it, there is no such source, it is being removed or has orders that wait,
    /// or the feeds are stopping. Nothing has changed then.
    pub fn replace(&self, feed: Feed) -> Result<Done, FeedsError> {
        feed.check()?;
        let mut hosted = self.lock();
        check_circle(&hosted.sources, &feed)?;
        let name = feed.spec.name.clone();
        let unknown = || FeedsError::Unknown { source_id: feed.source.0 };
        let place = hosted.sources.get_mut(&feed.source.0).filter(|place| !place.leaving).ok_or_else(unknown)?;
        if (place.name.as_str(), place.index) != (name.as_str(), feed.index) {
            return Err(FeedsError::Taken { source_name: name });
        }
        let standby_of = feed.spec.standby.as_ref().map(|standby| standby.of.clone());
        let (answer, done) = oneshot::channel();
        place.order(Order::Replace(Box::new(feed), answer))?;
        place.standby_of = standby_of;
        Ok(Done(done))
    }

    /// Stops a source: its state `stopped` is published and its sockets are closed when that is done.
    ///
    /// # Errors
    /// [`FeedsError`]: there is no such source, it has orders that wait, or the feeds are stopping.
    pub fn remove(&self, source: SourceId) -> Result<Done, FeedsError> {
        let mut hosted = self.lock();
        let unknown = || FeedsError::Unknown { source_id: source.0 };
        let place = hosted.sources.get_mut(&source.0).filter(|place| !place.leaving).ok_or_else(unknown)?;
        let (answer, done) = oneshot::channel();
        place.order(Order::Remove(answer))?;
        place.leaving = true;
        Ok(Done(done))
    }

    /// The states of all sources.
    #[must_use]
    pub fn statuses(&self) -> &Statuses {
        &self.statuses
    }

    /// A source is gone.
    pub(super) fn forget(&self, source: SourceId) {
        self.lock().sources.remove(&source.0);
        self.statuses.remove(source);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hosted> {
        self.hosted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn order(&self, order: Order) -> Result<(), FeedsError> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => FeedsError::Busy { source_name: self.name.clone() },
            mpsc::error::TrySendError::Closed(_) => FeedsError::Stopping,
        })
    }
}

/// Who stands in for whom must have an end.
fn check_circle(sources: &BTreeMap<u32, Place>, feed: &Feed) -> Result<(), FeedsError> {
    let name = feed.spec.name.as_str();
    let of = |of: &str| {
        if of == name {
            return feed.spec.standby.as_ref().map(|standby| standby.of.as_str());
        }
        sources.values().find(|place| place.name == of).and_then(|place| place.standby_of.as_deref())
    };
    match circle(name, of) {
        None => Ok(()),
        Some(names) => Err(FeedsError::Circle { names: names.join(" for ") }),
    }
}

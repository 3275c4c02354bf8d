//! Who is connected, for those who ask. Each session counts for itself in plain cells on the fan-out's thread; once a second
//! they are copied to where other threads can read them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tickwire_schemas::control::{Delivery, Subscribe};
use tickwire_schemas::words::Kind;

use super::delivery::Batch;

/// Entries of a subscription's lists that are shown; a terminal may name a thousand of each.
const SHOWN_ENTRIES: usize = 20;

/// What a terminal asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Symbols and globs, the first few.
    pub symbols: Vec<String>,
    /// Kinds of record.
    pub kinds: Vec<Kind>,
    /// Sources and globs, the first few; `None`: all that it may see.
    pub sources: Option<Vec<String>>,
    /// How it is delivered.
    pub delivery: Delivery,
}

impl Subscribed {
    pub(super) fn of(request: &Subscribe) -> Subscribed {
        let few = |list: &Vec<String>| list.iter().take(SHOWN_ENTRIES).cloned().collect();
        Subscribed {
            symbols: few(&request.symbols),
            kinds: request.kinds.iter().take(SHOWN_ENTRIES).copied().collect(),
            sources: request.sources.as_ref().map(few),
            delivery: request.delivery,
        }
    }
}

/// An admitted terminal.
#[derive(Clone, Debug, PartialEq)]
pub struct TerminalShown {
    /// Counts the terminals of this run, from 1.
    pub id: u64,
    /// Name of the token that admitted it.
    pub token: String,
    /// The token's user; empty for an anonymous terminal.
    pub user: String,
    /// Where it is.
    pub address: SocketAddr,
    /// When it was admitted, nanoseconds UTC.
    pub since_ns: i64,
    /// What it asked for and did not end since.
    pub subscriptions: Vec<Subscribed>,
    /// Records handed to its connection.
    pub delivered: u64,
    /// Records that a newer one replaced before it took them.
    pub skipped: u64,
    /// Bytes handed to its connection.
    pub bytes: u64,
    /// The connection's estimate of a round trip.
    pub rtt: Duration,
    /// Mean time from publication to its connection over the last second with live records, nanoseconds; `None` before.
    pub latency_ns: Option<u64>,
}

/// What one session counts. On the fan-out's thread alone.
pub(super) struct Tally {
    id: u64,
    token: String,
    user: String,
    since_ns: i64,
    subscriptions: RefCell<BTreeMap<u32, Subscribed>>,
    delivered: Cell<u64>,
    skipped: Cell<u64>,
    bytes: Cell<u64>,
    /// Of the live records since the last copy.
    waited: Cell<(u64, u64)>,
    latency_ns: Cell<Option<u64>>,
}

impl Tally {
    pub(super) fn new(id: u64, token: String, user: String, since_ns: i64) -> Rc<Tally> {
        Rc::new(Tally {
            id,
            token,
            user,
            since_ns,
            subscriptions: RefCell::default(),
            delivered: Cell::new(0),
            skipped: Cell::new(0),
            bytes: Cell::new(0),
            waited: Cell::new((0, 0)),
            latency_ns: Cell::new(None),
        })
    }

    pub(super) fn opened(&self, id: u32, subscribed: Subscribed) {
        self.subscriptions.borrow_mut().insert(id, subscribed);
    }

    pub(super) fn ended(&self, id: u32) {
        self.subscriptions.borrow_mut().remove(&id);
    }

    /// A batch is with the connection; its live records waited `waited_ns` altogether.
    pub(super) fn delivered(&self, batch: &Batch, bytes: u64, waited_ns: u64) {
        self.delivered.set(self.delivered.get() + batch.records);
        self.skipped.set(self.skipped.get() + batch.skipped);
        self.bytes.set(self.bytes.get() + bytes);
        let (records, ns) = self.waited.get();
        self.waited.set((records + batch.published_ns.len() as u64, ns.saturating_add(waited_ns)));
    }

    /// A copy, and a new second.
    pub(super) fn shown(&self, address: SocketAddr, rtt: Duration) -> TerminalShown {
        let (records, ns) = self.waited.replace((0, 0));
        if let Some(mean) = ns.checked_div(records) {
            self.latency_ns.set(Some(mean));
        }
        TerminalShown {
            id: self.id,
            token: self.token.clone(),
            user: self.user.clone(),
            address,
            since_ns: self.since_ns,
            subscriptions: self.subscriptions.borrow().values().cloned().collect(),
            delivered: self.delivered.get(),
            skipped: self.skipped.get(),
            bytes: self.bytes.get(),
            rtt,
            latency_ns: self.latency_ns.get(),
        }
    }
}

/// Where the newest copies are read.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Arc<[TerminalShown]>>);

impl Board {
    pub(super) fn now(&self) -> Arc<[TerminalShown]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, terminals: Vec<TerminalShown>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = terminals.into();
    }
}

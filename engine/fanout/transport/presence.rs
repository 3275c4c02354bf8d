//! Who is there: connections and refusals by number, admitted terminals by name.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use quinn::Connection;

use super::Hub;
use crate::clock::now_ns;
use crate::fanout::access::Grant;
use crate::fanout::board::Tally;
use crate::metrics::TERMINALS;

/// One of the hub's connections or refusals, as long as it lives.
pub(super) struct Count {
    hub: Rc<Hub>,
    of: fn(&Hub) -> &Cell<usize>,
}

impl Count {
    pub(super) fn connection(hub: &Rc<Hub>) -> Count {
        Count::of(hub, |hub| &hub.connections)
    }

    pub(super) fn refusal(hub: &Rc<Hub>) -> Count {
        Count::of(hub, |hub| &hub.refusals)
    }

    fn of(hub: &Rc<Hub>, of: fn(&Hub) -> &Cell<usize>) -> Count {
        of(hub).set(of(hub).get() + 1);
        Count { hub: hub.clone(), of }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let cell = (self.of)(&self.hub);
        cell.set(cell.get() - 1);
    }
}

/// An admitted terminal, as long as it is connected.
pub(super) struct Admitted {
    hub: Rc<Hub>,
    id: u64,
    pub(super) tally: Rc<Tally>,
}

impl Admitted {
    pub(super) fn new(hub: &Rc<Hub>, connection: &Connection, grant: &Grant) -> Self {
        let id = hub.admissions.get() + 1;
        hub.admissions.set(id);
        let tally = Tally::new(id, grant.name.clone(), grant.user.clone(), now_ns());
        hub.admitted.borrow_mut().insert(id, (Rc::clone(&tally), connection.clone()));
        TERMINALS.add(1);
        hub.stats.terminals.fetch_add(1, Relaxed);
        Admitted { hub: Rc::clone(hub), id, tally }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        TERMINALS.add(-1);
        self.hub.stats.terminals.fetch_sub(1, Relaxed);
        self.hub.admitted.borrow_mut().remove(&self.id);
    }
}

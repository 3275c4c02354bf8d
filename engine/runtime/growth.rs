//! How the pipeline's threads get groups for a market that has grown, while they run.
//!
//! The groups are built elsewhere. Each thread looks between two batches whether there is one for it: an atomic flag, and
//! nothing for each input. It saves the state of its group, loads it into the larger one and goes on, while the inbound
//! ring holds what comes meanwhile. The threads do this at different inputs: what has no input yet changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::console::LastSeen;
use crate::stages::{Group, Market, StateError};

/// What one thread is given.
pub(super) struct Growth {
    /// For the larger market, without state.
    pub(super) group: Group,
    pub(super) market: Market,
    /// Where the last group notes when it had data.
    pub(super) last_seen: LastSeen,
    /// Gets the group of before: to drop it takes time that the thread does not have.
    done: Sender<Result<Group, StateError>>,
}

/// One thread's end.
pub(super) struct Grows {
    asked: Arc<AtomicBool>,
    growths: Receiver<Growth>,
}

impl Grows {
    /// Takes what there is, if there is something.
    #[inline]
    pub(super) fn between_inputs(&self, grow: impl FnOnce(Growth) -> Result<Group, StateError>) {
        if self.asked.load(Ordering::Relaxed) {
            self.take(grow);
        }
    }

    #[cold]
    fn take(&self, grow: impl FnOnce(Growth) -> Result<Group, StateError>) {
        // What was sent before the flag was raised is there.
        self.asked.swap(false, Ordering::Acquire);
        if let Ok(growth) = self.growths.try_recv() {
            let done = growth.done.clone();
            // Who asked may have given up.
            let _ = done.try_send(grow(growth));
        }
    }
}

/// Why the threads did not all grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum GrowError {
    /// The stages as built anew cannot read what those before them saved.
    #[error(transparent)]
    State(#[from] StateError),
    /// A thread has ended, or waits for something else.
    #[error("the pipeline is stopping, or waits for the journal")]
    NoAnswer,
}

/// Lets the running threads grow.
#[derive(Clone)]
pub(super) struct Growing(Vec<(Sender<Growth>, Arc<AtomicBool>)>);

impl Growing {
    /// For so many threads, and their ends.
    pub(super) fn new(threads: usize) -> (Growing, Vec<Grows>) {
        let mut ours = Vec::with_capacity(threads);
        let mut theirs = Vec::with_capacity(threads);
        for _ in 0..threads {
            // One at a time.
            let (growths, taken) = bounded(1);
            let asked = Arc::new(AtomicBool::new(false));
            ours.push((growths, Arc::clone(&asked)));
            theirs.push(Grows { asked, growths: taken });
        }
        (Growing(ours), theirs)
    }

    /// Hands each thread its group and waits until all have taken theirs up, each for `patience` at most. An input of a
    /// new source may come when this returns without an error.
    ///
    /// # Errors
    /// [`GrowError`]; then some may have grown. That does no harm, and the same can be tried again.
    pub(super) fn grow(
        &self,
        groups: Vec<Group>,
        market: &Market,
        last_seen: &LastSeen,
        patience: Duration,
    ) -> Result<(), GrowError> {
        let mut answers = Vec::with_capacity(groups.len());
        for (group, (growths, asked)) in groups.into_iter().zip(&self.0) {
            let (done, answer) = bounded(1);
            let growth = Growth { group, market: market.clone(), last_seen: Arc::clone(last_seen), done };
            growths.send_timeout(growth, patience).map_err(|_| GrowError::NoAnswer)?;
            asked.store(true, Ordering::Release);
            answers.push(answer);
        }
        for answer in answers {
            drop(answer.recv_timeout(patience).map_err(|_| GrowError::NoAnswer)??);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

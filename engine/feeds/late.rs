//! Inputs that come from no socket: results of slow work, which can wait for room in the ring.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::ingest::until_stopped;
use crate::market::Input;
use crate::ring::Inlet;

/// Inputs that wait to be let in: some tenths of a millisecond's work for the stages.
const WAITING_MAX: usize = 256;

/// Inputs that are let in at once, and the pause after them: 32,000 in a second leave most of the ring to prices.
const BURST: u32 = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// Lets inputs in through the first ingestion thread, behind what comes from its sockets. Whoever offers waits for room:
/// none is lost but at the end.
#[derive(Debug, Clone)]
pub struct LateInputs(mpsc::Sender<Input>);

impl LateInputs {
    /// The end to offer to, and the one that lets in.
    #[must_use]
    pub fn channel() -> (LateInputs, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (LateInputs(sender), receiver)
    }

    /// Offers an input; false when the feeds have stopped.
    pub async fn offer(&self, input: Input) -> bool {
        self.0.send(input).await.is_ok()
    }
}

/// Offers what comes to the stages, until it is time to stop.
pub(super) async fn let_in(inlet: Rc<dyn Inlet>, mut late: mpsc::Receiver<Input>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut burst = 0;
        while let Some(input) = late.recv().await {
            while !inlet.try_offer(&input) {
                sleep(PAUSE).await;
            }
            burst += 1;
            if burst == BURST {
                burst = 0;
                sleep(PAUSE).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = until_stopped(&mut stop) => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::{Cell, RefCell};

    use tickwire_schemas::record::Timer;

    use super::*;

    /// Has room for some, and again for one at every look.
    struct Narrow {
        room: Cell<u32>,
        taken: RefCell<Vec<i64>>,
    }

    impl Inlet for Narrow {
        fn offer(&self, _: &Input) {
            panic!("what does not fit must wait");
        }

        fn try_offer(&self, input: &Input) -> bool {
            let Some(left) = self.room.get().checked_sub(1) else {
                self.room.set(1);
                return false;
            };
            self.room.set(left);
            self.taken.borrow_mut().push(input.now_ns());
            true
        }
    }

    #[tokio::test]
    async fn all_are_let_in_in_their_order_as_there_is_room_and_it_ends_when_told() {
        let narrow = Rc::new(Narrow { room: Cell::new(40), taken: RefCell::default() });
        let ((late, waiting), (stop, stopped)) = (LateInputs::channel(), watch::channel(false));
        let offers = async {
            for now_ns in 0..300 {
                assert!(late.offer(Input::Timer(Timer { now_ns, ..Timer::default() })).await);
            }
            while narrow.taken.borrow().len() < 300 {
                sleep(PAUSE).await;
            }
            stop.send_replace(true);
        };
        tokio::join!(let_in(narrow.clone(), waiting, stopped), offers);
        assert!(narrow.taken.borrow().iter().copied().eq(0..300));
        assert!(!late.offer(Input::default()).await);
    }
}

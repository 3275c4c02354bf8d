//! How far the journal is on the disk: told by its writer, awaited by those who follow it.

use tokio::sync::watch;

use super::format::Position;

/// What is on the disk and survives loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableAt {
    /// Behind the last entry.
    pub position: Position,
    /// `seq` of the last entry; of the last before this epoch while it has none.
    pub seq: u64,
}

/// Tells how far the journal is on the disk. Clones are cheap and each sees every change.
#[derive(Clone, Debug)]
pub struct Durable(watch::Receiver<DurableAt>);

impl Durable {
    /// A writer's and a follower's end.
    #[must_use]
    pub fn channel(at: DurableAt) -> (DurableSetter, Durable) {
        let (sender, receiver) = watch::channel(at);
        (DurableSetter(sender), Durable(receiver))
    }

    /// What is on the disk now.
    #[must_use]
    pub fn now(&self) -> DurableAt {
        *self.0.borrow()
    }

    /// Waits until more is on the disk than at the last call; `false` when the journal has closed and no more will come.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until the record `seq` is on the disk; `false` when the journal has closed before.
    pub async fn reached(&mut self, seq: u64) -> bool {
        self.0.wait_for(|at| at.seq >= seq).await.is_ok()
    }
}

/// The writer's end: when it is dropped, the journal has closed.
#[derive(Debug)]
pub struct DurableSetter(watch::Sender<DurableAt>);

impl DurableSetter {
    /// Tells all followers.
    pub fn set(&self, at: DurableAt) {
        self.0.send_replace(at);
    }

    /// Another follower.
    #[must_use]
    pub fn follow(&self) -> Durable {
        Durable(self.0.subscribe())
    }
}

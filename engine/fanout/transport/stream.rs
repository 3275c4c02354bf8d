//! The stream of one subscription.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Hub, Tally, Tasks};
use crate::clock::monotonic_ns;
use crate::fanout::delivery::{Batch, Pulled, Subscription};

/// How often a subscription that cannot write looks whether it still has its place in the window.
const BEHIND_CHECK: Duration = Duration::from_millis(500);

/// Writes one subscription to a stream of its own until that, or the task, ends.
pub(super) async fn deliver(
    (all, tally): (Rc<Tasks>, Rc<Tally>),
    connection: Connection,
    mut subscription: Subscription,
    subscribed: Bytes,
    behind: mpsc::Sender<u32>,
) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    if stream.write_chunk(subscribed).await.is_err() {
        return;
    }
    let (hub, mut batch) = (&*all.hub, Batch::default());
    loop {
        let news = all.news.notified();
        let pulled = {
            let core = hub.core.borrow();
            subscription.keep_up(&core);
            subscription.pull(&core.window, &hub.headers, monotonic_ns(), &mut batch)
        };
        match pulled {
            Pulled::Write => {
                let bytes: usize = batch.chunks.iter().map(Bytes::len).sum();
                let written = tokio::select! {
                    biased;
                    written = stream.write_all_chunks(&mut batch.chunks) => written.is_ok(),
                    () = falls_behind(hub, &subscription) => return too_far_behind(&behind, &subscription).await,
                };
                if !written {
                    return;
                }
                hub.delivered(&batch, bytes as u64, &tally);
            }
            Pulled::Idle => news.await,
            Pulled::Wait(until_ns) => {
                let wait = u64::try_from(until_ns - monotonic_ns()).unwrap_or(0);
                sleep(Duration::from_nanos(wait)).await;
            }
            Pulled::TooFarBehind => return too_far_behind(&behind, &subscription).await,
        }
    }
}

/// Comes to an end when a reader of `all` that takes nothing has lost its place in the window.
async fn falls_behind(hub: &Hub, subscription: &Subscription) {
    loop {
        sleep(BEHIND_CHECK).await;
        if subscription.is_too_far_behind(&hub.core.borrow().window) {
            return;
        }
    }
}

/// Tells the session, which says goodbye, closes and ends this task. Until then the stream stays open: its end would
/// look like that of an ended subscription.
async fn too_far_behind(behind: &mpsc::Sender<u32>, subscription: &Subscription) {
    // Full means that another subscription of this terminal said so already.
    let _ = behind.try_send(subscription.id());
    std::future::pending().await
}

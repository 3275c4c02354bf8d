//! Tries every interleaving of a publisher and a sleeping consumer: a lost wake is a deadlock, which loom reports.

#![allow(clippy::unwrap_used)]

mod sync {
    pub(crate) use loom::future::AtomicWaker as Waker;
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../engine/ring/doorbell.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod doorbell;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn no_wake_is_lost() {
    loom::model(|| {
        let bell = Arc::new(doorbell::Doorbell::default());
        let cursor = Arc::new(AtomicUsize::new(0));
        let publisher = loom::thread::spawn({
            let (bell, cursor) = (bell.clone(), cursor.clone());
            move || {
                cursor.store(1, Ordering::Release);
                bell.ring();
            }
        });
        let consumer = std::future::poll_fn(|cx| {
            if cursor.load(Ordering::Acquire) == 1 {
                return std::task::Poll::Ready(());
            }
            bell.waker().register_by_ref(cx.waker());
            if bell.may_sleep(|| cursor.load(Ordering::Acquire) == 1) {
                std::task::Poll::Pending
            } else {
                std::task::Poll::Ready(())
            }
        });
        loom::future::block_on(consumer);
        publisher.join().unwrap();
    });
}

//! What 200 terminals cost beyond one: deliveries, and nothing else. Counters belong to the process, so this file has
//! one test.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use fanout_common::*;
use tickwire::fanout::FanoutConfig;
use tickwire::metrics::{FANOUT_COPIES, FANOUT_DELIVERIES, FANOUT_ENCODES, FANOUT_PACKETS, FANOUT_SENDS};
use tickwire_terminal::{Delivery, Kind, Subscribe};

/// Encodes, copies and deliveries of 500 quotes sent to `terminals`, each of which subscribes to `all` and `latest`
/// while quotes flow, so that snapshots count too.
async fn cost(over: Over, terminals: usize) -> [u64; 3] {
    // With datagrams as most networks carry them, so that what flows is many packets.
    let mut engine = engine(&FanoutConfig { datagram_bytes_max: 1452, ..config(over) });
    let before = [FANOUT_ENCODES.get(), FANOUT_COPIES.get(), FANOUT_DELIVERIES.get()];
    for n in 1..=200 {
        engine.feed.quote(EURUSD, n);
    }
    let mut readers = Vec::new();
    for _ in 0..terminals {
        let terminal = engine.connect("").await.unwrap();
        for delivery in [Delivery::All, Delivery::Latest] {
            let request = Subscribe { delivery, ..request(&["*"], &[Kind::Quote]) };
            let mut quotes = terminal.subscribe(request).await.unwrap();
            snapshot(&mut quotes).await;
            readers.push((quotes, delivery));
        }
        std::mem::forget(terminal);
    }
    let sent = [FANOUT_PACKETS.get(), FANOUT_SENDS.get()];
    for n in 201..=500 {
        engine.feed.quote(EURUSD, n);
    }
    for (quotes, delivery) in &mut readers {
        loop {
            let (data, _, skipped) = record(quotes).await;
            assert!(skipped == 0 || *delivery == Delivery::Latest);
            if bid(&data) == 500 {
                break;
            }
        }
    }
    let [packets, calls] = [FANOUT_PACKETS.get() - sent[0], FANOUT_SENDS.get() - sent[1]];
    match over {
        Over::Loop if terminals > 64 => assert!(packets >= 200 && packets > 8 * calls, "{packets} in {calls}"),
        Over::Loop | Over::ThreeLoops => assert!(packets > 0),
        Over::Tokio => assert_eq!(packets, 0),
    }
    // Of several threads some serve nobody, and are not waited for above.
    engine.settle().await;
    let after = [FANOUT_ENCODES.get(), FANOUT_COPIES.get(), FANOUT_DELIVERIES.get()];
    [after[0] - before[0], after[1] - before[1], after[2] - before[2]]
}

#[tokio::test]
async fn encodes_and_copies_are_equal_with_1_and_with_200_terminals() {
    for (over, threads) in [(Over::Tokio, 1), (Over::Loop, 1), (Over::ThreeLoops, 3)] {
        let [encodes, copies, deliveries] = cost(over, 1).await;
        let [encodes_200, copies_200, deliveries_200] = cost(over, 200).await;
        assert_eq!((encodes, copies), (500 * threads, 500 * threads));
        assert_eq!((encodes_200, copies_200), (500 * threads, 500 * threads));
        assert!(deliveries >= 300 && deliveries_200 >= 200 * 300, "{deliveries} {deliveries_200}");
    }
}

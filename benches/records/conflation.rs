//! What does pulling the newest of each chain cost, for a terminal that keeps up and for one that lags?

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tickwire::fanout::delivery::{Batch, Pulled, Subscription};
use tickwire::fanout::subscription::compile;
use tickwire::fanout::window::{SnapshotHeaders, Window};
use tickwire::fanout::{Catalogue, Grant};
use tickwire::market::{Instrument, InstrumentId};
use tickwire_schemas::control::{Delivery, Subscribe};
use tickwire_schemas::record::{RECORD_BYTES_MAX, Record};
use tickwire_schemas::words::Kind;

use super::made;
use super::support::generated::{self, NOON_NS};

/// Instruments, and so chains of quotes.
const CHAINS: u64 = 1_000;

/// Records of the window: more than ten rounds of quotes, less than twenty.
const WINDOW: usize = 1 << 14;

struct Fanout {
    window: Window,
    subscription: Subscription,
    headers: SnapshotHeaders,
    batch: Batch,
    seq: u64,
}

impl Fanout {
    /// A terminal that subscribed every quote and has its snapshot.
    fn new(delivery: Delivery) -> Fanout {
        let example = generated::instruments().remove(0);
        let instrument = |id| Instrument { id: InstrumentId(id), symbol: format!("SYMBOL{id}"), ..example.clone() };
        let instruments = (1..=CHAINS as u32).map(instrument).collect();
        let catalogue = Arc::new(Catalogue::new(instruments, generated::sources()));
        let request = Subscribe { id: 1, symbols: vec!["*".into()], kinds: vec![Kind::Quote], ..Subscribe::default() };
        let grant = Grant::of_user("terminal", "bench", None).unwrap();
        let filter = compile(&request, &catalogue, &grant).unwrap().filter;
        let window = Window::new(WINDOW, catalogue);
        let subscription = Subscription::open(1, filter, delivery, 0, None, 1, &window).0;
        let (headers, batch) = (SnapshotHeaders::new(), Batch::default());
        let mut fanout = Fanout { window, subscription, headers, batch, seq: 0 };
        fanout.publish(1);
        fanout.pull();
        fanout
    }

    /// A new quote of every instrument, so many times.
    fn publish(&mut self, rounds: u64) {
        let mut bytes = [0; RECORD_BYTES_MAX];
        for _ in 0..rounds * CHAINS {
            let length = made::quote(self.seq, CHAINS).write(&mut bytes);
            self.window.push(Kind::Quote, &bytes[..length]);
            self.seq += 1;
            if self.seq.is_multiple_of(64) {
                self.window.seal();
            }
        }
        self.window.seal();
    }

    /// Pulls until there is nothing more; how many records came.
    fn pull(&mut self) -> u64 {
        let mut records = 0;
        while self.subscription.pull(&self.window, &self.headers, NOON_NS, &mut self.batch) == Pulled::Write {
            records += self.batch.records;
        }
        records
    }
}

/// Time of what a terminal pulls after `rounds` new quotes of every instrument.
fn pull(delivery: Delivery, rounds: u64, iterations: u64) -> Duration {
    let mut fanout = Fanout::new(delivery);
    let expected = if delivery == Delivery::Latest { CHAINS } else { rounds * CHAINS };
    let mut spent = Duration::ZERO;
    for _ in 0..iterations {
        fanout.publish(rounds);
        let began = Instant::now();
        let records = fanout.pull();
        spent += began.elapsed();
        assert_eq!(records, expected);
    }
    spent
}

pub(crate) fn measure(c: &mut Criterion) {
    let mut group = c.benchmark_group("conflation, a record delivered");
    // Publishing is not measured and takes much longer than pulling: little of the latter is enough.
    group.sample_size(20).warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
    for (name, delivery, rounds) in [
        ("latest, keeping up", Delivery::Latest, 1),
        ("latest, 10 behind", Delivery::Latest, 10),
        ("latest, window lost", Delivery::Latest, 20),
        ("all", Delivery::All, 1),
    ] {
        group.throughput(Throughput::Elements(if delivery == Delivery::Latest { CHAINS } else { rounds * CHAINS }));
        group.bench_function(name, |b| b.iter_custom(|iterations| pull(delivery, rounds, iterations)));
    }
    group.finish();
}

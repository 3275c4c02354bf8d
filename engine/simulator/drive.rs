//! The thread that runs the market and hands each broker what is due, when it is due: the runtime's timer, which counts whole
//! milliseconds, would make a burst of each.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::config::Broker;
use super::event::Event;
use super::hub::Hub;
use super::model::Market;
use super::venue::{Faults, VenueSpec};
use crate::clock;

/// The shortest sleep: what becomes due meanwhile is handed over together, which bounds the writes at high rates.
const SLEEP_MIN: Duration = Duration::from_micros(200);

/// Runs the market of these brokers until the sender of `stopped` is dropped.
pub(super) fn drive(hubs: &[Arc<Hub>], stopped: &Receiver<Infallible>) {
    let Some(first) = hubs.first() else { return };
    // Sleeps end on time: the kernel's habit is 50 us later.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let volatility = permille(first.config.volatility);
    let mut market = Market::new(first.config.seed, volatility, hubs.iter().map(|hub| venue_of(hub)).collect());
    let mut due = Vec::new();
    loop {
        market.advance(clock::now_ns(), &mut due);
        let mut batches: Vec<Vec<Event>> = vec![Vec::new(); hubs.len()];
        due.drain(..).for_each(|delivery| batches[delivery.venue].push(delivery.event));
        for (hub, batch) in hubs.iter().zip(batches).filter(|(_, batch)| !batch.is_empty()) {
            hub.publish(batch);
        }
        let wait_ns = (market.wakes_at_ns() - clock::now_ns()).max(0);
        match stopped.recv_timeout(Duration::from_nanos(wait_ns.unsigned_abs()).max(SLEEP_MIN)) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(never) => match never {},
        }
    }
}

/// A broker of the market from its configuration.
fn venue_of(hub: &Hub) -> VenueSpec {
    let config = &hub.config;
    // Quotes and trades per instrument in a calm second of the busiest hour.
    let (quotes, trades, windowed) = match config.broker {
        Broker::Oanda => (10.0, 0.0, true),
        Broker::Mtapi | Broker::MtapiAccounts | Broker::Mtsocketapi | Broker::Dwx | Broker::Mql5JsonApi => {
            (15.0, 0.0, false)
        }
        Broker::Binance | Broker::BinanceUsdm => (40.0, 8.0, false),
        Broker::Kraken | Broker::Coinbase => (20.0, 4.0, false),
        Broker::Bybit => (30.0, 6.0, false),
        Broker::Ctrader | Broker::Fxcm => (12.0, 0.0, false),
    };
    let millis = |ms: u32| i64::from(ms) * 1_000_000;
    let million = |fraction: f64| (fraction * 1e6) as u32;
    VenueSpec {
        name: hub.name.clone(),
        symbols: hub.symbols.iter().map(|symbol| symbol.name.clone()).collect(),
        quotes_per_1000s: (quotes * config.rate * 1e3) as u64,
        trades_per_1000s: (trades * config.rate * 1e3) as u64,
        spread_permille: permille(config.spread),
        window_ns: if windowed { millis(config.window_ms) } else { 0 },
        delay_ns: millis(config.delay_ms),
        jitter_ns: millis(config.jitter_ms),
        skew_ns: i64::from(config.skew_ms) * 1_000_000,
        faults: Faults {
            duplicates: million(config.duplicates),
            out_of_order: million(config.out_of_order),
            crossed: million(config.crossed),
            fat_finger: million(config.fat_finger),
        },
    }
}

/// A factor in whole thousandths: the market computes without floats.
pub(super) fn permille(factor: f64) -> i64 {
    (factor * 1e3) as i64
}

//! Past bars of the exchanges, asked of the simulated ones: whole, exact, in order, and within their limits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use tickwire::clock;
use tickwire::config::Config;
use tickwire::feeds::{self, SourceSpec};
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::record::Bar;
use tickwire_schemas::words::{Cause, Timeframe};

const EXCHANGES: [&str; 5] = ["binance", "binance_usdm", "bybit", "coinbase", "kraken"];
const MINUTE_NS: i64 = 60_000_000_000;

/// The exchanges, and a source connected to each.
fn exchanges() -> (SimulatorsHandle, BTreeMap<String, SourceSpec>) {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    for name in EXCHANGES {
        let text = format!("[simulators.{name}]\nbroker = \"{name}\"\nsymbols = [\"BTCUSDT\"]");
        config.overlay(&text, "simulators").unwrap();
    }
    let brokers = simulator::start(simulator::parse(&config).unwrap()).unwrap();
    for name in EXCHANGES {
        let at = brokers.address(name).unwrap();
        let text = format!(
            "[sources.{name}]\nadapter = \"{name}\"\nbase_url = \"ws://{at}\"\nrest_url = \"http://{at}\"\nsymbols = [\"BTCUSDT\"]"
        );
        config.overlay(&text, "sources").unwrap();
    }
    let specs = feeds::config::sources(&config).unwrap().into_iter().map(|spec| (spec.name.clone(), spec));
    (brokers, specs.collect())
}

async fn bars(
    spec: &SourceSpec,
    symbol: &str,
    timeframe: Timeframe,
    from_ns: i64,
    to_ns: i64,
) -> Result<Vec<Bar>, (Cause, String)> {
    let history = spec.venue.any_history().expect("a history");
    history.bars(symbol, timeframe, from_ns, to_ns).await.map_err(|failure| (failure.cause, failure.text))
}

#[tokio::test]
async fn all_exchanges_tell_the_same_past_whatever_their_pages() {
    let (brokers, specs) = exchanges();
    let now_ns = clock::now_ns();
    let first_ns = now_ns - now_ns % MINUTE_NS - 600 * MINUTE_NS;
    let mut told = Vec::new();
    for (name, spec) in &specs {
        assert!(spec.venue.capabilities().history);
        let bars = bars(spec, &spec.symbols[0].venue, Timeframe::M1, first_ns, now_ns + MINUTE_NS).await.unwrap();
        // The minute that is not over has no final bar; it may have ended since.
        let expected = 600..=601;
        assert!(expected.contains(&bars.len()), "{name}: {}", bars.len());
        assert!(bars.iter().zip(0..).all(|(bar, n)| bar.open_ts_ns == first_ns + n * MINUTE_NS), "{name}");
        told.push(bars[..600].iter().map(|bar| (bar.mid, bar.volume_e8)).collect::<Vec<_>>());
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "one past");

    // A longer bar is what its minutes are.
    let hour_ns = 60 * MINUTE_NS;
    let open_ns = now_ns - now_ns % hour_ns - 5 * hour_ns;
    let spec = &specs["bybit"];
    let minutes = bars(spec, "BTCUSDT", Timeframe::M1, open_ns, open_ns + hour_ns).await.unwrap();
    let [hour] = bars(spec, "BTCUSDT", Timeframe::H1, open_ns, open_ns + hour_ns).await.unwrap()[..] else { panic!() };
    assert_eq!((hour.open_ts_ns, hour.close_ts_ns), (open_ns, open_ns + hour_ns));
    assert_eq!((hour.mid.open_e9, hour.mid.close_e9), (minutes[0].mid.open_e9, minutes[59].mid.close_e9));
    assert_eq!(Some(hour.mid.high_e9), minutes.iter().map(|bar| bar.mid.high_e9).max());
    assert_eq!(Some(hour.mid.low_e9), minutes.iter().map(|bar| bar.mid.low_e9).min());
    assert_eq!(hour.volume_e8, minutes.iter().map(|bar| bar.volume_e8).sum::<u64>());
    brokers.stop();
}

#[tokio::test]
async fn many_pages_make_one_row_without_holes() {
    let (brokers, specs) = exchanges();
    // From the middle of a minute, over three pages and a bit.
    let from_ns = 1_700_000_000_500_000_000;
    let bars = bars(&specs["binance"], "btcusdt", Timeframe::M1, from_ns, from_ns + 3_200 * MINUTE_NS).await.unwrap();
    assert_eq!(bars.len(), 3_200);
    assert!(bars[0].open_ts_ns >= from_ns && bars[0].open_ts_ns - from_ns < MINUTE_NS);
    assert!(bars.windows(2).all(|pair| pair[0].close_ts_ns == pair[1].open_ts_ns));
    assert!(bars.windows(2).all(|pair| pair[0].mid.close_e9 == pair[1].mid.open_e9));
    let weeks =
        self::bars(&specs["binance_usdm"], "btcusdt", Timeframe::W1, from_ns, from_ns + 40 * 10_080 * MINUTE_NS).await;
    assert_eq!(weeks.unwrap().len(), 40, "weeks begin on Mondays for both");
    brokers.stop();
}

#[tokio::test]
async fn what_cannot_be_had_is_said_in_the_venues_words() {
    let (brokers, specs) = exchanges();
    let now_ns = clock::now_ns();
    for (name, cause, words) in [
        ("binance", Cause::ProtocolError, "Invalid symbol. (-1121)"),
        ("bybit", Cause::ProtocolError, "Not supported symbols (10001)"),
        ("coinbase", Cause::ProtocolError, "NOT_FOUND: valid product_id is required: NOTONE"),
        ("kraken", Cause::ProtocolError, "EQuery:Unknown asset pair"),
    ] {
        let (found, said) =
            bars(&specs[name], "NOTONE", Timeframe::M1, now_ns - 10 * MINUTE_NS, now_ns).await.unwrap_err();
        assert!(found == cause && said.contains(words), "{name}: {found} {said}");
    }
    let old_ns = now_ns - 1_000 * MINUTE_NS;
    let (_, said) = bars(&specs["kraken"], "BTC/USDT", Timeframe::M1, old_ns, now_ns).await.unwrap_err();
    assert_eq!(said, "only the 720 most recent bars of M1 can be had");
    let (_, said) = bars(&specs["coinbase"], "BTC-USDT", Timeframe::H4, old_ns, now_ns).await.unwrap_err();
    assert_eq!(said, "the venue has no bars of H4");
    // Beyond what is allowed within a second: 350 rows a request, ten requests.
    let long_ns = now_ns - 350 * 12 * MINUTE_NS;
    let (cause, said) = bars(&specs["coinbase"], "BTC-USDT", Timeframe::M1, long_ns, now_ns).await.unwrap_err();
    assert!(cause == Cause::RateLimited && said.contains("too many requests"), "{said}");
    brokers.stop();
}

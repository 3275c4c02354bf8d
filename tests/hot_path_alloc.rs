//! From bytes in hand through the stages to publication nothing allocates: counted over the whole path on one thread.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod counting_support;

use std::sync::Arc;

use counting_support::allocations;
use tickwire::config::Config;
use tickwire::feeds::config::sources;
use tickwire::feeds::event::{Event, Symbols};
use tickwire::market::{
    Class, IndicatorName, Input, Instrument, InstrumentId, Price, Scope, Source, SourceId, VolumeOf,
};
use tickwire::ring::{Drained, InSlot, Inlet, Mark, Outlet, Poll, build_inbound, build_outbound};
use tickwire::runtime::latency;
use tickwire::stages::{self, Identity, Layout, Market, NAMES};
use tickwire_schemas::record::{SourceState, Timer};
use tickwire_schemas::words::{Kind, SourceStatus};

/// Forty minutes: many dedupe windows, whose tables grow to the pace of a source once and then no more; and the 34 bars
/// of M1 after which the last indicator has made its room.
const WARM_UP: u64 = 24_000;
const COUNTED: u64 = 30_000;
const STEP_NS: i64 = 100_000_000;
/// A Wednesday noon, when everything trades.
const NOON: i64 = 1_714_564_800_000_000_000;

fn market() -> Market {
    let source = |id, name: &str, scope| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: String::new(),
        priority: 1,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = Instrument {
        id: InstrumentId(1),
        symbol: "BTCUSDT".into(),
        class: Class::Crypto,
        digits: 2,
        pip: Price::from_e9(10_000_000).unwrap(),
    };
    let sources = vec![source(1, "a", Scope::Global), source(2, "b", Scope::Global), source(3, "p", Scope::Private)];
    Market::new(sources, vec![instrument])
}

#[test]
fn bytes_in_hand_to_publication() {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let every_family = include_str!("../config/indicators.toml").replace(", \"H1\"", "");
    config.overlay(&every_family, "indicators.toml").unwrap();
    let names = stages::indicators::names(&config).unwrap();
    let market = market().with_indicators(IndicatorName::numbered(&names));
    let feed = "[sources.one]\nadapter = \"binance\"\nsymbols = [\"BTCUSDT\"]\nbase_url = \"ws://h\"";
    config.overlay(feed, "test").unwrap();
    let spec = sources(&config).unwrap().remove(0);
    let name = spec.venue.wire_symbol(&spec.symbols[0].venue);
    let symbols: Vec<_> = (1..=3).map(|id| Symbols::new(SourceId(id), [(name.clone(), InstrumentId(1))])).collect();
    let mut decoders: Vec<_> = symbols.iter().map(|symbols| spec.venue.any_decoder(symbols)).collect();

    let layout = Layout::new(vec![NAMES.iter().map(ToString::to_string).collect()]).unwrap();
    let mut group = layout.build(&config, &market).unwrap().remove(0);
    let mut identity = Identity::new(1, &market);
    let ids: Arc<[u32]> = market.sources().iter().map(|s| s.id.0).collect();
    let mut inbound = build_inbound(1024, 1, 1, ids, market.source_table());
    let inlet: Box<dyn Inlet> = inbound.inlets.remove(0)();
    let (mut outbound, journal, mut outlets) = build_outbound(1024, 1);
    outlets.push(journal);

    let (mut watches, collector) = latency::start(&[group.names().collect()], None).unwrap();
    let mut watch = watches.remove(0);

    let mut published = [0u64; 16];
    let mut message = Vec::with_capacity(400);
    let mut turn = |n: u64, published: &mut [u64; 16]| {
        let now_ns = NOON + n as i64 * STEP_NS;
        let which = (n % 3) as usize;
        message.clear();
        write_message(&mut message, n);
        // From here on bytes are in hand.
        let before = allocations();
        let mut offer = |event| match event {
            Event::Tick(tick) => inlet.offer(&tick.into()),
            Event::Trade(trade) => inlet.offer(&trade.into()),
            _ => panic!("a price or a trade"),
        };
        decoders[which](&message, now_ns, &symbols[which], &mut offer);
        inlet.offer(&Input::Timer(Timer { now_ns, ..Timer::default() }));
        if n % 50 == 49 {
            let status = if n % 100 == 49 { SourceStatus::Mute } else { SourceStatus::Live }.code();
            let mut state = SourceState { ts_recv_ns: now_ns, status, ..SourceState::default() };
            state.head.source_id = 1 + which as u32;
            inlet.offer(&Input::SourceState(state));
        }
        inbound.groups[0].0.poll_some(64, &mut |slot: &InSlot| {
            let laps = watch.next_input();
            group.run_measured(slot.input(), Mark::NEW, &mut identity, &mut outbound, now_ns, laps);
            watch.input_done();
        });
        outbound.ring();
        for outlet in &mut outlets {
            let drained = outlet.drain(64, &mut |kind: Kind, bytes: &[u8]| {
                assert!(!bytes.is_empty());
                published[usize::from(kind.code()) & 15] += 1;
            });
            assert_ne!(drained, Drained::Shutdown);
        }
        allocations() - before
    };
    (0..WARM_UP).for_each(|n| assert!(turn(n, &mut published) < 1_000));
    let before = published;
    let allocations: u64 = (WARM_UP..WARM_UP + COUNTED).map(|n| turn(n, &mut published)).sum();
    let count = |kind: Kind| (published[usize::from(kind.code())] - before[usize::from(kind.code())]) / 2;
    assert_eq!(count(Kind::Tick) + count(Kind::Trade), COUNTED);
    assert!(
        count(Kind::Quote) > COUNTED / 4 && count(Kind::Gap) > 100,
        "quotes {} gaps {}",
        count(Kind::Quote),
        count(Kind::Gap)
    );
    drop(watch);
    collector.join().unwrap();
    assert!(count(Kind::Indicator) >= 12 * 45, "twelve families over 50 minutes: {}", count(Kind::Indicator));
    assert_eq!(allocations, 0, "allocations on the hot path over {COUNTED} messages");
}

/// A moving price, at times a repeated or crossed one, at times a trade.
fn write_message(out: &mut Vec<u8>, n: u64) {
    use std::io::Write;
    let cents = 6_421_000 + (n * 7_919) % 1_000;
    let (whole, part) = (cents / 100, cents % 100);
    if n % 10 == 9 {
        let stamp = (NOON + n as i64 * STEP_NS) / 1_000_000;
        write!(
            out,
            "{{\"stream\":\"btcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":{stamp},\"s\":\"BTCUSDT\",\"t\":{n},\"p\":\"{whole}.{part:02}000000\",\"q\":\"0.01000000\",\"T\":{stamp},\"m\":true,\"M\":true}}}}"
        )
        .unwrap();
        return;
    }
    let update = if n.is_multiple_of(17) { n / 2 } else { n };
    let spread = if n.is_multiple_of(23) { 0 } else { 1 };
    write!(
        out,
        "{{\"stream\":\"btcusdt@bookTicker\",\"data\":{{\"u\":{update},\"s\":\"BTCUSDT\",\"b\":\"{whole}.{part:02}000000\",\"B\":\"1.50000000\",\"a\":\"{}.{part:02}000000\",\"A\":\"2.50000000\"}}}}",
        whole + spread
    )
    .unwrap();
}

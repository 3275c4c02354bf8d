//! What a transport must do beside the sessions: follow a terminal that moves, take a catalogue that grows, wake up.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use std::sync::Arc;
use std::time::Duration;

use fanout_common::*;
use quinn::{Connection, Endpoint, RecvStream};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tickwire::fanout::{Catalogue, FanoutConfig};
use tickwire::market::{Class, Instrument, InstrumentId, Price};
use tickwire::ring::Idle;
use tickwire_schemas::control::{Control, ControlKind, Hello, Ping};
use tickwire_schemas::frame::Frame;
use tickwire_terminal::{Event, Kind, Subscribe};

/// A connection of `quinn` itself, and its endpoint.
async fn raw(engine: &Engine) -> (Endpoint, Connection) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(engine.state.path().join("tls/development.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"tickwire/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connection = endpoint.connect_with(config, engine.handle.local_addr(), "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}

/// Reads frames until one of this kind.
async fn until(stream: &mut RecvStream, buffer: &mut Vec<u8>, kind: ControlKind) {
    loop {
        while let Some((frame, rest)) = Frame::split(buffer, 1 << 24).unwrap() {
            let (found, length) = (frame.header.kind, buffer.len() - rest.len());
            buffer.drain(..length);
            if found == kind.code() {
                return;
            }
        }
        let chunk = stream.read_chunk(1 << 16, true).await.unwrap().unwrap();
        buffer.extend_from_slice(&chunk.bytes);
    }
}

async fn a_terminal_that_moves_to_another_address_stays_connected(over: Over) {
    let engine = engine(&config(over));
    let (endpoint, connection) = raw(&engine).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let mut buffer = Vec::new();
    send.write_all(&Hello { version: 1, ..Hello::default() }.to_frame()).await.unwrap();
    until(&mut recv, &mut buffer, ControlKind::Welcome).await;
    // By chance alone it would be with the right one of three threads once in 700 times.
    for id in 1..=6 {
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        endpoint.rebind(other).unwrap();
        send.write_all(&Ping { id, t1_ns: 1 }.to_frame()).await.unwrap();
        until(&mut recv, &mut buffer, ControlKind::Pong).await;
        let stats = engine.handle.stats();
        // The board is a second old at most.
        while stats.connected().iter().map(|terminal| terminal.address).next() != Some(address) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(stats.terminals(), 1);
    }
}

async fn an_instrument_that_is_new_is_named_before_its_first_record(over: Over) {
    let mut engine = engine(&config(over));
    let terminal = engine.connect("").await.unwrap();
    let mut quotes = terminal.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    snapshot(&mut quotes).await;
    let named = |id, symbol: &str| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class: Class::Fx,
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    };
    let growth = engine.handle.growth();
    let mut instruments: Vec<Instrument> = catalogue().instruments().map(|(_, i)| i.clone()).collect();
    for (id, symbol) in [(4, "EURCHF"), (5, "USDJPY")] {
        instruments.push(named(id, symbol));
        let (growth, grown) = (growth.clone(), Catalogue::new(instruments.clone(), Vec::new()));
        // Nothing else goes on: the transport sleeps until it is told.
        assert!(tokio::task::spawn_blocking(move || growth.grow(grown)).await.unwrap());
        engine.feed.quote(id, 1);
        let Event::Catalogue(catalogue) = quotes.next().await.unwrap().unwrap() else { panic!("no names first") };
        assert_eq!(catalogue.instruments.last().map(|i| (i.id, i.symbol.as_str())), Some((id, symbol)));
        assert_eq!(record(&mut quotes).await.0.head().instrument_id, id);
    }
    tokio::task::spawn_blocking(move || engine.handle.stop()).await.unwrap();
    let late = Catalogue::new(instruments, Vec::new());
    assert!(!tokio::task::spawn_blocking(move || growth.grow(late)).await.unwrap(), "it has stopped");
}

async fn what_a_limited_rate_holds_back_comes_without_further_news(over: Over) {
    let mut engine = engine(&config(over));
    let terminal = engine.connect("").await.unwrap();
    let limited = Subscribe { max_rate_hz: 50, ..request(&["EURUSD"], &[Kind::Quote]) };
    let mut quotes = terminal.subscribe(limited).await.unwrap();
    snapshot(&mut quotes).await;
    for n in 1..=20 {
        // The second comes when the rate allows it, or in the place of the first.
        engine.feed.quote(EURUSD, 2 * n - 1);
        engine.feed.quote(EURUSD, 2 * n);
        while bid(&record(&mut quotes).await.0) != 2 * n {}
    }
}

#[tokio::test]
async fn threads_share_the_terminals_and_count_them_together() {
    let mut engine = engine(&FanoutConfig { max_terminals: 30, ..config(Over::ThreeLoops) });
    let stats = engine.handle.stats();
    let (mut terminals, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let terminal = engine.connect("").await.unwrap();
        let mut quotes = terminal.subscribe(request(&["EURUSD"], &[Kind::Quote])).await.unwrap();
        snapshot(&mut quotes).await;
        terminals.push(terminal);
        readers.push(quotes);
    }
    engine.feed.quote(EURUSD, 1);
    for quotes in &mut readers {
        assert_eq!(bid(&record(quotes).await.0), 1);
    }
    // That none of 30 comes to one of three happens once in 60,000 times.
    assert!(
        stats.terminals_by_thread().all(|count| count > 0),
        "{:?}",
        stats.terminals_by_thread().collect::<Vec<_>>()
    );
    assert_eq!(stats.terminals(), 30);
    let full = engine.connect("").await.err().unwrap();
    assert!(full.to_string().contains("at most 30 terminals"), "{full}");
    // The board is a second old at most.
    while stats.connected().len() < 30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<u64> = stats.connected().iter().map(|terminal| terminal.id).collect();
    assert_eq!(ids, (1..=30).collect::<Vec<_>>());
    // Who leaves makes room, whichever thread the next one comes to.
    terminals.remove(0).close().await;
    while engine.connect("").await.is_err() {}
}

over_each![
    a_terminal_that_moves_to_another_address_stays_connected,
    an_instrument_that_is_new_is_named_before_its_first_record,
    what_a_limited_rate_holds_back_comes_without_further_news,
];

#[tokio::test]
async fn the_loop_delivers_and_stops_however_it_idles() {
    for idle in [Idle::Spin, Idle::SpinThenYield, Idle::SpinThenPark] {
        for cores in [vec![], vec![0]] {
            let mut engine = engine(&FanoutConfig { idle, cores, ..config(Over::Loop) });
            let terminal = engine.connect("").await.unwrap();
            let mut quotes = terminal.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
            snapshot(&mut quotes).await;
            for n in 0..20 {
                // It is asleep by then, or would be.
                tokio::time::sleep(Duration::from_millis(2)).await;
                engine.feed.quote(EURUSD, n);
                assert_eq!(bid(&record(&mut quotes).await.0), n, "{idle:?}");
            }
            assert_eq!(engine.handle.stats().terminals(), 1);
            tokio::task::spawn_blocking(move || engine.handle.stop()).await.unwrap();
        }
    }
}

//! What a transport must do beside the sessions: follow a terminal that moves, take a catalogue that grows, wake up.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use std::net::SocketAddr;
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
use tickwire_terminal::{Event, Kind, Subscribe, Terminal};
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// A connection of `quinn` itself by way of `address`, and its endpoint.
async fn raw(engine: &Engine, address: SocketAddr) -> (Endpoint, Connection) {
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
    let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
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
    let (endpoint, connection) = raw(&engine, engine.handle.local_addr()).await;
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

/// Passes datagrams on between one terminal and the engine: where, and how long the engine's longest was so far.
async fn relay(engine: &Engine) -> (SocketAddr, watch::Receiver<usize>) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(engine.handle.local_addr()).await.unwrap();
    let (address, longest) = (front.local_addr().unwrap(), watch::Sender::new(0));
    let seen = longest.subscribe();
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
        let mut terminal = None;
        // It ends with the test; a port where nobody listens any more is no matter.
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut there) => {
                    terminal = Some(from);
                    let _ = back.send(&there[..length]).await;
                }
                Ok(length) = back.recv(&mut here), if terminal.is_some() => {
                    longest.send_modify(|longest| *longest = length.max(*longest));
                    let _ = front.send_to(&here[..length], terminal.unwrap()).await;
                }
            }
        }
    });
    (address, seen)
}

async fn datagrams_are_as_long_as_engine_and_terminal_take_them(over: Over) {
    // The search ends when it is that near.
    let near = 20;
    for most in [1300, 1452, 8952] {
        let mut engine = engine(&FanoutConfig { datagram_bytes_max: most, ..config(over) });
        let (address, longest) = relay(&engine).await;
        let terminal = Terminal::connect(address, &engine.trust(), "").await.unwrap();
        let mut quotes = terminal.subscribe(request(&["EURUSD"], &[Kind::Quote])).await.unwrap();
        snapshot(&mut quotes).await;
        let (mut n, mut after) = (0, 0);
        while after < 50 {
            n += 1;
            engine.feed.quote(EURUSD, n);
            while bid(&record(&mut quotes).await.0) != n {}
            after += i32::from(*longest.borrow() > usize::from(most) - near);
        }
        assert!(*longest.borrow() <= usize::from(most), "{} of {most}", *longest.borrow());
    }
    // A terminal that says nothing of it: what `quinn` announces by itself.
    let engine = engine(&config(over));
    let (address, longest) = relay(&engine).await;
    let (_endpoint, connection) = raw(&engine, address).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let mut buffer = Vec::new();
    send.write_all(&Hello { version: 1, ..Hello::default() }.to_frame()).await.unwrap();
    until(&mut recv, &mut buffer, ControlKind::Welcome).await;
    let (mut id, mut after) = (0, 0);
    while after < 50 {
        id += 1;
        send.write_all(&Ping { id, t1_ns: 1 }.to_frame()).await.unwrap();
        until(&mut recv, &mut buffer, ControlKind::Pong).await;
        after += i32::from(*longest.borrow() > 1472 - near);
    }
    assert!(*longest.borrow() <= 1472, "{}", *longest.borrow());
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
    datagrams_are_as_long_as_engine_and_terminal_take_them,
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

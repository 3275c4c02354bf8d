//! A peer that speaks QUIC but not our protocol: it gets an Error and a close, and the engine goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use std::sync::Arc;

use fanout_common::*;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tickwire_schemas::control::{self, CloseCode, Control, ControlKind, ErrorCode, Hello, Subscribe};
use tickwire_schemas::frame::{Frame, Header};
use tickwire_terminal::{Kind, Terminal, Trust};

fn roots(engine: &Engine) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    let file = engine.state.path().join("tls/development.pem");
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    Arc::new(roots)
}

async fn raw(engine: &Engine, alpn: &[u8]) -> Result<Connection, ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(engine))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    endpoint.connect_with(config, engine.handle.local_addr(), "localhost").unwrap().await
}

/// Sends bytes on a control stream: the Error in the answer, and the code and text of the close.
async fn answer(engine: &Engine, bytes: &[u8]) -> (control::Error, u64, String) {
    let connection = raw(engine, b"tickwire/1").await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let said = recv.read_to_end(1 << 20).await.unwrap();
    let (mut rest, mut error) = (&said[..], None);
    while let Some((frame, after)) = Frame::split(rest, 1 << 20).unwrap() {
        if frame.header.kind == ControlKind::Error.code() {
            error = Some(control::Error::from_body(frame.body).unwrap());
        }
        rest = after;
    }
    let ConnectionError::ApplicationClosed(close) = connection.closed().await else {
        panic!("not closed by the engine")
    };
    (error.unwrap(), close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
}

async fn oversized_and_malformed_frames_get_an_error_and_a_close_and_the_engine_goes_on(over: Over) {
    let mut engine = engine(&config(over));
    let bystander = engine.connect("").await.unwrap();
    let mut quotes = bystander.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    let hello = Hello { version: 1, ..Hello::default() }.to_frame();
    let header = |length, kind| Header { length, version: 1, kind, flags: 0, count: 1 }.to_bytes();
    let protocol = u64::from(CloseCode::Protocol.code());
    let refused = u64::from(CloseCode::Refused.code());
    let cases = [
        (header(u32::MAX, 128).to_vec(), ErrorCode::TooLong, protocol),
        ([&hello[..], &header(65_537, 130)].concat(), ErrorCode::TooLong, protocol),
        ([&header(4, 128)[..], b"\xff\xfe{}"].concat(), ErrorCode::Malformed, protocol),
        ([&hello[..], &header(2, 130), b"[]"].concat(), ErrorCode::Malformed, protocol),
        ([&hello[..], &hello].concat(), ErrorCode::Unexpected, protocol),
        (Subscribe::default().to_frame(), ErrorCode::Unexpected, protocol),
        (Hello { version: 2, ..Hello::default() }.to_frame(), ErrorCode::Version, refused),
        (Hello { version: 1, token: "x".into(), ..Hello::default() }.to_frame(), ErrorCode::Unauthorized, refused),
    ];
    for (bytes, code, close) in cases {
        let (error, closed, reason) = answer(&engine, &bytes).await;
        assert_eq!((error.code, closed), (code, close), "{}", error.text);
        assert_eq!(error.text, reason);
        let seq = engine.feed.quote(EURUSD, 1);
        assert_eq!(record(&mut quotes).await.0.head().seq, seq);
    }
}

async fn another_protocol_is_refused_in_the_handshake_and_another_stream_by_the_limits(over: Over) {
    let engine = engine(&config(over));
    let error = raw(&engine, b"h3").await.unwrap_err();
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
    let connection = raw(&engine, b"tickwire/1").await.unwrap();
    let _control = connection.open_bi().await.unwrap();
    tokio::select! {
        biased;
        _ = connection.open_bi() => panic!("a second control stream"),
        _ = connection.open_uni() => panic!("a stream from the terminal"),
        () = tokio::task::yield_now() => {}
    }
}

async fn a_certificate_is_trusted_through_its_authority(over: Over) {
    let engine = engine(&config(over));
    let trust = |server_name: &str| Trust::Roots { roots: roots(&engine), server_name: server_name.into() };
    let terminal = Terminal::connect(engine.handle.local_addr(), &trust("localhost"), "").await.unwrap();
    assert_eq!(terminal.welcome().engine_id, "test");
    let error = Terminal::connect(engine.handle.local_addr(), &trust("example.org"), "").await.err().unwrap();
    assert!(error.to_string().contains("example.org"), "{error}");
}

/// Packets of no connection, of no protocol, empty, and longer than any that QUIC sends.
async fn datagrams_that_are_no_packets_are_passed_over(over: Over) {
    let mut engine = engine(&config(over));
    let terminal = engine.connect("").await.unwrap();
    let mut quotes = terminal.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    snapshot(&mut quotes).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (round, length) in [0, 1, 20, 1200, 1472, 9000, 65_000].into_iter().enumerate() {
        // A long header of version 1, of another version, a short one, and what is neither.
        for first in [0xc0_u8, 0xff, 0x40, 0x00] {
            let mut bytes = vec![first; length];
            if let Some(version) = bytes.get_mut(1..5) {
                version.copy_from_slice(&[0, 0, 0, 1]);
            }
            socket.send_to(&bytes, engine.handle.local_addr()).unwrap();
        }
        let seq = engine.feed.quote(EURUSD, round as i64);
        assert_eq!(record(&mut quotes).await.0.head().seq, seq);
    }
    assert_eq!(engine.handle.stats().terminals(), 1);
}

over_each![
    datagrams_that_are_no_packets_are_passed_over,
    oversized_and_malformed_frames_get_an_error_and_a_close_and_the_engine_goes_on,
    another_protocol_is_refused_in_the_handshake_and_another_stream_by_the_limits,
    a_certificate_is_trusted_through_its_authority,
];

//! How many datagrams a second one core can give to the kernel at all: the bound of any fan-out over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use quinn_proto::Transmit;
use tickwire::fanout::udp::{Inbox, Outbox, SEND_BATCH, Socket};

use super::process::pin;
use super::sides::{LOAD_CORE, SERVER_CORE, Values};

/// A quote in a packet of QUIC.
const DATAGRAM_BYTES: usize = 150;

const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Sends for `length` from the server's core to as many sockets as `tickwire loadtest` would have, which the load's core
/// reads.
pub fn sendmmsg(length: Duration, destinations: usize) -> Values {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let sockets: Vec<UdpSocket> = (0..destinations).map(|_| UdpSocket::bind(any).expect("a socket")).collect();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin(LOAD_CORE);
            read(sockets, &stop)
        });
        let sending = scope.spawn(|| {
            pin(SERVER_CORE);
            send(length, &addresses)
        });
        let (sent, took) = sending.join().expect("the sender");
        stop.store(true, Relaxed);
        let received = reading.join().expect("the reader");
        let per_s = |count: u64| count as f64 / took.as_secs_f64();
        Values::from([("packets_per_s".into(), per_s(sent)), ("received_per_s".into(), per_s(received))])
    })
}

fn read(sockets: Vec<UdpSocket>, stop: &AtomicBool) -> u64 {
    let new = |socket| Socket::new(socket, BUFFER_BYTES).expect("a socket");
    let mut sockets: Vec<Socket> = sockets.into_iter().map(new).collect();
    let mut inbox = Inbox::default();
    while !stop.load(Relaxed) {
        for socket in &mut sockets {
            let _ = socket.receive(&mut inbox);
        }
    }
    sockets.iter().map(|socket| socket.counts().received).sum()
}

fn send(length: Duration, addresses: &[SocketAddr]) -> (u64, Duration) {
    let mut socket = Socket::bind(([127, 0, 0, 1], 0).into(), BUFFER_BYTES).expect("a socket");
    let mut outbox = Outbox::default();
    let mut next = addresses.iter().cycle();
    let began = Instant::now();
    while began.elapsed() < length {
        for destination in next.by_ref().take(SEND_BATCH).copied() {
            outbox.buffer().resize(DATAGRAM_BYTES, 0);
            outbox.push(&Transmit { destination, ecn: None, size: DATAGRAM_BYTES, segment_size: None, src_ip: None });
        }
        socket.flush(&mut outbox);
    }
    (socket.counts().sent, began.elapsed())
}

//! Batches over loopback.
#![allow(clippy::unwrap_used)]
use super::*;

fn loopback() -> Socket {
    Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap()
}

fn put(outbox: &mut Outbox, to: SocketAddr, ecn: Option<EcnCodepoint>, bytes: &[u8], segment: Option<usize>) {
    outbox.buffer().extend_from_slice(bytes);
    let (size, src_ip) = (bytes.len(), Some(IpAddr::from([127, 0, 0, 1])));
    outbox.push(&Transmit { destination: to, ecn, size, segment_size: segment, src_ip });
}

type Arrival = (SocketAddr, Option<EcnCodepoint>, Vec<u8>);

/// Reads until `count` datagrams are there. What was sent on loopback before is there at once.
fn read(socket: &mut Socket, count: usize) -> Vec<Arrival> {
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    while found.len() < count {
        assert!(socket.receive(&mut inbox).unwrap() > 0, "{} of {count} arrived", found.len());
        found.extend(inbox.datagrams().map(|d| (d.remote, d.ecn, d.bytes.to_vec())));
    }
    found
}

#[test]
fn many_destinations_are_served_in_order_and_in_few_calls() {
    let mut sender = loopback();
    let mut readers = [loopback(), loopback(), loopback()];
    let addresses = readers.each_ref().map(|r| r.local_addr().unwrap());
    let mut outbox = Outbox::default();
    for n in 0..150_u8 {
        put(&mut outbox, addresses[usize::from(n) % 3], Some(USUAL_MARK), &[n; 100], None);
    }
    assert!(outbox.is_full());
    assert!(sender.flush(&mut outbox) && outbox.is_empty());
    assert_eq!((sender.counts().sent, sender.counts().send_calls), (150, 3));
    let from = sender.local_addr().unwrap();
    for (at, reader) in readers.iter_mut().enumerate() {
        let expected = (0..50).map(|n| (from, Some(USUAL_MARK), vec![n * 3 + at as u8; 100]));
        assert_eq!(read(reader, 50), expected.collect::<Vec<Arrival>>());
        assert_eq!(reader.receive(&mut Inbox::default()).unwrap(), 0);
    }
}

#[test]
fn a_mark_goes_with_its_datagram_alone_also_from_a_wildcard_and_over_version_6() {
    let marks = [Some(EcnCodepoint::Ect0), None, Some(EcnCodepoint::Ce), Some(EcnCodepoint::Ect0)];
    for (from, to) in [("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0:0", "127.0.0.1:0"), ("[::]:0", "127.0.0.1:0")] {
        let mut sender = Socket::bind(from.parse().unwrap(), 1 << 20).unwrap();
        let mut reader = Socket::bind(to.parse().unwrap(), 1 << 20).unwrap();
        let mut outbox = Outbox::default();
        for mark in marks {
            put(&mut outbox, reader.local_addr().unwrap(), mark, b"x", None);
        }
        assert!(sender.flush(&mut outbox));
        let found: Vec<_> = read(&mut reader, 4).into_iter().map(|(_, mark, _)| mark).collect();
        assert_eq!(found, marks, "{from}");
    }
}

#[test]
fn segments_are_datagrams_of_their_own_and_short_ones_go_with_them() {
    let (mut sender, mut reader) = (loopback(), loopback());
    let to = reader.local_addr().unwrap();
    let mut outbox = Outbox::default();
    for (bytes, segment) in [
        ("one", None),
        ("aaaabbbbcc", Some(4)),
        ("two", None),
        ("ddddee", Some(4)),
        ("longer", None),
        ("fffgg", Some(3)),
    ] {
        put(&mut outbox, to, None, bytes.as_bytes(), segment);
    }
    assert!(sender.segments_max() > 1 && sender.flush(&mut outbox));
    // What is longer than a segment, and segments of another length, want a call of their own.
    assert_eq!((sender.counts().sent, sender.counts().send_calls), (10, 3));
    let found: Vec<_> =
        read(&mut reader, 10).into_iter().map(|(_, _, bytes)| String::from_utf8(bytes).unwrap()).collect();
    assert_eq!(found, ["one", "aaaa", "bbbb", "cc", "two", "dddd", "ee", "longer", "fff", "gg"]);
}

#[test]
fn one_that_the_kernel_refuses_does_not_hold_up_the_rest() {
    let (mut sender, mut reader) = (loopback(), loopback());
    let mut outbox = Outbox::default();
    put(&mut outbox, reader.local_addr().unwrap(), None, b"before", None);
    put(&mut outbox, reader.local_addr().unwrap(), None, &[0; 65_536], None);
    put(&mut outbox, reader.local_addr().unwrap(), None, b"after", None);
    assert!(sender.flush(&mut outbox));
    assert_eq!((sender.counts().sent, sender.counts().refused), (2, 1));
    let found: Vec<_> = read(&mut reader, 2).into_iter().map(|(_, _, bytes)| bytes).collect();
    assert_eq!(found, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn what_was_sent_in_one_piece_may_be_read_in_one_piece() {
    let (mut sender, mut reader) = (loopback(), loopback().of_client());
    let (to, from) = (reader.local_addr().unwrap(), sender.local_addr().unwrap());
    let bytes: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
    let mut outbox = Outbox::default();
    put(&mut outbox, to, Some(USUAL_MARK), &bytes, Some(300));
    put(&mut outbox, to, Some(USUAL_MARK), b"alone", None);
    assert!(sender.flush(&mut outbox));
    let (mut inbox, mut found) = (Inbox::of_pieces(), Vec::new());
    while found.len() < 5 {
        assert!(reader.receive(&mut inbox).unwrap() > 0, "{} arrived", found.len());
        found.extend(inbox.datagrams().map(|d| (d.remote, d.ecn, d.bytes.to_vec())));
    }
    let expected = bytes.chunks(300).chain([&b"alone"[..]]);
    assert_eq!(found, expected.map(|bytes| (from, Some(USUAL_MARK), bytes.to_vec())).collect::<Vec<Arrival>>());
    assert_eq!(reader.counts().received, 5);
}

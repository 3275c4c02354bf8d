//! Which thread a datagram comes to, where several serve one address.
//!
//! Each has a socket of its own there (`SO_REUSEPORT`). Who is new comes to any of them, by the kernel's hash of both
//! addresses. The connection ids that a thread gives out begin with its number, and a filter in the kernel gives it every
//! packet with such an id, wherever that comes from: a terminal whose address changes stays with its thread. So the number
//! of a thread can be read off a packet, and nothing else.
//!
//! Where the id stands in a packet: RFC 9000, sections 17.2 and 17.3. How the kernel asks the filter: socket(7),
//! `SO_ATTACH_REUSEPORT_CBPF`; a number that no socket has means "by hash".

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::libc::{sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, EndpointConfig, RandomConnectionIdGenerator};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt::set_socket_reuseport};

/// One and seven bytes.
const ID_BYTES: usize = 8;

/// The instructions of the filter, as `code, jt, jf, k`: linux/bpf_common.h.
const FILTER: [sock_filter; 5] = [
    // The first byte of the packet.
    instruction(0x30, 0, 0, 0),
    // Long headers have this bit: the hash decides, which does not change during a handshake.
    instruction(0x45, 0, 1, 0x80),
    instruction(0x06, 0, 0, u32::MAX),
    // Behind a short header's first byte stands the id, whose first byte is the number.
    instruction(0x30, 0, 0, 1),
    instruction(0x16, 0, 0, 0),
];

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Sockets on one address, as many as there are threads, in the order of their numbers.
///
/// # Errors
/// What the kernel says; `AddrInUse` also where another program would share the address.
pub(super) fn bind_for(threads: usize, address: SocketAddr) -> std::io::Result<Vec<UdpSocket>> {
    // Alone, so that somebody else there is noticed; with port 0 it finds one.
    let first = UdpSocket::bind(address)?;
    if threads <= 1 {
        return Ok(vec![first]);
    }
    let address = first.local_addr()?;
    drop(first);
    let sockets: Vec<UdpSocket> = (0..threads).map(|_| shared(address)).collect::<std::io::Result<_>>()?;
    let mut filter = FILTER;
    // The kernel copies it before the call returns.
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    if let Some(socket) = sockets.first() {
        setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    }
    Ok(sockets)
}

fn shared(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket: OwnedFd = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

/// Lets an endpoint give out ids that begin with the number of its thread.
pub(super) fn number(config: &mut EndpointConfig, thread: u8) {
    config.cid_generator(move || Box::new(Numbered { thread, random: RandomConnectionIdGenerator::new(ID_BYTES) }));
}

struct Numbered {
    thread: u8,
    random: RandomConnectionIdGenerator,
}

impl ConnectionIdGenerator for Numbered {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_BYTES];
        bytes.copy_from_slice(&self.random.generate_cid());
        bytes[0] = self.thread;
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_short_header_goes_to_its_thread_and_a_long_one_to_the_same_as_before() {
        let sockets = bind_for(3, "127.0.0.1:0".parse().unwrap()).unwrap();
        let to = sockets[0].local_addr().unwrap();
        sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        // On loopback a datagram is with its receiver when the call that sends it returns.
        let receiver = || {
            let mut found = Vec::new();
            let mut bytes = [0; 64];
            for (thread, socket) in sockets.iter().enumerate() {
                while socket.recv(&mut bytes).is_ok() {
                    found.push(thread);
                }
            }
            found
        };
        let mut of_long = [0; 3];
        for _ in 0..64 {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for thread in 0..3 {
                sender.send_to(&[0x40, thread, 9, 9], to).unwrap();
                assert_eq!(receiver(), [usize::from(thread)]);
            }
            sender.send_to(&[0xC0, 2, 9, 9], to).unwrap();
            let first = receiver();
            sender.send_to(&[0xC0, 0, 9, 9], to).unwrap();
            // An id of nobody: by hash too.
            sender.send_to(&[0x40, 200, 9, 9], to).unwrap();
            assert_eq!(receiver(), [first[0], first[0]]);
            of_long[first[0]] += 1;
        }
        assert!(of_long.iter().all(|count| *count > 0), "newcomers are spread: {of_long:?}");
    }

    #[test]
    fn an_address_that_somebody_has_is_not_shared_with_him() {
        let sockets = bind_for(2, "127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = bind_for(2, sockets[0].local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ids_begin_with_the_number_and_do_not_repeat() {
        let mut ids = Numbered { thread: 5, random: RandomConnectionIdGenerator::new(ID_BYTES) };
        let (one, other) = (ids.generate_cid(), ids.generate_cid());
        assert_eq!((one[0], other[0], one.len(), ids.cid_len()), (5, 5, ID_BYTES, ID_BYTES));
        assert_ne!(one, other);
    }
}

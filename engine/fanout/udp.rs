//! UDP in batches: many datagrams in one system call, each to or from an address of its own.
//!
//! For programs that drive `quinn-proto` themselves: the fan-out's loop and the load generator. [`Socket::receive`] reads
//! up to [`BATCH`] datagrams with one `recvmmsg`. To send, datagrams are written one after the other into an [`Outbox`],
//! whose buffers are kept, and [`Socket::flush`] gives them to the kernel with one `sendmmsg` for each [`SEND_BATCH`].
//! Several for one address may be written in one piece, which the kernel cuts ([`Socket::segments_max`]).
//! Nothing here blocks, and nothing knows QUIC but the shape of a [`Transmit`].

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, cmsg_space, sendmmsg, setsockopt,
    sockopt,
};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// Datagrams read in one call.
pub const BATCH: usize = quinn_udp::BATCH_SIZE;

/// Datagrams sent in one call: what more would save is lost in what one costs.
pub const SEND_BATCH: usize = 64;

/// Longest datagram read where none come in pieces: the engine announces 1,472 bytes to its terminals.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Longest piece in which the kernel hands over datagrams that came from one sender one after the other.
const PIECE_BYTES_MAX: usize = 65_536;

/// What every datagram is marked with unless it says otherwise: QUIC marks nearly all so, and a mark that the socket has
/// need not be sent along with each.
const USUAL_MARK: EcnCodepoint = EcnCodepoint::Ect0;

/// What a socket has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams read.
    pub received: u64,
    /// Calls that read at least one.
    pub receive_calls: u64,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Calls that sent at least one.
    pub send_calls: u64,
    /// Datagrams that the kernel refused for good, as one longer than the path allows; QUIC sends their content again.
    pub refused: u64,
    /// Times that the kernel had no room.
    pub blocked: u64,
}

/// One datagram that arrived.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub remote: SocketAddr,
    /// The address it was sent to, where the kernel says so.
    pub local_ip: Option<IpAddr>,
    /// Its congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Datagram<'_> {
    /// A copy of the content, as `quinn_proto::Endpoint::handle` wants it.
    #[must_use]
    pub fn to_bytes(&self) -> BytesMut {
        BytesMut::from(self.bytes)
    }
}

/// Room for one batch of arrivals.
pub struct Inbox {
    room: Box<[u8]>,
    /// Bytes of room for each.
    each: usize,
    meta: [RecvMeta; BATCH],
    count: usize,
}

impl Default for Inbox {
    /// For a socket that is handed single datagrams.
    fn default() -> Self {
        Inbox::of(DATAGRAM_BYTES_MAX)
    }
}

impl Inbox {
    /// For a client ([`Socket::of_client`]): 2 MiB.
    #[must_use]
    pub fn of_pieces() -> Inbox {
        Inbox::of(PIECE_BYTES_MAX)
    }

    fn of(each: usize) -> Inbox {
        Inbox { room: vec![0; BATCH * each].into_boxed_slice(), each, meta: [RecvMeta::default(); BATCH], count: 0 }
    }

    /// What the last [`Socket::receive`] brought.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let pairs = self.meta.iter().zip(self.room.chunks(self.each)).take(self.count);
        pairs.flat_map(|(meta, room)| {
            let bytes = room.get(..meta.len).unwrap_or_default();
            bytes.chunks(meta.stride.max(1)).map(|bytes| Datagram {
                remote: meta.addr,
                local_ip: meta.dst_ip,
                ecn: meta.ecn.and_then(|mark| EcnCodepoint::from_bits(mark as u8)),
                bytes,
            })
        })
    }
}

#[derive(Debug)]
struct Packet {
    to: SocketAddr,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    /// The length of each datagram of several but the last.
    segment: Option<u16>,
    bytes: Vec<u8>,
}

impl Packet {
    /// What the datagrams of one call have in common.
    fn shared(&self) -> (Option<EcnCodepoint>, Option<IpAddr>, bool) {
        (self.ecn, self.from, self.to.ip().to_canonical().is_ipv4())
    }

    /// How many datagrams it is.
    fn datagrams(&self) -> usize {
        self.segment.map_or(1, |segment| self.bytes.len().div_ceil(usize::from(segment).max(1)))
    }
}

/// Datagrams to be sent, in order. Its buffers are used again and again.
#[derive(Debug, Default)]
pub struct Outbox {
    packets: Vec<Packet>,
    /// The first that is not sent, and the first that is not written.
    first: usize,
    end: usize,
}

impl Outbox {
    /// An empty buffer for the next datagram, to be followed by [`Outbox::push`]; without that, nothing is sent.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.end == self.packets.len() {
            let to = SocketAddr::from(([0, 0, 0, 0], 0));
            let bytes = Vec::with_capacity(DATAGRAM_BYTES_MAX);
            self.packets.push(Packet { to, from: None, ecn: None, segment: None, bytes });
        }
        let buffer = &mut self.packets[self.end].bytes;
        buffer.clear();
        buffer
    }

    /// The buffer holds a datagram, or several, that `transmit` describes.
    pub fn push(&mut self, transmit: &Transmit) {
        let Some(packet) = self.packets.get_mut(self.end) else { return };
        (packet.to, packet.from, packet.ecn) = (transmit.destination, transmit.src_ip, transmit.ecn);
        let segment = transmit.segment_size.filter(|segment| *segment > 0 && *segment < transmit.size);
        packet.segment = segment.and_then(|segment| u16::try_from(segment).ok());
        packet.bytes.truncate(transmit.size);
        self.end += 1;
    }

    /// Pieces that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is enough for a whole call.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= SEND_BATCH
    }

    /// Forgets the first `count`.
    fn done(&mut self, count: usize) {
        self.first += count;
        if self.first >= self.end {
            (self.first, self.end) = (0, 0);
        }
    }

    /// The next run that one call can send, and the length of its segments: neighbours that share mark, source address
    /// and family. A single datagram goes with those in segments when it is no longer than one of them.
    fn run(&self) -> (&[Packet], Option<u16>) {
        let waiting = &self.packets[self.first..self.end];
        let shared = waiting.first().map(Packet::shared);
        let (mut segment, mut longest) = (None::<u16>, 0);
        let fits = |packet: &&Packet| {
            let single = if packet.segment.is_none() { packet.bytes.len() } else { 0 };
            longest = longest.max(single);
            let one = segment.or(packet.segment);
            let same = packet.segment.is_none() || packet.segment == one;
            segment = one;
            Some(packet.shared()) == shared && same && one.is_none_or(|one| longest <= usize::from(one))
        };
        let length = waiting.iter().take(SEND_BATCH).take_while(fits).count();
        let run = &waiting[..length];
        (run, run.iter().find_map(|packet| packet.segment))
    }
}

/// Headers of a send, by the bytes of control messages that they have room for.
struct Headers<S> {
    by_control: Vec<(usize, MultiHeaders<S>)>,
    to: Vec<Option<S>>,
}

impl<S: SockaddrLike + Copy> Headers<S> {
    fn new() -> Self {
        Headers { by_control: Vec::new(), to: Vec::with_capacity(SEND_BATCH) }
    }

    /// Sends the run with one call and says how many the kernel took. The control messages take `control_bytes`: the room
    /// must be exactly that, as the kernel would read the rest as a message of no length.
    fn send(
        &mut self,
        socket: &UdpSocket,
        run: &[Packet],
        address: impl Fn(SocketAddr) -> S,
        (control, control_bytes): (&[ControlMessage<'_>], usize),
    ) -> Result<usize, Errno> {
        self.to.clear();
        self.to.extend(run.iter().map(|packet| Some(address(packet.to))));
        let at = match self.by_control.iter().position(|(room, _)| *room == control_bytes) {
            Some(at) => at,
            None => {
                let room = (control_bytes > 0).then(|| Vec::with_capacity(control_bytes));
                self.by_control.push((control_bytes, MultiHeaders::preallocate(SEND_BATCH, room)));
                self.by_control.len() - 1
            }
        };
        let slices: Vec<[IoSlice<'_>; 1]> = run.iter().map(|packet| [IoSlice::new(&packet.bytes)]).collect();
        let headers = &mut self.by_control[at].1;
        let sent = sendmmsg(socket.as_raw_fd(), headers, &slices, &self.to, control, MsgFlags::MSG_DONTWAIT)?;
        Ok(sent.count())
    }
}

enum Family {
    V4(Headers<SockaddrIn>),
    V6(Headers<SockaddrIn6>),
}

/// A UDP socket that sends and receives in batches. Made on the thread that uses it.
pub struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    family: Family,
    /// The mark of datagrams that carry none of their own.
    marked: Option<EcnCodepoint>,
    /// Whether replies must name the address that they come from.
    any_address: bool,
    /// Datagrams that the kernel cuts from one piece; 1: none.
    segments_max: usize,
    counts: Counts,
}

impl Socket {
    /// Takes a bound socket: makes it non-blocking and asks the kernel for marks, for destination addresses, for whole
    /// datagrams (no fragments), and for `buffer_bytes` of room in both directions, of which it may give less.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(socket: UdpSocket, buffer_bytes: usize) -> io::Result<Socket> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Room for whole pieces is wanted by few.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &false);
        // The first of each needs a privilege.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, buffer_bytes)
            .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(&socket, buffer_bytes));
        let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, buffer_bytes)
            .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(&socket, buffer_bytes));
        let local = socket.local_addr()?;
        let family = if local.is_ipv4() { Family::V4(Headers::new()) } else { Family::V6(Headers::new()) };
        let mark = USUAL_MARK as u8;
        let mut is_marked = rustix::net::sockopt::set_ip_tos(&socket, mark).is_ok();
        if local.is_ipv6() {
            is_marked &= rustix::net::sockopt::set_ipv6_tclass(&socket, u32::from(mark)).is_ok();
        }
        let (marked, any_address) = (is_marked.then_some(USUAL_MARK), local.ip().is_unspecified());
        let segments_max = state.max_gso_segments();
        Ok(Socket { socket, state, family, marked, any_address, segments_max, counts: Counts::default() })
    }

    /// Binds a socket of its own: [`Socket::new`].
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Socket> {
        Socket::new(UdpSocket::bind(address)?, buffer_bytes)
    }

    /// A client's: the kernel may hand over in one piece what came from one sender one after the other, so it must be read
    /// into [`Inbox::of_pieces`], and does not say to which address, of which a client has one. A kernel that cannot hands
    /// over as before.
    #[must_use]
    pub fn of_client(self) -> Socket {
        let _ = setsockopt(&self.socket, sockopt::UdpGroSegment, &true);
        let _ = setsockopt(&self.socket, sockopt::Ipv4PacketInfo, &false);
        self
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether a datagram may be cut into fragments on its way; if not, its longest length can be found out.
    #[must_use]
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many datagrams of equal length for one address may be written in one piece; 1 where the kernel, or the network
    /// card, does not cut. It may fall to 1 later; what was written by then is refused.
    #[must_use]
    pub fn segments_max(&self) -> usize {
        self.segments_max
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads what is there, at most [`BATCH`] datagrams or pieces, and says how many; 0 when there is nothing now.
    ///
    /// # Errors
    /// What the system says. What a peer causes, as a port where nobody listens, is none.
    pub fn receive(&mut self, inbox: &mut Inbox) -> io::Result<usize> {
        inbox.count = 0;
        let mut rooms = inbox.room.chunks_mut(inbox.each);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut inbox.meta) {
            Ok(count) => {
                inbox.count = count;
                let datagrams = inbox.meta.iter().take(count).map(|meta| meta.len.div_ceil(meta.stride.max(1)));
                self.counts.received += datagrams.sum::<usize>() as u64;
                self.counts.receive_calls += u64::from(count > 0);
                Ok(count)
            }
            // A datagram sent earlier found nobody; its sender's timers see to that.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sends what the outbox holds. False when the kernel has no room: the rest stays in the outbox for the next call,
    /// which is worth making when the socket can be written to.
    pub fn flush(&mut self, outbox: &mut Outbox) -> bool {
        while !outbox.is_empty() {
            let (run, segment) = outbox.run();
            match self.send_run(run, segment) {
                Ok(count) => {
                    self.counts.sent += run.iter().take(count).map(|packet| packet.datagrams() as u64).sum::<u64>();
                    self.counts.send_calls += 1;
                    outbox.done(count);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.counts.blocked += 1;
                    return false;
                }
                Err(error) => {
                    // It is about the first one, as a probe of the path that was too long.
                    self.counts.refused += run.first().map_or(0, |packet| packet.datagrams() as u64);
                    if segment.is_some() && matches!(error, Errno::EIO | Errno::EINVAL) {
                        self.segments_max = 1;
                    }
                    outbox.done(1);
                }
            }
        }
        true
    }

    fn send_run(&mut self, run: &[Packet], segment: Option<u16>) -> Result<usize, Errno> {
        let Some(first) = run.first() else { return Ok(0) };
        let (ecn, from, to_v4) = first.shared();
        let mark = ecn.map_or(0, |mark| mark as u8);
        let class = i32::from(mark);
        let own_mark = ecn != self.marked;
        let from = from.filter(|_| self.any_address);
        let (mut v4, mut v6) = (None, None);
        match from {
            Some(IpAddr::V4(address)) => v4 = Some(packet_info_v4(address)),
            Some(IpAddr::V6(address)) => v6 = Some(packet_info_v6(address)),
            None => {}
        }
        let mut control = Vec::with_capacity(3);
        let mut bytes = 0;
        if own_mark && to_v4 {
            control.push(ControlMessage::Ipv4Tos(&mark));
            bytes += cmsg_space::<u8>();
        } else if own_mark {
            control.push(ControlMessage::Ipv6TClass(&class));
            bytes += cmsg_space::<i32>();
        }
        if let Some(info) = &v4 {
            control.push(ControlMessage::Ipv4PacketInfo(info));
            bytes += cmsg_space::<libc::in_pktinfo>();
        }
        if let Some(info) = &v6 {
            control.push(ControlMessage::Ipv6PacketInfo(info));
            bytes += cmsg_space::<libc::in6_pktinfo>();
        }
        if let Some(segment) = &segment {
            control.push(ControlMessage::UdpGsoSegments(segment));
            bytes += cmsg_space::<u16>();
        }
        match &mut self.family {
            Family::V4(headers) => headers.send(&self.socket, run, v4_address, (&control, bytes)),
            Family::V6(headers) => headers.send(&self.socket, run, v6_address, (&control, bytes)),
        }
    }
}

/// A socket of version 4 has no peer of version 6; one that is asked for is no address, which the kernel refuses.
fn v4_address(address: SocketAddr) -> SockaddrIn {
    SockaddrIn::from(match address {
        SocketAddr::V4(v4) => v4,
        SocketAddr::V6(v6) => SocketAddrV4::new(v6.ip().to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED), v6.port()),
    })
}

fn v6_address(address: SocketAddr) -> SockaddrIn6 {
    SockaddrIn6::from(match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        SocketAddr::V6(v6) => v6,
    })
}

fn packet_info_v4(from: Ipv4Addr) -> libc::in_pktinfo {
    let none = libc::in_addr { s_addr: 0 };
    libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
        ipi_addr: none,
    }
}

fn packet_info_v6(from: Ipv6Addr) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;

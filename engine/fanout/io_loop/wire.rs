//! The socket and the packets that wait for it.

use quinn_proto::{Connection, Transmit};
use std::time::Instant;

use crate::fanout::udp::{Counts, Inbox, Outbox, Socket};
use crate::metrics::{FANOUT_PACKETS, FANOUT_PACKETS_REFUSED, FANOUT_SENDS, FANOUT_SENDS_BLOCKED};

/// Packets of one terminal that the kernel is given in one piece: a call and its way through the network stack are paid
/// once. Terminals get that many only when they are behind.
const PACKETS_IN_ONE_PIECE: usize = 10;

/// Bytes of a piece at most: what UDP over IPv4 carries.
const PIECE_BYTES_MAX: usize = 65_507;

/// What a connection had to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing that it may send now.
    Nothing,
    /// Whole packets; there may be more.
    Full,
    /// The last packet has room left, which nothing else wanted: what the network allows is sent.
    Last,
}

/// Packets of one turn and the socket that they go to.
pub(super) struct Wire {
    socket: Socket,
    outbox: Outbox,
    /// What the metrics know of the socket's counts.
    told: Counts,
    /// A socket that cannot be read was told once.
    is_told: bool,
}

impl Wire {
    pub(super) fn new(socket: Socket) -> Wire {
        Wire { socket, outbox: Outbox::default(), told: Counts::default(), is_told: false }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether another packet may be written, after sending what fills a call.
    pub(super) fn has_room(&mut self) -> bool {
        if self.outbox.is_full() {
            self.socket.flush(&mut self.outbox);
        }
        !self.outbox.is_full()
    }

    /// Sends what waits; false when that is nothing, or the kernel takes nothing.
    pub(super) fn flush(&mut self) -> bool {
        let before = self.outbox.len();
        self.socket.flush(&mut self.outbox);
        let (now, told) = (self.socket.counts(), self.told);
        if now == told {
            return false;
        }
        FANOUT_PACKETS.add(now.sent - told.sent);
        FANOUT_SENDS.add(now.send_calls - told.send_calls);
        FANOUT_PACKETS_REFUSED.add(now.refused - told.refused);
        FANOUT_SENDS_BLOCKED.add(now.blocked - told.blocked);
        self.told = now;
        self.outbox.len() < before
    }

    /// Takes the next packet of a connection, or several in one piece.
    pub(super) fn take(&mut self, connection: &mut Connection, now: Instant) -> Taken {
        let fit = PIECE_BYTES_MAX / usize::from(connection.current_mtu()).max(1);
        let most = self.socket.segments_max().min(PACKETS_IN_ONE_PIECE).min(fit).max(1);
        let Some(transmit) = connection.poll_transmit(now, most, self.outbox.buffer()) else { return Taken::Nothing };
        self.outbox.push(&transmit);
        let packet = transmit.segment_size.unwrap_or_else(|| connection.current_mtu().into()).max(1);
        if transmit.size % packet == 0 { Taken::Full } else { Taken::Last }
    }

    /// A packet that belongs to no connection. Without room it is lost, as it might be on its way.
    pub(super) fn answer(&mut self, transmit: &Transmit, bytes: &[u8]) {
        if self.has_room() {
            self.outbox.buffer().extend_from_slice(bytes);
            self.outbox.push(transmit);
        }
    }

    /// Reads what came in.
    pub(super) fn receive(&mut self, inbox: &mut Inbox) -> usize {
        match self.socket.receive(inbox) {
            Ok(count) => count,
            Err(error) => {
                if !self.is_told {
                    tracing::error!(%error, "the fan-out's socket cannot be read");
                    self.is_told = true;
                }
                0
            }
        }
    }
}

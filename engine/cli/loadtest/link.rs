//! One socket and the QUIC endpoint behind it, which many terminals share.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::{
    ClientConfig, Connection, ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig,
    TransportConfig,
};
use tickwire_schemas::DATAGRAM_BYTES_MAX;
use tickwire_terminal::Trust;

use crate::fanout::udp::{BATCH, Inbox, Outbox, Socket};

/// Room of a socket in the kernel, in each direction: some 5,000 small packets that came while we were busy.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Batches read from one socket before the others get their turn.
const BATCHES_PER_TURN: usize = 2;

/// Unread bytes of a subscription, as terminals have it.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Datagrams of the engine that wait to be read: they are read at once.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// A silent engine is given up after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How every terminal connects.
pub(super) fn client_config(trust: &Trust) -> Result<ClientConfig, String> {
    let mut tls = trust.client_config().map_err(|e| e.to_string())?;
    // Each terminal is one of its own: none may profit from another's handshake.
    tls.resumption = rustls::client::Resumption::disabled();
    let tls = quinn_proto::crypto::rustls::QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u8.into())
        .max_concurrent_uni_streams(64u8.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window((STREAM_WINDOW_BYTES * 2).into())
        .max_idle_timeout(IDLE_TIMEOUT.try_into().ok())
        .keep_alive_interval(Some(IDLE_TIMEOUT / 3))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        // We send next to nothing: probes for longer packets would be most of it.
        .mtu_discovery_config(None);
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// One socket with its endpoint.
pub(super) struct Link {
    pub(super) socket: Socket,
    endpoint: Endpoint,
    /// The terminal of each connection, by the connection's handle.
    members: Vec<u32>,
    pub(super) outbox: Outbox,
    /// For what an endpoint answers without a connection.
    scratch: Vec<u8>,
}

impl Link {
    pub(super) fn new(engine: SocketAddr) -> Result<Link, String> {
        let any: IpAddr = if engine.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = Socket::bind((any, 0).into(), SOCKET_BUFFER_BYTES).map_err(|e| format!("a UDP socket: {e}"))?;
        let socket = socket.of_client();
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(|e| e.to_string())?;
        let endpoint = Endpoint::new(Arc::new(config), None, false, None);
        Ok(Link { socket, endpoint, members: Vec::new(), outbox: Outbox::default(), scratch: Vec::new() })
    }

    /// Begins a connection for terminal `id`.
    pub(super) fn connect(
        &mut self,
        id: u32,
        now: Instant,
        config: ClientConfig,
        engine: SocketAddr,
        name: &str,
    ) -> Result<(ConnectionHandle, Connection), String> {
        let begun = self.endpoint.connect(now, config, engine, name);
        let (handle, connection) = begun.map_err(|e| format!("cannot connect to {engine}: {e}"))?;
        if self.members.len() <= handle.0 {
            self.members.resize(handle.0 + 1, u32::MAX);
        }
        self.members[handle.0] = id;
        Ok((handle, connection))
    }

    /// Reads what is there and hands each packet to `each` with the terminal it is for. True when there may be more.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        inbox: &mut Inbox,
        mut each: impl FnMut(u32, ConnectionEvent),
    ) -> Result<bool, String> {
        for _ in 0..BATCHES_PER_TURN {
            let count = self.socket.receive(inbox).map_err(receiving)?;
            for datagram in inbox.datagrams() {
                self.scratch.clear();
                let bytes = datagram.to_bytes();
                let (remote, local_ip, ecn) = (datagram.remote, datagram.local_ip, datagram.ecn);
                match self.endpoint.handle(now, remote, local_ip, ecn, bytes, &mut self.scratch) {
                    Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                        if let Some(id) = self.members.get(handle.0) {
                            each(*id, event);
                        }
                    }
                    Some(DatagramEvent::Response(transmit)) => {
                        self.outbox.buffer().extend_from_slice(&self.scratch);
                        self.outbox.push(&transmit);
                    }
                    // Nobody connects to a load generator.
                    Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
                    None => {}
                }
            }
            if count < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes on what a connection has for its endpoint.
    pub(super) fn endpoint_events(&mut self, handle: ConnectionHandle, connection: &mut Connection) {
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
    }

    /// Takes what a connection wants to send. Full batches leave at once, the rest with [`Link::flush`].
    pub(super) fn transmit(&mut self, now: Instant, connection: &mut Connection) {
        while let Some(transmit) = connection.poll_transmit(now, 1, self.outbox.buffer()) {
            self.outbox.push(&transmit);
            if self.outbox.is_full() {
                self.flush();
            }
        }
    }

    /// Sends what waits; what the kernel has no room for waits on.
    pub(super) fn flush(&mut self) {
        self.socket.flush(&mut self.outbox);
    }
}

fn receiving(error: io::Error) -> String {
    format!("receiving from the engine: {error}")
}

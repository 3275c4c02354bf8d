//! Below TLS and framing: the one place where the time of a read is taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock;

/// A socket that notes when bytes were last read from it.
#[derive(Debug)]
pub struct Stamped {
    socket: TcpStream,
    read_ns: i64,
}

impl Stamped {
    /// When bytes were last read, nanoseconds UTC.
    #[must_use]
    pub fn read_ns(&self) -> i64 {
        self.read_ns
    }
}

impl From<TcpStream> for Stamped {
    fn from(socket: TcpStream) -> Self {
        Stamped { socket, read_ns: clock::now_ns() }
    }
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before {
            self.read_ns = clock::now_ns();
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

//! Subscriptions that the venue confirms: asked for, waited for, and never assumed.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::SinkExt;
use tickwire_schemas::words::Cause;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{Connection, Failure, Transport, ws_failure};

/// How long a venue may take to confirm a subscription. Below the usual `connect_timeout_ms`, so that the failure names
/// what is missing.
const CONFIRM_MAX: Duration = Duration::from_secs(8);

/// Most that is kept of what a venue says before it has confirmed all subscriptions, in longest messages: snapshots of
/// some hundred symbols have a kilobyte each.
const EARLY_FRAMES_MAX: usize = 4;

impl Connection {
    /// Sends requests and waits until nothing of `pending` is left: `confirm` reads each frame and takes out what it
    /// confirms. Whatever comes meanwhile, prices among it, is kept for [`Connection::read`] with the times at which it
    /// was read.
    ///
    /// # Errors
    /// What `confirm` says; or one sentence naming what was not confirmed in time.
    pub async fn subscribe(
        &mut self,
        requests: &[String],
        mut pending: BTreeSet<String>,
        mut confirm: impl FnMut(&[u8], &mut BTreeSet<String>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let told = timeout(CONFIRM_MAX, self.ask(requests, &mut pending, &mut confirm)).await;
        told.unwrap_or_else(|_| {
            let text = format!("no confirmation within {} s of {}", CONFIRM_MAX.as_secs(), some_of(&pending));
            Err(Failure::new(Cause::ProtocolError, text))
        })
    }

    async fn ask(
        &mut self,
        requests: &[String],
        pending: &mut BTreeSet<String>,
        confirm: &mut impl FnMut(&[u8], &mut BTreeSet<String>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for request in requests {
            self.send(request).await?;
        }
        let mut bytes = 0;
        while !pending.is_empty() {
            let mut said = Ok(());
            let early = &mut self.early;
            let mut each = |frame: &[u8], at_ns| {
                bytes += frame.len() + size_of::<(Vec<u8>, i64)>();
                early.push((frame.to_vec(), at_ns));
                if said.is_ok() {
                    said = confirm(frame, pending);
                }
            };
            self.transport.read(&mut each).await?;
            said?;
            if bytes > EARLY_FRAMES_MAX * self.frame_bytes_max {
                let text = format!("{bytes} bytes and no confirmation of {}", some_of(pending));
                return Err(Failure::new(Cause::ProtocolError, text));
            }
        }
        Ok(())
    }

    async fn send(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.transport {
            Transport::Lines(_) | Transport::Tcp(_) | Transport::Poll(_) | Transport::Fix(_) | Transport::Zmq(_) => {
                Err(Failure::new(Cause::ProtocolError, "nothing can be sent over this connection"))
            }
            Transport::Socket(socket) => socket.send(Message::text(text)).await.map_err(ws_failure),
        }
    }
}

fn some_of(pending: &BTreeSet<String>) -> String {
    let names: Vec<&str> = pending.iter().take(3).map(String::as_str).collect();
    let more =
        if pending.len() > names.len() { format!(" and {} more", pending.len() - names.len()) } else { String::new() };
    names.join(", ") + &more
}

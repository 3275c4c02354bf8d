//! The stream of one subscription.

use bytes::Bytes;
use quinn_proto::{Connection, Dir, FinishError, StreamId, WriteError};

use super::peer::Tools;
use crate::fanout::Core;
use crate::fanout::board::Tally;
use crate::fanout::delivery::{Batch, Pulled, Subscription};
use crate::fanout::hub::Hub;

/// What came of an attempt to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// A batch is with the connection; there may be another.
    Batch,
    /// Nothing is new.
    Nothing,
    /// Nothing may be sent before this time, on the clock of [`monotonic_ns`].
    Wait(i64),
    /// The terminal takes no more now, by its flow control.
    Stuck,
    /// What it has to get next is gone.
    TooFarBehind,
    /// The terminal does not want the stream.
    Unwanted,
}

/// A batch that the connection did not take whole.
struct Rest {
    batch: Batch,
    /// The first piece that is not taken.
    at: usize,
    /// Bytes of all of it, for the figures; 0 for what is not a record.
    bytes: u64,
}

/// A subscription, its stream, and what the connection did not take of the last batch.
pub(super) struct Delivery {
    subscription: Subscription,
    stream: Option<StreamId>,
    rest: Option<Box<Rest>>,
}

impl Delivery {
    /// `subscribed` is the first frame of the stream, which is opened when the terminal allows.
    pub(super) fn new(subscription: Subscription, subscribed: Bytes) -> Delivery {
        let batch = Batch { chunks: vec![subscribed], ..Batch::default() };
        Delivery { subscription, stream: None, rest: Some(Box::new(Rest { batch, at: 0, bytes: 0 })) }
    }

    /// The terminal's number for it.
    pub(super) fn id(&self) -> u32 {
        self.subscription.id()
    }

    /// Ends the stream behind what was written; one that the terminal does not want is abandoned.
    pub(super) fn end(&mut self, connection: &mut Connection) {
        let Some(stream) = self.stream.take() else { return };
        let mut stream = connection.send_stream(stream);
        if let Err(FinishError::Stopped(code)) = stream.finish() {
            let _ = stream.reset(code);
        }
    }

    /// Whether records it has to deliver are gone from the window.
    pub(super) fn is_too_far_behind(&self, core: &Core) -> bool {
        self.subscription.is_too_far_behind(&core.window)
    }

    /// Whether all that there is now is with the connection.
    pub(super) fn is_up_to_date(&self, core: &Core) -> bool {
        self.rest.is_none() && self.subscription.is_up_to_date(&core.window)
    }

    /// Writes what is left of the last batch, then the next one; `written` becomes true when the connection has taken
    /// anything.
    pub(super) fn advance(
        &mut self,
        connection: &mut Connection,
        (core, hub, tally): (&Core, &Hub, &Tally),
        tools: &mut Tools,
        written: &mut bool,
    ) -> Delivered {
        let stream = match self.stream.or_else(|| connection.streams().open(Dir::Uni)) {
            Some(stream) => *self.stream.insert(stream),
            None => return Delivered::Stuck,
        };
        if let Some(mut rest) = self.rest.take() {
            match write(connection, stream, &mut rest.batch.chunks, &mut rest.at, written) {
                Ok(true) => hub.delivered(&rest.batch, rest.bytes, tally),
                Ok(false) => {
                    self.rest = Some(rest);
                    let behind = self.is_too_far_behind(core);
                    return if behind { Delivered::TooFarBehind } else { Delivered::Stuck };
                }
                Err(Unwanted) => return self.unwanted(connection),
            }
        }
        self.subscription.keep_up(core);
        let Tools { batch, now_ns, .. } = tools;
        match self.subscription.pull(&core.window, &hub.headers, *now_ns, batch) {
            Pulled::Write => {}
            Pulled::Idle => return Delivered::Nothing,
            Pulled::Wait(until_ns) => return Delivered::Wait(until_ns),
            Pulled::TooFarBehind => return Delivered::TooFarBehind,
        }
        let bytes = batch.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut at = 0;
        match write(connection, stream, &mut batch.chunks, &mut at, written) {
            Ok(true) => hub.delivered(batch, bytes, tally),
            Ok(false) => self.rest = Some(Box::new(Rest { batch: std::mem::take(batch), at, bytes })),
            Err(Unwanted) => return self.unwanted(connection),
        }
        Delivered::Batch
    }

    fn unwanted(&mut self, connection: &mut Connection) -> Delivered {
        self.end(connection);
        Delivered::Unwanted
    }
}

struct Unwanted;

/// Writes pieces from `at` on, as many as the connection takes: true when that is all.
fn write(
    connection: &mut Connection,
    stream: StreamId,
    chunks: &mut [Bytes],
    at: &mut usize,
    written: &mut bool,
) -> Result<bool, Unwanted> {
    let mut stream = connection.send_stream(stream);
    while let Some(rest) = chunks.get_mut(*at..).filter(|rest| !rest.is_empty()) {
        match stream.write_chunks(rest) {
            Ok(taken) => {
                *at += taken.chunks;
                *written = true;
            }
            Err(WriteError::Blocked) => return Ok(false),
            Err(_) => return Err(Unwanted),
        }
    }
    Ok(true)
}

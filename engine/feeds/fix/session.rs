//! One side of a FIX session: sequence numbers, heartbeats, test requests, resends. Pure: it is told what came and what
//! time it is, and collects what is to be sent. Source: FIX 4.4 specification, volume 2, "FIX session protocol".
//!
//! Every session begins at sequence number 1 (`141=Y`). After a jump of the other side's numbers the missing messages are
//! asked for, and the message that showed it is taken at once: prices do not wait for older prices.

use std::collections::VecDeque;

use super::{Draft, Message, number, time_of};

/// Application messages that are kept to be sent again: two for every symbol, and some.
const SENT_MAX: usize = 2_048;

/// Who talks to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// SenderCompID (49).
    pub sender: String,
    /// TargetCompID (56).
    pub target: String,
    /// SenderSubID (50); empty: none.
    pub sender_sub: String,
    /// TargetSubID (57); empty: none.
    pub target_sub: String,
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds UTC, for stamps.
    pub utc_ns: i64,
    /// Nanoseconds of a clock that is never set, for intervals.
    pub monotonic_ns: i64,
}

/// What is to be done with a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is the decoder's.
    Take,
    /// It is the decoder's, and so many messages before it are missing.
    TakeAfterGap(u64),
    /// It came before.
    Old,
}

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side logs out, in these words.
    Logout(String),
    /// The other side breaks the protocol.
    Broken(String),
    /// Nothing comes, not even an answer to a test request.
    Silent,
}

/// A session. What it wants to say is appended to `out`.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    // 0: neither side sends heartbeats.
    heartbeat_ns: i64,
    next_out: u64,
    next_in: u64,
    heard_ns: i64,
    said_ns: i64,
    // When a test request was sent that is not answered yet.
    tested_ns: Option<i64>,
    logged_out: bool,
    sent: VecDeque<Sent>,
    /// Bytes to send; whoever sends them takes them out.
    pub out: Vec<u8>,
}

#[derive(Debug)]
struct Sent {
    seq: u64,
    at_ns: i64,
    kind: &'static str,
    fields: Draft,
}

impl Session {
    /// A session before its logon.
    #[must_use]
    pub fn new(identity: Identity, heartbeat_ns: i64, now: Now) -> Session {
        Session {
            identity,
            heartbeat_ns,
            next_out: 1,
            next_in: 1,
            heard_ns: now.monotonic_ns,
            said_ns: now.monotonic_ns,
            tested_ns: None,
            logged_out: false,
            sent: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// The interval of heartbeats that the other side agreed to.
    pub fn set_heartbeat(&mut self, heartbeat_ns: i64) {
        self.heartbeat_ns = heartbeat_ns;
    }

    /// Sends a message of the session itself, which is never sent again.
    pub fn say(&mut self, kind: &'static str, fields: &Draft, now: Now) {
        let seq = self.next_out;
        self.next_out += 1;
        self.said_ns = now.monotonic_ns;
        self.write(kind, seq, now, None, fields);
    }

    /// Sends an application message, which is kept for when it is asked for again.
    pub fn request(&mut self, kind: &'static str, fields: Draft, now: Now) {
        let seq = self.next_out;
        self.say(kind, &fields, now);
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { seq, at_ns: now.utc_ns, kind, fields });
    }

    /// Sends a Logout, once.
    pub fn logout(&mut self, text: &str, now: Now) {
        if !std::mem::replace(&mut self.logged_out, true) {
            let fields = if text.is_empty() { Draft::default() } else { Draft::default().with(58, text) };
            self.say("5", &fields, now);
        }
    }

    /// Appends a message; `first_ns` is when it was sent for the first time, when this is not that.
    fn write(&mut self, kind: &str, seq: u64, now: Now, first_ns: Option<i64>, fields: &Draft) {
        let id = &self.identity;
        let mut draft = Draft::new(kind).with(49, &id.sender).with(56, &id.target);
        for (tag, value) in [(57, &id.target_sub), (50, &id.sender_sub)] {
            if !value.is_empty() {
                draft = draft.with(tag, value);
            }
        }
        draft = draft.number(34, seq);
        if let Some(first_ns) = first_ns {
            draft = draft.with(43, "Y").with(122, time_of(first_ns));
        }
        draft.with(52, time_of(now.utc_ns)).then(fields).write(&mut self.out);
    }

    /// Takes note of a frame that came, answers it where the session must, and says whose it is. What is no message is
    /// the decoder's, which refuses it; it has no number, so that it is asked for again when the next one comes.
    ///
    /// # Errors
    /// When the session is at its end; a Logout is on its way where one is due.
    #[inline]
    pub fn receive(&mut self, frame: &[u8], now: Now) -> Result<Heard, End> {
        let Ok(message) = Message::parse(frame) else { return Ok(Heard::Take) };
        self.heard_ns = now.monotonic_ns;
        self.tested_ns = None;
        let (seq, again) = header(&message);
        let Some(seq) = seq else {
            return Err(self.broken("a message without MsgSeqNum (34)".into(), now));
        };
        if message.kind == b"4" {
            return self.reset(&message, seq, now);
        }
        let heard = self.number(seq, again, now)?;
        match message.kind {
            b"W" | b"X" => {}
            _ if heard == Heard::Old => {}
            b"1" => {
                let echo = message.find(112).map_or_else(Draft::default, |id| Draft::default().with(112, id));
                self.say("0", &echo, now);
            }
            b"2" => self.resend(&message, now),
            b"5" => {
                self.logout("", now);
                return Err(End::Logout(message.words(58).unwrap_or_else(|| "logged out".into())));
            }
            _ => {}
        }
        Ok(heard)
    }

    /// Places a message by its number.
    fn number(&mut self, seq: u64, again: bool, now: Now) -> Result<Heard, End> {
        if seq == self.next_in {
            self.next_in += 1;
            return Ok(Heard::Take);
        }
        if seq > self.next_in {
            let fields = Draft::default().number(7, self.next_in).number(16, seq - 1);
            self.say("2", &fields, now);
            let missing = seq - self.next_in;
            self.next_in = seq + 1;
            return Ok(Heard::TakeAfterGap(missing));
        }
        if again {
            return Ok(Heard::Old);
        }
        let expected = self.next_in;
        Err(self.broken(format!("MsgSeqNum too low, expecting {expected} but received {seq}"), now))
    }

    /// SequenceReset: numbers that will not come, or (without GapFillFlag) a new count whatever came before.
    fn reset(&mut self, message: &Message<'_>, seq: u64, now: Now) -> Result<Heard, End> {
        let fills = message.find(123) == Some(b"Y");
        // Not all who fill a gap say that the number comes again (43), as they ought to.
        let heard = if fills && seq != self.next_in { self.number(seq, true, now)? } else { Heard::Take };
        match message.find(36).and_then(number) {
            // A part of a gap that was filled lies below what came since.
            Some(next) if next > seq && fills => self.next_in = self.next_in.max(next),
            Some(next) if next >= self.next_in && !fills => self.next_in = next,
            _ => {
                let text = "NewSeqNo (36) must be above the numbers so far";
                let fields =
                    Draft::default().number(45, seq).number(371, 36).with(372, "4").number(373, 5).with(58, text);
                self.say("3", &fields, now);
            }
        }
        Ok(heard)
    }

    /// Sends again what was asked for: requests as they were, the rest as a gap to skip.
    fn resend(&mut self, message: &Message<'_>, now: Now) {
        let asked = |tag| message.find(tag).and_then(number).unwrap_or(0);
        let last = match asked(16) {
            0 => self.next_out - 1,
            last => last.min(self.next_out - 1),
        };
        let mut next = asked(7).max(1);
        let sent = std::mem::take(&mut self.sent);
        for old in &sent {
            if !(next..=last).contains(&old.seq) {
                continue;
            }
            self.skip(next, old.seq, now);
            self.write(old.kind, old.seq, now, Some(old.at_ns), &old.fields);
            next = old.seq + 1;
        }
        self.sent = sent;
        self.skip(next, last + 1, now);
        self.said_ns = now.monotonic_ns;
    }

    /// Says that the numbers from `from` to before `to` will not be sent again.
    fn skip(&mut self, from: u64, to: u64, now: Now) {
        if from < to {
            self.write("4", from, now, Some(now.utc_ns), &Draft::default().with(123, "Y").number(36, to));
        }
    }

    fn broken(&mut self, text: String, now: Now) -> End {
        self.logout(&text, now);
        End::Broken(text)
    }

    /// When [`Session::tick`] has something to do, on the monotonic clock.
    #[inline]
    #[must_use]
    pub fn due_ns(&self) -> i64 {
        if self.heartbeat_ns == 0 {
            return i64::MAX;
        }
        let silence_ns = self.tested_ns.unwrap_or(self.heard_ns).saturating_add(self.patience_ns());
        silence_ns.min(self.said_ns.saturating_add(self.heartbeat_ns))
    }

    /// The interval and some time for the way.
    fn patience_ns(&self) -> i64 {
        self.heartbeat_ns.saturating_add(self.heartbeat_ns / 5)
    }

    /// Sends what is due: a heartbeat after an interval without a word of ours, a test request after one without a word
    /// of theirs.
    ///
    /// # Errors
    /// [`End::Silent`] when a test request is not answered in time.
    #[inline]
    pub fn tick(&mut self, now: Now) -> Result<(), End> {
        if now.monotonic_ns < self.due_ns() {
            return Ok(());
        }
        let since_ns = self.tested_ns.unwrap_or(self.heard_ns);
        if now.monotonic_ns - since_ns >= self.patience_ns() {
            if self.tested_ns.is_some() {
                return Err(End::Silent);
            }
            self.tested_ns = Some(now.monotonic_ns);
            let id = format!("TR-{}", self.next_out);
            self.say("1", &Draft::default().with(112, id), now);
        } else {
            self.say("0", &Draft::default(), now);
        }
        Ok(())
    }
}

/// MsgSeqNum and PossDupFlag, out of the fields before the first that is not of the header.
#[inline]
fn header(message: &Message<'_>) -> (Option<u64>, bool) {
    let (mut seq, mut again) = (None, false);
    for (tag, value) in message.fields().map_while(Result::ok) {
        match tag {
            34 => seq = number(value),
            43 => again = value == b"Y",
            // The other fields of a FIX 4.4 header.
            49 | 50 | 52 | 56 | 57 | 90 | 91 | 97 | 115 | 116 | 122 | 128 | 129 | 142..=145 | 212 | 213 | 347 | 369 => {
            }
            _ => break,
        }
    }
    (seq, again)
}

#[cfg(test)]
mod tests;

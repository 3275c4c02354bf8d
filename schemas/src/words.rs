//! The small enumerations of the records: one byte on the wire, one word in columns, JSON and metrics.

/// Declares an enumeration that is one byte on the wire and one word in text.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant = $code,)* }

        impl $name {
            /// Every value, in the order of its code.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The byte on the wire.
            #[must_use]
            pub const fn code(self) -> u8 { self as u8 }

            /// The value of a wire byte; `None` for a code this version does not know.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }

            /// The word in columns, JSON and metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The value of a word; `None` when there is no such word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
    };
}

words! {
    /// What a frame holds. Codes below 128 are records, the others control messages.
    Kind {
        /// A price from one source, with its verdict.
        Tick = 1 "tick",
        /// A trade from one source, with its verdict.
        Trade = 2 "trade",
        /// Our best bid and offer, or a private source's own.
        Quote = 3 "quote",
        /// Open, high, low and close of an interval.
        Bar = 4 "bar",
        /// A value computed from final bars.
        Indicator = 5 "indicator",
        /// A hole in the data, opened or closed.
        Gap = 6 "gap",
        /// A source changed its state.
        SourceState = 7 "source_state",
        /// The clock as the stages see it; in the journal only.
        Timer = 8 "timer",
        /// Inputs that were lost before the stages; in the journal only.
        Drop = 9 "drop",
        /// Reserved: results of slow work that re-enter the stages.
        External = 10 "external",
        /// Reserved: data fetched to mend a hole.
        Repair = 11 "repair",
        /// Reserved: a trading signal.
        Signal = 16 "signal",
        /// Reserved: an order or instruction addressed to a terminal.
        Command = 17 "command",
        /// Reserved: a terminal's acknowledgement of a command.
        Ack = 18 "ack",
    }
}

words! {
    /// The judgement on a tick or trade.
    Verdict {
        /// Counts everywhere.
        Accepted = 0 "accepted",
        /// Seen before inside the dedupe window.
        Duplicate = 1 "duplicate",
        /// Older than what this source already said.
        OutOfOrder = 2 "out_of_order",
        /// A refusing check failed; `reasons` says which.
        Refused = 3 "refused",
    }
}

words! {
    /// The state of a quote.
    QuoteState {
        /// Two or more sources, and no bid at or above the ask.
        Ok = 0 "ok",
        /// One source alone, likewise.
        Single = 1 "single",
        /// No live source is young enough; the prices are absent.
        Stale = 2 "stale",
        /// Best bid above best ask.
        Crossed = 3 "crossed",
        /// Best bid equal to best ask.
        Locked = 4 "locked",
    }
}

words! {
    /// The state of a source's connection.
    SourceStatus {
        /// Trying to connect, log in or subscribe.
        Connecting = 0 "connecting",
        /// Data flows.
        Live = 1 "live",
        /// Connected, but no market data for longer than allowed.
        Mute = 2 "mute",
        /// Not connected.
        Down = 3 "down",
        /// Stopped on purpose.
        Stopped = 4 "stopped",
    }
}

words! {
    /// Why a source changed its state, or why there is a hole.
    Cause {
        /// Nothing went wrong.
        None = 0 "none",
        /// The engine started.
        Start = 1 "start",
        /// The connection could not be made.
        ConnectFailed = 2 "connect_failed",
        /// The broker refused the credentials.
        LoginRefused = 3 "login_refused",
        /// The broker closed the connection.
        ClosedByPeer = 4 "closed_by_peer",
        /// Reading from the socket failed.
        ReadError = 5 "read_error",
        /// The broker said something that is not its protocol.
        ProtocolError = 6 "protocol_error",
        /// The socket was open, but no market data came.
        Mute = 7 "mute",
        /// The broker asked to slow down.
        RateLimited = 8 "rate_limited",
        /// Stopped on purpose.
        Stopped = 9 "stopped",
        /// The engine was not running.
        Restart = 10 "restart",
        /// The durable log could not keep up and inputs were dropped at the door.
        JournalFull = 11 "journal_full",
        /// The inbound ring was full and inputs were dropped at the door.
        RingFull = 12 "ring_full",
        /// A terminal asked for records older than the resume window.
        ResumeWindow = 13 "resume_window",
        /// The venue's own count says that messages are missing.
        SequenceJump = 14 "sequence_jump",
        /// Held back for as long as the source that it stands in for is live.
        Standby = 15 "standby",
    }
}

words! {
    /// The life of a hole in the data.
    GapState {
        /// Data is missing now.
        Open = 0 "open",
        /// Data flows again; what lies between is missing.
        Closed = 1 "closed",
        /// What was missing has been fetched.
        Repaired = 2 "repaired",
        /// What was missing cannot be fetched.
        Lost = 3 "lost",
    }
}

words! {
    /// What a repair of a hole brings.
    RepairStep {
        /// A bar of the hole, from the venue's history.
        Bar = 0 "bar",
        /// The last bar of the hole is there.
        Repaired = 1 "repaired",
        /// What was missing cannot be fetched, or no more of it.
        Lost = 2 "lost",
    }
}

words! {
    /// Who took liquidity in a trade.
    Aggressor {
        /// The source does not say.
        Unknown = 0 "unknown",
        /// The buyer crossed the spread.
        Buy = 1 "buy",
        /// The seller crossed the spread.
        Sell = 2 "sell",
    }
}

words! {
    /// Length of a bar.
    Timeframe {
        /// One minute.
        M1 = 1 "M1",
        /// Five minutes.
        M5 = 2 "M5",
        /// Fifteen minutes.
        M15 = 3 "M15",
        /// Thirty minutes.
        M30 = 4 "M30",
        /// One hour.
        H1 = 5 "H1",
        /// Four hours.
        H4 = 6 "H4",
        /// One trading day.
        D1 = 7 "D1",
        /// One trading week.
        W1 = 8 "W1",
        /// One month.
        MN = 9 "MN",
    }
}

words! {
    /// The state of a bar.
    BarState {
        /// Still forming: another record follows.
        Provisional = 0 "provisional",
        /// The interval is over.
        Final = 1 "final",
        /// Late data or a repair changed it after that.
        Revised = 2 "revised",
    }
}

words! {
    /// Where a bar comes from.
    Origin {
        /// Built here from ticks or quotes.
        Own = 0 "own",
        /// Asked of the venue now and then.
        Polled = 1 "polled",
        /// Fetched from the venue's history.
        Backfill = 2 "backfill",
        /// Fetched to mend a hole.
        Repair = 3 "repair",
    }
}

words! {
    /// Which price a bar is made of.
    Basis {
        /// Bid, ask and mid.
        Quote = 0 "quote",
        /// The bid alone.
        Bid = 1 "bid",
        /// The ask alone.
        Ask = 2 "ask",
        /// The mid alone.
        Mid = 3 "mid",
        /// Trades.
        Last = 4 "last",
    }
}

words! {
    /// Whether an indicator has seen enough bars.
    IndicatorState {
        /// Not yet: its values are absent or not what they will be.
        Warming = 0 "warming",
        /// Yes.
        Ready = 1 "ready",
    }
}

words! {
    /// The checks of the validate stage. The code is a bit number in `reasons` and `flags`.
    Check {
        /// A price of zero or less.
        NonPositive = 0 "non_positive",
        /// Bid above ask.
        Crossed = 1 "crossed",
        /// Wider than `max_spread`.
        Spread = 2 "spread",
        /// Further from the last good price than `max_price_change`.
        Jump = 3 "jump",
        /// Sooner after the previous tick than `min_tick_interval_ms`.
        Interval = 4 "interval",
        /// The source's stamp is older than `max_stale_ms`.
        Stale = 5 "stale",
        /// The source's stamp is further ahead than `max_future_ms`.
        Future = 6 "future",
        /// Outside the instrument's trading session.
        Session = 7 "session",
        /// A side of the book is empty.
        EmptySide = 8 "empty_side",
    }
}

impl Check {
    /// The bit of this check in `reasons` and `flags`.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Remarks on a quote: bits of its `flags`.
pub mod quote_flag {
    /// One source bids more than another asks. A crossed quote without it is one source crossed with itself.
    pub const CROSS_SOURCE: u8 = 1;
}

/// Remarks on a tick or trade beside the checks: bits of `flags` from 16 upwards.
pub mod flag {
    /// The source gave no stamp.
    pub const NO_EVENT_TIME: u32 = 1 << 16;
    /// The source's stamp is earlier than its previous one.
    pub const CLOCK_BACKWARDS: u32 = 1 << 17;
    /// The source's stamp lies after the receive time.
    pub const CLOCK_AHEAD: u32 = 1 << 18;
    /// A refused level persisted and was taken as the new level with this tick.
    pub const NEW_LEVEL: u32 = 1 << 19;
    /// The source sent it as the state on subscription, not as a change.
    pub const SNAPSHOT: u32 = 1 << 20;
    /// It was asked of the venue's past: never received live, and looked at by no check.
    pub const FETCHED: u32 = 1 << 21;
    /// It was asked for to mend a hole.
    pub const REPAIRED: u32 = 1 << 22;

    /// The flags that the feed sets; all others are the stages' and are computed anew in a replay.
    pub const FROM_FEED: u32 = NO_EVENT_TIME | SNAPSHOT;

    /// Each flag with its word.
    pub const WORDS: &[(u32, &str)] = &[
        (NO_EVENT_TIME, "no_event_time"),
        (CLOCK_BACKWARDS, "clock_backwards"),
        (CLOCK_AHEAD, "clock_ahead"),
        (NEW_LEVEL, "new_level"),
        (SNAPSHOT, "snapshot"),
        (FETCHED, "fetched"),
        (REPAIRED, "repaired"),
    ];

    /// The words of the bits set in `bits`, the checks' first.
    pub fn words(bits: u32) -> impl Iterator<Item = &'static str> {
        let checks = super::Check::ALL.iter().filter(move |c| bits & c.bit() != 0).map(|c| c.word());
        checks.chain(WORDS.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, word)| *word))
    }
}

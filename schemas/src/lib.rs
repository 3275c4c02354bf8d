//! Wire records and framing of Tickwire: what crosses a socket, the journal and the rings.
//!
//! Three parts: [`record`] is the layout of every record, [`frame`] the envelope they travel in, [`words`] the small
//! enumerations inside them. Byte offsets of everything are in `wire.md`, from which a client in another language can
//! be written. Here is no I/O, no clock, no async and no unsafe.
#![forbid(unsafe_code)]

pub mod control;
pub mod frame;
pub mod record;
pub mod words;

#[cfg(test)]
mod layout_tests;

/// Version of the records and frames described here; a reader refuses a greater one in `Hello` and `Welcome`.
pub const WIRE_VERSION: u8 = 1;

/// ALPN protocol name of the QUIC endpoint.
pub const ALPN: &[u8] = b"tickwire/1";

/// The longest datagram that our own terminals announce to take, bytes of UDP payload: a frame of 9,000 bytes ("jumbo") less
/// the headers of IPv6 and UDP. What a path carries is found out by both ends; most of the internet carries some 1,450.
pub const DATAGRAM_BYTES_MAX: u16 = 9000 - 40 - 8;

/// "No price": the value of an absent bid, ask or price field.
pub const NO_PRICE: i64 = i64::MIN;

/// "No size": the value of an absent size field.
pub const NO_SIZE: u64 = u64::MAX;

/// "No time": the value of an absent time field.
pub const NO_TIME: i64 = i64::MIN;

/// "No number": the value of an absent source sequence, trade id or count.
pub const NO_NUMBER: u64 = u64::MAX;

/// "No value": the bits of an absent indicator value, which are those of a quiet NaN. No other NaN ever stands there.
pub const NO_VALUE: u64 = 0x7FF8_0000_0000_0000;

/// `source_id` of the common price, and "no source" where a contributor is named.
pub const SOURCE_BEST: u32 = 0;

/// `instrument_id` that stands for every instrument of a source.
pub const INSTRUMENT_ALL: u32 = 0;

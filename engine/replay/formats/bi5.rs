//! Dukascopy's ticks: an hour to a file `HHh_ticks.bi5`, packed with LZMA, 20 bytes a tick, big endian: milliseconds of
//! the hour, ask, bid (whole numbers, scaled by the instrument's digits), ask volume, bid volume (binary32, in millions).
//! <https://www.dukascopy.com/swiss/english/marketwatch/historical/>
//!
//! Volumes stay in the vendor's unit, millions: a size is the shortest decimal that reads back as the same binary32,
//! which is what the vendor's own tools show. A file of no bytes is an hour without ticks.

use std::io;
use std::path::Path;

use super::{Names, Outcome};
use crate::market::{BrokerClock, Input, Price, Size};
use crate::replay::buffer::Buffer;

/// Bytes of a tick.
const TICK_BYTES: usize = 20;

const HOUR_MS: u32 = 3_600_000;

/// The decoder.
pub struct Bi5 {
    names: Names,
    clock: BrokerClock,
    date_ns: i64,
    hour_ns: i64,
    /// Billionths in one of the file's units.
    unit_e9: i64,
}

impl Bi5 {
    pub(super) fn new(names: Names, clock: BrokerClock, date_ns: i64, digits: u8) -> Bi5 {
        let unit_e9 = 10_i64.pow(9 - u32::from(digits.min(9)));
        Bi5 { names, clock, date_ns, hour_ns: 0, unit_e9 }
    }

    pub(super) fn begin(&mut self, file: &Path) -> Result<(), String> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hour = name.split_once("h_").and_then(|(hour, _)| hour.parse::<i64>().ok()).filter(|hour| *hour < 24);
        let hour = hour.ok_or("its name does not say the hour; expected a name such as 09h_ticks.bi5")?;
        self.hour_ns = self.date_ns + hour * i64::from(HOUR_MS) * 1_000_000;
        Ok(())
    }

    pub(super) fn next(&mut self, bytes: &mut Buffer, out: &mut Vec<Input>) -> io::Result<Outcome> {
        let whole = bytes.fill(TICK_BYTES)?;
        let number = bytes.offset() / TICK_BYTES as u64 + 1;
        let Some(tick) = bytes.available().first_chunk::<TICK_BYTES>().copied().filter(|_| whole) else {
            let rest = bytes.available().len();
            bytes.consume(rest);
            let problem = format!("tick {number}: {rest} bytes at the end of the file, expected {TICK_BYTES}");
            return Ok(if rest == 0 { Outcome::End } else { Outcome::Bad(problem) });
        };
        bytes.consume(TICK_BYTES);
        Ok(match self.tick(&tick) {
            Ok(input) => {
                out.push(input);
                Outcome::Read
            }
            Err(problem) => Outcome::Bad(format!("tick {number}: {problem}")),
        })
    }

    /// One tick.
    fn tick(&mut self, bytes: &[u8; TICK_BYTES]) -> Result<Input, String> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let ms = u32::from_be_bytes(word(0));
        if ms >= HOUR_MS {
            return Err(format!("{ms} milliseconds, expected less than an hour"));
        }
        let price = |at: usize| Price::from_e9(i64::from(u32::from_be_bytes(word(at))).checked_mul(self.unit_e9)?);
        let (ask, bid) = (price(4), price(8));
        let size = |name: &str, at: usize| {
            let volume = f32::from_be_bytes(word(at));
            size_of(volume).ok_or_else(|| format!("{name} volume is {volume}, expected millions with at most 8 digits"))
        };
        let sizes = (Some(size("bid", 16)?), Some(size("ask", 12)?));
        let at_ns = self.clock.utc_ns(self.hour_ns + i64::from(ms) * 1_000_000);
        Ok(self.names.tick(at_ns, (bid, ask), sizes))
    }
}

/// The shortest decimal that reads back as the same binary32; `None` for what is no size, or has more than 8 places.
fn size_of(volume: f32) -> Option<Size> {
    if !(0.0..1e9).contains(&volume) {
        return None;
    }
    // A double holds any such product to far more digits than the float has.
    let exact = f64::from(volume);
    let mut scale = 1_u64;
    for places in 0..=8 {
        let digits = (exact * scale as f64).round();
        if (digits / scale as f64) as f32 == volume {
            return Size::from_e8((digits as u64).checked_mul(10_u64.pow(8 - places))?);
        }
        scale *= 10;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn volumes_are_the_shortest_decimals() {
        for text in ["0", "0.75", "1.12", "1000000", "0.1", "16.6", "0.0001", "123456.7", "0.00000001"] {
            let expected: Size = text.parse().unwrap();
            assert_eq!(size_of(text.parse().unwrap()), Some(expected), "{text}");
        }
        // As the standard library prints them, wherever eight places suffice; beyond 2^24 whole numbers are exact here.
        let mut bits = 0x3580_0000_u32;
        while bits < 0x4B80_0000 {
            let volume = f32::from_bits(bits);
            let shown = volume.to_string();
            assert_eq!(size_of(volume), shown.parse().ok(), "{shown}");
            bits += 99_991;
        }
        for volume in [f32::NAN, -1.0, f32::INFINITY, 1e-9] {
            assert_eq!(size_of(volume), None, "{volume}");
        }
    }
}

//! CSV: one buffer that is used again and again, numbers written by hand.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::Columns;

/// What is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// A CSV file that grows.
pub(super) struct Csv {
    file: File,
    /// Rows, the last of which may be unfinished.
    buffer: Vec<u8>,
    length: u64,
    failed: Option<io::Error>,
}

impl Csv {
    pub(super) fn create(path: &Path, columns: Columns) -> io::Result<Csv> {
        let mut csv = Csv::on(File::create(path)?, 0);
        columns.iter().for_each(|(name, _)| csv.text(name.as_bytes()));
        csv.end_row();
        Ok(csv)
    }

    /// Opens a file again and cuts it to `length`.
    pub(super) fn resume(path: &Path, length: u64) -> io::Result<Csv> {
        let mut file = File::options().write(true).open(path)?;
        let found = file.metadata()?.len();
        if found < length {
            return Err(io::Error::other(format!(
                "it has {found} bytes, expected at least the {length} of the checkpoint"
            )));
        }
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Csv::on(file, length))
    }

    fn on(file: File, length: u64) -> Csv {
        Csv { file, buffer: Vec::with_capacity(BUFFER_BYTES + 4096), length, failed: None }
    }

    #[inline]
    pub(super) fn text(&mut self, text: &[u8]) {
        self.buffer.extend_from_slice(text);
        self.buffer.push(b',');
    }

    #[inline]
    pub(super) fn int(&mut self, value: i64) {
        if value < 0 {
            self.buffer.push(b'-');
        }
        push_digits(&mut self.buffer, value.unsigned_abs());
        self.buffer.push(b',');
    }

    #[inline]
    pub(super) fn price(&mut self, e9: Option<i64>) {
        if let Some(e9) = e9 {
            if e9 < 0 {
                self.buffer.push(b'-');
            }
            push_decimal(&mut self.buffer, e9.unsigned_abs(), 9);
        }
        self.buffer.push(b',');
    }

    #[inline]
    pub(super) fn size(&mut self, e8: Option<u64>) {
        if let Some(e8) = e8 {
            push_decimal(&mut self.buffer, e8, 8);
        }
        self.buffer.push(b',');
    }

    pub(super) fn value(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            // Writing to memory cannot fail.
            let _ = write!(self.buffer, "{value}");
        }
        self.buffer.push(b',');
    }

    #[inline]
    pub(super) fn end_row(&mut self) {
        if let Some(last) = self.buffer.last_mut() {
            *last = b'\n';
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.length += self.buffer.len() as u64,
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
        self.buffer.clear();
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Brings everything to the disk; the length of the file.
    pub(super) fn sync(&mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.sync_all()?;
        Ok(self.length)
    }
}

/// The digits of all numbers below a hundred.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[inline]
fn push_digits(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    while value >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Integer part, point, and the fraction without zeros at the end.
#[inline]
fn push_decimal(out: &mut Vec<u8>, magnitude: u64, places: usize) {
    let unit = 10_u64.pow(places as u32);
    push_digits(out, magnitude / unit);
    let mut fraction = magnitude % unit;
    if fraction == 0 {
        return;
    }
    let mut width = places;
    // Prices mostly have five digits.
    if fraction.is_multiple_of(10_000) {
        fraction /= 10_000;
        width -= 4;
    }
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        width -= 1;
    }
    let mut digits = [b'0'; 10];
    digits[0] = b'.';
    for at in (1..=width).rev() {
        digits[at] = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    out.extend_from_slice(&digits[..=width]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::{Price, Size};
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Csv)) -> String {
        let mut csv = Csv::on(tempfile::tempfile().unwrap(), 0);
        write(&mut csv);
        String::from_utf8(csv.buffer).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_everywhere_else(int in any::<i64>(), e9 in (i64::MIN + 1)..=i64::MAX, e8 in 0..u64::MAX, cut in 0..10_u32) {
            prop_assert_eq!(written(|csv| csv.int(int)), format!("{int},"));
            let e9 = e9 / 10_i64.pow(cut) * 10_i64.pow(cut);
            prop_assert_eq!(written(|csv| csv.price(Some(e9))), format!("{},", Price::from_e9(e9).unwrap()));
            prop_assert_eq!(written(|csv| csv.size(Some(e8))), format!("{},", Size::from_e8(e8).unwrap()));
        }
    }

    #[test]
    fn rows_end_in_lines_and_absent_fields_are_empty() {
        let row = written(|csv| {
            csv.int(-1);
            csv.price(None);
            csv.value(Some(0.1));
            csv.value(Some(1e-7));
            csv.end_row();
        });
        assert_eq!(row, "-1,,0.1,0.0000001\n");
    }
}

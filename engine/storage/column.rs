//! The column types that our tables use, in ClickHouse's RowBinary encoding: little endian, one value after another.

use tickwire_schemas::words::flag;
use tickwire_schemas::{NO_NUMBER, NO_PRICE, NO_SIZE, NO_TIME, NO_VALUE};

/// A column type: its name as the server spells it, and how a value of the wire is written.
pub(super) trait Column {
    /// The server's name of the type; it refuses an insert whose header says another.
    const TYPE: &'static str;
    /// The value as the records hold it.
    type Value<'a>;
    /// Appends the value.
    fn put(value: Self::Value<'_>, out: &mut Vec<u8>);
}

macro_rules! columns {
    ($($(#[$meta:meta])* $name:ident $type:literal |$value:ident: $from:ty, $out:ident| $put:expr;)*) => {$(
        $(#[$meta])*
        pub(super) struct $name;
        impl Column for $name {
            const TYPE: &'static str = $type;
            type Value<'a> = $from;
            fn put($value: $from, $out: &mut Vec<u8>) { $put }
        }
    )*};
}

columns! {
    /// Small counts.
    U8 "UInt8" |value: u8, out| out.push(value);
    /// Small counts.
    U16 "UInt16" |value: u16, out| out.extend_from_slice(&value.to_le_bytes());
    /// Numbers of epochs, sources and instruments.
    U32 "UInt32" |value: u32, out| out.extend_from_slice(&value.to_le_bytes());
    /// Sequence numbers and counts.
    U64 "UInt64" |value: u64, out| out.extend_from_slice(&value.to_le_bytes());
    /// Differences.
    I64 "Int64" |value: i64, out| out.extend_from_slice(&value.to_le_bytes());
    /// Percentages and rates: measured, no prices.
    F32 "Float32" |value: f32, out| out.extend_from_slice(&value.to_le_bytes());
    /// A difference that may be absent.
    OptI64 "Nullable(Int64)"
        |value: Option<i64>, out| nullable(value.is_some(), &value.unwrap_or_default().to_le_bytes(), out);
    /// Yes or no.
    Flag "Bool" |value: bool, out| out.push(u8::from(value));
    /// Seconds since 1970; before 1970 and after 2106 they do not fit and become the nearest that does.
    Second "DateTime('UTC')"
        |value: i64, out| out.extend_from_slice(&(value.clamp(0, i64::from(u32::MAX)) as u32).to_le_bytes());
    /// A number that may be absent.
    OptU64 "Nullable(UInt64)" |value: u64, out| nullable(value != NO_NUMBER, &value.to_le_bytes(), out);
    /// Nanoseconds.
    Time "DateTime64(9, 'UTC')" |value: i64, out| out.extend_from_slice(&value.to_le_bytes());
    /// Nanoseconds that may be absent.
    OptTime "Nullable(DateTime64(9, 'UTC'))" |value: i64, out| nullable(value != NO_TIME, &value.to_le_bytes(), out);
    /// Billionths.
    Price "Decimal(18, 9)" |value: i64, out| out.extend_from_slice(&value.to_le_bytes());
    /// Billionths that may be absent.
    OptPrice "Nullable(Decimal(18, 9))" |value: i64, out| nullable(value != NO_PRICE, &value.to_le_bytes(), out);
    /// Hundred-millionths that may be absent.
    OptSize "Nullable(Decimal(38, 8))"
        |value: u64, out| nullable(value != NO_SIZE, &i128::from(value).to_le_bytes(), out);
    /// The words of a set of bits.
    Words "Array(LowCardinality(String))" |bits: u32, out| {
        put_length(flag::words(bits).count(), out);
        flag::words(bits).for_each(|word| put_text(word, out));
    };
    /// Up to four values of an indicator; absent ones at the end are left away.
    Values "Array(Nullable(Float64))" |bits: [u64; 4], out| {
        let count = bits.iter().rposition(|v| *v != NO_VALUE).map_or(0, |at| at + 1);
        put_length(count, out);
        bits[..count].iter().for_each(|value| nullable(*value != NO_VALUE, &value.to_le_bytes(), out));
    };
}

/// How many of each of a few words.
pub(super) struct Counts;

impl Column for Counts {
    const TYPE: &'static str = "Map(LowCardinality(String), UInt64)";
    type Value<'a> = &'a [(&'static str, u64)];
    fn put(value: &[(&'static str, u64)], out: &mut Vec<u8>) {
        put_length(value.len(), out);
        for (word, count) in value {
            put_text(word, out);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }
}

/// One of few different texts.
pub(super) struct Text;

impl Column for Text {
    const TYPE: &'static str = "LowCardinality(String)";
    type Value<'a> = &'a str;
    fn put(value: &str, out: &mut Vec<u8>) {
        put_text(value, out);
    }
}

fn nullable(present: bool, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::from(!present));
    if present {
        out.extend_from_slice(bytes);
    }
}

/// A text with its length before it.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// A length in LEB128.
pub(super) fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<C: Column>(value: C::Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        C::put(value, &mut out);
        out
    }

    #[test]
    fn absent_values_are_null_and_present_ones_exact() {
        assert_eq!(encoded::<OptPrice>(NO_PRICE), [1]);
        assert_eq!(encoded::<OptPrice>(-1), [0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(encoded::<OptTime>(NO_TIME), [1]);
        assert_eq!(encoded::<OptU64>(NO_NUMBER), [1]);
        assert_eq!(encoded::<OptSize>(NO_SIZE), [1]);
        assert_eq!(encoded::<OptSize>(256)[..3], [0, 0, 1]);
        assert_eq!(encoded::<OptSize>(256).len(), 17);
    }

    #[test]
    fn lists_carry_their_length() {
        assert_eq!(encoded::<Words>(0), [0]);
        assert_eq!(encoded::<Words>(1 << 1), b"\x01\x07crossed");
        assert_eq!(encoded::<Values>([NO_VALUE; 4]), [0]);
        assert_eq!(encoded::<Values>([NO_VALUE, 1, NO_VALUE, NO_VALUE])[..3], [2, 1, 0]);
        assert_eq!(encoded::<Text>(&"x".repeat(200))[..2], [200, 1]);
    }
}

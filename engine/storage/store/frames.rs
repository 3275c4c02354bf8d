//! Bodies on the wire: ClickHouse's own compressed frames, the LZ4 frame format, or plain.
//!
//! A frame is 16 bytes checksum (CityHash128 v1.0.2 of all that follows, high half first), 1 byte method, `u32`
//! compressed size including these 9 bytes of header, `u32` raw size, payload; integers little-endian.

use std::io::Read;

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;

/// Largest raw frame accepted, in bytes; ClickHouse itself writes 1 MiB frames and refuses above 1 GiB.
const FRAME_MAX: usize = 64 << 20;

/// Raw size of the frames we write, in bytes.
const FRAME_RAW: usize = 1 << 20;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    Plain,
    /// ClickHouse's frames (`decompress=1`, `compress=1`).
    ClickHouse,
    /// LZ4 frame format (`Content-Encoding: lz4`).
    Lz4Frame,
}

/// Unpacks a whole body. Checks every checksum before it gives anything away, so that a torn body inserts nothing.
///
/// # Errors
/// One sentence: what is wrong and where; or that more than `limit` bytes would come out.
pub(super) fn unpack(body: &[u8], packing: Packing, limit: usize) -> Result<Vec<u8>, String> {
    match packing {
        Packing::Plain => Ok(body.to_vec()),
        Packing::Lz4Frame => {
            let mut raw = Vec::new();
            let decoder = lz4_flex::frame::FrameDecoder::new(body);
            decoder
                .take(limit as u64 + 1)
                .read_to_end(&mut raw)
                .map_err(|e| format!("the body is not a valid LZ4 frame: {e}"))?;
            if raw.len() > limit { Err(too_large(limit)) } else { Ok(raw) }
        }
        Packing::ClickHouse => unpack_frames(body, limit),
    }
}

fn too_large(limit: usize) -> String {
    format!("the unpacked body is larger than the limit of {limit} bytes")
}

fn unpack_frames(body: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let (mut at, mut total) = (0, 0usize);
    while at < body.len() {
        let frame = Frame::at(body, at)?;
        total += frame.raw_size;
        if total > limit {
            return Err(too_large(limit));
        }
        at = frame.end;
    }
    let mut raw = Vec::with_capacity(total);
    at = 0;
    while at < body.len() {
        let frame = Frame::at(body, at)?;
        frame.decode_into(&mut raw).map_err(|e| format!("the compressed frame at byte {at} {e}"))?;
        at = frame.end;
    }
    Ok(raw)
}

struct Frame<'a> {
    method: u8,
    raw_size: usize,
    payload: &'a [u8],
    end: usize,
}

impl<'a> Frame<'a> {
    fn at(body: &'a [u8], at: usize) -> Result<Self, String> {
        let wrong = |what: &str| format!("the compressed frame at byte {at} {what}");
        let (checksum, rest) = body[at..].split_at_checked(CHECKSUM).ok_or_else(|| wrong("is cut short"))?;
        let header: &[u8; HEADER] = rest.first_chunk().ok_or_else(|| wrong("is cut short"))?;
        let [method, c0, c1, c2, c3, r0, r1, r2, r3] = *header;
        let size = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
        let raw_size = u32::from_le_bytes([r0, r1, r2, r3]) as usize;
        if size < HEADER || raw_size > FRAME_MAX {
            return Err(wrong("has an impossible size"));
        }
        let hashed = rest.get(..size).ok_or_else(|| wrong("is cut short"))?;
        if checksum != checksum_of(hashed) {
            return Err(wrong("does not match its checksum"));
        }
        if method != METHOD_NONE && method != METHOD_LZ4 {
            return Err(wrong("is neither LZ4 (0x82) nor uncompressed (0x02)"));
        }
        Ok(Self { method, raw_size, payload: &hashed[HEADER..], end: at + CHECKSUM + size })
    }

    fn decode_into(&self, raw: &mut Vec<u8>) -> Result<(), String> {
        let start = raw.len();
        if self.method == METHOD_NONE {
            raw.extend_from_slice(self.payload);
        } else {
            raw.resize(start + self.raw_size, 0);
            let written = lz4_flex::block::decompress_into(self.payload, &mut raw[start..])
                .map_err(|e| format!("does not decompress: {e}"))?;
            raw.truncate(start + written);
        }
        if raw.len() - start == self.raw_size { Ok(()) } else { Err("has another raw size than it says".into()) }
    }
}

fn checksum_of(hashed: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(hashed).rotate_right(64).to_le_bytes()
}

/// Packs `raw` into ClickHouse's frames.
pub(super) fn pack_frames(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 2 + 64);
    for chunk in raw.chunks(FRAME_RAW) {
        let start = out.len();
        out.resize(start + CHECKSUM, 0);
        let payload = lz4_flex::block::compress(chunk);
        out.push(METHOD_LZ4);
        out.extend_from_slice(&((payload.len() + HEADER) as u32).to_le_bytes());
        out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
        out.extend_from_slice(&payload);
        let checksum = checksum_of(&out[start + CHECKSUM..]);
        out[start..start + CHECKSUM].copy_from_slice(&checksum);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_unpacks(raw in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(unpack(&pack_frames(&raw), Packing::ClickHouse, 5000).unwrap(), raw);
        }

        #[test]
        fn any_bytes_are_an_error_and_not_a_panic(raw in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(unpack(&raw, Packing::ClickHouse, 5000).is_err());
            let _ = unpack(&raw, Packing::Lz4Frame, 5000);
        }

        #[test]
        fn a_flipped_bit_is_seen(at in 0usize..1000, bit in 0u8..8) {
            let mut packed = pack_frames(&[7; 300]);
            let at = at % packed.len();
            packed[at] ^= 1 << bit;
            prop_assert!(unpack(&packed, Packing::ClickHouse, 5000).is_err());
        }
    }

    #[test]
    fn several_frames_and_the_limit() {
        let raw: Vec<u8> = (0..FRAME_RAW * 2 + 5).map(|n| (n % 251) as u8).collect();
        let packed = pack_frames(&raw);
        assert_eq!(unpack(&packed, Packing::ClickHouse, raw.len()).unwrap(), raw);
        assert!(unpack(&packed, Packing::ClickHouse, raw.len() - 1).unwrap_err().contains("limit"));
        assert!(unpack(&packed[..packed.len() - 1], Packing::ClickHouse, raw.len()).unwrap_err().contains("cut short"));
    }

    #[test]
    fn a_small_lz4_frame_that_grows_is_stopped() {
        use std::io::Write;
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(unpack(&packed, Packing::Lz4Frame, 1000).unwrap_err().contains("limit"));
    }
}

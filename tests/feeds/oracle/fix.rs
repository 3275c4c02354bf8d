//! What a message of prices of cTrader's says, read as a list of tags.

use tickwire::feeds::fix;

use super::{Level, Memory, Opinion, Said, Silence, Spoken, price, size, tick};

/// The fields of a message of FIX whose length and checksum are right.
fn tags(frame: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let body = frame.strip_suffix(b"\x01")?;
    let mut fields = Vec::new();
    for field in body.split(|b| *b == 1) {
        let at = field.iter().position(|b| *b == b'=')?;
        let tag = std::str::from_utf8(&field[..at]).ok()?;
        let is_tag = (1..=9).contains(&tag.len()) && !tag.starts_with('0') && tag.bytes().all(|b| b.is_ascii_digit());
        fields.push((is_tag.then(|| tag.parse().ok())??, &field[at + 1..]));
    }
    let trailer = frame.len().checked_sub(fields.last()?.1.len() + 4)?;
    let sum = frame[..trailer].iter().map(|b| u32::from(*b)).sum::<u32>() % 256;
    let number = |text: &[u8]| {
        std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<u32>().ok()
    };
    let [(8, b"FIX.4.4"), (9, length), (35, kind), .., (10, said)] = fields[..] else { return None };
    let body = trailer.checked_sub(frame.windows(4).position(|four| four == b"\x0135=")? + 1)?;
    let sound = length.len() <= 7 && said.len() <= 3 && !kind.is_empty();
    (sound && number(length)? as usize == body && number(said)? == sum).then_some(fields)
}

/// Whole prices alone (35=W): books go on from message to message, and are tested by themselves.
pub fn ctrader(frame: &[u8], name: &str, memory: &mut Memory) -> Opinion {
    let Some(fields) = tags(frame) else { return Ok(Vec::new()) };
    match fields[2].1 {
        b"W" => {}
        // Names of other numbers.
        b"y" => return Err(Silence::Connection),
        b"X" => return Err(Silence::Message),
        _ => return Ok(Vec::new()),
    }
    Ok(snapshot(&fields[3..fields.len() - 1], name, memory).unwrap_or_default())
}

fn snapshot(fields: &[(u32, &[u8])], name: &str, memory: &mut Memory) -> Spoken {
    // The entries behind 269: side, price, size, and whether they have an id.
    let mut entries: Vec<(&[u8], Level, bool)> = Vec::new();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).ok();
    let number = |value: &[u8]| {
        text(value).filter(|t| t.bytes().all(|b| b.is_ascii_digit()) && t.len() <= 18)?.parse::<u64>().ok()
    };
    for (tag, value) in fields {
        match tag {
            269 => entries.push((value, (None, None), false)),
            270 => entries.last_mut()?.1.0 = Some(price(&text(value)?)?),
            271 => entries.last_mut()?.1.1 = Some(size(&text(value)?)?),
            278 => {
                number(value)?;
                entries.last_mut()?.2 = true;
            }
            _ => {}
        }
    }
    let last = |wanted: u32| fields.iter().rev().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    if number(last(268)?)? != entries.len() as u64 || entries.len() > 1_000 {
        return None;
    }
    // The prelude gave the symbol the number 1.
    let symbol = last(55)?;
    if symbol != name.as_bytes() && number(symbol) != Some(1) {
        return None;
    }
    let ts_event_ns = Some(fix::time(last(122).or(last(52))?)?);
    entries.retain(|(side, _, _)| [&b"0"[..], b"1"].contains(side));
    if entries.iter().any(|(_, (at, _), _)| at.is_none()) {
        return None;
    }
    if last(43) == Some(b"Y") && entries.iter().all(|(_, _, known)| *known) {
        return None;
    }
    let best = |wanted: &[u8], sign: i64| -> Level {
        let mine = || entries.iter().filter(|(side, _, _)| *side == wanted).map(|(_, level, _)| *level);
        let Some(at) = mine().filter_map(|(at, _)| at).max_by_key(|at| i128::from(*at) * i128::from(sign)) else {
            return (None, None);
        };
        let much = mine().filter(|(other, _)| *other == Some(at)).map(|(_, much)| much);
        let sum = much.reduce(|a, b| a?.checked_add(b?).filter(|sum| *sum != u64::MAX));
        (Some(at), sum.flatten())
    };
    let snapshot = !std::mem::replace(&mut memory.seen, true);
    Some(vec![Said { ts_event_ns, snapshot, ..tick(best(b"0", 1), best(b"1", -1)) }])
}

//! Recordings: read once at the start, then played re-stamped to now with their spacing kept, `pace` times faster.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::{Format, Playback};
use super::event::{Event, Message, Quote};
use crate::clock;
use crate::market::{Price, Size};

const DAY_NS: i64 = 86_400_000_000_000;

/// One recorded row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Nanoseconds of recorded time after the start.
    pub(super) at_ns: i64,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Quote { symbol: usize, bid: Price, ask: Price },
    Message { symbol: usize, stream: Arc<str>, text: Vec<u8>, payload: Range<usize>, stamps: Vec<Stamp> },
}

/// Thirteen digits of milliseconds inside a message, and the moment they mean, counted like the row's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    at: usize,
    after_start_ns: i64,
}

/// The instant at which all recordings of the process start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    at: Instant,
    wall_ns: i64,
}

impl Row {
    /// Index among the simulator's symbols.
    pub(super) fn symbol(&self) -> usize {
        match &self.body {
            Body::Quote { symbol, .. } | Body::Message { symbol, .. } => *symbol,
        }
    }

    /// When the row is due.
    pub(super) fn due(&self, start: Start, pace: f64) -> Instant {
        start.at + Duration::from_nanos(paced(self.at_ns, pace).max(0).unsigned_abs())
    }

    /// The row with its stamps moved to now.
    pub(super) fn event(&self, start: Start, pace: f64) -> Event {
        match &self.body {
            Body::Quote { symbol, bid, ask } => Event::Quote(Quote {
                symbol: *symbol,
                event_ns: start.wall_ns + paced(self.at_ns, pace),
                bid: *bid,
                ask: *ask,
                bid_size: RECORDED_SIZE,
                ask_size: RECORDED_SIZE,
                update_id: 0,
            }),
            Body::Message { symbol, stream, text, payload, stamps } => {
                let mut text = text.clone();
                for stamp in stamps {
                    let millis = (start.wall_ns + paced(stamp.after_start_ns, pace)).div_euclid(1_000_000);
                    let digits = format!("{:013}", millis.max(0));
                    text[stamp.at..stamp.at + 13].copy_from_slice(&digits.as_bytes()[..13]);
                }
                Event::Message(Message {
                    symbol: *symbol,
                    stream: stream.clone(),
                    is_trade: is_trade(stream),
                    text: Bytes::from(text),
                    payload: payload.clone(),
                })
            }
        }
    }
}

/// The files of this format have no sizes; brokers that print one print this.
const RECORDED_SIZE: Size = match Size::from_e8(100_000_000) {
    Some(one) => one,
    None => panic!("one is a size"),
};

/// Recorded time in played time.
fn paced(ns: i64, pace: f64) -> i64 {
    // Whole paces, the usual ones, are divided exactly; others to a part in 2^53, which is below a nanosecond an hour.
    if pace.fract() == 0.0 { ns / (pace as i64).max(1) } else { (ns as f64 / pace) as i64 }
}

fn is_trade(stream: &str) -> bool {
    stream.ends_with("rade")
}

/// All rows of a simulator's recordings in the order in which they are played. `symbols` gets what they are about.
///
/// # Errors
/// One sentence naming the file, the line and what was expected.
pub(super) fn load(playbacks: &[Playback], symbols: &mut Vec<String>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for playback in playbacks {
        let file = playback.file.display();
        let bytes = read(&playback.file).map_err(|e| format!("{file}: {e}"))?;
        let added = match playback.format {
            Format::Lean => lean(playback, &bytes, index_of(&playback.symbol, symbols)),
            Format::Binance => binance(playback, &bytes, symbols),
        };
        rows.extend(added.map_err(|e| format!("{file}: {e}"))?);
    }
    // Stable: equal times keep the order of the files and of their lines.
    rows.sort_by_key(|row| row.at_ns);
    Ok(rows)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    if path.extension().is_some_and(|e| e == "zst") { zstd::decode_all(bytes.as_slice()) } else { Ok(bytes) }
}

fn index_of(name: &str, symbols: &mut Vec<String>) -> usize {
    symbols.iter().position(|s| s == name).unwrap_or_else(|| {
        symbols.push(name.to_string());
        symbols.len() - 1
    })
}

/// Cuts rows to the window and counts their time from its start (or from the first row, where none is given).
fn place<T>(playback: &Playback, rows: Vec<(i64, T)>) -> Result<(i64, Vec<(i64, T)>), String> {
    let (from, to) = playback.window_ns()?;
    let Some(first) = rows.first().map(|(ns, _)| *ns) else { return Ok((0, rows)) };
    let midnight = match playback.format {
        // The day in the file's name, in UTC, whatever zone its milliseconds are in.
        Format::Lean => (playback.midnight_ns()? + DAY_NS / 2).div_euclid(DAY_NS) * DAY_NS,
        Format::Binance => first.div_euclid(DAY_NS) * DAY_NS,
    };
    let origin = from.map_or(first, |from| midnight + from);
    let end = to.map_or(i64::MAX, |to| midnight + to);
    let kept = rows.into_iter().filter(|(ns, _)| (origin..end).contains(ns)).map(|(ns, row)| (ns - origin, row));
    Ok((origin, kept.collect()))
}

fn lean(playback: &Playback, bytes: &[u8], symbol: usize) -> Result<Vec<Row>, String> {
    let midnight = playback.midnight_ns()?;
    let mut rows = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let row = lean_row(line).ok_or_else(|| {
            format!("line {}: expected ms_since_midnight,bid,ask but found \"{}\"", number + 1, line.escape_ascii())
        })?;
        rows.push((midnight + row.0 * 1_000_000, (row.1, row.2)));
    }
    let (_, rows) = place(playback, rows)?;
    Ok(rows.into_iter().map(|(at_ns, (bid, ask))| Row { at_ns, body: Body::Quote { symbol, bid, ask } }).collect())
}

fn lean_row(line: &[u8]) -> Option<(i64, Price, Price)> {
    let mut fields = line.trim_ascii_end().split(|b| *b == b',');
    let millis = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let (bid, ask) = (Price::parse(fields.next()?).ok()?, Price::parse(fields.next()?).ok()?);
    fields.next().is_none().then_some((millis, bid, ask))
}

/// A line that is a quote or a trade of a combined stream: its text, stream and where its stamps stand.
type Recorded = (Vec<u8>, String, Vec<(usize, i64)>);

fn binance(playback: &Playback, bytes: &[u8], symbols: &mut Vec<String>) -> Result<Vec<Row>, String> {
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let (received, text) = split_receive_ns(line)
            .ok_or_else(|| format!("line {}: expected receive nanoseconds and a message", number + 1))?;
        if let Some(stream) = stream_of(text) {
            // Depth and whatever else was recorded is not for our subscribers.
            if stream.ends_with("@bookTicker") || is_trade(&stream) {
                lines.push((received, (text.to_vec(), stream, stamps(text))));
            }
        }
    }
    let (origin, lines) = place::<Recorded>(playback, lines)?;
    // The recorder's clock and the exchange's differ; the latest stamp is taken to have arrived at once.
    let of_line = |(at, (_, _, stamps)): &(i64, Recorded)| stamps.iter().map(|s| s.1 - origin - at).max();
    let ahead = lines.iter().filter_map(of_line).max().unwrap_or(0);
    let row = |(at_ns, (text, stream, stamps)): (i64, Recorded)| {
        let name = stream.split('@').next().unwrap_or_default().to_uppercase();
        let start = memchr::memmem::find(&text, b"\"data\":").map_or(0, |at| at + 7);
        let stamps = stamps.iter().map(|(at, ns)| Stamp { at: *at, after_start_ns: ns - origin - ahead }).collect();
        let payload = start..text.len().saturating_sub(1);
        Row {
            at_ns,
            body: Body::Message { symbol: index_of(&name, symbols), stream: stream.into(), text, payload, stamps },
        }
    };
    Ok(lines.into_iter().map(row).collect())
}

fn split_receive_ns(line: &[u8]) -> Option<(i64, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let received = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let text = line[space + 1..].trim_ascii_end();
    std::str::from_utf8(text).ok().map(|_| (received, text))
}

fn stream_of(text: &[u8]) -> Option<String> {
    let rest = text.strip_prefix(b"{\"stream\":\"")?;
    let end = memchr::memchr(b'"', rest)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// The event and trade times of a message: where their 13 digits stand, and what they say in nanoseconds.
fn stamps(text: &[u8]) -> Vec<(usize, i64)> {
    let mut found = Vec::new();
    for key in [b"\"E\":", b"\"T\":"] {
        if let Some(at) = memchr::memmem::find(text, key).map(|at| at + key.len()) {
            let digits = text.get(at..at + 13).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse().ok());
            if let Some(millis) = digits.filter(|_| !text.get(at + 13).is_some_and(u8::is_ascii_digit)) {
                let millis: i64 = millis;
                found.push((at, millis * 1_000_000));
            }
        }
    }
    found
}

/// Where a simulator stands in its recordings. Whoever holds it plays; a subscriber that comes back goes on from there.
#[derive(Debug)]
pub(super) struct Player {
    /// What is played.
    pub(super) rows: Vec<Row>,
    /// The first row not yet sent.
    pub(super) at: usize,
}

/// Lets all recordings of the process start at one instant.
#[derive(Debug)]
pub(super) struct Stage {
    waiting: Mutex<Waiting>,
    start: watch::Sender<Option<Start>>,
    delay: Duration,
}

#[derive(Debug)]
struct Waiting {
    names: Vec<String>,
    patient: bool,
}

impl Stage {
    /// Waits for the subscribers of the simulators `names`, but no longer than `delay` after the first.
    pub(super) fn new(names: Vec<String>, delay: Duration) -> Stage {
        let waiting = Mutex::new(Waiting { names, patient: false });
        Stage { waiting, start: watch::Sender::new(None), delay }
    }

    /// A subscriber came; `complete` when it takes everything that the simulator plays.
    pub(super) fn arrived(self: &Arc<Self>, name: &str, complete: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if complete {
            waiting.names.retain(|n| n != name);
        }
        if waiting.names.is_empty() {
            self.begin();
        } else if !waiting.patient {
            waiting.patient = true;
            let stage = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(stage.delay).await;
                stage.begin();
            });
        }
    }

    fn begin(&self) {
        self.start.send_if_modified(|start| {
            let first = start.is_none();
            start.get_or_insert_with(|| Start { at: Instant::now(), wall_ns: clock::now_ns() });
            first
        });
    }

    /// The start, once there is one.
    pub(super) async fn started(&self) -> Start {
        let mut watch = self.start.subscribe();
        loop {
            if let Some(start) = *watch.borrow_and_update() {
                return start;
            }
            if watch.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What the messages of terminals' bridges, of polled APIs and of socket.io say, by their documentation.

use tickwire::feeds::event::utc_time;
use tickwire::market::time_text::unix_by_magnitude;
use tickwire::market::{BrokerClock, BrokerTime};
use tickwire_schemas::words::Cause;

use super::venues::{booleans, numbers, texts, wholes};
use super::{Level, Memory, Node, Opinion, Said, Spoken, json, price, refusal, tick};

/// A side without a size.
fn side(text: &str) -> Option<Level> {
    Some((Some(price(text)?), None))
}

/// A side that may be empty: of a member that is there, once or more.
fn nullable(node: &Node<'_>, key: &str) -> Option<Option<String>> {
    let is_null = |value: &Node<'_>| matches!(value, Node::Null);
    node.all(&[key], |value| is_null(value) || value.number().is_some()).then_some(())?;
    node.get(key).map(|value| value.number().map(String::from))
}

/// What a polled price says: the first is the state, the one from before stands, any other is a change.
fn polled(said: Said, memory: &mut Memory) -> Said {
    if memory.told.as_ref() == Some(&said) {
        return Said { confirmed: true, ..Said::default() };
    }
    let snapshot = memory.told.replace(said.clone()).is_none();
    Said { snapshot, ..said }
}

/// An answer of the accounts API, behind the symbol that was asked for or by itself.
pub fn mtapi_accounts(frame: &[u8], symbol: &str, memory: &mut Memory) -> Opinion {
    let is_bare = matches!(frame.trim_ascii_start().first(), Some(b'{' | b'['));
    let line = frame.iter().position(|byte| *byte == b'\n').filter(|_| !is_bare);
    let (asked, body) = line.map_or((None, frame), |end| (Some(&frame[..end]), &frame[end + 1..]));
    json(body, |root| {
        let mut one = |item: &Node<'_>| Some(polled(account_price(item, asked, symbol)?, memory));
        if let Some(items) = root.items() {
            return Some(items.iter().filter_map(one).collect());
        }
        root.members()?;
        let harmless = |node: &Node<'_>| matches!(node, Node::Null | Node::Bool(false));
        if !root.all(&["error"], harmless) {
            return Some(vec![refusal(Cause::ProtocolError)]);
        }
        // Whichever of the two names comes last.
        let inner = root.members()?.iter().rev().find(|(key, _)| ["prices", "data"].contains(&key.as_str()));
        match inner {
            Some((_, list @ Node::Array(_))) => Some(list.items()?.iter().filter_map(one).collect()),
            Some((_, item @ Node::Object(_))) => Some(vec![one(item)?]),
            Some(_) => None,
            None => Some(vec![one(root)?]),
        }
    })
}

fn account_price(item: &Node<'_>, asked: Option<&[u8]>, symbol: &str) -> Option<Said> {
    item.all(&["symbol"], |name| matches!(name, Node::Null) || name.text().is_some()).then_some(())?;
    let (bid, ask) = (nullable(item, "bid")?, nullable(item, "ask")?);
    // A null is as if it were not there.
    let known = |keys: &'static [&str]| {
        let members = item.members()?.iter().rev();
        members.filter(|(_, value)| !matches!(value, Node::Null)).find(|(key, _)| keys.contains(&key.as_str()))
    };
    let name = known(&["symbol"]).and_then(|(_, name)| name.text()).map(str::as_bytes);
    let agrees = name.is_none() || asked.is_none() || name == asked;
    if !agrees || name.or(asked)? != symbol.as_bytes() || (bid.is_none() && ask.is_none()) {
        return None;
    }
    let ts_event_ns = match known(&["timestamp", "time"]) {
        Some((_, time)) => Some(any_time(time.number()?)?),
        None => None,
    };
    let level = |text: Option<String>| text.map_or(Some((None, None)), |text| side(&text));
    Some(Said { ts_event_ns, ..tick(level(bid)?, level(ask)?) })
}

/// ISO text, on the clock of UTC unless it says otherwise; seconds, which may have decimals; or milliseconds.
fn any_time(text: &str) -> Option<i64> {
    if let Ok(ns) = utc_time(text.as_bytes()) {
        return Some(ns);
    }
    if let Ok(whole) = text.parse::<u64>()
        && !text.starts_with('+')
    {
        return unix_by_magnitude(whole);
    }
    // With decimals it can only be seconds, of 1973 and later.
    price(text).filter(|ns| *ns >= 100_000_000 * 1_000_000_000)
}

/// By the layout in `any.rs`.
pub fn json_poll(root: &Node<'_>, symbol: &str, memory: &mut Memory) -> Spoken {
    let mut one = |item: &Node<'_>| -> Option<Said> {
        // What is configured must be there, and may be null.
        let value = |key: &str| match item.get(key)? {
            Node::Null => Some(None),
            other => other.number().map(Some),
        };
        let level = |text: Option<&str>| text.map_or(Some((None, None)), side);
        if item.get("symbol")?.text()? != symbol {
            return None;
        }
        let ts_event_ns = match value("time")? {
            Some(text) => Some(utc_time(text.as_bytes()).ok()?),
            None => None,
        };
        Some(polled(Said { ts_event_ns, ..tick(level(value("bid")?)?, level(value("ask")?)?) }, memory))
    };
    match root.get("prices")? {
        Node::Array(items) => Some(items.iter().filter_map(one).collect()),
        item @ Node::Object(_) => Some(vec![one(item)?]),
        _ => None,
    }
}

/// A packet of socket.io: a price is `42` and a list of a name and an update, which is JSON or a string of JSON.
pub fn fxcm(frame: &[u8], symbol: &str) -> Opinion {
    if let Some(words) = frame.strip_prefix(b"44") {
        let words = String::from_utf8_lossy(words);
        let slow = ["Too many", "too many", "ORA-20301"].iter().any(|part| words.contains(part));
        return Ok(vec![refusal(if slow { Cause::RateLimited } else { Cause::ProtocolError })]);
    }
    let Some(list) = frame.strip_prefix(b"42") else { return Ok(Vec::new()) };
    let mut packed = None;
    let spoken = json(list, |root| {
        let [name, update, ..] = root.items()? else { return None };
        let Node::Text(raw, text) = update else { return fxcm_update(update, name.text()?, symbol) };
        packed = Some((name.text()?.to_string(), text.clone())).filter(|_| has_plain_escapes(raw));
        None
    });
    match packed {
        Some((name, text)) => json(text.as_bytes(), |update| fxcm_update(update, &name, symbol)),
        None => spoken,
    }
}

/// Whether a string escapes only quotes and slashes: others are refused by design.
fn has_plain_escapes(raw: &str) -> bool {
    let rest = raw.replace("\\\\", "").replace("\\\"", "").replace("\\/", "");
    !rest.contains('\\')
}

fn fxcm_update(update: &Node<'_>, name: &str, symbol: &str) -> Spoken {
    update.members()?;
    texts(update, &["Symbol"])?;
    wholes(update, &["Updated"])?;
    let is_rate = |rate: &Node<'_>| matches!(rate, Node::Null) || rate.number().is_some();
    let are_rates = |rates: &Node<'_>| matches!(rates.items(), Some([bid, ask, ..]) if is_rate(bid) && is_rate(ask));
    update.all(&["Rates"], are_rates).then_some(())?;
    if update.get("Symbol").and_then(Node::text).unwrap_or(name) != symbol {
        return None;
    }
    let ts_event_ns = match update.get("Updated").and_then(Node::whole) {
        Some(time) => Some(unix_by_magnitude(time)?),
        None => None,
    };
    let level = |rate: &Node<'_>| rate.number().map_or(Some((None, None)), side);
    let [bid, ask, ..] = update.get("Rates")?.items()? else { return None };
    Some(vec![Said { ts_event_ns, ..tick(level(bid)?, level(ask)?) }])
}

/// `EURUSD:|:1.085150;1.085210`; with other numbers of fields it is something else.
pub fn dwx(frame: &[u8], symbol: &str) -> Opinion {
    let read = || -> Option<Said> {
        let (name, fields) = std::str::from_utf8(frame).ok()?.split_once(":|:")?;
        let fields: Vec<&str> = fields.split(';').collect();
        let [bid, ask] = fields[..] else { return None };
        (name == symbol).then_some(tick(side(bid)?, side(ask)?))
    };
    Ok(read().into_iter().collect())
}

pub fn mql5_json_api(root: &Node<'_>, symbol: &str) -> Spoken {
    root.members()?;
    texts(root, &["status", "symbol", "timeframe"])?;
    booleans(root, &["error"])?;
    numbers(root, &["lastError"])?;
    let three = |data: &Node<'_>| data.items().is_none_or(|all| all.iter().take(3).all(|n| n.number().is_some()));
    root.all(&["data"], three).then_some(())?;
    let said = |key: &str| root.get(key).and_then(Node::text);
    if root.get("error").and_then(Node::boolean) == Some(true) {
        // The numbers that are configured by default.
        return Some(vec![refusal(match root.get("lastError").and_then(Node::whole) {
            Some(64 | 65) => Cause::LoginRefused,
            Some(8 | 141 | 10_024) => Cause::RateLimited,
            _ => Cause::ProtocolError,
        })]);
    }
    if said("status")? == "DISCONNECTED" && root.get("type").is_none() {
        return Some(vec![refusal(Cause::ClosedByPeer)]);
    }
    if said("status")? != "CONNECTED" || said("timeframe")? != "TICK" || said("symbol")? != symbol {
        return None;
    }
    let [time, bid, ask, ..] = root.get("data")?.items()? else { return None };
    let server_ns = i64::try_from(time.whole()?).ok()?.checked_mul(1_000_000)?;
    // The broker's clock of `any.rs`.
    let rule: BrokerTime = "new-york-close".parse().unwrap();
    let ts_event_ns = Some(BrokerClock::new(rule).utc_ns(server_ns));
    Some(vec![Said { ts_event_ns, ..tick(side(bid.number()?)?, side(ask.number()?)?) }])
}

//! What each venue's messages say, by its documentation. `None` of a reader: nothing.

use tickwire::feeds::event::utc_time;
use tickwire::market::time_text::{date_time, unix_by_magnitude, unix_seconds};
use tickwire::market::{BrokerClock, BrokerTime};

use super::{Level, Memory, Node, Opinion, Said, Silence, Spoken, json, price, size, tick};

/// A clock of New York plus seven hours, in UTC.
fn broker_time(text: &str) -> Option<i64> {
    let time = date_time(text.as_bytes())?;
    let rule: BrokerTime = "new-york-close".parse().unwrap();
    Some(time.offset_ns.map_or_else(|| BrokerClock::new(rule).utc_ns(time.local_ns), |offset| time.local_ns - offset))
}

/// That the members of these names are what they must be, however often they come.
pub fn texts(node: &Node<'_>, keys: &[&str]) -> Option<()> {
    node.all(keys, |value| value.text().is_some()).then_some(())
}

pub fn wholes(node: &Node<'_>, keys: &[&str]) -> Option<()> {
    node.all(keys, |value| value.whole().is_some()).then_some(())
}

pub fn numbers(node: &Node<'_>, keys: &[&str]) -> Option<()> {
    node.all(keys, |value| value.number().is_some()).then_some(())
}

pub fn booleans(node: &Node<'_>, keys: &[&str]) -> Option<()> {
    node.all(keys, |value| value.boolean().is_some()).then_some(())
}

pub fn oanda(root: &Node<'_>, symbol: &str, memory: &mut Memory) -> Spoken {
    texts(root, &["type", "instrument", "time"])?;
    // Every list is looked at, the last counts.
    let side = |key: &str| -> Option<Option<(String, String)>> {
        let mut last = None;
        for (_, list) in root.members()?.iter().filter(|(name, _)| name == key) {
            last = None;
            if let Some(best) = list.items()?.first() {
                best.members()?;
                numbers(best, &["price", "liquidity"])?;
                last = Some((best.get("price")?.number()?.into(), best.get("liquidity")?.number()?.into()));
            }
        }
        Some(last)
    };
    let (bid, ask) = (side("bids")?, side("asks")?);
    if root.get("type")?.text()? != "PRICE" || root.get("instrument")?.text()? != symbol {
        return None;
    }
    let level = |side: Option<(String, String)>| match side {
        None => Some((None, None)),
        Some((at, much)) => Some((Some(price(&at)?), Some(size(&much)?))),
    };
    let (bid, ask) = (level(bid)?, level(ask)?);
    // The decoder has seen it, whatever the time says.
    let snapshot = !std::mem::replace(&mut memory.seen, true);
    let text = root.get("time")?.text()?.as_bytes();
    let rfc = date_time(text).and_then(|time| Some(time.local_ns - time.offset_ns?));
    let time = rfc.or_else(|| unix_seconds(text))?;
    Some(vec![Said { ts_event_ns: Some(time), snapshot, ..tick(bid, ask) }])
}

pub fn mtapi(root: &Node<'_>, symbol: &str) -> Spoken {
    texts(root, &["type", "code"])?;
    // Members of all of its data, one behind the other.
    let (mut name, mut bid, mut ask, mut time, mut utc) = (None, None, None, None, None);
    for (_, data) in root.members()?.iter().filter(|(key, _)| key == "data") {
        for (key, value) in data.members()? {
            match (key.as_str(), value) {
                ("symbol", _) => name = Some(value.text()?),
                ("bid", _) => bid = Some(value.number()?),
                ("ask", _) => ask = Some(value.number()?),
                ("time" | "timestampUTC", Node::Null) => {}
                ("time", _) => time = Some(value.text()?),
                ("timestampUTC", _) => utc = Some(value.whole()?),
                _ => {}
            }
        }
    }
    if root.get("code").is_some() || root.get("type")?.text()? != "Quote" || name? != symbol {
        return None;
    }
    let stamp = match (utc.and_then(unix_by_magnitude), time) {
        (Some(utc), _) => Some(utc),
        (None, Some(text)) => Some(broker_time(text)?),
        (None, None) => None,
    };
    Some(vec![Said { ts_event_ns: stamp, ..tick((Some(price(bid?)?), None), (Some(price(ask?)?), None)) }])
}

pub fn binance(root: &Node<'_>, symbol: &str) -> Spoken {
    // The fields are in the envelope or bare, and a message may have both.
    let (mut fields, mut refused, mut result, mut enveloped) = (Vec::new(), false, false, false);
    for member in root.members()? {
        let (key, value) = member;
        match key.as_str() {
            "data" => {
                enveloped = true;
                fields.extend(value.members()?);
            }
            "result" => result = true,
            "error" => {
                refused = true;
                value.members()?;
                numbers(value, &["code"])?;
            }
            "code" => {
                refused = true;
                value.number()?;
            }
            "stream" | "id" | "msg" => {}
            _ => fields.push(member),
        }
    }
    let (mut kind, mut name, mut update, mut id, mut time) = (None, None, None, None, None);
    let (mut paid, mut much, mut rests, mut market) = (None, None, None, true);
    let mut sides: [Option<&str>; 4] = [None; 4];
    for (key, value) in fields {
        match key.as_str() {
            "e" => kind = Some(value.text()?),
            "s" => name = Some(value.text()?),
            "u" => update = Some(value.whole()?),
            "t" => id = Some(value.whole()?),
            "T" => time = Some(value.whole()?),
            "p" => paid = Some(value.number()?),
            "q" => much = Some(value.number()?),
            "m" => rests = Some(value.boolean()?),
            "X" => market = value.text()? == "MARKET",
            "b" => sides[0] = value.number().or(sides[0]),
            "B" => sides[1] = value.number().or(sides[1]),
            "a" => sides[2] = value.number().or(sides[2]),
            "A" => sides[3] = value.number().or(sides[3]),
            _ => {}
        }
    }
    if (refused || result) && !enveloped {
        return None;
    }
    match kind {
        None | Some("bookTicker") => {
            let [bid, bid_size, ask, ask_size] = sides;
            let said = tick((Some(price(bid?)?), Some(size(bid_size?)?)), (Some(price(ask?)?), Some(size(ask_size?)?)));
            let stamp = time.and_then(unix_by_magnitude);
            (name? == symbol).then(|| vec![Said { number: update, ts_event_ns: stamp, ..said }])
        }
        Some("trade" | "aggTrade") if market || kind == Some("aggTrade") => {
            let aggregated =
                sides[2].filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
            let number = if kind == Some("trade") { id } else { aggregated };
            let (bid_e9, bid_size_e8) = (Some(price(paid?)?), Some(size(much?)?));
            let (ts_event_ns, bought) = (unix_by_magnitude(time?), !rests?);
            let said = Said { trade: true, bid_e9, bid_size_e8, ts_event_ns, number, bought, ..Said::default() };
            (name? == symbol).then(|| vec![said])
        }
        _ => None,
    }
}

/// A member that may be null, then it is as if it were not there.
fn optional<'a>(node: &Node<'a>, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::number)
}

pub fn kraken(root: &Node<'_>, symbol: &str) -> Spoken {
    root.members()?;
    texts(root, &["channel", "type"])?;
    booleans(root, &["success"])?;
    let is_null = |node: &Node<'_>| matches!(node, Node::Null);
    root.all(&["error"], |node| is_null(node) || node.text().is_some()).then_some(())?;
    let refused = !root.all(&["error"], is_null);
    if refused || root.get("method").is_some() || root.get("success").is_some() {
        return None;
    }
    let snapshot = root.get("type").and_then(Node::text) == Some("snapshot");
    let one = |item: &Node<'_>| -> Option<Said> {
        item.members()?;
        texts(item, &["symbol", "timestamp"])?;
        let stamp = item.get("timestamp").map(|text| utc_time(text.text()?.as_bytes()).ok());
        let ts_event_ns = match stamp {
            Some(stamp) => Some(stamp?),
            None => None,
        };
        if root.get("channel")?.text()? == "trade" {
            texts(item, &["side"])?;
            numbers(item, &["price", "qty"])?;
            wholes(item, &["trade_id"])?;
            let (bid_e9, bid_size_e8) = (Some(price(optional(item, "price")?)?), Some(size(optional(item, "qty")?)?));
            let bought = match item.get("side")?.text()? {
                "buy" => true,
                "sell" => false,
                _ => return None,
            };
            let number = item.get("trade_id").and_then(Node::whole);
            let said = Said { trade: true, bid_e9, bid_size_e8, ts_event_ns, number, bought, ..Said::default() };
            return (item.get("symbol")?.text()? == symbol).then_some(said);
        }
        let fits = |node: &Node<'_>| is_null(node) || node.number().is_some();
        item.all(&["bid", "bid_qty", "ask", "ask_qty"], fits).then_some(())?;
        let said = sides(item, ["bid", "bid_qty", "ask", "ask_qty"], |_| true)?;
        (item.get("symbol")?.text()? == symbol).then_some(Said { ts_event_ns, snapshot, ..said })
    };
    match root.get("channel")?.text()? {
        "ticker" | "trade" => Some(root.get("data")?.items()?.iter().filter_map(one).collect()),
        _ => None,
    }
}

/// Both sides out of their members, of which one may be missing.
fn sides(item: &Node<'_>, keys: [&str; 4], counts: impl Fn(&str) -> bool) -> Option<Said> {
    let [bid, bid_size, ask, ask_size] = keys.map(|key| optional(item, key).filter(|text| counts(text)));
    if bid.is_none() && ask.is_none() {
        return None;
    }
    let at = |text: Option<&str>| text.map_or(Some(None), |text| price(text).map(Some));
    let much = |text: Option<&str>| text.map_or(Some(None), |text| size(text).map(Some));
    Some(tick((at(bid)?, much(bid_size)?), (at(ask)?, much(ask_size)?)))
}

pub fn coinbase(frame: &[u8], symbol: &str, memory: &mut Memory) -> Opinion {
    let mut unknown = false;
    let spoken = json(frame, |root| {
        root.members()?;
        texts(root, &["channel", "timestamp", "type", "message"])?;
        wholes(root, &["sequence_num"])?;
        if root.get("type").is_some_and(|kind| kind.text() == Some("error")) {
            return None;
        }
        if let Some(number) = root.get("sequence_num").and_then(Node::whole) {
            let missing = memory.last.is_some_and(|last| number > last.saturating_add(1));
            memory.last = Some(memory.last.unwrap_or(0).max(number));
            if missing {
                return None;
            }
        }
        let channel = root.get("channel")?.text()?;
        // Books are followed elsewhere, against the venue's own.
        unknown = channel == "l2_data";
        if unknown || !["ticker", "ticker_batch", "market_trades"].contains(&channel) {
            return None;
        }
        let stamp = match root.get("timestamp") {
            Some(text) => utc_time(text.text()?.as_bytes()).ok().map(Some),
            None => Some(None),
        };
        let mut all = Vec::new();
        for event in root.get("events")?.items()? {
            // What is told stays told when a later one is broken.
            let Some(some) = coinbase_event(event, channel, stamp, symbol) else { return Some(all) };
            all.extend(some);
        }
        Some(all)
    });
    if unknown { Err(Silence::Message) } else { spoken }
}

fn coinbase_event(event: &Node<'_>, channel: &str, stamp: Option<Option<i64>>, symbol: &str) -> Spoken {
    event.members()?;
    texts(event, &["type", "product_id"])?;
    let snapshot = event.get("type").and_then(Node::text) == Some("snapshot");
    let list = if channel == "market_trades" { "trades" } else { "tickers" };
    let Some(items) = event.get(list).filter(|_| !(snapshot && list == "trades")) else { return Some(Vec::new()) };
    let of_symbol = |item: &Node<'_>| (item.get("product_id")?.text()? == symbol).then_some(());
    if list == "tickers" {
        let one = |item: &Node<'_>| -> Option<Said> {
            item.members()?;
            texts(item, &["product_id"])?;
            let keys = ["best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"];
            item.all(&keys, |node| matches!(node, Node::Null) || node.number().is_some()).then_some(())?;
            let said = sides(item, keys, |text| !text.is_empty())?;
            of_symbol(item)?;
            Some(Said { ts_event_ns: stamp?, snapshot, ..said })
        };
        return Some(items.items()?.iter().filter_map(one).collect());
    }
    let one = |item: &Node<'_>| -> Option<Said> {
        item.members()?;
        texts(item, &["product_id", "side", "time"])?;
        numbers(item, &["price", "size"])?;
        wholes(item, &["trade_id"])?;
        of_symbol(item)?;
        let ts_event_ns = match item.get("time") {
            Some(text) => Some(utc_time(text.text()?.as_bytes()).ok()?),
            None => None,
        };
        let (bid_e9, bid_size_e8) = (Some(price(optional(item, "price")?)?), Some(size(optional(item, "size")?)?));
        // The venue names the side of the maker.
        let bought = match item.get("side")?.text()? {
            "SELL" => true,
            "BUY" => false,
            _ => return None,
        };
        let number = item.get("trade_id").and_then(Node::whole);
        Some(Said { trade: true, bid_e9, bid_size_e8, ts_event_ns, number, bought, ..Said::default() })
    };
    // The newest comes first.
    Some(items.items()?.iter().rev().filter_map(one).collect())
}

pub fn bybit(root: &Node<'_>, symbol: &str) -> Spoken {
    root.members()?;
    texts(root, &["topic", "type", "ret_msg"])?;
    wholes(root, &["ts"])?;
    booleans(root, &["success"])?;
    if root.get("op").is_some() || root.get("success").is_some() {
        return None;
    }
    let (topic, data) = (root.get("topic").and_then(Node::text).unwrap_or_default(), root.get("data")?);
    if topic.starts_with("orderbook.1.") {
        if root.get("type")?.text()? != "snapshot" {
            return None;
        }
        texts(data, &["s"])?;
        wholes(data, &["u"])?;
        let side = |key: &str| -> Option<Level> {
            let mut last = (None, None);
            for (_, list) in data.members()?.iter().filter(|(name, _)| name == key) {
                last = match list.items()?.first() {
                    None => (None, None),
                    Some(best) => {
                        let [at, much, ..] = best.items()? else { return None };
                        (Some(at.number()?), Some(much.number()?))
                    }
                };
            }
            let at = last.0.map_or(Some(None), |text| price(text).map(Some))?;
            Some((at, last.1.map_or(Some(None), |text| size(text).map(Some))?))
        };
        let (bid, ask) = (side("b")?, side("a")?);
        if (bid.0.is_none() && ask.0.is_none()) || data.get("s")?.text()? != symbol {
            return None;
        }
        let stamp = root.get("ts").and_then(Node::whole).and_then(unix_by_magnitude);
        let snapshot = data.get("u").and_then(Node::whole) == Some(1);
        return Some(vec![Said { ts_event_ns: stamp, snapshot, ..tick(bid, ask) }]);
    }
    if !topic.starts_with("publicTrade.") {
        return None;
    }
    let (mut all, mut last, mut ordinal) = (Vec::new(), None, 0);
    for item in data.items()? {
        let Some(mut said) = bybit_trade(item, symbol) else { continue };
        ordinal = if said.ts_event_ns == last { ordinal + 1 } else { 0 };
        last = said.ts_event_ns;
        said.ts_event_ns = last.map(|ns| ns + ordinal);
        all.push(said);
    }
    Some(all)
}

fn bybit_trade(item: &Node<'_>, symbol: &str) -> Option<Said> {
    item.members()?;
    texts(item, &["s", "S"])?;
    numbers(item, &["p", "v"])?;
    wholes(item, &["T"])?;
    booleans(item, &["BT"])?;
    let (bid_e9, bid_size_e8) = (Some(price(optional(item, "p")?)?), Some(size(optional(item, "v")?)?));
    let bought = match item.get("S")?.text()? {
        "Buy" => true,
        "Sell" => false,
        _ => return None,
    };
    let block = item.get("BT").and_then(Node::boolean).unwrap_or(false);
    if block || item.get("s")?.text()? != symbol {
        return None;
    }
    let number = item.get("i").and_then(Node::whole);
    let ts_event_ns = item.get("T").and_then(Node::whole).and_then(unix_by_magnitude);
    Some(Said { trade: true, bid_e9, bid_size_e8, ts_event_ns, number, bought, ..Said::default() })
}

pub fn mtsocketapi(root: &Node<'_>, symbol: &str) -> Spoken {
    root.members()?;
    texts(root, &["MSG", "SYMBOL", "ERROR_DESCRIPTION"])?;
    numbers(root, &["BID", "ASK"])?;
    root.all(&["ERROR_ID"], |node| node.number().is_some_and(|text| text.parse::<i64>().is_ok())).then_some(())?;
    let error = root.get("ERROR_ID").and_then(Node::number).and_then(|text| text.parse::<i64>().ok());
    if error.is_some_and(|number| number != 0) || root.get("MSG")?.text()? != "QUOTE" {
        return None;
    }
    // A time that is no text is passed over.
    let times = root.members()?.iter().rev().filter(|(key, _)| key == "TIME");
    let stamp = match times.filter_map(|(_, node)| node.text()).next() {
        Some(text) => {
            if text.len() > 40 {
                return None;
            }
            let (date, rest) = text.split_at_checked(10).unwrap_or((text, ""));
            Some(broker_time(&format!("{}{rest}", date.replace('.', "-")))?)
        }
        None => None,
    };
    let (bid, ask) = (price(root.get("BID")?.number()?)?, price(root.get("ASK")?.number()?)?);
    let said = Said { ts_event_ns: stamp, ..tick((Some(bid), None), (Some(ask), None)) };
    (root.get("SYMBOL")?.text()? == symbol).then(|| vec![said])
}

/// By the layout in `any.rs`.
pub fn json_ws(root: &Node<'_>, symbol: &str) -> Spoken {
    let raw = |node: &Node<'_>| -> Option<String> {
        match node {
            Node::Bool(value) => Some(value.to_string()),
            other => other.number().map(String::from),
        }
    };
    if raw(root.get("type")?)? != "quote" {
        return None;
    }
    // The last member of a path, which need not be in the last of its parents.
    let inner = |key: &str| {
        let parents = root.members()?.iter().rev().filter(|(name, _)| name == "data");
        parents.filter_map(|(_, data)| data.get(key)).next()
    };
    if inner("s")?.text()? != symbol {
        return None;
    }
    let value = |node: &Node<'_>| match node {
        Node::Null => Some(None),
        other => raw(other).map(Some),
    };
    let at = |key| value(inner(key)?)?.map_or(Some(None), |text| price(&text).map(Some));
    let much = value(inner("A")?)?.map_or(Some(None), |text| size(&text).map(Some))?;
    let ms = |text: String| {
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction = format!("{fraction:0<6}");
        let ns = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        ns.checked_add(fraction[..6].parse::<i64>().ok()?).map(Some)
    };
    let ts_event_ns = value(root.get("ts")?)?.map_or(Some(None), ms)?;
    let number = match value(inner("n")?)? {
        Some(text) => Some(Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<u64>().ok()?),
        None => None,
    };
    Some(vec![Said { ts_event_ns, number, ..tick((at("b")?, None), (at("a")?, much)) }])
}

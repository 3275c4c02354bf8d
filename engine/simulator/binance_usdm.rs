//! Binance USD-M futures: spot's market streams with other paths and a few more fields.

use super::event::{Quote, Trade};
use super::symbols::{Symbol, fixed};

/// The path behind the part of the service that it belongs to, and the streams of that part. Trades added up are under
/// `/market` alone; what names no part is served like `/public`.
pub(super) fn part(path: &str) -> (&str, &'static [&'static str]) {
    match path.strip_prefix("/market") {
        Some(rest) => (rest, &["aggTrade"]),
        None => (path.strip_prefix("/public").unwrap_or(path), &["bookTicker", "trade"]),
    }
}

/// A best bid and ask as the exchange prints it: with an event name and times.
pub(super) fn book_ticker(quote: &Quote, symbol: &Symbol) -> String {
    let millis = quote.event_ns.div_euclid(1_000_000);
    format!(
        "{{\"e\":\"bookTicker\",\"u\":{},\"s\":\"{}\",\"b\":\"{}\",\"B\":\"{}\",\"a\":\"{}\",\"A\":\"{}\",\"T\":{millis},\
         \"E\":{millis}}}",
        quote.update_id,
        symbol.name,
        fixed(quote.bid, symbol.digits),
        quote.bid_size,
        fixed(quote.ask, symbol.digits),
        quote.ask_size,
    )
}

/// A trade as the exchange prints it; `added_up` for the stream `aggTrade`, of which each fill is one here.
pub(super) fn trade_json(trade: &Trade, symbol: &Symbol, added_up: bool) -> String {
    let (millis, id, name) = (trade.event_ns.div_euclid(1_000_000), trade.id, &symbol.name);
    let (price, size) = (fixed(trade.price, symbol.digits), trade.size);
    let maker = trade.buyer_is_maker;
    if added_up {
        return format!(
            "{{\"e\":\"aggTrade\",\"E\":{millis},\"a\":{id},\"s\":\"{name}\",\"p\":\"{price}\",\"q\":\"{size}\",\"f\":{id},\
             \"l\":{id},\"T\":{millis},\"m\":{maker}}}"
        );
    }
    format!(
        "{{\"e\":\"trade\",\"E\":{millis},\"T\":{millis},\"s\":\"{name}\",\"t\":{id},\"p\":\"{price}\",\"q\":\"{size}\",\
         \"X\":\"MARKET\",\"m\":{maker}}}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_are_written_as_recorded() {
        let (bid, ask) = ("61800.2".parse().unwrap(), "61800.3".parse().unwrap());
        let (bid_size, ask_size) = ("2.507".parse().unwrap(), "2.51".parse().unwrap());
        let event_ns = 1_723_161_256_313_999_999;
        let quote = Quote { symbol: 0, event_ns, bid, ask, bid_size, ask_size, update_id: 5_123_107_839_020 };
        let symbol = Symbol::named("BTCUSDT");
        assert_eq!(
            book_ticker(&quote, &symbol),
            r#"{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.51","T":1723161256313,"E":1723161256313}"#
        );
        let made = Trade { symbol: 0, event_ns, price: ask, size: bid_size, id: 5_266_583_937, buyer_is_maker: false };
        assert_eq!(
            trade_json(&made, &symbol, false),
            r#"{"e":"trade","E":1723161256313,"T":1723161256313,"s":"BTCUSDT","t":5266583937,"p":"61800.30","q":"2.507","X":"MARKET","m":false}"#
        );
        assert_eq!(part("/market/stream"), ("/stream", &["aggTrade"][..]));
        assert_eq!(part("/public/ws/a@trade").0, "/ws/a@trade");
        assert_eq!(part("/stream"), ("/stream", &["bookTicker", "trade"][..]));
    }
}

//! Every adapter with keys that suffice to build it, and messages of its venue: what tests and tools over the whole list
//! begin with. A new adapter needs an entry in [`KEYS`]; further messages make its tests see more.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)] // Each test binary uses its part.

use std::path::Path;
use std::sync::Arc;

use tickwire::config::Config;
use tickwire::feeds::adapters::{AdapterEntry, AnyDecoder, Venue};
use tickwire::feeds::config::sources;
use tickwire::feeds::event::Symbols;
use tickwire::feeds::fix::Draft;
use tickwire::market::{InstrumentId, SourceId};

/// Keys of any adapter that it does not connect with.
pub const KEYS: &[(&str, &str)] = &[
    ("oanda", "base_url = \"http://h\"\naccount = \"1-2\"\ntoken = \"t\""),
    (
        "mtapi",
        "base_url = \"http://h\"\nuser = \"1\"\npassword = \"p\"\nserver = \"s\"\nbroker_time = \"new-york-close\"",
    ),
    ("binance", "base_url = \"ws://h\""),
    ("binance_usdm", "base_url = \"ws://h\""),
    ("kraken", "base_url = \"ws://h\""),
    ("coinbase", "base_url = \"ws://h\""),
    ("bybit", "base_url = \"ws://h\""),
    ("ctrader", "base_url = \"tcp://h:1\"\nsender_comp_id = \"a.b.1\"\nusername = \"1\"\npassword = \"p\""),
    ("fxcm", "base_url = \"http://h\"\ntoken = \"t\""),
    ("mtapi-accounts", "base_url = \"http://h\"\naccount = \"7\"\nkey = \"k\""),
    ("dwx", "host = \"h\"\nbroker_time = \"new-york-close\""),
    ("mql5-json-api", "host = \"h\"\nbroker_time = \"new-york-close\""),
    ("mtsocketapi", "host = \"h\"\nbroker_time = \"new-york-close\""),
    (
        "json-ws",
        "url = \"ws://h\"\nfields = { symbol = \"data.s\", bid = \"data.b\", ask = \"data.a\", ask_size = \"data.A\", time = \"ts\", sequence = \"data.n\", filter = { type = \"quote\" } }",
    ),
    (
        "json-poll",
        "url = \"http://h\"\ninterval_ms = 1\nfields = { items = \"prices\", symbol = \"symbol\", bid = \"bid\", ask = \"ask\", time = \"time\", time_unit = \"iso\" }",
    ),
];

/// Messages of a venue beside its example, all of which its decoder takes for what they are.
const MESSAGES: &[(&str, &[&str])] = &[
    (
        "oanda",
        &[
            r#"{"type":"HEARTBEAT","time":"2016-10-27T08:38:44.327443673Z"}"#,
            r#"{"type":"PRICE","time":"1477557524.327443673","bids":[{"price":"1.18571","liquidity":1000000},{"price":"1.18570","liquidity":2000000.0}],"asks":[],"closeoutBid":"1.18571","closeoutAsk":"1.18671","status":"tradeable","tradeable":true,"instrument":"EUR_USD"}"#,
            r#"{"errorMessage":"Insufficient authorization to perform request."}"#,
        ],
    ),
    (
        "mtapi",
        &[
            r#"{"type":"Quote","id":"7c0f1b3a","data":{"symbol":"EURUSD","bid":1.0851,"ask":1.0852,"time":"2024-05-17T10:15:30","timestampUTC":1715940930123}}"#,
            r#"{"message":"Client with this id not found","code":"INVALID_TOKEN","stackTrace":null}"#,
        ],
    ),
    (
        "binance",
        &[
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#,
            r#"{"u":400900217,"s":"BTCUSDT","b":"61837.63","B":"3.78826","a":"61837.64","A":"1.54698"}"#,
            r#"{"result":null,"id":1}"#,
            r#"{"error":{"code":-1003,"msg":"Too many requests"}}"#,
            r#"{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1.5","2"]],"a":[]}}"#,
        ],
    ),
    (
        "binance_usdm",
        &[
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"T":1723161255342,"s":"BTCUSDT","t":3735683259,"p":"61837.60","q":"0.02","X":"MARKET","m":true}}"#,
            r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"T":1723161255342,"s":"BTCUSDT","t":3735683259,"p":"61837.60","q":"0.02","X":"INSURANCE_FUND","m":true}}"#,
            r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161255343,"a":5933014,"s":"BTCUSDT","p":"0.001","q":"100","f":100,"l":105,"T":1723161255343,"m":false}}"#,
        ],
    ),
    (
        "kraken",
        &[
            r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":105944.2,"qty":0.01,"ord_type":"market","trade_id":4665906,"timestamp":"2025-06-01T09:30:59.123456Z"}]}"#,
            r#"{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":null,"bid_qty":null,"ask":105944.30,"ask_qty":3.2}]}"#,
            r#"{"channel":"heartbeat"}"#,
            r#"{"error":"Currency pair not supported","method":"subscribe","success":false,"symbol":"X/Y"}"#,
        ],
    ),
    (
        "coinbase",
        &[
            r#"{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.229198328Z","sequence_num":1,"events":[{"type":"update","trades":[{"trade_id":"907","product_id":"BTC-USD","price":"65083.66","size":"0.001","time":"2026-08-09T21:05:48.1Z","side":"BUY"},{"trade_id":"906","product_id":"BTC-USD","price":"65083.67","size":"0.002","time":"2026-08-09T21:05:48Z","side":"SELL"}]}]}"#,
            r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.229198328Z","sequence_num":1,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"65083.66","new_quantity":"0.2"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"65083.67","new_quantity":"0.3"}]}]}"#,
            r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.3Z","sequence_num":1,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-08-09T21:05:48.3Z","price_level":"65083.66","new_quantity":"0"},{"side":"bid","event_time":"2026-08-09T21:05:48.3Z","price_level":"65083.65","new_quantity":"1.5"}]}]}"#,
            r#"{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48Z","sequence_num":1,"events":[{"current_time":"2026-08-09 21:05:48 +0000 UTC","heartbeat_counter":3049}]}"#,
            r#"{"type":"error","message":"rate limit exceeded"}"#,
        ],
    ),
    (
        "bybit",
        &[
            r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false},{"T":1672304486865,"s":"BTCUSDT","S":"Sell","v":"0.002","p":"16578.40","i":"123","BT":false}]}"#,
            r#"{"topic":"orderbook.1.BTCUSDT","ts":1672304484979,"type":"snapshot","data":{"s":"BTCUSDT","b":[],"a":[["16611.00","0.029"]],"u":1,"seq":7961638725},"cts":1672304484976}"#,
            r#"{"success":true,"ret_msg":"pong","conn_id":"1","req_id":"ping","op":"ping"}"#,
        ],
    ),
    (
        "mtsocketapi",
        &[
            r#"{"MSG":"QUOTE","SYMBOL":"EURUSD","ASK":1.08521,"BID":1.08515,"FLAGS":6,"TIME":"2024-05-17T07:15:30.123Z"}"#,
            r#"{"MSG":"TRACK_PRICES","ERROR_ID":0,"ERROR_DESCRIPTION":"ok"}"#,
            r#"{"MSG":"X","ERROR_ID":65}"#,
        ],
    ),
    (
        "json-ws",
        &[
            r#"{"type":"quote","ts":"1715940930","data":{"s":"EURUSD","b":"1.0851","a":null,"A":null,"n":43,"more":[1,{"a":null}]}}"#,
            r#"{"type":"pong"}"#,
        ],
    ),
    (
        "json-poll",
        &[
            r#"{"prices":[{"symbol":"EURUSD","bid":1.0852,"ask":1.0853,"time":"2024-05-17T10:15:31Z"},{"symbol":"EURUSD","bid":1.0852,"ask":1.0853,"time":"2024-05-17T10:15:31Z"}]}"#,
            r#"{"prices":[]}"#,
        ],
    ),
    (
        "mtapi-accounts",
        &[
            "EURUSD\n{\"bid\":1.0851,\"ask\":1.08523,\"timestamp\":1715940930123}",
            r#"[{"symbol":"EURUSD","bid":1.0852,"ask":null,"time":1715940930.5},{"symbol":"US30","bid":1,"ask":2},{"symbol":"EURUSD","bid":1.0852,"ask":1.0853,"time":null}]"#,
            r#"{"prices":[{"symbol":"EURUSD","bid":"1.0852","ask":"1.0853","time":"2024-05-17T10:15:31+02:00"},{"symbol":"EURUSD","bid":"1.0852","ask":"1.0853","time":"2024-05-17T10:15:31+02:00"}]}"#,
            r#"{"data":{"symbol":"EURUSD","bid":1.0851,"ask":1.0852},"error":null}"#,
            r#"{"error":"NOT_FOUND","message":"Account not found"}"#,
        ],
    ),
    (
        "fxcm",
        &[
            r#"42["EUR/USD","{\"Updated\":1504167080,\"Rates\":[1.17614,1.17637,1.1771,1.17298],\"Symbol\":\"EUR\\/USD\"}"]"#,
            r#"42["EUR/USD",{"Updated":1504167080,"Rates":[null,1.17637]}]"#,
            r#"0{"sid":"yk8Zw7","upgrades":[],"pingInterval":25000,"pingTimeout":60000}"#,
            "40",
            "3",
            r#"44"Session ended""#,
            r#"44"ORA-20301: Too many calls""#,
        ],
    ),
    ("dwx", &["EURUSD_M5:|:1581611100;1.085250;1.085250;1.085200;1.085200;10;0;0", "EURUSD:|:"]),
    (
        "mql5-json-api",
        &[
            r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"TICK","data":[1581611172734,1.08515,1.08521]}"#,
            r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"M1","data":[1581611100,1.08525,1.08525,1.08520,1.08520,10.0]}"#,
            r#"{"status":"DISCONNECTED"}"#,
            r#"{"error":true,"lastError":"4301","description":"Unknown symbol","function":"f"}"#,
            r#"{"error":true,"lastError":"10024","description":"d","function":"f"}"#,
        ],
    ),
];

/// Messages of cTrader's: FIX is not written by hand.
fn ctrader() -> Vec<Vec<u8>> {
    let head = |kind, seq| Draft::new(kind).number(34, seq).with(52, "20260916-14:57:53.010");
    let book = (0..6).fold(head("W", 3).with(55, "1").with(268, "6"), |draft, at| {
        let (side, price) = if at % 2 == 0 { ("0", format!("1.08{at}")) } else { ("1", format!("1.09{at}")) };
        draft.with(269, side).with(270, price).with(271, "1000000").number(278, at)
    });
    let changes = head("X", 4).with(262, "EURUSD").with(268, "3");
    let changes = changes.with(279, "2").with(278, "1").with(55, "1").with(279, "0").with(269, "0").with(270, "1.0855");
    let changes =
        changes.with(271, "5").with(278, "77").with(55, "1").with(279, "1").with(271, "7").with(278, "2").with(55, "1");
    let spot = head("W", 5).with(55, "1").with(268, "1").with(269, "0").with(270, "1.0851");
    let mut drafts = vec![book, changes, spot, head("0", 6), head("1", 7).with(112, "TEST")];
    drafts.push(head("4", 8).with(123, "Y").with(36, "12"));
    drafts.push(head("2", 9).with(7, "1").with(16, "0"));
    drafts.push(head("Y", 10).with(262, "EURUSD").with(281, "0").with(58, "unknown"));
    drafts.push(head("5", 11).with(58, "bye"));
    drafts.push(head("W", 3).with(43, "Y").with(122, "20260916-14:57:50").with(55, "1").with(268, "0"));
    drafts.iter().map(Draft::finish).collect()
}

/// Messages of an adapter's venue beside its example.
pub fn messages(name: &str) -> Vec<Vec<u8>> {
    if name == "ctrader" {
        return ctrader();
    }
    let found = MESSAGES.iter().find(|(adapter, _)| *adapter == name);
    found.map_or(Vec::new(), |(_, messages)| messages.iter().map(|message| message.as_bytes().to_vec()).collect())
}

/// An adapter that was built, with the symbol of its example.
pub struct Any {
    /// Its entry.
    pub entry: AdapterEntry,
    /// What it made of its keys.
    pub venue: Arc<dyn Venue>,
    /// The one symbol of its example, instrument 1 of source 1.
    pub symbols: Symbols,
}

impl Any {
    /// An adapter of the list, with the keys above.
    pub fn new(entry: AdapterEntry) -> Any {
        let name = entry.name;
        let keys = KEYS.iter().find(|(adapter, _)| *adapter == name);
        let keys = keys.unwrap_or_else(|| panic!("tests/feeds/any.rs has no keys of the adapter {name}")).1;
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let text = format!("[sources.one]\nadapter = \"{name}\"\nsymbols = [\"{}\"]\n{keys}", entry.example.0);
        config.overlay(&text, "test").unwrap();
        let spec = sources(&config).unwrap().remove(0);
        let wire = spec.venue.wire_symbol(&spec.symbols[0].venue);
        Any { entry, venue: spec.venue, symbols: Symbols::new(SourceId(1), [(wire, InstrumentId(1))]) }
    }

    /// A decoder that has heard the prelude.
    pub fn decoder(&self) -> AnyDecoder {
        let mut decode = self.venue.any_decoder(&self.symbols);
        self.entry.prelude.iter().for_each(|heard| decode(heard.as_bytes(), 5, &self.symbols, &mut |_| {}));
        decode
    }

    /// Whether its messages are JSON, by themselves or behind a few bytes.
    pub fn is_json(&self) -> bool {
        self.split(self.entry.example.1.as_bytes()).is_some_and(|(_, json)| matches!(json.first(), Some(b'{' | b'[')))
    }

    /// Whether its messages are FIX.
    pub fn is_fix(&self) -> bool {
        self.entry.example.1.starts_with("8=FIX")
    }

    /// What stands in front of the JSON of a message, and the JSON; `None` of a packet of socket.io that has none.
    pub fn split<'a>(&self, message: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let bare = matches!(message.trim_ascii_start().first(), Some(b'{' | b'[') | None);
        let asked = || message.iter().position(|byte| *byte == b'\n').filter(|_| !bare);
        match self.entry.name {
            "fxcm" => message.starts_with(b"42").then(|| message.split_at(2)),
            // The symbol that was asked for.
            "mtapi-accounts" => Some(message.split_at(asked().map_or(0, |end| end + 1))),
            _ => Some((b"", message)),
        }
    }

    /// The example and all other messages.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let mut all = messages(self.entry.name);
        all.insert(0, self.entry.example.1.as_bytes().to_vec());
        all
    }
}

/// The text of a recording, unpacked; `None` without `TICKWIRE_DATA`.
pub fn recording(path: &str) -> Option<String> {
    let path = Path::new(&std::env::var_os("TICKWIRE_DATA")?).join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bytes =
        if path.extension().is_some_and(|e| e == "zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
    Some(String::from_utf8(bytes).unwrap())
}

/// What an adapter's venue sent, some hundred messages out of the recordings; none where there is no recording.
pub fn recorded(name: &str) -> Vec<Vec<u8>> {
    let lines = |path: &str| recording(path).unwrap_or_default().lines().map(String::from).collect::<Vec<_>>();
    let received = |path: &str| {
        let values = lines(path).into_iter().map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        let values = values.filter(|line| line["t"] == "recv");
        values.map(|line| line["data"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let captured = |path: &str| lines(path).iter().filter_map(|l| Some(l.split_once(' ')?.1.to_string())).collect();
    let all: Vec<String> = match name {
        "binance" => captured("hftbacktest/spot/btcusdt_20240808.jsonl.zst"),
        "binance_usdm" => captured("hftbacktest/usdm/btcusdt_20240808.jsonl.zst"),
        "coinbase" => received("cryptofeed/COINBASE.jsonl.zst"),
        "kraken" => received("cryptofeed/KRAKEN.jsonl.zst"),
        "oanda" => lines("oanda_stream/v20_stream_examples.jsonl"),
        "ctrader" => {
            let values = lines("fix/md_messages.jsonl")
                .into_iter()
                .map(|l| serde_json::from_str::<serde_json::Value>(&l).unwrap());
            values.map(|line| line["msg"].as_str().unwrap().replace('|', "\x01")).collect()
        }
        _ => Vec::new(),
    };
    let step = all.len().div_ceil(300).max(1);
    // A snapshot of a book is a megabyte, of which its beginning says all.
    all.into_iter().step_by(step).filter(|text| text.len() < 8_192).map(String::into_bytes).collect()
}

//! What a person fills in to make a connection: the keys of each adapter in words. Keys that hardly anybody changes are not
//! here; they are documented in `config/default.toml`.

use serde::Serialize;
use tickwire_schemas::words::Timeframe;
use utoipa::ToSchema;

use super::{AdapterEntry, SettingsError, Venue, adapters};

/// How a field is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FieldKind)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A line of text.
    Text,
    /// A secret: written, never shown.
    Secret,
    /// A whole number.
    Number,
    /// Yes or no.
    Boolean,
    /// An address.
    Url,
    /// One of a few words.
    Choice,
}

/// A key of an adapter in words.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Field {
    /// The key in `[sources.NAME]`; a point stands between a table and its key.
    pub key: &'static str,
    /// In a word or two.
    pub title: &'static str,
    /// How it is filled in.
    pub kind: Kind,
    /// The words to choose from.
    #[schema(required)]
    pub choices: Option<&'static [&'static str]>,
    /// What it is where nothing is said.
    #[schema(required)]
    pub default: Option<&'static str>,
    /// Whether something must be said.
    pub required: bool,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// A value that makes sense, for tests of this list and for asking what the adapter can.
    #[serde(skip)]
    pub example: &'static str,
}

/// The form of an adapter.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Its name for people.
    pub title: &'static str,
    /// Its fields, in the order in which they are shown.
    pub fields: &'static [Field],
}

const fn must(key: &'static str, title: &'static str, kind: Kind, example: &'static str, help: &'static str) -> Field {
    Field { key, title, kind, choices: None, default: None, required: true, help, example }
}

const fn may(
    key: &'static str,
    title: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    example: &'static str,
    help: &'static str,
) -> Field {
    Field { key, title, kind, choices: None, default, required: false, help, example }
}

const fn one_of(
    key: &'static str,
    title: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Field {
    let kind = Kind::Choice;
    Field { key, title, kind, choices: Some(choices), default: Some(default), required: false, help, example: default }
}

/// With a value that the form begins with.
const fn begins(field: Field, default: &'static str) -> Field {
    Field { default: Some(default), ..field }
}

use Kind::{Boolean, Number, Secret, Text, Url};

const BROKER_TIME: &str = "How the broker's clock relates to UTC: new-york-close (most brokers), utc, or an offset such as \
                           +02:00.";

const PAST: &str = "Address of the HTTP API for past bars and the list of symbols; without it there are neither.";

const HOST: Field = must(
    "host",
    "Host",
    Text,
    "127.0.0.1",
    "Name or address of the machine that the terminal with the expert adviser runs on.",
);

const CLOCK: Field =
    begins(must("broker_time", "Broker's clock", Text, "new-york-close", BROKER_TIME), "new-york-close");

const OANDA: Form = Form {
    title: "OANDA v20",
    fields: &[
        begins(
            must(
                "base_url",
                "Stream address",
                Url,
                "https://stream-fxpractice.oanda.com",
                "https://stream-fxpractice.oanda.com for demo accounts, https://stream-fxtrade.oanda.com for real ones.",
            ),
            "https://stream-fxpractice.oanda.com",
        ),
        must("account", "Account", Text, "101-004-1234567-001", "The v20 account id, such as 101-004-1234567-001."),
        must("token", "Token", Secret, "t", "A personal access token, made under Manage API Access."),
        may(
            "rest_url",
            "API address",
            Url,
            None,
            "https://api-fxpractice.oanda.com",
            "Only where it is not the one that belongs to the stream's.",
        ),
    ],
};

const MTAPI: Form = Form {
    title: "MetaTrader 4 and 5 by mtapi.io",
    fields: &[
        begins(
            must(
                "base_url",
                "API address",
                Url,
                "https://mt5.mtapi.io",
                "https://mt5.mtapi.io for MetaTrader 5, https://mt4.mtapi.io for MetaTrader 4, or your own host of it.",
            ),
            "https://mt5.mtapi.io",
        ),
        must("user", "Login number", Text, "7", "The login number of the trading account."),
        must("password", "Password", Secret, "p", "The account's password; the investor password suffices."),
        must(
            "server",
            "Server",
            Text,
            "Broker-Demo",
            "The broker's server as MetaTrader shows it, such as Broker-Demo.",
        ),
        CLOCK,
        may(
            "session",
            "Session",
            Secret,
            None,
            "s",
            "The session token to ask for, where the vendor gave you one; by default the server makes one up.",
        ),
        may(
            "stream_url",
            "Stream address",
            Url,
            None,
            "wss://mt5.mtapi.io",
            "Only where it is another host than the API's.",
        ),
        may("history_bars", "Bars in a request", Number, Some("5000"), "5000", "Most past bars of one request."),
        may(
            "history_per_second",
            "Requests in a second",
            Number,
            Some("5"),
            "5",
            "Most requests for past bars in a second.",
        ),
    ],
};

const MTAPI_ACCOUNTS: Form = Form {
    title: "MetaTrader accounts over REST",
    fields: &[
        must(
            "base_url",
            "API address",
            Url,
            "https://api.example.com",
            "In front of /v1, such as https://api.example.com.",
        ),
        must("account", "Account", Text, "a1", "The account in the paths."),
        must("key", "Key", Secret, "k", "The bearer key."),
        one_of("prices", "Prices", &["symbol", "all"], "symbol", "Asked for symbol by symbol, or all at once."),
        may(
            "interval_ms",
            "Interval",
            Number,
            Some("1000"),
            "1000",
            "Time from one round of requests to the next, in ms.",
        ),
        may("broker_time", "Broker's clock", Text, Some("utc"), "utc", BROKER_TIME),
    ],
};

const fn stream(default: &'static str) -> Field {
    begins(must("base_url", "Stream address", Url, default, "The WebSocket's address."), default)
}

const fn rest(default: &'static str) -> Field {
    may("rest_url", "API address", Url, Some(default), default, PAST)
}

const BINANCE: Form =
    Form { title: "Binance spot", fields: &[stream("wss://stream.binance.com:9443"), rest("https://api.binance.com")] };

const BINANCE_USDM: Form = Form {
    title: "Binance USD-M futures",
    fields: &[
        stream("wss://fstream.binance.com/public"),
        rest("https://fapi.binance.com"),
        one_of("trades", "Trades", &["trade", "aggTrade", "none"], "trade", "Every fill, fills added up, or none."),
    ],
};

const KRAKEN: Form = Form { title: "Kraken", fields: &[stream("wss://ws.kraken.com"), rest("https://api.kraken.com")] };

const COINBASE: Form = Form {
    title: "Coinbase Advanced Trade",
    fields: &[
        stream("wss://advanced-trade-ws.coinbase.com"),
        rest("https://api.coinbase.com"),
        one_of("quotes", "Quotes", &["ticker", "level2"], "ticker", "Best prices beside trades, or the whole book."),
    ],
};

const BYBIT: Form = Form {
    title: "Bybit",
    fields: &[
        stream("wss://stream.bybit.com"),
        rest("https://api.bybit.com"),
        one_of("category", "Market", &["spot", "linear", "inverse"], "spot", "Which market the symbols belong to."),
    ],
};

const CTRADER: Form = Form {
    title: "cTrader by FIX",
    fields: &[
        must(
            "base_url",
            "Address",
            Url,
            "tls://demo-uk-eqx-01.p.c-trader.com:5211",
            "tls://HOST:PORT of the price connection, as cTrader shows it under Settings, FIX API.",
        ),
        must(
            "sender_comp_id",
            "SenderCompID",
            Text,
            "demo.broker.1234567",
            "As cTrader shows it, such as demo.broker.1234567.",
        ),
        must("username", "Login number", Text, "1234567", "The login number of the account."),
        must("password", "FIX password", Secret, "p", "The account's FIX password, set under Settings, FIX API."),
        may("target_comp_id", "TargetCompID", Text, Some("cServer"), "cServer", "As cTrader shows it."),
        may("depth", "Whole book", Boolean, Some("false"), "false", "The whole book instead of the best prices."),
    ],
};

const FXCM: Form = Form {
    title: "FXCM REST",
    fields: &[
        begins(
            must(
                "base_url",
                "API address",
                Url,
                "https://api-demo.fxcm.com",
                "https://api-demo.fxcm.com for demo accounts, https://api.fxcm.com for real ones.",
            ),
            "https://api-demo.fxcm.com",
        ),
        must("token", "Token", Secret, "t", "The persistent token, made in the Trading Station."),
        may("account", "Account", Text, None, "", "Id or name of the account to look at; by default the first one."),
        may("currency", "Currency", Text, None, "USD", "The account's currency, which the venue's tables do not say."),
    ],
};

const MTSOCKETAPI: Form = Form {
    title: "MetaTrader by MTsocketAPI",
    fields: &[
        HOST,
        CLOCK,
        may("command_port", "Port of commands", Number, Some("77"), "77", "Port of the commands."),
        may("data_port", "Port of prices", Number, Some("78"), "78", "Port of the prices."),
    ],
};

const DWX: Form = Form {
    title: "MetaTrader by DWX ZeroMQ",
    fields: &[
        HOST,
        CLOCK,
        may("push_port", "PUSH_PORT", Number, Some("32768"), "32768", "Port of commands: the adviser's PUSH_PORT."),
        may("pull_port", "PULL_PORT", Number, Some("32769"), "32769", "Port of answers: its PULL_PORT."),
        may("pub_port", "PUB_PORT", Number, Some("32770"), "32770", "Port of prices: its PUB_PORT."),
    ],
};

const MQL5_JSON_API: Form = Form {
    title: "MetaTrader 5 by MQL5 JSON API",
    fields: &[
        HOST,
        CLOCK,
        may("system_port", "Port of requests", Number, Some("15555"), "15555", "Port of requests."),
        may("data_port", "Port of answers", Number, Some("15556"), "15556", "Port of what was asked for."),
        may("live_port", "Port of prices", Number, Some("15557"), "15557", "Port of prices."),
    ],
};

const SECRET: Field =
    may("secrets.token", "Secret", Secret, None, "s", "Stands where the address or a message has {secret:token}.");

const fn path(key: &'static str, title: &'static str, example: &'static str, help: &'static str) -> Field {
    may(key, title, Text, None, example, help)
}

const JSON_WS: Form = Form {
    title: "Any JSON over WebSocket",
    fields: &[
        must(
            "url",
            "Address",
            Url,
            "wss://h.example/ws",
            "The whole address; {symbols} and {secret:token} are filled in.",
        ),
        SECRET,
        may(
            "subscribe",
            "Message that subscribes",
            Text,
            None,
            "{\"op\":\"subscribe\",\"symbol\":\"{symbol}\"}",
            "Sent after connecting, once for each symbol where it holds {symbol}.",
        ),
        begins(
            must("fields.symbol", "Path of the symbol", Text, "data.s", "Where a message has the symbol."),
            "symbol",
        ),
        begins(must("fields.bid", "Path of the bid", Text, "data.b", "Where a message has the bid."), "bid"),
        begins(must("fields.ask", "Path of the ask", Text, "data.a", "Where a message has the ask."), "ask"),
        path("fields.time", "Path of the time", "ts", "Where a message has its time; without it ticks have none."),
        one_of("fields.time_unit", "Time is in", &["s", "ms", "us", "ns", "iso"], "ms", "How the time is written."),
        path("fields.items", "Path of a list", "items", "Where one message has a list of prices."),
    ],
};

const JSON_POLL: Form = Form {
    title: "Any JSON by polling",
    fields: &[
        must(
            "url",
            "Address",
            Url,
            "https://h.example/p?s={symbol}",
            "The whole address; {symbol} or {symbols} and {secret:token} are filled in.",
        ),
        begins(
            must("interval_ms", "Interval", Number, "1000", "Time from one round of requests to the next, in ms."),
            "1000",
        ),
        SECRET,
        path("fields.symbol", "Path of the symbol", "symbol", "Where an answer has the symbol; none with {symbol}."),
        begins(must("fields.bid", "Path of the bid", Text, "bid", "Where an answer has the bid."), "bid"),
        begins(must("fields.ask", "Path of the ask", Text, "ask", "Where an answer has the ask."), "ask"),
        path("fields.time", "Path of the time", "time", "Where an answer has its time; without it ticks have none."),
        one_of("fields.time_unit", "Time is in", &["s", "ms", "us", "ns", "iso"], "ms", "How the time is written."),
        path("fields.items", "Path of a list", "prices", "Where one answer has a list of prices."),
    ],
};

/// The form of an adapter.
#[must_use]
pub fn form(adapter: &str) -> Option<&'static Form> {
    Some(match adapter {
        "oanda" => &OANDA,
        "mtapi" => &MTAPI,
        "mtapi-accounts" => &MTAPI_ACCOUNTS,
        "binance" => &BINANCE,
        "binance_usdm" => &BINANCE_USDM,
        "kraken" => &KRAKEN,
        "coinbase" => &COINBASE,
        "bybit" => &BYBIT,
        "ctrader" => &CTRADER,
        "fxcm" => &FXCM,
        "mtsocketapi" => &MTSOCKETAPI,
        "dwx" => &DWX,
        "mql5-json-api" => &MQL5_JSON_API,
        "json-ws" => &JSON_WS,
        "json-poll" => &JSON_POLL,
        _ => return None,
    })
}

/// What an adapter can do when everything of its form is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Past ticks.
    pub ticks: bool,
    /// A list of symbols.
    pub symbols: bool,
    /// An account.
    pub account: bool,
    /// Lengths of past bars; none where there are no past bars.
    pub timeframes: Vec<Timeframe>,
}

/// See [`Offer`]; nothing for an adapter without a form.
#[must_use]
pub fn offer(entry: &AdapterEntry) -> Option<Offer> {
    let venue = built(entry, |_| true).ok()?;
    let can = venue.capabilities();
    let has = |timeframe: &Timeframe| venue.any_history().is_some_and(|history| history.has(*timeframe));
    let timeframes = Timeframe::ALL.iter().copied().filter(has).collect();
    Some(Offer { ticks: can.ticks, symbols: can.symbols, account: can.account, timeframes })
}

/// The adapter from the examples of the fields that are wanted.
fn built(entry: &AdapterEntry, wanted: impl Fn(&Field) -> bool) -> Result<std::sync::Arc<dyn Venue>, SettingsError> {
    let form = form(entry.name).ok_or_else(|| SettingsError::new("", "has no form"))?;
    let mut keys = toml::Table::new();
    for field in form.fields.iter().filter(|field| wanted(field) && !field.example.is_empty()) {
        put(&mut keys, field.key, value(field, field.example));
    }
    (entry.build)(keys)
}

/// The value of a field out of its text.
fn value(field: &Field, text: &str) -> toml::Value {
    match field.kind {
        Number => text.parse::<i64>().map_or_else(|_| text.into(), toml::Value::Integer),
        Boolean => toml::Value::Boolean(text == "true"),
        _ if field.key == "subscribe" => vec![text].into(),
        _ => text.into(),
    }
}

/// Sets the key behind a path with points.
pub fn put(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
        None => {
            table.insert(path.into(), value);
        }
    }
}

/// Whether an adapter has this name.
#[must_use]
pub fn is_adapter(name: &str) -> bool {
    adapters().iter().any(|entry| entry.name == name)
}

#[cfg(test)]
mod tests;

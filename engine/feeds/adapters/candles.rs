//! Past bars of exchanges, which differ in their requests and rows alone ([`Dialect`]).
//!
//! Exchanges make candles of trades and cut them in UTC. A bar has its prices in `mid`, under the basis `last`; it is
//! told when it is over by our clock.

use std::fmt::Debug;

use serde_json::Value;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{BarState, Basis, Cause, Origin, Timeframe};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::{Answer, History, SettingsError};
use crate::clock;
use crate::feeds::net::{self, Failure, Http, Reply};
use crate::feeds::rate::Rate;
use crate::market::{Calendar, Class, Holidays, Price, Size};

/// Most of a reply that is read: a thousand rows have some 200 bytes each.
const REPLY_BYTES_MAX: usize = 2 << 20;

const MINUTE_NS: i64 = 60_000_000_000;

/// A request below the base: its path and query.
pub(super) type Query = (String, Vec<(&'static str, String)>);

/// What a request is for: bars that open in `[from_ns, to_ns)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) symbol: &'a str,
    pub(super) timeframe: Timeframe,
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

impl Page<'_> {
    /// First and last time that a bar of it can open at, in units of so many nanoseconds: for venues that include both
    /// ends.
    pub(super) fn ends(self, unit_ns: i64) -> (i64, i64) {
        ((self.from_ns + unit_ns - 1).div_euclid(unit_ns), (self.to_ns - 1).div_euclid(unit_ns))
    }
}

/// One row of a reply, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) open_ns: i64,
    /// Open, high, low and close.
    pub(super) prices: [&'a str; 4],
    pub(super) volume: &'a str,
    /// Trades in it, where the venue counts them.
    pub(super) trades: Option<u64>,
}

/// How an exchange is asked for candles.
pub(super) trait Dialect: Debug + Send + Sync {
    /// Most rows of a reply.
    const ROWS_MAX: usize;

    /// Whether only the last [`Dialect::ROWS_MAX`] can be had.
    const ONLY_RECENT: bool = false;

    /// The request for a page; `None` where the venue does not have the timeframe, or cuts it where we do not.
    fn query(&self, page: Page<'_>) -> Option<Query>;

    /// The rows of a reply, in any order; `Err` with the venue's refusal, or what was expected.
    fn rows<'a>(&self, reply: &'a Value) -> Result<Vec<Row<'a>>, Failure>;

    /// How fast it may be asked.
    fn rate(&self) -> Rate;

    /// What a reply with an error status says.
    fn words(reply: &Value) -> Option<String>;
}

/// The candles of one exchange.
#[derive(Debug)]
pub(super) struct Candles<D> {
    base: String,
    http: Http,
    dialect: D,
}

impl<D: Dialect> Candles<D> {
    /// From the key `rest_url`; nothing without it.
    pub(super) fn new(url: Option<&String>, dialect: D) -> Result<Option<Self>, SettingsError> {
        let Some(url) = url else { return Ok(None) };
        let base = net::base_url(url, &["http", "https"]).map_err(|e| SettingsError::new("rest_url", e))?;
        let http = Http::kept(&base);
        Ok(Some(Candles { base, http, dialect }))
    }

    async fn all(&self, symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Result<Vec<Bar>, Failure> {
        let failed = |text: String| Failure::new(Cause::ProtocolError, text);
        let mut calendar = Calendar::new(Class::Crypto, &Holidays::default()).map_err(failed)?;
        let now_ns = clock::now_ns();
        let length_ns = shortest_ns(timeframe).saturating_mul(i64::try_from(D::ROWS_MAX).unwrap_or(i64::MAX));
        // Of what is forming there is a row too.
        if D::ONLY_RECENT && from_ns < now_ns.saturating_sub(length_ns - shortest_ns(timeframe)) {
            return Err(failed(format!("only the {} most recent bars of {timeframe} can be had", D::ROWS_MAX)));
        }
        let (mut bars, mut from_ns, to_ns) = (Vec::new(), from_ns, to_ns.min(now_ns));
        while from_ns < to_ns {
            let page = Page { symbol, timeframe, from_ns, to_ns: from_ns.saturating_add(length_ns).min(to_ns) };
            let reply = self.ask(page).await?;
            let mut rows = self.dialect.rows(&reply)?;
            rows.retain(|row| (page.from_ns..page.to_ns).contains(&row.open_ns));
            rows.sort_by_key(|row| row.open_ns);
            for row in rows {
                bars.push(row.bar(timeframe, &mut calendar).map_err(failed)?);
            }
            from_ns = page.to_ns;
        }
        bars.retain(|bar| bar.close_ts_ns <= now_ns);
        Ok(bars)
    }

    async fn ask(&self, page: Page<'_>) -> Result<Value, Failure> {
        let none = || Failure::new(Cause::ProtocolError, format!("the venue has no bars of {}", page.timeframe));
        let (path, query) = self.dialect.query(page).ok_or_else(none)?;
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let response = self.http.get(&format!("{}{path}", self.base), &query, &[]).await?;
        if !response.status().is_success() {
            return Err(net::refused(response, |body| D::words(&serde_json::from_slice(body).ok()?)).await);
        }
        let reply = Reply::read_most(response, REPLY_BYTES_MAX).await?;
        serde_json::from_slice(&reply.body).map_err(|e| {
            Failure::new(Cause::ProtocolError, format!("expected JSON, found \"{}\": {e}", reply.excerpt()))
        })
    }
}

impl<D: Dialect> History for Candles<D> {
    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move { self.all(&symbol, timeframe, from_ns, to_ns).await })
    }

    fn page(&self) -> usize {
        D::ROWS_MAX
    }

    fn host(&self) -> &str {
        net::host_of(&self.base)
    }

    fn rate(&self) -> Rate {
        self.dialect.rate()
    }

    fn has(&self, timeframe: Timeframe) -> bool {
        self.dialect.query(Page { symbol: "", timeframe, from_ns: 0, to_ns: shortest_ns(timeframe) }).is_some()
    }
}

impl Row<'_> {
    fn bar(&self, timeframe: Timeframe, calendar: &mut Calendar) -> Result<Bar, String> {
        let span = calendar.interval(timeframe, self.open_ns).filter(|span| span.from_ns == self.open_ns);
        let span =
            span.ok_or_else(|| format!("a bar of {timeframe} opens at {} ns, expected its start", self.open_ns))?;
        let price =
            |text: &str| Price::parse(text.as_bytes()).map_err(|e| format!("\"{text}\" is {e}, expected a price"));
        let [open, high, low, close] = self.prices;
        Ok(Bar {
            open_ts_ns: span.from_ns,
            close_ts_ns: span.to_ns,
            bid: NO_OHLC,
            ask: NO_OHLC,
            mid: Ohlc {
                open_e9: price(open)?.e9(),
                high_e9: price(high)?.e9(),
                low_e9: price(low)?.e9(),
                close_e9: price(close)?.e9(),
            },
            ticks: self.trades.unwrap_or(0),
            // A volume that does not fit is unknown; the prices are not worse for it.
            volume_e8: Size::parse(self.volume.as_bytes()).map_or(NO_SIZE, Size::e8),
            timeframe: timeframe.code(),
            origin: Origin::Backfill.code(),
            basis: Basis::Last.code(),
            state: BarState::Final.code(),
            ..Bar::default()
        })
    }
}

const NO_OHLC: Ohlc = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };

/// The least that a bar of a timeframe lasts.
pub(super) fn shortest_ns(timeframe: Timeframe) -> i64 {
    MINUTE_NS
        * match timeframe {
            Timeframe::M1 => 1,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H4 => 240,
            Timeframe::D1 => 1_440,
            Timeframe::W1 => 10_080,
            Timeframe::MN => 28 * 1_440,
        }
}

/// A reply that is not of the documented form.
pub(super) fn expected(what: &str) -> Failure {
    Failure::new(Cause::ProtocolError, format!("expected {what} in the venue's reply"))
}

/// A row that is an array: its time (in `unit_ns`) first, open, high, low and close behind it, the volume at `volume` and
/// the number of trades at `trades`.
pub(super) fn array_row(row: &Value, unit_ns: i64, volume: usize, trades: Option<usize>) -> Option<Row<'_>> {
    let text = |at: usize| row.get(at)?.as_str();
    let time = row.get(0)?;
    let open = time.as_i64().or_else(|| time.as_str()?.parse().ok())?;
    Some(Row {
        open_ns: open.checked_mul(unit_ns)?,
        prices: [text(1)?, text(2)?, text(3)?, text(4)?],
        volume: text(volume)?,
        trades: trades.and_then(|at| row.get(at)?.as_u64()),
    })
}

#[cfg(test)]
mod tests;

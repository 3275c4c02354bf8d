//! Tries a connection once: whether the venue lets us in, how fast, and whether prices come.

use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::time::timeout;

use super::adapters::{AccountSummary, Decoder, Stream};
use super::event::{Event, Symbols};
use super::net::{Connection, Failure};
use super::turns::{in_turn, of_process};
use crate::clock;
use crate::market::{InstrumentId, Price};

/// How long a first price is waited for: a market may be closed.
const PRICE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the prices of the other symbols are waited for after the first.
const OTHERS_PATIENCE: Duration = Duration::from_secs(1);

/// Longest wait for the state of the account.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// What a venue let us in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// From the beginning until logged in and subscribed, nanoseconds.
    pub opened_ns: i64,
    /// From then until the first price or trade, nanoseconds; `None` where none came in five seconds.
    pub first_price_ns: Option<i64>,
    /// The trading account, where the venue tells.
    pub account: Option<AccountSummary>,
    /// The last price of each instrument that had one.
    pub prices: Vec<ProbedPrice>,
}

/// A price that came while a connection was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbedPrice {
    /// As the caller numbered it.
    pub instrument: InstrumentId,
    /// Bid, where that side is not empty.
    pub bid: Option<Price>,
    /// Ask, where that side is not empty.
    pub ask: Option<Price>,
}

/// Connects, subscribes, waits for a price and asks for the account; then hangs up.
pub(super) async fn probe<S: Stream>(stream: &S, symbols: &Symbols, patience: Duration) -> Result<Probe, Failure> {
    let patience = stream.open_max().unwrap_or_default().max(patience);
    let late = |what: &str, patience: Duration| {
        Failure::new(Cause::ConnectFailed, format!("no {what} within {} ms", patience.as_millis()))
    };
    let mut begun_ns = 0;
    let open = async {
        begun_ns = clock::monotonic_ns();
        timeout(patience, stream.open(symbols)).await.map_err(|_| late("connection", patience)).flatten()
    };
    // As a session takes it: who tries a connection again and again uses up the same limit.
    let opened = match stream.connect_rate() {
        Some(limit) => in_turn(of_process(), limit, open).await,
        None => open.await,
    };
    let mut connection = opened?;
    let opened_ns = clock::monotonic_ns();
    let secrets = connection.take_secrets();
    let mut decoder = stream.decoder(symbols);
    let mut prices = Vec::new();
    let heard = timeout(PRICE_PATIENCE, read_prices(&mut connection, &mut decoder, symbols, &mut prices)).await;
    let priced_ns = clock::monotonic_ns();
    while matches!(heard, Ok(Ok(()))) && prices.len() < symbols.len() {
        let left = clock::monotonic_ns() - priced_ns;
        let left = OTHERS_PATIENCE.saturating_sub(Duration::from_nanos(left.unsigned_abs()));
        if !matches!(timeout(left, read_prices(&mut connection, &mut decoder, symbols, &mut prices)).await, Ok(Ok(())))
        {
            break;
        }
    }
    connection.close().await;
    let first_price_ns = match heard {
        Ok(Err(failure)) => return Err(failure.without(&secrets)),
        Ok(Ok(())) => Some(priced_ns - opened_ns),
        Err(_) => None,
    };
    let account = match stream.account() {
        Some(account) => {
            let summary = timeout(ACCOUNT_PATIENCE, account.summary()).await;
            Some(summary.map_err(|_| late("answer about the account", ACCOUNT_PATIENCE))??)
        }
        None => None,
    };
    Ok(Probe { opened_ns: opened_ns - begun_ns, first_price_ns, account, prices })
}

/// Reads until a price or trade has come.
async fn read_prices<D: Decoder>(
    connection: &mut Connection,
    decoder: &mut D,
    symbols: &Symbols,
    prices: &mut Vec<ProbedPrice>,
) -> Result<(), Failure> {
    let (mut priced, mut refused) = (false, None);
    loop {
        connection
            .read(&mut |frame, at_ns| {
                decoder.decode(frame, at_ns, symbols, &mut |event| match event {
                    Event::Tick(tick) => {
                        priced = true;
                        let price = ProbedPrice { instrument: tick.instrument, bid: tick.bid, ask: tick.ask };
                        match prices.iter_mut().find(|known| known.instrument == price.instrument) {
                            Some(known) => *known = price,
                            None => prices.push(price),
                        }
                    }
                    Event::Trade(_) => priced = true,
                    Event::Refused(cause) => refused = Some(Failure::new(cause, super::net::excerpt(frame))),
                    _ => {}
                });
            })
            .await?;
        match refused.take() {
            Some(failure) => return Err(failure),
            None if priced => return Ok(()),
            None => {}
        }
    }
}

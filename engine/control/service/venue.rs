//! What a venue says: whether it lets us in, its symbols, the account. Everything here waits for it.

use std::collections::BTreeMap;
use std::future::Future;

use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use super::wanted::Wanted;
use super::{Found, Limits, Service, ServiceError, canonical_name, empty, note, stand_in, unkept};
use crate::clock;
use crate::control::connections::{DataConnection, Status};
use crate::control::credentials::Credentials;
use crate::control::cures::{ErrorCode, classify, error_code};
use crate::control::sections::source_of;
use crate::feeds::SourceSpec;
use crate::feeds::adapters::forms::put;
use crate::feeds::adapters::{Answer, VenueSymbol};
use crate::feeds::config::one_source;
use crate::feeds::event::Symbols;
use crate::feeds::net::{self, Failure};
use crate::feeds::probe::Probe;
use crate::market::{Calendar, Class, Holidays, InstrumentId, InstrumentSpec, SourceId};

/// What came of a test.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestResult {
    /// Whether the venue let us in.
    pub succeeded: bool,
    /// In a sentence, in the venue's words where it refused.
    pub message: String,
    /// Word of the list of error codes.
    #[schema(required)]
    pub error_code: Option<String>,
    /// What to do about it.
    #[schema(required)]
    pub cure: Option<String>,
    /// Until logged in and subscribed, milliseconds.
    #[schema(required)]
    pub latency_ms: Option<f64>,
    /// From then until the first price, milliseconds.
    #[schema(required)]
    pub first_price_ms: Option<f64>,
    /// Cash of the account.
    #[schema(required)]
    pub balance: Option<String>,
    /// Cash and open profit.
    #[schema(required)]
    pub equity: Option<String>,
    /// The account's currency.
    #[schema(required)]
    pub currency: Option<String>,
    /// The last price of each symbol; none where none came.
    #[schema(value_type = Object)]
    pub symbols: BTreeMap<String, Option<PriceNow>>,
}

/// A price.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PriceNow {
    /// Exact decimal; none where that side is empty.
    #[schema(required)]
    pub bid: Option<String>,
    /// The same.
    #[schema(required)]
    pub ask: Option<String>,
}

/// A symbol of a venue's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = VenueSymbol)]
pub struct VenueSymbolNow {
    /// As the venue writes it.
    pub venue: String,
    /// What it most likely stands for.
    #[schema(required)]
    pub canonical: Option<String>,
    /// In words.
    #[schema(required)]
    pub description: Option<String>,
}

/// The state of a trading account.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountNow {
    /// Which account.
    #[schema(required)]
    pub id: Option<String>,
    /// ISO code; none where the venue does not say it.
    #[schema(required)]
    pub currency: Option<String>,
    /// Cash.
    pub balance: String,
    /// Cash and open profit.
    #[schema(required)]
    pub equity: Option<String>,
    /// What open positions tie up.
    #[schema(required)]
    pub margin_used: Option<String>,
    /// What is left.
    #[schema(required)]
    pub margin_available: Option<String>,
}

/// An open position.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Position)]
pub struct PositionNow {
    /// The venue's number for it.
    #[schema(required)]
    pub id: Option<String>,
    /// Canonical where it is one of the connection's, else as the venue writes it.
    pub symbol: String,
    /// `buy` or `sell`.
    pub side: &'static str,
    /// In the venue's unit.
    pub size: String,
    /// Price at which it was opened.
    #[schema(required)]
    pub open_price: Option<String>,
    /// When.
    #[schema(required)]
    pub opened_at: Option<String>,
    /// Open profit in the account's currency.
    #[schema(required)]
    pub profit: Option<String>,
}

impl Service {
    /// Connects once as it is kept: says how long that took, whether prices come, and the account's balance.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none or it makes no sense; a venue that refuses is no error but a result.
    pub fn test(&self, name: &str, limits: &Limits) -> Result<TestResult, ServiceError> {
        let connection = match self.find(name)? {
            Found::Configured(table) => return Ok(tried(&one_source(name, table)?)),
            Found::Kept(connection) => connection,
        };
        limits.hosts(&connection.draft.config)?;
        let spec = source_of(&connection, &self.state_dir)?;
        let mut all = self.open()?;
        all.set_status(name, Status::Testing, None, None)?;
        let result = tried(&spec);
        let error = (!result.succeeded).then_some(result.message.as_str());
        let status = match (connection.is_active, error) {
            (true, Some(_)) if !self.engine.runs() => Status::Error,
            // A status that a test left behind when it was killed.
            _ if connection.status == Status::Testing => Status::Inactive,
            _ => connection.status,
        };
        all.set_status(name, status, None, error)?;
        let outcome = if result.succeeded { Ok(result.message.as_str()) } else { Err(result.message.as_str()) };
        note(&mut all, &connection, "test", outcome, figures(&result))?;
        Ok(result)
    }

    /// Connects once by keys that are not kept. The stored secrets of the connection `name`, where one is named, stand in
    /// for those that are not given.
    ///
    /// # Errors
    /// [`ServiceError`] when they make no sense; a venue that refuses is no error but a result.
    pub fn test_draft(
        &self,
        name: Option<&str>,
        adapter: &str,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<TestResult, ServiceError> {
        Ok(tried(&self.draft_spec(name, adapter, wanted, limits)?))
    }

    /// Symbols of the venue's list whose name or description holds `search`, at most `limit`.
    ///
    /// # Errors
    /// [`ServiceError::NotOffered`] where the venue has no list, [`ServiceError::Venue`] where it does not answer.
    pub fn symbols(
        &self,
        name: &str,
        search: &str,
        limit: usize,
        limits: &Limits,
    ) -> Result<Vec<VenueSymbolNow>, ServiceError> {
        if let Found::Kept(connection) = self.find(name)? {
            limits.hosts(&connection.draft.config)?;
        }
        listed(&self.spec(name)?, search, limit)
    }

    /// The same by keys that are not kept; its symbols need not be said.
    ///
    /// # Errors
    /// As [`Service::symbols`], and [`ServiceError::Wrong`].
    pub fn symbols_of_draft(
        &self,
        name: Option<&str>,
        adapter: &str,
        wanted: &mut Wanted,
        limits: &Limits,
        (search, limit): (&str, usize),
    ) -> Result<Vec<VenueSymbolNow>, ServiceError> {
        wanted.symbols = Some(BTreeMap::from([("ANY".to_string(), "ANY".to_string())]));
        listed(&self.draft_spec(name, adapter, wanted, limits)?, search, limit)
    }

    /// The state of its trading account.
    ///
    /// # Errors
    /// [`ServiceError::NotOffered`] where there is none, [`ServiceError::Venue`] where the venue does not answer.
    pub fn account(&self, name: &str) -> Result<AccountNow, ServiceError> {
        let spec = self.spec(name)?;
        let id = ["account", "user", "username"].into_iter().find_map(|key| self.key(name, key));
        let account = spec.venue.any_account().ok_or_else(|| lacks(&spec, "account to look at"))?;
        let now = asked(&spec, account.summary())?;
        Ok(AccountNow {
            id,
            currency: Some(now.currency).filter(|word| !word.is_empty()),
            balance: now.balance.to_string(),
            equity: now.equity.map(|value| value.to_string()),
            margin_used: now.margin.map(|value| value.to_string()),
            margin_available: now.free_margin.map(|value| value.to_string()),
        })
    }

    /// What is open in its trading account.
    ///
    /// # Errors
    /// As [`Service::account`].
    pub fn positions(&self, name: &str) -> Result<Vec<PositionNow>, ServiceError> {
        let spec = self.spec(name)?;
        let account = spec.venue.any_account().ok_or_else(|| lacks(&spec, "account to look at"))?;
        let open = asked(&spec, account.positions())?;
        let ours = |venue: &str| {
            let found = spec
                .symbols
                .iter()
                .find(|symbol| spec.venue.wire_symbol(&symbol.venue) == venue || symbol.venue == venue);
            found.map_or_else(|| venue.to_string(), |symbol| symbol.canonical.clone())
        };
        let one = |position: crate::feeds::adapters::Position| {
            let size = position.size.to_string();
            let (side, size) = match size.strip_prefix('-') {
                Some(size) => ("sell", size.to_string()),
                None => ("buy", size),
            };
            PositionNow {
                id: position.id,
                symbol: ours(&position.venue_symbol),
                side,
                size,
                open_price: position.open_price.map(|price| price.to_string()),
                opened_at: None,
                profit: position.profit.map(|value| value.to_string()),
            }
        };
        Ok(open.into_iter().map(one).collect())
    }

    fn key(&self, name: &str, key: &str) -> Option<String> {
        let table = match self.find(name).ok()? {
            Found::Kept(connection) => connection.draft.config,
            Found::Configured(table) => table,
        };
        match table.get(key)? {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A source by keys that are not kept, its secrets in the clear: it lives for as long as it is asked something.
    fn draft_spec(
        &self,
        name: Option<&str>,
        adapter: &str,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<SourceSpec, ServiceError> {
        limits.adapter(adapter)?;
        let before = name.map(|name| self.kept(name)).transpose()?;
        let stored = match &before {
            Some(before) => self.open()?.credentials(&before.name)?,
            None => Credentials::default(),
        };
        let draft = match &before {
            Some(before) if before.draft.adapter == adapter => before.draft.clone(),
            _ => empty(adapter),
        };
        let (draft, given) = wanted.over(draft, limits)?;
        limits.hosts(&draft.config)?;
        if let Some(before) = &before {
            limits.same_place(&before.draft.config, &draft.config, &given)?;
        }
        let all = stand_in(stored, &given);
        let mut connection: DataConnection = unkept(name.unwrap_or("draft"), "", &draft);
        for key in crate::control::credentials::marks(&draft.config) {
            let secret = all.get(&key).ok_or_else(|| ServiceError::wrong(&key, "is missing, expected the secret"))?;
            put(&mut connection.draft.config, &key, secret.into());
        }
        Ok(source_of(&connection, &self.state_dir)?)
    }
}

/// Tries a connection, and says what came of it.
fn tried(spec: &SourceSpec) -> TestResult {
    if let Err(problem) = spec.venue.check() {
        let code = error_code(if problem.problem.contains("sealed") { "secret_missing" } else { "wrong_settings" });
        return refused(spec, problem.to_string(), code);
    }
    net::install_crypto();
    let names = spec.symbols.iter().zip(1..).map(|(s, id)| (spec.venue.wire_symbol(&s.venue), InstrumentId(id)));
    let symbols = Symbols::new(SourceId(1), names);
    match waited(spec.venue.probe(&symbols, spec.connect_timeout)) {
        Ok(probe) => accepted(spec, &probe),
        Err(failure) => refused(spec, format!("{} ({})", failure.text, failure.cause), classify(&failure)),
    }
}

fn refused(spec: &SourceSpec, message: String, code: &ErrorCode) -> TestResult {
    TestResult {
        succeeded: false,
        message,
        error_code: Some(code.code.into()),
        cure: Some(code.cure.into()),
        latency_ms: None,
        first_price_ms: None,
        balance: None,
        equity: None,
        currency: None,
        symbols: spec.symbols.iter().map(|symbol| (symbol.canonical.clone(), None)).collect(),
    }
}

fn accepted(spec: &SourceSpec, probe: &Probe) -> TestResult {
    let ms = |ns: i64| (ns as f64 / 1e4).round() / 1e2;
    let price = |id: u32| {
        let found = probe.prices.iter().find(|price| price.instrument.0 == id)?;
        Some(PriceNow { bid: found.bid.map(|p| p.to_string()), ask: found.ask.map(|p| p.to_string()) })
    };
    let mut message = format!("connected and subscribed after {:.1} ms", probe.opened_ns as f64 / 1e6);
    let mut code = None;
    match &probe.first_price_ns {
        Some(ns) => message += &format!(", first price after another {:.1} ms", *ns as f64 / 1e6),
        None => {
            let closed = spec.symbols.iter().all(|symbol| is_closed(&symbol.canonical));
            code = Some(error_code(if closed { "market_closed" } else { "no_price" }));
            message += if closed { ", no price: the market is closed" } else { ", no price in 5 s" };
        }
    }
    if let Some(account) = &probe.account {
        message += format!(", balance {} {}", account.balance, account.currency).trim_end();
    }
    let account = probe.account.as_ref();
    TestResult {
        succeeded: true,
        message,
        error_code: code.map(|code| code.code.into()),
        cure: code.map(|code| code.cure.into()),
        latency_ms: Some(ms(probe.opened_ns)),
        first_price_ms: probe.first_price_ns.map(ms),
        balance: account.map(|account| account.balance.to_string()),
        equity: account.and_then(|account| account.equity).map(|equity| equity.to_string()),
        currency: account.map(|account| account.currency.clone()).filter(|word| !word.is_empty()),
        symbols: spec.symbols.iter().zip(1..).map(|(symbol, id)| (symbol.canonical.clone(), price(id))).collect(),
    }
}

/// Whether the market of a symbol is closed now, by what its name says.
fn is_closed(symbol: &str) -> bool {
    let class = InstrumentSpec::by_convention(symbol).map_or(Class::Index, |spec| spec.class);
    Calendar::new(class, &Holidays::default()).is_ok_and(|mut calendar| !calendar.is_open(clock::now_ns()))
}

fn figures(result: &TestResult) -> Json {
    json!({
        "latency_ms": result.latency_ms,
        "first_price_ms": result.first_price_ms,
        "balance": result.balance,
        "currency": result.currency,
        "error_code": result.error_code,
    })
}

fn lacks(spec: &SourceSpec, what: &str) -> ServiceError {
    ServiceError::NotOffered(format!(
        "{} has no {what} (adapter {}, with the keys it has now)",
        spec.name,
        spec.venue.name()
    ))
}

fn listed(spec: &SourceSpec, search: &str, limit: usize) -> Result<Vec<VenueSymbolNow>, ServiceError> {
    let list = spec.venue.any_symbol_list().ok_or_else(|| lacks(spec, "list of symbols"))?;
    let all = asked(spec, list.symbols())?;
    let search = search.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&search);
    let one = |symbol: VenueSymbol| {
        let canonical = canonical_name(&symbol.name);
        VenueSymbolNow { venue: symbol.name, canonical, description: symbol.description }
    };
    let is_meant = |symbol: &VenueSymbolNow| {
        holds(&symbol.venue)
            || symbol.canonical.as_deref().is_some_and(holds)
            || symbol.description.as_deref().is_some_and(holds)
    };
    Ok(all.into_iter().map(one).filter(is_meant).take(limit).collect())
}

/// Waits for a venue's answer; how long that may take is the adapter's to limit.
fn asked<T>(spec: &SourceSpec, answer: Answer<'_, T>) -> Result<T, ServiceError> {
    spec.venue.check()?;
    net::install_crypto();
    waited(answer).map_err(|failure| {
        let code = classify(&failure);
        ServiceError::Venue { code: code.code, message: format!("{} ({}). {}", failure.text, failure.cause, code.cure) }
    })
}

fn waited<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(tickwire_schemas::words::Cause::ConnectFailed, format!("the runtime cannot be made: {e}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(answer)
}

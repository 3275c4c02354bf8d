//! `tickwire venue`: what a source's venue says of its symbols and of the account, asked of the venue itself.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Common, Failure, log_to_stderr, say};
use crate::feeds::SourceSpec;
use crate::feeds::adapters::{AccountSummary, Answer, Position, VenueSymbol};
use crate::market::Decimal9;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to ask for
    #[arg(value_enum)]
    what: What,
    /// Name of the source whose venue is asked
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What a venue can be asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Every symbol that the venue lists
    Symbols,
    /// The state of the trading account, and what is open
    Account,
}

/// Asks, and prints the answer.
pub(super) fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let settings = common.settings()?;
    let source = find(&settings.sources, &options.connection)?;
    let text = match options.what {
        What::Symbols => {
            let list = source.venue.any_symbol_list().ok_or_else(|| lacks(source, "list of symbols"))?;
            let symbols = ask(source, list.symbols())?;
            if options.json { format!("{}\n", symbols_json(&symbols)) } else { symbols_table(&symbols) }
        }
        What::Account => {
            let account = source.venue.any_account().ok_or_else(|| lacks(source, "account to look at"))?;
            let (summary, open) =
                ask(source, Box::pin(async move { Ok((account.summary().await?, account.positions().await?)) }))?;
            if options.json { format!("{}\n", account_json(&summary, &open)) } else { account_table(&summary, &open) }
        }
    };
    say(text)?;
    Ok(ExitCode::SUCCESS)
}

fn find<'a>(sources: &'a [SourceSpec], name: &str) -> Result<&'a SourceSpec, Failure> {
    sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let known =
            if names.is_empty() { "there is none".into() } else { format!("expected one of {}", names.join(", ")) };
        Failure::usage(format!("--connection: no source is named \"{name}\", {known}"))
    })
}

fn lacks(source: &SourceSpec, what: &str) -> Failure {
    Failure::usage(format!(
        "--connection: {} has no {what} (adapter {}, with the keys it has now)",
        source.name,
        source.venue.name()
    ))
}

/// Waits for a venue's answer; how long that may take is the adapter's to limit.
fn ask<T>(source: &SourceSpec, answer: Answer<'_, T>) -> Result<T, Failure> {
    source.venue.check().map_err(|e| Failure::usage(format!("sources.{}.{e}", source.name)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("the runtime cannot be made: {e}")))?;
    runtime.block_on(answer).map_err(|failure| Failure::failed(format!("{}: {}", source.name, failure.text)))
}

fn symbols_json(symbols: &[VenueSymbol]) -> Value {
    let one = |s: &VenueSymbol| json!({ "name": s.name, "description": s.description, "digits": s.digits });
    symbols.iter().map(one).collect()
}

fn symbols_table(symbols: &[VenueSymbol]) -> String {
    let row = |s: &VenueSymbol| {
        let digits = s.digits.map_or_else(|| "-".into(), |digits| digits.to_string());
        [s.name.clone(), digits, s.description.clone().unwrap_or_default()]
    };
    table([("SYMBOL", Side::Left), ("DIGITS", Side::Right), ("DESCRIPTION", Side::Left)], symbols.iter().map(row))
}

fn account_json(summary: &AccountSummary, open: &[Position]) -> Value {
    let AccountSummary { currency, balance, equity, margin, free_margin, leverage } = summary;
    let one = |p: &Position| json!({ "id": p.id, "symbol": p.venue_symbol, "size": p.size, "open_price": p.open_price, "profit": p.profit });
    let currency = Some(currency).filter(|word| !word.is_empty());
    json!({
        "currency": currency, "balance": balance, "equity": equity, "margin": margin, "free_margin": free_margin,
        "leverage": leverage, "positions": open.iter().map(one).collect::<Vec<_>>()
    })
}

fn account_table(summary: &AccountSummary, open: &[Position]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<12} {value}\n");
    let amount = |amount: Decimal9| format!("{amount} {}", summary.currency).trim_end().to_string();
    line("balance", amount(summary.balance));
    for (name, told) in [("equity", summary.equity), ("margin", summary.margin), ("free margin", summary.free_margin)] {
        line(name, told.map_or_else(|| "-".into(), amount));
    }
    line("leverage", summary.leverage.map_or_else(|| "-".into(), |leverage| format!("1:{leverage}")));
    line("open", format!("{} position(s)", open.len()));
    if open.is_empty() {
        return text;
    }
    let decimal = |value: Option<Decimal9>| value.map_or_else(|| "-".into(), |value| value.to_string());
    let row = |p: &Position| {
        let id = p.id.clone().unwrap_or_else(|| "-".into());
        [id, p.venue_symbol.clone(), p.size.to_string(), decimal(p.open_price), decimal(p.profit)]
    };
    let columns = [
        ("ID", Side::Left),
        ("SYMBOL", Side::Left),
        ("SIZE", Side::Right),
        ("OPENED AT", Side::Right),
        ("PROFIT", Side::Right),
    ];
    text + "\n" + &table(columns, open.iter().map(row))
}

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
}

pub(super) fn table<const N: usize>(columns: [(&str, Side); N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(columns.map(|(name, _)| name.to_string())).chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).zip(columns).map(|((cell, width), (_, side))| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decimal(text: &str) -> Decimal9 {
        text.parse().unwrap()
    }

    fn account() -> (AccountSummary, Vec<Position>) {
        let summary = AccountSummary {
            currency: "EUR".into(),
            balance: decimal("35454.474"),
            equity: Some(decimal("35450")),
            margin: None,
            free_margin: None,
            leverage: Some(decimal("20")),
        };
        let short = Position {
            id: None,
            venue_symbol: "EUR_USD".into(),
            size: decimal("-200"),
            open_price: Some(decimal("1.13032")),
            profit: None,
        };
        (summary, vec![short])
    }

    #[test]
    fn tables_say_a_dash_where_the_venue_says_nothing() {
        let (summary, open) = account();
        assert_eq!(
            account_table(&summary, &open),
            "balance      35454.474 EUR\nequity       35450 EUR\nmargin       -\nfree margin  -\nleverage     1:20\n\
             open         1 position(s)\n\nID  SYMBOL   SIZE  OPENED AT  PROFIT\n-   EUR_USD  -200    1.13032       -\n"
        );
        let symbols = [
            VenueSymbol { name: "EUR_USD".into(), description: Some("EUR/USD".into()), digits: Some(5) },
            VenueSymbol { name: "X".into(), description: None, digits: None },
        ];
        assert_eq!(
            symbols_table(&symbols),
            "SYMBOL   DIGITS  DESCRIPTION\nEUR_USD       5  EUR/USD\nX             -\n"
        );
    }

    #[test]
    fn json_has_exact_decimals_and_nulls() {
        let (summary, open) = account();
        let told = account_json(&summary, &open);
        assert_eq!((&told["balance"], &told["margin"]), (&json!("35454.474"), &Value::Null));
        assert_eq!(told["positions"][0]["open_price"], "1.13032");
        let nameless = AccountSummary { currency: String::new(), ..summary };
        assert_eq!(account_json(&nameless, &[])["currency"], Value::Null);
    }
}

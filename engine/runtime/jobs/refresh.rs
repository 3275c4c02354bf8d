//! What a venue says of its symbols, and of the trading account: kept for whoever looks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Ground, connection_of, wait_for};
use crate::clock;
use crate::control::jobs::{Job, JobError, JobKind, Jobs, Kind, Outcome, Watch};
use crate::feeds::SourceSpec;

/// Longest wait for a venue's whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

pub(super) struct Refresh {
    ground: Arc<Ground>,
    jobs: Arc<Jobs>,
    kind: Kind,
}

impl Refresh {
    pub(super) fn symbols(ground: Arc<Ground>, jobs: Arc<Jobs>) -> Refresh {
        Refresh { ground, jobs, kind: Kind::RefreshSymbols }
    }

    pub(super) fn account(ground: Arc<Ground>, jobs: Arc<Jobs>) -> Refresh {
        Refresh { ground, jobs, kind: Kind::RefreshAccount }
    }
}

impl JobKind for Refresh {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let name = connection_of(job)?;
        let (_, spec) = self.ground.with_connection(name)?;
        spec.venue.check().map_err(|e| JobError::Hopeless(format!("sources.{name}.{e}")))?;
        let late = || JobError::Failed(format!("{name}: no whole answer within {} s", ANSWER_WITHIN.as_secs()));
        let (subject, (answer, message)) = match self.kind {
            Kind::RefreshAccount => {
                let asked = async { tokio::time::timeout(ANSWER_WITHIN, account(&spec)).await.map_err(|_| late())? };
                ("account", wait_for(asked, watch)?)
            }
            _ => {
                let asked = async { tokio::time::timeout(ANSWER_WITHIN, symbols(&spec)).await.map_err(|_| late())? };
                ("symbols", wait_for(asked, watch)?)
            }
        };
        let kept = self.jobs.keep_answer(name, subject, &answer, clock::machine_ns());
        kept.map_err(|e| JobError::Failed(e.to_string()))?;
        Ok(Outcome { rows: None, message })
    }
}

async fn symbols(spec: &SourceSpec) -> Result<(Value, String), JobError> {
    let list = spec.venue.any_symbol_list();
    let list = list.ok_or_else(|| JobError::Hopeless(format!("{} has no list of symbols", spec.name)))?;
    let found = list.symbols().await.map_err(|failure| JobError::Failed(format!("{}: {}", spec.name, failure.text)))?;
    let one = |s: &crate::feeds::adapters::VenueSymbol| json!({ "name": s.name, "description": s.description, "digits": s.digits });
    Ok((found.iter().map(one).collect(), format!("{} symbols", found.len())))
}

async fn account(spec: &SourceSpec) -> Result<(Value, String), JobError> {
    let account = spec.venue.any_account();
    let account = account.ok_or_else(|| JobError::Hopeless(format!("{} has no account to look at", spec.name)))?;
    let failed = |failure: crate::feeds::net::Failure| JobError::Failed(format!("{}: {}", spec.name, failure.text));
    let (summary, open) = (account.summary().await.map_err(failed)?, account.positions().await.map_err(failed)?);
    let one = |p: &crate::feeds::adapters::Position| json!({ "id": p.id, "symbol": p.venue_symbol, "size": p.size, "open_price": p.open_price, "profit": p.profit });
    let currency = Some(&summary.currency).filter(|word| !word.is_empty());
    let answer = json!({
        "currency": currency, "balance": summary.balance, "equity": summary.equity, "margin": summary.margin,
        "free_margin": summary.free_margin, "leverage": summary.leverage,
        "positions": open.iter().map(one).collect::<Vec<_>>(),
    });
    // The figures are the owner's to see: not in a message that those see who manage jobs.
    Ok((answer, format!("the account and {} open positions", open.len())))
}

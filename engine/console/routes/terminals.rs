//! `GET /api/terminals`: who is connected.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tickwire_schemas::control::Delivery;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console::api::{ApiError, ErrorBody, Shared, time};
use crate::console::health::round;
use crate::console::viewer::Viewer;
use crate::control::users::Permission;
use crate::fanout::{Subscribed, TerminalShown};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(terminals))
}

/// Who is connected over QUIC.
#[derive(Debug, Serialize, ToSchema)]
struct Terminals {
    /// In the order in which they came; figures are a second old at most.
    terminals: Vec<Terminal>,
    totals: Totals,
}

/// A terminal.
#[derive(Debug, Serialize, ToSchema)]
struct Terminal {
    /// Counts those of this run, from 1.
    id: u64,
    /// The user that its token belongs to; empty for an anonymous one of this machine.
    user: String,
    /// Name of the token.
    token: String,
    /// Address and port.
    address: String,
    /// RFC 3339.
    connected_at: String,
    subscriptions: Vec<Subscription>,
    /// Records handed to its connection.
    delivered: u64,
    /// Records that a newer one replaced before it took them.
    skipped: u64,
    /// Bytes handed to its connection.
    bytes: u64,
    /// A round trip, as its connection estimates it.
    rtt_ms: f64,
    /// Mean time from publication to its connection over the last second with live records; absent before.
    #[schema(required)]
    latency_ms: Option<f64>,
}

/// What a terminal asked for.
#[derive(Debug, Serialize, ToSchema)]
struct Subscription {
    /// Symbols and globs, the first 20.
    symbols: Vec<String>,
    /// Kinds of record.
    kinds: Vec<&'static str>,
    /// Sources and globs, the first 20; absent: all that it may see.
    #[schema(required)]
    sources: Option<Vec<String>>,
    /// `latest` or `all`.
    delivery: &'static str,
}

/// All together.
#[derive(Debug, Serialize, ToSchema)]
struct Totals {
    terminals: u64,
    delivered: u64,
    skipped: u64,
}

/// The terminals.
///
/// Needs the permission view-system.
#[utoipa::path(get, path = "/api/terminals", tag = "system", responses(
    (status = 200, description = "Who is connected", body = Terminals),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
))]
async fn terminals(viewer: Viewer, State(services): State<Shared>) -> Result<Json<Terminals>, ApiError> {
    viewer.needs(Permission::ViewSystem)?;
    let connected = services.sampler.facts().fanout.connected();
    let totals = Totals {
        terminals: connected.len() as u64,
        delivered: connected.iter().map(|terminal| terminal.delivered).sum(),
        skipped: connected.iter().map(|terminal| terminal.skipped).sum(),
    };
    Ok(Json(Terminals { terminals: connected.iter().map(Terminal::from).collect(), totals }))
}

impl From<&TerminalShown> for Terminal {
    fn from(shown: &TerminalShown) -> Terminal {
        Terminal {
            id: shown.id,
            user: shown.user.clone(),
            token: shown.token.clone(),
            address: shown.address.to_string(),
            connected_at: time(shown.since_ns),
            subscriptions: shown.subscriptions.iter().map(Subscription::from).collect(),
            delivered: shown.delivered,
            skipped: shown.skipped,
            bytes: shown.bytes,
            rtt_ms: round(shown.rtt.as_secs_f64() * 1e3),
            latency_ms: shown.latency_ns.map(|ns| round(ns as f64 / 1e6)),
        }
    }
}

impl From<&Subscribed> for Subscription {
    fn from(asked: &Subscribed) -> Subscription {
        Subscription {
            symbols: asked.symbols.clone(),
            kinds: asked.kinds.iter().map(|kind| kind.word()).collect(),
            sources: asked.sources.clone(),
            delivery: match asked.delivery {
                Delivery::Latest => "latest",
                Delivery::All => "all",
            },
        }
    }
}

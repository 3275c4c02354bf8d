//! `GET /api/instruments`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console::api::{ErrorBody, Shared};
use crate::console::viewer::Viewer;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(instruments))
}

/// What is traded.
#[derive(Debug, Serialize, ToSchema)]
struct InstrumentShown {
    symbol: String,
    /// `fx`, `metal`, `index` or `crypto`.
    class: &'static str,
    /// Digits after the point in which it is quoted.
    digits: u8,
    /// The pip, exact decimal.
    pip: String,
    /// Sources that have said a price of it in this run and that the viewer may read; `best` is always there beside them.
    sources: Vec<String>,
}

/// All instruments.
#[derive(Debug, Serialize, ToSchema)]
struct Instruments {
    instruments: Vec<InstrumentShown>,
}

/// The instruments, with the sources that the viewer may read of each.
#[utoipa::path(get, path = "/api/instruments", tag = "market data", responses(
    (status = 200, description = "All instruments, by symbol", body = Instruments),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn instruments(viewer: Viewer, State(services): State<Shared>) -> Json<Instruments> {
    let view = services.shown.now();
    let mut sources = services.live.sources_by_symbol();
    let mut instruments: Vec<InstrumentShown> = Vec::new();
    for instrument in view.market.instruments() {
        let said = sources.remove(&instrument.symbol).unwrap_or_default();
        let mut sources: Vec<String> =
            said.into_iter().filter(|source| viewer.reads(source)).map(|source| source.name).collect();
        sources.sort();
        instruments.push(InstrumentShown {
            symbol: instrument.symbol.clone(),
            class: instrument.class.word(),
            digits: instrument.digits,
            pip: instrument.pip.to_string(),
            sources,
        });
    }
    instruments.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    Json(Instruments { instruments })
}

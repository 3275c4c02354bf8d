//! Live prices as server-sent events: a whole snapshot first, then what has changed, as fast as who reads takes it.
//!
//! Nothing is queued for a reader: each looks at the board when the connection takes more, at most every 250 ms, and is
//! sent what has changed since it last looked. A stream ends when whoever opened it is not let in any more, or may something
//! else than then: `viewer.rs` sees to that for all answers that go on.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tickwire_schemas::words::Timeframe;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bars::BarShown;
use super::series::{best, readable, symbol, timeframe, too_many_streams};
use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Shared};
use crate::console::extract::{ApiPath, ApiQuery};
use crate::console::live::{DepthShown, GapShown, Looked, Permit, QuoteShown};
use crate::console::viewer::Viewer;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(quotes)).routes(routes!(symbol_stream)).routes(routes!(sparklines))
}

/// Least time between two events of one kind.
const PACE: Duration = Duration::from_millis(250);

/// Without any change the states are looked at so often: prices grow old without one.
const AGES: Duration = Duration::from_secs(1);

const HEARTBEAT: Duration = Duration::from_secs(15);

/// After how long a browser connects again.
const RETRY: Duration = Duration::from_secs(2);

/// What is looked at.
enum Subject {
    Quotes,
    Symbol { symbol: String, source: String, timeframe: Timeframe },
}

/// One open stream.
struct Watching {
    services: Shared,
    viewer: Viewer,
    subject: Arc<Subject>,
    looked: Looked,
    changes: watch::Receiver<u64>,
    /// Of one look; filled when it is empty.
    queue: VecDeque<Event>,
    first: bool,
    /// Not before this the next look.
    due: Instant,
    _permit: Permit,
}

impl Watching {
    fn new(services: &Shared, viewer: Viewer, subject: Subject) -> Result<Watching, ApiError> {
        let permit = services.streams.permit(&viewer.name).ok_or_else(too_many_streams)?;
        Ok(Watching {
            services: services.clone(),
            viewer,
            subject: Arc::new(subject),
            looked: Looked::default(),
            changes: services.live.changes(),
            queue: VecDeque::new(),
            first: true,
            due: Instant::now(),
            _permit: permit,
        })
    }

    fn into_response(self) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
        let events = stream::unfold(self, |mut watching| async move {
            let event = watching.next().await?;
            Some((Ok(event), watching))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if !self.first {
                tokio::time::sleep_until(self.due).await;
                tokio::select! {
                    changed = self.changes.changed() => changed.ok()?,
                    () = tokio::time::sleep(AGES) => {}
                }
            }
            self.changes.borrow_and_update();
            self.due = Instant::now() + PACE;
            self.look();
        }
    }

    fn look(&mut self) {
        let (board, subject, now_ns) = (self.services.live.clone(), Arc::clone(&self.subject), clock::now_ns());
        match &*subject {
            Subject::Quotes => {
                let quotes = board.quotes(&self.viewer, &mut self.looked, now_ns);
                if self.first || !quotes.is_empty() {
                    self.push("quotes", &quotes);
                }
            }
            Subject::Symbol { symbol, source, timeframe } => {
                let depth = board.depth(&self.viewer, symbol, &mut self.looked, now_ns);
                let of = (source.as_str(), symbol.as_str(), timeframe.code());
                let (bars, gaps) = board.bars_and_gaps(&self.viewer, of, &mut self.looked);
                if self.first || !depth.is_empty() {
                    self.push("depth", &depth);
                }
                for bar in &bars {
                    let bar = BarShown::from(bar);
                    self.push("bar", &LiveBar { source: source.clone(), timeframe: timeframe.word(), bar });
                }
                gaps.iter().for_each(|gap| self.push("gap", gap));
            }
        }
        self.first = false;
    }

    fn push(&mut self, name: &str, data: &impl Serialize) {
        // Of what is ours to serialize nothing fails.
        let Ok(text) = serde_json::to_string(data) else { return };
        let mut event = Event::default().event(name).data(text);
        if self.first && self.queue.is_empty() {
            event = event.retry(RETRY);
        }
        self.queue.push_back(event);
    }
}

/// The newest bar of a series.
#[derive(Debug, Serialize, ToSchema)]
struct LiveBar {
    source: String,
    timeframe: &'static str,
    bar: BarShown,
}

/// The names of what the events of a symbol carry, for the document alone.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code)]
struct SymbolEvents {
    /// Event `depth`: what changed, by source.
    depth: Vec<DepthShown>,
    /// Event `bar`.
    bar: LiveBar,
    /// Event `gap`.
    gap: GapShown,
}

/// The best price of every symbol: events `quotes`, each a list of what changed; the first is of all.
#[utoipa::path(get, path = "/api/live/quotes", tag = "live", responses(
    (status = 200, description = "Server-sent events `quotes`", body = Vec<QuoteShown>, content_type = "text/event-stream"),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 429, description = "Too many streams of this user", body = ErrorBody),
))]
async fn quotes(
    viewer: Viewer,
    State(services): State<Shared>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    Ok(Watching::new(&services, viewer, Subject::Quotes)?.into_response())
}

/// Whose bars.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Bars {
    /// Name of a source, or `best` for the common price.
    #[serde(default = "best")]
    #[param(default = "best")]
    source: String,
    /// Length of a bar: M1, M5, M15, M30, H1, H4, D1, W1 or MN.
    #[serde(default = "minute")]
    #[param(default = "M1", pattern = "^(M1|M5|M15|M30|H1|H4|D1|W1|MN)$")]
    timeframe: String,
}

fn minute() -> String {
    Timeframe::M1.word().into()
}

/// One symbol: events `depth` (by source, what changed), `bar` (of the source and length asked for) and `gap`.
#[utoipa::path(get, path = "/api/live/symbols/{symbol}", tag = "live",
    params(("symbol" = String, Path, description = "Canonical symbol"), Bars), responses(
    (status = 200, description = "Server-sent events `depth`, `bar` and `gap`", body = SymbolEvents, content_type = "text/event-stream"),
    (status = 400, description = "A parameter makes no sense", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such symbol or source, or another's source", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 429, description = "Too many streams of this user", body = ErrorBody),
))]
async fn symbol_stream(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(bars): ApiQuery<Bars>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let symbol = symbol(&name)?;
    let timeframe = timeframe(&bars.timeframe)?;
    // A source that this run does not know says nothing now.
    readable(&services, &viewer, &bars.source)?.found(&bars.source, false)?;
    if services.shown.now().market.instruments().iter().all(|known| known.symbol != symbol) {
        return Err(ApiError::not_found(format!("symbol {symbol}")));
    }
    let subject = Subject::Symbol { symbol, source: bars.source, timeframe };
    Ok(Watching::new(&services, viewer, subject)?.into_response())
}

/// The mid of the common price, ten seconds from point to point, over the last ten minutes, oldest first; a symbol has
/// fewer points when it had no price before.
#[utoipa::path(get, path = "/api/live/sparklines", tag = "live", responses(
    (status = 200, description = "By symbol", body = BTreeMap<String, Vec<String>>),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn sparklines(_viewer: Viewer, State(services): State<Shared>) -> Json<BTreeMap<String, Vec<String>>> {
    Json(services.live.sparklines(clock::now_ns()))
}

//! `GET /api/gaps`: the ledger of holes. `POST /api/gaps/{epoch}/{id}/repair`: try once more to mend one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tickwire_schemas::words::GapState;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console::api::{ApiError, ErrorBody, Paging, Shared, time};
use crate::console::extract::{ApiPath, ApiQuery};
use crate::console::health::View;
use crate::console::viewer::Viewer;
use crate::control::users::{Permission, Role};
use crate::quality::Hole;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(gaps)).routes(routes!(repair))
}

/// Which holes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `open`, `closed`, `repaired` or `lost`.
    state: Option<String>,
    /// Name of a source.
    source: Option<String>,
    /// Canonical symbol: holes of all of a source's symbols are among them.
    symbol: Option<String>,
    /// Entries, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
}

/// A page of holes.
#[derive(Debug, Serialize, ToSchema)]
struct Gaps {
    gaps: Vec<Gap>,
    next: Option<String>,
}

/// A hole in the data.
#[derive(Debug, Serialize, ToSchema)]
struct Gap {
    /// The start of the engine in which it opened.
    epoch: u32,
    /// Its number there.
    id: u64,
    /// Empty: every source.
    source: String,
    /// Absent: every symbol of the source.
    symbol: Option<String>,
    /// Last data before it, RFC 3339; absent: there never was any.
    from: Option<String>,
    /// First data after it; absent while it is open.
    to: Option<String>,
    /// Why.
    cause: String,
    /// `open`, `closed`, `repaired` or `lost`.
    state: String,
    /// Events known to be missing; absent when unknown.
    lost: Option<u64>,
    /// Whether the viewer may let it be tried again.
    repairable: bool,
}

/// Who owns a source: empty for a global one; `None` when this run does not know it.
fn owner_of<'a>(view: &'a View, source: &str) -> Option<&'a str> {
    let known = view.market.sources().iter().find(|known| known.name == source);
    known.map(|known| known.owner.as_str())
}

/// Whether a viewer may see a hole of this source: as its data. What is about every source is everybody's.
fn reads(viewer: &Viewer, view: &View, source: &str) -> bool {
    let known = view.market.sources().iter().find(|known| known.name == source);
    source.is_empty() || known.is_some_and(|known| viewer.reads(known))
}

fn may_repair(viewer: &Viewer, view: &View, source: &str) -> bool {
    let owns = owner_of(view, source).is_some_and(|owner| !owner.is_empty() && owner == viewer.name);
    viewer.role != Role::Demo && (owns || viewer.has(Permission::ManageJobs))
}

/// Holes, the newest first.
#[utoipa::path(get, path = "/api/gaps", tag = "system", params(Filter), responses(
    (status = 200, description = "A page of holes", body = Gaps),
    (status = 400, description = "Not understood", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 422, description = "A wrong value", body = ErrorBody),
))]
async fn gaps(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Gaps>, ApiError> {
    let state = filter.state.as_deref().map(|word| {
        GapState::from_word(word).ok_or_else(|| {
            ApiError::field("state", format!("state: \"{word}\" is none, expected open, closed, repaired or lost"))
        })
    });
    let state = state.transpose()?;
    let facts = services.sampler.facts();
    let (view, holes) = (facts.shown.now(), facts.quality.holes());
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let wanted = |hole: &&Hole| {
        state.is_none_or(|state| state == hole.state)
            && is(&filter.source, &hole.source)
            && (hole.symbol.is_empty() || is(&filter.symbol, &hole.symbol))
            && reads(&viewer, &view, &hole.source)
    };
    let mut found: Vec<&Hole> = holes.open.iter().chain(&holes.newest).filter(wanted).collect();
    found.sort_by_key(|hole| std::cmp::Reverse(hole.key));
    page(&found, &filter, |hole| may_repair(&viewer, &view, &hole.source)).map(Json)
}

fn page(found: &[&Hole], filter: &Filter, may_repair: impl Fn(&Hole) -> bool) -> Result<Gaps, ApiError> {
    let limit = Paging::new(filter.limit, None).limit()? as usize;
    let before = filter.before.as_deref().map(key).transpose()?;
    let mut rest = found.iter().filter(|hole| before.is_none_or(|before| hole.key < before));
    let gaps: Vec<Gap> = rest.by_ref().take(limit).map(|hole| Gap::of(hole, may_repair(hole))).collect();
    let more = rest.next().is_some();
    let next = gaps.last().filter(|_| more).map(|gap| format!("{}-{}", gap.epoch, gap.id));
    Ok(Gaps { gaps, next })
}

/// The key that a `next` holds.
fn key(text: &str) -> Result<(u32, u64), ApiError> {
    let parts = text.split_once('-').and_then(|(epoch, id)| Some((epoch.parse().ok()?, id.parse().ok()?)));
    parts.ok_or_else(|| ApiError::field("before", "before: is no `next` of a page"))
}

impl Gap {
    fn of(hole: &Hole, may_repair: bool) -> Gap {
        Gap {
            epoch: hole.key.0,
            id: hole.key.1,
            source: hole.source.to_string(),
            symbol: (!hole.symbol.is_empty()).then(|| hole.symbol.to_string()),
            from: hole.from_ns.map(time),
            to: hole.to_ns.map(time),
            cause: hole.cause.word().into(),
            state: hole.state.word().into(),
            lost: hole.lost,
            repairable: may_repair && hole.state == GapState::Lost,
        }
    }
}

/// Lets a hole that was lost in this run wait again to be mended.
///
/// Needs the permission manage-jobs, or to own the source.
#[utoipa::path(post, path = "/api/gaps/{epoch}/{id}/repair", tag = "system",
    params(("epoch" = u32, Path, description = "Start of the engine"), ("id" = u64, Path, description = "Its number")),
    responses(
        (status = 202, description = "It will be tried again"),
        (status = 401, description = "Not signed in", body = ErrorBody),
        (status = 403, description = "Not allowed", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "It is not lost, or there is no time for it now", body = ErrorBody),
    ))]
async fn repair(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath((epoch, id)): ApiPath<(u32, u64)>,
) -> Result<StatusCode, ApiError> {
    let facts = services.sampler.facts();
    let (view, holes) = (facts.shown.now(), facts.quality.holes());
    let found = holes.open.iter().chain(&holes.newest).find(|hole| hole.key == (epoch, id));
    let hole = found.filter(|hole| reads(&viewer, &view, &hole.source));
    let hole = hole.ok_or_else(|| ApiError::not_found(format!("hole {id} of start {epoch}")))?;
    if !may_repair(&viewer, &view, &hole.source) {
        return Err(ApiError::forbidden("this needs the permission manage-jobs"));
    }
    if hole.state != GapState::Lost {
        return Err(ApiError::conflict(format!("the hole is {}, expected one that is lost", hole.state)));
    }
    if !(facts.retry_gap)(epoch, id) {
        return Err(ApiError::conflict("holes are not mended now: switched off, or too many orders wait"));
    }
    Ok(StatusCode::ACCEPTED)
}

//! `GET /api/gaps`: the ledger of holes. `POST /api/gaps/{epoch}/{id}/repair`: try once more to mend one.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tickwire_schemas::words::GapState;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::series::away;
use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Paging, Shared, blocking, time};
use crate::console::extract::{ApiPath, ApiQuery};
use crate::console::health::View;
use crate::console::viewer::Viewer;
use crate::control::jobs::{Kind, Parameters, Request};
use crate::control::users::{Permission, Role};
use crate::market::{Scope, Source};
use crate::quality::Hole;
use crate::storage::MarketData;
use crate::storage::market_data::{GapQuestion, StoredGap};
use crate::storage::rows::Audience;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(gaps)).routes(routes!(repair))
}

/// Which holes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `open`, `closed`, `repaired` or `lost`.
    #[param(pattern = "^(open|closed|repaired|lost)$")]
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
    #[schema(required)]
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
    #[schema(required)]
    symbol: Option<String>,
    /// Last data before it, RFC 3339; absent: there never was any.
    #[schema(required)]
    from: Option<String>,
    /// First data after it; absent while it is open.
    #[schema(required)]
    to: Option<String>,
    /// Why.
    cause: String,
    /// `open`, `closed`, `repaired` or `lost`.
    state: String,
    /// Events known to be missing; absent when unknown.
    #[schema(required)]
    lost: Option<u64>,
    /// Whether the viewer may let it be tried again.
    repairable: bool,
}

/// What a viewer may do with holes.
struct Eyes<'a> {
    viewer: &'a Viewer,
    view: &'a View,
}

impl Eyes<'_> {
    fn known(&self, source: &str) -> Option<&Source> {
        self.view.market.sources().iter().find(|known| known.name == source)
    }

    /// Whether they may see a hole of this source: as its data. What is about every source is everybody's. A source that
    /// this run does not know was a global one where its rows are those of global ones.
    fn sees(&self, audience: Audience, source: &str) -> bool {
        match self.known(source) {
            _ if source.is_empty() => true,
            Some(known) => self.viewer.reads(known) && Audience::from(known.scope) == audience,
            None => audience == Audience::Global && self.viewer.reads_of(Scope::Global, "", source),
        }
    }

    fn sees_hole(&self, hole: &Hole) -> bool {
        let audience = self.known(&hole.source).map_or(Audience::Global, |known| known.scope.into());
        self.sees(audience, &hole.source)
    }

    fn may_repair(&self, source: &str) -> bool {
        let owns = self.known(source).is_some_and(|known| !known.owner.is_empty() && known.owner == self.viewer.name);
        self.viewer.role != Role::Demo && (owns || self.viewer.has(Permission::ManageJobs))
    }

    /// Whether they have a source of their own.
    fn has_private(&self) -> bool {
        let own = |source: &Source| source.scope == Scope::Private && self.viewer.reads(source);
        self.view.market.sources().iter().any(own)
    }
}

/// Holes, the newest first.
#[utoipa::path(get, path = "/api/gaps", tag = "system", params(Filter), responses(
    (status = 200, description = "A page of holes", body = Gaps),
    (status = 400, description = "Not understood", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 422, description = "A wrong value", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn gaps(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Gaps>, ApiError> {
    let asked = filter.read()?;
    let (view, holes) = (services.shown.now(), services.sampler.facts().quality.holes());
    let eyes = Eyes { viewer: &viewer, view: &view };
    // What this run knows is newer than what is stored.
    let mut found: BTreeMap<Key, Gap> = BTreeMap::new();
    let now: Vec<&Hole> = holes.open.iter().chain(&holes.newest).collect();
    for hole in now.iter().filter(|hole| asked.takes(hole) && eyes.sees_hole(hole)) {
        found.insert(hole.key, Gap::of(hole, eyes.may_repair(&hole.source)));
    }
    if let Some(stored) = &services.market_data {
        let newer: BTreeSet<Key> = now.iter().map(|hole| hole.key).collect();
        let audiences: &[Audience] =
            if eyes.has_private() { &[Audience::Global, Audience::Private] } else { &[Audience::Global] };
        for audience in audiences {
            let more = read(stored, *audience, &asked, |gap| {
                eyes.sees(*audience, &gap.source) && !newer.contains(&(gap.epoch, gap.id))
            });
            found.extend(more.await?.into_iter().map(|gap| ((gap.epoch, gap.id), gap)));
        }
    }
    let mut newest = found.into_values().rev();
    let gaps: Vec<Gap> = newest.by_ref().take(asked.limit).collect();
    let more = newest.next().is_some();
    let next = gaps.last().filter(|_| more).map(|gap| format!("{}-{}", gap.epoch, gap.id));
    Ok(Json(Gaps { gaps, next }))
}

/// Rows read at one time, and how often for one page: who sees few of the holes gets shorter pages.
const ROWS: u32 = 1_000;
const READS_MAX: usize = 10;

/// One more than a page, so that it is known whether there are more.
async fn read(
    stored: &MarketData,
    audience: Audience,
    asked: &Asked<'_>,
    wanted: impl Fn(&StoredGap) -> bool,
) -> Result<Vec<Gap>, ApiError> {
    let (mut before, mut found) = (asked.before, Vec::new());
    for _ in 0..READS_MAX {
        let state = asked.state.map_or("", GapState::word);
        let question = GapQuestion { state, source: asked.source, symbol: asked.symbol, before };
        let rows = stored.gaps(audience, question, ROWS).await.map_err(away)?;
        let is_last = rows.len() < ROWS as usize;
        before = rows.last().map(|gap| (gap.epoch, gap.id));
        found.extend(rows.into_iter().filter(&wanted).map(Gap::from));
        if is_last || found.len() > asked.limit {
            break;
        }
    }
    Ok(found)
}

/// Start of the engine, and number there.
type Key = (u32, u64);

/// What is asked for, understood.
struct Asked<'a> {
    state: Option<GapState>,
    source: &'a str,
    symbol: &'a str,
    limit: usize,
    before: Option<Key>,
}

impl Filter {
    fn read(&self) -> Result<Asked<'_>, ApiError> {
        let state = self.state.as_deref().map(|word| {
            let expected = "state: is none of open, closed, repaired and lost";
            GapState::from_word(word).ok_or_else(|| ApiError::field("state", expected))
        });
        Ok(Asked {
            state: state.transpose()?,
            source: self.source.as_deref().unwrap_or_default(),
            symbol: self.symbol.as_deref().unwrap_or_default(),
            limit: Paging::new(self.limit, None).limit()? as usize,
            before: self.before.as_deref().map(key).transpose()?,
        })
    }
}

impl Asked<'_> {
    fn takes(&self, hole: &Hole) -> bool {
        self.state.is_none_or(|state| state == hole.state)
            && (self.source.is_empty() || *hole.source == *self.source)
            && (self.symbol.is_empty() || hole.symbol.is_empty() || *hole.symbol == *self.symbol)
            && self.before.is_none_or(|before| hole.key < before)
    }
}

/// The key that a `next` holds.
fn key(text: &str) -> Result<Key, ApiError> {
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

impl From<StoredGap> for Gap {
    fn from(stored: StoredGap) -> Gap {
        Gap {
            epoch: stored.epoch,
            id: stored.id,
            source: stored.source,
            symbol: Some(stored.symbol).filter(|symbol| !symbol.is_empty()),
            from: Some(time(stored.from_ns)),
            to: stored.to_ns.map(time),
            cause: stored.cause,
            state: stored.state,
            lost: stored.lost,
            // Only what was lost in this run is remembered by who mends.
            repairable: false,
        }
    }
}

/// Lets a hole that was lost in this run wait again to be mended.
///
/// Needs the permission manage-jobs, or to own the source.
#[utoipa::path(post, path = "/api/gaps/{epoch}/{id}/repair", tag = "system",
    params(("epoch" = u32, Path, description = "Start of the engine"), ("id" = u64, Path, description = "Its number")),
    responses(
        (status = 202, description = "A job is queued that tries again"),
        (status = 401, description = "Not signed in", body = ErrorBody),
        (status = 403, description = "Not allowed", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "It is not lost, or too many jobs wait", body = ErrorBody),
    ))]
async fn repair(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath((epoch, id)): ApiPath<(u32, u64)>,
) -> Result<StatusCode, ApiError> {
    let (view, holes) = (services.shown.now(), services.sampler.facts().quality.holes());
    let eyes = Eyes { viewer: &viewer, view: &view };
    let none = || ApiError::not_found(format!("hole {id} of start {epoch}"));
    let Some(hole) = holes.open.iter().chain(&holes.newest).find(|hole| hole.key == (epoch, id)) else {
        let source = stored(&services, &eyes, (epoch, id)).await?.ok_or_else(none)?;
        if !eyes.may_repair(&source) {
            return Err(ApiError::forbidden("this needs the permission manage-jobs"));
        }
        let problem = "the hole is of an earlier start of the engine, or no longer among the newest: fetch its bars by a backfill";
        return Err(ApiError::conflict(problem));
    };
    if !eyes.sees_hole(hole) {
        return Err(none());
    }
    if !eyes.may_repair(&hole.source) {
        return Err(ApiError::forbidden("this needs the permission manage-jobs"));
    }
    if hole.state != GapState::Lost {
        return Err(ApiError::conflict(format!("the hole is {}, expected one that is lost", hole.state)));
    }
    let request = Request {
        kind: Kind::Repair,
        connection: Some(hole.source.to_string()).filter(|source| !source.is_empty()),
        owner: eyes.known(&hole.source).map(|known| known.owner.clone()).unwrap_or_default(),
        parameters: Parameters { gap: Some((epoch, id)), ..Parameters::default() },
        requested_by: viewer.name.clone(),
    };
    let attempts = services.desk.attempts;
    blocking(move || Ok(services.jobs.queue(&request, attempts, clock::machine_ns())?)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The source of a hole that is stored and that the viewer sees.
async fn stored(services: &Shared, eyes: &Eyes<'_>, key: Key) -> Result<Option<String>, ApiError> {
    let Some(stored) = &services.market_data else { return Ok(None) };
    for audience in [Audience::Global, Audience::Private] {
        let question = GapQuestion { before: Some((key.0, key.1.saturating_add(1))), ..GapQuestion::default() };
        let found = stored.gaps(audience, question, 1).await.map_err(away)?;
        let found = found.into_iter().find(|gap| (gap.epoch, gap.id) == key && eyes.sees(audience, &gap.source));
        if let Some(gap) = found {
            return Ok(Some(gap.source));
        }
    }
    Ok(None)
}

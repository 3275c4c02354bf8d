//! Settings that are changed while the engine runs.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::given;
use crate::clock;
use crate::console::api::{ApiError, Services, Shared, blocking};
use crate::console::extract::ApiJson;
use crate::console::viewer::Viewer;
use crate::control::settings::APPROVED_PROVIDERS;
use crate::control::users::Permission;
use crate::feeds::adapters;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(show, change))
}

/// The settings.
#[derive(Serialize, ToSchema)]
#[schema(as = Settings)]
struct SettingsView {
    /// Words of the adapters that new connections may use; null: all.
    #[schema(required)]
    approved_providers: Option<Vec<String>>,
}

fn view(services: &Services) -> Result<SettingsView, ApiError> {
    Ok(SettingsView { approved_providers: services.settings.approved_providers()? })
}

/// The settings.
#[utoipa::path(get, path = "/api/settings", tag = "settings", responses(
    (status = 200, description = "The settings", body = SettingsView)))]
async fn show(State(services): State<Shared>, viewer: Viewer) -> Result<Json<SettingsView>, ApiError> {
    viewer.needs(Permission::ManageSettings)?;
    blocking(move || view(&services).map(Json)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsBody {
    /// Words of the adapters that new connections may use; null: all; left out: as it was.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    approved_providers: Option<Option<Vec<String>>>,
}

/// Changes settings: what is left out stays.
#[utoipa::path(put, path = "/api/settings", tag = "settings", request_body = SettingsBody, responses(
    (status = 200, description = "As they are now", body = SettingsView)))]
async fn change(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(body): ApiJson<SettingsBody>,
) -> Result<Json<SettingsView>, ApiError> {
    viewer.needs(Permission::ManageSettings)?;
    if let Some(Some(words)) = &body.approved_providers {
        check_adapters(words)?;
    }
    blocking(move || {
        let now_ns = clock::machine_ns();
        if let Some(words) = body.approved_providers {
            let message = match &words {
                Some(words) => format!("approved providers: {}", words.join(", ")),
                None => "approved providers: all".into(),
            };
            services.settings.put(APPROVED_PROVIDERS, &serde_json::json!(words), now_ns)?;
            services.users.note(&viewer.actor(), "settings", &message, now_ns)?;
        }
        view(&services).map(Json)
    })
    .await
}

fn check_adapters(words: &[String]) -> Result<(), ApiError> {
    let known: Vec<&str> = adapters::adapters().iter().map(|adapter| adapter.name).collect();
    if words.iter().all(|word| known.contains(&word.as_str())) {
        return Ok(());
    }
    let field = "approved_providers";
    Err(ApiError::field(field, format!("{field}: expected words of adapters: {}", known.join(", "))))
}

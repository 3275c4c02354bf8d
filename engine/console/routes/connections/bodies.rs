//! What is asked of connections, and how it is refused.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use utoipa::{IntoResponses, ToSchema};
use zeroize::Zeroize;

use crate::console::api::{ApiError, ErrorBody};
use crate::console::viewer::Viewer;
use crate::control::service::{InstrumentWanted, Limits, Service, ServiceError, Wanted};
use crate::control::users::Permission;

/// A body with the keys of a connection, and others in front of them.
macro_rules! body {
    ($(#[$meta:meta])* $name:ident { $($first:tt)* }) => {
        $(#[$meta])*
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($first)*
            /// Who stands behind it, in words.
            #[schema(max_length = 200)]
            provider: Option<String>,
            /// Keys of the adapter, by their names or by paths with points; `null` takes one away.
            #[serde(default)]
            #[schema(value_type = Object)]
            config: Map<String, Json>,
            /// Secrets by their keys; an empty one is not given.
            #[serde(default)]
            secrets: BTreeMap<String, String>,
            /// All of its symbols, and what the venue calls them; an empty name is the venue's usual one.
            symbols: Option<BTreeMap<String, String>>,
            /// Lengths of the past bars that are fetched for it, such as `M1`.
            timeframes: Option<Vec<String>>,
            /// Whether each tick is stored.
            stores_ticks: Option<bool>,
            /// Days that its rows are kept for.
            #[schema(minimum = 1, maximum = 36500)]
            retention_days: Option<u32>,
            /// What is known of symbols that no configuration has, where their names do not say it.
            #[serde(default)]
            instruments: BTreeMap<String, InstrumentWanted>,
        }

        impl $name {
            /// What it asks of the connection's keys.
            #[allow(clippy::field_reassign_with_default, reason = "its secrets are wiped: it is not taken apart")]
            pub(super) fn wanted(&mut self) -> Wanted {
                let mut wanted = Wanted::default();
                wanted.provider = self.provider.take();
                wanted.config = std::mem::take(&mut self.config);
                wanted.secrets = std::mem::take(&mut self.secrets);
                wanted.symbols = self.symbols.take();
                wanted.timeframes = self.timeframes.take();
                wanted.stores_ticks = self.stores_ticks;
                wanted.retention_days = self.retention_days;
                wanted.instruments = std::mem::take(&mut self.instruments);
                wanted
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.secrets.values_mut().for_each(Zeroize::zeroize);
            }
        }
    };
}

body! {
    /// A new connection.
    NewConnection {
        /// Name of its source: at most 64 of a-z, 0-9, _ and -.
        #[schema(min_length = 1, max_length = 64)]
        pub(super) name: String,
        /// Word of its adapter.
        pub(super) adapter: String,
        /// Whether it is the viewer's alone; by default where they may not make global ones.
        pub(super) private: Option<bool>,
    }
}

body! {
    /// What is to be changed of a connection.
    ChangedConnection {}
}

body! {
    /// A connection that is not kept.
    DraftConnection {
        /// Name of one that is: its stored secrets stand in for those that are not given.
        pub(super) name: Option<String>,
        /// Word of its adapter.
        pub(super) adapter: String,
        /// Whether it would be the viewer's alone.
        #[allow(dead_code, reason = "a form sends the same body to be tried as to be kept")]
        private: Option<bool>,
        /// Part of a symbol or of its description, for the list of symbols.
        pub(super) search: Option<String>,
        /// Most symbols of the list, 1 to 1000.
        #[schema(minimum = 1, maximum = 1000)]
        pub(super) limit: Option<u32>,
    }
}

/// How requests about connections are refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the document is made of it")]
pub(super) enum Refusals {
    /// Not understood.
    #[response(status = 400)]
    Malformed(ErrorBody),
    /// Not signed in.
    #[response(status = 401)]
    NotSignedIn(ErrorBody),
    /// They may not.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is none, or it is another's.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The name is taken, it is read-only, or the engine did not take it up.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too long.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// A wrong value, or the venue refuses.
    #[response(status = 422)]
    Wrong(ErrorBody),
    /// Too much at once.
    #[response(status = 429)]
    TooMany(ErrorBody),
    /// The control database is away.
    #[response(status = 503)]
    Away(ErrorBody),
}

/// A refusal of the service's.
pub(super) fn refusal(error: ServiceError) -> ApiError {
    match &error {
        ServiceError::NotFound(name) => ApiError::not_found(name),
        ServiceError::NameTaken(_) => ApiError::new(StatusCode::CONFLICT, "taken", &error),
        ServiceError::ReadOnly(_) => ApiError::new(StatusCode::CONFLICT, "read_only", &error),
        ServiceError::Wrong { field, .. } => ApiError::field(field.clone(), &error),
        ServiceError::NotOffered(_) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_offered", &error),
        ServiceError::Venue { code, .. } => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, &error),
        ServiceError::Engine(_) => ApiError::new(StatusCode::CONFLICT, "not_taken_up", &error),
        ServiceError::Control(cause) => {
            tracing::error!("console: {cause}");
            ApiError::away("the control database cannot be used now; the engine's log says why")
        }
    }
}

/// What the viewer may do to a connection of `owner`.
pub(super) fn limits(service: &Service, viewer: &Viewer, owner: &str) -> Result<Limits, ApiError> {
    let foreign_secrets = !owner.is_empty() && owner != viewer.name;
    if viewer.has(Permission::ManageDataConnections) {
        return Ok(Limits { foreign_secrets, ..Limits::default() });
    }
    let public_hosts = !service.allows_private_hosts().map_err(refusal)?;
    Ok(Limits { public_hosts, plain_keys: true, adapters: approved(service)?, foreign_secrets })
}

/// The adapters that users may make connections with; nothing: all.
pub(super) fn approved(service: &Service) -> Result<Option<Vec<String>>, ApiError> {
    service.approved_adapters().map_err(refusal)
}

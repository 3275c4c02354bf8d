//! Who asks, and what they may.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use globset::GlobSet;

use super::api::{ApiError, Shared};
use crate::control::users::{Permission, Role};
use crate::market::{Scope, Source};

/// Whoever a request is from. A route that takes one is closed to everybody else.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// Name of the user.
    pub(super) name: String,
    /// What kind of user.
    pub(super) role: Role,
    /// What a member of staff may.
    pub(super) permissions: Vec<Permission>,
    /// Global sources they may read; `None` means all.
    pub(super) sources: Option<GlobSet>,
}

impl Viewer {
    /// Whether they have the permission.
    pub(super) fn has(&self, permission: Permission) -> bool {
        match self.role {
            Role::Administrator => true,
            Role::Staff => self.permissions.contains(&permission),
            Role::User | Role::Demo => false,
        }
    }

    /// Lets only those through who have the permission.
    pub(super) fn needs(&self, permission: Permission) -> Result<(), ApiError> {
        if self.has(permission) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("this needs the permission {}", permission.word())))
    }

    /// Whether they may read what a source says.
    pub(super) fn reads(&self, source: &Source) -> bool {
        self.reads_of(source.scope, &source.owner, &source.name)
    }

    /// The same of a source by its parts. Nobody else's private source is ever read, not even by administrators: they
    /// manage the connection, its prices are the owner's.
    pub(super) fn reads_of(&self, scope: Scope, owner: &str, name: &str) -> bool {
        match scope {
            Scope::Private => owner == self.name,
            Scope::Global => self.sources.as_ref().is_none_or(|sources| sources.is_match(name)),
        }
    }

    /// Whether they may see that a connection is there and how it is: their own, the global ones they may read, and all
    /// for those who manage connections.
    pub(super) fn sees_connection(&self, owner: &str, name: &str) -> bool {
        let scope = if owner.is_empty() { Scope::Global } else { Scope::Private };
        self.has(Permission::ManageDataConnections) || self.reads_of(scope, owner, name)
    }

    /// Whether they may change it.
    pub(super) fn manages_connection(&self, owner: &str) -> bool {
        let own = !owner.is_empty() && owner == self.name;
        self.role != Role::Demo && (own || self.has(Permission::ManageDataConnections))
    }
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, _services: &Shared) -> Result<Viewer, ApiError> {
        Err(ApiError::not_signed_in())
    }
}

//! Users of the console.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May everything.
    Administrator,
    /// May what their permissions say, beside what a user may.
    Staff,
    /// Has connections of their own and reads global sources.
    User,
    /// Looks on.
    Demo,
}

/// What a member of staff may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// See and change global connections and those of users.
    ManageDataConnections,
    /// Make, change and remove users and their tokens.
    ManageUsers,
    /// Start and cancel jobs, repair holes.
    ManageJobs,
    /// Change settings.
    ManageSettings,
    /// See the pipeline, the storage and the terminals.
    ViewSystem,
}

impl Permission {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Permission::ManageDataConnections => "manage-data-connections",
            Permission::ManageUsers => "manage-users",
            Permission::ManageJobs => "manage-jobs",
            Permission::ManageSettings => "manage-settings",
            Permission::ViewSystem => "view-system",
        }
    }
}

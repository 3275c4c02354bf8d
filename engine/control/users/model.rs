//! What a user is, and what one may do to another.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Hidden, UserError};

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

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Administrator, Role::Staff, Role::User, Role::Demo];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Staff => "staff",
            Role::User => "user",
            Role::Demo => "demo",
        }
    }
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
    /// Every permission.
    pub const ALL: [Permission; 5] = [
        Permission::ManageDataConnections,
        Permission::ManageUsers,
        Permission::ManageJobs,
        Permission::ManageSettings,
        Permission::ViewSystem,
    ];

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

/// A user, without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Given once and never reused.
    pub id: i64,
    /// What connections name as their owner.
    pub name: String,
    /// What kind of user.
    pub role: Role,
    /// What a member of staff may; empty for others.
    pub permissions: Vec<Permission>,
    /// Whether they are kept out.
    pub disabled: bool,
    /// Whether signing in takes a second factor.
    pub totp: bool,
    /// Globs of the global sources they may read; `None` means all.
    pub sources: Option<Vec<String>>,
    /// When they were made, nanoseconds UTC.
    pub created_ns: i64,
    /// When they were last changed, nanoseconds UTC.
    pub changed_ns: i64,
    /// When they last signed in, nanoseconds UTC.
    pub last_signed_in_ns: Option<i64>,
}

/// A user to make.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// At least [`PASSWORD_MIN`](super::PASSWORD_MIN) characters.
    pub password: Hidden,
    /// What kind of user.
    pub role: Role,
    /// What they may, for staff.
    pub permissions: Vec<Permission>,
    /// Globs of sources; `None` means all.
    pub sources: Option<Vec<String>>,
}

/// What is to be changed of a user; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Ends their sessions.
    pub password: Option<Hidden>,
    /// What kind of user.
    pub role: Option<Role>,
    /// What they may, for staff.
    pub permissions: Option<Vec<Permission>>,
    /// Globs of sources, or all.
    pub sources: Option<Option<Vec<String>>>,
    /// Kept out or let in again.
    pub disabled: Option<bool>,
    /// Takes away their second factor.
    pub totp_off: bool,
}

/// Who does something: what they may, and what the audit says of them.
#[derive(Debug, Clone)]
pub enum Actor {
    /// Who runs a command on this machine: the state directory is theirs, so they may everything.
    Operator,
    /// A user of the console.
    User {
        /// Their name.
        name: String,
        /// What kind of user.
        role: Role,
        /// What they may.
        permissions: Vec<Permission>,
        /// Where from.
        address: Option<IpAddr>,
    },
}

impl Actor {
    pub(super) fn name(&self) -> &str {
        match self {
            Actor::Operator => "",
            Actor::User { name, .. } => name,
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Actor::Operator => None,
            Actor::User { address, .. } => *address,
        }
    }

    fn holds(&self, permission: Permission) -> bool {
        match self {
            Actor::Operator => true,
            Actor::User { role: Role::Administrator, .. } => true,
            Actor::User { role: Role::Staff, permissions, .. } => permissions.contains(&permission),
            Actor::User { .. } => false,
        }
    }

    pub(super) fn is_above_all(&self) -> bool {
        matches!(self, Actor::Operator | Actor::User { role: Role::Administrator, .. })
    }

    /// Nobody hands on, or takes over by a new password, more than they have.
    pub(super) fn may_manage(&self, role: Role, permissions: &[Permission]) -> Result<(), UserError> {
        let allowed = |text: &str| Err(UserError::NotAllowed(text.into()));
        if self.is_above_all() {
            return Ok(());
        }
        if !self.holds(Permission::ManageUsers) {
            return allowed("this needs the permission manage-users");
        }
        if role == Role::Administrator {
            return allowed("only an administrator makes, changes and removes administrators");
        }
        match permissions.iter().find(|permission| role == Role::Staff && !self.holds(**permission)) {
            Some(missing) => allowed(&format!("who lacks the permission {} manages nobody with it", missing.word())),
            None => Ok(()),
        }
    }
}

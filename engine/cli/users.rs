//! `tickwire users`: who may come to the console, and their tokens. Whoever may write the state directory may do all of
//! it; the audit notes it as done on the command line.

use std::io::BufRead;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Common, Failure, log_to_stderr, say};
use crate::clock;
use crate::control::users::{
    Actor, Change, Hidden, Lifetimes, NewToken, NewUser, Permission, Role, Scope, User, UserError, Users,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Makes a user; the password is read from standard input
    Add(New),
    /// All of them
    List {
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Changes what is given and leaves the rest
    Edit(Edit),
    /// Removes one with their sessions and tokens
    Remove {
        /// Their name
        name: String,
    },
    /// Gives one a new password, read from standard input, and ends their sessions
    Password {
        /// Their name
        name: String,
    },
    /// Makes an API token for one and prints it, this once
    Token(Token),
}

/// A new user.
#[derive(Debug, Args)]
pub(super) struct New {
    /// Their name: letters, digits, _, - and .
    name: String,
    /// administrator, staff, user or demo
    #[arg(long, default_value = "user", value_parser = role)]
    role: Role,
    /// What staff may: manage-data-connections, manage-users, manage-jobs, manage-settings, view-system
    #[arg(long, value_name = "PERMISSION,…", value_delimiter = ',', value_parser = permission)]
    permissions: Vec<Permission>,
    /// Globs of the global sources they may read; without it all
    #[arg(long, value_name = "GLOB,…", value_delimiter = ',')]
    sources: Option<Vec<String>>,
}

/// A changed user.
#[derive(Debug, Args)]
pub(super) struct Edit {
    /// Their name
    name: String,
    /// administrator, staff, user or demo
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// What staff may, all of it; empty for nothing
    #[arg(long, value_name = "PERMISSION,…", value_delimiter = ',', value_parser = maybe_permission)]
    permissions: Option<Vec<Option<Permission>>>,
    /// Globs of the global sources they may read, * for all
    #[arg(long, value_name = "GLOB,…", value_delimiter = ',')]
    sources: Option<Vec<String>>,
    /// Keeps them out, at once
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Lets them in again
    #[arg(long)]
    enable: bool,
    /// Takes their second factor away
    #[arg(long)]
    no_totp: bool,
}

/// A new token.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// Name of the user
    user: String,
    /// What it is for, in words
    #[arg(long)]
    label: String,
    /// What it may: read, write (the API), stream (terminals)
    #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', default_value = "read", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Days after which it ends; without it never
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
}

fn role(word: &str) -> Result<Role, String> {
    let words = || Role::ALL.map(Role::word).join(", ");
    Role::ALL.into_iter().find(|role| role.word() == word).ok_or_else(|| format!("expected one of {}", words()))
}

fn permission(word: &str) -> Result<Permission, String> {
    let found = Permission::ALL.into_iter().find(|permission| permission.word() == word);
    found.ok_or_else(|| format!("expected one of {}", Permission::ALL.map(Permission::word).join(", ")))
}

fn maybe_permission(word: &str) -> Result<Option<Permission>, String> {
    if word.is_empty() { Ok(None) } else { permission(word).map(Some) }
}

fn scope(word: &str) -> Result<Scope, String> {
    match word {
        "read" => Ok(Scope::Read),
        "write" => Ok(Scope::Write),
        "stream" => Ok(Scope::Stream),
        _ => Err("expected one of read, write, stream".into()),
    }
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Failure {
        match error {
            UserError::Wrong { .. } => Failure::usage(error),
            _ => Failure::failed(error),
        }
    }
}

/// Does it.
pub(super) fn run(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    std::fs::create_dir_all(&common.state_dir)
        .map_err(|e| Failure::failed(format!("state directory {}: {e}", common.state_dir.display())))?;
    let users = Users::open(&common.state_dir, Lifetimes::default())?;
    let (by, now_ns) = (&Actor::Operator, clock::machine_ns());
    let said = match action {
        Action::Add(New { name, role, permissions, sources }) => {
            let new = NewUser { name, password: from_input()?, role, permissions, sources };
            format!("{} is made\n", users.add(by, &new, now_ns)?.name)
        }
        Action::List { json } => listed(&users.list()?, json),
        Action::Edit(edit) => format!("{} is changed\n", users.edit(by, &edit.name, &edit.change(), now_ns)?.name),
        Action::Remove { name } => {
            users.remove(by, &name, now_ns)?;
            format!("{name} is removed\n")
        }
        Action::Password { name } => {
            let change = Change { password: Some(from_input()?), ..Change::default() };
            format!("{} has a new password\n", users.edit(by, &name, &change, now_ns)?.name)
        }
        Action::Token(Token { user, label, scopes, days }) => {
            let expires_ns = days.map(|days| now_ns + i64::from(days) * 86_400_000_000_000);
            let new = NewToken { name: label, scopes, expires_ns };
            let (_, secret) = users.add_token(by, &user, &new, now_ns)?;
            format!("{}\n", secret.show())
        }
    };
    say(said)?;
    Ok(ExitCode::SUCCESS)
}

/// The first line of standard input.
fn from_input() -> Result<Hidden, Failure> {
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| Failure::failed(format!("standard input: {e}")))?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::usage("standard input: is empty, expected the password on its first line")),
        password => Ok(Hidden::new(password)),
    }
}

impl Edit {
    fn change(&self) -> Change {
        let all = |globs: &Vec<String>| (globs.as_slice() != ["*"]).then(|| globs.clone());
        Change {
            password: None,
            role: self.role,
            permissions: self.permissions.as_ref().map(|words| words.iter().copied().flatten().collect()),
            sources: self.sources.as_ref().map(all),
            disabled: if self.disable || self.enable { Some(self.disable) } else { None },
            totp_off: self.no_totp,
        }
    }
}

fn listed(users: &[User], as_json: bool) -> String {
    let words = |user: &User| user.permissions.iter().map(|permission| permission.word()).collect::<Vec<_>>();
    let time = |ns: i64| jiff::Timestamp::from_nanosecond(ns.into()).unwrap_or_default().to_string();
    if as_json {
        let rows: Vec<_> = users
            .iter()
            .map(|user| {
                json!({
                    "name": user.name, "role": user.role.word(), "permissions": words(user), "sources": user.sources,
                    "disabled": user.disabled, "totp": user.totp, "created_at": time(user.created_ns),
                    "last_signed_in_at": user.last_signed_in_ns.map(time),
                })
            })
            .collect();
        return format!("{}\n", serde_json::Value::from(rows));
    }
    let mut text = format!("{:<20} {:<14} {:<9} {:<7} {}\n", "name", "role", "state", "factor", "may");
    for user in users {
        let (state, factor) =
            (if user.disabled { "disabled" } else { "enabled" }, if user.totp { "second" } else { "-" });
        let may = words(user).join(", ");
        text += &format!("{:<20} {:<14} {state:<9} {factor:<7} {may}", user.name, user.role.word());
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

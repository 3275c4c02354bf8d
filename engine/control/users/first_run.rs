//! The first administrator, made by whoever can read what the engine prints when it starts.

use std::net::IpAddr;
use std::sync::PoisonError;

use subtle::ConstantTimeEq;

use super::audit::Deed;
use super::sessions::{hashed, hex, random};
use super::{Hidden, NewUser, Role, SignedIn, UserError, Users, administrators, insert};

impl Users {
    /// A secret that makes the first administrator, once, while this process runs; `None` when there is one.
    ///
    /// # Errors
    /// [`UserError::Control`] or [`UserError::Machine`].
    pub fn open_first_run(&self) -> Result<Option<Hidden>, UserError> {
        if !self.first_run_pending()? {
            return Ok(None);
        }
        let token = Hidden::new(hex(random::<32>()?.as_slice()));
        *self.first_run.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashed(token.show()));
        Ok(Some(token))
    }

    /// Whether there is no enabled administrator.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn first_run_pending(&self) -> Result<bool, UserError> {
        self.read(|db| Ok(administrators(db)? == 0))
    }

    /// Makes the first administrator and signs them in.
    ///
    /// # Errors
    /// [`UserError::NotAllowed`] for a wrong token, [`UserError::Conflict`] when there is an administrator,
    /// [`UserError::Wrong`] for the name or the password.
    pub fn first_run(
        &self,
        token: &Hidden,
        name: &str,
        password: &Hidden,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<(Hidden, SignedIn), UserError> {
        let expected = *self.first_run.lock().unwrap_or_else(PoisonError::into_inner);
        let over = || UserError::Conflict("there is an administrator already: sign in".into());
        if !self.first_run_pending()? {
            return Err(over());
        }
        let right = expected.is_some_and(|expected| expected.ct_eq(&hashed(token.show())).into());
        if !right {
            tracing::warn!(address = ?address, "a first-run link that is not the one printed by this engine");
            let problem = "this is not the link that the running engine has printed: take the newest from its log";
            return Err(UserError::NotAllowed(problem.into()));
        }
        let (name, role) = (name.to_string(), Role::Administrator);
        let new = NewUser { name, password: password.clone(), role, permissions: Vec::new(), sources: None };
        let hash = self.made(&new)?;
        let id = Hidden::new(hex(random::<32>()?.as_slice()));
        let opened = self.write(|db| {
            if administrators(db)? > 0 {
                return Err(over().into());
            }
            let user = insert(db, &new, &hash, now_ns)?;
            let opened = self.open_session(db, user.id, &id, now_ns)?;
            Deed::own(&user.name, "first_run", address, "made the first administrator").note(db, now_ns)?;
            Ok(opened)
        })?;
        *self.first_run.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok((id, opened))
    }
}

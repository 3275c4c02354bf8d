//! Passwords: what is accepted, and their hashes.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::UserError;

/// Fewest characters of a password.
pub const PASSWORD_MIN: usize = 12;

/// Most characters of a password: hashing more would only cost time.
pub const PASSWORD_MAX: usize = 256;

/// A secret that somebody typed. Wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// Takes it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Hidden {
        Hidden(Zeroizing::new(text.into()))
    }

    /// The secret itself.
    #[must_use]
    pub fn show(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hidden, D::Error> {
        String::deserialize(deserializer).map(Hidden::new)
    }
}

/// A hash that no password has: what is compared for a name that nobody has, so that it takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$dGlja3dpcmUtbm9ib2R5cw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether a new password is accepted.
///
/// # Errors
/// [`UserError::Wrong`] that says why not.
pub(super) fn check(password: &Hidden, field: &'static str) -> Result<(), UserError> {
    let (text, wrong) = (password.show(), |problem: String| Err(UserError::Wrong { field, problem }));
    let characters = text.chars().count();
    if characters < PASSWORD_MIN {
        return wrong(format!(
            "{characters} characters, expected at least {PASSWORD_MIN}: several words are easy to keep"
        ));
    }
    if characters > PASSWORD_MAX {
        return wrong(format!("{characters} characters, expected at most {PASSWORD_MAX}"));
    }
    Ok(())
}

/// Its argon2id hash with a salt of its own. Takes some 20 ms and 19 MiB.
///
/// # Errors
/// [`UserError::Machine`].
pub(super) fn hash(password: &Hidden) -> Result<String, UserError> {
    let salt = SaltString::encode_b64(super::sessions::random::<16>()?.as_slice()).map_err(machine)?;
    let hash = Argon2::default().hash_password(password.show().as_bytes(), &salt).map_err(machine)?;
    Ok(hash.to_string())
}

fn machine(error: impl std::fmt::Display) -> UserError {
    UserError::Machine(format!("hashing a password: {error}"))
}

/// Whether it is the password of `hash`; for a user that is not there the work is the same.
pub(super) fn verify(password: &Hidden, hash: Option<&str>) -> bool {
    let text = password.show();
    // Nobody has such a one, and hashing it would only cost time.
    if text.len() > 4 * PASSWORD_MAX {
        return false;
    }
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(NOBODYS)) else { return false };
    Argon2::default().verify_password(text.as_bytes(), &parsed).is_ok() && hash.is_some()
}

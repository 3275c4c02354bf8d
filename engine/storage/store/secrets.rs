//! Passwords of the store's two users: files that only their owner reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::session::User;

/// Names of the two users, which are also the names of their files.
pub const WRITER: &str = "tickwire";
/// See [`WRITER`].
pub const READER: &str = "reader";

/// Both passwords, 64 hexadecimal digits each.
#[derive(Clone)]
pub struct Secrets {
    pub(super) writer: String,
    pub(super) reader: String,
}

impl Secrets {
    /// Reads both from `folder`, making what is missing from the kernel's random source.
    ///
    /// # Errors
    /// A file cannot be read or written, or holds fewer than 16 characters.
    pub fn load_or_create(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { writer: one(folder, WRITER)?, reader: one(folder, READER)? })
    }

    /// Whose credentials are these? Takes as long for a wrong password as for a right one.
    pub(super) fn user(&self, name: &str, password: &str) -> Option<User> {
        let (user, right) = match name {
            WRITER => (User::Writer, &self.writer),
            READER => (User::Reader, &self.reader),
            _ => return None,
        };
        let different = right.bytes().zip(password.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b));
        (different == 0 && right.len() == password.len()).then_some(user)
    }
}

fn one(folder: &Path, name: &str) -> io::Result<String> {
    let path = folder.join(name);
    if !path.try_exists()? {
        create(folder, &path, name)?;
    }
    let text = fs::read_to_string(&path)?.trim().to_owned();
    if text.len() < 16 {
        let what = format!("{} holds a password of fewer than 16 characters", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(text)
}

/// Writes a whole file aside and links it to its name, so that nobody reads half a password and two starters agree.
fn create(folder: &Path, path: &Path, name: &str) -> io::Result<()> {
    let text = random_hex::<32>()?;
    // A name that nobody else has, in this process or another.
    let aside = folder.join(format!(".{name}.{}", random_hex::<8>()?));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Two hexadecimal digits for each of so many bytes of the kernel's random source.
fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("secrets");
        let first = Secrets::load_or_create(&folder).unwrap();
        let again = Secrets::load_or_create(&folder).unwrap();
        assert_eq!((first.writer.len(), &first.writer, &first.reader), (64, &again.writer, &again.reader));
        assert_ne!(first.writer, first.reader);
        let mode = fs::metadata(folder.join(READER)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(first.user(READER, &first.reader), Some(User::Reader));
        assert_eq!(first.user(READER, &first.writer), None);
        assert_eq!(first.user(WRITER, &first.writer[..63]), None);
        assert_eq!(first.user("default", ""), None);
    }
}

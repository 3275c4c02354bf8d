//! The store locks itself in: its data folder, its library and a few harmless files of the system; no other file, no
//! outgoing TCP connection, no signal to others. Applies to the calling thread and to all it starts later, so it comes
//! before the engine's first thread.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// Newest set of rights this program knows.
const ABI_KNOWN: ABI = ABI::V6;

/// What the engine reads beside its data (found by trying): figures of its own process, of memory, processors and
/// control groups. `/proc/self` is the store's own entry and gives no way to other processes.
const READABLE: [&str; 10] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/vmstat",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/urandom",
];

/// How far the lock-in went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// Files, outgoing TCP connections and signals.
    Full,
    /// Files; this kernel cannot restrict all of the rest.
    Partial,
    /// This kernel has no Landlock.
    None,
}

/// Locks the calling thread in.
///
/// # Errors
/// The kernel has Landlock and refuses the rules, or a path that must be in them cannot be opened.
pub(super) fn lock_in(data: &Path, library: &Path) -> Result<Sandbox, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_KNOWN))?
        .handle_access(AccessNet::from_all(ABI_KNOWN))?
        .scope(Scope::from_all(ABI_KNOWN))?
        .create()?;
    let everything_but_devices =
        AccessFs::from_all(ABI_KNOWN) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::Execute);
    rules = allow(rules, data, everything_but_devices)?;
    rules = allow(rules, library, BitFlags::from(AccessFs::ReadFile) | AccessFs::Execute)?;
    rules = allow(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    for path in READABLE {
        rules = allow(rules, Path::new(path), read)?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Sandbox::Full,
        RulesetStatus::PartiallyEnforced => Sandbox::Partial,
        RulesetStatus::NotEnforced => Sandbox::None,
    })
}

/// Adds a rule; a path that this system lacks needs none.
fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI_KNOWN) };
    rules.add_rule(PathBeneath::new(fd, access))
}

//! How many streams each user has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Streams of one user at a time: some pages of a browser, and a few programs.
pub(in crate::console) const STREAMS_PER_USER: usize = 12;

/// Streams of all users: with what the kernel keeps of each, some 100 MB at worst.
pub(in crate::console) const STREAMS_MAX: usize = 512;

/// Counts open streams.
#[derive(Debug, Default)]
pub(in crate::console) struct Streams(Mutex<HashMap<String, usize>>);

impl Streams {
    fn open(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more, until it is dropped; `None` when the user, or all together, have as many as there may be.
    pub(in crate::console) fn permit(self: &Arc<Self>, user: &str) -> Option<Permit> {
        let mut open = self.open();
        let all: usize = open.values().sum();
        let own = open.get(user).copied().unwrap_or(0);
        if all >= STREAMS_MAX || own >= STREAMS_PER_USER {
            return None;
        }
        *open.entry(user.into()).or_default() += 1;
        Some(Permit { streams: Arc::clone(self), user: user.into() })
    }
}

/// An open stream.
#[derive(Debug)]
pub(in crate::console) struct Permit {
    streams: Arc<Streams>,
    user: String,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_and_another_as_many_again() {
        let streams = Arc::new(Streams::default());
        let of = |user: &str| -> Vec<Permit> { std::iter::from_fn(|| streams.permit(user)).collect() };
        let mut first = of("a");
        assert_eq!((first.len(), of("b").len()), (STREAMS_PER_USER, STREAMS_PER_USER));
        first.pop();
        assert_eq!(of("a").len(), 1);
        let all: Vec<_> = (0..100).map(|user| of(&user.to_string())).collect();
        let count = all.iter().map(Vec::len).sum::<usize>();
        assert_eq!(count + first.len(), STREAMS_MAX);
        drop((all, first));
        assert!(streams.open().is_empty());
    }
}

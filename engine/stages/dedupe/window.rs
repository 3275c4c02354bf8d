//! The keys of the last minute, in order of their coming.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Key;

/// Keys with their receive times, oldest first. What is old leaves from the front; its room is given back when it is half
/// of all, so that adding is one plain write to the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    entries: Vec<(i64, Key)>,
    /// Where those begin that have not left.
    first: usize,
}

impl Window {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.first
    }

    #[inline]
    pub(super) fn push(&mut self, at_ns: i64, key: Key) {
        self.entries.push((at_ns, key));
    }

    /// Those that have not left.
    pub(super) fn entries(&self) -> &[(i64, Key)] {
        &self.entries[self.first..]
    }

    /// When the oldest came; `i64::MAX` when there is none.
    pub(super) fn oldest_ns(&self) -> i64 {
        self.entries.get(self.first).map_or(i64::MAX, |(at_ns, _)| *at_ns)
    }

    /// Lets the oldest leave.
    pub(super) fn pop(&mut self) -> Option<Key> {
        let (_, key) = *self.entries.get(self.first)?;
        self.first += 1;
        self.give_back();
        Some(key)
    }

    /// Lets go of those that came before `horizon_ns`, up to the first that did not.
    pub(super) fn expire(&mut self, horizon_ns: i64) {
        let old = self.entries().iter().take_while(|(at_ns, _)| *at_ns < horizon_ns).count();
        self.first += old;
        self.give_back();
    }

    fn give_back(&mut self) {
        if self.first * 2 >= self.entries.len() {
            self.entries.drain(..self.first);
            self.first = 0;
        }
    }

    /// Takes all of another in, by time.
    pub(super) fn merge(&mut self, other: Window) {
        self.entries.drain(..self.first);
        self.first = 0;
        self.entries.extend_from_slice(other.entries());
        self.entries.sort_by_key(|(at_ns, _)| *at_ns);
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        Ok(Window { entries: Vec::deserialize(deserializer)?, first: 0 })
    }
}

//! When a source that stands in for another connects, and when it lets go again. Pure: it is told the time.
//!
//! A source serves when it is live, and also while it is held back: then the one that it stands in for serves in its
//! place. So a standby of a standby connects only when both of the others do not serve.

/// For whom a source stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandbySpec {
    /// The source that comes first.
    pub of: String,
    /// Connects when that one has not served for this long, nanoseconds.
    pub failover_ns: i64,
    /// Lets go when that one has served for this long without interruption, nanoseconds.
    pub return_ns: i64,
}

/// Whether a source serves, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// It is live, or held back.
    pub serves: bool,
    /// Monotonic.
    pub since_ns: i64,
}

/// The decisions of one standby.
#[derive(Debug)]
pub struct Standby {
    failover_ns: i64,
    return_ns: i64,
    runs: bool,
}

impl Standby {
    /// Held back, at first.
    #[must_use]
    pub fn new(spec: &StandbySpec) -> Standby {
        Standby { failover_ns: spec.failover_ns, return_ns: spec.return_ns, runs: false }
    }

    /// Whether to be connected at `now_ns`, and when to ask again though nothing changed.
    pub fn look(&mut self, first: Service, now_ns: i64) -> (bool, i64) {
        let after_ns = if self.runs { self.return_ns } else { self.failover_ns };
        let due_ns = if first.serves == self.runs { first.since_ns.saturating_add(after_ns) } else { i64::MAX };
        if now_ns < due_ns {
            return (self.runs, due_ns);
        }
        self.runs = !self.runs;
        (self.runs, i64::MAX)
    }
}

/// A circle among those who stand in for each other, by their names; `of` says for whom a source stands in.
#[must_use]
pub fn circle<'a>(name: &'a str, of: impl Fn(&str) -> Option<&'a str>) -> Option<Vec<&'a str>> {
    let mut chain = vec![name];
    while let Some(next) = of(chain.last()?) {
        if next == name {
            chain.push(next);
            return Some(chain);
        }
        // A circle further on is told of its own members.
        if chain.contains(&next) {
            return None;
        }
        chain.push(next);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn standby() -> Standby {
        Standby::new(&StandbySpec { of: "a".into(), failover_ns: 5 * S, return_ns: 60 * S })
    }

    fn serves(since_s: i64) -> Service {
        Service { serves: true, since_ns: since_s * S }
    }

    fn fails(since_s: i64) -> Service {
        Service { serves: false, since_ns: since_s * S }
    }

    #[test]
    fn it_connects_when_the_first_was_away_for_long_enough_and_not_before() {
        let mut b = standby();
        assert_eq!(b.look(serves(0), 1_000 * S), (false, i64::MAX));
        assert_eq!(b.look(fails(1_000), 1_000 * S), (false, 1_005 * S));
        // Back in time: the next failure counts anew.
        assert_eq!(b.look(serves(1_004), 1_004 * S), (false, i64::MAX));
        assert_eq!(b.look(fails(1_006), 1_010 * S), (false, 1_011 * S));
        assert_eq!(b.look(fails(1_006), 1_011 * S), (true, i64::MAX));
    }

    #[test]
    fn it_lets_go_only_after_an_unbroken_time() {
        let mut b = standby();
        assert_eq!(b.look(fails(0), 5 * S), (true, i64::MAX));
        assert_eq!(b.look(serves(10), 10 * S), (true, 70 * S));
        assert_eq!(b.look(fails(69), 69 * S), (true, i64::MAX));
        assert_eq!(b.look(serves(71), 130 * S), (true, 131 * S));
        assert_eq!(b.look(serves(71), 131 * S), (false, i64::MAX));
        assert_eq!(b.look(serves(71), 500 * S), (false, i64::MAX));
    }

    /// A source of the simulation: what it would do if it were connected, and since when it serves.
    struct Member {
        standby: Option<Standby>,
        runs: bool,
        service: Service,
    }

    /// Who of a, b (for a) and c (for b) is connected at each second, when a and b are up as told.
    fn chain(seconds: i64, up: impl Fn(usize, i64) -> bool) -> Vec<String> {
        let member = |standby: bool| Member { standby: standby.then(self::standby), runs: !standby, service: fails(0) };
        let mut members = [member(false), member(true), member(true)];
        let mut seen = Vec::new();
        for second in 0..seconds {
            for at in 0..3_usize {
                let first = at.checked_sub(1).map_or(fails(0), |before| members[before].service);
                let member = &mut members[at];
                if let Some(standby) = &mut member.standby {
                    member.runs = standby.look(first, second * S).0;
                }
                let serves = !member.runs || up(at, second);
                if serves != member.service.serves {
                    member.service = Service { serves, since_ns: second * S };
                }
            }
            seen.push("abc".chars().zip(&members).filter(|(_, m)| m.runs).map(|(name, _)| name).collect());
        }
        seen
    }

    #[test]
    fn a_chain_goes_down_one_by_one_and_comes_back_to_the_first() {
        let a_is_away = |second| (100..300).contains(&second);
        let seen = chain(500, |at, second| match at {
            0 => !a_is_away(second),
            1 => !(150..200).contains(&second),
            _ => true,
        });
        assert_eq!([&seen[0], &seen[99], &seen[104]], ["a", "a", "a"]);
        assert_eq!([&seen[105], &seen[154]], ["ab", "ab"], "b after five seconds");
        assert_eq!([&seen[155], &seen[259]], ["abc", "abc"], "c when b fails too, until b was there for a minute");
        assert_eq!([&seen[261], &seen[359]], ["ab", "ab"]);
        assert_eq!([&seen[361], &seen[499]], ["a", "a"], "a was back for a minute");
    }

    #[test]
    fn circles_are_found() {
        let of = |name: &str| match name {
            "a" => Some("b"),
            "b" => Some("c"),
            "c" => Some("a"),
            "d" => Some("a"),
            "e" => Some("e"),
            "f" => Some("nobody"),
            _ => None,
        };
        assert_eq!(circle("a", of), Some(vec!["a", "b", "c", "a"]));
        assert_eq!(circle("e", of), Some(vec!["e", "e"]));
        assert_eq!((circle("d", of), circle("f", of)), (None, None));
    }
}

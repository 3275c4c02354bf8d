//! Which symbols go over which connection, where a venue takes only so many over one. Pure.

use std::collections::BTreeSet;

/// The symbols of each connection, at most `most` over one. What is carried now stays where it is: nothing is moved from
/// one live connection to another. What is new goes where the fewest are, and over new connections when there is no room.
/// Connections keep their numbers; one without symbols is not needed any more.
pub(super) fn plan<T: Clone + Ord>(current: &[Vec<T>], wanted: &[T], most: usize) -> Vec<Vec<T>> {
    let most = most.max(1);
    let set: BTreeSet<&T> = wanted.iter().collect();
    let mut shards: Vec<Vec<T>> =
        current.iter().map(|shard| shard.iter().filter(|symbol| set.contains(symbol)).cloned().collect()).collect();
    let kept: BTreeSet<T> = shards.iter().flatten().cloned().collect();
    let mut used: Vec<usize> = (0..shards.len()).filter(|at| !shards[*at].is_empty()).collect();
    while used.len() < wanted.len().div_ceil(most) {
        let at = (0..shards.len()).find(|at| !used.contains(at)).unwrap_or_else(|| {
            shards.push(Vec::new());
            shards.len() - 1
        });
        used.push(at);
    }
    for symbol in wanted.iter().filter(|symbol| !kept.contains(symbol)) {
        if let Some(at) = used.iter().copied().min_by_key(|at| (shards[*at].len(), *at)) {
            shards[at].push(symbol.clone());
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symbols_are_spread_evenly_over_as_few_connections_as_can_carry_them() {
        let sizes = |count: u32, most| plan(&[], &(0..count).collect::<Vec<_>>(), most).iter().map(Vec::len).collect();
        let cases: [(u32, usize, Vec<usize>); 4] =
            [(3, 10, vec![3]), (10, 10, vec![10]), (11, 10, vec![6, 5]), (25, 10, vec![9, 8, 8])];
        for (count, most, expected) in cases {
            let found: Vec<usize> = sizes(count, most);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_connection_without_symbols_is_used_again_before_another_is_made() {
        let current = [vec![1, 2], vec![3, 4], vec![5, 6]];
        assert_eq!(plan(&current, &[1, 2, 5, 6], 2), [vec![1, 2], vec![], vec![5, 6]]);
        assert_eq!(plan(&[vec![1, 2], vec![], vec![5, 6]], &[1, 2, 5, 6, 7], 2), [vec![1, 2], vec![7], vec![5, 6]]);
        assert_eq!(plan(&current, &[1, 3, 5, 7, 8], 2), [vec![1, 7], vec![3, 8], vec![5]]);
    }

    proptest! {
        #[test]
        fn each_symbol_is_carried_once_within_the_limit_and_stays_where_it_was(
            before in proptest::collection::btree_set(0_u8..60, 0..40),
            after in proptest::collection::btree_set(0_u8..60, 1..40),
            most in 1_usize..8,
        ) {
            let (before, after): (Vec<_>, Vec<_>) = (before.into_iter().collect(), after.into_iter().collect());
            let first = plan(&[], &before, most);
            let second = plan(&first, &after, most);
            let mut carried: Vec<_> = second.iter().flatten().copied().collect();
            carried.sort_unstable();
            prop_assert_eq!(&carried, &after);
            prop_assert!(second.iter().all(|shard| shard.len() <= most));
            for (at, shard) in first.iter().enumerate() {
                for symbol in shard.iter().filter(|symbol| after.contains(symbol)) {
                    prop_assert!(second[at].contains(symbol));
                }
            }
        }
    }
}

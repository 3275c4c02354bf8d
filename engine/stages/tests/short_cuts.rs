//! What stages keep to themselves to be quicker, beside what is said without it.

use super::*;

/// One input of many kinds: a tick with stamp, ahead of our clock or late or without, near or far in price, wide or crossed, of
/// any source; a timer; a source that leaves.
fn any_input((kind, source, at, stamp, bid, spread): (u8, usize, i64, i64, i64, i64)) -> Input {
    let source = [1, 2, 9][source];
    match kind {
        0 => Input::Timer(Timer { now_ns: NOON + at * MS, ..Timer::default() }),
        1 => {
            let mut state = SourceState { ts_recv_ns: NOON + at * MS, ..SourceState::default() };
            (state.status, state.head.source_id) = (SourceStatus::Down.code(), source);
            Input::SourceState(state)
        }
        _ => {
            let ts_event_ns = (kind > 3).then_some(NOON + (at + stamp) * MS);
            let far = if kind == 4 { 3_000 } else { 0 };
            let near = tick(source, at, 108_510 + bid + far, 108_510 + bid + far + spread);
            TickInput { ts_event_ns, ts_recv_ns: NOON + at * MS, ..near }.into()
        }
    }
}

proptest::proptest! {
    /// Nothing that a stage keeps to itself to be quicker changes what it says: one that is built anew from saved state before
    /// every input, and has none of it, says the same.
    #[test]
    fn short_cuts_change_nothing(
        said in proptest::collection::vec((0u8..24, 0usize..3, 0i64..400, -40i64..6, -8i64..9, -1i64..30), 1..120),
    ) {
        let overrides = "[aggregate]\nmax_age_ms = 900\n[validate.fx]\nlevel_ms = 200\nlevel_ticks = 3\nmin_tick_interval_ms = 20";
        let mut whole = Bench::new(overrides);
        let mut states = Vec::new();
        let mut chains = Vec::new();
        whole.group.save(&mut states);
        whole.identity.chains().save(&mut chains);
        let mut now = 0;
        for (n, (kind, source, later, stamp, bid, spread)) in said.into_iter().enumerate() {
            // Now and then the clock runs backwards.
            now += if later > 390 { -later } else { later };
            // Spreads are in tenths of a pip.
            let input = any_input((kind, source, now, stamp, bid, spread * spread));
            let mut anew = Bench::new(overrides);
            anew.group.load(&states).unwrap();
            anew.identity.chains().load(&chains).unwrap();
            anew.identity.resume_after(1, whole.identity.seq());
            proptest::prop_assert_eq!(anew.run(input), whole.run(input), "input {}: {:?}", n, input);
            (states, chains) = (Vec::new(), Vec::new());
            anew.group.save(&mut states);
            anew.identity.chains().save(&mut chains);
        }
    }

    /// The verdict is what a search through everything inside the window gives, and a stamp ahead of our clock makes none late.
    #[test]
    fn a_repeat_is_found_wherever_it_stands(said in proptest::collection::vec((0i64..40, 0i64..3, 0u8..8), 1..200)) {
        let mut b = Bench::new("[dedupe]\nentries = 30\n[validate.fx]\nrefuse = []");
        let mut known: std::collections::VecDeque<(i64, i64)> = std::collections::VecDeque::new();
        let mut latest = i64::MIN;
        for (n, (back, bid, kind)) in said.into_iter().enumerate() {
            // All within less than the second after which what is late is the new order.
            let now = n as i64 * 4;
            let stamp = match kind {
                0..3 => now - back * 4,
                3 => now + back * 4,
                _ => now,
            };
            let input = TickInput { ts_recv_ns: NOON + now * MS, ..tick(1, stamp, 108_510 + bid, 108_520) };
            let expected = match known.contains(&(stamp, bid)) {
                true => Verdict::Duplicate,
                false if stamp < latest => Verdict::OutOfOrder,
                false => Verdict::Accepted,
            };
            proptest::prop_assert_eq!(verdict(&b.run_tick(input).0), expected, "{:?} {}", known, stamp);
            if expected != Verdict::Duplicate {
                latest = latest.max(stamp.min(now));
                known.push_back((stamp, bid));
                if known.len() > 30 {
                    known.pop_front();
                }
            }
        }
    }
}

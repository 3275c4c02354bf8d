//! Runs a target over mutated inputs: seeds are changed, spliced and repaired, and an input that makes the target say
//! something that it has not said before becomes a seed too.
//!
//! `TICKWIRE_FUZZ_INPUTS` says how many inputs each target gets, `TICKWIRE_FUZZ_TARGETS` which targets run (names or
//! beginnings of names, with commas between), `TICKWIRE_FUZZ_SEED` where the random numbers begin. What fails names all
//! three, and fails again with them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::counting_support::peak_bytes;
use crate::mutate::Mutator;

/// Inputs of each target in the test suite.
const SMOKE_INPUTS: u64 = 20_000;

/// Inputs that were made and are kept as seeds.
const KEPT_MAX: usize = 4_096;

/// What a target may ask memory for, beside some times the length of its input: books, tables and messages of errors.
pub(crate) const SPARE_BYTES: u64 = 256 << 10;

/// Times the length of the input.
const BYTES_PER_BYTE: u64 = 64;

/// A target: its name, what its inputs begin with, and how they are put right where most of them should be sound.
pub(crate) struct Target {
    /// As it is asked for.
    pub(crate) name: String,
    /// Whole inputs that it takes.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Words of its language.
    pub(crate) words: &'static [&'static [u8]],
    /// Puts lengths and checksums right, as often as it likes.
    pub(crate) repair: fn(&mut Vec<u8>, &mut fastrand::Rng),
    /// For a target that reads files: how much fewer inputs the test suite gives it.
    pub(crate) slow: u64,
    /// Bytes that it may ask for however short its input is.
    pub(crate) spare_bytes: u64,
}

impl Target {
    /// A target whose inputs need no repair.
    pub(crate) fn new(name: impl Into<String>, seeds: Vec<Vec<u8>>, words: &'static [&'static [u8]]) -> Target {
        Target { name: name.into(), seeds, words, repair: |_, _| {}, slow: 1, spare_bytes: SPARE_BYTES }
    }

    /// Runs it. `each` takes an input and says what it saw as a number: the kinds of events and errors, not their values.
    pub(crate) fn run(self, mut each: impl FnMut(&[u8]) -> u64) {
        let variable = |name: &str| std::env::var(name).ok();
        let wanted = variable("TICKWIRE_FUZZ_TARGETS").filter(|text| !text.is_empty());
        if wanted.is_some_and(|text| !text.split(',').any(|start| self.name.starts_with(start))) {
            return;
        }
        let number = |name: &str| variable(name).map(|text| text.parse().expect(name));
        let inputs: u64 = number("TICKWIRE_FUZZ_INPUTS").unwrap_or(SMOKE_INPUTS / self.slow);
        let seed: u64 = number("TICKWIRE_FUZZ_SEED").unwrap_or(20_261_121);
        let mut mutator = Mutator::new(seed ^ hash(&self.name), self.seeds, self.words, self.repair);
        let (mut seen, began, mut longest) = (HashSet::new(), Instant::now(), 0);
        for count in 0..inputs {
            let input = mutator.next();
            longest = longest.max(input.len());
            let (outcome, asked) = peak_bytes(|| catch_unwind(AssertUnwindSafe(|| each(input))));
            let bounded = asked <= self.spare_bytes + BYTES_PER_BYTE * input.len() as u64;
            let Ok(saw) = outcome.as_ref().copied() else { fail(&self.name, seed, count, input, "a panic") };
            if !bounded {
                fail(&self.name, seed, count, input, &format!("{asked} bytes of memory at once"));
            }
            if seen.len() < KEPT_MAX && seen.insert(saw) {
                mutator.keep();
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let name = &self.name;
        println!(
            "fuzz {name}: {inputs} inputs in {seconds:.1} s, {} kinds of answers, longest {longest} bytes",
            seen.len()
        );
    }
}

fn fail(name: &str, seed: u64, count: u64, input: &[u8], what: &str) -> ! {
    let shown = input.escape_ascii();
    panic!(
        "{what} at input {count} of {} bytes; again: TICKWIRE_FUZZ_TARGETS={name} TICKWIRE_FUZZ_SEED={seed} \
         TICKWIRE_FUZZ_INPUTS={}; the input: b\"{shown}\"",
        input.len(),
        count + 1
    );
}

/// A number for what was seen.
pub(crate) fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

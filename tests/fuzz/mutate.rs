//! Inputs out of seeds: each is a seed with some changes, small and large, of its bytes and of its words.

use std::ops::Range;

/// Longest input, but for one in many thousands.
const LENGTH_MAX: usize = 8_192;

/// Numbers on which parsers stumble.
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-0",
    b"00",
    b"-1",
    b"1e5",
    b"1E-5",
    b"1e999",
    b"0.0",
    b".5",
    b"5.",
    b"1.0000000001",
    b"9223372036.854775807",
    b"9223372036.854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"1e-64",
    b"1e65",
    b"123456.78901234",
    b"0.123456789",
    b"1..2",
    b"+1",
    b"NaN",
    b"-9223372036854775808",
    b"4294967296",
];

/// Makes inputs.
pub(crate) struct Mutator {
    random: fastrand::Rng,
    seeds: Vec<Vec<u8>>,
    given: usize,
    words: &'static [&'static [u8]],
    repair: fn(&mut Vec<u8>, &mut fastrand::Rng),
    input: Vec<u8>,
}

impl Mutator {
    /// Inputs out of `seeds`, of which there is at least one.
    pub(crate) fn new(
        seed: u64,
        seeds: Vec<Vec<u8>>,
        words: &'static [&'static [u8]],
        repair: fn(&mut Vec<u8>, &mut fastrand::Rng),
    ) -> Mutator {
        assert!(!seeds.is_empty());
        let given = seeds.len();
        // Room for the longest there is: what it takes is not the target's.
        let input = Vec::with_capacity(1 << 20);
        Mutator { random: fastrand::Rng::with_seed(seed), seeds, given, words, repair, input }
    }

    /// The next input.
    pub(crate) fn next(&mut self) -> &[u8] {
        let at = if self.random.u8(..) < 160 {
            self.random.usize(..self.given)
        } else {
            self.random.usize(..self.seeds.len())
        };
        self.input.clear();
        self.input.extend_from_slice(&self.seeds[at]);
        // None now and then: two sound messages behind each other are an input too.
        for _ in 0..self.random.usize(..6) {
            self.change();
            let limit = if self.random.u16(..) == 0 { LENGTH_MAX * 16 } else { LENGTH_MAX };
            self.input.truncate(limit);
        }
        (self.repair)(&mut self.input, &mut self.random);
        &self.input
    }

    /// Keeps the last input as a seed.
    pub(crate) fn keep(&mut self) {
        if self.input.len() <= LENGTH_MAX {
            self.seeds.push(self.input.clone());
        }
    }

    fn place(&mut self) -> usize {
        self.random.usize(..=self.input.len())
    }

    /// A stretch, mostly short.
    fn stretch(&mut self) -> Range<usize> {
        let from = self.place();
        let most = if self.random.bool() { 8 } else { self.input.len() };
        from..from.saturating_add(self.random.usize(..=most)).min(self.input.len())
    }

    fn word(&mut self) -> Range<usize> {
        let at = self.place();
        word_around(&self.input, at)
    }

    fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.input.splice(range, with.iter().copied());
    }

    fn change(&mut self) {
        match self.random.u8(..18) {
            0 => self.at_one(|byte, random| byte ^ (1 << random.u8(..8))),
            1 => self.at_one(|_, random| random.u8(..)),
            2 => self.at_one(|byte, random| byte.wrapping_add(random.u8(..3)).wrapping_sub(1)),
            3 => {
                let bytes = self.random.u32(..).to_le_bytes();
                let (at, count) = (self.place(), self.random.usize(1..=4));
                self.replace(at..at, &bytes[..count]);
            }
            4 => {
                let range = self.stretch();
                self.replace(range, b"");
            }
            5 => {
                let range = self.stretch();
                let (copy, at) = (self.input[range].to_vec(), self.place());
                self.replace(at..at, &copy);
            }
            6 => {
                // The beginning of this one and the end of another.
                let (other, at) = (self.random.usize(..self.seeds.len()), self.place());
                let from = self.random.usize(..=self.seeds[other].len());
                self.input.truncate(at);
                self.input.extend_from_slice(&self.seeds[other][from..]);
            }
            7 | 8 => self.word_of_another(),
            9 | 10 => self.number(),
            11 => {
                let at = self.place();
                self.input.truncate(at);
            }
            12 | 13 => {
                if let Some(word) = self.random.choice(self.words) {
                    let range = if self.random.bool() { self.word() } else { self.stretch() };
                    let range = if self.random.bool() { range.start..range.start } else { range };
                    self.replace(range, word);
                }
            }
            14 => self.nest(),
            15 => {
                // Lengths: the same again and again.
                let range = self.stretch();
                let times = self.random.usize(..40);
                let copy = self.input[range.clone()].repeat(times);
                self.replace(range, &copy);
            }
            16 => {
                let range = self.word();
                let space = self.random.choice([b" ", b"\n", b"\t", b"\r"]).unwrap_or(b" ");
                self.replace(range.end..range.end, space);
            }
            _ => {
                let (a, b) = (self.stretch(), self.stretch());
                if a.end <= b.start {
                    let (first, second) = (self.input[a.clone()].to_vec(), self.input[b.clone()].to_vec());
                    self.replace(b, &first);
                    self.replace(a, &second);
                }
            }
        }
    }

    fn at_one(&mut self, change: impl FnOnce(u8, &mut fastrand::Rng) -> u8) {
        if !self.input.is_empty() {
            let at = self.random.usize(..self.input.len());
            self.input[at] = change(self.input[at], &mut self.random);
        }
    }

    /// A word of another seed in the place of one of this.
    fn word_of_another(&mut self) {
        let (other, mine) = (self.random.usize(..self.seeds.len()), self.word());
        let at = self.random.usize(..=self.seeds[other].len());
        let range = word_around(&self.seeds[other], at);
        self.input.splice(mine, self.seeds[other][range].iter().copied());
    }

    /// A number in the place of another.
    fn number(&mut self) {
        let from = self.place();
        let digit = |b: &u8| b.is_ascii_digit();
        let Some(skipped) = self.input[from..].iter().position(digit) else { return };
        let from = from + skipped;
        let length = self.input[from..].iter().take_while(|b| digit(b) || **b == b'.').count();
        let mut digits = [0; 40];
        let number = if self.random.bool() {
            self.random.choice(NUMBERS).copied().unwrap_or(b"0")
        } else {
            digits.fill_with(|| self.random.u8(b'0'..=b'9'));
            let most = if self.random.bool() { 12 } else { digits.len() };
            let length = self.random.usize(1..=most);
            if self.random.bool() {
                digits[self.random.usize(..length)] = b'.';
            }
            &digits[..length]
        };
        self.replace(from..from + length, number);
    }

    /// Containers in containers.
    fn nest(&mut self) {
        let (at, depth) = (self.place(), self.random.usize(1..60));
        let (open, close): (&[u8], &[u8]) = if self.random.bool() { (b"[", b"]") } else { (b"{\"a\":", b"}") };
        let inner = if self.random.bool() { &b"1"[..] } else { b"" };
        let closed = if self.random.bool() { depth } else { self.random.usize(..=depth) };
        let nested = [open.repeat(depth), inner.to_vec(), close.repeat(closed)].concat();
        self.replace(at..at, &nested);
    }
}

/// The word around a place: letters, digits and what numbers are written with.
fn word_around(bytes: &[u8], at: usize) -> Range<usize> {
    let part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'.' | b'-' | b'_');
    let before = bytes[..at].iter().rev().take_while(part).count();
    let behind = bytes[at..].iter().take_while(part).count();
    at - before..at + behind
}

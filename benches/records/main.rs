//! What is done to a record on its way out, and to a price on its way in and out of text: a file for each question.
//!
//! `cargo bench --bench records [FILTER]`. The group `overhead` is what measuring itself costs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod conflation;
mod decimals;
mod durable;
mod frames;
mod journal;
mod made;
mod overhead;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use criterion::Criterion;

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    overhead::measure(&mut criterion);
    decimals::measure(&mut criterion);
    frames::measure(&mut criterion);
    conflation::measure(&mut criterion);
    rows::measure(&mut criterion);
    criterion.final_summary();
    // The disk is not criterion's: a sync takes as long as it takes. Only when all was asked for, or this by name.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if words.is_empty() || words.iter().any(|word| word == "journal") {
        journal::measure();
        durable::measure();
    }
}

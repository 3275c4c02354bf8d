//! What do exact prices cost, from text and into text, beside floats that are not exact?

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tickwire::market::Price;

/// Prices as venues write them: FX with five digits, Binance with eight, a small coin, a whole number.
fn texts() -> Vec<String> {
    let of = |n: u64| match n % 4 {
        0 => format!("1.{:05}", 8_000 + n * 7 % 2_000),
        1 => format!("{}.{:02}000000", 61_000 + n % 997, n % 100),
        2 => format!("0.0000{:04}", 1_000 + n * 13 % 9_000),
        _ => format!("{}.{}", 2_300 + n % 51, n % 10),
    };
    (0..1_000).map(of).collect()
}

pub(crate) fn measure(c: &mut Criterion) {
    let texts = texts();
    let prices: Vec<Price> = texts.iter().map(|text| Price::parse(text.as_bytes()).unwrap()).collect();
    let floats: Vec<f64> = texts.iter().map(|text| text.parse().unwrap()).collect();

    let mut group = c.benchmark_group("price from text");
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("tickwire", |b| {
        b.iter(|| {
            for text in &texts {
                let _ = black_box(Price::parse(black_box(text.as_bytes())));
            }
        });
    });
    group.bench_function("f64", |b| {
        b.iter(|| {
            for text in &texts {
                let _ = black_box(black_box(text).parse::<f64>());
            }
        });
    });
    group.finish();

    let mut group = c.benchmark_group("price into text");
    group.throughput(Throughput::Elements(texts.len() as u64));
    let mut out = String::with_capacity(64);
    group.bench_function("tickwire", |b| {
        b.iter(|| {
            for price in &prices {
                out.clear();
                write!(out, "{}", black_box(price)).unwrap();
                black_box(&out);
            }
        });
    });
    group.bench_function("f64", |b| {
        b.iter(|| {
            for price in &floats {
                out.clear();
                write!(out, "{}", black_box(price)).unwrap();
                black_box(&out);
            }
        });
    });
    group.finish();
}

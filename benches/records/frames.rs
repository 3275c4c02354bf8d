//! What does a record cost on and off the wire?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Bencher, Criterion, Throughput};
use tickwire::fanout::Catalogue;
use tickwire::fanout::window::Window;
use tickwire_schemas::frame::{Frame, Header};
use tickwire_schemas::record::{Quote, RECORD_BYTES_MAX, Record, Tick};
use tickwire_schemas::{WIRE_VERSION, words::Kind};

use super::made;
use super::support::generated;

const RECORDS: u64 = 1_024;

fn write_all<R: Record>(b: &mut Bencher<'_>, records: &[R]) {
    let mut out = [0; RECORD_BYTES_MAX];
    b.iter(|| {
        for record in records {
            black_box(black_box(record).write(&mut out));
            black_box(&out);
        }
    });
}

fn read_all<R: Record>(b: &mut Bencher<'_>, written: &[(Kind, Vec<u8>)]) {
    b.iter(|| {
        for (_, bytes) in written {
            let _ = black_box(R::read(black_box(bytes)));
        }
    });
}

/// The bytes of a stream to a terminal: one frame for each record.
fn stream(written: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, record) in written {
        let (length, kind) = (record.len() as u32, kind.code());
        bytes.extend(Header { length, version: WIRE_VERSION, kind, flags: 0, count: 1 }.to_bytes());
        bytes.extend(record);
    }
    bytes
}

pub(crate) fn measure(c: &mut Criterion) {
    let quotes: Vec<Quote> = (0..RECORDS).map(|seq| made::quote(seq, 10)).collect();
    let ticks = made::ticks(RECORDS);
    let written = made::written(quotes.iter().copied());
    let stream = stream(&written);

    let mut group = c.benchmark_group("frames");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("write a tick (rkyv)", |b| write_all::<Tick>(b, &ticks));
    group.bench_function("write a quote (rkyv)", |b| write_all::<Quote>(b, &quotes));
    group.bench_function("read a tick (rkyv, checked)", |b| {
        let written = made::written(ticks.iter().copied());
        read_all::<Tick>(b, &written);
    });
    group.bench_function("read a quote (rkyv, checked)", |b| read_all::<Quote>(b, &written));
    group.bench_function("frame a quote for all terminals", |b| {
        let catalogue = Catalogue::new(generated::instruments(), generated::sources());
        let mut window = Window::new(1 << 16, Arc::new(catalogue));
        b.iter(|| {
            for records in written.chunks(64) {
                records.iter().for_each(|(kind, record)| window.push(*kind, black_box(record)));
                window.seal();
            }
        });
    });
    group.bench_function("take a quote off a stream", |b| {
        b.iter(|| {
            let mut rest = black_box(&stream[..]);
            while let Ok(Some((frame, behind))) = Frame::split(rest, 1 << 20) {
                for record in frame.records().unwrap() {
                    let _ = black_box(Quote::read(record));
                }
                rest = behind;
            }
        });
    });
    group.finish();
}

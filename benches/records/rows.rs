//! What does a row cost on its way to the database, from the journal's bytes to RowBinary?

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tickwire::journal::Catalogue;
use tickwire::storage::names::Names;
use tickwire::storage::rows::Stored;
use tickwire_schemas::words::Kind;

use super::made;
use super::support::generated;

const ROWS: u64 = 1_024;

fn encode(written: &[(Kind, Vec<u8>)], names: &Names, out: &mut Vec<u8>) {
    for (kind, bytes) in written {
        let Ok(Some(row)) = Stored::read(*kind, black_box(bytes)) else { panic!("{kind} is stored") };
        for lane in row.lanes(names) {
            row.encode(lane.table, names, out);
        }
    }
}

pub(crate) fn measure(c: &mut Criterion) {
    let (sources, instruments) = (generated::sources(), generated::instruments());
    let names = Names::new(&Catalogue { sources, instruments, ..Catalogue::default() });
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Elements(ROWS));
    for (name, written) in [
        ("a tick", made::written(made::ticks(ROWS))),
        ("a quote", made::written((0..ROWS).map(|seq| made::quote(seq, 4)))),
        ("a bar and its execution", made::written(made::bars(ROWS))),
    ] {
        let mut out = Vec::with_capacity(1 << 20);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encode(&written, &names, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

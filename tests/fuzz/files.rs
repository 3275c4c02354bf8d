//! Files that may be damaged, or somebody else's: the journal, recordings of every format, their manifests, and what is
//! written down of batches. Each input is a whole file.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::path::Path;

use tickwire::journal::format::{put_entry, take_entry};
use tickwire::journal::{Catalogue, Position, Reader, SegmentHeader, SegmentId};
use tickwire::market::Input;
use tickwire::replay::{Manifest, Recording};
use tickwire::storage::manifest::{Ledger, Manifests};
use tickwire::storage::rows::{Audience, Lane, Table};
use tickwire_schemas::record::{Drop as Lost, Head, RECORD_BYTES_MAX, Record, SourceState, Tick, Timer, Trade};
use tickwire_schemas::words::Kind;

use crate::run::{Target, hash};

/// How much fewer inputs than others these get in the suite: each is a file.
const SLOW: u64 = 20;

/// Buffers of files, and tables of what unpacks them.
const BUFFERS_BYTES: u64 = 8 << 20;

/// Writes a record with this head; its kind and its length.
type Writer<'a> = &'a dyn Fn(Head, &mut [u8; RECORD_BYTES_MAX]) -> (Kind, usize);

/// A sound file of the journal: one record of each kind of input, some times.
fn journal() -> Vec<u8> {
    let text = r#"{"engine_id":"e","sources":[{"id":1,"name":"one","scope":"global","owner":"","priority":1}],"instruments":[{"id":1,"symbol":"EURUSD","class":"fx","digits":5,"pip":"0.0001"}]}"#;
    let catalogue: Catalogue = serde_json::from_str(text).unwrap();
    let header = SegmentHeader { id: SegmentId { epoch: 1, number: 1 }, first_seq: 1, catalogue };
    let mut file = header.to_bytes();
    let mut add = |record: Writer<'_>, seq| {
        let head = Head { epoch: 1, seq, chain: seq, source_id: 1, instrument_id: 1, ts_publish_ns: 5 };
        let (mut bytes, mut entry) = ([0; RECORD_BYTES_MAX], [0; RECORD_BYTES_MAX + 16]);
        let (kind, length) = record(head, &mut bytes);
        let length = put_entry(&mut entry, kind, &bytes[..length]);
        file.extend_from_slice(&entry[..length]);
    };
    for round in 0..3 {
        let seq = round * 5;
        let prices = (1_085_100_000, 1_085_200_000);
        add(&|head, out| (Timer::KIND, Timer { head, now_ns: 9, ..Timer::default() }.write(out)), seq + 1);
        add(&|head, out| (SourceState::KIND, SourceState { head, ..SourceState::default() }.write(out)), seq + 2);
        add(
            &|head, out| (Tick::KIND, Tick { head, bid_e9: prices.0, ask_e9: prices.1, ..Tick::default() }.write(out)),
            seq + 3,
        );
        add(&|head, out| (Trade::KIND, Trade { head, price_e9: prices.0, ..Trade::default() }.write(out)), seq + 4);
        add(&|head, out| (Lost::KIND, Lost { head, ..Lost::default() }.write(out)), seq + 5);
    }
    file
}

/// Puts most checksums right.
#[allow(clippy::ptr_arg)] // All repairs have this form.
fn repair_journal(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if random.u8(..4) == 0 {
        return;
    }
    let Some(mut at) = SegmentHeader::length_of(input).filter(|length| *length <= input.len()) else { return };
    let crc = crc32c::crc32c(&input[..at - 4]);
    input[at - 4..at].copy_from_slice(&crc.to_le_bytes());
    while let Some(head) = input.get(at..at + 8) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = input.get(at + 8..at.saturating_add(8).saturating_add(length)) else { return };
        let crc = crc32c::crc32c(body);
        input[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at += 8 + length;
        if length == 0 {
            return;
        }
    }
}

#[test]
fn journal_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.twj");
    let mut target = Target::new(
        "journal",
        vec![journal()],
        &[b"\x00\x00\x00\x00", b"TICKWJRN", b"\xFF\xFF\xFF\xFF", b"\x01\x00\x00\x00"],
    );
    (target.repair, target.slow, target.spare_bytes) = (repair_journal, SLOW, BUFFERS_BYTES);
    target.run(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        let mut reader = match Reader::file(&path) {
            Ok(reader) => reader,
            Err(error) => return hash(&discriminant(&error)),
        };
        let (mut kinds, mut read) = (0, 0);
        loop {
            match reader.next() {
                Ok(Some(entry)) => {
                    read += 1;
                    kinds = hash(&(kinds, entry.kind.code()));
                }
                Ok(None) => break,
                Err(error) => {
                    kinds = hash(&(kinds, discriminant(&error)));
                    break;
                }
            }
        }
        // An entry is at least nine bytes.
        assert!(read <= bytes.len() / 9, "more entries than there is room for");
        let report = reader.report();
        assert!(report.damaged_bytes <= bytes.len() as u64);
        hash(&(kinds, report.is_sound(), take_entry(bytes).is_some()))
    });
}

/// A format, the name of a file of it, keys that it needs, what such a file holds, and its words.
type Format = (&'static str, &'static str, &'static str, Vec<Vec<u8>>, &'static [&'static [u8]]);

fn formats() -> Vec<Format> {
    let text = |text: &str| text.as_bytes().to_vec();
    let tick = |ms: u32, ask: u32, bid: u32| {
        [&ms.to_be_bytes()[..], &ask.to_be_bytes(), &bid.to_be_bytes(), &1.5_f32.to_be_bytes(), &0.75_f32.to_be_bytes()]
            .concat()
    };
    let words: &[&[u8]] =
        &[b",", b"\n", b"\r\n", b"\t", b"0", b"-1", b"86399999", b"86400000", b"1e5", b"\"", b"\xEF\xBB\xBF"];
    let binary: &[&[u8]] = &[b"\x00\x00\x00\x00", b"\xFF\xFF\xFF\xFF", b"\x7F\xC0\x00\x00"];
    let binance = crate::any::messages("binance");
    let binance =
        binance.iter().map(|message| [&b"1723161255343000000 "[..], &message[..], b"\n"].concat()).collect::<Vec<_>>();
    vec![
        (
            "lean-quote",
            "20140502_x.csv",
            "",
            vec![text("0,1.38700,1.38712\n1000,1.3871,1.3872\n86399999,1.4,1.5\n")],
            words,
        ),
        (
            "csv",
            "x.csv",
            "",
            vec![
                text(
                    "ts_ms,bid,ask,bid_size,ask_size,source\n1715940930123,1.0851,1.0852,5,6,a\n1715940930124,,1.09,,,b\n",
                ),
                text(
                    "kind,ts_ns,ts_recv_ns,symbol,bid,ask,price,size\ntick,1715940930123000000,5,EURUSD,1.08,1.09,,\n",
                ),
            ],
            words,
        ),
        (
            "mqltick",
            "x.tsv",
            "utc_offset = \"+02:00\"",
            vec![
                text(
                    "timestamp_ms\tbid\task\tlast\tvolume\tflags\n1750687200123\t3368.1\t3368.3\t0\t0\t6\n1750687200124\t\t3368.4\t3368.2\t2\t12\n",
                ),
                text(
                    "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n2025.06.23\t13:55:33.390\t3368.1\t3368.3\t\t\t6\n",
                ),
            ],
            words,
        ),
        ("binance-capture", "x.jsonl", "", binance, words),
        (
            "bi5",
            "09h_ticks.bi5",
            "date = \"2019-02-04\"",
            vec![[tick(1, 114_500, 114_490), tick(60_000, 114_501, 114_491)].concat()],
            binary,
        ),
        ("journal", "x.twj", "", vec![journal()], binary),
    ]
}

/// Packs most of what is to be packed.
fn pack(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if random.u8(..8) > 0 {
        let mut packed = Vec::new();
        lzma_rs::lzma_compress(&mut &input[..], &mut packed).unwrap();
        if random.u8(..4) == 0 {
            let at = random.usize(..packed.len());
            packed[at] = random.u8(..);
        }
        *input = packed;
    }
}

#[test]
fn recordings() {
    // A clock ticks between rows, for as long as the years between them.
    const INPUTS_MAX: usize = 10_000;
    for (format, name, keys, seeds, words) in formats() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, &seeds[0]).unwrap();
        let who = if format == "journal" { "" } else { "name = \"one\"\nsymbol = \"EURUSD\"\n" };
        let manifest = format!("[[source]]\n{who}format = \"{format}\"\nfiles = [\"{name}\"]\n{keys}\n");
        let manifest_path = dir.path().join("m.toml");
        std::fs::write(&manifest_path, manifest).unwrap();
        let manifest = Manifest::read(&manifest_path).unwrap();
        let mut target = Target::new(format!("replay-{format}"), seeds, words);
        (target.slow, target.spare_bytes) = (SLOW, BUFFERS_BYTES);
        match format {
            "bi5" => target.repair = pack,
            "journal" => target.repair = repair_journal,
            _ => {}
        }
        target.run(|bytes| {
            std::fs::write(&path, bytes).unwrap();
            let mut recording = match Recording::open(&manifest, &BTreeMap::new()) {
                Ok(recording) => recording,
                Err(error) => return hash(&(1, discriminant(&error))),
            };
            let (mut prices, mut kinds) = (0, 0);
            for _ in 0..INPUTS_MAX {
                match recording.next() {
                    Ok(Some(Input::Tick(tick))) => {
                        prices += 1;
                        kinds |= 1 << u8::from(tick.bid_e9 > tick.ask_e9);
                    }
                    Ok(Some(Input::Trade(_))) => (prices, kinds) = (prices + 1, kinds | 4),
                    Ok(Some(_)) => kinds |= 8,
                    Ok(None) => break,
                    Err(error) => return hash(&(2, discriminant(&error))),
                }
            }
            let rows: u64 = recording.rows().iter().sum();
            hash(&(
                kinds,
                recording.malformed().min(4),
                rows.min(4),
                prices.min(4),
                recording.take_note().map(|n| n.split(": ").nth(1).map(String::from)),
            ))
        });
    }
}

#[test]
fn manifests() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["20140502_x.csv", "x.tsv", "09h_ticks.bi5"] {
        std::fs::write(dir.path().join(name), b"").unwrap();
    }
    let one =
        |text: &str| format!("timer_ms = 1000\n[[source]]\nname = \"one\"\nsymbol = \"EURUSD\"\n{text}\n").into_bytes();
    let seeds = vec![
        one(
            "format = \"lean-quote\"\nfiles = [\"20140502_x.csv\"]\nutc_offset = \"-05:00\"\nfrom = \"2014-05-01T05:00:00Z\"",
        ),
        one("format = \"bi5\"\nfiles = [\"09h_ticks.bi5\"]\ndate = \"2019-02-04\"\ndigits = 5"),
        one("format = \"csv\"\nfiles = [\"x.tsv\"]\nonly = \"a\"\nto = \"2014-05-01T05:00:00Z\""),
    ];
    let words: &[&[u8]] = &[
        b"=",
        b"\"",
        b"[",
        b"]",
        b"[[source]]\n",
        b"\n",
        b"#",
        b"{",
        b"}",
        b"'''",
        b"0x",
        b"inf",
        b"9999-12-31",
        b"\\u0000",
    ];
    let path = dir.path().join("m.toml");
    let mut target = Target::new("manifest", seeds, words);
    (target.slow, target.spare_bytes) = (SLOW, BUFFERS_BYTES);
    target.run(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        match Manifest::read(&path) {
            Ok(manifest) => hash(&manifest.entries.iter().map(|entry| discriminant(&entry.format)).collect::<Vec<_>>()),
            Err(error) => {
                hash(&error.to_string().split(": ").nth(2).map(|text| text.chars().take(24).collect::<String>()))
            }
        }
    });
}

/// The file that remembers what was sent to the database.
fn ledger(dir: &Path) -> Vec<u8> {
    let lane = Lane { audience: Audience::Global, table: Table::Ticks, partition: 20_260_101 };
    let at = |offset| Position { epoch: 1, segment: 1, offset };
    let manifest = |first_seq: u64, last_seq: u64| tickwire::storage::manifest::Manifest {
        lane,
        epoch: 1,
        first_seq,
        last_seq,
        rows: last_seq - first_seq + 1,
        crc: 7,
        encoding: 1,
        from: at(first_seq),
        to: at(last_seq),
        seq_sum: (first_seq..=last_seq).sum(),
        seq_xor: 0,
    };
    let mut manifests = Manifests::open(dir).unwrap();
    manifests.begin(manifest(1, 10)).unwrap();
    manifests.done(&manifest(1, 10).token()).unwrap();
    manifests.stored(at(1_000)).unwrap();
    manifests.begin(manifest(11, 15)).unwrap();
    std::fs::read(dir.join("00000001.log")).unwrap()
}

/// Puts most checksums of lines right.
fn repair_ledger(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if random.u8(..4) == 0 {
        return;
    }
    let mut mended = Vec::with_capacity(input.len());
    for line in input.split_inclusive(|b| *b == b'\n') {
        let json = line.strip_suffix(b"\n").and_then(|line| line.get(9..)).unwrap_or_default();
        mended.extend_from_slice(format!("{:08x} ", crc32c::crc32c(json)).as_bytes());
        mended.extend_from_slice(json);
        mended.push(b'\n');
    }
    *input = mended;
}

#[test]
fn batches_that_were_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let seed = ledger(dir.path());
    let path = dir.path().join("00000001.log");
    let words: &[&[u8]] =
        &[b"{", b"}", b"\"", b",", b":", b"null", b"-1", b"18446744073709551615", b"\n", b"done", b"begun"];
    let mut target = Target::new("batches", vec![seed], words);
    (target.repair, target.slow, target.spare_bytes) = (repair_ledger, SLOW, BUFFERS_BYTES);
    target.run(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        match Ledger::read(dir.path()) {
            Ok(ledger) => hash(&(
                ledger.totals().count().min(4),
                ledger.begun().len().min(4),
                ledger.stored().is_some(),
                ledger.newest().0,
            )),
            Err(error) => hash(&error.kind()),
        }
    });
}

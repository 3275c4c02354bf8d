//! A journal as the engine would leave it, written entry by entry.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tickwire::journal::format::put_entry;
use tickwire::journal::{Catalogue, Durable, DurableAt, DurableSetter, Position, SegmentHeader, SegmentId};
use tickwire::market::{
    Class, IndicatorId, IndicatorName, Instrument, InstrumentId, Scope, Source, SourceId, VolumeOf,
};
use tickwire_schemas::record::{
    Bar, Gap, Head, Indicator, Ohlc, Quote, RECORD_BYTES_MAX, Record, Repair, SourceState, Tick, Timer, Trade,
    read_head,
};
use tickwire_schemas::words::{
    BarState, Cause, Check, GapState, Kind, Origin, RepairStep, SourceStatus, Verdict, flag,
};
use tickwire_schemas::{NO_NUMBER, NO_PRICE, NO_SIZE, NO_TIME, NO_VALUE};

pub const OANDA: u32 = 1;
pub const BINANCE: u32 = 2;
pub const MINE: u32 = 3;

/// 2026-01-01 23:59:59 UTC: a second later another partition begins.
pub const BEGIN_NS: i64 = 1_767_311_999_000_000_000;

pub struct Journal {
    dir: PathBuf,
    file: File,
    position: Position,
    pub epoch: u32,
    pub seq: u64,
    setter: DurableSetter,
    pub durable: Durable,
    // Entries not yet "on the disk".
    pending: Vec<u8>,
}

pub fn catalogue() -> Catalogue {
    let source = |id, name: &str, scope, owner: &str| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: owner.into(),
        priority: 0,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = |id, symbol: &str, class| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class,
        digits: 5,
        pip: "0.0001".parse().unwrap(),
    };
    Catalogue {
        engine_id: "tw-test".into(),
        sources: vec![
            source(OANDA, "oanda", Scope::Global, ""),
            source(BINANCE, "binance", Scope::Global, ""),
            source(MINE, "mine", Scope::Private, "alice"),
        ],
        instruments: vec![
            instrument(1, "EURUSD", Class::Fx),
            instrument(2, "BTCUSDT", Class::Crypto),
            instrument(3, "GBPUSD", Class::Fx),
        ],
        indicators: vec![IndicatorName { id: IndicatorId(4), name: "MACD(12,26,9)".into() }],
        ..Catalogue::default()
    }
}

impl Journal {
    pub fn create(state: &Path) -> Journal {
        let dir = state.join("journal");
        std::fs::create_dir_all(&dir).unwrap();
        let id = SegmentId { epoch: 1, number: 1 };
        let (setter, durable) = Durable::channel(DurableAt { position: id.start(), seq: 0 });
        let (file, position) = begin(&dir, id, 1);
        Journal { dir, file, position, epoch: 1, seq: 0, setter, durable, pending: Vec::new() }
    }

    /// The next start of the engine, or the next segment of this one.
    pub fn next_segment(&mut self, new_epoch: bool) {
        self.sync();
        let id = match new_epoch {
            true => SegmentId { epoch: self.epoch + 1, number: 1 },
            false => SegmentId { epoch: self.epoch, number: self.position.segment + 1 },
        };
        self.epoch = id.epoch;
        (self.file, self.position) = begin(&self.dir, id, self.seq + 1);
        self.sync();
    }

    pub fn head(&mut self, source_id: u32, instrument_id: u32) -> Head {
        self.seq += 1;
        let ts_publish_ns = self.now_ns() + 1_000;
        Head { epoch: self.epoch, seq: self.seq, chain: self.seq, source_id, instrument_id, ts_publish_ns }
    }

    /// A millisecond for each record.
    pub fn now_ns(&self) -> i64 {
        BEGIN_NS + self.seq as i64 * 1_000_000
    }

    pub fn append<R: Record>(&mut self, record: &R) {
        let mut bytes = [0; RECORD_BYTES_MAX];
        let length = record.write(&mut bytes);
        let mut entry = [0; 256];
        let length = put_entry(&mut entry, R::KIND, &bytes[..length]);
        self.pending.extend_from_slice(&entry[..length]);
        self.position.offset += length as u64;
    }

    /// Records that the stages published, in their order.
    pub fn append_all(&mut self, records: &[(Kind, Vec<u8>)]) {
        for (kind, bytes) in records {
            let mut entry = [0; 256];
            let length = put_entry(&mut entry, *kind, bytes);
            self.pending.extend_from_slice(&entry[..length]);
            self.position.offset += length as u64;
            self.seq = read_head(*kind, bytes).unwrap().seq;
        }
    }

    /// Brings what was appended to the disk and tells.
    pub fn sync(&mut self) {
        self.file.write_all(&self.pending).unwrap();
        self.pending.clear();
        self.setter.set(DurableAt { position: self.position, seq: self.seq });
    }

    pub fn tick(&mut self, source: u32, verdict: Verdict) {
        let head = self.head(source, if source == BINANCE { 2 } else { 1 });
        let refused = verdict == Verdict::Refused;
        let tick = Tick {
            head,
            ts_event_ns: if head.seq.is_multiple_of(5) { NO_TIME } else { self.now_ns() - 5_000_001 },
            ts_recv_ns: self.now_ns(),
            bid_e9: 1_085_100_000 + head.seq as i64,
            ask_e9: if head.seq.is_multiple_of(7) { NO_PRICE } else { 1_085_200_000 + head.seq as i64 },
            bid_size_e8: 3_121_000_000,
            ask_size_e8: NO_SIZE,
            source_seq: if source == BINANCE { head.seq * 10 } else { NO_NUMBER },
            flags: flag::SNAPSHOT | Check::Interval.bit(),
            reasons: if refused { Check::Spread.bit() | Check::Jump.bit() } else { 0 },
            verdict: verdict.code(),
            confidence: if refused { 60 } else { 100 },
        };
        self.append(&tick);
    }

    pub fn trade(&mut self) {
        let head = self.head(BINANCE, 2);
        let (ts_event_ns, ts_recv_ns) = (self.now_ns() - 1, self.now_ns());
        let price_e9 = 105_944_200_000_000;
        let trade = Trade {
            head,
            ts_event_ns,
            ts_recv_ns,
            price_e9,
            size_e8: 1,
            trade_id: 77,
            aggressor: 2,
            ..Trade::default()
        };
        self.append(&trade);
    }

    pub fn quote(&mut self, source: u32) {
        let head = self.head(source, 1);
        let (ts_event_ns, ts_recv_ns) = (NO_TIME, self.now_ns());
        let quote = Quote {
            head,
            ts_event_ns,
            ts_recv_ns,
            bid_e9: 1,
            ask_e9: NO_PRICE,
            bid_size_e8: NO_SIZE,
            ask_size_e8: 5,
            bid_source_id: OANDA,
            ask_source_id: 0,
            sources: 1,
            state: 1,
            flags: 0,
        };
        self.append(&quote);
    }

    pub fn others(&mut self) {
        let head = self.head(0, 0);
        let now_ns = self.now_ns();
        self.append(&Timer { head, now_ns, snapshot: 0 });
        let head = self.head(OANDA, 0);
        self.append(&SourceState { head, ts_recv_ns: self.now_ns(), attempt: 2, status: 1, cause: 0 });
        let head = self.head(0, 0);
        let gap = Gap {
            head,
            ts_recv_ns: self.now_ns(),
            from_ns: NO_TIME,
            to_ns: self.now_ns(),
            gap_id: head.seq,
            lost: NO_NUMBER,
            gap_epoch: head.epoch,
            cause: Cause::Restart.code(),
            state: 1,
        };
        self.append(&gap);
    }

    /// A bar of the common price, provisional (0), final (1) or revised (2).
    pub fn bar(&mut self, state: u8, revision: u16) {
        let head = self.head(0, 1);
        let ohlc = |e9| Ohlc { open_e9: e9, high_e9: e9 + 2, low_e9: e9 - 1, close_e9: e9 + 1 };
        let (open_ts_ns, close_ts_ns) = (BEGIN_NS - 59_000_000_000, BEGIN_NS + 1_000_000_000);
        let none = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };
        self.append(&Bar {
            head,
            open_ts_ns,
            close_ts_ns,
            bid: ohlc(10),
            ask: ohlc(20),
            mid: none,
            ticks: 7,
            volume_e8: NO_SIZE,
            revision,
            timeframe: 1,
            origin: 0,
            basis: 0,
            state,
        });
    }

    pub fn indicator(&mut self) {
        let head = self.head(OANDA, 1);
        let values_bits = [1.5f64.to_bits(), NO_VALUE, (-1e-9f64).to_bits(), NO_VALUE];
        self.append(&Indicator { head, bar_ts_ns: BEGIN_NS, values_bits, indicator_id: 4, timeframe: 5, state: 1 });
    }

    /// A bar of its own of a source, an indicator, a lost connection, and inputs dropped at the door.
    pub fn bars_and_failures(&mut self, source: u32) {
        let head = self.head(source, 1);
        let open_ts_ns = BEGIN_NS + head.seq as i64 * 60_000_000_000;
        let close_ts_ns = open_ts_ns + 60_000_000_000;
        self.append(&Bar { head, open_ts_ns, close_ts_ns, timeframe: 1, state: 1, ..Bar::default() });
        self.indicator();
        let head = self.head(source, 0);
        let (status, cause) = (SourceStatus::Down.code(), Cause::ReadError.code());
        self.append(&SourceState { head, ts_recv_ns: self.now_ns(), attempt: 0, status, cause });
        let head = self.head(source, 0);
        let (from_ns, to_ns) = (self.now_ns() - 1_500_000_000, self.now_ns());
        let (cause, state) = (Cause::RingFull.code(), GapState::Closed.code());
        let (gap_id, gap_epoch) = (head.seq, head.epoch);
        self.append(&Gap { head, ts_recv_ns: to_ns, from_ns, to_ns, gap_id, lost: 12, gap_epoch, cause, state });
    }

    /// A hole of a source that closes, the inputs that tell of its end, and that end; with a bar of ours and the venue's bar
    /// of the same minute where it is repaired.
    pub fn hole(&mut self, end: GapState) {
        let head = self.head(OANDA, 1);
        let from_ns = self.now_ns();
        let cause = Cause::ReadError.code();
        let (gap_id, gap_epoch, lost, state) = (head.seq, head.epoch, NO_NUMBER, GapState::Open.code());
        let open = Gap { head, ts_recv_ns: from_ns, from_ns, to_ns: NO_TIME, gap_id, lost, gap_epoch, cause, state };
        self.append(&open);
        let tell = |journal: &mut Journal, state: GapState| {
            let head = journal.head(OANDA, 1);
            let (ts_recv_ns, to_ns) = (journal.now_ns(), from_ns + 20_000_000);
            journal.append(&Gap { head, ts_recv_ns, to_ns, state: state.code(), ..open });
        };
        tell(self, GapState::Closed);
        let open_ts_ns = BEGIN_NS - 59_000_000_000;
        let bar = Bar { open_ts_ns, close_ts_ns: open_ts_ns + 60_000_000_000, timeframe: 1, ..Bar::default() };
        let ohlc = |e9| Ohlc { open_e9: e9, high_e9: e9 + 2, low_e9: e9 - 1, close_e9: e9 + 1 };
        let mut repair = Repair { ts_recv_ns: self.now_ns(), gap_id, gap_epoch, lost, cause, ..Repair::default() };
        if end == GapState::Repaired {
            let head = self.head(OANDA, 1);
            self.append(&Bar { head, bid: ohlc(10), ask: ohlc(20), state: BarState::Final.code(), ..bar });
            let head = self.head(OANDA, 1);
            self.append(&Repair { head, step: RepairStep::Bar.code(), ..repair });
            let head = self.head(OANDA, 1);
            let (origin, state) = (Origin::Repair.code(), BarState::Revised.code());
            self.append(&Bar { head, bid: ohlc(30), ask: ohlc(40), origin, state, revision: 1, ..bar });
            repair.step = RepairStep::Repaired.code();
        } else {
            repair.step = RepairStep::Lost.code();
        }
        let head = self.head(OANDA, 1);
        self.append(&Repair { head, ..repair });
        tell(self, end);
    }

    /// `count` records of every kind, global and private, on the disk.
    pub fn mixed(&mut self, count: usize) {
        for n in 0..count {
            match n % 10 {
                0 => self.tick(OANDA, Verdict::Refused),
                1 => self.trade(),
                2 => self.quote(0),
                3 => self.tick(MINE, Verdict::Accepted),
                4 if n % 100 == 4 => self.others(),
                _ if n % 100 == 94 => {
                    self.tick(OANDA, Verdict::Accepted);
                    self.bars_and_failures(if n % 200 == 94 { OANDA } else { MINE });
                }
                5 => self.tick(BINANCE, Verdict::Duplicate),
                _ => self.tick(OANDA, Verdict::Accepted),
            }
        }
        self.sync();
    }
}

/// The kind of a row that is made from another record.
pub const EXECUTION: &str = "execution";

fn begin(dir: &Path, id: SegmentId, first_seq: u64) -> (File, Position) {
    let header = SegmentHeader { id, first_seq, catalogue: catalogue() }.to_bytes();
    let mut file = OpenOptions::new().create_new(true).append(true).open(id.path(dir)).unwrap();
    file.write_all(&header).unwrap();
    (file, Position { offset: header.len() as u64, ..id.start() })
}

/// Every row that belongs into the database, as (kind of table, epoch, seq).
pub fn expected(state: &Path) -> Vec<(&'static str, u32, u64)> {
    let mut reader = tickwire::journal::Reader::open(&state.join("journal"), None).unwrap();
    let mut rows = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let head = read_head(entry.kind, entry.bytes).unwrap();
        let forming = entry.kind == Kind::Bar && Bar::read(entry.bytes).unwrap().state == 0;
        if !forming && !matches!(entry.kind, Kind::Timer | Kind::Drop | Kind::Repair) {
            rows.push((entry.kind.word(), head.epoch, head.seq));
        }
        let fails = |entry: &[u8]| SourceState::read(entry).unwrap().status == SourceStatus::Down.code();
        let drops = |entry: &[u8]| Gap::read(entry).unwrap().cause == Cause::RingFull.code();
        let executes = match entry.kind {
            Kind::Bar => !forming,
            Kind::SourceState => fails(entry.bytes),
            Kind::Gap => drops(entry.bytes),
            _ => false,
        };
        if executes {
            rows.push((EXECUTION, head.epoch, head.seq));
        }
    }
    rows
}

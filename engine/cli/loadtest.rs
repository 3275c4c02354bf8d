//! `tickwire loadtest`: many terminals in one process, to find out what an engine can serve. One thread, no runtime: else
//! it would measure itself.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use nix::sys::resource::{UsageWho, getrusage};
use tickwire_schemas::WIRE_VERSION;
use tickwire_schemas::control::{Control, Hello, Subscribe};
use tickwire_schemas::words::Kind;
use tickwire_terminal::Target;

use crate::clock::now_ns;

use super::watch_arguments::DeliveryWord;
use super::{Common, Failure, say, watch};

mod fleet;
mod link;
pub mod measure;
mod terminal;
mod wheel;

use fleet::{Fleet, Orders};
use measure::Report;

/// Most terminals of one process.
const TERMINALS_MAX: u64 = 10_000;

/// Handshakes at one time: an engine has one thread for them, and a terminal that waits longer than its Hello is closed.
const CONNECTING_MAX: usize = 32;

/// A terminal has this long from its first packet to the end of its snapshot.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// How long records of the measurement may be late and still count.
const LATE_MAX: Duration = Duration::from_secs(3);

/// How long the last words may take.
const CLOSE_WITHIN: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Since {
    /// Its publication
    Publish,
    /// The engine's read of the broker's socket
    Receive,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The engine; the local one when left out
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// SHA-256 of its certificate, in hexadecimal
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// Token by reference: env:NAME or file:PATH
    #[arg(long, value_name = "REF")]
    token: Option<String>,
    /// Terminals, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=TERMINALS_MAX))]
    terminals: u64,
    /// Symbols or globs, separated by commas; all when left out
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Kinds of record, separated by commas; quote when left out
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// What the engine does for a terminal that cannot keep up
    #[arg(long, value_enum, default_value = "latest")]
    delivery: DeliveryWord,
    /// Length of the measurement, 1 to 86400 seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds between the last connection and the measurement, up to 3600
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warmup: u64,
    /// What a tick's, trade's or quote's latency counts from
    #[arg(long, value_enum, default_value = "publish")]
    since: Since,
    /// Never sleep: lower latency for a whole core
    #[arg(long)]
    spin: bool,
    /// One JSON document instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs it. Exit code 1 when a terminal failed, though the rest was measured.
pub(super) fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    let Options { connect, fingerprint, token, .. } = options;
    let target = watch::find(&common.state_dir, connect.as_deref(), fingerprint.as_deref(), token.as_deref());
    let orders = orders(&target.map_err(Failure::failed)?, options).map_err(Failure::usage)?;
    let report = measure(orders, options).map_err(Failure::failed)?;
    if options.json {
        say(serde_json::to_string(&report).map_err(Failure::failed)? + "\n")?;
    } else {
        say(report.table())?;
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn orders(target: &Target, options: &Options) -> Result<Orders, String> {
    let hello = Hello {
        version: WIRE_VERSION,
        token: target.token.clone(),
        client: concat!("tickwire-loadtest/", env!("CARGO_PKG_VERSION")).into(),
        capabilities: Vec::new(),
    };
    let every = || vec!["*".to_string()];
    let subscribe = Subscribe {
        id: 1,
        symbols: if options.symbols.is_empty() { every() } else { options.symbols.clone() },
        kinds: if options.kinds.is_empty() { vec![Kind::Quote] } else { watch::kinds(&options.kinds)? },
        delivery: options.delivery.into(),
        ..Subscribe::default()
    };
    Ok(Orders {
        engine: target.address,
        client: link::client_config(&target.trust)?,
        server_name: target.trust.server_name().into(),
        hello: hello.to_frame(),
        subscribe: subscribe.to_frame(),
        spin: options.spin,
        since_receive: options.since == Since::Receive,
    })
}

/// Says on standard error how far it is; a benchmark waits for these lines.
fn tell(stage: &str) {
    // Nobody reading is no reason to stop.
    let _ = writeln!(std::io::stderr(), "loadtest: {stage}");
}

fn measure(orders: Orders, options: &Options) -> Result<Report, String> {
    let terminals = options.terminals as usize;
    if tickwire_terminal::refuses(orders.engine) {
        return Err(format!("cannot connect to {}: nobody listens there", orders.engine));
    }
    let mut fleet = Fleet::new(orders, terminals)?;
    let began = Instant::now();
    connect(&mut fleet, terminals)?;
    let connect_seconds = began.elapsed().as_secs_f64();
    let connected = fleet.live() as u64;
    tell(&format!("connected {connected} of {terminals} in {connect_seconds:.2} s"));
    go_on(&mut fleet, Duration::from_secs(options.warmup))?;

    let length = Duration::from_secs(options.seconds);
    let from_ns = now_ns();
    let until_ns = from_ns.saturating_add(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX));
    fleet.tally().measure(from_ns, until_ns);
    let (cpu, packets) = (cpu_seconds()?, fleet.packets());
    tell("measuring");
    go_on(&mut fleet, length)?;
    let cpu_seconds = cpu_seconds()? - cpu;
    let (received, sent) = fleet.packets();
    tell("measured");

    let late = Instant::now() + LATE_MAX;
    while Instant::now() < late && !fleet.all_past() {
        fleet.turn(late)?;
    }
    let mut report = Report {
        terminals: options.terminals,
        connected,
        failed: fleet.failed() as u64,
        first_failure: fleet.first_failure().unwrap_or_default().into(),
        sockets: fleet.sockets() as u64,
        connect_seconds,
        cpu_seconds,
        packets_received: received - packets.0,
        packets_sent: sent - packets.1,
        ..Report::default()
    };
    fleet.tally().report(&mut report);
    fleet.close()?;
    go_on(&mut fleet, CLOSE_WITHIN)?;
    Ok(report)
}

/// Connects all, a few at a time. When the very first fails, the rest would too.
fn connect(fleet: &mut Fleet, terminals: usize) -> Result<(), String> {
    let mut look = Instant::now();
    while fleet.live() + fleet.failed() < terminals {
        let connecting = fleet.begun() - fleet.live() - fleet.failed();
        for _ in connecting..CONNECTING_MAX.min(terminals - fleet.begun() + connecting) {
            fleet.begin()?;
        }
        fleet.turn(Instant::now() + LIVE_WITHIN / 100)?;
        if look.elapsed() > LIVE_WITHIN / 100 {
            look = Instant::now();
            fleet.give_up_begun_before(look.checked_sub(LIVE_WITHIN));
        }
        if let Some(reason) = fleet.first_failure().filter(|_| fleet.live() == 0) {
            return Err(reason.into());
        }
    }
    Ok(())
}

fn go_on(fleet: &mut Fleet, length: Duration) -> Result<(), String> {
    let until = Instant::now() + length;
    while Instant::now() < until {
        fleet.turn(until)?;
    }
    Ok(())
}

/// Processor time of this process so far.
fn cpu_seconds() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|e| format!("getrusage: {e}"))?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

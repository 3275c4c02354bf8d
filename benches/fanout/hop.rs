//! From the broker's socket to a terminal through the whole engine, beside the least that QUIC between two processes takes.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tickwire::cli::loadtest::measure::{Report, Tally};
use tickwire::clock::now_ns;
use tickwire::fanout::{FanoutConfig, tls};
use tickwire_schemas::record::{Quote, RECORD_BYTES_MAX, Record, TS_PUBLISH_OFFSET};
use tickwire_terminal::Trust;

use super::Options;
use super::process::{Load, Owned, spawn_on};
use super::quotes::Schedule;
use super::results::Results;
use super::sides::{Cell, LOAD_CORE, SERVER_CORE, Values, this_program};

/// Ticks a second of one symbol, one terminal.
const RATE: u64 = 1000;

/// The simulator's factor for some so many: 780 to 1,200 by the hour of the day, for which see `records_per_s`.
const SIMULATED: f64 = 30.0;

/// Loop and stages never sleep, each on its core, and yield to the others there: the thread that reads from the broker
/// shares the loop's, broker and terminal share that of the stages.
const SPINNING: &str = "engine, storage off, loop spinning";

/// A quote each millisecond, which never has to wait for the one before.
const EVEN: &str = "bare quinn, evenly";

const PROGRAM: &str = env!("CARGO_BIN_EXE_tickwire");

pub fn run(options: &Options) {
    let question = "How long from the broker's socket to a terminal, beside a bare hop over quinn?";
    let mut results = Results::new("fanout_socket", question);
    let cell = options.sized(Cell::new(1, RATE));
    let quiet = "[storage]\nmode = \"off\"\n";
    let of = |keys: &str| Some(format!("{quiet}[fanout]\n{keys}\n"));
    let spinning = format!(
        "transport = \"loop\"\nidle = \"spin-then-yield\"\ncores = [{SERVER_CORE}]\n[ingest]\ncores = [{SERVER_CORE}]\n\
         [pipeline]\nidle = \"spin-then-yield\"\ncores = [{LOAD_CORE}]"
    );
    let sides = [
        ("bare quinn, as irregular as the broker", None),
        (EVEN, None),
        ("engine, storage off, loop parking", of("transport = \"loop\"")),
        (SPINNING, of(&spinning)),
        ("engine, storage off, tokio", of("transport = \"tokio\"")),
        ("engine, everything on, loop parking", Some(String::new())),
    ];
    let mut found: Vec<Vec<Values>> = vec![Vec::new(); sides.len()];
    for _ in 0..options.rounds {
        for ((name, config), rounds) in sides.iter().zip(&mut found) {
            let measured = match config {
                None => bare(cell, if *name == EVEN { "even" } else { "random" }),
                Some(config) => engine(cell, config, (*name == SPINNING).then_some(LOAD_CORE)),
            };
            match measured {
                Ok(values) => rounds.push(values),
                Err(problem) => eprintln!("{name}: {problem}"),
            }
        }
    }
    for ((name, _), rounds) in sides.iter().zip(&found).filter(|(_, rounds)| !rounds.is_empty()) {
        results.add(json!({"side": name, "terminals": 1, "rate": RATE}), rounds);
    }
    results.print(&["p50_us", "p90_us", "p99_us", "p999_us", "max_us", "records_per_s", "start_s"]);
}

fn values(report: &Report) -> Values {
    let latency = report.latency_us;
    let pairs = [
        ("p50_us", latency.p50),
        ("p90_us", latency.p90),
        ("p99_us", latency.p99),
        ("p999_us", latency.p999),
        ("max_us", latency.max),
        ("records_per_s", report.records_per_s),
        ("conflated", report.skipped as f64),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn free_port() -> Result<u16, String> {
    let socket = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(|e| e.to_string())
}

/// A simulated broker in a process of its own, the engine in another, one terminal in a third; all on `core` but for threads
/// that pin themselves, or wherever the kernel puts them.
fn engine(cell: Cell, config: &str, core: Option<usize>) -> Result<Values, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (port, at) = (free_port()?, folder.path());
    let simulator = format!(
        "[simulators.binance]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\nrate = {SIMULATED:.1}\n"
    );
    let source = format!(
        "[console]\nlisten = \"127.0.0.1:0\"\n[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n\
         [sources.binance]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n"
    );
    let listen = if config.contains("[fanout]\n") { String::new() } else { "[fanout]\n".into() };
    let config = format!("{config}{listen}").replace("[fanout]\n", "[fanout]\nlisten = \"127.0.0.1:0\"\n");
    let write = |name: &str, text: String| std::fs::write(at.join(name), text).map_err(|e| e.to_string());
    write("simulator.toml", simulator)?;
    write("engine.toml", config + &source)?;
    let _simulator = start(at, "simulate", "simulator.toml", core)?;
    let began = Instant::now();
    let _engine = start(at, "run", "engine.toml", core)?;
    while !at.join("state/engine.json").exists() {
        if began.elapsed() > Duration::from_secs(20) {
            return Err("the engine did not start".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let start_s = began.elapsed().as_secs_f64();
    let mut command = Command::new(PROGRAM);
    command.args(["loadtest", "--json", "--terminals", "1", "--delivery", "all", "--since", "receive", "--state-dir"]);
    command.arg(at.join("state"));
    command.args(["--seconds", &cell.seconds.to_string(), "--warmup", &cell.warmup.to_string()]);
    let load = match core {
        Some(core) => Load::start(core, &mut command),
        None => Load::start_anywhere(&mut command),
    };
    let mut found = values(&load.report()?);
    found.insert("start_s".into(), start_s);
    Ok(found)
}

fn start(at: &Path, subcommand: &str, config: &str, core: Option<usize>) -> Result<Owned, String> {
    let mut command = Command::new(PROGRAM);
    command.arg(subcommand).arg("--config").arg(at.join(config)).arg("--state-dir").arg(at.join("state"));
    command.env("TICKWIRE_LOG", "error").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(core) = core {
        return Ok(Owned(spawn_on(core, &mut command)));
    }
    command.spawn().map(Owned).map_err(|e| format!("{PROGRAM}: {e}"))
}

fn bare(cell: Cell, gaps: &str) -> Result<Values, String> {
    let mut command = this_program();
    command.args(["--child", "quinn-server", gaps]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Owned(command.spawn().map_err(|e| e.to_string())?);
    let mut line = String::new();
    let stdout = server.0.stdout.take().ok_or("pipes")?;
    BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
    let said: Value = serde_json::from_str(&line).map_err(|_| "the bare server did not start".to_string())?;
    let word = |name: &str| said[name].as_str().unwrap_or_default().to_string();
    let mut command = this_program();
    command.args(["--child", "quinn-client", &word("address"), &word("fingerprint")]);
    command.args([cell.seconds.to_string(), cell.warmup.to_string()]);
    Ok(values(&Load::start_anywhere(&mut command).report()?))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Sends quotes to the one who connects, each stamped when it is written; until killed.
pub fn server(even: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = tls::load(&FanoutConfig::default(), folder.path()).expect("a certificate");
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls.config).expect("TLS");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    runtime().block_on(async {
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("an endpoint");
        println!("{}", json!({"address": endpoint.local_addr().expect("bound"), "fingerprint": tls.fingerprint}));
        let connection = endpoint.accept().await.expect("a client").await.expect("a connection");
        let mut stream = connection.open_uni().await.expect("a stream");
        let (due, mut quotes) = tokio::sync::mpsc::channel(1024);
        // The runtime's timer counts whole milliseconds.
        std::thread::spawn(move || {
            let mut schedule = Schedule::with_gaps(RATE, even);
            loop {
                schedule.wait();
                while let Some(quote) = schedule.next_due() {
                    due.blocking_send(quote).expect("a server");
                }
            }
        });
        let mut bytes = [0; RECORD_BYTES_MAX];
        while let Some(mut quote) = quotes.recv().await {
            quote.head.ts_publish_ns = now_ns();
            let length = quote.write(&mut bytes);
            if stream.write_all(&bytes[..length]).await.is_err() {
                std::process::exit(0);
            }
        }
    })
}

/// Reads them and prints the report.
pub fn client(address: SocketAddr, fingerprint: &str, seconds: u64, warmup: u64) {
    let tls = Trust::Fingerprint(fingerprint.into()).client_config().expect("a fingerprint");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS");
    let report = runtime().block_on(async {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()).expect("an endpoint");
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connection = endpoint.connect_with(config, address, "localhost").expect("an address").await;
        let mut stream = connection.expect("a connection").accept_uni().await.expect("a stream");
        let mut tally = Tally::new();
        let from_ns = now_ns() + warmup as i64 * 1_000_000_000;
        tally.measure(from_ns, from_ns + seconds as i64 * 1_000_000_000);
        let mut record = [0; Quote::BYTES];
        loop {
            stream.read_exact(&mut record).await.expect("a record");
            let stamp = record[TS_PUBLISH_OFFSET..].first_chunk().map_or(0, |stamp| i64::from_le_bytes(*stamp));
            tally.record(stamp, now_ns(), 0);
            if tally.is_past(stamp) {
                let mut report = Report { terminals: 1, connected: 1, ..Report::default() };
                tally.report(&mut report);
                return report;
            }
        }
    });
    println!("{}", serde_json::to_string(&report).expect("numbers"));
}

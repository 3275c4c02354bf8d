//! One measurement of one side: server on one core, load on the other.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tickwire::cli::loadtest::measure::Report;

use super::process::{Load, Owned, cpu_seconds_of, memory_of, spawn_on};

/// Core of the server and of whoever publishes; core of the load generator.
pub const SERVER_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;

/// What is measured: by name, with the unit in the name.
pub type Values = BTreeMap<String, f64>;

/// Terminals, rate and how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    pub terminals: u64,
    /// Quotes a second; each terminal takes every one.
    pub rate: u64,
    pub seconds: u64,
    pub warmup: u64,
}

impl Cell {
    pub const fn new(terminals: u64, rate: u64) -> Cell {
        Cell { terminals, rate, seconds: 10, warmup: 2 }
    }

    pub fn name(&self) -> String {
        format!("{}x{}", self.terminals, self.rate)
    }

    /// The cell of such a name.
    pub fn named(name: &str) -> Option<Cell> {
        let (terminals, rate) = name.split_once('x')?;
        Some(Cell::new(terminals.parse().ok().filter(|n| *n > 0)?, rate.parse().ok().filter(|n| *n > 0)?))
    }
}

/// Who serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// Our fan-out with these keys of `[fanout]`.
    Tickwire { name: String, keys: Vec<(String, String)>, delivery: &'static str, spin: bool },
    /// nats-server, plaintext.
    Nats(PathBuf),
}

impl Side {
    pub fn name(&self) -> String {
        match self {
            Side::Tickwire { name, delivery, .. } => format!("{name}-{delivery}"),
            Side::Nats(_) => "nats-server".into(),
        }
    }

    /// Measures one cell once.
    ///
    /// # Errors
    /// What went wrong, in a sentence: a side that cannot do a cell does not end the others.
    pub fn measure(&self, cell: Cell) -> Result<Values, String> {
        match self {
            Side::Tickwire { keys, delivery, spin, .. } => tickwire(cell, keys, delivery, *spin),
            Side::Nats(program) => nats(cell, program),
        }
    }
}

/// This very program, to be started with `--child`.
pub fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program"))
}

fn tickwire(cell: Cell, keys: &[(String, String)], delivery: &str, spin: bool) -> Result<Values, String> {
    let mut command = this_program();
    command.args(["--child", "serve"]).args(keys.iter().map(|(key, value)| format!("{key}={value}")));
    let mut server = Owned(spawn_on(SERVER_CORE, command.stdin(Stdio::piped()).stdout(Stdio::piped())));
    let (Some(mut stdin), Some(stdout)) = (server.0.stdin.take(), server.0.stdout.take()) else {
        unreachable!("pipes")
    };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
    let said: serde_json::Value = serde_json::from_str(&line).map_err(|_| "the server did not start".to_string())?;
    let word = |name: &str| said[name].as_str().unwrap_or_default().to_string();

    let mut command = Command::new(env!("CARGO_BIN_EXE_tickwire"));
    command.args(["loadtest", "--json", "--connect", &word("address"), "--fingerprint", &word("fingerprint")]);
    command.args(["--delivery", delivery, "--terminals", &cell.terminals.to_string()]);
    command.args(["--seconds", &cell.seconds.to_string(), "--warmup", &cell.warmup.to_string()]);
    command.args(spin.then_some("--spin"));
    let memory = memory_of(server.0.id());
    let load = Load::start(LOAD_CORE, &mut command);
    let go = format!("go {}\n", cell.rate);
    measure(cell, &server, memory, load, |_| {
        std::io::Write::write_all(&mut stdin, go.as_bytes()).map_err(|e| format!("the server: {e}"))
    })
}

fn nats(cell: Cell, program: &Path) -> Result<Values, String> {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(|e| e.to_string())?.port();
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, "max_connections: 20000\n").map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let server = Owned(spawn_on(SERVER_CORE, &mut command));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > Duration::from_secs(10) {
            return Err("nats-server did not start".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut command = this_program();
    command.args(["--child", "nats", &address.to_string(), &cell.terminals.to_string()]);
    command.args([cell.seconds.to_string(), cell.warmup.to_string(), SERVER_CORE.to_string()]);
    let memory = memory_of(server.0.id());
    let load = Load::start(LOAD_CORE, &mut command);
    let go = format!("go {}\n", cell.rate);
    measure(cell, &server, memory, load, |load| {
        load.say(&go);
        Ok(())
    })
}

/// Follows a load generator through its stages and puts together what both sides' processes say.
fn measure(
    cell: Cell,
    server: &Owned,
    memory_before: u64,
    mut load: Load,
    go: impl FnOnce(&mut Load) -> Result<(), String>,
) -> Result<Values, String> {
    let pid = server.0.id();
    load.until("connected")?;
    let memory_idle = memory_of(pid);
    go(&mut load)?;
    load.until("measuring")?;
    let (cpu, began) = (cpu_seconds_of(pid), Instant::now());
    load.until("measured")?;
    // A load generator that is too busy says so late.
    let cpu = (cpu_seconds_of(pid) - cpu) * cell.seconds as f64 / began.elapsed().as_secs_f64();
    let memory_busy = memory_of(pid);
    let report = load.report()?;
    Ok(values(cell, &report, cpu, [memory_before, memory_idle, memory_busy]))
}

fn values(cell: Cell, report: &Report, server_cpu: f64, [before, idle, busy]: [u64; 3]) -> Values {
    let seconds = cell.seconds as f64;
    let offered = (cell.terminals * cell.rate) as f64 * seconds;
    let records = report.records as f64;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / 1e3 / cell.terminals as f64;
    let us = |seconds: f64| if records > 0.0 { seconds * 1e6 / records } else { 0.0 };
    let latency = report.latency_us;
    let pairs = [
        ("delivered", records / offered),
        ("conflated", report.skipped as f64 / offered),
        ("deliveries_per_s", records / seconds),
        ("p50_us", latency.p50),
        ("p90_us", latency.p90),
        ("p99_us", latency.p99),
        ("p999_us", latency.p999),
        ("max_us", latency.max),
        ("server_cpu_us_per_delivery", us(server_cpu)),
        ("server_cpu_share", server_cpu / seconds),
        ("load_cpu_us_per_delivery", us(report.cpu_seconds)),
        ("load_cpu_share", report.cpu_seconds / seconds),
        ("packets_per_s", report.packets_received as f64 / seconds),
        ("memory_idle_kb_per_terminal", each(idle)),
        ("memory_busy_kb_per_terminal", each(busy)),
        ("connect_s", report.connect_seconds),
        ("failed", report.failed as f64),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn ours(name: &str, keys: &[(&str, &str)], delivery: &'static str, spin: bool) -> Side {
    let keys = keys.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
    Side::Tickwire { name: name.into(), keys, delivery, spin }
}

/// Our fan-out as it is when it never sleeps, nor does the load: for one terminal.
pub fn spinning() -> Side {
    ours("tickwire-loop-spinning", &[("transport", "loop"), ("idle", "spin")], "all", true)
}

/// Whether the name of a side contains one of the words of `only`, which commas separate.
pub fn is_wanted(name: &str, only: Option<&str>) -> bool {
    only.is_none_or(|only| only.split(',').any(|word| name.contains(word)))
}

/// The sides that this machine has, of those that `only` wants; `few` leaves `latest` out. The loop with datagrams as the
/// internet carries them (`loop-1452`), and the other transport, stock quinn (`tokio`), are there only where they are wanted
/// by name.
pub fn sides(only: Option<&str>, few: bool) -> Vec<Side> {
    let is_wanted = |name: &str| is_wanted(name, only);
    let mut found = Vec::new();
    let ways: [(&str, &[(&str, &str)]); 3] = [
        ("loop", &[("transport", "loop")]),
        ("loop-1452", &[("transport", "loop"), ("datagram_bytes_max", "1452")]),
        ("tokio", &[("transport", "tokio")]),
    ];
    for (way, keys) in ways.into_iter().filter(|(way, _)| *way == "loop" || only.is_some_and(|only| only.contains(way)))
    {
        for delivery in ["all", "latest"].into_iter().take(if few { 1 } else { 2 }) {
            found.push(ours(&format!("tickwire-{way}"), keys, delivery, false));
        }
    }
    if is_wanted("nats-server") {
        match nats_server() {
            Ok(program) => found.push(Side::Nats(program)),
            Err(problem) => eprintln!("fanout: without the rival: {problem}"),
        }
    }
    found.retain(|side| is_wanted(&side.name()));
    found
}

/// Where `scripts/get-nats` says nats-server is.
fn nats_server() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/get-nats");
    let out = Command::new(script).stderr(Stdio::inherit()).output().map_err(|e| format!("{script}: {e}"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    if out.status.success() && path.exists() { Ok(path) } else { Err(format!("{script} found none")) }
}

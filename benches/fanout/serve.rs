//! The server side, in a process of its own: the real fan-out behind a real outbound ring, and a thread that publishes.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::task::{Context, Poll};

use tickwire::config::Config;
use tickwire::fanout::{Catalogue, FanoutConfig, FanoutHandle, start};
use tickwire::market::{Class, Instrument, InstrumentId, Price};
use tickwire::ring::{Drained, Outbound, Outlet, build_outbound};
use tickwire_schemas::words::Kind;

use super::quotes::{EPOCH, SYMBOLS, Schedule};

/// Slots of the ring, as the engine has by default.
const SLOTS: usize = 65_536;

/// The fan-out's outlet; what the journal would take is taken and dropped, so that the ring does not fill.
struct Both {
    fanout: Box<dyn Outlet>,
    journal: Box<dyn Outlet>,
}

impl Outlet for Both {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        let _ = self.journal.drain(limit, &mut |_, _| {});
        self.fanout.drain(limit, each)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.fanout.poll_ready(cx)
    }

    fn awake(&mut self) {
        self.fanout.awake();
    }
}

/// The configuration of the fan-out with these keys of `[fanout]`; an error names the key that there is not.
pub fn config(keys: &[(&str, &str)]) -> Result<FanoutConfig, String> {
    let names =
        |(key, value): &(&str, &str)| (format!("TICKWIRE__FANOUT__{}", key.to_uppercase()), (*value).to_string());
    let config = Config::load(&[], keys.iter().map(names)).map_err(|e| e.to_string())?;
    FanoutConfig::from_config(&config).map_err(|e| e.to_string())
}

fn catalogue() -> Catalogue {
    let instrument = |id| Instrument {
        id: InstrumentId(id),
        symbol: format!("SYM{id}"),
        class: Class::Fx,
        digits: 5,
        pip: Price::from_e9(100_000).expect("a pip"),
    };
    Catalogue::new((1..=SYMBOLS).map(instrument).collect(), Vec::new())
}

/// Starts one with `keys` over the defaults, on a free port of this machine.
pub fn fanout(keys: &[(&str, &str)], state: &Path) -> (FanoutHandle, Outbound) {
    let always = [("listen", "127.0.0.1:0"), ("max_terminals", "20000"), ("allow_anonymous_loopback", "true")];
    let config = config(&[&always[..], keys].concat()).expect("the configuration");
    let (outbound, journal, mut fanouts) = build_outbound(SLOTS, 1);
    let fanout = fanouts.remove(0);
    let outlet: Box<dyn Outlet> = Box::new(Both { fanout, journal });
    let handle = start(&config, catalogue(), "bench".into(), EPOCH, state, None, vec![outlet]).expect("the fan-out");
    (handle, outbound)
}

/// The child process: says where it listens, then publishes at the rate that `go RATE` on standard input names, until
/// that input ends.
pub fn child(keys: &[String]) -> ! {
    let keys: Vec<(&str, &str)> = keys.iter().filter_map(|key| key.split_once('=')).collect();
    let state = tempfile::tempdir().expect("a folder");
    let (handle, outbound) = fanout(&keys, state.path());
    let mut outbound = Some(outbound);
    let said = serde_json::json!({ "address": handle.local_addr(), "fingerprint": handle.fingerprint() });
    println!("{said}");
    std::io::stdout().flush().expect("the parent listens");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some(rate) = line.strip_prefix("go ").and_then(|rate| rate.parse().ok()) else { continue };
        if let Some(outbound) = outbound.take() {
            std::thread::spawn(move || publish(outbound, rate));
        }
    }
    drop(state);
    std::process::exit(0);
}

fn publish(mut outbound: Outbound, rate: u64) {
    let mut schedule = Schedule::new(rate);
    loop {
        schedule.wait();
        while let Some(quote) = schedule.next_due() {
            outbound.publish(&quote);
        }
        outbound.ring();
    }
}

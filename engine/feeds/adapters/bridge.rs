//! What the expert advisers over ZeroMQ share: where they are, and when they may be asked.

use std::str::FromStr;
use std::time::Duration;

use tickwire_schemas::words::Cause;

use super::SettingsError;
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;
use crate::market::BrokerTime;

/// Most bytes of an answer: 5,000 bars have some 0.7 MB.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long an answer may take that needs no search. Below the usual `connect_timeout_ms`, so that the failure names what
/// is missing.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(8);

/// How long an answer about the past may take: the terminal may have to ask its broker.
pub(super) const PAST_MAX: Duration = Duration::from_secs(60);

/// How long the answer to a first question is waited for before it is asked again, and how many times it is asked.
///
/// The socket that answers gives each message to one of its clients, drops it where it knows of none, and learns late that a
/// client has come or gone. So a new client first asks something harmless until it is answered: then answers come here, and
/// what was asked by those before is answered, for questions are answered in their order.
pub(super) const FIRST_MAX: Duration = Duration::from_millis(500);
pub(super) const FIRST_TIMES: u32 = 16;

/// The failure of a question that nobody answers.
pub(super) fn unanswered(what: &str, after: Duration) -> Failure {
    Failure::new(Cause::ProtocolError, format!("{what}: no answer within {} s", after.as_secs()))
}

/// Default of `history_bars`: an adviser puts its answers together slowly, and does nothing else meanwhile.
pub(super) fn history_bars() -> u32 {
    2_000
}

/// Default of `history_per_second`.
pub(super) fn history_per_second() -> u32 {
    5
}

/// The keys of both, checked.
#[derive(Debug)]
pub(super) struct Place {
    /// Host of the terminal, and the port of commands: whose limits it is.
    pub(super) label: String,
    pub(super) broker_time: BrokerTime,
}

impl Place {
    pub(super) fn new(host: &str, ports: &[(&str, u16)], broker_time: &str) -> Result<Place, SettingsError> {
        if host.is_empty() || host.contains(['/', ' ', ':']) {
            let problem = format!("\"{host}\" is not a host, expected a name or address such as 127.0.0.1");
            return Err(SettingsError::new("host", problem));
        }
        if let Some((key, _)) = ports.iter().find(|(_, port)| *port == 0) {
            return Err(SettingsError::new(*key, "0 is not a port, expected 1 to 65535"));
        }
        let twice = |at: &usize| ports[..*at].iter().any(|(_, port)| *port == ports[*at].1);
        if let Some(at) = (0..ports.len()).find(twice) {
            let problem = format!("{} is another port's number too, expected three that differ", ports[at].1);
            return Err(SettingsError::new(ports[at].0, problem));
        }
        let broker_time = BrokerTime::from_str(broker_time).map_err(|e| SettingsError::new("broker_time", e))?;
        Ok(Place { label: format!("{host}:{}", ports.first().map_or(0, |(_, port)| *port)), broker_time })
    }
}

/// Requests for the past in a second.
pub(super) fn rate(per_second: u32) -> Rate {
    Rate::within(per_second, Duration::from_secs(1))
}

/// Both of the keys for past bars, checked.
pub(super) fn check_history(bars: u32, per_second: u32) -> Result<(), SettingsError> {
    for (key, value) in [("history_bars", bars), ("history_per_second", per_second)] {
        if value == 0 {
            return Err(SettingsError::new(key, "0, expected at least 1"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let ports = [("a_port", 1), ("b_port", 2), ("c_port", 3)];
        assert_eq!(Place::new("h", &ports, "utc").unwrap().label, "h:1");
        let said = |host, ports: &[(&str, u16)], time| Place::new(host, ports, time).unwrap_err().to_string();
        assert!(said("tcp://h", &ports, "utc").starts_with("host: \"tcp://h\" is not a host"));
        assert!(said("h", &[("a_port", 1), ("b_port", 0)], "utc").starts_with("b_port: 0 is not a port"));
        assert!(said("h", &[("a_port", 1), ("b_port", 1)], "utc").starts_with("b_port: 1 is another port's"));
        assert!(said("h", &ports, "EET").starts_with("broker_time: "));
        assert_eq!(check_history(1, 0).unwrap_err().key, "history_per_second");
    }
}

//! What is not for everybody: to make this machine connect where only it can, or to send secrets elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use toml::{Table, Value};

use super::ServiceError;
use crate::control::credentials::{Credentials, marks};

/// Keys that say where to connect.
const PLACES: &[&str] = &["base_url", "rest_url", "stream_url", "url", "host"];

/// Keys that are for those who manage connections: they read files of this machine, or name other sources.
const MANAGERS: &[&str] = &["ca_file", "standby_for", "priority"];

/// What whoever makes or changes a connection may.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Not to addresses of this machine and of private networks. A name is looked up when the connection is made, changed,
    /// tested and activated; where it leads later is not looked at.
    pub public_hosts: bool,
    /// Not the keys that are for managers.
    pub plain_keys: bool,
    /// With these adapters alone.
    pub adapters: Option<Vec<String>>,
    /// The secrets are another's: whoever sends them elsewhere must know them.
    pub foreign_secrets: bool,
}

impl Limits {
    pub(super) fn adapter(&self, adapter: &str) -> Result<(), ServiceError> {
        match &self.adapters {
            Some(approved) if !approved.iter().any(|known| known == adapter) => Err(ServiceError::wrong(
                "adapter",
                format!("\"{adapter}\" is not approved here, expected one of {}", approved.join(", ")),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn key(&self, key: &str) -> Result<(), ServiceError> {
        if self.plain_keys && MANAGERS.contains(&key) {
            return Err(ServiceError::wrong(key, "is for those who manage connections"));
        }
        Ok(())
    }

    /// Looks names up, which may take some seconds.
    pub(super) fn hosts(&self, config: &Table) -> Result<(), ServiceError> {
        if !self.public_hosts {
            return Ok(());
        }
        for key in PLACES {
            let Some(host) = config.get(*key).and_then(Value::as_str).and_then(host_of) else { continue };
            // Who asks for a port that is not there learns nothing by it.
            let addresses = (host, 443).to_socket_addrs().into_iter().flatten();
            if host.parse::<IpAddr>().is_ok_and(is_private) || addresses.map(|a| a.ip()).any(is_private) {
                let message =
                    format!("{host} is an address of this machine or of a private network, expected a public one");
                return Err(ServiceError::wrong(*key, message));
            }
        }
        Ok(())
    }

    /// Whether secrets that are not given anew would go where they did not before.
    pub(super) fn same_place(&self, before: &Table, after: &Table, given: &Credentials) -> Result<(), ServiceError> {
        let moved = PLACES.iter().find(|key| before.get(**key) != after.get(**key));
        let (true, Some(key)) = (self.foreign_secrets, moved) else { return Ok(()) };
        match marks(after).into_iter().find(|secret| given.get(secret).is_none()) {
            Some(secret) => {
                let message = format!("the secrets would go elsewhere: expected {secret} with it");
                Err(ServiceError::wrong(*key, message))
            }
            None => Ok(()),
        }
    }
}

/// The host of a URL, or the text itself.
fn host_of(text: &str) -> Option<&str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split(']').next();
    }
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded(v6)) {
            Some(v4) => is_private_v4(v4),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        },
    }
}

/// NAT64 and 6to4 carry an address of version 4.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(v4(g, h)),
        (0x2002, ..) => Some(v4(b, c)),
        _ => None,
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || a >= 240
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits() -> Limits {
        Limits { public_hosts: true, plain_keys: true, ..Limits::default() }
    }

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_refused_however_written() {
        for place in [
            "http://127.0.0.1:8080",
            "http://localhost/",
            "wss://[::1]:9",
            "https://10.1.2.3",
            "http://192.168.0.1/x",
            "http://169.254.169.254/latest",
            "http://[::ffff:127.0.0.1]",
            "http://[64:ff9b::7f00:1]",
            "http://[fd00::1]",
            "http://0.0.0.0",
            "http://0177.0.0.1",
            "http://2130706433",
            "http://public.example@127.0.0.1/",
            "tcp://100.64.0.1:5211",
            "127.0.0.1",
        ] {
            let key = if place.contains("://") { "base_url" } else { "host" };
            let config: Table = format!("{key} = \"{place}\"").parse().unwrap();
            let refused = limits().hosts(&config).unwrap_err().to_string();
            assert!(refused.starts_with(key) && refused.contains("expected a public one"), "{place}: {refused}");
            Limits::default().hosts(&config).unwrap();
        }
        for place in ["https://93.184.216.34", "wss://[2606:2800:220:1::1]:9443", "https://198.20.0.1"] {
            limits().hosts(&format!("base_url = \"{place}\"").parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn anothers_secrets_go_nowhere_else_by_who_does_not_know_them() {
        let before: Table = "base_url = \"https://a\"\npassword = \"vault:\"".parse().unwrap();
        let after: Table = "base_url = \"https://b\"\npassword = \"vault:\"".parse().unwrap();
        let foreign = Limits { foreign_secrets: true, ..Limits::default() };
        let mut given = Credentials::default();
        assert!(foreign.same_place(&before, &after, &given).unwrap_err().to_string().contains("expected password"));
        foreign.same_place(&before, &before, &given).unwrap();
        Limits::default().same_place(&before, &after, &given).unwrap();
        given.set("password", "known");
        foreign.same_place(&before, &after, &given).unwrap();
    }
}

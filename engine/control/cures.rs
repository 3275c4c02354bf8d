//! What can be wrong with a connection, with a cure for each: words for programs, sentences for people.

use serde::Serialize;
use tickwire_schemas::words::Cause;
use utoipa::ToSchema;

use crate::feeds::net::Failure;

/// Something that can be wrong with a connection.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorCode {
    /// For programs.
    pub code: &'static str,
    /// What is wrong.
    pub meaning: &'static str,
    /// What to do about it.
    pub cure: &'static str,
}

/// Every code, by its word.
pub const ERROR_CODES: &[ErrorCode] = &[
    ErrorCode {
        code: "wrong_key",
        meaning: "The venue does not accept the login: the key, token or password is wrong, was revoked, or belongs to \
                  another account.",
        cure: "Enter the secret again, without spaces before or behind it. For MetaTrader accounts the investor password \
               suffices; look whether the login number and the server belong to it, and whether the account is for demo or \
               for real money.",
    },
    ErrorCode {
        code: "account_not_found",
        meaning: "The venue knows the key, but not the account.",
        cure: "Look up the account's number or id in the venue's own client, and whether the key may see that account.",
    },
    ErrorCode {
        code: "account_disabled",
        meaning: "The account is disabled or has expired.",
        cure: "Open the account in the venue's own client; demo accounts end after a month or two without use. Make a new \
               one, or ask the broker.",
    },
    ErrorCode {
        code: "subscription_expired",
        meaning: "The API's subscription has ended, or does not include this.",
        cure: "Renew the subscription with the vendor of the API, or choose a plan that includes it; then test again.",
    },
    ErrorCode {
        code: "not_permitted",
        meaning: "The login is right, but the venue permits this to others only: an address that is not on the key's list, \
                  a country, a missing right of the key.",
        cure: "Add this machine's address to the key's list at the venue, and give the key the right to read.",
    },
    ErrorCode {
        code: "server_unknown",
        meaning: "The API does not know the broker's server.",
        cure: "Write the server's name exactly as MetaTrader shows it under File, Login to Trade Account, such as \
               Broker-Demo.",
    },
    ErrorCode {
        code: "broker_unreachable",
        meaning: "The API answers, but has no connection to the broker.",
        cure: "Wait a minute and test again. If it stays, look whether the broker's server is up (weekends are used for \
               maintenance) and whether its name is right.",
    },
    ErrorCode {
        code: "host_unknown",
        meaning: "The host's name leads nowhere.",
        cure: "Look for a slip in the URL or host. If it is right, this machine's DNS does not answer.",
    },
    ErrorCode {
        code: "host_unreachable",
        meaning: "The host does not take connections at this address and port.",
        cure: "Look at the port and whether the other program runs; for a terminal on another machine, whether its \
               firewall lets this one in.",
    },
    ErrorCode {
        code: "tls",
        meaning: "No encrypted connection: the certificate is not trusted, has expired or is of another host, or the other \
                  side does not encrypt.",
        cure: "Look whether the URL begins with https or wss where the port encrypts, and with http or ws where it does \
               not; then at this machine's clock. A proxy that looks into connections must be trusted by this machine.",
    },
    ErrorCode {
        code: "timeout",
        meaning: "The other side took the connection and did not answer in time.",
        cure: "Test again. If it stays, raise connect_timeout_ms, or look whether the venue has an outage.",
    },
    ErrorCode {
        code: "rate_limited",
        meaning: "The venue asks to slow down: too many requests from this key or address.",
        cure: "Wait for as long as it asks (a minute, where it does not say) before testing again. Fewer symbols, a longer \
               interval and fewer connections with one key help.",
    },
    ErrorCode {
        code: "symbol_unknown",
        meaning: "The venue does not know one of the symbols, or not under that name.",
        cure: "Search the venue's list on the connection's form and take its name for the symbol: brokers add endings such \
               as EURUSD.m.",
    },
    ErrorCode {
        code: "market_closed",
        meaning: "Connected, but no price came: the market is closed.",
        cure: "Nothing is wrong. Currencies trade from Sunday 17:00 to Friday 17:00 New York.",
    },
    ErrorCode {
        code: "no_price",
        meaning: "Connected and subscribed, but no price came although the market should be open.",
        cure: "Look whether the symbol trades at this venue now and under this name. Some symbols are quiet: test again.",
    },
    ErrorCode {
        code: "wrong_url",
        meaning: "Something answers at this address, but it is not this API.",
        cure: "Compare the URL with the adapter's help: host, port, and the path where one belongs to it.",
    },
    ErrorCode {
        code: "protocol",
        meaning: "The venue said something that its documentation does not say.",
        cure: "Look whether the adapter is the right one for this API and version. The message holds the venue's words.",
    },
    ErrorCode {
        code: "venue_down",
        meaning: "The venue answers that it cannot serve now.",
        cure: "Wait, and look at the venue's status page.",
    },
    ErrorCode {
        code: "closed_by_peer",
        meaning: "The other side closed the connection.",
        cure: "Test again. If it stays, the account may be in use elsewhere: some venues allow one session for each login.",
    },
    ErrorCode {
        code: "secret_missing",
        meaning: "A secret that the connection needs is not there, or does not open.",
        cure: "Enter the secret again. If all of them fail, the key file vault.key of the state directory was lost or \
               changed.",
    },
    ErrorCode {
        code: "wrong_settings",
        meaning: "A key of the connection makes no sense.",
        cure: "The message names the key and what was expected.",
    },
];

/// What a code means.
#[must_use]
pub fn error_code(code: &str) -> &'static ErrorCode {
    ERROR_CODES.iter().find(|known| known.code == code).unwrap_or(&ERROR_CODES[0])
}

/// Words of venues and of our own failures, in small letters, and what they mean; the first that is found counts. They
/// tell apart what has one cause on the wire.
const WORDS: &[(&[&str], &str)] = &[
    (&["too many", "rate limit", "too frequent", "too_frequent", "http 429", "http 418"], "rate_limited"),
    (&["expired subscription", "subscription", "payment required", "http 402", "trial"], "subscription_expired"),
    (&["no secret is sealed", "is gone, and with it", "sealed with another key", "does not open"], "secret_missing"),
    (&["account disabled", "account is disabled", "account expired", "account has expired"], "account_disabled"),
    (
        &["account not found", "account_not_found", "unknown account", "no such account", "no account"],
        "account_not_found",
    ),
    (&["server not found", "unknown server", "invalid server", "server_not_found", "no such server"], "server_unknown"),
    (&["no_connection", "connect_error", "operation_timeout", "no connection to the broker"], "broker_unreachable"),
    (
        &["ip address", "not whitelisted", "ip not", "insufficient permission", "insufficient authorization"],
        "not_permitted",
    ),
    (&["symbol", "instrument", "product", "stream name", "invalid topic", "currency pair"], "symbol_unknown"),
];

/// The same for connections that were not made.
const CONNECT_WORDS: &[(&[&str], &str)] = &[
    (&["certificate", "tls", "handshake failure", "corrupt message", "invalidcontenttype", "ssl"], "tls"),
    (&["dns", "lookup address", "name or service", "not known", "resolve"], "host_unknown"),
    (&["within", "timed out", "timeout", "deadline"], "timeout"),
    (&["http 5"], "venue_down"),
    (&["refused", "unreachable", "no route", "reset"], "host_unreachable"),
];

/// Which code a failure is.
#[must_use]
pub fn classify(failure: &Failure) -> &'static ErrorCode {
    let text = failure.text.to_lowercase();
    let find = |table: &[(&[&str], &'static str)]| {
        table.iter().find(|(words, _)| words.iter().any(|word| text.contains(word))).map(|(_, code)| *code)
    };
    error_code(match failure.cause {
        Cause::RateLimited => "rate_limited",
        // A symbol in the words of a refused login is none that is wrong.
        Cause::LoginRefused => find(WORDS).filter(|code| *code != "symbol_unknown").unwrap_or("wrong_key"),
        Cause::ConnectFailed => {
            find(&WORDS[..WORDS.len() - 1]).or_else(|| find(CONNECT_WORDS)).unwrap_or("host_unreachable")
        }
        Cause::ProtocolError
            if ["http 404", "http 405", "expected json", "not a websocket"].iter().any(|w| text.contains(w)) =>
        {
            find(&WORDS[..WORDS.len() - 1]).unwrap_or("wrong_url")
        }
        Cause::ProtocolError => find(WORDS).unwrap_or("protocol"),
        Cause::ReadError => find(CONNECT_WORDS).unwrap_or("closed_by_peer"),
        Cause::ClosedByPeer => find(WORDS).unwrap_or("closed_by_peer"),
        _ => "protocol",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_there_once_and_all_that_are_named_are_there() {
        let words: BTreeSet<&str> = ERROR_CODES.iter().map(|known| known.code).collect();
        assert_eq!(words.len(), ERROR_CODES.len());
        for (_, code) in WORDS.iter().chain(CONNECT_WORDS) {
            assert!(words.contains(code), "{code}");
        }
        for code in
            ["wrong_key", "timeout", "rate_limited", "host_unreachable", "wrong_url", "protocol", "closed_by_peer"]
        {
            assert!(words.contains(code), "{code}");
        }
    }

    #[test]
    fn failures_as_the_adapters_word_them_get_their_code() {
        for (cause, text, code) in [
            (Cause::LoginRefused, "ConnectEx: Invalid account (INVALID_ACCOUNT)", "wrong_key"),
            (
                Cause::LoginRefused,
                "HTTP 401 Unauthorized: Insufficient authorization to perform request.",
                "not_permitted",
            ),
            (Cause::LoginRefused, "HTTP 401 Unauthorized: bad token", "wrong_key"),
            (
                Cause::LoginRefused,
                "password: no secret is sealed for it in connection demo, expected one",
                "secret_missing",
            ),
            (Cause::RateLimited, "HTTP 429 Too Many Requests", "rate_limited"),
            (Cause::ConnectFailed, "127.0.0.1:1: Connection refused (os error 111)", "host_unreachable"),
            (
                Cause::ConnectFailed,
                "error sending request: client error (Connect): dns error: failed to lookup address",
                "host_unknown",
            ),
            (Cause::ConnectFailed, "no connection within 10000 ms", "timeout"),
            (Cause::ConnectFailed, "HTTP 503 Service Unavailable: maintenance", "venue_down"),
            (Cause::ConnectFailed, "invalid peer certificate: UnknownIssuer", "tls"),
            (Cause::ConnectFailed, "ConnectEx: no connection (NO_CONNECTION)", "broker_unreachable"),
            (Cause::ProtocolError, "HTTP 404 Not Found: Account not found", "account_not_found"),
            (Cause::ProtocolError, "HTTP 404 Not Found", "wrong_url"),
            (Cause::ProtocolError, "unknown symbol NOPE", "symbol_unknown"),
            (Cause::ReadError, "CheckConnect: connection reset", "host_unreachable"),
        ] {
            assert_eq!(classify(&Failure::new(cause, text)).code, code, "{text}");
        }
    }
}

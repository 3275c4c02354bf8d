//! A message to a webhook: what it says, how it is signed, when it is tried again; and sending it.
//!
//! The body is JSON. Where the webhook has a secret, the header `Tickwire-Signature: t=SECONDS,v1=HEX` holds the time of
//! the attempt (seconds since 1970) and the HMAC-SHA256 with that secret of `SECONDS.BODY`.

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Alert, Delivery, Sent, Target};

/// Name of the header that holds the signature.
pub const SIGNATURE: &str = "Tickwire-Signature";

/// How long a webhook may take to be reached, and to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A message is given up after so many attempts: with the waits between them that is half an hour.
pub const ATTEMPTS_MAX: u32 = 12;

/// The longest wait between two attempts.
const WAIT_MAX_S: u64 = 600;

const SECOND_NS: i64 = 1_000_000_000;

/// How long to wait after so many attempts, nanoseconds: a second, doubled each time, and up to a fifth more, so that many
/// engines do not come back at one moment.
#[must_use]
pub fn wait_ns(attempts: u32) -> i64 {
    let seconds = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(WAIT_MAX_S).clamp(1, WAIT_MAX_S);
    let ns = seconds as i64 * SECOND_NS;
    ns + fastrand::i64(0..=ns / 5)
}

/// The header's value for a body that is sent at this second.
#[must_use]
pub fn signature(secret: &[u8], at_seconds: i64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { unreachable!("any length is a key") };
    mac.update(format!("{at_seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_seconds},v1={hex}")
}

/// RFC 3339.
pub(super) fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default().to_string()
}

/// The body of a message.
#[must_use]
pub fn body(delivery: &Delivery, now_ns: i64) -> Vec<u8> {
    let event = if delivery.is_cleared { "alert.cleared" } else { "alert.raised" };
    let alert = shown(&delivery.alert, delivery.is_cleared);
    json!({ "id": delivery.id, "event": event, "sent_at": time(now_ns), "alert": alert }).to_string().into_bytes()
}

/// The body of a message that only tries the way.
#[must_use]
pub fn test_body(now_ns: i64) -> Vec<u8> {
    json!({ "id": 0, "event": "test", "sent_at": time(now_ns), "alert": null }).to_string().into_bytes()
}

/// What begins says nothing of its end, also when that is known by now: its own message does.
fn shown(alert: &Alert, is_cleared: bool) -> Value {
    json!({
        "id": alert.id,
        "rule": alert.rule.word(),
        "subject": alert.subject,
        "severity": alert.severity.word(),
        "message": alert.message,
        "raised_at": time(alert.raised_ns),
        "cleared_at": alert.cleared_ns.filter(|_| is_cleared).map(time),
        "cleared_message": alert.cleared_message.as_ref().filter(|_| is_cleared),
    })
}

/// Posts a body once. Redirects are not followed, and of the answer only its status is read.
pub async fn send(to: &Target, body: Vec<u8>, now_ns: i64) -> Sent {
    let failed = |error: String| Sent { status: None, error: Some(error) };
    let client = match client(to.url.starts_with("https")) {
        Ok(client) => client,
        Err(error) => return failed(error),
    };
    let mut request = client.post(&to.url).header("content-type", "application/json");
    if let Some(secret) = &to.secret {
        request = request.header(SIGNATURE, signature(secret, now_ns.div_euclid(SECOND_NS), &body));
    }
    match request.body(body).send().await {
        Ok(answer) if answer.status().is_success() => Sent { status: Some(answer.status().as_u16()), error: None },
        Ok(answer) if answer.status().is_redirection() => {
            let error = "it sent us elsewhere, which is not followed; expected the address itself".to_string();
            Sent { status: Some(answer.status().as_u16()), error: Some(error) }
        }
        Ok(answer) => {
            let error = format!("it answered {}, expected 200 to 299", answer.status().as_u16());
            Sent { status: Some(answer.status().as_u16()), error: Some(error) }
        }
        // The URL may hold a secret.
        Err(error) => failed(causes(&error.without_url())),
    }
}

fn client(secure: bool) -> Result<reqwest::Client, String> {
    crate::feeds::net::install_crypto();
    let builder = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("tickwire/", env!("CARGO_PKG_VERSION")));
    // Plain HTTP needs no certificates, and a machine without any must not fail for their lack.
    let builder = if secure { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|e| format!("the HTTP client cannot be made: {}", causes(&e)))
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Computed with Python: `hmac.new(b"secret-of-the-hook", b'1700000000.{"a":1}', "sha256").hexdigest()`.
    #[test]
    fn a_signature_is_what_others_compute() {
        let found = signature(b"secret-of-the-hook", 1_700_000_000, b"{\"a\":1}");
        assert_eq!(found, "t=1700000000,v1=2ed71134a77d3a0a07f27e652ca3ed59ee953d80c0c7c5ccb491abb093c40180");
    }

    #[test]
    fn waits_double_and_have_an_end() {
        for (attempts, seconds) in [(0, 1), (1, 1), (2, 2), (5, 16), (10, 512), (11, 600), (100, 600)] {
            let found = wait_ns(attempts);
            let least = seconds * SECOND_NS;
            assert!((least..=least + least / 5).contains(&found), "{attempts}: {found}");
        }
    }
}

//! The socket that every request needs, and the requests.

use std::collections::BTreeSet;

use reqwest::Response;
use serde_json::Value;
use tickwire_schemas::words::Cause;

use super::{Broker, cause};
use crate::feeds::adapters::History;
use crate::feeds::event::Symbols;
use crate::feeds::net::{self, Connection, Failure, Reply, excerpt};
use crate::feeds::rest::not_understood;
use crate::feeds::turns::{in_turn, of_process};

/// Longest answer: 10,000 candles have some 100 bytes each.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What the venue confirms before the socket counts as open.
const GREETING: &str = "the greeting of socket.io";

/// An open socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) access: Access,
}

/// What requests need while it is open.
#[derive(Debug)]
pub(super) struct Access {
    /// Id and token.
    bearer: String,
    /// What no log may hold.
    secrets: [String; 2],
}

/// What the venue says of a new socket.
#[derive(Debug, Default)]
struct Hello {
    id: String,
    /// After how long without a word the venue hangs up, in milliseconds.
    patience_ms: u64,
}

impl Broker {
    /// Opens a socket and waits for the greeting.
    pub(super) async fn link(&self) -> Result<Link, Failure> {
        let token = self.settings.token.resolve();
        let token = token.map_err(|e| Failure::new(Cause::LoginRefused, format!("token: {e}")))?;
        let opened = self.greet(&token).await.map_err(|failure| failure.without(&[&token]));
        let (connection, id) = opened?;
        let bearer = format!("Bearer {id}{token}");
        let secrets = [token, id];
        let connection = secrets.iter().cloned().fold(connection, Connection::with_secret);
        // Version 4 is pinged by the server; a pong that nobody asked for keeps the socket as well, at our own pace.
        let connection = connection.with_ping(if self.settings.engine_io == 3 { "2" } else { "3" });
        Ok(Link { connection, access: Access { bearer, secrets } })
    }

    async fn greet(&self, token: &str) -> Result<(Connection, String), Failure> {
        let version = self.settings.engine_io.to_string();
        let query = net::query(&[("access_token", token), ("EIO", &version), ("transport", "websocket")]);
        let mut connection = net::websocket(&format!("{}/socket.io/?{query}", self.stream_base)).await?;
        // A client of version 4 asks for the namespace, one of version 3 is in it.
        let requests: &[String] = if version == "3" { &[] } else { &["40".to_string()] };
        let mut hello = Hello::default();
        let pending = BTreeSet::from([GREETING.to_string()]);
        connection.subscribe(requests, pending, |frame, pending| hello.hear(frame, pending)).await?;
        let ping_ms = u64::from(self.settings.ping_ms);
        if hello.patience_ms > 0 && ping_ms >= hello.patience_ms {
            let text =
                format!("ping_ms: {ping_ms}, expected less than {}, after which the venue hangs up", hello.patience_ms);
            return Err(Failure::new(Cause::ProtocolError, text));
        }
        if hello.id.is_empty() {
            return Err(Failure::new(Cause::ProtocolError, "expected the socket's id before the greeting"));
        }
        Ok((connection, hello.id))
    }

    /// Subscribes all symbols in one request, and makes sure of those that the answer names.
    pub(super) async fn subscribe(&self, access: &Access, symbols: &Symbols) -> Result<(), Failure> {
        let fields: Vec<_> = symbols.names().map(|name| ("pairs", name)).collect();
        let names = || symbols.names().collect::<Vec<_>>().join(", ");
        let url = format!("{}/subscribe", self.settings.base_url);
        let answer = async { self.read(self.http.post(&url, &fields, &headers(access)).await?).await };
        let body = answer.await.map_err(|failure| {
            let text = format!("the subscription of {} was refused: {}", names(), failure.text);
            Failure { text, ..failure }.without(&access.secrets)
        })?;
        let answer: Value = serde_json::from_slice(&body).map_err(|e| not_understood("subscribe", e))?;
        let confirmed = confirmed(&answer["pairs"]);
        // What the answer looks like for several symbols is not documented: none that can be read is no refusal.
        match symbols.names().find(|name| !confirmed.is_empty() && !confirmed.iter().any(|told| told == name)) {
            Some(missing) => {
                Err(Failure::new(Cause::ProtocolError, format!("the subscription of {missing} was not confirmed")))
            }
            None => Ok(()),
        }
    }

    /// The body of an executed request.
    pub(super) async fn ask(&self, access: &Access, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.settings.base_url);
        let answer = async { self.read(self.http.get(&url, query, &headers(access)).await?).await };
        answer.await.map_err(|failure| failure.without(&access.secrets))
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, Failure> {
        if !response.status().is_success() {
            return Err(net::refused(response, words).await);
        }
        // One byte more, which tells that there was more.
        let body = Reply::read_most(response, ANSWER_BYTES_MAX + 1).await?.body;
        if body.len() > ANSWER_BYTES_MAX {
            let text = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
            return Err(Failure::new(Cause::ProtocolError, text));
        }
        match words(&body) {
            Some(words) => Err(Failure::new(cause(words.as_bytes()), words)),
            None => Ok(body),
        }
    }

    /// Asks over a socket of its own, which is closed afterwards.
    pub(super) async fn ask_once(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let limit = (self.host(), self.rate());
        let link = in_turn(of_process(), limit, self.link()).await?;
        let answer = in_turn(of_process(), limit, self.ask(&link.access, path, query)).await;
        link.connection.close().await;
        answer
    }
}

fn headers(access: &Access) -> [(&'static str, String); 2] {
    [("authorization", access.bearer.clone()), ("accept", "application/json".to_string())]
}

impl Hello {
    /// Takes in what the venue says until the greeting is there.
    fn hear(&mut self, frame: &[u8], pending: &mut BTreeSet<String>) -> Result<(), Failure> {
        let json = |from: usize| serde_json::from_slice::<Value>(frame.get(from..).unwrap_or_default()).ok();
        match frame {
            [b'0', ..] => {
                let told = json(1).unwrap_or_default();
                self.id = told["sid"].as_str().unwrap_or_default().to_string();
                self.patience_ms = ["pingInterval", "pingTimeout"].iter().filter_map(|key| told[key].as_u64()).sum();
            }
            [b'4', b'0', ..] => {
                // Version 4 names the socket a second time; it is this name that its clients call the socket's id.
                if let Some(id) = json(2).and_then(|told| told["sid"].as_str().map(String::from)) {
                    self.id = id;
                }
                pending.clear();
            }
            [b'4', b'4', words @ ..] => {
                let cause = match cause(words) {
                    Cause::RateLimited => Cause::RateLimited,
                    _ => Cause::LoginRefused,
                };
                return Err(Failure::new(cause, excerpt(words)));
            }
            // What else comes is the decoder's.
            _ => {}
        }
        Ok(())
    }
}

/// The words of a refusal: `{"response":{"executed":false,"error":…}}`, where the error is a text or has a message.
fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let response = &answer["response"];
    if response["executed"] == true {
        return None;
    }
    let error = &response["error"];
    let words = error.as_str().or_else(|| error["message"].as_str()).map(String::from);
    // What does not say that it was executed was not.
    Some(
        words
            .filter(|words| !words.is_empty())
            .unwrap_or_else(|| format!("expected \"executed\":true, found {}", excerpt(body))),
    )
}

/// The symbols that an answer to a subscription names: in one object, a list of them, or in texts that hold them.
fn confirmed(pairs: &Value) -> Vec<String> {
    match pairs {
        Value::Array(items) => items.iter().flat_map(confirmed).collect(),
        Value::Object(fields) => fields.get("Symbol").and_then(Value::as_str).map(String::from).into_iter().collect(),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => confirmed(&inner),
            _ => text.split(',').map(|name| name.trim().to_string()).collect(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_documented_answers_to_a_subscription_name_their_symbols() {
        let of = |text: &str| confirmed(&serde_json::from_str::<Value>(text).unwrap()["pairs"]);
        let one = r#"{"pairs":"{\"Updated\":1501275479,\"Rates\":[1.17481,1.17513],\"Symbol\":\"EUR/USD\"}"}"#;
        assert_eq!(of(one), ["EUR/USD"]);
        let several = r#"{"pairs":[{"Updated":1501275479,"Rates":[1,2],"Symbol":"EUR/USD"},{"Symbol":"USD/JPY"}]}"#;
        assert_eq!(of(several), ["EUR/USD", "USD/JPY"]);
        assert_eq!(of(r#"{"pairs":"EUR/USD"}"#), ["EUR/USD"]);
        assert!(of(r#"{"response":{}}"#).is_empty());
    }

    #[test]
    fn a_refusal_may_be_a_text_or_an_object_or_nothing_known() {
        assert_eq!(words(br#"{"response":{"executed":true,"error":""}}"#), None);
        let refused = br#"{"response":{"executed":false,"error":"Unauthorized"}}"#;
        assert_eq!(words(refused).unwrap(), "Unauthorized");
        let object =
            br#"{"response":{"executed":false,"error":{"code":3,"message":"Amount should be divisible by 10"}}}"#;
        assert_eq!(words(object).unwrap(), "Amount should be divisible by 10");
        assert!(words(br#"{"candles":[]}"#).unwrap().contains("expected \"executed\":true"));
        assert_eq!(words(b"<html>"), None, "what is no JSON is told as it is");
    }

    #[test]
    fn the_socket_is_called_what_its_last_name_is() {
        let mut pending = BTreeSet::from([GREETING.to_string()]);
        let mut hello = Hello::default();
        let open =
            br#"0{"sid":"HHGqC3Gao2ENa5tNAAEu","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":60000}"#;
        hello.hear(open, &mut pending).unwrap();
        assert_eq!((hello.id.as_str(), hello.patience_ms, pending.len()), ("HHGqC3Gao2ENa5tNAAEu", 85_000, 1));
        hello.hear(b"40", &mut pending).unwrap();
        assert_eq!((hello.id.as_str(), pending.len()), ("HHGqC3Gao2ENa5tNAAEu", 0));
        hello.hear(br#"40{"sid":"second"}"#, &mut pending).unwrap();
        assert_eq!(hello.id, "second");
        let refused = hello.hear(br#"44"Authentication error""#, &mut pending).unwrap_err();
        assert_eq!((refused.cause, refused.text.as_str()), (Cause::LoginRefused, "\"Authentication error\""));
    }
}

//! Texts of a configuration with places to fill in: URLs, headers, and the messages that subscribe.
//!
//! `{symbol}` is one of the source's symbols as the venue writes it, `{symbol:lower}` and `{symbol:upper}` the same in
//! small and capital letters, `{symbols}` all of them joined, and `{secret:NAME}` a secret. Other braces are left alone:
//! messages are JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::adapters::SettingsError;
use super::net::Failure;
use crate::config::Secret;

/// Where a text goes, which decides what must be escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into a URL.
    Url,
    /// Into a string of a JSON message.
    Message,
    /// Into the value of a header.
    Header,
}

/// How the symbols are written where all of them are named at once.
#[derive(Deserialize, Debug, Clone)]
#[serde(default, deny_unknown_fields)]
pub struct SymbolList {
    /// One of them.
    pub each: String,
    /// What stands between two.
    pub separator: String,
}

impl Default for SymbolList {
    fn default() -> Self {
        SymbolList { each: "{symbol}".into(), separator: ",".into() }
    }
}

/// The secrets of a source by their names.
pub type Secrets = BTreeMap<String, Secret>;

/// Whether a text names a single symbol, and so is to be filled in once for each.
#[must_use]
pub fn is_per_symbol(template: &str) -> bool {
    ["{symbol}", "{symbol:lower}", "{symbol:upper}"].iter().any(|place| template.contains(place))
}

/// That every secret which `template` names is among `secrets`.
///
/// # Errors
/// [`SettingsError`] naming `key`.
pub fn check(key: &str, template: &str, secrets: &Secrets) -> Result<(), SettingsError> {
    for rest in template.split("{secret:").skip(1) {
        let name = rest.split('}').next().unwrap_or_default();
        if !secrets.contains_key(name) {
            let known = secrets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let problem = format!("no secret \"{name}\", expected one of the table secrets ({known})");
            return Err(SettingsError::new(key, problem));
        }
    }
    Ok(())
}

/// Secrets as they are at this moment, to fill in.
#[derive(Clone)]
pub struct Filler {
    secrets: BTreeMap<String, String>,
    list: SymbolList,
}

impl std::fmt::Debug for Filler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filler").field("list", &self.list).finish_non_exhaustive()
    }
}

impl Filler {
    /// Resolves the secrets.
    ///
    /// # Errors
    /// [`Cause::LoginRefused`] naming the secret that is missing.
    pub fn new(secrets: &Secrets, list: &SymbolList) -> Result<Self, Failure> {
        let resolve = |(name, secret): (&String, &Secret)| match secret.resolve() {
            Ok(text) => Ok((name.clone(), text)),
            Err(problem) => Err(Failure::new(Cause::LoginRefused, format!("secrets.{name}: {problem}"))),
        };
        let secrets = secrets.iter().map(resolve).collect::<Result<_, _>>()?;
        Ok(Filler { secrets, list: list.clone() })
    }

    /// The secrets themselves, for blotting out, in the forms in which they are sent.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let forms = |text: &String| [text.clone(), escape(text, Place::Url), escape(text, Place::Message)];
        self.secrets.values().flat_map(forms).collect()
    }

    /// The text with one symbol, or none, and all of `symbols` where it names them.
    #[must_use]
    pub fn fill(&self, template: &str, place: Place, symbol: Option<&str>, symbols: &[&str]) -> String {
        let mut text = template.to_string();
        if text.contains("{symbols}") {
            let each = symbols.iter().map(|name| one(&self.list.each, place, name)).collect::<Vec<_>>();
            text = text.replace("{symbols}", &each.join(&self.list.separator));
        }
        if let Some(symbol) = symbol {
            text = one(&text, place, symbol);
        }
        for (name, secret) in &self.secrets {
            text = text.replace(&format!("{{secret:{name}}}"), &escape(secret, place));
        }
        text
    }

    /// The text, or one for each symbol where it names a single one.
    #[must_use]
    pub fn each(&self, template: &str, place: Place, symbols: &[&str]) -> Vec<String> {
        if is_per_symbol(template) {
            symbols.iter().map(|symbol| self.fill(template, place, Some(symbol), symbols)).collect()
        } else {
            vec![self.fill(template, place, None, symbols)]
        }
    }
}

fn one(template: &str, place: Place, symbol: &str) -> String {
    let text = template.replace("{symbol:lower}", &escape(&symbol.to_lowercase(), place));
    let text = text.replace("{symbol:upper}", &escape(&symbol.to_uppercase(), place));
    text.replace("{symbol}", &escape(symbol, place))
}

fn escape(text: &str, place: Place) -> String {
    match place {
        Place::Header => text.to_string(),
        Place::Message => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_string()
        }
        Place::Url => text.bytes().fold(String::new(), |mut url, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
            url
        }),
    }
}

/// Checks a whole URL from a configuration.
///
/// # Errors
/// [`SettingsError`] naming `key`.
pub fn check_url(key: &str, template: &str, schemes: &[&str], secrets: &Secrets) -> Result<(), SettingsError> {
    check(key, template, secrets)?;
    // Places are filled with something that a URL may hold.
    let filled = template.replace(['{', '}'], "-");
    let uri: Option<axum::http::Uri> = filled.parse().ok();
    let good = uri.is_some_and(|uri| {
        uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) && uri.host().is_some_and(|h| !h.is_empty())
    });
    if good {
        return Ok(());
    }
    let expected = schemes.join(":// or ");
    Err(SettingsError::new(key, format!("\"{template}\" is not a URL, expected {expected}://HOST[:PORT]/PATH")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_filled_and_escaped_for_where_they_stand() {
        let secrets = Secrets::from([("token".to_string(), Secret::new("a\"b c"))]);
        let list = SymbolList { each: "{symbol:lower}@book".into(), separator: "/".into() };
        let filler = Filler::new(&secrets, &list).unwrap();
        let all = ["EURUSD", "BTC&USD"];
        assert_eq!(filler.fill("ws://h?s={symbols}", Place::Url, None, &all), "ws://h?s=eurusd@book/btc%26usd@book");
        assert_eq!(filler.fill("x{secret:token}", Place::Url, None, &all), "xa%22b%20c");
        assert_eq!(
            filler.each(r#"{"op":"sub","s":"{symbol}","key":"{secret:token}"}"#, Place::Message, &all),
            [r#"{"op":"sub","s":"EURUSD","key":"a\"b c"}"#, r#"{"op":"sub","s":"BTC&USD","key":"a\"b c"}"#]
        );
        assert_eq!(filler.each("ping", Place::Message, &all), ["ping"]);
        let error = check("subscribe", "{secret:tokn}", &secrets).unwrap_err();
        assert_eq!(error.to_string(), "subscribe: no secret \"tokn\", expected one of the table secrets (token)");
    }

    #[test]
    fn a_url_is_checked_at_the_start() {
        let none = Secrets::new();
        assert!(check_url("url", "wss://a.b:1/x?y={symbols}", &["ws", "wss"], &none).is_ok());
        for text in ["", "a.b", "http://a", "ws://", "ws://a b"] {
            let error = check_url("url", text, &["ws", "wss"], &none).unwrap_err();
            assert!(error.to_string().contains("is not a URL, expected ws:// or wss://HOST"), "{text}: {error}");
        }
    }
}

//! Lists of symbols of exchanges, which differ in their requests and rows alone ([`Form`]).
//!
//! What is not traded now is left out: a list is for choosing what to subscribe.

use serde_json::Value;
use tickwire_schemas::words::Cause;

use super::{Answer, SettingsError, SymbolList, VenueSymbol};
use crate::feeds::net::{self, Failure};
use crate::feeds::rate::Rate;
use crate::feeds::rest::{Rest, not_understood};
use crate::feeds::turns::{in_turn, of_process};
use crate::market::Price;

/// Most pages of a list: far more than any exchange has.
const PAGES_MAX: usize = 50;

/// How an exchange is asked for its symbols.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Below the base.
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, &'static str)>,
    /// How fast the host may be asked, for whatever.
    pub(super) rate: Rate,
    /// The symbols of a reply; `None` when it is not of the documented form.
    pub(super) symbols: fn(&Value) -> Option<Vec<VenueSymbol>>,
    /// What a reply says that is a refusal, whatever its status.
    pub(super) words: fn(&Value) -> Option<String>,
    /// What `cursor` of the next page is, where there is one.
    pub(super) next: fn(&Value) -> Option<String>,
}

/// The list of one exchange.
#[derive(Debug)]
pub(super) struct Listing {
    rest: Rest,
    form: Form,
}

impl Listing {
    /// From the key `rest_url`; nothing without it.
    pub(super) fn new(url: Option<&String>, form: Form) -> Result<Option<Self>, SettingsError> {
        let Some(url) = url else { return Ok(None) };
        let base = net::base_url(url, &["http", "https"]).map_err(|e| SettingsError::new("rest_url", e))?;
        Ok(Some(Listing { rest: Rest::new(base), form }))
    }

    async fn page(&self, cursor: Option<&str>) -> Result<Value, Failure> {
        let Form { path, query, words, .. } = &self.form;
        let query: Vec<(&str, &str)> = query.iter().copied().chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        let asked = self.rest.get(path, &query, &[], |body| words(&serde_json::from_slice(body).ok()?));
        let body = in_turn(of_process(), (self.rest.host(), self.form.rate), asked).await?;
        let reply: Value = serde_json::from_slice(&body).map_err(|e| not_understood(path, e))?;
        match words(&reply) {
            Some(words) => {
                let slow = ["Rate limit", "Too many"].iter().any(|part| words.contains(part));
                Err(Failure::new(if slow { Cause::RateLimited } else { Cause::ProtocolError }, words))
            }
            None => Ok(reply),
        }
    }
}

impl SymbolList for Listing {
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            let (mut all, mut cursor) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let reply = self.page(cursor.as_deref()).await?;
                let wrong = || not_understood(self.form.path, "expected the venue's list of symbols");
                all.extend((self.form.symbols)(&reply).ok_or_else(wrong)?);
                cursor = (self.form.next)(&reply);
                if cursor.is_none() {
                    break;
                }
            }
            Ok(all)
        })
    }
}

/// A list that comes whole.
pub(super) fn whole(_: &Value) -> Option<String> {
    None
}

/// Places behind the point of a step of prices, such as 2 of `0.01000000`.
pub(super) fn digits(step: &Value) -> Option<u8> {
    let step = Price::parse(step.as_str()?.as_bytes()).ok().filter(|step| step.e9() > 0)?.to_string();
    u8::try_from(step.split_once('.').map_or(0, |(_, places)| places.len())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_as_many_digits_as_it_needs() {
        for (step, expected) in [("0.01000000", Some(2)), ("0.50", Some(1)), ("5", Some(0)), ("0", None), ("x", None)] {
            assert_eq!(digits(&Value::from(step)), expected, "{step}");
        }
        assert_eq!(digits(&Value::Null), None);
    }
}

//! The broker's list of symbols: a SecurityListRequest (35=x) and its answer (35=y).

use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::time::timeout;

use super::Broker;
use crate::feeds::adapters::{Answer, SymbolList, VenueSymbol};
use crate::feeds::event::Symbols;
use crate::feeds::fix::link::Link;
use crate::feeds::fix::{self, Draft, Message};
use crate::feeds::net::Failure;

/// Longest wait for the list, the logon before it included.
const LIST_MAX: Duration = Duration::from_secs(30);

/// Longest goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A symbol of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Security<'a> {
    /// The broker's number (55), by which it is subscribed.
    pub(super) id: &'a [u8],
    /// Its name (1007).
    pub(super) name: &'a [u8],
    /// Places of its prices (1008).
    digits: Option<u8>,
}

/// The list over a session of its own. It logs on as the prices do, and a broker may allow one such session at a time: then
/// this is refused, or ends the other, which connects again.
impl SymbolList for Broker {
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            let password = self.password()?;
            let late = || Failure::new(Cause::ReadError, format!("no list of symbols within {} s", LIST_MAX.as_secs()));
            let listed = timeout(LIST_MAX, self.listed(&password)).await.map_err(|_| late()).flatten();
            listed.map_err(|failure| failure.without(&[&password]))
        })
    }
}

impl Broker {
    async fn listed(&self, password: &str) -> Result<Vec<VenueSymbol>, Failure> {
        let mut link = self.log_on(password).await?;
        let mut all = Vec::new();
        let asked = ask(&mut link, |security| {
            let name = String::from_utf8_lossy(security.name).into_owned();
            all.push(VenueSymbol { name, description: None, digits: security.digits });
        });
        let asked = asked.await;
        let _ = timeout(CLOSE_MAX, link.close()).await;
        asked.map(|()| all)
    }
}

/// Asks for the broker's symbols and finds the wanted ones: names with numbers, in the order of `symbols`.
pub(super) async fn numbers(link: &mut Link, symbols: &Symbols) -> Result<Vec<(String, String)>, Failure> {
    let wanted: Vec<&str> = symbols.names().collect();
    let mut ids: Vec<Option<String>> = vec![None; wanted.len()];
    ask(link, |Security { id, name, .. }| {
        for (at, wanted) in wanted.iter().enumerate() {
            if [id, name].contains(&wanted.as_bytes()) && ids[at].is_none() {
                ids[at] = Some(String::from_utf8_lossy(id).into_owned());
            }
        }
    })
    .await?;
    let find = |(name, id): (&&str, Option<String>)| {
        let text =
            format!("{name}: the broker's list has no symbol of this name; expected its name there, or its number");
        id.map(|id| ((*name).to_string(), id)).ok_or_else(|| Failure::new(Cause::ProtocolError, text))
    };
    wanted.iter().zip(ids).map(find).collect()
}

async fn ask(link: &mut Link, mut each: impl FnMut(Security<'_>)) -> Result<(), Failure> {
    link.request("x", Draft::default().with(320, "symbols").with(559, "0"));
    link.wait(|message| match message.kind {
        b"y" if message.find(560).is_some_and(|result| result != b"0") => {
            let (result, said) = (message.words(560).unwrap_or_default(), message.words(58).unwrap_or_default());
            let text = format!("the list of symbols is refused (560={result}): {said}");
            Some(Err(Failure::new(Cause::ProtocolError, text.trim_end_matches([':', ' ']))))
        }
        b"y" => {
            securities(message, &mut each);
            // LastFragment: a list may come in parts, though none of this venue's was seen to.
            (message.find(893) != Some(b"N")).then_some(Ok(()))
        }
        b"3" | b"j" => {
            let said = message.words(58).unwrap_or_default();
            Some(Err(Failure::new(Cause::ProtocolError, format!("the list of symbols is refused: {said}"))))
        }
        _ => None,
    })
    .await
}

/// Hands out the symbols of a SecurityList; one without a name cannot be told from others and is left out.
pub(super) fn securities<'a>(message: &Message<'a>, mut each: impl FnMut(Security<'a>)) {
    let mut security = Security::default();
    let mut hand_out = |security: Security<'a>| {
        if !security.id.is_empty() && !security.name.is_empty() {
            each(security);
        }
    };
    for (tag, value) in message.fields().map_while(Result::ok) {
        match tag {
            55 => hand_out(std::mem::replace(&mut security, Security { id: value, ..Security::default() })),
            1007 => security.name = value,
            1008 => security.digits = fix::number(value).and_then(|digits| u8::try_from(digits).ok()),
            _ => {}
        }
    }
    hand_out(security);
}

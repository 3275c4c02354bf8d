//! Who a terminal is and what it may see.

use globset::{Glob, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};
use tickwire_schemas::words::Kind;

use super::catalogue::BEST;
use super::config::{FanoutConfig, TokenConfig};

/// Kinds of record that ever leave the engine towards a terminal.
pub const DELIVERED: [Kind; 7] =
    [Kind::Tick, Kind::Trade, Kind::Quote, Kind::Bar, Kind::Indicator, Kind::Gap, Kind::SourceState];

/// What a terminal may see.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Name in the log.
    pub name: String,
    /// The user; empty for an anonymous terminal, which owns nothing.
    pub user: String,
    /// Symbols.
    pub symbols: GlobSet,
    /// Sources; a private source needs the user as well.
    pub sources: GlobSet,
    /// Kinds of record, one bit for each code.
    pub kinds: u32,
    /// Most values a second of each chain, 0 for no limit.
    pub max_rate_hz: u32,
    /// Whether the user's own private sources need no glob.
    pub all_own: bool,
}

/// Turns a token into a grant. Behind a trait so that signed tokens can take the place of configured ones.
pub trait Access: Send + Sync {
    /// The grant of `token`; `None` when it is not known. `loopback`: the terminal is on this machine.
    fn admit(&self, token: &str, loopback: bool) -> Option<Grant>;
}

/// Asks one, then the other.
pub(super) struct Either(pub(super) ConfiguredTokens, pub(super) Option<Box<dyn Access>>);

impl Access for Either {
    fn admit(&self, token: &str, loopback: bool) -> Option<Grant> {
        let Either(configured, others) = self;
        configured.admit(token, loopback).or_else(|| others.as_ref()?.admit(token, loopback))
    }
}

/// The tokens of the configuration. Only their hashes are kept.
pub struct ConfiguredTokens {
    tokens: Vec<([u8; 32], Grant)>,
    anonymous: Option<Grant>,
}

impl ConfiguredTokens {
    /// Resolves every token's secret and compiles its globs.
    ///
    /// # Errors
    /// One sentence naming the token, the key and what is wrong; never the secret.
    pub fn new(config: &FanoutConfig) -> Result<Self, String> {
        let mut tokens: Vec<([u8; 32], Grant)> = Vec::with_capacity(config.tokens.len());
        for token in &config.tokens {
            let at = |key: &str, problem: String| format!("fanout.tokens: {}: {key}: {problem}", token.name);
            let secret = token.token.resolve().map_err(|e| at("token", e))?;
            if secret.is_empty() {
                return Err(at("token", "is empty; expected a secret".into()));
            }
            let hash = Sha256::digest(secret.as_bytes()).into();
            if let Some((_, other)) = tokens.iter().find(|(known, _)| *known == hash) {
                return Err(at("token", format!("is the same as that of {}", other.name)));
            }
            tokens.push((hash, grant(token).map_err(|(key, problem)| at(key, problem))?));
        }
        let anonymous = config.allow_anonymous_loopback.then(Grant::anonymous);
        Ok(ConfiguredTokens { tokens, anonymous })
    }
}

impl Access for ConfiguredTokens {
    fn admit(&self, token: &str, loopback: bool) -> Option<Grant> {
        if token.is_empty() {
            return self.anonymous.clone().filter(|_| loopback);
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for (known, grant) in &self.tokens {
            // Every token and every byte is looked at, so that the time taken says nothing about either.
            let difference = known.iter().zip(&hash).fold(0, |sum, (a, b)| sum | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(grant);
            }
        }
        found.cloned()
    }
}

impl Grant {
    /// Of a user's own token: the global sources that match, all where none are given, the best of them, and all the
    /// user's private ones.
    ///
    /// # Errors
    /// One sentence about a glob that makes no sense.
    pub fn of_user(user: &str, token: &str, sources: Option<&[String]>) -> Result<Grant, String> {
        let mut grant = Grant::anonymous();
        grant.name = format!("{user}: {token}");
        grant.user = user.into();
        grant.all_own = true;
        if let Some(sources) = sources {
            grant.sources = globs(&[sources, &[BEST.to_string()]].concat())?;
        }
        Ok(grant)
    }

    /// Everything global, nothing private.
    fn anonymous() -> Grant {
        let everything = || GlobSet::builder().add(any()).build().unwrap_or_default();
        let kinds = DELIVERED.iter().fold(0, |bits, kind| bits | kind_bit(*kind));
        let (name, user) = ("anonymous".into(), String::new());
        Grant { name, user, symbols: everything(), sources: everything(), kinds, max_rate_hz: 0, all_own: false }
    }
}

fn any() -> Glob {
    Glob::new("*").unwrap_or_else(|_| unreachable!("a star is a glob"))
}

/// The bit of a kind in a set of kinds.
#[must_use]
pub const fn kind_bit(kind: Kind) -> u32 {
    1 << kind.code()
}

fn grant(token: &TokenConfig) -> Result<Grant, (&'static str, String)> {
    let mut kinds = 0;
    for word in &token.kinds {
        kinds |= match Kind::from_word(word) {
            Some(kind) if DELIVERED.contains(&kind) => kind_bit(kind),
            None if word == "*" => DELIVERED.iter().fold(0, |bits, kind| bits | kind_bit(*kind)),
            _ => {
                return Err(("kinds", format!("{word} is not a kind that is delivered; expected quote, tick, … or *")));
            }
        };
    }
    Ok(Grant {
        name: token.name.clone(),
        user: token.user.clone(),
        symbols: globs(&token.symbols).map_err(|e| ("symbols", e))?,
        sources: globs(&token.sources).map_err(|e| ("sources", e))?,
        kinds,
        max_rate_hz: token.max_rate_hz,
        all_own: false,
    })
}

fn globs(texts: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(Glob::new(text).map_err(|e| e.to_string())?);
    }
    set.build().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Secret;

    fn token(name: &str, secret: &str) -> TokenConfig {
        let every = || vec!["*".to_string()];
        let token = Secret::new(secret);
        let (symbols, kinds, sources) = (every(), vec!["quote".into()], every());
        TokenConfig { name: name.into(), token, user: "u".into(), symbols, kinds, sources, max_rate_hz: 5 }
    }

    #[test]
    fn a_token_is_its_grant_and_no_token_only_on_loopback() {
        let mut config = FanoutConfig { tokens: vec![token("a", "s1"), token("b", "s2")], ..FanoutConfig::default() };
        let access = ConfiguredTokens::new(&config).unwrap();
        assert_eq!(access.admit("s2", false).unwrap().name, "b");
        assert_eq!(access.admit("s1", true).unwrap().kinds, kind_bit(Kind::Quote));
        assert!(access.admit("s3", true).is_none());
        assert_eq!(access.admit("", true).unwrap().user, "");
        assert!(access.admit("", false).is_none());
        config.allow_anonymous_loopback = false;
        assert!(ConfiguredTokens::new(&config).unwrap().admit("", true).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_token_is_one_sentence_without_the_secret() {
        let error = |t: TokenConfig| {
            let tokens = vec![token("first", "canary"), t];
            ConfiguredTokens::new(&FanoutConfig { tokens, ..FanoutConfig::default() }).err().unwrap()
        };
        let same = error(token("a", "canary"));
        assert!(same.contains("a: token: is the same as that of first") && !same.contains("canary"), "{same}");
        assert!(error(token("a", "env:TICKWIRE_NOT_SET")).contains("TICKWIRE_NOT_SET is not set"));
        assert!(error(token("a", "")).contains("empty"));
        let timer = TokenConfig { kinds: vec!["timer".into()], ..token("a", "s") };
        assert!(error(timer).contains("kinds: timer is not a kind"));
        let glob = TokenConfig { symbols: vec!["[".into()], ..token("a", "s") };
        assert!(error(glob).contains("symbols: "));
    }
}

//! What a subscription asks for, compiled once: globs become bit sets, and a record is matched by three bits.

use globset::Glob;
use tickwire_schemas::control::{Error, ErrorCode, Subscribe};
use tickwire_schemas::words::Kind;

use super::access::{DELIVERED, Grant, kind_bit};
use super::catalogue::{ALL, Catalogue};
use super::window::Chain;

/// Most entries in a list of a Subscribe: with 64 subscriptions, 65,536 globs compiled at most by one terminal.
pub const LIST_ENTRIES_MAX: usize = 1024;

/// Longest symbol or glob, in bytes.
pub const GLOB_BYTES_MAX: usize = 64;

/// A set of dense indices.
#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

/// Which records a subscription brings. Made by [`compile`], which lets nothing in that the grant does not hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    kinds: u32,
    instruments: Bits,
    quote_sources: Bits,
    sources: Bits,
}

impl Filter {
    /// Whether records of this chain are wanted and allowed.
    #[must_use]
    pub fn matches(&self, chain: &Chain) -> bool {
        if self.kinds & kind_bit(chain.kind) == 0 || !self.instruments.contains(chain.instrument) {
            return false;
        }
        match chain.kind {
            Kind::Quote => self.quote_sources.contains(chain.source),
            // Holes and states that are about every source are everybody's.
            Kind::Gap | Kind::SourceState if chain.source == ALL => true,
            _ => self.sources.contains(chain.source),
        }
    }
}

/// A compiled subscription and what to tell the terminal about it.
#[derive(Debug)]
pub struct Compiled {
    /// What it brings.
    pub filter: Filter,
    /// Ids of the instruments.
    pub instruments: Vec<u32>,
    /// What was understood but has no effect.
    pub warnings: Vec<String>,
}

/// Turns a request into a filter, as far as the grant allows.
///
/// # Errors
/// The answer to the terminal: a glob that is none, a symbol, source or kind that there is not or that it may not see.
pub fn compile(request: &Subscribe, catalogue: &Catalogue, grant: &Grant) -> Result<Compiled, Error> {
    let fail = |code, field: &str, text: String| Error { code, text, field: Some(field.into()), id: Some(request.id) };
    let lists = [("symbols", request.symbols.len()), ("kinds", request.kinds.len())];
    let sources = ("sources", request.sources.as_ref().map_or(0, Vec::len));
    for (field, length) in lists.into_iter().chain([sources]) {
        if length > LIST_ENTRIES_MAX {
            let text = format!("{field} has {length} entries; at most {LIST_ENTRIES_MAX} are allowed");
            return Err(fail(ErrorCode::Limit, field, text));
        }
    }
    let mut filter = Filter::default();
    for kind in &request.kinds {
        if !DELIVERED.contains(kind) {
            return Err(fail(
                ErrorCode::UnknownKind,
                "kinds",
                format!("{kind} records are not delivered to terminals"),
            ));
        }
        if grant.kinds & kind_bit(*kind) == 0 {
            return Err(fail(ErrorCode::Forbidden, "kinds", format!("this token may not see {kind} records")));
        }
        filter.kinds |= kind_bit(*kind);
    }
    let mut warnings = Vec::new();
    let instruments = symbols(request, catalogue, grant, &mut filter, &mut warnings)
        .map_err(|(code, text)| fail(code, "symbols", text))?;
    wanted_sources(request, catalogue, grant, &mut filter).map_err(|(code, text)| fail(code, "sources", text))?;
    Ok(Compiled { filter, instruments, warnings })
}

type Wrong = (ErrorCode, String);

fn symbols(
    request: &Subscribe,
    catalogue: &Catalogue,
    grant: &Grant,
    filter: &mut Filter,
    warnings: &mut Vec<String>,
) -> Result<Vec<u32>, Wrong> {
    let mut ids = Vec::new();
    for text in &request.symbols {
        let glob = glob(text)?;
        let mut matched = catalogue.instruments().filter(|(_, i)| glob.matches(&i.symbol)).peekable();
        if matched.peek().is_none() {
            if !glob.is_pattern {
                return Err((ErrorCode::UnknownSymbol, format!("there is no instrument {text}")));
            }
            warnings.push(format!("symbols: {text} matches no instrument"));
        }
        for (index, instrument) in matched {
            if grant.symbols.is_match(&instrument.symbol) {
                filter.instruments.insert(index);
                ids.push(instrument.id.0);
            } else if !glob.is_pattern {
                return Err((ErrorCode::Forbidden, format!("this token may not see {text}")));
            }
        }
    }
    // Records about a whole source belong to every choice of symbols.
    filter.instruments.insert(ALL);
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn wanted_sources(request: &Subscribe, catalogue: &Catalogue, grant: &Grant, filter: &mut Filter) -> Result<(), Wrong> {
    let Some(wanted) = &request.sources else {
        for (index, _) in catalogue.visible_sources(grant) {
            filter.sources.insert(index);
            if index == ALL {
                filter.quote_sources.insert(index);
            }
        }
        return Ok(());
    };
    for text in wanted {
        let glob = glob(text)?;
        let mut matched = catalogue.visible_sources(grant).filter(|(_, name)| glob.matches(name)).peekable();
        if matched.peek().is_none() {
            // The same answer for a source that is somebody else's and for one that does not exist.
            return Err((ErrorCode::UnknownSource, format!("there is no source {text} that this token may see")));
        }
        for (index, _) in matched {
            filter.sources.insert(index);
            filter.quote_sources.insert(index);
        }
    }
    Ok(())
}

struct Pattern {
    matcher: globset::GlobMatcher,
    is_pattern: bool,
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }
}

fn glob(text: &str) -> Result<Pattern, Wrong> {
    if text.len() > GLOB_BYTES_MAX {
        let problem = format!("a glob of {} bytes is longer than the {GLOB_BYTES_MAX} allowed", text.len());
        return Err((ErrorCode::Limit, problem));
    }
    let glob = Glob::new(text).map_err(|e| (ErrorCode::BadGlob, e.to_string()))?;
    Ok(Pattern { matcher: glob.compile_matcher(), is_pattern: text.contains(['*', '?', '[', '{', '\\', '!']) })
}

//! Just enough of ClickHouse's lexer to find where a statement ends and its data begins.
//!
//! Nothing here decides what anybody may do: that is asked of the engine's own parser (`access`).

/// A token of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Mark(u8),
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            match rest {
                [b, ..] if b.is_ascii_whitespace() => self.at += 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
                }
                [b'/', b'*', ..] => {
                    self.at += memchr::memmem::find(rest, b"*/").map_or(rest.len(), |n| n + 2);
                }
                _ => return,
            }
        }
    }

    fn quoted(&self, quote: u8) -> usize {
        let mut at = self.at + 1;
        while at < self.text.len() {
            match self.text[at] {
                b'\\' => at += 2,
                b if b == quote && self.text.get(at + 1) == Some(&quote) => at += 2,
                b if b == quote => return at + 1,
                _ => at += 1,
            }
        }
        self.text.len()
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let start = self.at;
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || !b.is_ascii();
        let (kind, end) = match *self.text.get(start)? {
            quote @ (b'\'' | b'"' | b'`') => (Kind::Quoted, self.quoted(quote)),
            b if word(&b) => (Kind::Word, start + self.text[start..].iter().take_while(|b| word(b)).count()),
            b => (Kind::Mark(b), start + 1),
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

fn tokens(text: &[u8]) -> Lexer<'_> {
    Lexer { text, at: 0 }
}

fn is(text: &[u8], token: Token, word: &str) -> bool {
    token.kind == Kind::Word && text[token.start..token.end].eq_ignore_ascii_case(word.as_bytes())
}

/// An insert that brings its data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InsertWithData {
    /// End of the statement before its FORMAT or VALUES.
    pub(super) head_end: usize,
    /// Name of the input format.
    pub(super) format: String,
    /// First byte of the data that stands in the same text; may be its length.
    pub(super) data_start: usize,
}

/// Finds the data of `INSERT … FORMAT f <data>` and `INSERT … VALUES <data>`; `None` for every other statement.
pub(super) fn insert_with_data(text: &[u8]) -> Option<InsertWithData> {
    let mut lexer = tokens(text);
    is(text, lexer.next()?, "INSERT").then_some(())?;
    is(text, lexer.next()?, "INTO").then_some(())?;
    let mut name = lexer.next()?;
    if is(text, name, "TABLE") {
        let next = lexer.next()?;
        // `INSERT INTO table VALUES`: a table of that name.
        if next.kind == Kind::Mark(b'.') || is(text, next, "VALUES") || is(text, next, "FORMAT") {
            lexer.at = name.end;
        } else {
            name = next;
        }
    }
    if is(text, name, "FUNCTION") {
        lexer.next()?;
    }
    let (mut depth, mut selects, mut reads_input, mut last) = (0usize, false, false, name);
    while let Some(token) = lexer.next() {
        match token.kind {
            Kind::Mark(b'(' | b'[' | b'{') => depth += 1,
            Kind::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            Kind::Word if last.kind == Kind::Mark(b'.') => {}
            Kind::Word if is(text, token, "input") => reads_input = true,
            Kind::Word if depth > 0 => {}
            Kind::Word if is(text, token, "SELECT") || is(text, token, "WITH") => selects = true,
            Kind::Word if is(text, token, "VALUES") && !selects => {
                let found = InsertWithData { head_end: token.start, format: "Values".into(), data_start: token.end };
                return Some(found);
            }
            Kind::Word if is(text, token, "FORMAT") && (!selects || reads_input) => {
                let format = lexer.next().filter(|t| t.kind == Kind::Word)?;
                return Some(InsertWithData {
                    head_end: token.start,
                    format: String::from_utf8_lossy(&text[format.start..format.end]).into_owned(),
                    data_start: after_format(text, format.end),
                });
            }
            _ => {}
        }
        last = token;
    }
    None
}

/// Data begins after blanks, an optional `;` and at most one line end, as in ClickHouse.
fn after_format(text: &[u8], mut at: usize) -> usize {
    let blanks = |mut at: usize| {
        while matches!(text.get(at), Some(b' ' | b'\t' | 0x0c)) {
            at += 1;
        }
        at
    };
    at = blanks(at);
    if text.get(at) == Some(&b';') {
        at = blanks(at + 1);
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

/// The format a query names for its result, if it names one.
pub(super) fn output_format(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut depth, mut found, mut after) = (0usize, None, false);
    for token in tokens(bytes) {
        match token.kind {
            Kind::Mark(b'(' | b'[' | b'{') => depth += 1,
            Kind::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && after => found = Some(text[token.start..token.end].to_owned()),
            _ => {}
        }
        after = depth == 0 && is(bytes, token, "FORMAT");
    }
    found
}

/// True when the statement begins like a SELECT, the only kind the engine can stream.
pub(super) fn begins_like_select(text: &str) -> bool {
    let bytes = text.as_bytes();
    tokens(bytes)
        .find(|t| t.kind != Kind::Mark(b'('))
        .is_some_and(|t| ["SELECT", "WITH", "FROM"].iter().any(|word| is(bytes, t, word)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn split(text: &str) -> Option<(&str, String, &str)> {
        insert_with_data(text.as_bytes()).map(|i| (text[..i.head_end].trim(), i.format, &text[i.data_start..]))
    }

    #[test]
    fn data_follows_the_format_and_one_line_end() {
        assert_eq!(split("INSERT INTO t FORMAT CSV\n1\n"), Some(("INSERT INTO t", "CSV".into(), "1\n")));
        assert_eq!(split("insert into md.t (a, `format`) format RowBinary"), {
            Some(("insert into md.t (a, `format`)", "RowBinary".into(), ""))
        });
        assert_eq!(split("INSERT INTO t FORMAT TSV \r\n\n1").unwrap().2, "\n1");
        assert_eq!(split("INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT Native\n  x").unwrap().2, "  x");
    }

    #[test]
    fn names_and_comments_are_not_keywords() {
        assert_eq!(split("INSERT INTO `format` /* FORMAT A */ FORMAT B").unwrap().1, "B");
        assert_eq!(split("INSERT INTO format FORMAT B").unwrap().0, "INSERT INTO format");
        assert_eq!(split("INSERT INTO md.format FORMAT B").unwrap().0, "INSERT INTO md.format");
        assert_eq!(split("INSERT INTO table VALUES (1)").unwrap().0, "INSERT INTO table");
        assert_eq!(split("INSERT INTO TABLE x VALUES (1)").unwrap().2, " (1)");
        assert_eq!(split("INSERT INTO t -- FORMAT A\nVALUES (1)").unwrap().1, "Values");
        assert_eq!(split("INSERT INTO FUNCTION null('a int') FORMAT CSV\n1").unwrap().1, "CSV");
    }

    #[test]
    fn an_insert_from_a_query_brings_no_data() {
        assert_eq!(split("INSERT INTO t SELECT 1"), None);
        assert_eq!(split("INSERT INTO t SELECT * FROM s FORMAT CSV"), None);
        assert_eq!(split("SELECT 1 FORMAT CSV"), None);
        assert_eq!(split("INSERT INTO t SELECT x FROM input('x int') FORMAT CSV\n1").unwrap().2, "1");
    }

    #[test]
    fn the_last_top_level_format_is_the_output_format() {
        assert_eq!(output_format("SELECT 1 FORMAT JSON;"), Some("JSON".into()));
        assert_eq!(output_format("SELECT 1 FORMAT CSV SETTINGS a = 1"), Some("CSV".into()));
        assert_eq!(output_format("SELECT 'FORMAT x', (SELECT 1 FORMAT y)"), None);
        assert!(begins_like_select(" ((SELECT 1))") && begins_like_select("/* */ with x as (select 1) select x"));
        assert!(!begins_like_select("SHOW TABLES"));
    }

    #[test]
    fn torn_text_never_panics() {
        for text in ["INSERT INTO", "INSERT INTO t FORMAT", "'\\", "INSERT INTO t VALUES", "/*", "\u{e9}`"] {
            for end in 0..=text.len() {
                insert_with_data(&text.as_bytes()[..end]);
            }
        }
    }
}

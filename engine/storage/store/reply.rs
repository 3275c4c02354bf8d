//! Answers as ClickHouse's HTTP interface gives them: codes, status, texts, content types.

use super::chdb::Progress;

/// ClickHouse error codes that this front itself raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadArguments,
    NotImplemented,
    SyntaxError,
    Timeout,
    ReadOnly,
    TooManySimultaneousQueries,
    MemoryLimitExceeded,
    CannotDecompress,
    AccessDenied,
    AuthenticationFailed,
}

impl Code {
    fn number_and_name(self) -> (u32, &'static str) {
        match self {
            Self::BadArguments => (36, "BAD_ARGUMENTS"),
            Self::NotImplemented => (48, "NOT_IMPLEMENTED"),
            Self::SyntaxError => (62, "SYNTAX_ERROR"),
            Self::Timeout => (159, "TIMEOUT_EXCEEDED"),
            Self::ReadOnly => (164, "READONLY"),
            Self::TooManySimultaneousQueries => (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
            Self::MemoryLimitExceeded => (241, "MEMORY_LIMIT_EXCEEDED"),
            Self::CannotDecompress => (271, "CANNOT_DECOMPRESS"),
            Self::AccessDenied => (497, "ACCESS_DENIED"),
            Self::AuthenticationFailed => (516, "AUTHENTICATION_FAILED"),
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u32,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(code: Code, what: impl std::fmt::Display) -> Self {
        let (code, name) = code.number_and_name();
        Self { code, text: format!("Code: {code}. DB::Exception: {what}. ({name})") }
    }

    /// From the engine's own text, `Code: N. DB::Exception: …`.
    pub(super) fn engine(text: String) -> Self {
        let digits = text.strip_prefix("Code: ").and_then(|rest| rest.split('.').next());
        Self { code: digits.and_then(|d| d.parse().ok()).unwrap_or(1002), text }
    }

    /// HTTP status ClickHouse gives to this code.
    pub(super) fn status(&self) -> u16 {
        match self.code {
            516 | 193 | 497 => 403,
            60 | 81 | 46 => 404,
            62 | 47 | 36 | 27 | 26 | 115 | 456 | 457 | 6 | 38 | 41 | 53 | 69 | 72 | 271 => 400,
            202 => 503,
            _ => 500,
        }
    }
}

/// Media type of an output format.
pub(super) fn content_type(format: &str) -> &'static str {
    let lower = format.to_ascii_lowercase();
    match lower.as_str() {
        "json" | "jsoncompact" | "jsonstrings" | "jsoncolumns" => "application/json; charset=UTF-8",
        l if l.starts_with("json") || l == "ndjson" => "application/x-ndjson; charset=UTF-8",
        l if l.starts_with("csv") => "text/csv; charset=UTF-8",
        l if l.starts_with("tabseparated") || l.starts_with("tsv") => "text/tab-separated-values; charset=UTF-8",
        l if l.starts_with("pretty") || l == "vertical" => "text/plain; charset=UTF-8",
        "xml" => "application/xml; charset=UTF-8",
        "markdown" => "text/markdown; charset=UTF-8",
        _ => "application/octet-stream",
    }
}

/// The text of `X-ClickHouse-Summary`.
pub(super) fn summary(progress: &Progress, elapsed_ns: u128) -> String {
    let Progress { read_rows, read_bytes, written_rows, written_bytes, result_rows } = progress;
    format!(
        "{{\"read_rows\":\"{read_rows}\",\"read_bytes\":\"{read_bytes}\",\"written_rows\":\"{written_rows}\",\
         \"written_bytes\":\"{written_bytes}\",\"total_rows_to_read\":\"0\",\"result_rows\":\"{result_rows}\",\
         \"result_bytes\":\"0\",\"elapsed_ns\":\"{elapsed_ns}\"}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_status_follow_clickhouse() {
        let engine = Failure::engine("Code: 60. DB::Exception: Table md.x does not exist. (UNKNOWN_TABLE)".into());
        assert_eq!((engine.code, engine.status()), (60, 404));
        let ours = Failure::new(Code::AuthenticationFailed, "no");
        assert_eq!((ours.status(), ours.text.as_str()), (403, "Code: 516. DB::Exception: no. (AUTHENTICATION_FAILED)"));
        assert_eq!(Failure::engine("something else".into()).code, 1002);
    }
}

//! What a client asks: the URL, the headers and the body of a request, taken apart. Pure.

use std::borrow::Cow;

use super::chdb::Parameter;
use super::frames::{self, Packing};
use super::reply::{Code, Failure};
use super::statement;

/// Keys of the URL that ClickHouse knows and that are neither settings nor of use here: there are no sessions (every
/// request has a connection of its own), and a result is sent as it comes.
const IGNORED: [&str; 13] = [
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version",
    "close_session",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "quota_key",
    "role",
    "send_progress_in_http_headers",
    "session_check",
    "session_id",
    "session_timeout",
    "wait_end_of_query",
];

/// A request before its body: all of the URL and the headers.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: Option<String>,
    pub(super) query: Option<String>,
    pub(super) query_id: Option<String>,
    pub(super) default_format: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) parameters: Vec<Parameter>,
    /// The reply in ClickHouse's frames.
    pub(super) compress: bool,
    /// The body is in ClickHouse's frames.
    decompress: bool,
    lz4_body: bool,
    boundary: Option<String>,
}

impl Head {
    /// Reads the query part of the URL and the headers (`header` answers with a header's value).
    ///
    /// # Errors
    /// A header that is there but cannot be understood.
    pub(super) fn read<'h>(url_query: &str, header: impl Fn(&str) -> Option<&'h str>) -> Result<Self, Failure> {
        let mut head = Self::default();
        let mut url_credentials = (None, None);
        for pair in url_query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (percent_decoded(key), percent_decoded(value));
            match key.as_str() {
                "query" => head.query = Some(value),
                "database" => head.database = Some(value),
                "default_format" => head.default_format = Some(value),
                "query_id" => head.query_id = Some(value),
                "user" => url_credentials.0 = Some(value),
                "password" => url_credentials.1 = Some(value),
                "decompress" => head.decompress = value == "1",
                "compress" => head.compress = value == "1",
                ignored if IGNORED.contains(&ignored) => {}
                other => match other.strip_prefix("param_") {
                    Some(name) => head.parameters.push((name.to_owned(), value)),
                    None => head.settings.push((key, value)),
                },
            }
        }
        if let Some(name) = header("x-clickhouse-user") {
            head.user = name.to_owned();
            head.password = header("x-clickhouse-key").unwrap_or_default().to_owned();
        } else if let Some(value) = header("authorization") {
            (head.user, head.password) = basic(value)
                .ok_or_else(|| Failure::new(Code::AuthenticationFailed, "only Basic authorization is understood"))?;
        } else {
            head.user = url_credentials.0.unwrap_or_default();
            head.password = url_credentials.1.unwrap_or_default();
        }
        head.database = header("x-clickhouse-database").map(str::to_owned).or(head.database);
        head.default_format = header("x-clickhouse-format").map(str::to_owned).or(head.default_format);
        if let Some(format) = head.default_format.as_ref().filter(|f| !f.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return Err(Failure::new(Code::BadArguments, format!("{format} is not the name of a format")));
        }
        match header("content-encoding").map(str::trim) {
            None | Some("" | "identity") => {}
            Some("lz4") => head.lz4_body = true,
            Some(other) => {
                return Err(Failure::new(
                    Code::NotImplemented,
                    format!("Content-Encoding {other} is not supported, use lz4 or none"),
                ));
            }
        }
        head.boundary = header("content-type").and_then(boundary);
        Ok(head)
    }

    /// Puts the parts of the query together and separates an insert from its data.
    ///
    /// # Errors
    /// A body that does not unpack, is not text where text is needed, or asks for what this front lacks.
    pub(super) fn statement(&mut self, body: &[u8], unpacked_max: usize) -> Result<Statement, Failure> {
        let packing = match (self.decompress, self.lz4_body) {
            (true, false) => Packing::ClickHouse,
            (false, true) => Packing::Lz4Frame,
            (false, false) => Packing::Plain,
            (true, true) => return Err(Failure::new(Code::BadArguments, "the body cannot be packed twice")),
        };
        let mut body = match packing {
            Packing::Plain => Cow::Borrowed(body),
            _ => frames::unpack(body, packing, unpacked_max)
                .map(Cow::Owned)
                .map_err(|e| Failure::new(Code::CannotDecompress, e))?,
        };
        if let Some(boundary) = self.boundary.take() {
            let fields = multipart(&body, &boundary)
                .ok_or_else(|| Failure::new(Code::BadArguments, "the multipart/form-data body is malformed"))?;
            self.take_fields(fields)?;
            body = Cow::Borrowed(&[]);
        }
        let url = self.query.take().unwrap_or_default();
        if let Some(insert) = statement::insert_with_data(url.as_bytes()) {
            let mut data = url.as_bytes()[insert.data_start..].to_vec();
            if data.is_empty() {
                data = body.into_owned();
            } else {
                data.push(b'\n');
                data.extend_from_slice(&body);
            }
            let text = url[..insert.head_end].to_owned();
            return Ok(Statement { text, insert: Some(InsertData { format: insert.format, data }) });
        }
        let whole = if url.is_empty() {
            body
        } else if body.is_empty() {
            Cow::Owned(url.into_bytes())
        } else {
            Cow::Owned([url.as_bytes(), b"\n", &body].concat())
        };
        if let Some(insert) = statement::insert_with_data(&whole) {
            let text = text_of(&whole[..insert.head_end])?;
            let data = whole[insert.data_start..].to_vec();
            return Ok(Statement { text, insert: Some(InsertData { format: insert.format, data }) });
        }
        Ok(Statement { text: text_of(&whole)?, insert: None })
    }

    fn take_fields(&mut self, fields: Vec<(String, String)>) -> Result<(), Failure> {
        for (name, value) in fields {
            match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None if name == "query" => self.query = Some(value),
                None => {
                    return Err(Failure::new(
                        Code::NotImplemented,
                        format!("form field {name}: only query and param_* are supported, no external tables"),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn text_of(bytes: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Failure::new(Code::SyntaxError, format!("the query is not UTF-8 at byte {}", e.valid_up_to())))?;
    Ok(text.trim().to_owned())
}

/// A statement ready for the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The statement; of an insert with data, what stands before FORMAT or VALUES.
    pub(super) text: String,
    pub(super) insert: Option<InsertData>,
}

/// Data of an insert.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InsertData {
    pub(super) format: String,
    pub(super) data: Vec<u8>,
}

/// Decodes `%XX` and `+`; anything else stands for itself.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = |n: usize| bytes.get(at + n).and_then(|b| (*b as char).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (b, ..) => out.push(b),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// User and password of an `Authorization: Basic` header.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| base64(encoded.trim())).flatten()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for b in text.trim_end_matches('=').bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parts.find_map(|p| p.trim().strip_prefix("boundary=")).map(|b| b.trim_matches('"').to_owned())
}

/// Fields of a multipart/form-data body; `None` when it is malformed.
fn multipart(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let between = format!("\r\n{delimiter}");
    loop {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        let part = rest.strip_prefix(b"\r\n")?;
        let end = memchr::memmem::find(part, between.as_bytes())?;
        let head_end = memchr::memmem::find(&part[..end], b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..head_end]).ok()?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        let value = String::from_utf8(part[head_end + 4..end].to_vec()).ok()?;
        fields.push((name.to_owned(), value));
        rest = &part[end + between.len()..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn head(url: &str, headers: &[(&str, &str)]) -> Head {
        let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Head::read(url, |name| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())).unwrap()
    }

    #[test]
    fn credentials_come_from_headers_before_the_url() {
        let basic = ("authorization", "Basic cmVhZGVyOnM6ZWNyZXQ=");
        assert_eq!((head("user=a&password=b", &[]).user, head("user=a&password=b", &[]).password), {
            ("a".into(), "b".into())
        });
        let h = head("user=a&password=b", &[basic]);
        assert_eq!((h.user.as_str(), h.password.as_str()), ("reader", "s:ecret"));
        let h = head("", &[basic, ("x-clickhouse-user", "u"), ("x-clickhouse-key", "k")]);
        assert_eq!((h.user.as_str(), h.password.as_str()), ("u", "k"));
    }

    #[test]
    fn url_keys_are_settings_parameters_or_known() {
        let h = head("query=SELECT+%7Ba%3AString%7D&param_a=x%2By&max_threads=2&session_id=z&database=md", &[]);
        assert_eq!(h.query.as_deref(), Some("SELECT {a:String}"));
        assert_eq!(h.parameters, [("a".to_owned(), "x+y".to_owned())]);
        assert_eq!(h.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!(h.database.as_deref(), Some("md"));
    }

    #[test]
    fn a_query_may_stand_in_the_url_in_the_body_or_in_both() {
        let insert = |text: &str, format: &str, data: &[u8]| Statement {
            text: text.into(),
            insert: Some(InsertData { format: format.into(), data: data.into() }),
        };
        let binary = b"\x0a\x00\x0a\xff";
        let mut h = head("query=INSERT+INTO+t+FORMAT+RowBinary", &[]);
        assert_eq!(h.statement(binary, 100).unwrap(), insert("INSERT INTO t ", "RowBinary", binary));
        let mut h = head("", &[]);
        let body = [b"INSERT INTO t FORMAT Native\n".as_slice(), binary].concat();
        assert_eq!(h.statement(&body, 100).unwrap(), insert("INSERT INTO t", "Native", binary));
        let mut h = head("query=INSERT+INTO+t+VALUES+(1),", &[]);
        assert_eq!(h.statement(b"(2)", 100).unwrap(), insert("INSERT INTO t ", "Values", b" (1),\n(2)"));
        let mut h = head("query=SELECT", &[]);
        assert_eq!(h.statement(b"1", 100).unwrap(), Statement { text: "SELECT\n1".into(), insert: None });
        assert_eq!(head("", &[]).statement(b"SELECT '\xff'", 100).unwrap_err().code, 62);
    }

    #[test]
    fn parameters_may_come_as_a_form() {
        let mut h = head("", &[("content-type", "multipart/form-data; boundary=XX")]);
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\n1\r\n2\r\n--XX\r\n\
            Content-Disposition: form-data; name=\"query\"\r\n\r\nSELECT 1\r\n--XX--\r\n";
        assert_eq!(h.statement(body, 100).unwrap().text, "SELECT 1");
        assert_eq!(h.parameters, [("a".to_owned(), "1\r\n2".to_owned())]);
    }

    proptest! {
        #[test]
        fn nothing_a_client_sends_panics(url in "\\PC{0,60}", body in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(mut h) = Head::read(&url, |n| (n == "content-type").then_some("multipart/form-data; boundary=a")) {
                let _ = h.statement(&body, 1000);
            }
            let _ = head(&url, &[]).statement(&body, 1000);
        }
    }
}

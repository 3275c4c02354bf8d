//! One request on one connection of the engine.
//!
//! Every request opens a connection of its own (about 0.1 ms): its settings, its current database and its rights end
//! with it, and nothing one client does can be felt by the next.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::access;
use super::chdb::{Chdb, ChdbError, Connection, Parameter, Progress, QueryResult, ResultStream, StatementClass};
use super::reply::{Code, Failure};
use super::request::{Head, InsertData, Statement};
use super::statement;

/// Bytes handed to the engine in one piece.
const APPEND: usize = 1 << 20;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// `tickwire`: everything.
    Writer,
    /// `reader`: reads `md`.
    Reader,
}

/// Memory of the engine, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Of the whole engine.
    pub(super) engine: u64,
    /// Of one query.
    pub(super) query: u64,
    /// Of a result that cannot be streamed, before formatting.
    pub(super) result: u64,
}

impl Memory {
    /// The designed limits on a machine with `total` bytes of memory: a quarter of it, at most 2 GiB; half of that a
    /// query; an eighth a result that cannot be streamed.
    pub(super) fn for_machine(total: u64) -> Self {
        Self::of_engine((total / 4).min(2 << 30))
    }

    /// The same shares of a limit of `engine` bytes.
    pub(super) fn of_engine(engine: u64) -> Self {
        Self { engine, query: engine / 2, result: engine / 8 }
    }
}

/// The running engine.
pub(super) struct Engine {
    chdb: Arc<Chdb>,
    data: PathBuf,
    memory: Memory,
    /// Threads of one query: the cores this process may use.
    threads: u64,
}

/// Takes the pieces of an answer; blocks while the client is behind.
pub(super) trait Sink {
    /// Begins an answer.
    fn begin(&mut self, format: &str);
    /// A piece of the result, in order. `false`: the client is gone, stop.
    fn piece(&mut self, bytes: Bytes) -> bool;
}

impl Engine {
    /// Options that only the connection which starts the engine can give.
    pub(super) fn start_options(memory: Memory) -> Vec<String> {
        vec![
            format!("--max_server_memory_usage={}", memory.engine),
            "--max_server_memory_usage_to_ram_ratio=1".into(),
            // Marks of a day of ticks fit many times; the default of 5 GiB does not know our limit.
            "--mark_cache_size=67108864".into(),
            "--uncompressed_cache_size=0".into(),
            "--max_parts_cleaning_thread_pool_size=4".into(),
            "--background_pool_size=2".into(),
            "--background_schedule_pool_size=4".into(),
        ]
    }

    /// Starts the engine and makes its databases. The connection given back keeps it running and must be held (and
    /// dropped) by the calling thread.
    ///
    /// # Errors
    /// The engine does not start, or a database cannot be made.
    pub(super) fn start(chdb: Arc<Chdb>, data: PathBuf, memory: Memory) -> Result<(Self, Connection), StartError> {
        let resident = chdb.connect(&data, &Self::start_options(memory))?;
        for database in ["md", "md_private"] {
            resident
                .query(&format!("CREATE DATABASE IF NOT EXISTS {database}"), "Null", &[])
                .map_err(|text| StartError::Database { database, text })?;
        }
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Ok((Self { chdb, data, memory, threads }, resident))
    }

    /// Runs one request. The answer goes to `sink`, unless it is the failure returned.
    ///
    /// # Errors
    /// What the client is told; nothing was given to `sink` then, or the answer broke off.
    pub(super) fn run(&self, job: Job, sink: &mut dyn Sink) -> Result<Progress, Failure> {
        let Job { user, mut head, body, method_reads, unpacked_max } = job;
        let statement = head.statement(&body, unpacked_max)?;
        drop(body);
        if statement.text.is_empty() {
            return Err(Failure::new(Code::SyntaxError, "Empty query"));
        }
        let connection = self.session(user, &head)?;
        match user {
            User::Reader if statement.insert.is_some() => {
                return Err(Failure::new(Code::ReadOnly, "the read-only user may only read"));
            }
            User::Reader => access::check_statement(&connection, &statement.text, &head.parameters)?,
            User::Writer => check_writer(&connection, &statement, method_reads)?,
        }
        match statement.insert {
            Some(data) => insert(&connection, &statement.text, &data, &head.parameters),
            None => {
                let default = head.default_format.as_deref().unwrap_or("TabSeparated");
                self.select(&connection, &statement.text, default, &head.parameters, sink)
            }
        }
    }

    /// A connection with the request's database and settings, read-only where it must be.
    fn session(&self, user: User, head: &Head) -> Result<Connection, Failure> {
        let mut options = vec![
            format!("--max_memory_usage={}", self.memory.query),
            format!("--max_threads={}", self.threads),
            // Acknowledged must mean stored; a client may still ask for it.
            "--async_insert=0".into(),
            // A DateTime without a zone of its own means the same wherever the engine runs.
            "--session_timezone=UTC".into(),
        ];
        if user == User::Reader {
            options.push(format!("--max_execution_time={}", access::SECONDS_MAX));
        }
        let connection =
            self.chdb.connect(&self.data, &options).map_err(|e| Failure::new(Code::TooManySimultaneousQueries, e))?;
        let run = |sql: &str| connection.query(sql, "Null", &[]).map(drop).map_err(Failure::engine);
        if let Some(database) = &head.database {
            if user == User::Reader {
                access::check_database(database)?;
            }
            run(&format!("USE {}", quoted(database, '`')))?;
        }
        let mut settings = Vec::new();
        for (name, value) in &head.settings {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(Failure::new(Code::BadArguments, format!("{name} is not the name of a setting")));
            }
            if user == User::Writer || access::check_setting(name, value, self.threads)? {
                settings.push(format!("{name} = {}", quoted(value, '\'')));
            }
        }
        if !settings.is_empty() {
            run(&format!("SET {}", settings.join(", ")))?;
        }
        if user == User::Reader {
            run(access::CONNECTION_FILTERS)?;
            run("SET readonly = 1")?;
        }
        Ok(connection)
    }

    fn select(
        &self,
        connection: &Connection,
        sql: &str,
        default_format: &str,
        parameters: &[Parameter],
        sink: &mut dyn Sink,
    ) -> Result<Progress, Failure> {
        let named = statement::output_format(sql);
        let format = named.as_deref().unwrap_or(default_format);
        if let Some(blocks) = Blocks::of(format).filter(|_| statement::begins_like_select(sql)) {
            match connection.stream(sql, format, parameters) {
                Ok(stream) => return stream_blocks(stream, blocks, format, sink),
                // An EXPLAIN in disguise and the like: run as a whole.
                Err(text) if text.contains("Streaming query is not supported") => {}
                Err(text) => return Err(Failure::engine(text)),
            }
        }
        let result = connection.query(sql, format, parameters).map_err(Failure::engine)?;
        if result.bytes().len() as u64 > self.memory.result {
            let what = format!(
                "a result of {} bytes in format {format} is larger than the limit of {}; formats such as \
                 TabSeparated, CSV, JSONEachRow, RowBinary and Native are streamed without this limit",
                result.bytes().len(),
                self.memory.result
            );
            return Err(Failure::new(Code::MemoryLimitExceeded, what));
        }
        sink.begin(format);
        if !result.bytes().is_empty() {
            sink.piece(Bytes::copy_from_slice(result.bytes()));
        }
        Ok(result.progress())
    }
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library refused.
    #[error(transparent)]
    Chdb(#[from] ChdbError),
    /// A database could not be made.
    #[error("cannot make database {database}: {text}")]
    Database {
        /// Its name.
        database: &'static str,
        /// The engine's words.
        text: String,
    },
}

/// A request, authenticated and complete.
pub(super) struct Job {
    pub(super) user: User,
    pub(super) head: Head,
    pub(super) body: Bytes,
    /// The method (GET) implies that nothing is changed.
    pub(super) method_reads: bool,
    /// Most bytes a packed body may become.
    pub(super) unpacked_max: usize,
}

fn check_writer(connection: &Connection, statement: &Statement, method_reads: bool) -> Result<(), Failure> {
    let analysis = match statement.insert {
        Some(_) => None,
        None => Some(connection.classify(&statement.text)),
    };
    if analysis.is_some_and(|a| a.statements > 1) {
        return Err(Failure::new(Code::SyntaxError, "Multi-statements are not allowed"));
    }
    if method_reads && analysis.is_none_or(|a| matches!(a.class, StatementClass::Writes | StatementClass::Control)) {
        let what = "Cannot execute query in readonly mode: method GET implies readonly, use POST to change anything";
        return Err(Failure::new(Code::ReadOnly, what));
    }
    Ok(())
}

fn insert(
    connection: &Connection,
    sql: &str,
    insert: &InsertData,
    parameters: &[Parameter],
) -> Result<Progress, Failure> {
    // The engine appends the format to the text: the line end keeps it out of a comment.
    let mut stream = connection.insert(&format!("{sql}\n"), &insert.format, parameters).map_err(Failure::engine)?;
    for piece in insert.data.chunks(APPEND) {
        stream.append(piece).map_err(Failure::engine)?;
    }
    stream.finish().map_err(Failure::engine)
}

/// How blocks that were formatted one by one make one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// Put one behind the other.
    Concatenate,
    /// The same, but each begins with the names and types of `RowBinaryWithNamesAndTypes`.
    DropBinaryHeader,
}

impl Blocks {
    fn of(format: &str) -> Option<Self> {
        let concatenate = [
            "TabSeparated",
            "TSV",
            "TabSeparatedRaw",
            "TSVRaw",
            "CSV",
            "JSONEachRow",
            "JSONLines",
            "NDJSON",
            "JSONStringsEachRow",
            "JSONCompactEachRow",
            "JSONCompactStringsEachRow",
            "RowBinary",
            "Native",
            "LineAsString",
            "RawBLOB",
        ];
        match format {
            "RowBinaryWithNamesAndTypes" => Some(Self::DropBinaryHeader),
            f if concatenate.contains(&f) => Some(Self::Concatenate),
            _ => None,
        }
    }

    /// What of a later block belongs to the result.
    fn tail(self, block: &[u8]) -> &[u8] {
        match self {
            Self::Concatenate => block,
            Self::DropBinaryHeader => &block[binary_header(block).unwrap_or(0)..],
        }
    }
}

/// Length of the header of `RowBinaryWithNamesAndTypes`: a count, then as many names, then as many types.
fn binary_header(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    let number = |at: &mut usize| -> Option<usize> {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = *block.get(*at)?;
            *at += 1;
            value |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    };
    for _ in 0..number(&mut at)?.checked_mul(2)? {
        at = number(&mut at)?.checked_add(at)?;
    }
    (at <= block.len()).then_some(at)
}

fn stream_blocks(
    mut stream: ResultStream<'_>,
    blocks: Blocks,
    format: &str,
    sink: &mut dyn Sink,
) -> Result<Progress, Failure> {
    let mut progress = Progress::default();
    let mut first = true;
    while let Some(block) = stream.next().map_err(Failure::engine)? {
        add(&mut progress, &block);
        if first {
            sink.begin(format);
        }
        let bytes = if first { block.bytes() } else { blocks.tail(block.bytes()) };
        first = false;
        if !bytes.is_empty() && !sink.piece(Bytes::copy_from_slice(bytes)) {
            return Err(Failure::new(Code::Timeout, "the client did not take the result"));
        }
    }
    if first {
        sink.begin(format);
    }
    Ok(progress)
}

fn add(sum: &mut Progress, block: &QueryResult<'_>) {
    let part = block.progress();
    sum.read_rows += part.read_rows;
    sum.read_bytes += part.read_bytes;
    sum.result_rows += part.result_rows;
}

/// Quotes a name or a value for the engine's lexer.
fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(quoted(r"a`; DROP \", '`'), r"`a\`; DROP \\`");
        assert_eq!(quoted("it's", '\''), r"'it\'s'");
    }

    #[test]
    fn the_binary_header_is_measured() {
        let header = [b"\x02\x01n\x01s\x06UInt64\x06String".as_slice(), &[9, 9]].concat();
        assert_eq!(binary_header(&header), Some(header.len() - 2));
        assert_eq!(binary_header(b"\x02\x01n\x05s"), None);
        assert_eq!(binary_header(&[0xff; 40]), None);
        assert_eq!(binary_header(b""), None);
    }

    #[test]
    fn memory_is_a_quarter_of_the_machine_and_at_most_two_gibibytes() {
        assert_eq!(Memory::for_machine(4 << 30).engine, 1 << 30);
        assert_eq!(Memory::for_machine(64 << 30).engine, 2 << 30);
        assert_eq!(Memory::for_machine(64 << 30).query, 1 << 30);
    }
}

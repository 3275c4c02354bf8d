//! The C interface of libchdb, the embedded ClickHouse engine, loaded at run time.
//!
//! The only `unsafe` of the project. Invariants the blocks rely on:
//! - The library is opened once per process and never unloaded, so its function pointers stay valid.
//! - Signatures follow the library's published C header; a missing symbol is an error before anything is called.
//! - A [`Connection`] is used by the thread that opened it and by no other (it is neither `Send` nor `Sync`).
//! - Streams and results borrow their connection, so nothing outlives the connection it came from.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};

/// Why the library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ChdbError {
    /// The file exists but is not a loadable library for this machine.
    #[error("cannot load {}: {reason}", path.display())]
    Load {
        /// File that was tried.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// The library lacks part of the interface.
    #[error("{} is not a libchdb this program can use: it lacks {missing} (26.7.3 has it)", path.display())]
    Symbols {
        /// File that was tried.
        path: PathBuf,
        /// Names of all missing functions, separated by commas.
        missing: String,
    },
    /// The engine refused to start or to open a further connection.
    #[error("the embedded engine did not open {target}; the engine's reason is on standard error")]
    Connect {
        /// What was to be opened.
        target: String,
    },
}

/// Opaque to us: `chdb_connection`, `chdb_result*` and `chdb_insert_stream` are all pointers to the engine's own.
type Raw = *mut c_void;
type Texts = *const *const c_char;
type Lengths = *const usize;

/// What the engine's parser says about a statement (`chdb_query_analysis_v1`).
#[repr(C)]
#[derive(Default)]
struct RawAnalysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// One list gives the struct of function pointers and the code that fills it and names what is missing.
macro_rules! functions {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        struct Functions { $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)* }

        impl Functions {
            fn find(library: &Library) -> Result<Self, String> {
                let mut missing = Vec::new();
                $(
                    // SAFETY: the type is the one of the published header for this name; the pointer is copied out
                    // and stays valid because `Chdb` never unloads the library.
                    let $name = unsafe { library.get::<unsafe extern "C" fn($($arg),*) $(-> $ret)?>(stringify!($name)) };
                    if $name.is_err() { missing.push(stringify!($name)); }
                )*
                match ($($name,)*) {
                    ($(Ok($name),)*) => Ok(Self { $($name: *$name,)* }),
                    _ => Err(missing.join(", ")),
                }
            }
        }
    };
}

functions! {
    chdb_set_signal_handlers_enabled: fn(c_int);
    chdb_connect: fn(c_int, *mut *mut c_char) -> *mut Raw;
    chdb_close_conn: fn(*mut Raw);
    chdb_classify_query_n: fn(Raw, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int;
    chdb_query_with_params_n:
        fn(Raw, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> Raw;
    chdb_stream_query_with_params_n:
        fn(Raw, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> Raw;
    chdb_stream_fetch_result: fn(Raw, Raw) -> Raw;
    chdb_stream_cancel_query: fn(Raw, Raw);
    chdb_stream_insert_with_params_n:
        fn(Raw, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> Raw;
    chdb_stream_append: fn(Raw, *const c_void, usize) -> c_int;
    chdb_stream_done: fn(Raw) -> Raw;
    chdb_stream_insert_error: fn(Raw) -> *const c_char;
    chdb_destroy_insert_stream: fn(Raw);
    chdb_destroy_query_result: fn(Raw);
    chdb_result_buffer: fn(Raw) -> *const c_char;
    chdb_result_length: fn(Raw) -> usize;
    chdb_result_rows_read: fn(Raw) -> u64;
    chdb_result_storage_rows_read: fn(Raw) -> u64;
    chdb_result_storage_bytes_read: fn(Raw) -> u64;
    chdb_result_rows_written: fn(Raw) -> u64;
    chdb_result_bytes_written: fn(Raw) -> u64;
    chdb_result_error: fn(Raw) -> *const c_char;
}

/// The loaded library.
pub(super) struct Chdb {
    f: Functions,
}

impl Chdb {
    /// Loads the library and checks that it has everything this program calls.
    ///
    /// # Errors
    /// The file cannot be loaded, or lacks functions.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, ChdbError> {
        // SAFETY: running the library's initialisers is the purpose; the file is the one the operator chose or the
        // one `scripts/get-chdb` checked. RTLD_LOCAL keeps its own allocator and libc++ out of our symbols.
        let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_LOCAL) }
            .map_err(|e| ChdbError::Load { path: path.into(), reason: e.to_string() })?;
        let f = Functions::find(&library).map_err(|missing| ChdbError::Symbols { path: path.into(), missing })?;
        // The engine's threads run until the process ends: the library must never be unmapped.
        std::mem::forget(library);
        // SAFETY: takes an int and touches process-wide signal state only; nothing of the engine runs yet.
        unsafe { (f.chdb_set_signal_handlers_enabled)(0) };
        Ok(Arc::new(Self { f }))
    }

    /// Opens a connection. The first one starts the engine on `data` with `options`; later ones join it, and of
    /// their options only the query settings count. A connection costs about 0.1 ms.
    ///
    /// # Errors
    /// The engine refuses: the folder is used by another process, or an option has a wrong value.
    pub(super) fn connect(self: &Arc<Self>, data: &Path, options: &[String]) -> Result<Connection, ChdbError> {
        let refused = || ChdbError::Connect { target: data.display().to_string() };
        let mut path = b"--path=".to_vec();
        path.extend_from_slice(data.as_os_str().as_bytes());
        let mut arguments = vec![c"clickhouse".to_owned(), CString::new(path).map_err(|_| refused())?];
        for option in options {
            arguments.push(CString::new(option.as_str()).map_err(|_| refused())?);
        }
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
        // SAFETY: `pointers` holds as many NUL-terminated strings as said and outlives the call, which copies them.
        let handle = unsafe { (self.f.chdb_connect)(pointers.len() as c_int, pointers.as_mut_ptr()) };
        if handle.is_null() {
            return Err(refused());
        }
        // SAFETY: a non-null handle points at a connection pointer until `chdb_close_conn`.
        let raw = unsafe { *handle };
        if raw.is_null() {
            return Err(refused());
        }
        Ok(Connection { chdb: self.clone(), handle, raw })
    }
}

/// A `{name:Type}` parameter and its value, in ClickHouse's escaped text form.
pub(super) type Parameter = (String, String);

/// Pointer arrays of the parameters for one call.
struct Parameters {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl Parameters {
    fn of(list: &[Parameter]) -> Self {
        Self {
            names: list.iter().map(|(n, _)| n.as_ptr().cast()).collect(),
            name_lengths: list.iter().map(|(n, _)| n.len()).collect(),
            values: list.iter().map(|(_, v)| v.as_ptr().cast()).collect(),
            value_lengths: list.iter().map(|(_, v)| v.len()).collect(),
        }
    }
}

/// What a statement does, by the engine's own parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatementClass {
    /// SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK.
    ReadOnly,
    /// Anything that changes a database.
    Writes,
    /// Session and server control, and writing outside the engine (`INTO OUTFILE`, `INSERT INTO FUNCTION`).
    Control,
    /// Did not parse.
    Unknown,
}

/// The engine's parser on a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Analysis {
    /// Statements in the text; 0 when it does not parse.
    pub(super) statements: u32,
    /// The most restricted of them.
    pub(super) class: StatementClass,
}

/// A session of the engine. Settings made on it live as long as it does.
pub(super) struct Connection {
    chdb: Arc<Chdb>,
    handle: *mut Raw,
    raw: Raw,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handle came from `chdb_connect` and is closed exactly once; streams and results borrow `self`.
        unsafe { (self.chdb.f.chdb_close_conn)(self.handle) };
    }
}

impl Connection {
    /// Runs a statement and returns its whole result.
    ///
    /// # Errors
    /// The engine's error text (`Code: N. DB::Exception: …`).
    pub(super) fn query(&self, sql: &str, format: &str, parameters: &[Parameter]) -> Result<QueryResult<'_>, String> {
        let p = Parameters::of(parameters);
        // SAFETY: all pointers and lengths describe live Rust strings and vectors; the call copies what it keeps.
        let raw = unsafe {
            (self.chdb.f.chdb_query_with_params_n)(
                self.raw,
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        QueryResult::new(self, raw)
    }

    /// Asks the engine's parser what `sql` is, without running it.
    pub(super) fn classify(&self, sql: &str) -> Analysis {
        let mut raw = RawAnalysis { struct_size: size_of::<RawAnalysis>() as u32, ..RawAnalysis::default() };
        // SAFETY: the text outlives the call; the struct is ours and says its own size; no target database is given.
        let state = unsafe {
            (self.chdb.f.chdb_classify_query_n)(self.raw, sql.as_ptr().cast(), sql.len(), ptr::null(), 0, &mut raw)
        };
        let class = match (state, raw.query_class) {
            (0, 0) => StatementClass::ReadOnly,
            (0, 1 | 2) => StatementClass::Writes,
            (0, 3) => StatementClass::Control,
            _ => StatementClass::Unknown,
        };
        Analysis { statements: raw.statement_count, class }
    }

    /// Starts a query whose result is fetched block by block. The connection takes nothing else meanwhile.
    ///
    /// # Errors
    /// The engine's error text.
    pub(super) fn stream(&self, sql: &str, format: &str, parameters: &[Parameter]) -> Result<ResultStream<'_>, String> {
        let p = Parameters::of(parameters);
        // SAFETY: as in `query`; the engine has captured the parameters when the call returns.
        let raw = unsafe {
            (self.chdb.f.chdb_stream_query_with_params_n)(
                self.raw,
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        QueryResult::new(self, raw).map(|head| ResultStream { head, finished: false })
    }

    /// Starts an insert: `sql` without FORMAT and without data. The bytes go through [`InsertStream::append`].
    ///
    /// # Errors
    /// The engine's error text.
    pub(super) fn insert(&self, sql: &str, format: &str, parameters: &[Parameter]) -> Result<InsertStream<'_>, String> {
        let p = Parameters::of(parameters);
        // SAFETY: as in `query`; the returned handle is never null and is destroyed by `InsertStream`.
        let raw = unsafe {
            (self.chdb.f.chdb_stream_insert_with_params_n)(
                self.raw,
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        if raw.is_null() {
            return Err("Code: 1002. DB::Exception: the engine opened no insert stream. (UNKNOWN_EXCEPTION)".into());
        }
        let stream = InsertStream { connection: self, raw };
        match stream.error() {
            Some(text) => Err(text),
            None => Ok(stream),
        }
    }
}

/// A result held by the engine; freed when dropped.
pub(super) struct QueryResult<'c> {
    connection: &'c Connection,
    raw: Raw,
}

impl Drop for QueryResult<'_> {
    fn drop(&mut self) {
        // SAFETY: the result came from the engine, is not null and is freed exactly once.
        unsafe { (self.connection.chdb.f.chdb_destroy_query_result)(self.raw) };
    }
}

/// What a statement read and wrote.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Rows read from tables.
    pub(super) read_rows: u64,
    /// Bytes read from tables.
    pub(super) read_bytes: u64,
    /// Rows written, those of dependent views included.
    pub(super) written_rows: u64,
    /// Bytes written.
    pub(super) written_bytes: u64,
    /// Rows of the result.
    pub(super) result_rows: u64,
}

impl<'c> QueryResult<'c> {
    fn new(connection: &'c Connection, raw: Raw) -> Result<Self, String> {
        if raw.is_null() {
            return Err("Code: 1002. DB::Exception: the engine returned no result. (UNKNOWN_EXCEPTION)".into());
        }
        let result = Self { connection, raw };
        // SAFETY: `raw` is a live result; the text, when there is one, is NUL-terminated and lives as long as it.
        let error = unsafe { text((connection.chdb.f.chdb_result_error)(raw)) };
        match error {
            Some(text) => Err(text),
            None => Ok(result),
        }
    }

    /// The formatted result.
    pub(super) fn bytes(&self) -> &[u8] {
        let f = &self.connection.chdb.f;
        // SAFETY: `raw` is a live result.
        let (start, length) = unsafe { ((f.chdb_result_buffer)(self.raw), (f.chdb_result_length)(self.raw)) };
        if start.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the engine keeps `length` readable bytes at `start` until the result is freed, which needs `self`.
        unsafe { std::slice::from_raw_parts(start.cast(), length) }
    }

    /// What the statement read and wrote.
    pub(super) fn progress(&self) -> Progress {
        let (f, raw) = (&self.connection.chdb.f, self.raw);
        // SAFETY: `raw` is a live result; these functions only read numbers from it.
        unsafe {
            Progress {
                read_rows: (f.chdb_result_storage_rows_read)(raw),
                read_bytes: (f.chdb_result_storage_bytes_read)(raw),
                written_rows: (f.chdb_result_rows_written)(raw),
                written_bytes: (f.chdb_result_bytes_written)(raw),
                result_rows: (f.chdb_result_rows_read)(raw),
            }
        }
    }
}

/// A running query; dropping it before its end cancels it.
pub(super) struct ResultStream<'c> {
    head: QueryResult<'c>,
    finished: bool,
}

impl Drop for ResultStream<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let connection = self.head.connection;
            // SAFETY: both handles are live; cancelling leaves freeing the head to its own drop.
            unsafe { (connection.chdb.f.chdb_stream_cancel_query)(connection.raw, self.head.raw) };
        }
    }
}

impl<'c> ResultStream<'c> {
    /// The next block, formatted on its own; `None` at the end.
    ///
    /// # Errors
    /// The engine's error text; the stream is over then.
    pub(super) fn next(&mut self) -> Result<Option<QueryResult<'c>>, String> {
        if self.finished {
            return Ok(None);
        }
        let connection = self.head.connection;
        // SAFETY: both handles are live and this connection is used by this thread alone.
        let raw = unsafe { (connection.chdb.f.chdb_stream_fetch_result)(connection.raw, self.head.raw) };
        let block = QueryResult::new(connection, raw).inspect_err(|_| self.finished = true)?;
        if block.bytes().is_empty() && block.progress().result_rows == 0 {
            self.finished = true;
            return Ok(None);
        }
        Ok(Some(block))
    }
}

/// An open insert; dropping it without [`InsertStream::finish`] cancels it.
pub(super) struct InsertStream<'c> {
    connection: &'c Connection,
    raw: Raw,
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is live and destroyed exactly once; the engine cancels an unfinished insert first.
        unsafe { (self.connection.chdb.f.chdb_destroy_insert_stream)(self.raw) };
    }
}

impl<'c> InsertStream<'c> {
    /// Hands over data in the format of the insert, any bytes, cut anywhere. Blocks while the engine is behind.
    ///
    /// # Errors
    /// The engine's error text.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), String> {
        // SAFETY: `data` is readable for its length and the engine copies it before returning.
        let state = unsafe { (self.connection.chdb.f.chdb_stream_append)(self.raw, data.as_ptr().cast(), data.len()) };
        match state {
            0 => Ok(()),
            _ => Err(self.error().unwrap_or_else(|| {
                "Code: 1002. DB::Exception: the insert ended before its data did. (UNKNOWN_EXCEPTION)".into()
            })),
        }
    }

    /// Ends the data and commits.
    ///
    /// # Errors
    /// The engine's error text; nothing of the last block is stored then.
    pub(super) fn finish(self) -> Result<Progress, String> {
        // SAFETY: the handle is live; `done` leaves destroying it to our drop.
        let raw = unsafe { (self.connection.chdb.f.chdb_stream_done)(self.raw) };
        QueryResult::new(self.connection, raw).map(|result| result.progress())
    }

    fn error(&self) -> Option<String> {
        // SAFETY: the handle is live and the text, when there is one, lives as long as it.
        unsafe { text((self.connection.chdb.f.chdb_stream_insert_error)(self.raw)) }
    }
}

/// # Safety
/// `pointer` is null or points at a NUL-terminated string that lives through the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    let text = unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

//! The clients people use: the Rust crate, curl, clickhouse-connect.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tickwire::storage::store::{READER, WRITER};

use crate::harness::Store;

#[derive(Row, Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Tick {
    seq: u64,
    symbol: String,
    note: Option<String>,
}

fn ticks(range: std::ops::Range<u64>) -> Vec<Tick> {
    range.map(|seq| Tick { seq, symbol: "EURUSD".into(), note: (seq % 3 == 0).then(|| "a\nb\0c".into()) }).collect()
}

const TABLE: &str = "CREATE TABLE ticks (seq UInt64, symbol LowCardinality(String), note Nullable(String))
    ENGINE = MergeTree ORDER BY seq SETTINGS non_replicated_deduplication_window = 1000";

async fn insert(client: &clickhouse::Client, rows: &[Tick]) {
    let mut insert = client.insert::<Tick>("ticks").await.unwrap();
    for row in rows {
        insert.write(row).await.unwrap();
    }
    insert.end().await.unwrap();
}

#[tokio::test]
async fn the_rust_crate_with_its_validation_and_compression() {
    let store = Store::start();
    let client = store.client();
    client.query(TABLE).execute().await.unwrap();
    // Sequences whose bytes are line feeds: an insert that is cut at 0x0A would lose them.
    let rows = [ticks(0..20_000), ticks(0x0a0a_0a0a..0x0a0a_0a0a + 300)].concat();
    insert(&client, &rows).await;
    let back = client.query("SELECT ?fields FROM ticks ORDER BY seq").fetch_all::<Tick>().await.unwrap();
    assert_eq!(back, rows);
    let plain = client.clone().with_compression(clickhouse::Compression::None).with_validation(false);
    insert(&plain, &ticks(30_000..30_010)).await;
    let bound = plain
        .query("SELECT count() FROM ticks WHERE seq >= {from:UInt64} AND symbol = {symbol:String}")
        .param("from", 30_000)
        .param("symbol", "EURUSD")
        .fetch_one::<u64>()
        .await
        .unwrap();
    assert_eq!(bound, 310);
    let error = client.query("SELECT nothing FROM ticks").fetch_all::<u64>().await.unwrap_err().to_string();
    assert!(error.contains("Code: 47"), "{error}");
}

#[tokio::test]
async fn one_token_is_stored_once() {
    let store = Store::start();
    let client = store.client();
    client.query(TABLE).execute().await.unwrap();
    let tokened = |token: &str| {
        client.clone().with_setting("async_insert", "0").with_setting("insert_deduplication_token", token)
    };
    for _ in 0..2 {
        insert(&tokened("7:0-99"), &ticks(0..100)).await;
    }
    insert(&tokened("7:100-199"), &ticks(0..100)).await;
    let count = client.query("SELECT count() FROM ticks").fetch_one::<u64>().await.unwrap();
    assert_eq!(count, 200);
}

#[test]
fn curl_inserts_and_selects_in_every_way() {
    let store = Store::start();
    store.write("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a");
    let insert = |target: &str, body: &[u8]| {
        store.curl(WRITER, &format!("?database=md{target}"), Some(body), &[]).ok();
    };
    insert("", b"INSERT INTO t VALUES (1, 'x'), (2, 'new\nline')");
    insert("", b"INSERT INTO t (a, s) FORMAT CSV\n3,\"c\"\n4,d\n");
    insert("&query=INSERT+INTO+t+FORMAT+JSONEachRow", b"{\"a\":5,\"s\":\"j\"}\n{\"a\":6,\"s\":\"k\"}");
    insert("&query=INSERT+INTO+t+FORMAT+RowBinary", b"\x0a\x00\x00\x00\x03\x0a\x0a\x0a");
    insert("&query=INSERT+INTO+t+VALUES", b"(11, 'v')");
    insert("", b"INSERT INTO t SELECT 12, 'from a select'");
    insert("", b"INSERT INTO t -- a comment\nFORMAT CSV\n13,x\n");
    let select = |target: &str, body: &str| store.curl(WRITER, target, Some(body.as_bytes()), &[]).ok();
    assert_eq!(select("?database=md", "SELECT count(), sum(a) FROM t"), "10\t67\n");
    assert_eq!(select("?database=md", "SELECT s FROM t WHERE a = 10 FORMAT CSV"), "\"\n\n\n\"\n");
    assert_eq!(select("?default_format=JSONEachRow", "SELECT 1 AS x, 'é' AS y"), "{\"x\":1,\"y\":\"é\"}\n");
    assert_eq!(select("?query=SELECT", "2 FORMAT TSV"), "2\n");
    let native = store.curl(WRITER, "?database=md", Some(b"SELECT * FROM t FORMAT Native"), &[]);
    insert("&query=INSERT+INTO+t+FORMAT+Native", &native.body);
    assert_eq!(select("?database=md", "SELECT count() FROM t"), "20\n");
    let json = store.curl(WRITER, "?database=md", Some(b"SELECT a FROM t WHERE a = 1 FORMAT JSON"), &[]);
    assert!(json.head.contains("application/json") && json.text().contains("\"rows\": 2"), "{json:?}");
    let form = store.curl(WRITER, "?query=SELECT+%7Ba%3AUInt8%7D%2B1", None, &["-F", "param_a=41"]);
    assert_eq!(form.ok(), "42\n");
    assert_eq!(store.curl(WRITER, "?query=SELECT+1", None, &[]).ok(), "1\n");
    assert_eq!(store.curl(WRITER, "?query=DROP+TABLE+md.t", None, &[]).code(), Some(164), "GET changes nothing");
    assert_eq!(store.curl(WRITER, "ping", None, &[]).ok(), "Ok.\n");
}

#[test]
fn bodies_may_be_compressed_both_ways() {
    let store = Store::start();
    store.write("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let framed = store.curl(WRITER, "?compress=1", Some(b"SELECT number FROM numbers(100000) FORMAT RowBinary"), &[]);
    assert!(framed.body.len() > 16 && framed.body[16] == 0x82, "an LZ4 frame of ClickHouse");
    let insert = "?database=md&decompress=1&query=INSERT+INTO+t+FORMAT+RowBinary";
    store.curl(WRITER, insert, Some(&framed.body), &[]).ok();
    let mut torn = framed.body.clone();
    torn[40] ^= 1;
    let refused = store.curl(WRITER, insert, Some(&torn), &[]);
    assert_eq!((refused.status, refused.code()), (400, Some(271)), "{}", refused.text());
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut encoder, b"INSERT INTO t FORMAT CSV\n100000\n").unwrap();
    let packed = encoder.finish().unwrap();
    store.curl(WRITER, "?database=md", Some(&packed), &["-H", "Content-Encoding: lz4"]).ok();
    assert_eq!(store.write("SELECT count(), max(a) FROM t"), "100001\t100000\n");
}

#[test]
fn large_results_are_streamed_whole() {
    let store = Store::start();
    let sql = b"SELECT number, toString(number) FROM numbers(1000000) FORMAT RowBinaryWithNamesAndTypes";
    let all = store.curl(READER, "", Some(sql), &[]);
    assert_eq!(all.status, 200, "{}", all.text());
    let header = b"\x02\x06number\x10toString(number)\x06UInt64\x06String".len();
    let rows: usize = (0..1_000_000u32).map(|n| 8 + 1 + n.to_string().len()).sum();
    assert_eq!(all.body.len(), header + rows, "{}", all.head);
    let empty = store.curl(READER, "", Some(b"SELECT 1 AS a WHERE 0 FORMAT RowBinaryWithNamesAndTypes"), &[]);
    assert_eq!(empty.body, b"\x01\x01a\x05UInt8");
    let tsv = store.curl(READER, "", Some(b"SELECT number FROM numbers(3000000)"), &[]);
    assert_eq!(tsv.text().lines().count(), 3_000_000);
    assert!(store.curl(READER, "", Some(b"SELECT number FROM numbers(100000000) FORMAT JSON"), &[]).code().is_some());
}

#[test]
fn errors_carry_clickhouse_codes() {
    let store = Store::start();
    let code = |target: &str, sql: &str| {
        let answer = store.curl(WRITER, target, Some(sql.as_bytes()), &[]);
        (answer.status, answer.code())
    };
    assert_eq!(code("", "SELECT * FROM md.nothing"), (404, Some(60)));
    assert_eq!(code("", "SELEKT 1"), (400, Some(62)));
    assert_eq!(code("", "SELECT 1; SELECT 2"), (400, Some(62)));
    assert_eq!(code("?no_such_setting=1", "SELECT 1"), (400, Some(115)));
    assert_eq!(code("?database=nothing", "SELECT 1"), (404, Some(81)));
    assert_eq!(code("", ""), (400, Some(62)));
    assert_eq!(code("?user=tickwire&password=wrong", "SELECT 1").0, 200, "the header counts before the URL");
    let nobody = store.curl(WRITER, "", Some(b"SELECT 1"), &["-H", "X-ClickHouse-User: nobody"]);
    assert_eq!((nobody.status, nobody.code()), (403, Some(516)));
    let wrong = store.curl(WRITER, "", Some(b"SELECT 1"), &["-u", "reader:wrong"]);
    assert_eq!(wrong.code(), Some(516));
    assert!(code("", "SELECT groupArray(number) FROM numbers(1000000000)").1 == Some(241), "memory is bounded");
    assert_eq!(store.write("SELECT 1"), "1\n", "and the engine goes on");
}

#[test]
fn settings_end_with_their_request() {
    let store = Store::start();
    let ask = "SELECT getSetting('max_block_size')";
    let usual = store.write(ask);
    assert_eq!(store.curl(WRITER, "?max_block_size=77", Some(ask.as_bytes()), &[]).ok(), "77\n");
    store.write("SET max_block_size = 78");
    assert_eq!(store.write(ask), usual);
}

/// clickhouse-connect from `.cache/venv`, as a quant would use it.
#[test]
fn clickhouse_connect() {
    let store = Store::start();
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let out = std::process::Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/store_client.py"))
        .arg(store.handle.access().address().port().to_string())
        .env("WRITER_PASSWORD", store.handle.writer_password())
        .env("READER_PASSWORD", store.handle.reader_password())
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
}

//! What the read-only user sees, and what it is kept from. Each attack here is one somebody would try.

use tickwire::storage::store::READER;

use crate::harness::Store;

/// A value that stands only in a private table.
const MARK: &str = "7734001";

fn store() -> Store {
    let store = Store::start();
    for sql in [
        "CREATE TABLE md.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE md_private.hidden (a UInt64, s String) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE md_private.j (a UInt64, s UInt64) ENGINE = Join(ANY, LEFT, a)",
        "CREATE DICTIONARY md_private.d (a UInt64, s UInt64) PRIMARY KEY a \
         SOURCE(CLICKHOUSE(DB 'md_private' TABLE 'j')) LAYOUT(FLAT()) LIFETIME(0)",
        "INSERT INTO md.t VALUES (1, 'x'), (2, 'y')",
        "CREATE VIEW md.ohlc AS SELECT a FROM md.t WHERE s = {symbol:String}",
        "CREATE VIEW md_private.ohlc AS SELECT a FROM md_private.hidden WHERE s = {symbol:String}",
    ] {
        store.write(sql);
    }
    store.write(&format!("INSERT INTO md_private.hidden VALUES ({MARK}, 'secret')"));
    store.write(&format!("INSERT INTO md_private.j VALUES (1, {MARK})"));
    store
}

#[test]
fn it_reads_what_is_for_everybody() {
    let store = store();
    for (sql, expected) in [
        ("SELECT count(), sum(a) FROM t", "2\t3\n"),
        ("SELECT a FROM md.t WHERE a IN (SELECT max(a) FROM md.t)", "2\n"),
        (
            "WITH x AS (SELECT a FROM t) SELECT x.a, n.number FROM x JOIN numbers(3) AS n ON n.number = x.a",
            "1\t1\n2\t2\n",
        ),
        ("SHOW TABLES", "ohlc\nt\n"),
        ("SHOW TABLES FROM md LIKE 't'", "t\n"),
        ("SELECT sum(a) OVER (ORDER BY a) FROM t LEFT ARRAY JOIN [1] AS x", "1\n3\n"),
        ("SELECT * EXCEPT (s) FROM t AS x ASOF LEFT JOIN t AS y ON x.s = y.s AND x.a >= y.a", "1\t1\n2\t2\n"),
        ("EXISTS TABLE md.t", "1\n"),
        ("SELECT name FROM system.tables WHERE database LIKE 'md%' ORDER BY name", "ohlc\nt\n"),
        ("SELECT name FROM system.databases WHERE name LIKE 'md%'", "md\n"),
        ("SELECT * FROM view(SELECT a FROM md.t) ORDER BY a FORMAT CSV", "1\n2\n"),
        ("SELECT 1 INTERSECT SELECT 1", "1\n"),
        ("SELECT a FROM ohlc(symbol = 'y')", "2\n"),
        ("SELECT a FROM md.ohlc(symbol = 'x')", "1\n"),
    ] {
        assert_eq!(store.read(sql).ok(), expected, "{sql}");
    }
    for sql in ["DESCRIBE md.t", "SHOW CREATE TABLE md.t", "EXPLAIN SELECT * FROM t", "SELECT version(), timezone()"] {
        assert!(!store.read(sql).ok().is_empty(), "{sql}");
    }
    let set = store.curl(READER, "?max_threads=1&database=md&readonly=1", Some(b"SELECT a FROM t LIMIT 1"), &[]);
    assert_eq!(set.ok(), "1\n");
    let bound = store.curl(READER, "?param_t=t", Some(b"SELECT count() FROM md.{t:Identifier}"), &[]);
    assert_eq!(bound.ok(), "2\n");
}

#[test]
fn it_is_kept_from_private_rows() {
    let store = store();
    let attacks = [
        "SELECT * FROM md_private.hidden",
        "SELECT * FROM `md_private`.`hidden`",
        "SELECT * FROM \"md_private\" . \"hidden\"",
        "SELECT * FROM /* md.t */ md_private.hidden",
        "SELECT * FROM `md_private.hidden`",
        "SELECT * FROM `md_priv\\x61te`.hidden",
        "WITH x AS (SELECT * FROM md_private.hidden) SELECT * FROM x",
        "SELECT (SELECT max(a) FROM md_private.hidden)",
        "SELECT 1 LIMIT (SELECT max(a) FROM md_private.hidden)",
        "SELECT 1 UNION ALL SELECT a FROM md_private.hidden",
        "SELECT 1 FROM md.t AS t JOIN md_private.hidden AS h ON 1",
        "SELECT a IN md_private.hidden FROM md.t",
        "SELECT 1 IN (md_private.j)",
        "SELECT * FROM merge('md_private', '.*')",
        "SELECT * FROM merge(REGEXP('md_.*'), '.*')",
        "SELECT * FROM merge('md_' || 'private', '.*')",
        "SELECT 1 IN merge('md_' || 'private', '.*')",
        "SELECT merge('md_' || 'private', '.*')",
        "SELECT * FROM system.columns WHERE table IN (SELECT s FROM merge('md_' || 'private', 'hidden'))",
        "SELECT * FROM {d:Identifier}.hidden",
        "SELECT * FROM view(SELECT * FROM md_private.hidden)",
        "SELECT * FROM viewIfPermitted(SELECT * FROM md_private.hidden ELSE null('a int'))",
        "SELECT * FROM md_private.ohlc(symbol = 'secret')",
        "SELECT * FROM `md_private`.ohlc(symbol = 'secret')",
        "SELECT * FROM `md_private.ohlc`(symbol = 'secret')",
        "SELECT * FROM md.ohlc(symbol = (SELECT toString(max(a)) FROM md_private.hidden))",
        "SELECT * FROM other(symbol = 'x')",
        "SELECT * FROM loop(md_private, hidden) LIMIT 1",
        "SELECT * FROM loop(md_private.hidden) LIMIT 1",
        "SELECT * FROM remote('127.0.0.1', md_private.hidden)",
        "SELECT * FROM remote('127.0.0.1', 'md_' || 'private', 'hidden')",
        "SELECT * FROM cluster('default', md_private.hidden)",
        "SELECT * FROM clusterAllReplicas('default', md_private.hidden)",
        "SELECT * FROM mergeTreeIndex('md_' || 'private', 'hidden')",
        "SELECT * FROM mergeTreeProjection('md_' || 'private', 'hidden', 'x')",
        "SELECT * FROM dictionary('md_' || 'private.d')",
        "SELECT * FROM eval('SELECT * FROM md_' || 'private.hidden')",
        "SELECT joinGet('md_private.j', 's', toUInt64(1))",
        "SELECT joinGet('md_' || 'private.j', 's', toUInt64(1))",
        "SELECT joinGetOrNull('md_' || 'private.j', 's', toUInt64(1))",
        "SELECT dictGet('md_' || 'private.d', 's', toUInt64(1))",
        "SELECT DICTGETUInt64('md_' || 'private.d', 's', toUInt64(1))",
        "SELECT dictHas('md_' || 'private.d', toUInt64(1))",
        "SELECT arrayMap(x -> dictGet('md_' || 'private.d', 's', x), [toUInt64(1)])",
        "SELECT hasColumnInTable('md_' || 'private', 'hidden', 'a')",
        "SELECT COLUMNS('number') APPLY(x -> x + (SELECT max(a) FROM md_private.hidden)) FROM numbers(1)",
        "SELECT COLUMNS('number') APPLY(x -> joinGet('md_' || 'private.j', 's', x + 1)) FROM numbers(1)",
        "SELECT * APPLY(toString) FROM md.t",
        "SELECT * REPLACE((SELECT max(a) FROM md_private.hidden) AS a) FROM md.t",
        "SHOW TABLES WHERE (SELECT max(a) FROM md_private.hidden) > 0",
        "SHOW TABLES WHERE 1 IN md_private.j",
        "SHOW TABLES LIMIT (SELECT max(a) FROM md_private.hidden)",
        "SHOW COLUMNS FROM t WHERE (SELECT throwIf(max(a) > 0) FROM md_private.hidden)",
        "SHOW SETTINGS WHERE (SELECT throwIf(max(a) > 0) FROM md_private.hidden)",
        "SELECT sum(a) OVER (PARTITION BY (SELECT max(a) FROM md_private.hidden)) FROM md.t",
        "SELECT a FROM md.t ORDER BY a WITH FILL FROM (SELECT max(a) FROM md_private.hidden)",
        "SELECT a FROM md.t ORDER BY a WITH FILL INTERPOLATE (s AS (SELECT s FROM md_private.hidden))",
        "SELECT a FROM md.t LIMIT (SELECT max(a) FROM md_private.hidden) BY a",
        "SELECT DISTINCT ON ((SELECT max(a) FROM md_private.hidden)) a FROM md.t",
        "SELECT a FROM md.t ARRAY JOIN [(SELECT max(a) FROM md_private.hidden)] AS x",
        "SELECT quantile((SELECT max(a) FROM md_private.hidden))(a) FROM md.t",
        "DESCRIBE md_private.hidden",
        "DESCRIBE (SELECT * FROM md_private.hidden)",
        "SHOW CREATE TABLE md_private.hidden",
        "SHOW CREATE DATABASE md_private",
        "EXISTS md_private.hidden",
        "EXISTS DATABASE md_private",
        "CHECK TABLE md_private.hidden",
        "EXPLAIN SELECT * FROM md_private.hidden",
        "EXPLAIN ESTIMATE SELECT * FROM md_private.hidden",
        "EXPLAIN PLAN SELECT (SELECT max(a) FROM md_private.hidden)",
        "EXPLAIN QUERY TREE SELECT (SELECT max(a) FROM md_private.hidden)",
        "USE md_private",
        "SHOW TABLES FROM md_private FORMAT Null",
        "SELECT * FROM system.processes",
        "SELECT 1 IN system.processes",
        "SELECT * FROM `system`.`query_log`",
        "SELECT * FROM system.errors",
        "SELECT * FROM system.dictionaries",
        "SELECT * FROM SYSTEM.processes",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM INFORMATION_SCHEMA.COLUMNS",
        "SHOW PROCESSLIST",
        "SELECT 1; SELECT * FROM md_private.hidden",
        "SELECT 1 PARALLEL WITH SELECT * FROM md_private.hidden",
        "SELECT * FROM md.t SETTINGS additional_table_filters = {}",
        "SELECT * FROM md.t SETTINGS readonly = 0",
        "SET additional_table_filters = {}",
        "SHOW COLUMNS FROM hidden FROM md_private",
        "SHOW INDEX FROM hidden FROM md_private",
    ];
    for attack in attacks {
        let answer = store.read(attack);
        let text = answer.text();
        assert!(!text.contains(MARK), "{attack}\n{text}");
        let quiet = attack.ends_with("FROM hidden FROM md_private");
        assert!(if quiet { text.is_empty() } else { answer.code().is_some() }, "{attack}\n{text}");
    }
    for target in [
        "?database=md_private",
        "?database=system",
        "?additional_table_filters=%7B%7D",
        "?readonly=0",
        "?allow_ddl=1",
        "?format_schema=/etc/passwd",
        "?output_format_schema=x",
        "?max_execution_time=0",
        "?max_threads=100000",
        "?default_format=CSV+INTO+OUTFILE",
    ] {
        assert!(store.curl(READER, target, Some(b"SELECT 1"), &[]).code().is_some(), "{target}");
    }
    let header = store.curl(READER, "", Some(b"SELECT * FROM hidden"), &["-H", "X-ClickHouse-Database: md_private"]);
    assert_eq!(header.code(), Some(497));
    for (sql, value) in [
        ("SELECT * FROM {p:Identifier}.hidden", "md_private"),
        ("SELECT * FROM {p:Identifier}", "md_private.hidden"),
        ("SELECT * FROM {p:Identifier}.processes", "system"),
        ("SELECT * FROM {p:Identifier}", "md_priv\\x61te.hidden"),
        ("SELECT joinGet({p:String}, 's', toUInt64(1))", "md_private.j"),
    ] {
        let target = format!("?param_p={}", value.replace('\\', "%5C"));
        let answer = store.curl(READER, &target, Some(sql.as_bytes()), &[]);
        let form = store.curl(READER, "", None, &["-F", &format!("query={sql}"), "-F", &format!("param_p={value}")]);
        for answer in [answer, form] {
            assert!(answer.code().is_some() && !answer.text().contains(MARK), "{sql} {value}: {}", answer.text());
        }
    }
}

#[test]
fn it_changes_nothing_and_reaches_nothing_else() {
    let store = store();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("out.csv");
    let inside = store.state.path().join("store/out.csv");
    for attack in [
        "INSERT INTO md.t VALUES (3, 'z')".to_owned(),
        "INSERT INTO md.t FORMAT CSV\n3,z".into(),
        "INSERT INTO md.t SELECT 3, 'z'".into(),
        "EXPLAIN INSERT INTO md.t SELECT 3, 'z'".into(),
        "INSERT INTO FUNCTION file('x.csv') SELECT 1".into(),
        "CREATE TABLE md.u (a UInt8) ENGINE = Memory".into(),
        "CREATE TEMPORARY TABLE u (a UInt8)".into(),
        "CREATE FUNCTION f AS x -> x".into(),
        "ALTER TABLE md.t DELETE WHERE 1".into(),
        "DELETE FROM md.t WHERE 1".into(),
        "TRUNCATE TABLE md.t".into(),
        "DROP TABLE md.t".into(),
        "RENAME TABLE md.t TO md.u".into(),
        "OPTIMIZE TABLE md.t FINAL".into(),
        "DETACH TABLE md.t".into(),
        "SYSTEM STOP MERGES".into(),
        "SYSTEM SHUTDOWN".into(),
        "KILL QUERY WHERE 1".into(),
        "BACKUP DATABASE md_private TO File('x')".into(),
        "SET max_threads = 1".into(),
        "SET readonly = 0".into(),
        "EXECUTE AS default SELECT 1".into(),
        format!("SELECT 1 INTO OUTFILE '{}'", file.display()),
        format!("SELECT 1 INTO OUTFILE '{}'", inside.display()),
        format!("SELECT 1 /* */ into\noutfile '{}' TRUNCATE FORMAT CSV", inside.display()),
        format!("EXPLAIN AST SELECT 1 INTO OUTFILE '{}'", inside.display()),
        format!("(SELECT 1) INTO OUTFILE '{}'", inside.display()),
        "SELECT * FROM file('/etc/passwd', 'LineAsString')".into(),
        "DESCRIBE file('/etc/passwd', 'LineAsString')".into(),
        "DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')".into(),
        "SELECT file('/etc/passwd')".into(),
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')".into(),
        "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV', 'a String')".into(),
        "SELECT * FROM executable('id', 'CSV', 'a String')".into(),
        "SELECT * FROM sqlite('x', 'y')".into(),
        "SELECT * FROM input('a int')".into(),
        "SELECT * FROM fuzzJSON('x')".into(),
        "SELECT * FROM filesystem('/')".into(),
        "SELECT getClientHTTPHeader('Authorization')".into(),
        "SELECT sleep(3)".into(),
        "SELECT catboostEvaluate('/etc/passwd', 1)".into(),
        "SELECT * FROM system.users".into(),
        "SELECT * FROM system.named_collections".into(),
        "SELECT * FROM system.server_settings".into(),
        "SHOW GRANTS".into(),
        "SHOW ACCESS".into(),
        "".into(),
        "EXPLAIN AST".into(),
        ") SELECT 1".into(),
    ] {
        let answer = store.read(&attack);
        assert!(answer.code().is_some(), "{attack}\n{}", answer.text());
        assert!(!answer.text().contains("root:"), "{attack}");
    }
    assert!(!file.exists() && !inside.exists());
    assert_eq!(store.read("SELECT count(), sum(a) FROM md.t").ok(), "2\t3\n");
    assert_eq!(store.read("SELECT name FROM system.tables WHERE database = 'md' AND name != 'ohlc'").ok(), "t\n");
}

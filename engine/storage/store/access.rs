//! What the read-only user may ask, judged on the syntax tree that the engine's own parser prints (`EXPLAIN AST`).
//!
//! Four walls, each enough for most attacks: the statement's class by the engine's parser (no writes, no session
//! control, no `INTO OUTFILE`, one statement), the names and functions in its tree (this module), a connection that
//! was made `readonly` with filters on the system tables, and the sandbox of the process. Everything unknown is
//! refused: a tree that does not look like a tree, a kind of statement or of node, a table function or a system table
//! that is not on a list.

use super::chdb::{Connection, Parameter, StatementClass};
use super::reply::{Code, Failure};

/// The database of private sources, which the read-only user never sees.
const PRIVATE: &str = "md_private";

/// Databases whose tables the read-only user may name; also the ones it may make its current database.
const DATABASES: [&str; 2] = ["md", "default"];

/// Tables of `system` that say nothing about data, other users' queries or the machine. Those with one line per
/// table or part are filtered by [`CONNECTION_FILTERS`].
const SYSTEM_TABLES: [&str; 20] = [
    "aggregate_function_combinators",
    "build_options",
    "collations",
    "columns",
    "contributors",
    "data_type_families",
    "databases",
    "formats",
    "functions",
    "keywords",
    "licenses",
    "numbers",
    "numbers_mt",
    "one",
    "parts",
    "settings",
    "table_engines",
    "table_functions",
    "tables",
    "time_zones",
];

/// Table functions that compute from their arguments alone.
const TABLE_FUNCTIONS: [&str; 11] = [
    "generaterandom",
    "generateseries",
    "generate_series",
    "null",
    "numbers",
    "numbers_mt",
    "primes",
    "values",
    "view",
    "zeros",
    "zeros_mt",
];

/// Our views with parameters, which a query calls like table functions. They read tables of their own database, `md`.
const PARAMETER_VIEWS: [&str; 2] = ["ohlc", "md.ohlc"];

/// Functions that reach a table, a file, a model, a header, a server or a clock by a string argument, by prefix.
const FUNCTIONS_REFUSED: [&str; 30] = [
    "addresstoline",
    "addresstosymbol",
    "ai",
    "catboost",
    "dict",
    "evalmlmethod",
    "executable",
    "file",
    "fuzzquery",
    "getclienthttpheader",
    "getmacro",
    "getmergetreesetting",
    "getserver",
    "getsetting",
    "hascolumnintable",
    "joinget",
    "logtrace",
    "mergetreepartinfo",
    "naivebayes",
    "nested_table",
    "remote",
    "serveruuid",
    "showcertificate",
    "sleep",
    "structureto",
    "tcpport",
    "transaction",
    "wasm",
    "zookeeper",
    "__",
];

/// Statements the read-only user may make, as named in the tree.
const STATEMENTS: [&str; 13] = [
    "DescribeQuery",
    "ExistsDatabaseQuery",
    "ExistsTableQuery",
    "ExistsViewQuery",
    "Explain",
    "SelectIntersectExceptQuery",
    "SelectQuery",
    "SelectWithUnionQuery",
    "ShowColumns",
    "ShowCreateTableQuery",
    "ShowCreateViewQuery",
    "ShowFunctions",
    "ShowTables",
];

/// Statements whose tree leaves out their WHERE and LIMIT, where a subquery could hide.
const HALF_SHOWN: [&str; 3] = ["ShowColumns", "ShowFunctions", "ShowTables"];

/// Further nodes that a statement may have. All of them print what is below them; `ColumnsApplyTransformer` is one that
/// does not (a function or a lambda hides in it), so nodes that nobody looked at are refused.
const NODES: [&str; 28] = [
    "ArrayJoin",
    "Asterisk",
    "ColumnsExceptTransformer",
    "ColumnsListMatcher",
    "ColumnsRegexpMatcher",
    "ColumnsReplaceTransformer",
    "ColumnsReplaceTransformer::Replacement",
    "ColumnsTransformerList",
    "ExpressionList",
    "Function",
    "Identifier",
    "InterpolateElement",
    "Literal",
    "OrderByElement",
    "QualifiedAsterisk",
    "QualifiedColumnsListMatcher",
    "QualifiedColumnsRegexpMatcher",
    "SampleRatio",
    "Set",
    "Subquery",
    "TableExpression",
    "TableIdentifier",
    "TableJoin",
    "TablesInSelectQuery",
    "TablesInSelectQueryElement",
    "WindowDefinition",
    "WindowListElement",
    "WithElement",
];

/// Settings the read-only user may give, beside those of [`SETTING_PREFIXES`].
const SETTINGS: [&str; 15] = [
    "date_time_output_format",
    "extremes",
    "final",
    "limit",
    "log_comment",
    "max_block_size",
    "max_result_rows",
    "max_rows_to_read",
    "offset",
    "prefer_column_name_to_alias",
    "result_overflow_mode",
    "session_timezone",
    "timeout_overflow_mode",
    "use_uncompressed_cache",
    "join_use_nulls",
];

/// Longest time a query of the read-only user may run, in seconds; it may ask for less.
pub(super) const SECONDS_MAX: u64 = 300;

/// Families of settings that only shape the output. `output_format_schema` writes a file and is in none of them.
const SETTING_PREFIXES: [&str; 9] = [
    "output_format_arrow_",
    "output_format_binary_",
    "output_format_csv_",
    "output_format_decimal_",
    "output_format_json_",
    "output_format_native_",
    "output_format_parquet_",
    "output_format_pretty_",
    "output_format_tsv_",
];

/// Made on each connection of the read-only user before it becomes `readonly`: lists of tables without private ones.
pub(super) const CONNECTION_FILTERS: &str = r"SET additional_table_filters = {
    'system.tables': 'database != \'md_private\'',
    'system.columns': 'database != \'md_private\'',
    'system.parts': 'database != \'md_private\'',
    'system.databases': 'name != \'md_private\''}";

fn denied(what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::AccessDenied, format!("the read-only user may not {what}"))
}

/// May this be the read-only user's current database?
///
/// # Errors
/// The refusal for the client.
pub(super) fn check_database(name: &str) -> Result<(), Failure> {
    if DATABASES.contains(&name) { Ok(()) } else { Err(denied(format_args!("use database {name}"))) }
}

/// May the read-only user give this setting, on a machine where queries have `threads`? `Ok(false)`: it is accepted and
/// means nothing here.
///
/// # Errors
/// The refusal for the client.
pub(super) fn check_setting(name: &str, value: &str, threads: u64) -> Result<bool, Failure> {
    if name == "readonly" && matches!(value, "1" | "2") {
        return Ok(false);
    }
    let at_most = |limit: u64| value.parse().is_ok_and(|n: u64| (1..=limit).contains(&n));
    if name == "max_execution_time" && at_most(SECONDS_MAX) || name == "max_threads" && at_most(threads) {
        return Ok(true);
    }
    if SETTINGS.contains(&name) || SETTING_PREFIXES.iter().any(|p| name.starts_with(p)) {
        return Ok(true);
    }
    let what = format!("the read-only user may not set {name} = {value}");
    Err(Failure::new(Code::ReadOnly, what))
}

/// May the read-only user run this statement? Asks the engine's parser on `connection`, which is already read-only.
///
/// # Errors
/// The refusal, or the engine's own error for a text that does not parse.
pub(super) fn check_statement(connection: &Connection, sql: &str, parameters: &[Parameter]) -> Result<(), Failure> {
    let analysis = connection.classify(sql);
    match (analysis.statements, analysis.class) {
        (1, StatementClass::ReadOnly) => {}
        (_, StatementClass::Unknown) => {
            // The engine's own words for what does not parse; what it parses after all was not classified: refused.
            connection.query(&format!("EXPLAIN AST {sql}"), "TabSeparatedRaw", parameters).map_err(Failure::engine)?;
            return Err(denied("run statements that the engine's parser does not know"));
        }
        (2.., _) => return Err(Failure::new(Code::SyntaxError, "Multi-statements are not allowed")),
        _ => return Err(Failure::new(Code::ReadOnly, "the read-only user may only read")),
    }
    let tree = connection.query(&format!("EXPLAIN AST {sql}"), "TabSeparated", parameters).map_err(Failure::engine)?;
    check_tree(&String::from_utf8_lossy(tree.bytes()), is_plain(sql))
}

/// Has the text nothing in which an expression could stand? Looks at bytes alone, so that no comment or quote misleads.
fn is_plain(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    !["(", "where", "limit"].iter().any(|word| lower.contains(word))
}

/// Judges a tree as printed: one node a line, children indented by one blank more. `plain`: see [`is_plain`].
///
/// # Errors
/// The refusal for the client.
fn check_tree(tree: &str, plain: bool) -> Result<(), Failure> {
    let nodes = || tree.lines().filter(|l| !l.trim().is_empty());
    let root = nodes().next().map(kind_of).unwrap_or_default();
    if !STATEMENTS.contains(&root) {
        return Err(denied("run this kind of statement"));
    }
    // Kinds of the nodes above the current one, by depth.
    let mut above: Vec<&str> = Vec::new();
    for line in nodes() {
        let depth = line.bytes().take_while(|b| *b == b' ').count();
        let kind = kind_of(line);
        let name = line[depth..].strip_prefix(kind).unwrap_or_default().trim_start();
        if HALF_SHOWN.contains(&kind) && !plain {
            return Err(denied("give SHOW a WHERE, a LIMIT or a parenthesis; query the table in `system` instead"));
        }
        above.truncate(depth);
        let parent = above.last().copied().unwrap_or_default();
        check_node(kind, name, parent)?;
        above.push(kind);
    }
    Ok(())
}

fn kind_of(line: &str) -> &str {
    line.split_ascii_whitespace().next().unwrap_or_default()
}

fn check_node(kind: &str, name: &str, parent: &str) -> Result<(), Failure> {
    if name.contains(PRIVATE) {
        return Err(denied(format_args!("see database {PRIVATE}")));
    }
    if !STATEMENTS.contains(&kind) && !NODES.contains(&kind) {
        return Err(denied(format_args!("use {kind}")));
    }
    match kind {
        // The right side of `IN table` is printed as a plain identifier.
        "TableIdentifier" => check_table(name, true),
        "Identifier" => check_table(name, false),
        "Function" => check_function(name, parent),
        // The file of `INTO OUTFILE`. The class of the statement says so too, but not below an EXPLAIN.
        "Literal" if STATEMENTS.contains(&parent) && parent != "SelectQuery" => Err(denied("write files")),
        _ => Ok(()),
    }
}

fn check_table(name: &str, certainly: bool) -> Result<(), Failure> {
    let name = name.split(" (").next().unwrap_or(name);
    let Some((database, table)) = name.split_once('.') else { return Ok(()) };
    if DATABASES.contains(&database) {
        return Ok(());
    }
    let lower = database.to_ascii_lowercase();
    if lower == "system" && SYSTEM_TABLES.iter().any(|t| table == *t || table.starts_with(&format!("{t}."))) {
        return Ok(());
    }
    if certainly || lower == "system" || lower == "information_schema" {
        return Err(denied(format_args!("read {name}")));
    }
    Ok(())
}

fn check_function(name: &str, parent: &str) -> Result<(), Failure> {
    let name = name.split(' ').next().unwrap_or(name).to_ascii_lowercase();
    if parent == "TableExpression" {
        if TABLE_FUNCTIONS.contains(&name.as_str()) || PARAMETER_VIEWS.contains(&name.as_str()) {
            return Ok(());
        }
        return Err(denied(format_args!("use table function {name}")));
    }
    if FUNCTIONS_REFUSED.iter().any(|p| name.starts_with(p)) {
        return Err(denied(format_args!("use function {name}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_tree_that_is_none_is_refused() {
        for tree in ["", "\n", "{\"meta\":", "\"SelectWithUnionQuery (children 1)\"", "InsertQuery md t"] {
            assert!(check_tree(tree, true).is_err(), "{tree}");
        }
        assert!(check_tree("\nSelectWithUnionQuery (children 1)\n ExpressionList (children 1)", false).is_ok());
        assert!(check_tree("ShowTables", true).is_ok() && check_tree("ShowTables", false).is_err());
        assert!(
            !is_plain("SHOW TABLES /* ( */") && !is_plain("SHOW TABLES Where 1") && is_plain("SHOW TABLES FROM md")
        );
    }

    #[test]
    fn settings_are_on_a_list() {
        assert!(
            check_setting("max_threads", "2", 2).unwrap() && check_setting("max_execution_time", "300", 2).unwrap()
        );
        assert!(!check_setting("readonly", "1", 2).unwrap());
        for (name, value) in [("max_threads", "3"), ("max_threads", "0"), ("max_execution_time", "0")] {
            assert!(check_setting(name, value, 2).is_err(), "{name} = {value}");
        }
        for name in ["readonly", "output_format_schema", "format_schema", "additional_table_filters", "async_insert"] {
            assert!(check_setting(name, "0", 2).is_err(), "{name}");
        }
    }
}

use super::*;

#[test]
fn statements_end_at_semicolons_outside_texts_and_comments() {
    let sql =
        "-- first; not a statement\nCREATE TABLE a (x String COMMENT 'it''s; \\'one');\n\n SELECT ';', `;` ; -- end;\n";
    let found: Vec<_> = statements(sql).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with("'it''s; \\'one')"), "{found:?}");
    assert_eq!(found[1], "SELECT ';', `;`");
}

#[test]
fn every_file_is_in_the_list_in_order_and_can_be_run_again() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/clickhouse");
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    files.sort();
    assert_eq!(files, MIGRATIONS.iter().map(|m| m.name).collect::<Vec<_>>());
    for (index, migration) in MIGRATIONS.iter().enumerate() {
        assert_eq!(migration.version as usize, index + 1);
        assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        for statement in statements(migration.sql) {
            let again = statement.contains("IF NOT EXISTS") || statement.contains("IF EXISTS");
            assert!(again, "{}: {statement}", migration.name);
        }
    }
}

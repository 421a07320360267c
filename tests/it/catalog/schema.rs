//! Both schemas are the same.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection};

use super::world::World;
use crate::backend::Backend::{Postgres, Sqlite};

/// Table → column → (type, may be null).
type Columns = BTreeMap<String, BTreeMap<String, (&'static str, bool)>>;
/// Indices, constraints of uniqueness and keys: table → lists of columns.
type Keys = BTreeMap<String, Vec<String>>;

fn kind(of_database: &str) -> &'static str {
    match of_database.to_ascii_lowercase().as_str() {
        "bigint" | "integer" => "number",
        "text" => "text",
        "boolean" => "truth",
        "real" | "double precision" => "float",
        // SQLite has no type for identifiers.
        "blob" | "bytea" | "uuid" => "bytes",
        other => panic!("a type that this test does not know: {other}"),
    }
}

async fn of_sqlite(connection: &mut SqliteConnection) -> (Columns, Keys) {
    const TABLES: &str =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'
        AND name NOT LIKE 'sqlite%'";
    let tables: Vec<String> = sqlx::query_scalar(TABLES)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let (mut columns, mut keys) = (Columns::new(), Keys::new());
    for table in tables {
        let sql = format!("SELECT name, type, \"notnull\" = 0 AND pk = 0 FROM pragma_table_info('{table}')");
        let found: Vec<(String, String, bool)> = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let found = found
            .into_iter()
            .map(|(name, of, null)| (name, (kind(&of), null)));
        columns.insert(table.clone(), found.collect());
        let sql = format!(
            "SELECT l.\"unique\" || ':' || (SELECT group_concat(name, ',') FROM
                (SELECT i.name FROM pragma_index_info(l.name) AS i ORDER BY i.seqno))
             FROM pragma_index_list('{table}') AS l"
        );
        let mut found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        // A key of one number is SQLite's row number and has no index.
        let sql = format!(
            "SELECT '1:' || name FROM pragma_table_info('{table}') WHERE pk = 1 AND type = 'INTEGER'"
        );
        found.extend(
            sqlx::query_scalar::<_, String>(AssertSqlSafe(sql))
                .fetch_all(&mut *connection)
                .await
                .unwrap(),
        );
        found.sort();
        keys.insert(table, found);
    }
    (columns, keys)
}

async fn of_postgres(connection: &mut PgConnection) -> (Columns, Keys) {
    const COLUMNS: &str =
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT),
        is_nullable = 'YES' FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%'";
    const KEYS: &str = "SELECT CAST(t.relname AS TEXT), (CASE WHEN x.indisunique THEN '1:' ELSE '0:' END) ||
            (SELECT string_agg(a.attname, ',' ORDER BY k.at) FROM unnest(x.indkey) WITH ORDINALITY AS k (number, at)
                JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number)
        FROM pg_index AS x JOIN pg_class AS t ON t.oid = x.indrelid
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_%'";
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as(COLUMNS).fetch_all(&mut *connection).await.unwrap();
    let mut columns = Columns::new();
    for (table, column, of, null) in rows {
        columns
            .entry(table)
            .or_default()
            .insert(column, (kind(&of), null));
    }
    let rows: Vec<(String, String)> = sqlx::query_as(KEYS).fetch_all(&mut *connection).await.unwrap();
    let mut keys = Keys::new();
    for (table, key) in rows {
        keys.entry(table).or_default().push(key);
    }
    keys.values_mut().for_each(|keys| keys.sort());
    (columns, keys)
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_keys() {
    let (sqlite, postgres) = (World::new(Sqlite).await, World::new(Postgres).await);
    let path = sqlite.database.url.strip_prefix("sqlite:").unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let (columns, keys) = of_sqlite(&mut options.connect().await.unwrap()).await;
    let options: sqlx::postgres::PgConnectOptions = postgres.database.url.parse().unwrap();
    let (other_columns, other_keys) = of_postgres(&mut options.connect().await.unwrap()).await;
    assert!(
        columns.len() > 15 && columns["job"].len() > 20,
        "the test reads nothing"
    );
    for (table, columns) in &columns {
        assert_eq!(Some(columns), other_columns.get(table), "columns of {table}");
        assert_eq!(keys.get(table), other_keys.get(table), "keys of {table}");
    }
    assert_eq!(columns.len(), other_columns.len());
}

#[tokio::test]
async fn opening_again_finds_what_was_stored() {
    for backend in [Sqlite, Postgres] {
        let world = World::new(backend).await;
        let site = world.site("osaka").await;
        world.catalog.close().await;
        let again = katagami::catalog::Catalog::open(&world.database.url.parse().unwrap())
            .await
            .unwrap();
        let mut tx = again.read().await.unwrap();
        assert!(
            katagami::catalog::sites::get(&mut tx, &site)
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn an_address_hides_its_password() {
    let url: katagami::catalog::DatabaseUrl =
        "postgres://ann:secret@db.example:5433/katagami".parse().unwrap();
    assert_eq!(
        format!("{url} {url:?}"),
        "postgres://db.example:5433/katagami postgres://db.example:5433/katagami"
    );
    for bad in ["", "sqlite:", "mysql://x", "sqlite::memory:", "/tmp/x"] {
        assert!(bad.parse::<katagami::catalog::DatabaseUrl>().is_err(), "{bad}");
    }
}

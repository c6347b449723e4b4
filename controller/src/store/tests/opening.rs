use std::path::Path;
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection, Row as _};

use crate::stage::{certificate, enrol, estate, noon, server, store};
use crate::store::{Store, StoreError};

async fn sql(path: &Path, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let options = AnyConnectOptions::from_str(&format!("sqlite:{}?mode=rwc", path.display())).expect("a URL");
    let mut connection = AnyConnection::connect_with(&options).await.expect("opens");
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

#[tokio::test]
async fn two_controllers_on_one_file_are_one_too_many() {
    let (folder, first) = store().await;
    let path = folder.path().join("backstay.db");
    let error = Store::open(&path, &estate(), noon()).await.expect_err("it is in use");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "the other one is named: {error}");
    first.close().await;
    drop(first);
    Store::open(&path, &estate(), noon()).await.expect("free again");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let (folder, first) = store().await;
    enrol(&first, "EX1").await;
    let head = first.audit_head().await.expect("a head");
    first.close().await;
    drop(first);
    let again = Store::open(&folder.path().join("backstay.db"), &estate(), noon()).await.expect("opens");
    assert_eq!(again.audit_head().await.expect("a head"), head);
    assert!(again.server(&server("EX1")).await.expect("reads").is_some());
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    sql(&path, "CREATE TABLE customers (name TEXT)").await;
    let before = std::fs::read(&path).expect("reads");
    let error = Store::open(&path, &estate(), noon()).await.expect_err("foreign");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("letter.txt");
    std::fs::write(&path, "Dear reader, ".repeat(1000)).expect("written");
    let error = Store::open(&path, &estate(), noon()).await.expect_err("no database");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_database_and_another_estates_are_refused() {
    let (folder, first) = store().await;
    first.close().await;
    drop(first);
    let path = folder.path().join("backstay.db");
    let error = Store::open(&path, &"fabrikam".parse().expect("a name"), noon()).await.expect_err("another estate's");
    assert_eq!(error.to_string(), format!("database {}: expected estate fabrikam, found contoso", path.display()));
    sql(&path, "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', TRUE, x'00', 0)").await;
    let error = Store::open(&path, &estate(), noon()).await.expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error}");
}

#[tokio::test]
async fn certificates_that_an_older_version_kept_are_dated_when_it_opens() {
    let (folder, first) = store().await;
    let good = certificate("EX1", (2031, 12, 1));
    first.store_certificates(vec![good.der().to_vec(), b"no certificate".to_vec()], noon()).await.expect("kept");
    first.close().await;
    drop(first);
    let path = folder.path().join("backstay.db");
    sql(&path, "UPDATE certificates SET not_before = NULL").await;
    let again = Store::open(&path, &estate(), noon()).await.expect("opens");
    let rows =
        sqlx::query("SELECT not_before FROM certificates ORDER BY not_before").fetch_all(again.readers()).await.expect("reads");
    let dates: Vec<i64> = rows.iter().map(|row| row.get("not_before")).collect();
    assert_eq!(dates, [good.not_before(), noon()].map(|at| at.as_microsecond()), "what does not read, since it is here");
}

#[tokio::test]
async fn a_path_with_signs_that_mean_something_in_a_url_is_opened_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("50% of #1?.db");
    Store::open(&path, &estate(), noon()).await.expect("opens");
    assert!(path.exists());
}

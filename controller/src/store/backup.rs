//! Copies of the database: one that is made while a controller works, and one that is put back (TRUST T11).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use policy::Timestamp;
use policy::id::EstateName;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};

use super::error::{Doing, StoreError};
use super::row::Columns;
use super::{MAX_PAGE, open, restored};
use crate::audit::{Head, verify};

/// What a whole database is found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub estate: EstateName,
    /// Where its audit trail ends; every link before it holds.
    pub head: Head,
    /// Machines that may speak.
    pub agents: u64,
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// Where the audit trail ended in it.
    pub head: Head,
    /// Servers that are awaited.
    pub awaited: u64,
    /// Where the database that was there lies now.
    pub aside: Option<PathBuf>,
}

/// Copies the database at `path` into the new file `to`: all that was committed at one moment, whoever works on it meanwhile.
///
/// # Errors
/// [`StoreError`].
pub async fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
    let mut connection = connect(path, "rw").await?;
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .doing("copying the database");
    connection.close().await.doing("closing the database")?;
    copied?;
    durable(to)
}

/// Whether the file at `path` is a whole database of ours, and what it holds.
///
/// # Errors
/// [`StoreError`] says what is wrong with it.
pub async fn inspect(path: &Path) -> Result<Found, StoreError> {
    let mut connection = connect(path, "rw").await?;
    let found = read(path, &mut connection).await;
    connection.close().await.doing("closing a copy of the database")?;
    found
}

/// Puts the copy `from` in the place of the database at `path`, marked as what it is. What was there is moved aside and never deleted.
/// A process that is killed in between leaves what was there, or what is put back, or neither of them in place and both on disk: then
/// [`Store::open`](super::Store::open) says so.
///
/// # Errors
/// [`StoreError`]; also when a controller has the database open.
pub async fn put_back(
    from: &Path,
    path: &Path,
    estate: &EstateName,
    made_at: Timestamp,
    now: Timestamp,
) -> Result<PutBack, StoreError> {
    let _lock = open::lock(path)?;
    let beside = open::restoring(path);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Copy { path, source }
    };
    // What an earlier try left is no more than a copy of a backup.
    for file in with_journals(&beside) {
        if file.exists() {
            fs::remove_file(&file).map_err(failed(&file))?;
        }
    }
    fs::copy(from, &beside).map_err(failed(&beside))?;
    let (head, awaited) = mark(&beside, estate, Some(made_at), now).await?;
    durable(&beside)?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = None;
    for file in with_journals(path).into_iter().rev().filter(|file| file.exists()) {
        let to = PathBuf::from(format!("{}.before-{stamp}", file.display()));
        fs::rename(&file, &to).map_err(failed(&file))?;
        aside = Some(to);
    }
    fs::rename(&beside, path).map_err(failed(path))?;
    sync_folder(path)?;
    Ok(PutBack { head, awaited, aside })
}

/// Marks the database at `path`, which somebody put back by other means, as what it is.
///
/// # Errors
/// [`StoreError`]; also when a controller has the database open.
pub async fn mark_in_place(path: &Path, estate: &EstateName, now: Timestamp) -> Result<PutBack, StoreError> {
    let _lock = open::lock(path)?;
    let (head, awaited) = mark(path, estate, None, now).await?;
    Ok(PutBack { head, awaited, aside: None })
}

async fn mark(path: &Path, estate: &EstateName, made_at: Option<Timestamp>, now: Timestamp) -> Result<(Head, u64), StoreError> {
    let head = inspect(path).await?.head;
    let (mut writer, readers) = open::connect(path, estate, now).await?;
    readers.close().await;
    let marked = async {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.doing("marking the store as put back")?;
        let awaited = restored::mark(&mut transaction, made_at, head, now).await?;
        transaction.commit().await.doing("marking the store as put back")?;
        // One file again, which can be moved.
        sqlx::query("PRAGMA journal_mode = DELETE").fetch_all(&mut writer).await.doing("closing the store")?;
        Ok(awaited)
    }
    .await;
    writer.close().await.doing("closing the store")?;
    marked.map(|awaited| (head, awaited))
}

async fn read(path: &Path, connection: &mut AnyConnection) -> Result<Found, StoreError> {
    open::recognise(path, connection).await?;
    let foreign = |found: String| StoreError::Foreign { path: path.to_owned(), found };
    let row = sqlx::query("PRAGMA quick_check").fetch_one(&mut *connection).await.doing("checking the database")?;
    let told: String = row.try_get(0).doing("checking the database")?;
    if told != "ok" {
        return Err(foreign(format!("a damaged one: {}", told.chars().take(200).collect::<String>())));
    }
    let row = sqlx::query("SELECT name FROM estate").fetch_optional(&mut *connection).await.doing("reading the estate")?;
    let row = row.ok_or_else(|| foreign("one of no estate".to_owned()))?;
    let estate = Columns(&row).parsed("name")?;
    let row = sqlx::query("SELECT count(*) AS found FROM identities WHERE state = 'active'")
        .fetch_one(&mut *connection)
        .await
        .doing("counting agents")?;
    let agents = Columns(&row).number("found")?;
    let mut head = Head::EMPTY;
    loop {
        let entries = super::trail::entries(&mut *connection, head.sequence, MAX_PAGE).await?;
        if entries.is_empty() {
            return Ok(Found { estate, head, agents });
        }
        head = verify(head, &entries).map_err(StoreError::Trail)?;
    }
}

async fn connect(path: &Path, mode: &str) -> Result<AnyConnection, StoreError> {
    sqlx::any::install_default_drivers();
    let failed = |source| open::not_a_database(path, source);
    let options = AnyConnectOptions::from_str(&open::url(path, mode)).map_err(failed)?.disable_statement_logging();
    let mut connection = AnyConnection::connect_with(&options).await.map_err(failed)?;
    open::pragmas(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// A database and what SQLite keeps beside it.
fn with_journals(path: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm", "-journal"].iter().map(|end| PathBuf::from(format!("{}{end}", path.display()))).collect()
}

fn durable(path: &Path) -> Result<(), StoreError> {
    let synced = File::options().write(true).open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| StoreError::Copy { path: path.to_owned(), source })
}

/// What was renamed in it is on disk. Windows knows no such call, and needs none.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Copy { path: folder.to_owned(), source })?;
    }
    let _ = path;
    Ok(())
}

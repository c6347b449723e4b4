//! Opening the database: whose it is, of which version, and that nobody else has it open.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use policy::Timestamp;
use policy::id::EstateName;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Row};

use super::certificates;
use super::error::{Doing, StoreError};
use super::row::micros;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read. SQLite's readers never wait for its writer.
const READERS: u32 = 4;

/// What `PRAGMA application_id` says in a database of ours: "bkst".
const APPLICATION: i64 = 0x626b_7374;

/// An open database.
pub(super) struct Opened {
    pub(super) writer: AnyConnection,
    pub(super) readers: AnyPool,
    /// Held for as long as the database is open; the system lets go of it when the process ends, however it ends.
    pub(super) lock: File,
}

/// Opens the database at `path`, made when it is not there, and brings it up to date.
pub(super) async fn open(path: &Path, estate: &EstateName, now: Timestamp) -> Result<Opened, StoreError> {
    let lock = lock(path)?;
    if restoring(path).exists() {
        return Err(StoreError::CutOff { path: restoring(path) });
    }
    let (writer, readers) = connect(path, estate, now).await?;
    Ok(Opened { writer, readers, lock })
}

/// Where a copy lies while it is put back.
pub(super) fn restoring(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.restoring", path.display()))
}

/// Connections to a database that is brought up to date; whoever calls this has the lock.
pub(super) async fn connect(path: &Path, estate: &EstateName, now: Timestamp) -> Result<(AnyConnection, AnyPool), StoreError> {
    sqlx::any::install_default_drivers();
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let options = AnyConnectOptions::from_str(&url(path, "rwc")).map_err(failed)?.disable_statement_logging();
    let mut writer = AnyConnection::connect_with(&options).await.map_err(|source| not_a_database(path, source))?;
    recognise(path, &mut writer).await?;
    pragmas(&mut writer).await.map_err(failed)?;
    // The mode stays in the file. Only the writer sets it: asking for it again may find the file busy.
    sqlx::query("PRAGMA journal_mode = WAL").fetch_all(&mut writer).await.map_err(failed)?;
    let readers = AnyPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| Box::pin(pragmas(connection)))
        .connect_with(options)
        .await
        .map_err(failed)?;
    MIGRATIONS.run(&readers).await.map_err(|source| {
        if let MigrateError::VersionMissing(found) = source {
            return StoreError::Newer { path: path.to_owned(), found };
        }
        StoreError::Migrate { path: path.to_owned(), source }
    })?;
    certificates::date(&mut writer).await?;
    belong(path, &mut writer, estate, now).await?;
    Ok((writer, readers))
}

/// Only one process may write, because what it remembers between writes would otherwise be wrong.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let beside = |extension: &str| PathBuf::from(format!("{}.{extension}", path.display()));
    let (lock, holder) = (beside("lock"), beside("holder"));
    let failed = |source| StoreError::LockFile { path: lock.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&holder).unwrap_or_else(|_| "it does not say who it is".to_owned());
            return Err(StoreError::InUse { path: path.to_owned(), holder: holder.trim().chars().take(200).collect() });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    // Only for people: a file that cannot be written here takes nothing from the lock.
    if let Err(error) = File::create(&holder).and_then(|mut file| writeln!(file, "process {}", std::process::id())) {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not note who holds the database");
    }
    Ok(file)
}

/// The one place where a path becomes a URL. `sqlite:` and the path work on every system (`sqlite://C:/…` does not); what means
/// something in a URL is escaped.
pub(super) fn url(path: &Path, mode: &str) -> String {
    let mut url = "sqlite:".to_owned();
    for c in path.to_string_lossy().chars() {
        match c {
            '%' => url.push_str("%25"),
            '?' => url.push_str("%3F"),
            '#' => url.push_str("%23"),
            c => url.push(c),
        }
    }
    format!("{url}?mode={mode}")
}

pub(super) async fn pragmas(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for pragma in [
        "PRAGMA busy_timeout = 10000",
        // Acknowledged means on disk, also when the power fails.
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
    ] {
        sqlx::query(pragma).fetch_all(&mut *connection).await?;
    }
    Ok(())
}

/// SQLite's "file is not a database".
pub(super) fn not_a_database(path: &Path, source: sqlx::Error) -> StoreError {
    let is = source.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "26");
    if is {
        return StoreError::Foreign { path: path.to_owned(), found: "a file that is no SQLite database".to_owned() };
    }
    StoreError::Open { path: path.to_owned(), source }
}

/// Before anything is changed in it: is it ours, or empty?
pub(super) async fn recognise(path: &Path, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let doing = |source| not_a_database(path, source);
    let row = sqlx::query("SELECT count(*) AS found FROM sqlite_master").fetch_one(&mut *connection).await.map_err(doing)?;
    let tables: i64 = row.try_get("found").map_err(doing)?;
    let row = sqlx::query("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(doing)?;
    let application: i64 = row.try_get(0).map_err(doing)?;
    match (tables, application) {
        (0, 0) => {
            // Not a bound parameter: a PRAGMA takes none. It is APPLICATION.
            sqlx::query("PRAGMA application_id = 1651209076").execute(connection).await.map_err(doing)?;
            Ok(())
        }
        (_, APPLICATION) => Ok(()),
        (tables, application) => Err(StoreError::Foreign {
            path: path.to_owned(),
            found: format!("a database with {tables} tables and indices of application {application:#x}"),
        }),
    }
}

/// A database belongs to one estate.
async fn belong(path: &Path, connection: &mut AnyConnection, estate: &EstateName, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO estate (one, product, name, created_at) VALUES (1, 'backstay', $1, $2) ON CONFLICT (one) DO NOTHING",
    )
    .bind(estate.as_str())
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .doing("naming the estate")?;
    let row = sqlx::query("SELECT name FROM estate").fetch_one(connection).await.doing("reading the estate")?;
    let found: String = row.try_get("name").doing("reading the estate")?;
    if found != estate.as_str() {
        return Err(StoreError::OtherEstate { path: path.to_owned(), expected: estate.clone(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_id_is_written_as_it_is_read() {
        assert_eq!(APPLICATION, 1_651_209_076);
    }

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        assert_eq!(url(Path::new("/var/a b/50%?#.db"), "rwc"), "sqlite:/var/a b/50%25%3F%23.db?mode=rwc");
        assert_eq!(url(Path::new("C:\\ProgramData\\store.db"), "rwc"), "sqlite:C:\\ProgramData\\store.db?mode=rwc");
    }
}

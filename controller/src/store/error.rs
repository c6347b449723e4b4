//! What can go wrong between a verb and the disk.

use std::path::PathBuf;
use std::sync::Arc;

use policy::id::{EstateName, Generation, PlanId, ServerName, Sha256};
use policy::life::{InvalidTransition, Life};
use policy::stop::{MAX_STOPS, StopId};
use policy::trust::DocumentError;
use proto::signed::Unbelieved;
use thiserror::Error;

use crate::audit::Broken;

/// A verb that was not done. Nothing of it is in the database.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The lock file could not be made.
    #[error("lock file {path} of the database")]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another controller has this database open.
    #[error("database {path}: expected to be its only controller, found another one: {holder}")]
    InUse {
        /// The database.
        path: PathBuf,
        /// What the other one wrote about itself.
        holder: String,
    },
    /// The file is somebody else's.
    #[error("database {path}: expected a database of backstay or none, found {found}")]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Written by a newer version.
    #[error("database {path}: expected a version that this program knows, found migration {found}: a newer backstay wrote it")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The migration that is not known.
        found: i64,
    },
    /// The database of another estate.
    #[error("database {path}: expected estate {expected}, found {found}")]
    OtherEstate {
        /// The database.
        path: PathBuf,
        /// By configuration.
        expected: EstateName,
        /// By the database.
        found: String,
    },
    /// The database could not be brought up to date.
    #[error("database {path} was not brought up to date")]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The database could not be opened.
    #[error("database {path} does not open")]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A copy was not read, written or moved.
    #[error("database, copy {path}")]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A backup was being put back.
    #[error(
        "{path}: expected no such file, found what a restore left that was cut off: run `backstay restore` again; who deletes it goes on with the database as it is"
    )]
    CutOff {
        /// The copy that was to take the database's place.
        path: PathBuf,
    },
    /// A copy whose audit trail is not as it was written.
    #[error("audit trail of the copy")]
    Trail(#[source] Broken),
    /// The database said no.
    #[error("database, {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The transaction in which this write stood was not committed.
    #[error("database, the transaction was not committed")]
    NotCommitted(#[source] Arc<StoreError>),
    /// A row that does not read.
    #[error("database, {column}: expected {expected}, found {found:?}")]
    Damaged {
        /// Which column.
        column: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A report that is not newer.
    #[error("report of {server}: expected a generation above {held}, found {found}")]
    OlderGeneration {
        /// Whose.
        server: ServerName,
        /// What is on disk.
        held: Generation,
        /// What came.
        found: Generation,
    },
    /// Two different reports of one generation.
    #[error("report {generation} of {server}: expected digest {}, found {}", held.short(), found.short())]
    OtherDigest {
        /// Whose.
        server: ServerName,
        /// Which.
        generation: Generation,
        /// What is on disk.
        held: Sha256,
        /// What came.
        found: Sha256,
    },
    /// No server of that name.
    #[error("server {0}: expected one that is enrolled, found none of that name")]
    NoServer(ServerName),
    /// No emergency stop of that id.
    #[error("emergency stop {0}: found none of that id")]
    NoStop(StopId),
    /// No incident of that id that is not over.
    #[error("incident {0}: expected one that is not over, found none of that id")]
    NoIncident(String),
    /// As many emergency stops as can be are in force.
    #[error(
        "emergency stops: expected fewer than {MAX_STOPS} in force, found that many: what is to be stopped is stopped by one of them"
    )]
    TooManyStops,
    /// No server is in that DAG or AD site.
    #[error("{kind} {name}: expected servers in it, found none; `backstay server list` names them")]
    NoGroup {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No plan of that id.
    #[error("plan {0}: found none of that id")]
    NoPlan(String),
    /// A prefix that several plans share.
    #[error("plan {prefix}: expected one plan, found {found}")]
    AmbiguousPlan {
        /// The prefix.
        prefix: String,
        /// How many have it, at least.
        found: usize,
    },
    /// The plan stands otherwise than it did when whoever asks looked at it.
    #[error("plan {}: expected it as it was seen, found it {} and changed since: look again", plan.short(), life.as_str())]
    Changed {
        /// The plan.
        plan: PlanId,
        /// Where it stands.
        life: Life,
    },
    /// The plan stands where this cannot happen.
    #[error("plan {}", plan.short())]
    Life {
        /// The plan.
        plan: PlanId,
        /// What is impossible.
        #[source]
        source: InvalidTransition,
    },
    /// A receipt or answer of a server that is not the plan's.
    #[error("plan {}: expected a word of {expected}, found one of {found}", plan.short())]
    OtherServer {
        /// The plan.
        plan: PlanId,
        /// Whose plan it is.
        expected: ServerName,
        /// Who speaks of it.
        found: ServerName,
    },
    /// A join token that lets nobody in. Why is not said to whoever asks.
    #[error("join token: {0}")]
    Token(&'static str),
    /// The name belongs to another machine.
    #[error("server {server} is enrolled already, by another machine ({state}): a person must admit this one")]
    NameTaken {
        /// The name.
        server: ServerName,
        /// The state of the identity that holds it.
        state: &'static str,
    },
    /// The key is not one that may speak.
    #[error("identity of {server}: expected one that is active, found it {state}: {why}")]
    NotActive {
        /// The name.
        server: ServerName,
        /// The state.
        state: &'static str,
        /// Since why.
        why: String,
    },
    /// Nobody enrolled with that key.
    #[error("identity: expected the key of an enrolled agent, found an unknown one")]
    UnknownKey,
    /// Nobody waits for that server.
    #[error(
        "server {0}: expected one that was not heard since the store was put back, found none of that name; `backstay status` names them"
    )]
    NotAwaited(ServerName),
    /// Too many of something that people make.
    #[error("{what} of {server}: expected at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Whose.
        server: ServerName,
        /// The bound.
        limit: i64,
    },
    /// A name that is somebody's already.
    #[error("{0}: expected a name that is free, found one of this name; revoke it first")]
    Taken(String),
    /// As many as there can be.
    #[error("{what}: expected fewer than {limit}: revoke those that nobody uses")]
    Full {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: i64,
    },
    /// No token of a program has this name, or it is somebody else's.
    #[error("token {0}: found none of that name that is yours to revoke")]
    NoToken(String),
    /// The fate of a plan is open there.
    #[error("{server} is being worked on: plan {plan} is under way; wait for its end, or give it up: `backstay plan abandon`")]
    UnderWay {
        /// Where.
        server: ServerName,
        /// Which.
        plan: PlanId,
    },
    /// A document whose signatures do not hold, or that does not read.
    #[error("document is not believed")]
    Unbelieved(#[source] Unbelieved),
    /// A document that must not follow the one in force.
    #[error("document is refused")]
    Document(#[source] DocumentError),
    /// Too few persons signed.
    #[error("{what}: expected signatures of {need} approver(s), found {found}")]
    TooFewSigners {
        /// What was signed.
        what: &'static str,
        /// By the trust document.
        need: u32,
        /// Persons whose signatures count.
        found: usize,
    },
}

impl StoreError {
    /// The database itself failed: whatever else stands in the same transaction must not be believed either.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::NotCommitted(_))
    }

    /// What the database's disk does, when that is why it failed: whoever asks can see to it.
    pub fn disk(&self) -> Option<&'static str> {
        let mut error = self;
        while let Self::NotCommitted(why) = error {
            error = why;
        }
        let Self::Query { source, .. } = error else { return None };
        let code: i64 = source.as_database_error()?.code()?.parse().ok()?;
        // SQLite's primary result codes; the bits above say more than is of use here.
        match code & 0xff {
            8 => Some("the disk of the controller is read-only"),
            10 => Some("the disk of the controller does not read or write"),
            13 => Some("the disk of the controller is full"),
            _ => None,
        }
    }
}

/// Says what was being done when the database said no.
pub(super) trait Doing<T> {
    /// Names the deed.
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Query { doing, source })
    }
}

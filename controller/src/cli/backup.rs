//! `backstay backup` and `backstay restore`: the controller's memory as a folder that can be kept elsewhere, and its way back.
//!
//! A backup is the database and the CA's certificate, with a manifest of their digests. It holds no private key: that of the CA is in
//! the safe (`backstay ca export`), and no other one is the controller's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use policy::Timestamp;
use policy::id::{EstateName, Sha256};
use serde::{Deserialize, Serialize};

use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment, pairs};
use super::{Context, files};
use crate::config::Config;
use crate::store::backup::{self, Found, PutBack};

/// The files of a backup.
const DATABASE: &str = "backstay.db";
const CA: &str = "ca.pem";
const MANIFEST: &str = "backup.json";

/// The form of backup that this program writes and reads.
const FORM: u32 = 1;

/// Copies the controller's memory into a new folder, also while it works.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay backup --out /mnt/backup/contoso-2026-11-26
  backstay backup --config /etc/backstay/controller.toml --out E:\\backup\\contoso")]
pub struct Backup {
    /// The controller's configuration.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,

    /// The folder; it must not be there yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Puts a backup in the place of the controller's memory; what was there is kept beside it.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay restore --from /mnt/backup/contoso-2026-11-26
  backstay restore --from /mnt/backup/contoso --other-ca    the old CA was stolen: `backstay init` made another one here
  backstay restore --in-place                               the machine was put back from a snapshot, and the database with it")]
pub struct Restore {
    /// The controller's configuration.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,

    /// The folder that `backstay backup` made.
    #[arg(long, value_name = "FOLDER", required_unless_present = "in_place")]
    from: Option<PathBuf>,

    /// Keep the CA that is here, which is not that of the backup: agents believe it as soon as a trust document names it.
    #[arg(long, requires = "from")]
    other_ca: bool,

    /// The database that is there was put back by other means: only mark it so, that agents tell what it forgot.
    #[arg(long, conflicts_with = "from")]
    in_place: bool,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    product: String,
    form: u32,
    estate: EstateName,
    made_at: Timestamp,
    /// Version of the program that made it.
    version: String,
    /// Where the audit trail ends: an anchor (`backstay audit verify --anchor`).
    audit_sequence: u64,
    audit_head: Sha256,
    /// SHA-256 of each file.
    files: BTreeMap<String, Sha256>,
}

impl Backup {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let config = read(&self.config)?;
        let Self { out, .. } = self;
        let doing = || format!("making the backup {}", out.display());
        if out.exists() {
            return Err(Failure::new(Exit::Error, doing()).because("expected a folder that is not there yet, found one"));
        }
        // Whole or not at all under its name.
        let beside = PathBuf::from(format!("{}.partial", out.display()));
        if beside.exists() {
            fs::remove_dir_all(&beside).doing(doing)?;
        }
        fs::create_dir_all(&beside).doing(doing)?;
        private(&beside).doing(doing)?;
        let made_at = context.clock.now();
        let copy = beside.join(DATABASE);
        backup::copy(&config.database(), &copy).await.doing(doing)?;
        let Found { estate, head, agents } = backup::inspect(&copy).await.doing(doing)?;
        files::write_new(&beside.join(CA), &files::document(&config.state_dir.join(CA))?)?;
        let digests = [DATABASE, CA].map(|name| Ok::<_, Failure>((name.to_owned(), digest(&beside.join(name))?)));
        let manifest = Manifest {
            product: "backstay".to_owned(),
            form: FORM,
            estate,
            made_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            audit_sequence: head.sequence,
            audit_head: head.hash,
            files: digests.into_iter().collect::<Result<_, _>>()?,
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        files::write_new(&beside.join(MANIFEST), &text)?;
        fs::rename(&beside, out).doing(doing)?;
        context.output.show(&Made { folder: out.clone(), agents, manifest })?;
        context.output.say("it holds no private key: that of the CA belongs into the safe, `backstay ca export`");
        Ok(Exit::Ok)
    }
}

impl Restore {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let config = read(&self.config)?;
        let (database, now) = (config.database(), context.clock.now());
        let (made_at, put_back) = match &self.from {
            Some(folder) => {
                let doing = || format!("putting back {}", folder.display());
                let manifest = manifest(folder)?;
                if manifest.estate != config.estate {
                    return Err(Failure::new(Exit::Error, doing())
                        .because(format!("estate: expected {}, found {}", config.estate, manifest.estate)));
                }
                super::init::make_folder(&config.state_dir)?;
                put_ca_back(folder, &config.state_dir, self.other_ca)?;
                let copy = folder.join(DATABASE);
                let done = backup::put_back(&copy, &database, &config.estate, manifest.made_at, now).await.doing(doing)?;
                (Some(manifest.made_at), done)
            }
            None => {
                let doing = || format!("marking {}", database.display());
                if !database.exists() {
                    return Err(Failure::new(Exit::NotFound, doing()).because("expected a database, found none"));
                }
                (None, backup::mark_in_place(&database, &config.estate, now).await.doing(doing)?)
            }
        };
        let PutBack { head, awaited, aside } = put_back;
        let key = config.state_dir.join("ca.key");
        if !key.exists() {
            context.output.say(&format!("next: put the key of the CA from the safe back as {}", key.display()));
        }
        context.output.show(&Restored {
            database,
            made_at,
            audit_sequence: head.sequence,
            audit_head: head.hash,
            awaited,
            aside,
        })?;
        context.output.say(
            "start the controller: agents tell it what it forgot; until all of a group have, nothing is offered there (`backstay status`)",
        );
        context.output.say(
            "what only people know is to be done again: machines evicted or admitted, plans rejected, approvals given since the backup",
        );
        Ok(Exit::Ok)
    }
}

fn read(path: &Path) -> Result<Config, Failure> {
    Config::read(path).doing(|| format!("reading {}", path.display()))
}

/// The manifest of a backup all of whose files are what it says.
fn manifest(folder: &Path) -> Result<Manifest, Failure> {
    let path = folder.join(MANIFEST);
    let doing = || format!("reading {}", path.display());
    let manifest: Manifest = serde_json::from_slice(&files::document(&path)?).doing(doing)?;
    if manifest.product != "backstay" || manifest.form != FORM {
        let found = format!("{} of form {}", manifest.product, manifest.form);
        return Err(
            Failure::new(Exit::Error, doing()).because(format!("expected a backup of backstay, form {FORM}, found {found}"))
        );
    }
    for name in [DATABASE, CA] {
        let (path, expected) = (folder.join(name), manifest.files.get(name).copied());
        let found = digest(&path)?;
        if expected != Some(found) {
            let expected =
                expected.map_or_else(|| "one that the manifest names".to_owned(), |digest| format!("SHA-256 {digest}"));
            return Err(Failure::new(Exit::Error, format!("reading {}", path.display()))
                .because(format!("expected {expected}, found {found}: the backup is not as it was made")));
        }
    }
    Ok(manifest)
}

/// The CA's certificate goes back where none is. Another one that is there already was made for another life of the estate, and stays
/// when a person says so.
fn put_ca_back(folder: &Path, state: &Path, other: bool) -> Result<(), Failure> {
    let (from, to) = (folder.join(CA), state.join(CA));
    let kept = files::document(&from)?;
    if !to.exists() {
        return files::write_new(&to, &kept);
    }
    if files::document(&to)? != kept && !other {
        return Err(Failure::new(Exit::Error, format!("putting back {}", from.display()))
            .because(format!("expected {} to be the CA of the backup, found another one", to.display()))
            .next("move ca.pem and ca.key away; or, where the old CA is to be believed no longer, say --other-ca"));
    }
    Ok(())
}

/// SHA-256 of a file of any size.
fn digest(path: &Path) -> Result<Sha256, Failure> {
    let hash = || -> std::io::Result<Sha256> {
        let mut file = fs::File::open(path)?;
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                read => context.update(&buffer[..read]),
            }
        }
        let digest = context.finish();
        let bytes = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Sha256(bytes))
    };
    hash().doing(|| format!("reading {}", path.display()))
}

/// On Windows a folder has the access list of the one it is in.
fn private(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let _ = folder;
    Ok(())
}

#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    agents: u64,
    #[serde(flatten)]
    manifest: Manifest,
}

impl View for Made {
    fn text(&self) -> String {
        let Self { folder, agents, manifest } = self;
        pairs([
            ("backup", folder.display().to_string()),
            ("estate", manifest.estate.to_string()),
            ("agents", agents.to_string()),
            ("audit anchor", format!("{}:{}", manifest.audit_sequence, manifest.audit_head)),
        ])
    }
}

#[derive(Serialize)]
struct Restored {
    database: PathBuf,
    made_at: Option<Timestamp>,
    audit_sequence: u64,
    audit_head: Sha256,
    awaited: u64,
    aside: Option<PathBuf>,
}

impl View for Restored {
    fn text(&self) -> String {
        let Self { database, made_at, audit_sequence, audit_head, awaited, aside } = self;
        pairs([
            ("database", database.display().to_string()),
            ("as of", made_at.map_or_else(|| "unknown: it was put back by other means".to_owned(), moment)),
            ("audit anchor", format!("{audit_sequence}:{audit_head}")),
            ("agents awaited", awaited.to_string()),
            ("kept aside", aside.as_ref().map_or_else(|| "nothing was there".to_owned(), |path| path.display().to_string())),
        ])
    }
}

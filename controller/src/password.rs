//! Passwords, as they are kept and compared: Argon2id, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use policy::id::Person;
use tokio::sync::Semaphore;
use tonic::Status;
use zeroize::Zeroizing;

/// Each takes 19 MiB and some tens of milliseconds of a core: whoever guesses keeps no more than two cores busy.
const AT_ONCE: usize = 2;

/// How long somebody waits for a turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The fewest and the most characters.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// What no password fits; compared with when there is none, so that the answer takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The place where passwords are hashed. Clones share it.
#[derive(Debug, Clone)]
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// What is kept of this password, with a salt of its own.
    ///
    /// # Errors
    /// When nobody's turn comes, or there is no randomness.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, Status> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| Status::internal("the system gives no random numbers"))?;
        self.apart(move || {
            let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            hashed.map(|hash| hash.to_string()).map_err(|error| Status::internal(error.to_string()))
        })
        .await?
    }

    /// Whether this is the password of which `kept` was kept; takes as long when nothing was.
    ///
    /// # Errors
    /// When nobody's turn comes.
    pub async fn fits(&self, password: Zeroizing<String>, kept: Option<String>) -> Result<bool, Status> {
        self.apart(move || {
            let known = kept.is_some();
            let kept = kept.unwrap_or_else(|| NOBODYS.to_owned());
            let fits =
                PasswordHash::new(&kept).is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok());
            known && fits
        })
        .await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Status::resource_exhausted("too many passwords are being compared; try again in a moment"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Status::internal("a password could not be compared"))
    }
}

/// Whether somebody may have this password.
///
/// # Errors
/// Why not.
pub fn judge(person: &Person, password: &str) -> Result<(), String> {
    let length = password.chars().count();
    if !LENGTH.contains(&length) {
        return Err(format!("password: expected {} to {} characters, found {length}", LENGTH.start(), LENGTH.end()));
    }
    if password.to_lowercase().contains(person.as_str()) {
        return Err("password: expected one without your name in it".to_owned());
    }
    let different: std::collections::BTreeSet<char> = password.chars().collect();
    if different.len() < 5 {
        return Err(format!("password: expected 5 different characters or more, found {}", different.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_password_fits_what_was_kept_of_it_and_nothing_fits_nothing() {
        let passwords = Passwords::default();
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let kept = passwords.hash(secret("correct horse battery")).await.expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, passwords.hash(secret("correct horse battery")).await.expect("hashed"), "a salt of its own");
        for (text, kept, fits) in [
            ("correct horse battery", Some(kept.clone()), true),
            ("correct horse batterY", Some(kept.clone()), false),
            ("", Some(kept.clone()), false),
            ("correct horse battery", Some(kept.replace("$m=19456", "$m=19457")), false),
            ("correct horse battery", Some("what is no hash".to_owned()), false),
            ("correct horse battery", None, false),
        ] {
            assert_eq!(passwords.fits(secret(text), kept).await.expect("compared"), fits, "{text}");
        }
        assert!(PasswordHash::new(NOBODYS).is_ok(), "it is compared with, not refused");
    }

    #[test]
    fn a_password_is_long_and_not_a_name() {
        let judged = |text: &str| judge(&"anna".parse().expect("a name"), text);
        assert_eq!(judged("correct horse"), Ok(()));
        assert_eq!(judged("äöüß äöüß äöüß"), Ok(()));
        for short in ["", "correct hor", &"x".repeat(257), "aaaaaaaaaaaaaaaa", "I am Anna, who else"] {
            assert!(judged(short).is_err(), "{short}");
        }
    }
}

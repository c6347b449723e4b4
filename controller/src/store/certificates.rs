//! Certificates by their SHA-256: each travels once, whoever has it.

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::id::{CertificateId, Sha256};

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, micros};

impl Store {
    /// Those of `ids` whose bytes are not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn certificates_missing(&self, ids: &BTreeSet<CertificateId>) -> Result<BTreeSet<CertificateId>, StoreError> {
        // One by one: a list as one parameter is written differently in each kind of database, and each of these is a look into an index.
        let mut reader = self.readers().acquire().await.doing("looking for certificates")?;
        let mut missing = BTreeSet::new();
        for id in ids {
            let row = sqlx::query("SELECT id FROM certificates WHERE id = $1")
                .bind(id.to_string())
                .fetch_optional(&mut *reader)
                .await
                .doing("looking for certificates")?;
            if row.is_none() {
                missing.insert(*id);
            }
        }
        Ok(missing)
    }

    /// Keeps certificates, each under the SHA-256 of its bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_certificates(&self, certificates: Vec<Vec<u8>>, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .write(move |connection| {
                Box::pin(async move {
                    for der in certificates {
                        sqlx::query(
                            "INSERT INTO certificates (id, der, recorded_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
                        )
                        .bind(Sha256::of(&der).to_string())
                        .bind(der)
                        .bind(micros(now))
                        .execute(&mut *connection)
                        .await
                        .doing("keeping a certificate")?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// The bytes of those of `ids` that are here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn certificates(&self, ids: &BTreeSet<CertificateId>) -> Result<BTreeMap<CertificateId, Vec<u8>>, StoreError> {
        let mut reader = self.readers().acquire().await.doing("reading certificates")?;
        let mut found = BTreeMap::new();
        for id in ids {
            let row = sqlx::query("SELECT der FROM certificates WHERE id = $1")
                .bind(id.to_string())
                .fetch_optional(&mut *reader)
                .await
                .doing("reading certificates")?;
            if let Some(row) = row {
                found.insert(*id, Columns(&row).bytes("der")?);
            }
        }
        Ok(found)
    }
}

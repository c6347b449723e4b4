//! Certificates by their SHA-256: each travels once, whoever has it.

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::id::{CertificateId, Sha256};

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, micros};

/// Certificates asked for at once: far fewer parameters than any database refuses.
const AT_ONCE: usize = 500;

impl Store {
    /// Those of `ids` whose bytes are not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn certificates_missing(&self, ids: &BTreeSet<CertificateId>) -> Result<BTreeSet<CertificateId>, StoreError> {
        let mut missing = ids.clone();
        for row in self.certificate_rows("id", ids).await? {
            missing.remove(&Columns(&row).parsed("id")?);
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
        let mut found = BTreeMap::new();
        for row in self.certificate_rows("id, der", ids).await? {
            let row = Columns(&row);
            found.insert(row.parsed("id")?, row.bytes("der")?);
        }
        Ok(found)
    }

    /// The rows of those of `ids` that are here: one question, not one for each.
    async fn certificate_rows(&self, columns: &'static str, ids: &BTreeSet<CertificateId>) -> Result<Vec<AnyRow>, StoreError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut rows = Vec::new();
        for some in ids.chunks(AT_ONCE) {
            let places: Vec<String> = (1..=some.len()).map(|number| format!("${number}")).collect();
            // Only our own words and numbers are put into the text; a list as one parameter is each database's own affair.
            let text = AssertSqlSafe(format!("SELECT {columns} FROM certificates WHERE id IN ({})", places.join(", ")));
            let query = some.iter().fold(sqlx::query(text), |query, id| query.bind(id.as_str()));
            rows.extend(query.fetch_all(self.readers()).await.doing("reading certificates")?);
        }
        Ok(rows)
    }
}

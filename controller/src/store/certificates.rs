//! Certificates by their SHA-256: each travels once, whoever has it.

use std::collections::{BTreeMap, BTreeSet};

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::id::{CertificateId, Sha256};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::Store;
use super::error::{Doing, StoreError};
use super::row::{Columns, micros};

/// Certificates asked for at once: far fewer parameters than any database refuses.
const AT_ONCE: usize = 500;

/// Certificates dated in one transaction.
const DATED: i64 = 500;

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
                            "INSERT INTO certificates (id, der, recorded_at, not_before) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
                        )
                        .bind(Sha256::of(&der).to_string())
                        .bind(der.as_slice())
                        .bind(micros(now))
                        .bind(micros(begins(&der, now)))
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

/// Of one that does not read nothing is known from before it was kept.
fn begins(der: &[u8], recorded_at: Timestamp) -> Timestamp {
    Certificate::from_der(der).map_or(recorded_at, |certificate| certificate.not_before())
}

/// Dates those that a version kept which did not.
pub(super) async fn date(connection: &mut AnyConnection) -> Result<(), StoreError> {
    const DOING: &str = "noting when certificates begin";
    loop {
        let mut together = connection.begin().await.doing(DOING)?;
        let rows = sqlx::query("SELECT id, der, recorded_at FROM certificates WHERE not_before IS NULL LIMIT $1")
            .bind(DATED)
            .fetch_all(&mut *together)
            .await
            .doing(DOING)?;
        for row in &rows {
            let row = Columns(row);
            sqlx::query("UPDATE certificates SET not_before = $2 WHERE id = $1")
                .bind(row.text("id")?)
                .bind(micros(begins(&row.bytes("der")?, row.time("recorded_at")?)))
                .execute(&mut *together)
                .await
                .doing(DOING)?;
        }
        together.commit().await.doing(DOING)?;
        if rows.is_empty() {
            return Ok(());
        }
    }
}

//! The documents in force, read and checked once per document and not once per look.

use std::sync::{Arc, Mutex, PoisonError};

use policy::document::Policy;
use policy::trust::TrustDocument;

use crate::store::{Held, Store, StoreError};

/// What is in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The trust document; `None` before the first.
    pub trust: Option<TrustDocument>,
    /// The policy; [`Policy::none_yet`] before the first.
    pub policy: Policy,
    /// As an agent that holds them says.
    pub held: Held,
}

/// The last that was read.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<Arc<InForce>>>);

impl Cache {
    /// What is in force now.
    pub(super) async fn read(&self, store: &Store) -> Result<Arc<InForce>, StoreError> {
        let (trust, policy) = (store.trust().await?, store.policy().await?);
        let held = Held {
            trust: trust.as_ref().map(|document| document.id),
            trust_version: trust.as_ref().map_or(0, |document| document.version),
            policy: policy.as_ref().map(|document| document.id),
            policy_version: policy.as_ref().map_or(0, |document| document.version),
        };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.held == held) {
            return Ok(known);
        }
        let trust = trust.map(|document| document.trust()).transpose()?.map(|verified| verified.value);
        let policy = match policy {
            Some(document) => document.policy()?.value,
            None => Policy::none_yet(store.estate().clone()),
        };
        let read = Arc::new(InForce { trust, policy, held });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
        Ok(read)
    }
}

//! The line: who he says he is, and messages that no controller would send.

use anyhow::{Context, Result};
use jiff::Timestamp;
use policy::trust::{Kind, PersonRole};
use proto::agent::open_response::Message as Down;
use proto::agent::{CancelOffer, PeerTarget, PeersAsked, ReportAcknowledged};
use proto::types::{Generation, Signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::desk::ESTATE;
use tests::forger::Asks;
use tests::papers;

use super::Attack;
use super::orders::many;
use super::thief::Chain;

/// A chain of a CA that he made.
fn by_another_ca() -> Result<Chain> {
    let folder = tempfile::tempdir()?;
    let other = controller::ca::Authority::create(folder.path(), &ESTATE.parse()?, Timestamp::now())?;
    other.issue_controller(&[], Timestamp::now()).context("a chain")
}

fn knocked_at(fqdn: &str) -> PeerTarget {
    PeerTarget { server: "EX9".to_owned(), fqdn: fqdn.to_owned(), question: vec![1; 32] }
}

pub(super) static ATTACKS: [Attack; 11] = [
    Attack { tries: "sends sixty-five approvals at once", refused: "Offer.approvals", by: |thief| thief.message(many(thief)) },
    Attack {
        tries: "sends a plan larger than any",
        refused: "Offer.plan",
        by: |thief| thief.message(Down::Offer(proto::agent::Offer { plan: vec![b' '; 300_000], approvals: Vec::new() })),
    },
    Attack {
        tries: "sends a document larger than any",
        refused: "Signed.body",
        by: |thief| thief.message(Down::Policy(Signed { body: vec![b'#'; 300_000], ..Signed::default() })),
    },
    Attack {
        tries: "takes back a plan by a name that is none",
        refused: "CancelOffer.plan",
        by: |thief| thief.message(Down::Cancel(CancelOffer { plan: vec![1, 2, 3] })),
    },
    Attack {
        tries: "wants the bytes of ten thousand and one certificates",
        refused: "ReportAcknowledged.wanted",
        by: |thief| {
            let generation = Some(Generation { epoch: 1, counter: 1 });
            let wanted = vec![vec![0; 32]; 10_001];
            thief.message(Down::ReportAcknowledged(ReportAcknowledged { generation, wanted, ..ReportAcknowledged::default() }))
        },
    },
    Attack {
        tries: "wants a fourth server knocked at",
        refused: "PeersAsked.targets",
        by: |thief| thief.message(Down::Peers(PeersAsked { targets: vec![knocked_at("dc1.contoso.test"); 4] })),
    },
    Attack {
        tries: "wants an address knocked at that has no name",
        refused: "PeerTarget.fqdn",
        by: |thief| thief.message(Down::Peers(PeersAsked { targets: vec![knocked_at("10.0.0.1")] })),
    },
    Attack {
        tries: "welcomes with a nonce that fills the disk",
        refused: "Welcome.lineage",
        by: |thief| {
            let before = thief.mark()?;
            thief.ask(Asks { lineage: Some(1_000_000), ..Asks::default() })?;
            let said = thief.said("a message of the controller cannot be", before);
            thief.ask(Asks::default())?;
            said
        },
    },
    Attack {
        tries: "shows a certificate of another CA",
        refused: "invalid peer certificate",
        by: |thief| thief.shows("invalid peer certificate", |_| by_another_ca(), Asks::default()),
    },
    Attack {
        tries: "shows a certificate of the stolen CA that is an operator's",
        refused: "invalid peer certificate",
        by: |thief| {
            let operator = |stolen: &controller::ca::Authority| -> Result<Chain> {
                let made = stolen.issue_operator(&"eve".parse()?, PersonRole::Operator, Timestamp::now())?;
                let certificate = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes())?;
                let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes())?;
                Ok((vec![certificate, stolen.certificate().clone()], key))
            };
            thief.shows("invalid peer certificate", operator, Asks::default())
        },
    },
    Attack {
        tries: "has a CA of his own, and a trust document that names it",
        refused: "root signatures of the version held: expected 1, found 0",
        by: |thief| {
            let chain = by_another_ca()?;
            let mut document = thief.next_trust()?;
            document.ca = chain.0.iter().map(|der| policy::id::Sha256::of(der)).collect();
            let signed = papers::signed(Kind::Trust, document.to_bytes(), &[&thief.stranger])?;
            let asks = Asks { successors: vec![signed.into()], ..Asks::default() };
            thief.shows("root signatures of the version held", |_| Ok(chain), asks)
        },
    },
];

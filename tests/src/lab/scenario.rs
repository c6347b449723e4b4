//! States of a host, each by the id of its row in EXCHANGE.md 6: what is done to a server, and what the product must say to it.
//!
//! One table, for people (`backstay-lab scenario`) and for the tests that look at the product from outside.

use policy::finding::{Code, Verdict};
use policy::plan::Purpose;

use super::Damage;

/// What the product does about a state, in mode `act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Repairs it by itself.
    Act(Purpose),
    /// Proposes a plan for 444.
    Propose(Purpose),
    /// Proposes a repair beside the certificate of 444, which stays.
    Aside(Purpose),
    /// Says what it sees, and writes nothing.
    Report,
}

/// One state.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The row; with a letter behind it where a row has several.
    pub id: &'static str,
    /// The state in words.
    pub title: &'static str,
    /// What is done to the server, in order; whoever watches looks at it between two of them.
    pub damage: &'static [Damage],
    /// What the server is called then.
    pub verdict: Verdict,
    /// What is found, at least. Nothing for F38: only what Setup signed with SHA-1 is missed in Root, and the lab signs with SHA-256.
    pub codes: &'static [Code],
    /// What is done about it.
    pub answer: Answer,
}

macro_rules! scenarios {
    ($($id:literal $title:literal: $($damage:expr),+ => $verdict:ident, [$($code:ident),*], $answer:expr;)*) => {
        /// Every state that the lab can stage.
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            id: $id,
            title: $title,
            damage: &[$($damage),+],
            verdict: Verdict::$verdict,
            codes: &[$(Code::$code),*],
            answer: $answer,
        }),*];
    };
}

use Answer::{Act, Aside, Propose, Report};
use Damage::{
    AcmeDeleted, AnotherCertificate, Archive, AuthCertificate, AuthorityCertificate, BuildBack, DeleteCertificate, DeleteKey,
    DeleteManagement, DenyKey, DenyTransport, DisjointName, Distrust, ExtraRecord, FrontEndCertificate, FrontEndExpired,
    FrontEndTaken, IisManagerCertificate, Intercept, LeaveWatermark, LoseKeyLink, NewExchangeCertificate, Rebuild, RemoveRecord,
    RemoveRecordAndCertificate, RemoveRootCopy, SecurityUpdate, SetupRunning, SharedConfiguration, SniBinding, StaleMetabase,
    StopServices, TieBinding, WrongStore,
};

scenarios! {
    "C1" "the certificate is deleted": DeleteCertificate => Deleted, [CertificateDeleted, LostAtRestart], Act(Purpose::Undelete);
    "C2" "cured with IIS Manager": IisManagerCertificate => Healthy, [NotListed], Report;
    "C3" "the certificate and its key are deleted, and a new one is made":
        DeleteKey, DeleteCertificate, NewExchangeCertificate
        => Deleted, [CertificateDeleted], Propose(Purpose::BindCandidate);
    "C3b" "the record is gone as well": RemoveRecordAndCertificate => Unbound, [RecordMissing], Act(Purpose::Undelete);
    "C5" "an update takes the record": RemoveRecord => Unbound, [RecordMissing], Act(Purpose::RestoreRecord);
    "C6" "renewed onto the front end": FrontEndTaken
        => Healthy, [FrontEndTaken, SharedWithFrontEnd], Aside(Purpose::GiveBackFrontEnd);
    "C7" "renewed onto the front end, and the old one deleted": FrontEndTaken, DeleteCertificate
        => Deleted, [CertificateDeleted, FrontEndTaken], Act(Purpose::Undelete);
    "C10a" "an ACME certificate on 444, deleted": AcmeDeleted => Deleted, [CertificateDeleted], Report;
    "F1" "the end is near": Damage::Expiring { days: 20 } => Expiring, [Expiring], Propose(Purpose::Renew);
    "F2" "the end is past": Damage::Expired { days: 1 } => Expired, [Expired], Propose(Purpose::Renew);
    "F3" "the key is gone": DeleteKey => KeyLost, [KeyUnusable], Propose(Purpose::Create);
    "F4" "the link to the key is lost": LoseKeyLink => KeyLost, [KeyLinkLost], Act(Purpose::Relink);
    "F5" "SYSTEM may not open the key": DenyKey => KeyLost, [KeyUnusable], Report;
    "F6" "transport may not read the key": DenyTransport => Healthy, [TransportDenied], Report;
    "F7" "archived": Archive => Healthy, [Archived], Report;
    "F8" "the wrong store": WrongStore => Deleted, [WrongStore], Act(Purpose::FixStore);
    "F9" "a second record": ExtraRecord => Healthy, [ExtraRecord], Aside(Purpose::RemoveExtraRecord);
    "F10" "bound to one address": TieBinding => Healthy, [BindingTied], Aside(Purpose::FixBinding);
    "F10b" "no binding": Damage::RemoveBinding => Healthy, [SiteBindingMissing], Aside(Purpose::FixBinding);
    "F11" "SNI asked for": SniBinding => Healthy, [BindingFlags], Aside(Purpose::FixBinding);
    "F14" "services stopped": StopServices => Healthy, [ServicesStopped], Report;
    "F15" "the front end's certificate on 444": FrontEndCertificate => Misnamed, [NamesMissing, SharedWithFrontEnd], Report;
    "F16" "a certificate of a CA with the right names": AuthorityCertificate => Healthy, [FromAuthority], Report;
    "F19" "another good certificate": AnotherCertificate => Healthy, [Replaced], Report;
    "F21" "a stale metabase property": StaleMetabase => Healthy, [StaleMetabase], Report;
    "F25" "the management service's certificate is gone": DeleteManagement => Healthy, [ManagementDangling], Report;
    "F26" "the front end's certificate has ended": FrontEndExpired => Healthy, [FrontEndExpired], Report;
    "F35" "setup at work": SetupRunning, RemoveRecord => Unbound, [SetupAtWork, RecordMissing], Report;
    "F38" "no copy in Root": RemoveRootCopy => Healthy, [], Report;
    "F44" "named as the Auth Certificate": AuthCertificate => Healthy, [IsAuthCertificate], Report;
    "F46" "shared configuration, and a binding to one address": SharedConfiguration, TieBinding
        => Healthy, [ConfigurationElsewhere, BindingTied], Report;
    "G2" "rebuilt under the old name": Rebuild => Healthy, [Rebuilt], Report;
    "G3" "an older build, and the certificate is gone": BuildBack, DeleteCertificate
        => Deleted, [WentBack, CertificateDeleted], Propose(Purpose::Undelete);
    "G4" "a security update at work": SecurityUpdate => Unbound, [SetupAtWork, WebServiceDisabled], Report;
    "G7" "something between": Intercept => Intercepted, [PresentedDiffers], Report;
    "G9" "names disagree": DisjointName => Misnamed, [NamesDisagree], Report;
    "G10" "distrusted": Distrust => Distrusted, [Distrusted], Propose(Purpose::Renew);
    "G12" "a watermark left for months": LeaveWatermark => Healthy, [SetupAtWork, WatermarkLeft], Report;
}

/// The state of that id, however it is written.
pub fn scenario(id: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.id.eq_ignore_ascii_case(id))
}

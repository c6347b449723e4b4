//! Facts on the wire. Protobuf has no generics, so there is one message for each type of fact; this makes them alike again.

use policy::report::Fact;

use crate::agent;
use crate::invalid::{self, Invalid, present};

/// A message that is a oneof of `known` and `unknown`.
pub(super) trait WireFact: Sized {
    type Known;

    fn join(fact: Fact<Self::Known>) -> Self;

    /// `None` when the peer set neither.
    fn split(self) -> Option<Fact<Self::Known>>;
}

macro_rules! wire_fact {
    ($($message:ident, $module:ident, $known:ty;)*) => {$(
        impl WireFact for agent::$message {
            type Known = $known;

            fn join(fact: Fact<$known>) -> Self {
                Self {
                    fact: Some(match fact {
                        Fact::Known(known) => agent::$module::Fact::Known(known),
                        Fact::Unknown(why) => agent::$module::Fact::Unknown(why),
                    }),
                }
            }

            fn split(self) -> Option<Fact<$known>> {
                let Self { fact } = self;
                Some(match fact? {
                    agent::$module::Fact::Known(known) => Fact::Known(known),
                    agent::$module::Fact::Unknown(why) => Fact::Unknown(why),
                })
            }
        }
    )*};
}

wire_fact! {
    TextFact, text_fact, String;
    OptionalTextFact, optional_text_fact, agent::OptionalText;
    FlagFact, flag_fact, bool;
    DigestFact, digest_fact, Vec<u8>;
    ExchangeFact, exchange_fact, agent::Exchange;
    SetupFact, setup_fact, agent::Setup;
    StoresFact, stores_fact, agent::StoreEntries;
    KeyLinkFact, key_link_fact, agent::OptionalKeyLink;
    KeyStateFact, key_state_fact, i32;
    KeyAccessFact, key_access_fact, agent::AccessList;
    ContainersFact, containers_fact, agent::KeyContainers;
    RecordsFact, records_fact, agent::SslRecords;
    SslParametersFact, ssl_parameters_fact, agent::SslParameters;
    SitesFact, sites_fact, agent::Sites;
    MetabaseFact, metabase_fact, agent::MetabaseBindings;
    ServicesFact, services_fact, agent::Services;
    TimeFact, time_fact, i64;
    OptionalTimeFact, optional_time_fact, agent::OptionalTime;
    MinutesFact, minutes_fact, i32;
    TextsFact, texts_fact, agent::Texts;
    AppPoolsFact, app_pools_fact, agent::AppPools;
    TlsPolicyFact, tls_policy_fact, agent::TlsPolicy;
    AuthCertificatesFact, auth_certificates_fact, agent::AuthCertificates;
    OptionalThumbprintFact, optional_thumbprint_fact, agent::OptionalThumbprint;
    EventsFact, events_fact, agent::Events;
}

/// A fact for the wire. `Some`, because that is how a message inside a message is written.
pub(super) fn to_wire<W: WireFact, T>(fact: Fact<T>, known: impl FnOnce(T) -> W::Known) -> Option<W> {
    Some(W::join(match fact {
        Fact::Known(value) => Fact::Known(known(value)),
        Fact::Unknown(why) => Fact::Unknown(why),
    }))
}

/// A fact from the wire: a fact that says neither is missing, and not unknown.
pub(super) fn from_wire<W: WireFact, T>(
    field: &'static str,
    wire: Option<W>,
    known: impl FnOnce(W::Known) -> Result<T, Invalid>,
) -> Result<Fact<T>, Invalid> {
    match present(field, present(field, wire)?.split())? {
        Fact::Known(value) => known(value).map(Fact::Known),
        Fact::Unknown(why) => invalid::text(field, why).map(Fact::Unknown),
    }
}

/// A fact from the wire that an older peer does not know: absent is not observed.
pub(super) fn observed<W: WireFact, T>(
    field: &'static str,
    wire: Option<W>,
    known: impl FnOnce(W::Known) -> Result<T, Invalid>,
) -> Result<Fact<T>, Invalid> {
    if wire.is_none() { Ok(Fact::not_observed()) } else { from_wire(field, wire, known) }
}

/// A fact that is a text.
pub(super) fn text_to_wire(fact: Fact<String>) -> Option<agent::TextFact> {
    to_wire(fact, |text| text)
}

/// A fact that is a text.
pub(super) fn text_from_wire(field: &'static str, wire: Option<agent::TextFact>) -> Result<Fact<String>, Invalid> {
    from_wire(field, wire, |text| invalid::text(field, text))
}

/// A fact that is a text or none.
pub(super) fn optional_text_to_wire(fact: Fact<Option<String>>) -> Option<agent::OptionalTextFact> {
    to_wire(fact, |text| agent::OptionalText { text })
}

/// A fact that is a text or none.
pub(super) fn optional_text_from_wire(
    field: &'static str,
    wire: Option<agent::OptionalTextFact>,
) -> Result<Fact<Option<String>>, Invalid> {
    from_wire(field, wire, |agent::OptionalText { text }| optional_text(field, text))
}

/// A text that may be absent.
pub(super) fn optional_text(field: &'static str, text: Option<String>) -> Result<Option<String>, Invalid> {
    text.map(|text| invalid::text(field, text)).transpose()
}

//! Hosts, policies and histories by chance: EX1, and what people and machines may have done to it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::document::Policy;
use policy::duration::Span;
use policy::last::LastKnown;
use policy::report::{Fact, KeyState, MetabaseBinding, Probe, ProbeOutcome, ProbePath, Setup, Sight, SslParameters, Store};

use super::der::Recipe;
use super::{at, be, container, entry, fe, host, policy, record, showing};

/// A host with its story: what `evaluate` and `decide` are asked with.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) policy: Policy,
    pub(crate) sight: Sight,
    pub(crate) last: LastKnown,
    pub(crate) now: Timestamp,
}

/// One of the certificates that play a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The one that Setup made.
    Be,
    /// The public one on 443.
    Fe,
    /// Another self-signed one with the right names.
    Other,
    /// From a CA, with the right names.
    Issued,
}

/// Something that happens to a host.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Nothing,
    NoRecord,
    Record(Option<Part>, &'static str),
    ExtraRecord,
    Parameters,
    Lose(Store, Part),
    Gain(Store, Part),
    Archive(Part),
    Key(Part, Fact<KeyState>),
    NoContainer(Part),
    ForeignKeyIn(Part),
    Setup(Setup),
    NoBinding,
    Disabled,
    Hold(bool),
    NoRole,
    Fqdn(&'static str),
    Metabase,
    Shows(Part),
    Dead,
    Silent,
    Unknown(usize),
    Restored,
    NoMemory,
}

/// The facts that no plan is made without.
pub(crate) const ESSENTIAL: &[fn(&mut Sight)] = &[
    |sight| sight.report.exchange = unknown(),
    |sight| sight.report.setup = unknown(),
    |sight| sight.report.stores = unknown(),
    |sight| sight.report.records = unknown(),
    |sight| sight.report.sites = unknown(),
    |sight| sight.report.metabase = unknown(),
    |sight| sight.report.services = unknown(),
    |sight| sight.report.host.fqdn = unknown(),
    |sight| sight.report.host.machine_id = unknown(),
];

fn unknown<T>() -> Fact<T> {
    Fact::Unknown("not read".to_owned())
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![4 => Just(Part::Be), 1 => Just(Part::Fe), 1 => Just(Part::Other), 1 => Just(Part::Issued)]
}

fn store() -> impl Strategy<Value = Store> {
    prop_oneof![6 => Just(Store::My), 1 => Just(Store::WebHosting), 1 => Just(Store::Root), 1 => Just(Store::Disallowed)]
}

fn change() -> impl Strategy<Value = Change> {
    let key_state = prop_oneof![
        Just(Fact::Known(KeyState::Usable)),
        Just(Fact::Known(KeyState::Missing)),
        Just(Fact::Known(KeyState::Denied)),
        Just(Fact::Known(KeyState::Foreign)),
        Just(unknown()),
    ];
    prop_oneof![
        6 => Just(Change::Nothing),
        6 => Just(Change::NoRecord),
        3 => (prop::option::weighted(0.8, part()), prop_oneof![Just("MY"), Just("WebHosting")])
            .prop_map(|(part, store)| Change::Record(part, store)),
        1 => Just(Change::ExtraRecord),
        1 => Just(Change::Parameters),
        8 => (store(), part()).prop_map(|(store, part)| Change::Lose(store, part)),
        4 => (store(), part()).prop_map(|(store, part)| Change::Gain(store, part)),
        1 => part().prop_map(Change::Archive),
        1 => (part(), key_state).prop_map(|(part, state)| Change::Key(part, state)),
        1 => part().prop_map(Change::NoContainer),
        1 => part().prop_map(Change::ForeignKeyIn),
        1 => Just(Change::Setup(Setup::Running("ExSetup.exe".to_owned()))),
        1 => Just(Change::Setup(Setup::HalfFinished("Watermark".to_owned()))),
        1 => Just(Change::Setup(Setup::Idle)),
        1 => Just(Change::NoBinding),
        1 => Just(Change::Disabled),
        1 => any::<bool>().prop_map(Change::Hold),
        1 => Just(Change::NoRole),
        1 => prop_oneof![Just("ex1.contoso.test"), Just("ex1.fabrikam.test"), Just("mail.contoso.test"), Just("ex1")]
            .prop_map(Change::Fqdn),
        1 => Just(Change::Metabase),
        2 => part().prop_map(Change::Shows),
        1 => Just(Change::Dead),
        2 => Just(Change::Silent),
        1 => (0..ESSENTIAL.len()).prop_map(Change::Unknown),
        1 => Just(Change::Restored),
        1 => Just(Change::NoMemory),
    ]
}

/// The four certificates by their part.
type Cast = BTreeMap<Part, Certificate>;

/// The ends that `be` may have, relative to the story's beginning on 22 November 2026: years, weeks, minutes, past.
const ENDS: [&str; 6] = [
    "2029-03-01T08:00:00Z",
    "2027-02-01T00:00:00Z",
    "2026-12-24T00:00:00Z",
    "2026-11-23T00:00:00Z",
    "2026-11-22T10:02:00Z",
    "2026-11-01T00:00:00Z",
];

/// Every cast, baked once: by the end of `be` and by whether it names the server.
static CASTS: LazyLock<BTreeMap<(&str, bool), Cast>> = LazyLock::new(|| {
    let keys = ENDS.iter().flat_map(|end| [(*end, true), (*end, false)]);
    keys.map(|(end, named)| ((end, named), cast(at(end), named))).collect()
});

fn cast(ends: Timestamp, named: bool) -> Cast {
    let names = ["EX1".to_owned(), if named { "ex1.contoso.test" } else { "old.contoso.test" }.to_owned()];
    let other = Recipe { key: "other".to_owned(), sha1: false, ..be() };
    let issued = Recipe { key: "issued".to_owned(), issuer: Some("Contoso CA".to_owned()), ..be() };
    BTreeMap::from([
        (Part::Be, Recipe { to: ends, names: names.into(), ..be() }.bake()),
        (Part::Fe, fe().bake()),
        (Part::Other, other.bake()),
        (Part::Issued, issued.bake()),
    ])
}

fn container_of(part: Part) -> &'static str {
    match part {
        Part::Be => "be-key",
        Part::Fe => "fe-key",
        Part::Other => "other-key",
        Part::Issued => "issued-key",
    }
}

fn a_policy() -> impl Strategy<Value = String> {
    let mode = prop_oneof![1 => Just("observe"), 2 => Just("propose"), 4 => Just("act")];
    let days = prop_oneof![3 => Just((60, 30)), 1 => Just((60, 0)), 1 => Just((0, 0)), 1 => Just((400, 100))];
    let exception = prop::option::weighted(0.15, prop_oneof![Just("EX1"), Just("EX2")]);
    let window =
        prop::option::weighted(0.2, Just("[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n"));
    let group = prop::option::weighted(0.2, Just("[[group]]\nname = \"g\"\ndag = \"DAG1\"\nmode = \"propose\"\n"));
    (mode, days, any::<bool>(), exception, window, group).prop_map(|(mode, (propose, renew), quick, exception, window, group)| {
        let quiet = if quick { "[quiet]\nrecord_missing = \"0s\"\ndangling = \"10s\"\n" } else { "" };
        let exception = exception.map_or_else(String::new, |server| {
            format!(
                "[[exception]]\nserver = \"{server}\"\nallow = \"early_renewal\"\nowner = \"anna\"\nreason = \"r\"\nuntil = \"2027-06-01T00:00:00Z\"\n"
            )
        });
        format!(
            "mode = \"{mode}\"\n[expiry]\npropose_at = \"{propose}d\"\nrenew_before = \"{renew}d\"\n{quiet}{exception}{}{}",
            window.unwrap_or_default(),
            group.unwrap_or_default()
        )
    })
}

/// A host, its story of up to six looks, its policy, and a moment after it.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let end = prop_oneof![3 => Just(ENDS[0]), 5 => prop::sample::select(&ENDS[1..])];
    let pause = prop_oneof![4 => 0_u32..600, 1 => 0_u32..7_200, 1 => 0_u32..100_000_000];
    let story = prop::collection::vec((change(), pause.clone()), 0..6);
    (a_policy(), end, prop::bool::weighted(0.9), prop::bool::weighted(0.1), story, pause).prop_map(
        |(lines, end, named, compromised, story, rest)| {
            let cast = &CASTS[&(end, named)];
            let certificate = |part: Part| &cast[&part];
            let mut policy = policy(&lines);
            if compromised {
                policy.compromised = [certificate(Part::Be).thumbprint()].into();
            }
            let mut sight = host(certificate(Part::Be), certificate(Part::Fe));
            for part in [Part::Other, Part::Issued] {
                sight.certificates.insert(certificate(part).id(), certificate(part).clone());
            }
            let mut now = at("2026-11-22T10:00:00Z");
            let mut last = LastKnown::default().after(&sight, &policy, now);
            for (change, pause) in story {
                now = Span::seconds(pause).after(now);
                apply(&change, &mut sight, &mut last, cast, now);
                last = last.after(&sight, &policy, now);
            }
            Case { policy, sight, last, now: Span::seconds(rest).after(now) }
        },
    )
}

fn apply(change: &Change, sight: &mut Sight, last: &mut LastKnown, cast: &Cast, now: Timestamp) {
    let certificate = |part: Part| &cast[&part];
    let known = |part: Part| certificate(part).id();
    let report = &mut sight.report;
    match change {
        Change::Nothing => {}
        Change::NoRecord => on(&mut report.records, |records| records.retain(|record| !record.is_back_end())),
        Change::Record(part, store) => {
            let thumbprint = part.map(|part| certificate(part).thumbprint());
            on(&mut report.records, |records| {
                records.retain(|record| !record.is_back_end());
                records.push(record("0.0.0.0:444", thumbprint, store));
            });
        }
        Change::ExtraRecord => on(&mut report.records, |records| records.push(record("[::]:444", None, "MY"))),
        Change::Parameters => on(&mut report.records, |records| {
            let changed = SslParameters { flags: 2, ..SslParameters::default() };
            records
                .iter_mut()
                .filter(|record| record.is_back_end())
                .for_each(|record| record.parameters = Fact::Known(changed.clone()));
        }),
        Change::Lose(store, part) => on(&mut report.stores, |entries| {
            entries.retain(|entry| entry.store != *store || entry.certificate != known(*part));
        }),
        Change::Gain(store, part) => {
            let certificate = certificate(*part);
            let name = container_of(*part);
            on(&mut report.stores, |entries| {
                entries.retain(|entry| entry.store != *store || entry.certificate != certificate.id());
                entries.push(entry(store.clone(), certificate, Some(name)));
            });
            on(&mut report.containers, |containers| {
                containers.retain(|container| container.name != name);
                containers.push(container(name, certificate));
            });
        }
        Change::Archive(part) => on(&mut report.stores, |entries| {
            entries.iter_mut().filter(|entry| entry.certificate == known(*part)).for_each(|entry| entry.archived = true);
        }),
        Change::Key(part, state) => on(&mut report.stores, |entries| {
            entries
                .iter_mut()
                .filter(|entry| entry.certificate == known(*part))
                .for_each(|entry| entry.key_state = state.clone());
        }),
        Change::NoContainer(part) => {
            on(&mut report.containers, |containers| containers.retain(|container| container.name != container_of(*part)));
        }
        Change::ForeignKeyIn(part) => on(&mut report.containers, |containers| {
            let foreign = Fact::Known(certificate(Part::Other).key_id());
            let name = container_of(*part);
            containers
                .iter_mut()
                .filter(|container| container.name == name)
                .for_each(|container| container.key_id = foreign.clone());
        }),
        Change::Setup(setup) => report.setup = Fact::Known(setup.clone()),
        Change::NoBinding => on(&mut report.sites, |sites| sites[1].bindings.clear()),
        Change::Disabled => on(&mut report.services, |services| {
            services.values_mut().for_each(|service| service.disabled = Fact::Known(true));
        }),
        Change::Hold(hold) => report.hold = hold.then(|| "by hand".to_owned()),
        Change::NoRole => on(&mut report.exchange, |exchange| exchange.roles.clear()),
        Change::Fqdn(name) => report.host.fqdn = Fact::Known((*name).to_owned()),
        Change::Metabase => on(&mut report.metabase, |bindings| {
            bindings.push(MetabaseBinding { path: "LM/W3SVC/2".to_owned(), thumbprint: None, store: None });
        }),
        Change::Shows(part) => report.probes = showing(certificate(*part)),
        Change::Dead => {
            let outcome = ProbeOutcome::NoHandshake("reset".to_owned());
            report.probes = vec![Probe { port: 444, path: ProbePath::Loopback, outcome }];
        }
        Change::Silent => report.probes.clear(),
        Change::Unknown(index) => ESSENTIAL[*index](sight),
        Change::Restored => *last = std::mem::take(last).restored(now),
        Change::NoMemory => *last = LastKnown::default(),
    }
}

fn on<T>(fact: &mut Fact<T>, change: impl FnOnce(&mut T)) {
    if let Fact::Known(value) = fact {
        change(value);
    }
}

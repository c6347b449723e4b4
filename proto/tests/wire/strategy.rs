//! Every report and receipt that the domain can hold, for generated tests.

use policy::Timestamp;
use policy::admit::{Objection, Rule};
use policy::id::{ServerName, Sha256, Thumbprint};
use policy::plan::Der;
use policy::receipt::{Outcome, Receipt};
use policy::report::{
    Access, AppPool, AuthCertificates, Binding, Event, EventKind, Exchange, Fact, Host, KeyContainer, KeyLink, KeyState, Machine,
    MetabaseBinding, Probe, ProbeOutcome, ProbePath, RecordKind, Report, Role, Service, Setup, Site, SslParameters, SslRecord,
    Store, StoreEntry, TlsPolicy,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn report() -> impl Strategy<Value = Report> {
    let first = (host(), fact(exchange()), fact(setup()), fact(vec(store_entry(), 0..4)), fact(vec(container(), 0..4)));
    let second = (
        fact(vec(record(), 0..4)),
        fact(vec(site(), 0..3)),
        fact(vec(metabase(), 0..3)),
        fact(btree_map(text(), service(), 0..4)),
        vec(probe(), 0..4),
        option::of(text()),
        machine(),
    );
    (first, second).prop_map(
        |((host, exchange, setup, stores, containers), (records, sites, metabase, services, probes, hold, machine))| Report {
            host,
            exchange,
            setup,
            stores,
            containers,
            records,
            sites,
            metabase,
            services,
            machine,
            probes,
            hold,
        },
    )
}

pub(crate) fn receipt() -> impl Strategy<Value = Receipt> {
    let outcome = select(vec![Outcome::Restored, Outcome::Undone, Outcome::Failed, Outcome::Refused, Outcome::Superseded]);
    let body = option::of(vec(any::<u8>(), 1..40).prop_map(Der));
    let dates = (moment(), moment(), 0..=i64::MAX.unsigned_abs());
    let texts = (vec(text(), 0..4), vec(text(), 0..4), vec(objection(), 0..4));
    (sha256(), outcome, body, option::of(sha256()), dates, texts).prop_map(
        |(plan, outcome, plan_body, standing, (began_at, ended_at, gap_micros), (notes, foreign, objections))| Receipt {
            plan,
            outcome,
            notes,
            foreign,
            plan_body,
            standing,
            began_at,
            ended_at,
            gap_micros,
            objections,
        },
    )
}

/// Texts of every alphabet, and of every length about the bound.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![20 => ".{0,12}", 1 => Just("x".repeat(4096)), 1 => Just("ä".repeat(2048))]
}

fn fact<T: Clone + std::fmt::Debug>(known: impl Strategy<Value = T>) -> impl Strategy<Value = Fact<T>> {
    prop_oneof![3 => known.prop_map(Fact::Known), 1 => text().prop_map(Fact::Unknown)]
}

fn sha256() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(Sha256)
}

fn thumbprint() -> impl Strategy<Value = Thumbprint> {
    any::<[u8; 20]>().prop_map(Thumbprint)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    let micros = Timestamp::MIN.as_microsecond()..=Timestamp::MAX.as_microsecond();
    micros.prop_map(|micros| Timestamp::from_microsecond(micros).expect("between the first and the last moment"))
}

fn host() -> impl Strategy<Value = Host> {
    let name = "[A-Z0-9_-]{1,63}".prop_map(|name| name.parse::<ServerName>().expect("made of the characters of names"));
    (name, fact(text()), fact(text()), fact(text()), fact(option::of(text())))
        .prop_map(|(name, fqdn, machine_id, ad_site, dag)| Host { name, fqdn, machine_id, ad_site, dag })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let roles = btree_set(select(vec![Role::Mailbox, Role::ClientAccess, Role::Edge]), 0..=3);
    (text(), roles).prop_map(|(version, roles)| Exchange { version, roles })
}

fn setup() -> impl Strategy<Value = Setup> {
    prop_oneof![Just(Setup::Idle), text().prop_map(Setup::Running), text().prop_map(Setup::HalfFinished)]
}

fn store() -> impl Strategy<Value = Store> {
    let known = select(vec![Store::My, Store::WebHosting, Store::Root, Store::Request, Store::Disallowed]);
    prop_oneof![known, text().prop_map(|name| Store::named(&name))]
}

fn store_entry() -> impl Strategy<Value = StoreEntry> {
    let states = vec![KeyState::Usable, KeyState::NotLinked, KeyState::Missing, KeyState::Denied, KeyState::Foreign];
    let access = (text(), any::<u32>()).prop_map(|(sid, mask)| Access { sid, mask });
    let key = (fact(option::of(key_link())), fact(select(states)), fact(vec(access, 0..4)));
    (store(), sha256(), thumbprint(), any::<bool>(), fact(option::of(text())), key).prop_map(
        |(store, certificate, thumbprint, archived, friendly_name, (key, key_state, key_access))| StoreEntry {
            store,
            certificate,
            thumbprint,
            archived,
            friendly_name,
            key,
            key_state,
            key_access,
        },
    )
}

fn key_link() -> impl Strategy<Value = KeyLink> {
    (text(), text(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(container, provider, provider_type, flags, key_spec)| KeyLink { container, provider, provider_type, flags, key_spec },
    )
}

fn container() -> impl Strategy<Value = KeyContainer> {
    (text(), fact(sha256())).prop_map(|(name, key_id)| KeyContainer { name, key_id })
}

fn record() -> impl Strategy<Value = SslRecord> {
    let kind = select(vec![RecordKind::Address, RecordKind::Sni, RecordKind::Ccs]);
    (kind, text(), option::of(thumbprint()), option::of(text()), fact(text()), fact(parameters())).prop_map(
        |(kind, endpoint, thumbprint, store, app_id, parameters)| SslRecord {
            kind,
            endpoint,
            thumbprint,
            store,
            app_id,
            parameters,
        },
    )
}

fn parameters() -> impl Strategy<Value = SslParameters> {
    (any::<[u32; 4]>(), option::of(text()), option::of(text())).prop_map(
        |([check_mode, freshness, url_timeout, flags], ctl_identifier, ctl_store)| SslParameters {
            check_mode,
            freshness,
            url_timeout,
            ctl_identifier,
            ctl_store,
            flags,
        },
    )
}

fn site() -> impl Strategy<Value = Site> {
    let binding = (text(), text(), any::<u32>()).prop_map(|(protocol, information, ssl_flags)| Binding {
        protocol,
        information,
        ssl_flags,
    });
    (any::<u32>(), text(), vec(binding, 0..4), fact(any::<bool>())).prop_map(|(id, name, bindings, running)| Site {
        id,
        name,
        bindings,
        running,
    })
}

fn metabase() -> impl Strategy<Value = MetabaseBinding> {
    (text(), option::of(thumbprint()), option::of(text())).prop_map(|(path, thumbprint, store)| MetabaseBinding {
        path,
        thumbprint,
        store,
    })
}

fn service() -> impl Strategy<Value = Service> {
    (fact(any::<bool>()), fact(any::<bool>())).prop_map(|(running, disabled)| Service { running, disabled })
}

fn probe() -> impl Strategy<Value = Probe> {
    let path = select(vec![ProbePath::Loopback, ProbePath::OwnNameV4, ProbePath::OwnNameV6]);
    let outcome = prop_oneof![
        sha256().prop_map(|certificate| ProbeOutcome::Presented { certificate }),
        Just(ProbeOutcome::Refused),
        text().prop_map(ProbeOutcome::NoHandshake),
        text().prop_map(ProbeOutcome::Unreachable),
        text().prop_map(ProbeOutcome::Elsewhere),
    ];
    (any::<u16>(), path, outcome).prop_map(|(port, path, outcome)| Probe { port, path, outcome })
}

fn objection() -> impl Strategy<Value = Objection> {
    let rules = vec![
        Rule::LeaveAlone,
        Rule::TwoKeys,
        Rule::OtherHost,
        Rule::Expectation,
        Rule::Deadline,
        Rule::Clock,
        Rule::Once,
        Rule::Window,
        Rule::Quiet,
        Rule::Hold,
        Rule::Mode,
    ];
    (select(rules), text(), option::of(moment())).prop_map(|(rule, detail, until)| Objection { rule, detail, until })
}

fn machine() -> impl Strategy<Value = Machine> {
    let thumbprint = || any::<[u8; 20]>().prop_map(Thumbprint);
    let pool = select(vec![AppPool::Started, AppPool::Stopped]);
    let tls =
        (btree_map(text(), any::<u32>(), 0..4), option::of(moment())).prop_map(|(values, changed)| TlsPolicy { values, changed });
    let auth =
        (option::of(thumbprint()), option::of(thumbprint())).prop_map(|(current, next)| AuthCertificates { current, next });
    let event = (
        moment(),
        select(EventKind::ALL.to_vec()),
        option::of(thumbprint()),
        option::of(text()),
        option::of(text()),
        option::of(text()),
    )
        .prop_map(|(at, kind, thumbprint, object, process, account)| Event {
            at,
            kind,
            thumbprint,
            object,
            process,
            account,
        });
    let times = (fact(moment()), fact(any::<i32>()), fact(option::of(moment())));
    let lists = (fact(vec(text(), 0..3)), fact(btree_map(text(), pool, 0..3)), fact(vec(event, 0..3)));
    let rest = (fact(option::of(text())), fact(tls), fact(auth), fact(option::of(thumbprint())), fact(text()));
    (times, lists, rest).prop_map(
        |(
            (booted, clock_ahead, last_setup),
            (maintenance, app_pools, events),
            (iis_redirected, tls, auth, transport, forest),
        )| Machine {
            booted,
            clock_ahead,
            maintenance,
            last_setup,
            iis_redirected,
            app_pools,
            tls,
            auth,
            transport,
            forest,
            events,
        },
    )
}

//! A story, line by line.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::certificate::Certificate;
use policy::decide::{aside, decide};
use policy::document::Policy;
use policy::evaluate::evaluate;
use policy::last::LastKnown;
use policy::look::next_look;
use policy::peers::{self, Peer, Word};
use policy::report::{
    AppPool, AuthCertificates, Binding, Event, Fact, KeyState, Machine, MetabaseBinding, Probe, ProbeOutcome, ProbePath, Role,
    Service, Setup, Sight, Site, SslParameters, SslRecord, Store, StoreEntry,
};

use super::show;
use crate::stage::{self, at, der::Recipe};

pub(crate) struct Story {
    certificates: BTreeMap<String, Certificate>,
    policy: String,
    sight: Sight,
    last: LastKnown,
    /// Who looks from outside, and is asked about the certificate that is on 444.
    peers: Vec<(String, ProbeOutcome)>,
    now: Option<Timestamp>,
    /// Changes since the last look have not been taken into memory yet.
    unseen: bool,
    shown: String,
}

impl Story {
    pub(crate) fn new() -> Self {
        let (be, fe) = (stage::be().bake(), stage::fe().bake());
        Self {
            sight: stage::host(&be, &fe),
            certificates: BTreeMap::from([("be".to_owned(), be), ("fe".to_owned(), fe)]),
            policy: String::new(),
            last: LastKnown::default(),
            peers: Vec::new(),
            now: None,
            unseen: false,
            shown: String::new(),
        }
    }

    /// Plays all lines; what was asked comes back.
    pub(crate) fn play(mut self, text: &str) -> String {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "" | "#" => {}
                "policy" => self.policy.push_str(&format!("{rest}\n")),
                "certificate" => self.certificate(rest),
                "look" => {
                    self.see();
                    self.now = Some(at(rest));
                    self.unseen = true;
                }
                "ask" => self.ask(),
                _ => self.change(word, rest).unwrap_or_else(|| panic!("line {}: {line:?} says nothing", number + 1)),
            }
        }
        self.shown
    }

    fn certificate(&mut self, rest: &str) {
        let mut words = rest.split(' ');
        let name = words.next().expect("a name").to_owned();
        let mut recipe = Recipe { names: Vec::new(), issuer: None, sha1: false, signs: true, key: name.clone(), ..stage::be() };
        for word in words {
            match word.split_once('=') {
                Some(("key", key)) => key.clone_into(&mut recipe.key),
                Some(("names", names)) => recipe.names = names.split(',').map(str::to_owned).collect(),
                Some(("from", date)) => recipe.from = at(&format!("{date}T00:00:00Z")),
                Some(("to", date)) => recipe.to = at(&format!("{date}T00:00:00Z")),
                Some(("issuer", issuer)) => recipe.issuer = Some(issuer.to_owned()),
                None if word == "sha1" => recipe.sha1 = true,
                None if word == "no-signing" => recipe.signs = false,
                Some(_) | None => panic!("{word:?} says nothing of a certificate"),
            }
        }
        let certificate = recipe.bake();
        self.sight.certificates.insert(certificate.id(), certificate.clone());
        self.certificates.insert(name, certificate);
    }

    fn policy(&self) -> Policy {
        let mut text = self.policy.clone();
        for (name, certificate) in &self.certificates {
            text = text.replace(&format!("{{{name}}}"), &certificate.thumbprint().to_string());
        }
        stage::policy(&text)
    }

    /// The memory takes the present look in.
    fn see(&mut self) {
        if let Some(now) = self.now
            && self.unseen
        {
            self.last = self.last.after(&self.sight, &self.policy(), now);
            self.unseen = false;
        }
    }

    fn ask(&mut self) {
        self.see();
        let now = self.now.expect("a look before the question");
        let policy = self.policy();
        let question = peers::question(None, None);
        let peers: Vec<Peer> = self
            .peers
            .iter()
            .map(|(peer, outcome)| Peer {
                server: peer.parse().expect("a name"),
                word: Some(Word { question, outcome: outcome.clone(), before: None }),
                heard: true,
            })
            .collect();
        let from_outside = peers::findings(&self.sight, &peers, question);
        let assessment = evaluate(&policy, &self.sight, &self.last, now).with(from_outside);
        let decision = decide(&policy, &self.sight, &self.last, now);
        let next = next_look(&policy, &self.sight, &self.last, now);
        let beside = aside(&policy, &self.sight, &self.last, now);
        self.shown.push_str(&format!("== {now}\n{}\n", show::answer(&assessment, &decision, &beside, next)));
    }

    /// The facts that a line changes; `None` for a line that says nothing.
    fn change(&mut self, word: &str, rest: &str) -> Option<()> {
        let words: Vec<&str> = rest.split(' ').collect();
        let report = &mut self.sight.report;
        match (word, words.as_slice()) {
            // http.sys: `record ENDPOINT CERTIFICATE STORE`, `record ENDPOINT nothing`, `no-record ENDPOINT`.
            ("record", [endpoint, "nothing"]) => put(self.records(), stage::record(endpoint, None, "MY")),
            ("record", [endpoint, name, store]) => {
                let thumbprint = self.certificates.get(*name)?.thumbprint();
                put(self.records(), stage::record(endpoint, Some(thumbprint), store));
            }
            ("no-record", [endpoint]) => self.records().retain(|record| record.endpoint != *endpoint),
            ("parameters", [endpoint, "changed"]) => {
                let record = self.records().iter_mut().find(|record| record.endpoint == *endpoint)?;
                record.parameters = Fact::Known(SslParameters { flags: 2, ..SslParameters::default() });
            }
            // Stores: `store STORE CERTIFICATE CONTAINER`, `no-store …`, `no-bytes CERTIFICATE`, `archive …`, `key CERTIFICATE STATE`.
            ("store", [store, name, container]) => {
                let entry = stage::entry(Store::named(store), self.certificates.get(*name)?, Some(container));
                self.entries().push(entry);
            }
            ("store", [store, name]) => {
                let entry = stage::entry(Store::named(store), self.certificates.get(*name)?, None);
                self.entries().push(entry);
            }
            ("no-store", [store, name]) => {
                let gone = self.certificates.get(*name)?.id();
                self.entries().retain(|entry| entry.store != Store::named(store) || entry.certificate != gone);
            }
            ("no-bytes", [name]) => {
                let gone = self.certificates.get(*name)?.id();
                self.sight.certificates.remove(&gone);
            }
            ("archive", [store, name]) => self.entry(store, name)?.archived = true,
            ("key", [name, state]) => {
                self.entry("My", name)?.key_state = match *state {
                    "usable" => Fact::Known(KeyState::Usable),
                    "missing" => Fact::Known(KeyState::Missing),
                    "denied" => Fact::Known(KeyState::Denied),
                    "unknown" => Fact::Unknown("the key was not opened".to_owned()),
                    _ => return None,
                }
            }
            ("container", [container, name]) => {
                let container = stage::container(container, self.certificates.get(*name)?);
                if let Fact::Known(containers) = &mut self.sight.report.containers {
                    containers.push(container);
                }
            }
            ("no-container", [name]) => {
                if let Fact::Known(containers) = &mut report.containers {
                    containers.retain(|container| container.name != *name);
                }
            }
            // Handshakes: `shows CERTIFICATE`, `handshake PATH fails|refused|unreachable`, `no-handshakes`.
            ("shows", [name]) => report.probes = stage::showing(self.certificates.get(*name)?),
            ("handshake", [path, outcome]) => {
                let path = match *path {
                    "loopback" => ProbePath::Loopback,
                    "v4" => ProbePath::OwnNameV4,
                    "v6" => ProbePath::OwnNameV6,
                    _ => return None,
                };
                let outcome = failed(outcome)?;
                report.probes.retain(|probe| probe.path != path);
                report.probes.push(Probe { port: 444, path, outcome });
            }
            // From outside: `peer SERVER shows CERTIFICATE`, `peer SERVER fails|refused|unreachable`.
            ("peer", [peer, "shows", name]) => {
                let certificate = self.certificates.get(*name)?.id();
                self.peers.push(((*peer).to_owned(), ProbeOutcome::Presented { certificate }));
            }
            ("peer", [peer, outcome]) => self.peers.push(((*peer).to_owned(), failed(outcome)?)),
            ("no-handshakes", [""]) => report.probes.clear(),
            // The host.
            ("setup", ["idle"]) => report.setup = Fact::Known(Setup::Idle),
            ("setup", ["running", what]) => report.setup = Fact::Known(Setup::Running((*what).to_owned())),
            ("setup", ["half-finished", what]) => report.setup = Fact::Known(Setup::HalfFinished((*what).to_owned())),
            ("fqdn", [name]) => report.host.fqdn = Fact::Known((*name).to_owned()),
            ("exchange", [version, roles @ ..]) => {
                let Fact::Known(exchange) = &mut report.exchange else { return None };
                (*version).clone_into(&mut exchange.version);
                exchange.roles = roles
                    .iter()
                    .map(|role| match *role {
                        "mailbox" => Role::Mailbox,
                        "client-access" => Role::ClientAccess,
                        "edge" => Role::Edge,
                        other => panic!("{other:?} is no role"),
                    })
                    .collect();
            }
            ("no-binding", [information]) => {
                let Fact::Known(sites) = &mut report.sites else { return None };
                sites.iter_mut().for_each(|site| site.bindings.retain(|binding| binding.information != *information));
            }
            ("service", [name, "disabled"]) => {
                let Fact::Known(services) = &mut report.services else { return None };
                services.get_mut(*name)?.disabled = Fact::Known(true);
            }
            ("add-service", [name]) => {
                let Fact::Known(services) = &mut report.services else { return None };
                let service = Service { running: Fact::Known(true), disabled: Fact::Known(false) };
                services.insert((*name).to_owned(), service);
            }
            ("service", [name, "stopped"]) => {
                let Fact::Known(services) = &mut report.services else { return None };
                services.get_mut(*name)?.running = Fact::Known(false);
            }
            // IIS: `bind SITE INFORMATION FLAGS`, `site-stopped SITE`, `add-site ID NAME…`, `metabase PATH CERTIFICATE`.
            ("bind", [site, information, flags]) => {
                let Fact::Known(sites) = &mut report.sites else { return None };
                let site = sites.iter_mut().find(|found| found.id.to_string() == **site)?;
                let binding = Binding { ssl_flags: flags.parse().ok()?, ..stage::binding("https", information) };
                site.bindings.push(binding);
            }
            ("site-stopped", [site]) => {
                let Fact::Known(sites) = &mut report.sites else { return None };
                sites.iter_mut().find(|found| found.id.to_string() == **site)?.running = Fact::Known(false);
            }
            ("no-site", [site]) => {
                let Fact::Known(sites) = &mut report.sites else { return None };
                sites.retain(|found| found.id.to_string() != **site);
            }
            ("add-site", [id, name]) => {
                let Fact::Known(sites) = &mut report.sites else { return None };
                let site =
                    Site { id: id.parse().ok()?, name: (*name).to_owned(), bindings: Vec::new(), running: Fact::Known(true) };
                sites.push(site);
            }
            ("metabase", [path, name]) => {
                let thumbprint = self.certificates.get(*name)?.thumbprint();
                let Fact::Known(metabase) = &mut report.metabase else { return None };
                let store = Some("MY".to_owned());
                metabase.push(MetabaseBinding { path: (*path).to_owned(), thumbprint: Some(thumbprint), store });
            }
            // Keys: `cng CERTIFICATE`, `unlinked CERTIFICATE`, `no-access CERTIFICATE SID`.
            ("cng", [name]) => {
                if let Fact::Known(Some(link)) = &mut self.entry("My", name)?.key {
                    link.provider_type = 0;
                    "Microsoft Software Key Storage Provider".clone_into(&mut link.provider);
                }
            }
            ("unlinked", [name]) => {
                let entry = self.entry("My", name)?;
                entry.key = Fact::Known(None);
                entry.key_state = Fact::Known(KeyState::NotLinked);
            }
            ("no-access", [name, sid]) => {
                if let Fact::Known(access) = &mut self.entry("My", name)?.key_access {
                    access.retain(|one| one.sid != *sid);
                }
            }
            ("friendly", [name, friendly @ ..]) => {
                self.entry("My", name)?.friendly_name = Fact::Known(Some(friendly.join(" ")));
            }
            ("front-end-shows", [name]) => {
                let certificate = self.certificates.get(*name)?.id();
                report.probes.retain(|probe| probe.port != 443);
                let outcome = ProbeOutcome::Presented { certificate };
                report.probes.push(Probe { port: 443, path: ProbePath::Loopback, outcome });
            }
            ("elsewhere", [path, address]) => {
                let path = if *path == "v4" { ProbePath::OwnNameV4 } else { ProbePath::OwnNameV6 };
                report.probes.retain(|probe| probe.path != path);
                report.probes.push(Probe { port: 444, path, outcome: ProbeOutcome::Elsewhere((*address).to_owned()) });
            }
            ("machine-id", [id]) => report.host.machine_id = Fact::Known((*id).to_owned()),
            ("dag", [name]) => report.host.dag = Fact::Known(Some((*name).to_owned())),
            ("name", [name]) => report.host.name = name.parse().ok()?,
            // The machine: `machine FACT VALUE`.
            ("machine", [fact, value @ ..]) => self.machine(fact, &value.join(" "))?,
            // Events: `event KIND TIME KEY=VALUE…`; a certificate by its name, `object`, `process`, `account`.
            ("event", [kind, time, about @ ..]) => {
                let mut event = Event {
                    at: at(time),
                    kind: serde_json::from_value(serde_json::Value::from(*kind)).ok()?,
                    thumbprint: None,
                    object: None,
                    process: None,
                    account: None,
                };
                for (key, value) in about.iter().filter_map(|word| word.split_once('=')) {
                    match key {
                        "certificate" => event.thumbprint = Some(self.certificates.get(value)?.thumbprint()),
                        "object" => event.object = Some(value.to_owned()),
                        "process" => event.process = Some(value.to_owned()),
                        "account" => event.account = Some(value.to_owned()),
                        _ => return None,
                    }
                }
                let Fact::Known(events) = &mut self.sight.report.machine.events else { return None };
                events.push(event);
            }
            ("hold", _) => report.hold = Some(rest.to_owned()),
            ("unknown", [fact]) => self.forget(fact)?,
            // The memory: an automatic restore was done now; or nothing was ever seen.
            ("restored", [""]) => {
                self.see();
                self.last = std::mem::take(&mut self.last).restored(self.now?);
            }
            ("no-memory", [""]) => self.last = LastKnown::default(),
            _ => return None,
        }
        Some(())
    }

    fn machine(&mut self, fact: &str, value: &str) -> Option<()> {
        let thumbprint = |name: &str| self.certificates.get(name).map(Certificate::thumbprint);
        let machine = &mut self.sight.report.machine;
        match fact {
            "booted" => machine.booted = Fact::Known(at(value)),
            "clock-ahead" => machine.clock_ahead = Fact::Known(value.parse().ok()?),
            "maintenance" => machine.maintenance = Fact::Known(vec![value.to_owned()]),
            "last-setup" => machine.last_setup = Fact::Known(Some(at(value))),
            "redirected" => machine.iis_redirected = Fact::Known(Some(value.to_owned())),
            "pool-stopped" => {
                let Fact::Known(pools) = &mut machine.app_pools else { return None };
                pools.insert(value.to_owned(), AppPool::Stopped);
            }
            "tls-changed" => {
                let Fact::Known(tls) = &mut machine.tls else { return None };
                tls.changed = Some(at(value));
            }
            "auth" => machine.auth = Fact::Known(AuthCertificates { current: Some(thumbprint(value)?), next: None }),
            "transport" => machine.transport = Fact::Known(Some(thumbprint(value)?)),
            _ => return None,
        }
        Some(())
    }

    fn forget(&mut self, fact: &str) -> Option<()> {
        let report = &mut self.sight.report;
        let why = || "access denied".to_owned();
        match fact {
            "stores" => report.stores = Fact::Unknown(why()),
            "records" => report.records = Fact::Unknown(why()),
            "containers" => report.containers = Fact::Unknown(why()),
            "sites" => report.sites = Fact::Unknown(why()),
            "metabase" => report.metabase = Fact::Unknown(why()),
            "services" => report.services = Fact::Unknown(why()),
            "setup" => report.setup = Fact::Unknown(why()),
            "exchange" => report.exchange = Fact::Unknown(why()),
            "fqdn" => report.host.fqdn = Fact::Unknown(why()),
            "machine" => report.host.machine_id = Fact::Unknown(why()),
            "machine-facts" => report.machine = Machine::not_observed(),
            "ad-site" => report.host.ad_site = Fact::Unknown(why()),
            "dag" => report.host.dag = Fact::Unknown(why()),
            _ => return None,
        }
        Some(())
    }

    fn records(&mut self) -> &mut Vec<SslRecord> {
        match &mut self.sight.report.records {
            Fact::Known(records) => records,
            Fact::Unknown(why) => panic!("records are unknown: {why}"),
        }
    }

    fn entries(&mut self) -> &mut Vec<StoreEntry> {
        match &mut self.sight.report.stores {
            Fact::Known(entries) => entries,
            Fact::Unknown(why) => panic!("stores are unknown: {why}"),
        }
    }

    fn entry(&mut self, store: &str, name: &str) -> Option<&mut StoreEntry> {
        let id = self.certificates.get(name)?.id();
        self.entries().iter_mut().find(|entry| entry.store == Store::named(store) && entry.certificate == id)
    }
}

fn failed(word: &str) -> Option<ProbeOutcome> {
    match word {
        "fails" => Some(ProbeOutcome::NoHandshake("connection reset after the client's hello".to_owned())),
        "refused" => Some(ProbeOutcome::Refused),
        "unreachable" => Some(ProbeOutcome::Unreachable("no such address".to_owned())),
        _ => None,
    }
}

/// Sets the record of that endpoint.
fn put(records: &mut Vec<SslRecord>, record: SslRecord) {
    records.retain(|other| other.endpoint != record.endpoint);
    records.push(record);
}

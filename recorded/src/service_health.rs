//! Test-ServiceHealth: which of the services that Exchange needs are running, per role.

use std::collections::{BTreeMap, BTreeSet};

use policy::report::{Fact, Service};

use crate::clixml::{Graph, Object};

const TYPE: &str = "Microsoft.Exchange.Monitoring.ExchangeServicesStatus";

/// The members of an object that are read here.
pub(crate) const MEMBERS: &[&str] = &["PSComputerName", "ServicesRunning", "ServicesNotRunning"];

/// Service names as the registry spells them, where Test-ServiceHealth spells them otherwise.
const SPELLINGS: [&str; 3] = ["W3SVC", "IISADMIN", "WinRM"];

/// What is read of Test-ServiceHealth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Services by key name.
    pub services: BTreeMap<String, Service>,
    /// The machines through which the export was made (`PSComputerName`).
    pub computers: BTreeSet<String>,
}

/// Whether the object is the health of one role.
pub fn is_health(object: &Object<'_>) -> bool {
    object.is(TYPE)
}

/// Reads the services of an export.
pub fn read(graph: &Graph<'_>) -> Health {
    let mut health = Health::default();
    let mut running: BTreeMap<String, bool> = BTreeMap::new();
    for object in graph.roots().filter(|object| is_health(object)) {
        health.computers.extend(object.member_text("PSComputerName").map(str::to_owned));
        for (member, runs) in [("ServicesRunning", true), ("ServicesNotRunning", false)] {
            for name in graph.texts(object, member) {
                let known = SPELLINGS.iter().find(|spelling| spelling.eq_ignore_ascii_case(name));
                // One service serves several roles. Seen once as stopped, it is not taken for running.
                let slot = running.entry((*known.unwrap_or(&name)).to_owned()).or_insert(true);
                *slot &= runs;
            }
        }
    }
    let disabled = || Fact::Unknown("Test-ServiceHealth does not show start types".to_owned());
    health.services =
        running.into_iter().map(|(name, runs)| (name, Service { running: Fact::Known(runs), disabled: disabled() })).collect();
    health
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_one_role_misses_is_not_running() {
        let role = |running: &str, stopped: &str| {
            format!(
                "<Obj><TN><T>Deserialized.{TYPE}</T></TN><Props><Obj N='ServicesRunning'><LST>{running}</LST></Obj>\
                 <Obj N='ServicesNotRunning'><LST>{stopped}</LST></Obj></Props><MS><S N='PSComputerName'>ex1</S></MS></Obj>"
            )
        };
        let text = format!("<Objs>{}{}</Objs>", role("<S>W3Svc</S><S>MSExchangeIS</S>", ""), role("", "<S>MSExchangeIS</S>"));
        let health = read(&Graph::read(crate::xml::parse(&text).expect("XML")).expect("objects"));
        let running: Vec<_> = health.services.iter().map(|(name, service)| (name.as_str(), &service.running)).collect();
        assert_eq!(running, [("MSExchangeIS", &Fact::Known(false)), ("W3SVC", &Fact::Known(true))]);
        assert_eq!(health.computers, ["ex1".to_owned()].into());
    }
}

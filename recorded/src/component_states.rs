//! What Exchange keeps of its components' states in the registry, below `v15\ServerComponentStates`: a key for each component, in it a
//! value for each requester.
//!
//! Every requester sets a state of its own, and a component is as inactive as the one who wants it most inactive (Microsoft: "Server
//! Component States in Exchange 2013"). A value is `version:state:time`, with the time in ticks of .NET. That the states are
//! numbered 0 inactive, 1 active, 2 draining is reported, not documented; so any other number, and any other shape, is an error
//! and no guess. The directory holds states too (`msExchComponentStates`); Exchange brings the two together while it runs, so what was
//! set while it was stopped is not seen here.

use std::collections::BTreeMap;

use thiserror::Error;

/// Managed Availability's own requester. What it takes offline by itself is a symptom, of a dead 444 among others, and nobody's
/// maintenance: were it one, a repair would wait for what only the repair can end.
const BY_ITSELF: &str = "HealthAPI";

/// Components of Exchange Online that are inactive on every server on premises.
const NEVER_ACTIVE: [&str; 2] = ["ForwardSyncDaemon", "ProvisioningRps"];

/// The values of each component's key by the requester's name, by the component's name.
pub type ComponentStates = BTreeMap<String, BTreeMap<String, String>>;

/// A value that is not a state as it is read here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected the state of {component} that {requester} wants to be version:state:time, found {found:?}")]
pub struct ComponentError {
    component: String,
    requester: String,
    found: String,
}

/// What one requester wants, from the least active on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Inactive,
    Draining,
    Active,
}

/// The components that somebody took out of service, in order, as people name them: `ServerWideOffline is inactive`.
///
/// # Errors
/// [`ComponentError`] when one state does not read: it may be the one that says so.
pub fn in_maintenance(states: &ComponentStates) -> Result<Vec<String>, ComponentError> {
    let mut found = Vec::new();
    let components = states.iter().filter(|(name, _)| !NEVER_ACTIVE.iter().any(|never| never.eq_ignore_ascii_case(name)));
    for (component, requesters) in components {
        let mut least = State::Active;
        // The key's default value has no name and is no requester's.
        let wishes = requesters.iter().filter(|(name, _)| !name.is_empty() && !name.eq_ignore_ascii_case(BY_ITSELF));
        for (requester, value) in wishes {
            let wanted = state(value).ok_or_else(|| ComponentError {
                component: component.clone(),
                requester: requester.clone(),
                found: value.chars().take(80).collect(),
            })?;
            least = least.min(wanted);
        }
        match least {
            State::Inactive => found.push(format!("{component} is inactive")),
            State::Draining => found.push(format!("{component} is draining")),
            State::Active => {}
        }
    }
    Ok(found)
}

fn state(value: &str) -> Option<State> {
    let parts: Vec<&str> = value.trim().split(':').collect();
    let [version, state, time] = parts[..] else { return None };
    let _: u32 = version.parse().ok()?;
    let _: u64 = time.parse().ok()?;
    match state {
        "0" => Some(State::Inactive),
        "1" => Some(State::Active),
        "2" => Some(State::Draining),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "638999999999999999";

    fn states(values: &[(&str, &str, &str)]) -> ComponentStates {
        let mut states = ComponentStates::new();
        for (component, requester, state) in values {
            let requesters = states.entry((*component).to_owned()).or_default();
            requesters.insert((*requester).to_owned(), format!("1:{state}:{TIME}"));
        }
        states
    }

    fn told(values: &[(&str, &str, &str)]) -> Vec<String> {
        in_maintenance(&states(values)).expect("states")
    }

    #[test]
    fn what_is_inactive_or_draining_is_named() {
        let values =
            [("ServerWideOffline", "Maintenance", "0"), ("HubTransport", "Maintenance", "2"), ("OwaProxy", "Maintenance", "1")];
        assert_eq!(told(&values), ["HubTransport is draining", "ServerWideOffline is inactive"]);
        assert_eq!(told(&[]), Vec::<String>::new());
    }

    #[test]
    fn one_requester_who_wants_it_inactive_is_enough() {
        for values in [
            [("HubTransport", "Functional", "1"), ("HubTransport", "Maintenance", "0")],
            [("HubTransport", "Deployment", "0"), ("HubTransport", "Maintenance", "2")],
        ] {
            assert_eq!(told(&values), ["HubTransport is inactive"]);
        }
    }

    #[test]
    fn what_managed_availability_did_by_itself_and_what_is_never_active_is_no_maintenance() {
        let values =
            [("OwaProxy", "HealthAPI", "0"), ("ForwardSyncDaemon", "Maintenance", "0"), ("ProvisioningRps", "Functional", "0")];
        assert_eq!(told(&values), Vec::<String>::new());
        assert_eq!(told(&[("OwaProxy", "HealthAPI", "0"), ("OwaProxy", "Maintenance", "0")]), ["OwaProxy is inactive"]);
    }

    #[test]
    fn a_state_that_does_not_read_is_named_and_nothing_is_guessed() {
        for value in ["", "1:3:5", "1:Active:5", "1:0", "1:0:5:6", "x:0:5", "1:0:x"] {
            let requesters = BTreeMap::from([("Maintenance".to_owned(), value.to_owned())]);
            let error = in_maintenance(&BTreeMap::from([("HubTransport".to_owned(), requesters)])).expect_err(value);
            assert_eq!(
                error.to_string(),
                format!("expected the state of HubTransport that Maintenance wants to be version:state:time, found {value:?}")
            );
        }
    }
}

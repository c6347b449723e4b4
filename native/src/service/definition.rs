//! What a service is: everything that its program asks of Windows, in one place that can be read and compared.

use std::fmt;
use std::time::Duration;

/// When a service that failed is started again: after its first, its second, and every later failure.
pub const RESTARTS: [Duration; 3] = [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(60)];

/// After so long without a failure the next one counts as the first.
pub const RESET: Duration = Duration::from_secs(86_400);

/// A service: one process of its own, started with Windows, under the local system account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its key in the registry, and its account's name in access lists: `NT SERVICE\<name>`.
    pub name: &'static str,
    /// What people see.
    pub display_name: &'static str,
    /// What people read about it.
    pub description: &'static str,
    /// When it starts.
    pub start: Start,
    /// How long Windows waits for it when it shuts down. Without it 3 minutes, and since Windows 10 1703 ten seconds
    /// (Microsoft, `SERVICE_PRESHUTDOWN_INFO`).
    pub preshutdown: Duration,
    /// The privileges that its process keeps; the service control manager takes all others away.
    pub privileges: &'static [Privilege],
    /// How it is managed, for messages: `backstay-agent.exe` or `backstay.exe service`.
    pub command: &'static str,
}

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With Windows.
    Automatic,
    /// About two minutes after the others.
    Delayed,
}

/// A privilege, and what needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privilege {
    /// As Windows calls it, `SeChangeNotifyPrivilege` for example.
    pub name: &'static str,
    /// What would fail without it.
    pub why: &'static str,
}

/// One thing that is set on a service after it was made. Each is a call of its own, and an old Windows may lack each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// What people read about it.
    Description(&'static str),
    /// It starts later than the others, or does not.
    Delayed(bool),
    /// It is started again after a failure: [`RESTARTS`], [`RESET`].
    Restarts,
    /// Also after it stopped by itself with an error, not only when its process is gone.
    RestartsAfterErrors,
    /// Its process has a SID of its own, so that access lists can name it.
    Sid,
    /// What its process may at most.
    Privileges(Vec<&'static str>),
    /// How long Windows waits for it when it shuts down.
    Preshutdown(Duration),
}

impl Definition {
    /// Everything that is set, in order.
    pub fn settings(&self) -> Vec<Setting> {
        let Self { name: _, display_name: _, description, start, preshutdown, privileges, command: _ } = self;
        vec![
            Setting::Description(description),
            Setting::Delayed(*start == Start::Delayed),
            Setting::Restarts,
            Setting::RestartsAfterErrors,
            Setting::Sid,
            Setting::Privileges(privileges.iter().map(|privilege| privilege.name).collect()),
            Setting::Preshutdown(*preshutdown),
        ]
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description(_) => f.write_str("description"),
            Self::Delayed(true) => f.write_str("delayed start"),
            Self::Delayed(false) => f.write_str("start without delay"),
            Self::Restarts => {
                write!(f, "restart after failures ({})", RESTARTS.map(|after| format!("{} s", after.as_secs())).join(", "))
            }
            Self::RestartsAfterErrors => f.write_str("restart after errors that are no crash"),
            Self::Sid => f.write_str("service SID, unrestricted"),
            Self::Privileges(names) => write!(f, "required privileges ({})", names.join(", ")),
            Self::Preshutdown(time) => write!(f, "preshutdown time ({} s)", time.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Definition = Definition {
        name: "Some",
        display_name: "Some service",
        description: "For a test.",
        start: Start::Automatic,
        preshutdown: Duration::from_secs(90),
        privileges: &[Privilege { name: "SeChangeNotifyPrivilege", why: "folders" }],
        command: "some.exe",
    };

    #[test]
    fn every_setting_of_a_definition_is_asked_for_once() {
        let asked: Vec<String> = SOME.settings().iter().map(Setting::to_string).collect();
        assert_eq!(
            asked,
            [
                "description",
                "start without delay",
                "restart after failures (10 s, 60 s, 60 s)",
                "restart after errors that are no crash",
                "service SID, unrestricted",
                "required privileges (SeChangeNotifyPrivilege)",
                "preshutdown time (90 s)",
            ]
        );
        assert!(Definition { start: Start::Delayed, ..SOME }.settings().contains(&Setting::Delayed(true)));
    }
}

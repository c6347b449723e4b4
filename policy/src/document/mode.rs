//! What may be done without asking, where and about what: the mode of a server, and what the policy leaves of it for each
//! class of actions. The lower of the two counts.

use serde::Deserialize;

use super::Policy;
use crate::id::ServerName;
use crate::plan::Purpose;
use crate::report::Host;

/// What the agent may do by itself on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Say what would have been done, when and why.
    Observe,
    /// Propose everything; do nothing without approval.
    Propose,
    /// Restore by standing approval, within the rules of restraint.
    Act,
}

impl Mode {
    /// The mode as the policy writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Propose => "propose",
            Self::Act => "act",
        }
    }
}

/// `[[group]]`: servers with a mode of their own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Servers by name.
    #[serde(default)]
    pub servers: Vec<ServerName>,
    /// All members of this DAG.
    pub dag: Option<String>,
    /// All servers of this AD site.
    pub site: Option<String>,
    /// What may be done there.
    pub mode: Mode,
}

impl Group {
    /// Whether the group names this host; `None` when that hangs on a fact that is unknown.
    fn has(&self, host: &Host) -> Option<bool> {
        let is = |wanted: &Option<String>, found: Option<Option<&String>>| match wanted {
            None => Some(false),
            Some(wanted) => found.map(|found| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted))),
        };
        let by_dag = is(&self.dag, host.dag.known().map(Option::as_ref));
        let by_site = is(&self.site, host.ad_site.known().map(Some));
        match (self.servers.contains(&host.name), by_dag, by_site) {
            (true, _, _) | (_, Some(true), _) | (_, _, Some(true)) => Some(true),
            (false, Some(false), Some(false)) => Some(false),
            (false, None, _) | (false, _, None) => None,
        }
    }
}

/// A class of actions: what the policy speaks of when it leaves more or less to the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Making whole on 444 what was whole: record, store name, certificate, key link (R0, R0b, R1, R1b), and taking an archive
    /// mark off (R1c), which always asks.
    Restore,
    /// Another certificate for 444 after a loss: a new one (R2), or one that somebody made for it.
    Create,
    /// Renewing the certificate on 444.
    Renew,
    /// Giving 443 its certificate back.
    FrontEnd,
    /// Extra records on 444, and the binding of the back-end site.
    Configuration,
}

impl Action {
    /// Every class, in the order of the document.
    pub const ALL: [Self; 5] = [Self::Restore, Self::Create, Self::Renew, Self::FrontEnd, Self::Configuration];

    /// The key of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Create => "create",
            Self::Renew => "renew",
            Self::FrontEnd => "front_end",
            Self::Configuration => "configuration",
        }
    }

    /// The class to which a plan of this purpose belongs.
    pub fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::RestoreRecord | Purpose::Undelete | Purpose::FixStore | Purpose::Relink | Purpose::Unarchive => {
                Self::Restore
            }
            Purpose::BindCandidate | Purpose::Create => Self::Create,
            Purpose::Renew => Self::Renew,
            Purpose::GiveBackFrontEnd => Self::FrontEnd,
            Purpose::RemoveExtraRecord | Purpose::FixBinding => Self::Configuration,
        }
    }
}

/// What is left to the agents of one class of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Reported, and what would have been done; never proposed.
    Report,
    /// Proposed.
    Propose,
    /// Done by standing approval.
    Act,
}

impl Left {
    /// The word of the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Propose => "propose",
            Self::Act => "act",
        }
    }

    fn mode(self) -> Mode {
        match self {
            Self::Report => Mode::Observe,
            Self::Propose => Mode::Propose,
            Self::Act => Mode::Act,
        }
    }
}

/// What may be left of those classes that always ask (rule of restraint 4).
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asking {
    Report,
    Propose,
}

impl From<Asking> for Left {
    fn from(asking: Asking) -> Self {
        match asking {
            Asking::Report => Self::Report,
            Asking::Propose => Self::Propose,
        }
    }
}

/// `[actions]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Actions {
    /// [`Action::Restore`]; the only class that may be `act`.
    pub restore: Left,
    /// [`Action::Create`]
    #[serde(deserialize_with = "asking")]
    pub create: Left,
    /// [`Action::Renew`]
    #[serde(deserialize_with = "asking")]
    pub renew: Left,
    /// [`Action::FrontEnd`]
    #[serde(deserialize_with = "asking")]
    pub front_end: Left,
    /// [`Action::Configuration`]
    #[serde(deserialize_with = "asking")]
    pub configuration: Left,
}

fn asking<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Left, D::Error> {
    Asking::deserialize(deserializer).map(Left::from)
}

impl Default for Actions {
    fn default() -> Self {
        let propose = Left::Propose;
        Self { restore: Left::Act, create: propose, renew: propose, front_end: propose, configuration: propose }
    }
}

impl Actions {
    /// What is left of this class.
    pub fn of(self, action: Action) -> Left {
        let Self { restore, create, renew, front_end, configuration } = self;
        match action {
            Action::Restore => restore,
            Action::Create => create,
            Action::Renew => renew,
            Action::FrontEnd => front_end,
            Action::Configuration => configuration,
        }
    }
}

/// What may be done on a server for one purpose, and which line of the policy says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Say {
    /// What may be done.
    pub mode: Mode,
    /// The line that keeps it from being more, when it is not the server's mode.
    class: Option<(Action, Left)>,
}

impl Say {
    /// The reason in words: `mode is observe`, `actions.renew is report`.
    pub fn because(self) -> String {
        match self.class {
            None => format!("mode is {}", self.mode.as_str()),
            Some((action, left)) => format!("actions.{} is {}", action.as_str(), left.as_str()),
        }
    }

    /// What the policy would have to say for more: `in mode act`, `with actions.renew = propose`.
    pub fn otherwise(self, wanted: &str) -> String {
        match self.class {
            None => format!("in mode {wanted}"),
            Some((action, _)) => format!("with actions.{} = {wanted}", action.as_str()),
        }
    }
}

impl Policy {
    /// The mode of a host: of the first group that names it, else the document's. A group that may name it, because its
    /// DAG or AD site is unknown, can only lower the mode.
    pub fn mode_of(&self, host: &Host) -> Mode {
        let mut highest = Mode::Act;
        for group in &self.groups {
            match group.has(host) {
                Some(true) => return highest.min(group.mode),
                Some(false) => {}
                None => highest = highest.min(group.mode),
            }
        }
        highest.min(self.mode)
    }

    /// What may be done on this host for this purpose: its mode, or what `[actions]` leaves of it.
    pub fn say(&self, host: &Host, purpose: Purpose) -> Say {
        let (mode, action) = (self.mode_of(host), Action::of(purpose));
        let left = self.actions.of(action);
        // A class that always asks lowers nothing by asking: in mode act a renewal is a proposal, and that is no surprise.
        let lowers = left.mode() < mode && (action == Action::Restore || left == Left::Report);
        if lowers { Say { mode: left.mode(), class: Some((action, left)) } } else { Say { mode, class: None } }
    }
}

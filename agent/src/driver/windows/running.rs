//! Whether the sites and application pools of IIS run (EXCHANGE.md F13): what IIS itself says, which no file knows.
//!
//! It answers by objects in this process that ask WAS; and WAS may hang, as any service may. So a look waits a few seconds for its
//! answer and no longer ([`super::limited`]), and as long as one is owed not at all: the deletion of a certificate is told as soon as
//! ever.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::report::{AppPool, Fact, Site};

use super::ffi::Code;
use super::ffi::administration::{Administration, Section, Stated};
use super::limited::Limited;

/// How long a look waits for IIS.
const LIMIT: Duration = Duration::from_secs(3);

/// IIS, and whether it still owes an answer.
#[derive(Debug)]
pub struct Running {
    calls: Limited,
}

/// What IIS said, or why it did not.
type Answer = Result<Said, String>;

/// What it says of everything that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    sites: Vec<Stated>,
    pools: Vec<Stated>,
}

/// What a report tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    sites: Result<BTreeMap<String, Fact<bool>>, String>,
    /// Application pools by name; one that is on its way from one state to the other is left out.
    pub pools: Fact<BTreeMap<String, AppPool>>,
}

impl Running {
    /// Asks IIS.
    pub fn look(&self) -> Seen {
        Seen::of(self.calls.call(ask).unwrap_or_else(|late| Err(late.to_string())))
    }
}

impl Default for Running {
    fn default() -> Self {
        Self { calls: Limited::new("IIS", LIMIT, 1) }
    }
}

fn ask() -> Answer {
    let told = |code: Code| crate::chain(&code.of("AppHostAdminManager", "the state of sites and application pools"));
    let iis = Administration::open().map_err(told)?;
    let states = |section| iis.states(section).map_err(told);
    Ok(Said { sites: states(Section::Sites)?, pools: states(Section::Pools)? })
}

impl Seen {
    fn of(answer: Answer) -> Self {
        match answer {
            Err(why) => Self { sites: Err(why.clone()), pools: Fact::Unknown(why) },
            Ok(Said { sites, pools }) => {
                let running = |stated: Stated| (stated.name, State::of(stated.state).map_or_else(Fact::Unknown, State::running));
                Self { sites: Ok(sites.into_iter().map(running).collect()), pools: by_name(pools) }
            }
        }
    }

    /// The same sites, with whether they run.
    pub fn tell(&self, sites: Fact<Vec<Site>>) -> Fact<Vec<Site>> {
        let Fact::Known(sites) = sites else { return sites };
        let running = |name: &str| match &self.sites {
            Err(why) => Fact::Unknown(why.clone()),
            Ok(said) => said.get(name).cloned().unwrap_or_else(|| Fact::Unknown("IIS does not name this site".to_owned())),
        };
        Fact::Known(sites.into_iter().map(|site| Site { running: running(&site.name), ..site }).collect())
    }

    /// For `doctor`: how many sites and pools said whether they run, or why none did.
    pub fn counted(&self) -> Result<String, String> {
        let sites = self.sites.as_ref().map_err(Clone::clone)?;
        let silent = sites.iter().find_map(|(name, running)| Some(format!("site {name}: {}", running.unknown()?)));
        let pools = match &self.pools {
            Fact::Known(pools) => pools,
            Fact::Unknown(why) => return Err(why.clone()),
        };
        let running = sites.values().filter(|running| running.known() == Some(&true)).count();
        let started = pools.values().filter(|pool| **pool == AppPool::Started).count();
        let words = format!("{running} of {} sites run, and {started} of {} application pools", sites.len(), pools.len());
        silent.map_or(Ok(words), Err)
    }
}

/// Unknown as a whole when IIS says it of none: with WAS stopped, no pool has a state.
fn by_name(pools: Vec<Stated>) -> Fact<BTreeMap<String, AppPool>> {
    let mut named = BTreeMap::new();
    for Stated { name, state } in pools {
        match State::of(state) {
            Ok(State::Started) => drop(named.insert(name, AppPool::Started)),
            Ok(State::Stopped) => drop(named.insert(name, AppPool::Stopped)),
            Ok(State::Between) => {}
            Err(why) => return Fact::Unknown(format!("application pool {name}: {why}")),
        }
    }
    Fact::Known(named)
}

/// The state of a site or pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Started,
    Stopped,
    /// Starting or stopping.
    Between,
}

impl State {
    /// By the numbers of `ObjectState` in Microsoft's IIS reference.
    fn of(said: Result<i32, Code>) -> Result<Self, String> {
        match said {
            Ok(0 | 2) => Ok(Self::Between),
            Ok(1) => Ok(Self::Started),
            Ok(3) => Ok(Self::Stopped),
            Ok(other) => Err(format!("expected a state of 0 to 3, found {other}")),
            Err(code) => Err(crate::chain(&code.of("IAppHostProperty.Value", "state"))),
        }
    }

    fn running(self) -> Fact<bool> {
        match self {
            Self::Started => Fact::Known(true),
            Self::Stopped => Fact::Known(false),
            Self::Between => Fact::Unknown("it is just starting or stopping".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;

//! What time brings to an estate, as people read it: one line for each day and event, with its servers, so that an estate that was installed in
//! one night reads as one night.

use std::collections::BTreeMap;

use policy::Timestamp;
use policy::forecast::{Entry, Subject, What, host};
use policy::id::ServerName;
use policy::report::Fact;

/// Something that happens on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    /// In UTC, as `2026-12-24`.
    pub(crate) day: String,
    /// To whom; nobody named stands for all.
    pub(crate) servers: Vec<String>,
    /// In words.
    pub(crate) what: String,
    /// A renewal will not find its time: it wants somebody now.
    pub(crate) alarm: bool,
}

/// In the order in which it happens.
pub(crate) fn days(entries: &[Entry]) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for Entry { at, server, what } in entries {
        let (day, words) = (at.strftime("%F").to_string(), in_words(what));
        let index = *known.entry((day.clone(), words.clone())).or_insert_with(|| {
            let alarm = matches!(what, What::NoWindow(_) | What::NoTurn);
            days.push(Day { day, servers: Vec::new(), what: words, alarm });
            days.len() - 1
        });
        if let (Some(day), Some(server)) = (days.get_mut(index), server) {
            day.servers.push(if *what == What::MayRun {
                format!("{server} {}", at.strftime("%H:%M"))
            } else {
                server.to_string()
            });
        }
    }
    days
}

/// A server as the controller lists it.
pub(crate) fn subject(name: ServerName, dag: String, ad_site: String, ends: Option<Timestamp>) -> Subject {
    let site = if ad_site.is_empty() { Fact::not_observed() } else { Fact::Known(ad_site) };
    let dag = if dag.is_empty() { Fact::not_observed() } else { Fact::Known(Some(dag)) };
    Subject { host: host(name, dag, site), ends }
}

fn in_words(what: &What) -> String {
    match what {
        What::Proposed => "renewal is proposed; approvals are collected".to_owned(),
        What::MayRun => "renewal may run, each in its turn".to_owned(),
        What::NoWindow(why) => format!("ALARM, no window: {why}"),
        What::NoTurn => {
            "ALARM, no turn: others have theirs in every window until this one is urgent; more windows, more at_once or a shorter soak"
                .to_owned()
        }
        What::Urgent => "if not renewed yet: pages, and ignores windows".to_owned(),
        What::Ends => "if nobody approved: the certificate ends".to_owned(),
        What::Observed => "mode is observe, or renewals are only reported: nothing of this would be proposed".to_owned(),
        What::Unknown => "the end of its certificate is not known: nothing can be foreseen".to_owned(),
        What::ExceptionEnds(whose) => format!("an exception ends ({whose})"),
        What::FreezeBegins(reason) => format!("freeze begins ({reason})"),
        What::FreezeEnds(reason) => format!("freeze ends ({reason})"),
        What::Many(many) => format!("{many} renewals may run within seven days from here: spread the windows"),
    }
}

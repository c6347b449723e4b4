//! `backstay check`: one line and four exit codes, by the convention that Nagios, Icinga, Checkmk and others share.
//!
//! Text before the bar is for people, what is behind it for graphs. The numbers are the convention's and not those of every other
//! command: <https://www.monitoring-plugins.org/doc/guidelines.html>.

use std::ffi::OsString;
use std::fmt;

use clap::{Args, CommandFactory as _};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::ServerName;
use proto::invalid::{moment, present};
use proto::operator::GetServerRequest;
use serde::Serialize;

use super::connection::{Client, answer};
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line};
use super::server::FindingView;
use super::status::{self, FirstEnd, StatusView, Trouble};
use super::{Cli, Context, interruptible};

/// Servers that are named in the line; the others are counted.
const NAMED: usize = 5;

/// Says how the estate or a server is, in one line.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay check
  backstay check EX1
  backstay check --warning 20d --critical 1d --controller ctl.contoso.test:7445 --identity /etc/nagios/backstay.pem")]
pub struct Check {
    /// Only this server.
    #[arg(value_name = "SERVER")]
    server: Option<ServerName>,

    /// Warns when a back-end certificate ends within this time.
    #[arg(long, value_name = "TIME", default_value = "20d")]
    warning: Span,

    /// Alarms when a back-end certificate ends within this time.
    #[arg(long, value_name = "TIME", default_value = "3d")]
    critical: Span,
}

/// The words of the convention, and their exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub(super) enum State {
    /// Nothing wants anybody.
    Ok = 0,
    /// In working hours.
    Warning = 1,
    /// At once.
    Critical = 2,
    /// Nobody can say.
    Unknown = 3,
}

impl State {
    /// The number.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// The graver one: what is known to be wrong goes before what is not known.
    fn or(self, other: Self) -> Self {
        let rank = |state| match state {
            Self::Ok => 0,
            Self::Unknown => 1,
            Self::Warning => 2,
            Self::Critical => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// Whether a line that does not parse was meant for this command: whoever runs it expects one of its own numbers.
pub(super) fn is_meant(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(line);
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("check"))
}

impl Check {
    /// Asks, prints the line, and gives what to end with. It never fails: that nobody can say is an answer.
    pub(super) fn run(&self, context: &mut Context) -> State {
        let line = interruptible(self.ask(context)).unwrap_or_else(|failure| Line::nobody_can_say(&failure));
        // Nobody reads it any more, or cannot: the number is what is left.
        if context.output.show(&line).is_err() { State::Unknown } else { line.state }
    }

    async fn ask(&self, context: &Context) -> Result<Line, Failure> {
        if self.critical > self.warning {
            let found = format!("expected --critical at most --warning ({}), found {}", self.warning, self.critical);
            return Err(Failure::new(Exit::Usage, found));
        }
        let mut client = context.connection.connect().await?;
        match &self.server {
            None => Ok(self.estate(&status::ask(&mut client).await?, context.clock.now())),
            Some(name) => self.server(&ask(&mut client, name).await?, context.clock.now()),
        }
    }

    fn estate(&self, status: &StatusView, now: Timestamp) -> Line {
        let StatusView { estate, servers, verdicts, plans, silent, troubled, first_end, .. } = status;
        let of = |verdict: &str| verdicts.get(verdict).copied().unwrap_or_default();
        let (healthy, grey) = (of("healthy") + of("not_applicable"), of("unknown") + of("no_report"));
        let mut line = Line::new(format!("{estate}: {healthy} of {servers} server(s) healthy"));
        for trouble in troubled {
            line.found(grave(&trouble.findings), trouble.to_string());
        }
        for server in silent {
            line.found(State::Warning, format!("{server} is not heard"));
        }
        if grey > 0 {
            line.found(State::Unknown, format!("{grey} server(s) cannot be judged"));
        }
        if *servers == 0 {
            line.found(State::Unknown, "no server has joined".to_owned());
        }
        self.ends(&mut line, first_end.as_ref(), now);
        let whole = |name: &str, number: usize| Metric::plain(name, i64::try_from(number).unwrap_or(i64::MAX));
        line.metrics.extend([
            Metric::plain("servers", (*servers).into()),
            Metric::plain("healthy", healthy.into()),
            whole("troubled", troubled.len()),
            whole("silent", silent.len()),
            Metric::plain("proposed", plans.get("proposed").copied().unwrap_or_default().into()),
        ]);
        line
    }

    fn server(&self, server: &Server, now: Timestamp) -> Result<Line, Failure> {
        let Server { trouble, connected, last_seen, first_end } = server;
        let Trouble { server, verdict, findings } = trouble;
        let mut line = Line::new(format!("{server}: {verdict}"));
        if !findings.is_empty() {
            line.found(grave(findings), trouble.to_string());
        }
        if !connected {
            let since = last_seen.map_or_else(|| "was never heard".to_owned(), |at| format!("is not heard since {}", seen(at)));
            line.found(State::Warning, format!("{server} {since}"));
        }
        if matches!(verdict.as_str(), "unknown" | "no_report") {
            line.found(State::Unknown, format!("{server} cannot be judged: `backstay explain {server}`"));
        }
        self.ends(&mut line, first_end.as_ref(), now);
        line.metrics.push(Metric::plain("connected", i64::from(*connected)));
        Ok(line)
    }

    /// How far the end of the first certificate is.
    fn ends(&self, line: &mut Line, first: Option<&FirstEnd>, now: Timestamp) {
        let Some(FirstEnd { server, at }) = first else { return };
        let state = match *at {
            at if at <= self.critical.after(now) => State::Critical,
            at if at <= self.warning.after(now) => State::Warning,
            _ => State::Ok,
        };
        let text = format!("the certificate of {server} ends on {}", at.strftime("%F"));
        match state {
            State::Ok => line.also.push(text),
            State::Warning | State::Critical | State::Unknown => line.found(state, text),
        }
        line.metrics.push(Metric {
            name: "days_left".to_owned(),
            value: at.duration_since(now).as_hours().div_euclid(24),
            // By the convention, `20:` alarms below 20.
            warning: Some(format!("{}:", days(self.warning))),
            critical: Some(format!("{}:", days(self.critical))),
        });
    }
}

fn days(span: Span) -> i64 {
    span.as_seconds() / 86_400
}

fn seen(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the gravest finding means to whoever is on call.
fn grave(findings: &[FindingView]) -> State {
    let state = |finding: &FindingView| match finding.severity.as_str() {
        "page" => State::Critical,
        "warning" => State::Warning,
        _ => State::Ok,
    };
    findings.iter().map(state).fold(State::Ok, State::or)
}

/// What is asked of one server.
#[derive(Debug)]
struct Server {
    trouble: Trouble,
    connected: bool,
    last_seen: Option<Timestamp>,
    first_end: Option<FirstEnd>,
}

async fn ask(client: &mut Client, name: &ServerName) -> Result<Server, Failure> {
    let doing = format!("asking for {name}");
    let found = answer(&doing, client.get_server(GetServerRequest { name: name.to_string() })).await?;
    let read = || {
        let server = present("GetServerResponse.server", found.server)?;
        let last_seen = (server.last_seen != 0).then(|| moment("Server.last_seen", server.last_seen)).transpose()?;
        let at = server.not_after.map(|at| moment("Server.not_after", at)).transpose()?;
        let findings = found.findings.into_iter().map(FindingView::from).filter(|finding| finding.severity != "note").collect();
        let verdict = if server.verdict.is_empty() { "no_report".to_owned() } else { server.verdict };
        Ok::<_, proto::invalid::Invalid>(Server {
            first_end: at.map(|at| FirstEnd { server: server.name.clone(), at }),
            trouble: Trouble { server: server.name, verdict, findings },
            connected: server.connected,
            last_seen,
        })
    };
    read().doing(|| doing.clone())
}

/// The line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    state: State,
    /// Of what it tells, and how that is on the whole.
    summary: String,
    /// What wants somebody, the gravest first.
    found: Vec<String>,
    /// What is good to know.
    also: Vec<String>,
    metrics: Vec<Metric>,
    #[serde(skip)]
    states: Vec<State>,
}

/// A number for graphs.
#[derive(Debug, Serialize)]
struct Metric {
    name: String,
    value: i64,
    warning: Option<String>,
    critical: Option<String>,
}

impl Metric {
    fn plain(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), value, warning: None, critical: None }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, warning, critical } = self;
        write!(f, "{name}={value}")?;
        match (warning, critical) {
            (Some(warning), Some(critical)) => write!(f, ";{warning};{critical}"),
            _ => Ok(()),
        }
    }
}

impl Line {
    fn new(summary: String) -> Self {
        Self { state: State::Ok, summary, found: Vec::new(), also: Vec::new(), metrics: Vec::new(), states: Vec::new() }
    }

    /// When the controller does not answer, or answers what cannot be read.
    fn nobody_can_say(failure: &Failure) -> Self {
        let mut line = Self::new("nobody can say".to_owned());
        line.found(State::Unknown, failure.to_line());
        line.also.extend(failure.step().map(|step| format!("next: {step}")));
        line
    }

    /// When the line on which it was asked cannot be.
    pub(super) fn of_usage(error: &clap::Error) -> Self {
        let mut line = Self::new("nobody can say".to_owned());
        line.found(State::Unknown, error.to_string().lines().next().unwrap_or_default().to_owned());
        line
    }

    /// Behind what is as grave, before what is less.
    fn found(&mut self, state: State, text: String) {
        self.state = self.state.or(state);
        let place = self.states.iter().position(|other| other.or(state) != *other).unwrap_or(self.states.len());
        self.states.insert(place, state);
        self.found.insert(place, text);
    }
}

impl View for Line {
    fn text(&self) -> String {
        let Self { state, summary, found, also, metrics, states: _ } = self;
        let mut parts: Vec<String> = found.iter().take(NAMED).cloned().collect();
        if found.len() > NAMED {
            parts.push(format!("{} more", found.len() - NAMED));
        }
        parts.extend(also.iter().cloned());
        // A bar ends the text, and a line end the line.
        let text = line(&[vec![summary.clone()], parts].concat().join("; ")).replace('|', "/");
        let metrics: Vec<String> = metrics.iter().map(ToString::to_string).collect();
        let bar = if metrics.is_empty() { String::new() } else { format!(" | {}", metrics.join(" ")) };
        format!("BACKSTAY {state} - {text}{bar}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::FromArgMatches as _;

    use super::*;
    use crate::cli::status::tests::view;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().expect("a moment")
    }

    fn check(options: &[&str]) -> Check {
        let matches = crate::cli::command().try_get_matches_from([&["backstay", "check"], options].concat()).expect("parses");
        let command = Cli::from_arg_matches(&matches).expect("parses").command;
        let crate::cli::Command::Check(check) = command else { panic!("expected check, found {command:?}") };
        check
    }

    fn finding(severity: &str) -> FindingView {
        let (code, title) = ("BST102".to_owned(), "the certificate | is\ngone".to_owned());
        FindingView { code, title, severity: severity.to_owned(), evidence: Vec::new() }
    }

    #[test]
    fn the_gravest_is_what_it_ends_with_and_stands_first() {
        let line = check(&[]).estate(&view(&[("healthy", 2), ("deleted", 1)]), now());
        assert_eq!(
            line.text(),
            "BACKSTAY CRITICAL - contoso: 2 of 3 server(s) healthy; EX2 deleted: the certificate is gone (BST102); EX3 is not heard; \
             the certificate of EX1 ends on 2030-03-17 | days_left=75;20:;3: servers=3 healthy=2 troubled=1 silent=1 proposed=1\n"
        );
        let mut silent = view(&[("healthy", 2), ("unknown", 1)]);
        silent.troubled.clear();
        let line = check(&["--warning", "90d"]).estate(&silent, now());
        assert_eq!(line.state, State::Warning);
        assert_eq!(
            line.found,
            ["EX3 is not heard", "the certificate of EX1 ends on 2030-03-17", "1 server(s) cannot be judged"],
            "what is not known is grey, and behind what is"
        );
        assert_eq!(check(&["--warning", "90d", "--critical", "80d"]).estate(&silent, now()).state, State::Critical);
    }

    #[test]
    fn all_well_is_ok_and_nothing_known_is_unknown() {
        let mut well = view(&[("healthy", 2), ("not_applicable", 1)]);
        (well.troubled, well.silent) = (Vec::new(), Vec::new());
        let line = check(&[]).estate(&well, now());
        assert_eq!(line.state, State::Ok);
        assert!(line.text().starts_with("BACKSTAY OK - contoso: 3 of 3 server(s) healthy; the certificate of EX1 ends"));
        well.verdicts = BTreeMap::from([("unknown".to_owned(), 3)]);
        assert_eq!(check(&[]).estate(&well, now()).state, State::Unknown);
        (well.servers, well.verdicts, well.first_end) = (0, BTreeMap::new(), None);
        let line = check(&[]).estate(&well, now());
        assert!(line.state == State::Unknown && line.text().contains("no server has joined"), "{}", line.text());
    }

    #[test]
    fn one_server_says_what_is_wrong_there_and_no_name_breaks_the_line() {
        let trouble = |severity: &str, verdict: &str| Trouble {
            server: "EX1".to_owned(),
            verdict: verdict.to_owned(),
            findings: vec![finding(severity)],
        };
        let at = "2030-01-02T12:00:00Z".parse().expect("a moment");
        let first_end = Some(FirstEnd { server: "EX1".to_owned(), at });
        let server = Server { trouble: trouble("warning", "healthy"), connected: true, last_seen: None, first_end };
        let line = check(&["EX1"]).server(&server, now()).expect("a line");
        assert_eq!(
            line.text(),
            "BACKSTAY CRITICAL - EX1: healthy; the certificate of EX1 ends on 2030-01-02; EX1 healthy: the certificate / is\u{fffd}gone \
             (BST102) | days_left=1;20:;3: connected=1\n"
        );
        let away = Server { connected: false, first_end: None, trouble: trouble("page", "deleted"), last_seen: Some(at) };
        let line = check(&["EX1"]).server(&away, now()).expect("a line");
        assert_eq!(line.state, State::Critical);
        assert_eq!(line.found[1], "EX1 is not heard since 2030-01-02T12:00:00Z");
    }

    #[test]
    fn a_controller_that_does_not_answer_is_unknown_in_one_line() {
        let failure = Failure::new(Exit::Timeout, "asking for the status").because("no answer\nin 10s").next("look");
        let line = Line::nobody_can_say(&failure);
        assert_eq!(line.state.code(), 3);
        assert_eq!(
            line.text(),
            "BACKSTAY UNKNOWN - nobody can say; asking for the status: no answer\u{fffd}in 10s; next: look\n"
        );
    }

    #[test]
    fn a_line_that_was_meant_for_it_is_known_though_it_does_not_parse() {
        assert!(is_meant(["backstay", "check", "--warnin", "1d"]));
        assert!(is_meant(["backstay", "--controller", "ctl:7445", "check", "--warning", "soon"]));
        assert!(!is_meant(["backstay", "policy", "check", "--nothing"]));
    }
}

//! `backstay explain SERVER`: facts, rule, decision, what would change it, and when it is looked at next (P9).

use clap::Args;
use policy::Timestamp;
use policy::id::ServerName;
use proto::invalid::moment;
use proto::operator::{ExplainServerRequest, ExplainServerResponse};
use serde::Serialize;

use super::Context;
use super::connection::answer;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, moment as at, pairs};

/// Asks why a server is judged as it is.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay explain EX1
  backstay explain EX1 -o json")]
pub struct Explain {
    /// The server.
    #[arg(value_name = "SERVER")]
    name: ServerName,
}

impl Explain {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let request = ExplainServerRequest { name: self.name.to_string() };
        let doing = format!("asking about {}", self.name);
        let response = answer(&doing, client.explain_server(request)).await?;
        let view = Explanation::of(&self.name, response).doing(|| doing)?;
        context.output.show(&view)?;
        Ok(Exit::Ok)
    }
}

/// An explanation, as it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    server: String,
    verdict: String,
    facts: Vec<String>,
    rule: String,
    decision: String,
    why: String,
    would_change: Vec<String>,
    next_look: Option<Timestamp>,
}

impl Explanation {
    fn of(server: &ServerName, response: ExplainServerResponse) -> Result<Self, proto::invalid::Invalid> {
        let ExplainServerResponse { verdict, facts, rule, decision, why, would_change, next_look } = response;
        let next_look = next_look.map(|micros| moment("ExplainServerResponse.next_look", micros)).transpose()?;
        Ok(Self { server: server.to_string(), verdict, facts, rule, decision, why, would_change, next_look })
    }
}

impl View for Explanation {
    fn text(&self) -> String {
        let lines = |texts: &[String]| texts.iter().map(|text| line(text)).collect::<Vec<_>>().join("\n");
        let next = self.next_look.map_or_else(|| "with the next report, or when the policy changes".to_owned(), at);
        pairs([
            ("server", line(&self.server)),
            ("verdict", line(&self.verdict)),
            ("facts", lines(&self.facts)),
            ("rule", line(&self.rule)),
            ("decision", line(&self.decision)),
            ("why", line(&self.why)),
            ("would change it", lines(&self.would_change)),
            ("next look", next),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_says_facts_rule_decision_and_what_would_change_it() {
        let response = ExplainServerResponse {
            verdict: "healthy".to_owned(),
            facts: vec!["0.0.0.0:444 names 92E1".to_owned(), "its key can be used".to_owned()],
            rule: "P1 leave alone".to_owned(),
            decision: "leave_alone".to_owned(),
            why: "fit until 2030".to_owned(),
            would_change: vec!["its end comes near".to_owned()],
            next_look: Some(1_900_000_000_000_000),
        };
        let name = "EX1".parse().expect("a name");
        let expected = "\
server           EX1
verdict          healthy
facts            0.0.0.0:444 names 92E1
                 its key can be used
rule             P1 leave alone
decision         leave_alone
why              fit until 2030
would change it  its end comes near
next look        2030-03-17T17:46:40Z
";
        assert_eq!(Explanation::of(&name, response).expect("reads").text(), expected);
    }
}

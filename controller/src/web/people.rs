//! *Access*: who may approve what, by the trust document in force; and the key of the browser that looks.

use askama::Template;
use policy::trust::{Class, KeyKind, PersonKey, PersonKeys, TrustDocument, Verified, root_fingerprint};
use proto::operator::GetTrustRequest;
use proto::operator::operator_service_server::OperatorService as _;
use proto::signed::SignedBytes;

use super::access::Who;
use super::{Shown, Trouble, Web};

pub(super) async fn show(web: &Web, who: &Who) -> Result<Shown, Trouble> {
    let trust = trust_in_force(web, who).await?;
    let main = People::of(trust.as_ref()).render()?;
    Ok(Shown { title: "Access".to_owned(), main })
}

/// The trust document in force, if there is one.
pub(super) async fn trust_in_force(web: &Web, who: &Who) -> Result<Option<Verified<TrustDocument>>, Trouble> {
    let Some(signed) = web.operators.get_trust(who.ask(GetTrustRequest {})).await?.into_inner().trust else { return Ok(None) };
    let signed = SignedBytes::try_from(signed).map_err(tonic::Status::from)?;
    let trust = proto::signed::trust(&signed).map_err(|error| tonic::Status::internal(error.to_string()))?;
    Ok(Some(trust))
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    lead: String,
    about: Vec<(&'static str, String)>,
    persons: Vec<Row>,
    needs: Vec<Need>,
    /// The keys of browsers that stand in the document, as `person:key`.
    keys: String,
    browsers: String,
}

struct Row {
    name: String,
    roles: String,
    keys: Vec<String>,
}

struct Need {
    class: &'static str,
    persons: u32,
    in_browsers: String,
}

impl People {
    /// Pure: the same document makes the same page.
    fn of(trust: Option<&Verified<TrustDocument>>) -> Self {
        let Some(Verified { value: trust, id, signers: _ }) = trust else {
            return Self {
                lead: "No trust document is in force: nobody may approve anything. Make one on a workstation with backstay trust init, and put it in \
                       force with backstay trust apply."
                    .to_owned(),
                about: Vec::new(),
                persons: Vec::new(),
                needs: Vec::new(),
                keys: String::new(),
                browsers: String::new(),
            };
        };
        let persons = trust.persons.iter().map(|(name, PersonKeys { roles, keys })| Row {
            name: name.to_string(),
            roles: roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", "),
            keys: keys
                .iter()
                .map(|PersonKey { key, kind, until }| {
                    let kind = match kind {
                        KeyKind::File => "in a file",
                        KeyKind::Browser => "in a browser",
                    };
                    format!("{}… {kind}, until {}", &key.to_string()[..8], until.strftime("%F"))
                })
                .collect(),
        });
        let needs = Class::ALL.map(|class| Need {
            class: class.as_str(),
            persons: trust.need(class),
            in_browsers: if trust.browser.contains(&class) {
                format!("{} of them may sign in a browser", trust.need(class) - 1)
            } else {
                "with keys in files".to_owned()
            },
        });
        let browsers: Vec<&str> = trust.browser.iter().map(|class| class.as_str()).collect();
        Self {
            lead: format!(
                "Trust version {}, signed by the root, says who may approve. No controller can change that.",
                trust.version
            ),
            about: vec![
                ("document", id.to_string()),
                ("root", root_fingerprint(&trust.root).to_string()),
                ("root keys", format!("{} of {} sign the next document", trust.root.threshold, trust.root.keys.len())),
                ("controllers", format!("those of {} CA", trust.ca.len())),
            ],
            persons: persons.collect(),
            needs: needs.into(),
            keys: browser_keys(trust),
            browsers: if browsers.is_empty() {
                "The trust document lets keys of browsers count for nothing here. The root changes that: backstay trust next --browser renew."
                    .to_owned()
            } else {
                format!("Keys of browsers count for: {}; for all persons needed but one.", browsers.join(", "))
            },
        }
    }
}

/// The keys of browsers that stand in the document, for the script that compares them with its own.
pub(super) fn browser_keys(trust: &TrustDocument) -> String {
    let of_browsers = |(name, PersonKeys { keys, .. }): (&policy::id::Person, &PersonKeys)| {
        let keys = keys.iter().filter(|key| key.kind == KeyKind::Browser).map(|key| format!("{name}:{}", key.key));
        keys.collect::<Vec<_>>()
    };
    trust.persons.iter().flat_map(of_browsers).collect::<Vec<_>>().join(" ")
}

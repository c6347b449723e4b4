//! Documents: the example that is shipped, the pages that explain findings, and bytes that are nearly right.

use std::collections::BTreeSet;

use policy::document::{Actions, Expiry, Limits, MAX_BYTES, Mode, PeerChecks, Policy, PolicyError, Profile, Quiet, Waves};
use policy::finding::Code;
use policy::plan::{Plan, PlanError};
use policy::trust::{Approval, DocumentError, TrustDocument, Verified};

use crate::stage::{self, approval, at, key};

#[expect(clippy::disallowed_methods, reason = "the mind has no files; its tests read what is shipped beside it")]
fn shipped(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_example_policy_reads_and_shows_the_defaults() {
    let text = shipped("deploy/policy.example.toml");
    let policy = Policy::from_toml(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let Policy {
        id: _,
        estate,
        version,
        previous,
        expiry,
        quiet,
        mode,
        rehearse_every,
        actions,
        groups,
        windows,
        freezes,
        waves,
        peers,
        limits,
        certificate,
        names,
        compromised,
        exceptions,
    } = policy;
    assert_eq!((estate.as_str(), version, previous, mode), ("contoso", 1, None, Mode::Observe));
    assert_eq!(rehearse_every, Policy::none_yet(estate).rehearse_every);
    assert_eq!(expiry, Expiry::default());
    assert_eq!(quiet, Quiet::default());
    assert_eq!(limits, Limits::default());
    assert_eq!(actions, Actions::default());
    assert_eq!(waves, Waves::default());
    assert_eq!(peers, PeerChecks::default());
    assert_eq!(certificate, Profile::default());
    assert!(compromised.is_empty());
    let lengths = [groups.len(), windows.len(), freezes.len(), names.len(), exceptions.len()];
    assert_eq!(lengths, [1; 5], "one example of each list");
}

#[test]
fn the_example_policy_explains_every_key() {
    let text = shipped("deploy/policy.example.toml");
    let mut explained = false;
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        let table = line.starts_with('[') && !line.starts_with("[[");
        match line.split_once(" = ") {
            _ if table => explained = false,
            Some((key, _)) => {
                keys.insert(key.trim_start_matches("# "));
                assert!(explained || line.starts_with('#'), "nothing explains {line:?}");
            }
            None if line.is_empty() => explained = false,
            None => assert!(explained || line.starts_with('#'), "nothing explains {line:?}"),
        }
        explained |= line.starts_with('#');
    }
    let all = [
        "allow",
        "at_once",
        "authority_days",
        "ceiling",
        "compromised",
        "configuration",
        "count",
        "create",
        "dag",
        "dangling",
        "days",
        "estate",
        "every",
        "from",
        "front_end",
        "full_name",
        "group_by",
        "key_bits",
        "length",
        "mode",
        "months",
        "name",
        "owner",
        "previous",
        "propose_at",
        "reason",
        "record_missing",
        "rehearse_every",
        "renew",
        "renew_before",
        "restore",
        "restores_per_day",
        "restores_per_hour",
        "server",
        "servers",
        "site",
        "soak",
        "start",
        "to",
        "until",
        "urgent_at",
        "version",
        "zone",
    ];
    assert_eq!(keys, BTreeSet::from(all));
}

#[test]
fn the_index_of_findings_lists_every_code_with_severity_and_title() {
    let index = shipped("docs/findings/README.md");
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| [BST")).collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let severity = format!("{:?}", code.severity()).to_lowercase();
            format!("| [{code}]({code}.md) | {severity} | {} |", code.title())
        })
        .collect();
    assert_eq!(rows, expected);
}

/// Every state that is known, its findings and its story: none is missing, and none names what is not there.
#[test]
fn every_state_has_its_findings_and_a_story_that_shows_them() {
    let page = shipped("docs/findings/states.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Row") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let numbered = |letter: char, count: u32| (1..=count).map(move |number| format!("{letter}{number}"));
    let expected: Vec<String> = numbered('C', 15)
        .flat_map(|row| if row == "C10" { ["a", "b", "c", "d"].map(|part| format!("C10{part}")).to_vec() } else { vec![row] })
        .chain(numbered('F', 47))
        .chain(numbered('G', 18))
        .collect();
    assert_eq!(rows.iter().map(|row| row[0].to_owned()).collect::<Vec<_>>(), expected);
    for row in &rows {
        let [name, _, findings, story] = row.as_slice() else { panic!("{row:?} has other columns") };
        let Some(story) = story.strip_prefix('`').and_then(|story| story.strip_suffix('`')) else {
            assert_eq!(*findings, "none", "{name} names findings and no story");
            continue;
        };
        let shown = shipped(&format!("policy/tests/scenarios/{story}.snap"));
        // What a row names, its own story or another one shows; the first of them its own.
        let codes: Vec<&str> =
            findings.split(", ").map(|link| link.trim_start_matches('[').split(']').next().unwrap_or_default()).collect();
        assert!(shown.contains(codes[0]), "{name}: {story} does not show {}", codes[0]);
        for code in codes {
            assert!(Code::ALL.iter().any(|known| known.as_str() == code), "{name}: {code} is no finding");
        }
    }
}

/// A finding that no story shows could be deleted, and nobody would notice.
#[test]
fn every_finding_is_shown_by_a_story() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    #[expect(clippy::disallowed_methods, reason = "the mind has no files; its tests read their stories")]
    let files = std::fs::read_dir(folder).expect("the folder of stories");
    let shown: String = files
        .map(|file| file.expect("an entry").file_name().into_string().expect("a name in ASCII"))
        .filter(|name| name.ends_with(".snap"))
        .map(|name| shipped(&format!("policy/tests/scenarios/{name}")))
        .collect();
    for code in Code::ALL {
        assert!(shown.contains(code.as_str()), "{code} is shown by no story");
    }
}

#[test]
fn every_page_has_its_title_severity_and_all_its_parts() {
    for code in Code::ALL {
        let page = shipped(&format!("docs/findings/{code}.md"));
        let severity = format!("Severity: {}.", format!("{:?}", code.severity()).to_lowercase());
        assert!(page.starts_with(&format!("# {code}: {}\n", code.title())), "{code} has another title");
        let parts = ["**How it is seen.**", "**What Backstay does.**", "never", "**What you can do.**", "Sources: "];
        for part in parts.into_iter().chain([severity.as_str()]) {
            assert!(page.contains(part), "{code} lacks {part:?}");
        }
    }
}

#[test]
fn a_document_nested_beyond_all_reason_is_an_error() {
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(60_000), close.repeat(60_000));
    assert!(matches!(Policy::from_toml(format!("x = {}", nested("[", "]")).as_bytes()), Err(PolicyError::At(_))));
    assert!(Policy::from_toml(nested("[[", "").as_bytes()).is_err());
    assert!(Policy::from_toml(format!("{} = 1", nested("a.", "a.")).as_bytes()).is_err());
    assert!(TrustDocument::from_bytes(nested("[", "]").as_bytes()).is_err());
    assert!(Plan::from_bytes(nested("{\"a\":", "}").as_bytes()).is_err());
    assert!(Approval::from_bytes(nested("[", "]").as_bytes()).is_err());
}

#[test]
fn a_policy_that_does_not_read_is_not_repeated_at_its_own_length() {
    let long = format!("estate = \"{}\"\nversion = 1\n", "x".repeat(MAX_BYTES - 100));
    let error = Policy::from_toml(long.as_bytes()).expect_err("no estate has such a name").to_string();
    assert!(error.len() < 10_000, "{} bytes", error.len());
}

#[test]
fn an_exception_needs_a_reason() {
    let exception = "estate = \"contoso\"\nversion = 1\n[[exception]]\nserver = \"EX1\"\nallow = \"early_renewal\"\nowner = \"anna\"\n\
         reason = \" \"\nuntil = \"2027-01-01T00:00:00Z\"\n";
    let error = Policy::from_toml(exception.as_bytes()).expect_err("no reason").to_string();
    assert!(error.contains("exception number 1: reason") && error.contains("EX1"), "{error}");
}

#[test]
fn a_host_whose_dag_is_unknown_never_gains_by_it() {
    let policy = stage::policy(
        "mode = \"act\"\n[[group]]\nname = \"named\"\nservers = [\"EX7\"]\nmode = \"act\"\n\
         [[group]]\nname = \"careful\"\ndag = \"DAG9\"\nmode = \"observe\"\n\
         [[group]]\nname = \"site\"\nsite = \"Berlin\"\nmode = \"propose\"",
    );
    let mut host = stage::host(&stage::be().bake(), &stage::fe().bake()).report.host;
    assert_eq!(policy.mode_of(&host), Mode::Propose, "by its AD site");
    host.dag = policy::report::Fact::Known(Some("dag9".to_owned()));
    assert_eq!(policy.mode_of(&host), Mode::Observe, "the first group counts, and case does not");
    host.dag = policy::report::Fact::not_observed();
    assert_eq!(policy.mode_of(&host), Mode::Observe);
    host.name = "EX7".parse().expect("a name");
    assert_eq!(policy.mode_of(&host), Mode::Act, "a group before it names the host");
}

#[test]
fn a_plan_in_another_spelling_is_refused() {
    let (be, fe) = (stage::be().bake(), stage::fe().bake());
    let (policy, sight, now) = (stage::policy("mode = \"act\""), stage::host(&be, &fe), at("2029-02-10T22:30:00Z"));
    let decision = policy::decide::decide(&policy, &sight, &policy::last::LastKnown::default(), now);
    let bytes = decision.plan().expect("a renewal").to_bytes();
    assert!(Plan::from_bytes(&bytes).is_ok());
    let text = String::from_utf8(bytes).expect("JSON");
    let lower = text.replace("\"EX1\"", "\"ex1\"");
    assert!(matches!(Plan::from_bytes(lower.as_bytes()), Err(PlanError::NotCanonical)));
    assert!(matches!(Plan::from_bytes(format!(" {text}").as_bytes()), Err(PlanError::NotCanonical)));
    let extra = text.replacen('{', "{\"also\":1,", 1);
    assert!(matches!(Plan::from_bytes(extra.as_bytes()), Err(PlanError::Json(_))));
}

fn trust_text() -> String {
    String::from_utf8(stage::trust(2).to_bytes()).expect("JSON")
}

#[test]
fn a_trust_document_names_nobody_and_nothing_twice() {
    let text = trust_text();
    assert!(TrustDocument::from_bytes(text.as_bytes()).is_ok());
    let twice = text.replace("\"bert\": {", "\"Anna\": {");
    let error = TrustDocument::from_bytes(twice.as_bytes()).expect_err("Anna is anna");
    assert!(matches!(&error, DocumentError::Json(cause) if cause.to_string().contains("anna stands twice")), "{error:?}");
    let need = text.replace("\"renew\": 2", "\"renew\": 2, \"renew\": 1");
    assert!(TrustDocument::from_bytes(need.as_bytes()).is_err());
    let shared = text.replace(&key("bert").to_string(), &key("carl").to_string());
    assert!(TrustDocument::from_bytes(shared.as_bytes()).is_err(), "one key, two persons");
    let rooted = text.replace(&key("bert").to_string(), &key("root").to_string());
    assert!(TrustDocument::from_bytes(rooted.as_bytes()).is_err(), "a root key approves nothing");
}

#[test]
fn impossible_trust_documents_are_refused() {
    let text = trust_text();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 0"),
        ("\"threshold\": 1", "\"threshold\": 0"),
        ("\"threshold\": 1", "\"threshold\": 2"),
        ("\"renew\": 2", "\"renew\": 0"),
        ("\"renew\": 2", "\"anything\": 2"),
        ("\"version\": 1", "\"version\": 1, \"also\": 1"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} is not there");
        assert!(TrustDocument::from_bytes(changed.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn a_new_trust_document_needs_the_root_that_is_held_and_its_own() {
    let held = stage::trust(2);
    let mut next = stage::trust(1);
    next.version = 2;
    next.root.keys = [key("new-root")].into();
    let signed = |value: &TrustDocument, signers: &[&str]| Verified {
        value: value.clone(),
        id: policy::id::Sha256::of(&value.to_bytes()),
        signers: signers.iter().map(|name| key(name)).collect(),
    };
    assert!(held.admits_successor(&signed(&next, &["root", "new-root"])).is_ok());
    assert!(held.admits_successor(&signed(&next, &["root"])).is_err(), "not signed by its own root");
    assert!(held.admits_successor(&signed(&next, &["new-root"])).is_err(), "not signed by the root that is held");
    assert!(held.admits_successor(&signed(&next, &["new-root", "anna-1"])).is_err(), "an approver is no root");
    next.version = 1;
    assert!(held.admits_successor(&signed(&next, &["root", "new-root"])).is_err(), "not newer");
    next.version = 2;
    next.estate = "fabrikam".parse().expect("a name");
    assert!(held.admits_successor(&signed(&next, &["root", "new-root"])).is_err(), "another estate");
}

#[test]
fn impossible_approvals_are_refused() {
    let (be, fe) = (stage::be().bake(), stage::fe().bake());
    let now = at("2029-02-10T22:30:00Z");
    let decision = policy::decide::decide(
        &stage::policy("mode = \"act\""),
        &stage::host(&be, &fe),
        &policy::last::LastKnown::default(),
        now,
    );
    let good = approval(decision.plan().expect("a renewal"), "anna", now).value;
    assert!(Approval::from_bytes(&good.to_bytes()).is_ok());
    let refused = |change: fn(&mut Approval)| {
        let mut approval = good.clone();
        change(&mut approval);
        Approval::from_bytes(&approval.to_bytes()).is_err()
    };
    assert!(refused(|approval| approval.plans.clear()));
    assert!(refused(|approval| approval.reason = " ".to_owned()));
    assert!(refused(|approval| approval.reason = "x".repeat(1001)));
    assert!(refused(|approval| approval.not_after = policy::duration::Span::days(91).after(approval.not_before)));
    assert!(refused(|approval| approval.not_after = policy::duration::Span::seconds(1).before(approval.not_before)));
    assert!(matches!(Approval::from_bytes(&vec![b' '; policy::trust::MAX_BYTES + 1]), Err(DocumentError::TooLarge(_))));
}

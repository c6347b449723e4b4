use super::*;
use crate::duration::Span;
use crate::plan::Purpose;

const FIRST: &str = "estate = \"contoso\"\nversion = 1\n";

fn policy(extra: &str) -> Policy {
    Policy::from_toml(format!("{FIRST}{extra}").as_bytes()).unwrap_or_else(|error| panic!("{extra}: {error}"))
}

fn refused(extra: &str) -> Place {
    match Policy::from_toml(format!("{FIRST}{extra}").as_bytes()).expect_err("must be refused") {
        PolicyError::At(place) => place,
        other @ (PolicyError::TooLarge(_) | PolicyError::NotText(_)) => panic!("{other} has no place"),
    }
}

#[test]
fn the_shortest_policy_observes_and_has_the_documented_defaults() {
    let policy = policy("");
    assert_eq!(policy.mode, Mode::Observe);
    assert_eq!(policy.expiry.renew_before, Span::days(30));
    assert_eq!(policy.quiet.dangling, Span::seconds(300));
    assert_eq!(policy.certificate.months, 60);
    assert_eq!(policy.actions.restore, Left::Act);
    assert_eq!((policy.waves.at_once, policy.waves.group_by), (1, GroupBy::Dag));
    assert_eq!(policy.rehearse_every, Some(Span::days(7)));
}

#[test]
fn a_host_is_looked_at_as_often_as_it_says_or_never() {
    assert_eq!(policy("rehearse_every = \"1d\"\n").rehearse_every, Some(Span::days(1)));
    assert_eq!(policy("rehearse_every = \"0d\"\n").rehearse_every, None);
    assert!(refused("rehearse_every = \"31d\"\n").to_string().contains("expected 0s (never) to 30d, found 31d"));
}

const WINDOW: &str = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n";

/// What is wrong, the line and column at which it is shown, and words of the message.
#[test]
fn whatever_is_wrong_is_shown_at_its_place() {
    let window = |from: &str, to: &str| format!("# the first\n{WINDOW}{}", WINDOW.replace(from, to));
    let exception =
        "server = \"EX1\"\nallow = \"early_renewal\"\nowner = \"anna\"\nreason = \" \"\nuntil = \"2027-01-01T00:00:00Z\"\n";
    let cases = [
        ("[expiry]\nrenew_befor = \"30d\"\n".to_owned(), 4, 1, "unknown field `renew_befor`"),
        (
            "[expiry]\npropose_at = \"10d\"\n".to_owned(),
            3,
            1,
            "expiry.propose_at: expected at least expiry.renew_before (30d), found 10d",
        ),
        ("[expiry]\nurgent_at = \"3 days\"\n".to_owned(), 4, 13, "expected a length of time"),
        ("[certificate]\nmonths = 12\nkey_bits = 1024\n".to_owned(), 5, 12, "expected 2048, 3072 or 4096, found 1024"),
        ("[certificate]\nmonths = -1\n".to_owned(), 4, 10, "expected 1 to 60, found -1"),
        ("[quiet]\nceiling = \"1s\"\n".to_owned(), 3, 1, "quiet.ceiling: expected at least both quiet times"),
        ("[limits]\nrestores_per_day = 1001\n".to_owned(), 4, 20, "expected 1 to 1000, found 1001"),
        ("[waves]\nsoak = \"8d\"\n".to_owned(), 4, 8, "expected at most 7d, found 8d"),
        ("[waves]\nat_once = 0\n".to_owned(), 4, 11, "expected 1 to 100, found 0"),
        ("[peers]\ncount = 4\n".to_owned(), 4, 9, "expected 0 to 3, found 4"),
        ("[peers]\nevery = \"2d\"\n".to_owned(), 4, 9, "expected 1s to 1d, found 2d"),
        ("[waves]\ngroup_by = \"rack\"\n".to_owned(), 4, 12, "expected `dag` or `site`"),
        ("[actions]\nrenew = \"act\"\n".to_owned(), 4, 9, "unknown variant `act`, expected `report` or `propose`"),
        ("[actions]\nrestore = \"do\"\n".to_owned(), 4, 11, "expected one of `report`, `propose`, `act`"),
        ("mode = \"act\"\nmode = \"act\"\n".to_owned(), 4, 1, "duplicate key"),
        ("compromised = [\"12\"]\n".to_owned(), 3, 15, "40 hexadecimal digits"),
        (window("\"UTC\"", "\"Europe/Atlantis\""), 9, 1, "window number 2: expected an IANA time zone"),
        (window("\"sat\"", "\"someday\""), 9, 1, "window number 2: expected days among mon"),
        (window("[\"sat\"]", "[]"), 9, 1, "never open"),
        (window("22:00", "24:61"), 9, 1, "expected a time of day"),
        (window("4h", "8d"), 9, 1, "expected a length between 1m and 7d, found 8d"),
        (
            "[[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-19\"\nzone = \"UTC\"\nreason = \"\"\n".to_owned(),
            3,
            1,
            "freeze number 1: expected a freeze that ends",
        ),
        (format!("[[exception]]\n{exception}"), 3, 1, "exception number 1: reason: expected a reason, found none for server EX1"),
        (
            "[[name]]\nserver = \"EX1\"\nfull_name = \"ex1\"\n".to_owned(),
            3,
            1,
            "name number 1: full_name: expected a name with its domain",
        ),
        ("[[group]]\nname = \"all\"\n".to_owned(), 3, 1, "missing field `mode`"),
        ("previous = \"".to_owned() + &"ab".repeat(32) + "\"\n", 2, 11, "none exactly in version 1"),
        (WINDOW.repeat(1001), 5003, 1, "window: expected at most 1000 of them, found 1001"),
        ("x = ".to_owned(), 3, 5, "string values must be quoted"),
    ];
    for (extra, line, column, words) in cases {
        let place = refused(&extra);
        assert!(place.message.contains(words), "{extra}: {place}");
        assert_eq!((place.line, place.column), (line, column), "{extra}: {place}");
    }
}

#[test]
fn what_is_no_text_or_too_long_is_refused() {
    assert!(matches!(Policy::from_toml(b"estate = \"contoso\"\nversion = 2\n"), Err(PolicyError::At(_))));
    assert_eq!(Policy::from_toml(&[b'a', 0xff, 0xfe]), Err(PolicyError::NotText(1)));
    assert_eq!(Policy::from_toml(&vec![b'#'; MAX_BYTES + 1]), Err(PolicyError::TooLarge(MAX_BYTES + 1)));
    let name = "[[name]]\nserver = \"EX1\"\nfull_name = \"ex1.contoso.com\"\n";
    assert!(refused(&name.repeat(2)).message.contains("several for EX1"));
}

#[test]
fn the_lower_of_mode_and_action_counts_and_says_so() {
    let host = crate::forecast::host("EX1".parse().expect("a name"), Fact::Known(None), Fact::Known("Berlin".to_owned()));
    let say = |lines: &str, purpose| {
        let say = policy(lines).say(&host, purpose);
        (say.mode, say.because(), say.otherwise("propose"))
    };
    let mode = |mode: Mode| (mode, format!("mode is {}", mode.as_str()), "in mode propose".to_owned());
    let left =
        |mode: Mode, key: &str, word: &str| (mode, format!("actions.{key} is {word}"), format!("with actions.{key} = propose"));
    let act = "mode = \"act\"\n";
    assert_eq!(say("", Purpose::Renew), mode(Mode::Observe));
    assert_eq!(say(act, Purpose::Undelete), mode(Mode::Act));
    assert_eq!(say(act, Purpose::Renew), mode(Mode::Act), "that it asks is no surprise");
    let restore = format!("{act}[actions]\nrestore = \"propose\"\n");
    assert_eq!(say(&restore, Purpose::Undelete), left(Mode::Propose, "restore", "propose"));
    assert_eq!(say(&restore, Purpose::Renew), mode(Mode::Act));
    for (key, purpose) in [
        ("restore", Purpose::Relink),
        ("create", Purpose::BindCandidate),
        ("renew", Purpose::Renew),
        ("front_end", Purpose::GiveBackFrontEnd),
        ("configuration", Purpose::FixBinding),
    ] {
        let lines = format!("{act}[actions]\n{key} = \"report\"\n");
        assert_eq!(say(&lines, purpose), left(Mode::Observe, key, "report"));
        let others = Action::ALL.into_iter().filter(|action| policy(&lines).actions.of(*action) == Left::Report).count();
        assert_eq!(others, 1, "{key} alone");
    }
    assert_eq!(say("[actions]\nrenew = \"report\"\n", Purpose::Renew), mode(Mode::Observe), "the mode alone explains it");
}

#[test]
fn work_runs_in_a_window_or_when_urgent_and_never_in_a_freeze() {
    let text = "[[window]]\ndays = [\"sat\"]\nstart = \"22:00\"\nlength = \"4h\"\nzone = \"UTC\"\n\
         [[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-31\"\nzone = \"UTC\"\nreason = \"year end\"\n";
    let policy = policy(text);
    let at = |text: &str| text.parse::<Timestamp>().expect(text);
    assert!(policy.may_run(at("2026-11-21T23:00:00Z"), false).is_ok());
    let closed = policy.may_run(at("2026-11-22T12:00:00Z"), false).expect_err("closed on Sunday");
    assert_eq!(closed.until, Fact::Known(at("2026-11-28T22:00:00Z")));
    assert!(policy.may_run(at("2026-11-22T12:00:00Z"), true).is_ok());
    assert!(policy.may_run(at("2026-12-26T23:00:00Z"), true).is_err());
}

//! Scenarios: a host's story as text in, what the mind makes of it as golden text out, both reviewed as prose.
//!
//! A story (`scenarios/NAME.txt`) begins with server EX1 as `stage` describes it, and says what differs. Lines:
//!
//! * `# …` is for the reader.
//! * `policy LINE` is a line of the policy's TOML; `{be}` stands for the thumbprint of certificate `be`.
//! * `certificate NAME key=K names=A,B from=DATE to=DATE [issuer=CN] [sha1]` makes a certificate known.
//! * `look TIME` is a look at the host at that time; what differs from the look before stands indented below it, and the
//!   memory takes it in.
//! * `ask` prints what is judged and decided at that look.
//!
//! The words below `look` are those of `script::change`. A golden text that changed for a good reason is written anew with
//! `INSTA_UPDATE=always cargo test -p policy`, and read before it is committed.

mod script;
mod show;

use self::script::Story;

fn play(name: &str) {
    let path = format!("{}/tests/scenarios/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "the mind has no files; its tests read their stories")]
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let shown = Story::new().play(&text);
    assert!(!shown.is_empty(), "{name} asks nothing");
    insta::with_settings!({ snapshot_path => "scenarios", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { play(stringify!($name)); })*
    };
}

scenarios! {
    healthy
    c1_deleted_observe c1_deleted_propose c1_deleted_act
    c1_foreign_change_restarts_quiet c1_never_quiet c1_key_container_missing c1_other_certificate_on_444
    c1_ca_issued_last_good c1_distrusted_last_good c1_expired_last_good c1_archived_meanwhile c1_anti_flap
    c1_seen_first_when_deleted
    c5_record_gone_act c5_tool_deletes_and_adds c5_record_and_certificate_gone c5_empty_record
    f1_expiring f2_expired f3_key_missing f9_extra_record f15_misnamed f15_misnamed_and_expiring
    f35_setup_running f35_setup_half_finished f37_not_yet_valid
    g6_no_role g6_exchange_2010 g7_intercepted g9_names_disagree g10_distrusted_bound g10_compromised_bound
    unknown_stores unknown_records unknown_keys unknown_names_and_group dead_handshake
    exception_early_renewal no_last_good_ever w3svc_disabled site_binding_missing agent_held
}

#[test]
fn every_story_is_played_and_every_golden_text_has_a_story() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    #[expect(clippy::disallowed_methods, reason = "the mind has no files; its tests read their stories")]
    let files = std::fs::read_dir(folder).expect("the folder of stories");
    for file in files {
        let file = file.expect("an entry").file_name().into_string().expect("a name in ASCII");
        let name = file.strip_suffix(".txt").or_else(|| file.strip_suffix(".snap"));
        assert!(name.is_none_or(|name| NAMES.contains(&name)), "{file} belongs to no scenario");
    }
}

//! Scenarios: a host's story as text in, what the mind makes of it as golden text out, both reviewed as prose.
//!
//! A story (`scenarios/NAME.txt`) begins with server EX1 as `stage` describes it, and says what differs. Lines:
//!
//! * `# …` is for the reader.
//! * `policy LINE` is a line of the policy's TOML; `{be}` stands for the thumbprint of certificate `be`.
//! * `certificate NAME key=K names=A,B from=DATE to=DATE [issuer=CN] [sha1] [no-signing]` makes a certificate known.
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
    c1_anti_flap c1_archived_meanwhile c1_ca_issued_last_good c1_deleted_act c1_deleted_observe c1_deleted_propose
    c1_distrusted_last_good c1_expired_last_good c1_foreign_change_restarts_quiet c1_key_container_missing
    c1_never_quiet c1_other_certificate_on_444 c1_seen_first_when_deleted c2_iis_manager c3_made_after_the_loss
    c3_record_gone_too c5_empty_record c5_record_and_certificate_gone c5_record_gone_act c5_stale_metabase
    c5_tool_deletes_and_adds c6_front_end_taken c7_renewed_and_old_deleted c8_services_and_sha1 c10a_acme_deleted
    c10b_in_webhosting c10c_services_stopped c11_blank_page c14_front_end_renewed f1_expiring f2_expired f3_key_missing
    f4_link_lost f5_key_denied f6_transport_denied f7_archived f8_wrong_store f9_extra_record f10_binding_on_one_address
    f11_sni f12_other_site f13_site_stopped f15_misnamed f15_misnamed_and_expiring f16_from_a_ca f18_fresh_server
    f19_changed_by_somebody f20_flapping f25_management_certificate f26_front_end_expired f28_unopenable_cng f29_other_tls_policy f31_blocked g7_from_outside f34_renamed
    f35_setup_half_finished f35_setup_running f36_updated f37_clock f37_not_yet_valid f38_root_copy f40_same_name
    f41_snapshot f43_maintenance f44_auth_certificate f46_redirected g1_uninstalled g2_rebuilt g4_update_running
    g5_managed_availability g6_exchange_2010 g6_no_role g7_intercepted g8_name_elsewhere g9_names_disagree
    g10_compromised_bound g10_distrusted_bound g12_watermark g13_tls g14_group_unknown g17_auth_ends_too agent_held
    actions_report actions_restore_propose g9_policy_names_one dead_handshake exception_early_renewal healthy rule9_end_in_a_freeze rule9_no_window no_last_good_ever site_binding_missing unknown_keys
    unknown_names_and_group unknown_records unknown_stores w3svc_disabled
    g6_one_role c1_bytes_not_at_hand f2_expired_and_dead c3_setup_running f9_extra_record_in_the_way f9_extra_record_distrusted
    f7_archived_in_setup f37_clock_by_minutes f37_first_moment c3_not_a_candidate
    c6_front_end_unfit c1_other_key_in_container c1_no_access_list f19_replaced_by_a_renewal c5_metabase_in_order
    g13_tls_before_the_start f36_updated_a_day_ago g17_auth_ends_elsewhen f1_renewed_by_a_plan c6_front_end_at_its_end
    c1_443_changes_while_lost c10c_all_services_stopped c11_every_cause g12_watermark_at_fourteen_days c5_everything_gone
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

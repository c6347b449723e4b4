//! The lab driver keeps every promise of the trait `Driver`.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::time::Duration;

use agent::driver::Driver;
use agent::driver::lab::fault::Fault;
use anyhow::Result;
use policy::id::Thumbprint;
use policy::report::{SslRecord, Store};
use tempfile::TempDir;
use tests::conformance::{Bench, CHECKS};
use tests::lab::{Estate, Running, Server};

/// Long enough for a slow machine, short beside a call that hangs.
const LIMIT: Duration = Duration::from_secs(3);

struct Lab {
    server: Server,
    _running: Running,
    _folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let estate = Estate::with(folder.path(), &[("EX1", Some("DAG1"))]).unwrap();
        let running = estate.up().unwrap();
        Self { server: estate.server("EX1").unwrap(), _running: running, _folder: folder }
    }
}

impl Bench for Lab {
    fn driver(&self) -> Box<dyn Driver> {
        Box::new(self.server.driver().with_limit(LIMIT))
    }

    fn delete_certificate(&self, store: &Store, thumbprint: Thumbprint) -> Result<()> {
        assert!(self.server.files().remove_certificate(store, thumbprint)?);
        Ok(())
    }

    fn delete_key(&self, container: &str) -> Result<()> {
        assert!(self.server.files().remove_key(container)?);
        Ok(())
    }

    fn delete_record(&self, record: &SslRecord) -> Result<()> {
        Ok(self.server.http_sys()?.delete(record)?)
    }

    fn write_record(&self, record: &SslRecord) -> Result<()> {
        Ok(self.server.http_sys()?.set(record)?)
    }

    fn restart_http_sys(&self) -> Result<()> {
        self.server.restart()
    }

    fn fault(&self, fault: Fault) -> Result<bool> {
        self.server.fault(fault)?;
        Ok(true)
    }
}

fn keeps(name: &str, lab: &Lab) {
    let (_, check) = CHECKS.iter().find(|(own, _)| *own == name).unwrap();
    check(lab).unwrap();
}

#[test]
fn a_host_whose_http_sys_can_update_keeps_what_swaps_promise() {
    for name in [
        "a_renewal_goes_step_by_step_and_no_step_twice",
        "undoing_a_renewal_leaves_the_host_as_it_was",
        "a_swap_changes_one_record_and_states_its_gap",
        "a_swap_stops_before_a_foreign_record",
        "a_swap_that_was_cut_off_is_half_and_goes_either_way",
        "a_swap_without_a_usable_key_removes_nothing",
        "a_swap_is_not_undone_into_a_dangling_record",
        "a_changed_record_goes_there_and_back",
    ] {
        let lab = Lab::new();
        let mut host = lab.server.files().host().unwrap();
        host.updates_records = true;
        lab.server.files().write_host(&host).unwrap();
        keeps(name, &lab);
    }
}

macro_rules! the_lab_keeps {
    ($($name:ident)*) => {
        $(#[test] fn $name() { keeps(stringify!($name), &Lab::new()); })*

        #[test]
        fn no_promise_is_left_out() {
            assert_eq!(CHECKS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

the_lab_keeps! {
    looking_changes_nothing_and_says_the_same_twice
    the_back_end_is_seen_whole
    lists_are_in_order
    dialling_leads_to_what_the_record_serves
    watching_wakes_for_a_change_of_the_store_and_of_a_record
    watching_a_host_at_rest_ends_with_its_limit
    a_renewal_goes_step_by_step_and_no_step_twice
    a_minted_certificate_has_the_vendors_profile
    steps_that_need_a_key_are_blocked_without_it
    what_was_minted_is_found_again_after_a_crash
    a_key_without_certificate_is_taken_up_again
    a_container_has_one_certificate
    undoing_a_renewal_leaves_the_host_as_it_was
    undoing_spares_what_a_record_refers_to
    a_deleted_certificate_comes_back_as_the_same_and_serves
    a_certificate_is_not_added_to_a_key_that_is_not_its_own
    a_record_is_written_only_where_none_is
    a_record_is_not_written_without_its_certificate
    what_the_shell_does_is_not_for_the_driver
    a_swap_changes_one_record_and_states_its_gap
    a_swap_stops_before_a_foreign_record
    a_swap_that_was_cut_off_is_half_and_goes_either_way
    a_swap_without_a_usable_key_removes_nothing
    a_swap_is_not_undone_into_a_dangling_record
    a_changed_record_goes_there_and_back
    a_change_of_a_record_stops_before_a_foreign_one
    a_record_is_bound_where_none_is_and_unbound_only_if_it_is_ours
    the_archived_mark_is_taken_off_and_set_again
    a_removed_record_is_written_again
    a_binding_of_iis_is_changed_and_changed_back
    a_set_that_fails_leaves_the_old_record
    a_gap_that_cannot_be_closed_is_half
    a_call_that_fails_is_an_error_and_can_be_repeated
    a_call_that_lies_is_found_out_by_the_check
    an_http_sys_that_hangs_is_an_error_in_time
    what_cannot_be_read_is_unknown
}

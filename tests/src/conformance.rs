//! What every driver must do, whatever host it drives: the promises of `agent::driver`, one check each.
//!
//! A kind of host joins by implementing [`Bench`] and running every one of [`CHECKS`] on a fresh host. A check gets nothing
//! but the driver and the few things that befall a host from outside.

mod failing;
mod looking;
mod repairing;
mod stepping;
mod swapping;
mod words;

use agent::driver::Driver;
use agent::driver::fault::Fault;
use anyhow::Result;
use policy::id::Thumbprint;
use policy::report::{SslRecord, Store};

/// A freshly installed host with a healthy back end, and what can befall it.
pub trait Bench {
    /// A driver for the host, as an agent has one that has just started.
    fn driver(&self) -> Box<dyn Driver>;

    /// Somebody deletes a certificate.
    ///
    /// # Errors
    /// When it cannot be deleted.
    fn delete_certificate(&self, store: &Store, thumbprint: Thumbprint) -> Result<()>;

    /// Somebody deletes a private key.
    ///
    /// # Errors
    /// When it cannot be deleted.
    fn delete_key(&self, container: &str) -> Result<()>;

    /// Somebody removes a record.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn delete_record(&self, record: &SslRecord) -> Result<()>;

    /// Somebody writes a record where none is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write_record(&self, record: &SslRecord) -> Result<()>;

    /// http.sys restarts.
    ///
    /// # Errors
    /// When it does not.
    fn restart_http_sys(&self) -> Result<()>;

    /// Lets calls of the host go wrong from here on; false when this kind of host cannot be told to.
    ///
    /// # Errors
    /// When it can be told to, and that failed.
    fn fault(&self, fault: Fault) -> Result<bool>;
}

/// One promise, and what shows that it is kept.
pub type Check = fn(&dyn Bench) -> Result<()>;

macro_rules! checks {
    ($($file:ident: $($name:ident)*;)*) => {
        /// Every promise, by its name.
        pub const CHECKS: &[(&str, Check)] = &[$($((stringify!($name), $file::$name),)*)*];
    };
}

checks! {
    looking:
        looking_changes_nothing_and_says_the_same_twice
        the_back_end_is_seen_whole
        lists_are_in_order
        dialling_leads_to_what_the_record_serves
        watching_wakes_for_a_change_of_the_store_and_of_a_record
        watching_a_host_at_rest_ends_with_its_limit;
    stepping:
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
        what_the_shell_does_is_not_for_the_driver;
    swapping:
        a_swap_changes_one_record_and_states_its_gap
        a_swap_stops_before_a_foreign_record
        a_swap_that_was_cut_off_is_half_and_goes_either_way
        a_swap_without_a_usable_key_removes_nothing
        a_swap_is_not_undone_into_a_dangling_record;
    repairing:
        a_changed_record_goes_there_and_back
        a_change_of_a_record_stops_before_a_foreign_one
        a_record_is_bound_where_none_is_and_unbound_only_if_it_is_ours
        the_archived_mark_is_taken_off_and_set_again
        a_removed_record_is_written_again
        a_binding_of_iis_is_changed_and_changed_back;
    failing:
        a_set_that_fails_leaves_the_old_record
        a_gap_that_cannot_be_closed_is_half
        a_call_that_fails_is_an_error_and_can_be_repeated
        a_call_that_lies_is_found_out_by_the_check
        an_http_sys_that_hangs_is_an_error_in_time
        what_cannot_be_read_is_unknown;
}

//! The driver for Windows keeps every promise of the trait `Driver`, as the lab's does: on a machine with the double of httpapi over
//! Wine's own, which says yes and does nothing.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is its way to say so")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use agent::config::Config;
use agent::doctor;
use agent::driver::Driver;
use agent::driver::fault::{Call, Fault, Mode};
use agent::driver::rehearse::CONTAINER;
use agent::driver::system::{Opened, System};
use agent::driver::windows::WindowsDriver;
use anyhow::Result;
use policy::checkup::Kind;
use policy::id::Thumbprint;
use policy::report::{AuthCertificates, Fact, SslRecord, Store};
use tests::conformance::{Bench, CHECKS};
use tests::windows::http_sys::HttpSys;
use tests::windows::machine::{self, Machine};

/// The ports are those of the machine, and it has one http.sys.
static HTTP_SYS: LazyLock<Mutex<HttpSys>> = LazyLock::new(|| Mutex::new(HttpSys::start(&[443, 444]).unwrap()));

struct Wine<'a> {
    http_sys: &'a HttpSys,
}

impl Bench for Wine<'_> {
    fn driver(&self) -> Box<dyn Driver> {
        Box::new(WindowsDriver::new())
    }

    fn delete_certificate(&self, store: &Store, thumbprint: Thumbprint) -> Result<()> {
        machine::delete_certificate(store, thumbprint)
    }

    fn delete_key(&self, container: &str) -> Result<()> {
        machine::delete_key(container)
    }

    fn delete_record(&self, record: &SslRecord) -> Result<()> {
        Ok(WindowsDriver::new().delete_record(record)?)
    }

    fn write_record(&self, record: &SslRecord) -> Result<()> {
        Ok(WindowsDriver::new().set_record(record)?)
    }

    fn restart_http_sys(&self) -> Result<()> {
        self.http_sys.restart();
        self.http_sys.load_all();
        Ok(())
    }

    /// Only the calls of the double can be told to fail: the others are Wine's own.
    fn fault(&self, fault: Fault) -> Result<bool> {
        let Fault { call, mode, code, millis, after: 0, times } = fault else { return Ok(false) };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other calls are Wine's own")]
        let (double, name) = match call {
            Call::Query => ("httpapi", "query"),
            Call::Set => ("httpapi", "set"),
            Call::Update => ("httpapi", "update"),
            Call::Delete => ("httpapi", "delete"),
            Call::StoreRead => ("crypt32", "read"),
            Call::StoreAdd => ("crypt32", "add"),
            Call::StoreArchive => ("crypt32", "archive"),
            Call::StoreRemove => ("crypt32", "remove"),
            _ => return Ok(false),
        };
        match (mode, times) {
            (Mode::Fail, _) => machine::fail(double, name, code, times)?,
            (Mode::Lie, Some(times)) if !matches!(call, Call::Query | Call::StoreRead) => machine::lie(double, name, times)?,
            (Mode::Hang, _) => machine::slow(double, name, millis, times)?,
            (Mode::Lie, _) => return Ok(false),
        }
        Ok(true)
    }
}

fn check(name: &str) -> Result<()> {
    let http_sys = HTTP_SYS.lock().unwrap_or_else(PoisonError::into_inner);
    Machine::install().unwrap();
    http_sys.restart();
    http_sys.load_all();
    let (_, check) = CHECKS.iter().find(|(own, _)| *own == name).unwrap();
    check(&Wine { http_sys: &http_sys })
}

/// Doctor on a host that serves: everything is proven that Wine has, also by Schannel, and neither a look nor a rehearsal
/// changes it.
#[test]
fn doctor_proves_a_whole_host_and_a_rehearsal_leaves_it_as_it_was() {
    let http_sys = HTTP_SYS.lock().unwrap_or_else(PoisonError::into_inner);
    let installed = Machine::install().unwrap();
    http_sys.restart();
    http_sys.load_all();
    let driver = WindowsDriver::new();
    let machine = driver.observe().unwrap().report.machine;
    assert_eq!(machine.transport, Fact::Known(Some(installed.back_end)));
    let auth = Thumbprint([0xA0; 20]);
    assert_eq!(machine.auth, Fact::Known(AuthCertificates { current: Some(auth), next: None }));
    let around = || (driver.stored(&Store::My).unwrap(), driver.stored(&Store::Root).unwrap(), driver.records().unwrap());
    let before = around();
    let state = tempfile::tempdir().unwrap();
    let config = Config { state_dir: state.path().to_owned(), ..Config::from_toml("", Path::new("agent.toml")).unwrap() };
    let rehearsal = doctor::examine(&config, &driver, Kind::Rehearsal);
    let outcome = |name: &str| {
        let check = rehearsal.checks.iter().find(|check| check.name == name);
        check.unwrap_or_else(|| panic!("no {name} in {rehearsal:#?}")).outcome.as_str()
    };
    for name in [
        "store.MY",
        "record.444",
        "records.registry",
        "key.444",
        "key.444.sign",
        "key.444.access",
        "iis.configuration",
        "iis.running",
        "iis.site",
        "directory.transport",
        "directory.auth",
        "probe.rustls.loopback",
        "probe.schannel.loopback",
        "rehearse.sign",
        "rehearse.access",
        "rehearse.handshake",
        "rehearse.clean_up",
        "rehearse.untouched",
    ] {
        assert_eq!(outcome(name), "proven", "{name}: {rehearsal:#?}");
    }
    assert_eq!(around(), before);
    assert!(matches!(driver.key(CONTAINER).unwrap(), Opened::Missing));
    assert!(!driver.delete_rehearsal_key().unwrap());
    // What a killed one left, with or without its key, is taken away by the next.
    driver.create_key(CONTAINER, 2048).unwrap();
    let again = doctor::examine(&config, &driver, Kind::Rehearsal);
    let cleared = again.checks.iter().find(|check| check.name == "rehearse.clear").unwrap();
    assert!(cleared.outcome.text().ends_with("is gone"), "{again:#?}");
    assert_eq!(around(), before);
}

macro_rules! windows_keeps {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)).unwrap(); })*

        #[test]
        fn no_promise_is_left_out() {
            let tested = BTreeSet::from([$(stringify!($name)),*]);
            assert_eq!(CHECKS.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), tested);
        }
    };
}

windows_keeps! {
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
    a_removed_record_is_written_again
    a_binding_of_iis_is_changed_and_changed_back
    a_set_that_fails_leaves_the_old_record
    a_gap_that_cannot_be_closed_is_half
    a_call_that_fails_is_an_error_and_can_be_repeated
    a_call_that_lies_is_found_out_by_the_check
    an_http_sys_that_hangs_is_an_error_in_time
    what_cannot_be_read_is_unknown
    a_container_has_one_certificate
    a_key_without_certificate_is_taken_up_again
    the_archived_mark_is_taken_off_and_set_again
    undoing_a_renewal_leaves_the_host_as_it_was
}

use windows_sys::Win32::System::Registry::{REG_DWORD, REG_EXPAND_SZ, REG_SZ};

use super::*;
use crate::driver::windows::ffi::machine;
use crate::driver::windows::ffi::registry::scratch::{self, Scratch, wide};

/// A server of Exchange 2016 as its setup leaves it, but for the path of its programs.
fn installed_2016(root: &str) {
    numbers_of(&format!("{root}\\v15\\Setup"), [15, 1, 2507, 6]);
    for role in ["AdminTools", "MailboxRole", "ClientAccessRole", "CafeRole", "FrontendTransportRole", "HubTransportRole"] {
        scratch::set(&format!("{root}\\v15\\{role}"), "ConfiguredVersion", REG_SZ, &wide("15.1.2507.6"));
    }
}

fn numbers_of(setup: &str, numbers: [u32; 4]) {
    for (name, number) in ["MsiProductMajor", "MsiProductMinor", "MsiBuildMajor", "MsiBuildMinor"].into_iter().zip(numbers) {
        scratch::set(setup, name, REG_DWORD, &number.to_le_bytes());
    }
}

fn idle(root: &str) -> Setup {
    at_work(root, &["no-such-program.exe"], &[]).unwrap()
}

#[test]
fn a_mailbox_server_has_its_version_and_its_roles() {
    let scratch = Scratch::new();
    installed_2016(scratch.path());
    let expected = Exchange { version: "15.1.2507.6".to_owned(), roles: [Role::Mailbox, Role::ClientAccess].into() };
    assert_eq!(installed(scratch.path()).unwrap(), expected);
    assert_eq!(installed(scratch.path()).unwrap(), expected);
    assert_eq!(idle(scratch.path()), Setup::Idle);
}

#[test]
fn the_version_is_the_files_where_the_registry_says_where_it_is() {
    let scratch = Scratch::new();
    installed_2016(scratch.path());
    let setup = scratch.below(r"v15\Setup");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("Bin").join("ExSetup.exe");
    scratch::set(&setup, "MsiInstallPath", REG_SZ, &wide(&format!("{}\\", folder.path().display())));
    let gone = "the setup program of Exchange, found none, as while an update replaces it";
    assert!(fact(installed(scratch.path())).unknown().is_some_and(|why| why.ends_with(gone)));
    let kernel = machine::system_folder().unwrap().join("kernel32.dll");
    std::fs::create_dir(program.parent().unwrap()).unwrap();
    std::fs::copy(&kernel, &program).unwrap();
    let expected = file_version(&kernel).unwrap().unwrap().to_string();
    assert_eq!(installed(scratch.path()).unwrap().version, expected);
    assert_ne!(expected, "15.1.2507.6");
    scratch::set(&setup, "MsiInstallPath", REG_DWORD, &[0; 4]);
    assert!(installed(scratch.path()).is_err());
}

#[test]
fn a_path_with_variables_is_a_path() {
    let scratch = Scratch::new();
    numbers_of(&scratch.below(r"v15\Setup"), [15, 2, 1544, 4]);
    scratch::set(&scratch.below(r"v15\Setup"), "MsiInstallPath", REG_EXPAND_SZ, &wide(r"%SystemRoot%\no such folder\"));
    let why = fact(installed(scratch.path()));
    assert!(
        why.unknown().is_some_and(|why| why.to_ascii_lowercase().contains(r"c:\windows\no such folder\bin\exsetup.exe")),
        "{why:?}"
    );
}

#[test]
fn where_exchange_never_was_there_is_nothing_to_guard() {
    let scratch = Scratch::new();
    let none = Exchange { version: "none".to_owned(), roles: BTreeSet::new() };
    assert_eq!(installed(scratch.path()).unwrap(), none);
    scratch::create(&scratch.below("v15"));
    assert_eq!(installed(scratch.path()).unwrap(), none);
    assert_eq!(idle(scratch.path()), Setup::Idle);
}

#[test]
fn management_tools_an_edge_server_and_exchange_2010_have_no_mailbox_role() {
    let (tools, edge, older) = (Scratch::new(), Scratch::new(), Scratch::new());
    numbers_of(&tools.below(r"v15\Setup"), [15, 2, 1544, 4]);
    scratch::create(&tools.below(r"v15\AdminTools"));
    assert_eq!(installed(tools.path()).unwrap(), Exchange { version: "15.2.1544.4".to_owned(), roles: BTreeSet::new() });
    numbers_of(&edge.below(r"v15\Setup"), [15, 2, 1544, 4]);
    scratch::create(&edge.below(r"v15\EdgeTransportRole"));
    assert_eq!(installed(edge.path()).unwrap().roles, [Role::Edge].into());
    numbers_of(&older.below(r"v14\Setup"), [14, 3, 123, 4]);
    assert_eq!(installed(older.path()).unwrap(), Exchange { version: "14.3.123.4".to_owned(), roles: BTreeSet::new() });
}

#[test]
fn roles_without_setups_key_are_no_exchange_that_is_known() {
    let scratch = Scratch::new();
    scratch::create(&scratch.below(r"v15\MailboxRole"));
    assert!(fact(installed(scratch.path())).unknown().is_some_and(|why| why.contains("cut off")));
}

#[test]
fn numbers_that_are_missing_or_of_another_type_are_named() {
    let scratch = Scratch::new();
    installed_2016(scratch.path());
    let setup = scratch.below(r"v15\Setup");
    scratch::unset(&setup, "MsiBuildMinor");
    assert!(
        fact(installed(scratch.path())).unknown().is_some_and(|why| why.contains("expected a value MsiBuildMinor, found none"))
    );
    scratch::set(&setup, "MsiBuildMinor", REG_SZ, &wide("6"));
    assert!(fact(installed(scratch.path())).unknown().is_some_and(|why| why.contains("expected REG_DWORD, found REG_SZ")));
}

#[test]
fn what_setup_left_in_the_key_of_a_role_is_half_finished() {
    for (role, left) in [("MailboxRole", "Watermark"), ("CafeRole", "Action"), ("AdminTools", "watermark")] {
        let (by_value, by_key) = (Scratch::new(), Scratch::new());
        installed_2016(by_value.path());
        scratch::set(&by_value.below(&format!("v15\\{role}")), left, REG_SZ, &wide("A1"));
        scratch::create(&by_key.below(&format!("v15\\{role}\\{left}")));
        let where_ = if left == "Action" { "Action" } else { "Watermark" };
        let expected = Setup::HalfFinished(format!("{role}\\{where_}"));
        assert_eq!((idle(by_value.path()), idle(by_key.path())), (expected.clone(), expected));
    }
    let scratch = Scratch::new();
    scratch::set(&scratch.below("v15\\Transport"), "Watermark", REG_SZ, &wide("A1"));
    assert_eq!(idle(scratch.path()), Setup::Idle, "no role");
}

#[test]
fn a_setup_program_that_runs_is_setup_at_work_even_where_nothing_is_installed_yet() {
    let scratch = Scratch::new();
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_string_lossy().into_owned();
    let running = Setup::Running(name.clone());
    assert_eq!(at_work(scratch.path(), &[&name], &[]).unwrap(), running);
    assert_eq!(at_work(scratch.path(), &[], &[&name]).unwrap(), Setup::Idle, "some other product's");
    let beside = program.with_file_name("ExchangeServer.msi");
    std::fs::write(&beside, "").unwrap();
    let found = at_work(scratch.path(), &[], &[&name]);
    std::fs::remove_file(&beside).unwrap();
    assert_eq!(found.unwrap(), running);
}

#[test]
fn setup_last_ran_when_its_log_was_last_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ExchangeSetup.log");
    assert_eq!(written(&log).unwrap(), None);
    assert_eq!(written(&folder.path().join("none").join("ExchangeSetup.log")).unwrap(), None);
    let file = std::fs::File::create(&log).unwrap();
    let time: Timestamp = "2026-05-07T01:29:20.75Z".parse().unwrap();
    file.set_modified(time.into()).unwrap();
    assert_eq!(written(&log).unwrap(), Some("2026-05-07T01:29:20Z".parse().unwrap()));
    assert_eq!(last_setup(&machine::system_folder().unwrap()).unwrap(), None, "a machine on which Exchange Setup never ran");
}

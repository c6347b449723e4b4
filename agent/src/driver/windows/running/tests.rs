//! What IIS says, by the double of nativerd, and what a look does when it says nothing.

use std::sync::{Condvar, Mutex};

use windows_sys::Win32::System::Registry::{REG_DWORD, REG_SZ};

use super::super::ffi::registry::scratch;
use super::*;

const CLASS: &str = r"SOFTWARE\Classes\CLSID\{228fb8f7-fb53-4fd5-8c7b-ff59de606c5b}\InprocServer32";
const DOUBLE: &str = r"SOFTWARE\TestDouble\nativerd";

fn site(name: &str) -> Site {
    Site { id: 1, name: name.to_owned(), bindings: Vec::new(), running: Fact::Unknown("not asked".to_owned()) }
}

fn say(list: &str, name: &str, state: u32) {
    scratch::set(&format!(r"{DOUBLE}\{list}"), name, REG_DWORD, &state.to_le_bytes());
}

fn unknown<T>(why: &str) -> Fact<T> {
    Fact::Unknown(why.to_owned())
}

/// Whether these sites run, as a look tells it.
fn running(names: &[&str]) -> Vec<Fact<bool>> {
    let sites = names.iter().map(|name| site(name)).collect();
    let told = Running::default().look().tell(Fact::Known(sites));
    told.known().unwrap().iter().map(|site| site.running.clone()).collect()
}

#[test]
fn iis_says_which_sites_and_pools_run_and_why_it_does_not() {
    let none = "AppHostAdminManager on the state of sites and application pools: expected success, found error 2147746132 \
                (no such class on this system)";
    assert_eq!(running(&["Exchange Back End"]), [unknown(none)]);
    assert_eq!(Running::default().look().pools, unknown(none));

    scratch::set(CLASS, "", REG_SZ, &scratch::wide("nativerd.dll"));
    scratch::set(CLASS, "ThreadingModel", REG_SZ, &scratch::wide("Both"));
    assert_eq!(Running::default().look().counted().unwrap(), "0 of 0 sites run, and 0 of 0 application pools");
    for (name, state) in [("Default Web Site", 1), ("Exchange Back End", 3), ("Beginning", 0), ("Ending", 2), ("Odd", 4)] {
        say("sites", name, state);
    }
    let told = running(&["Exchange Back End", "Default Web Site", "Beginning", "Ending", "Odd", "Nobody's"]);
    let between = unknown("it is just starting or stopping");
    let odd = unknown("expected a state of 0 to 3, found 4");
    let nobodys = unknown("IIS does not name this site");
    assert_eq!(told, [Fact::Known(false), Fact::Known(true), between.clone(), between, odd, nobodys]);

    for (name, state) in [("MSExchangeOWAAppPool", 1), ("MSExchangeECPAppPool", 3), ("Beginning", 0), ("Käse", 3)] {
        say("pools", name, state);
    }
    let pools =
        [("Käse", AppPool::Stopped), ("MSExchangeECPAppPool", AppPool::Stopped), ("MSExchangeOWAAppPool", AppPool::Started)];
    let pools: BTreeMap<String, AppPool> = pools.into_iter().map(|(name, pool)| (name.to_owned(), pool)).collect();
    assert_eq!(Running::default().look().pools, Fact::Known(pools));
    let silent = Running::default().look().counted().unwrap_err();
    assert!(["Beginning", "Odd"].iter().any(|name| silent.starts_with(&format!("site {name}: "))), "{silent}");

    // WAS does not run: the configuration is there, and no state.
    say("sites", "Exchange Back End", 0x8007_0426);
    say("pools", "MSExchangeOWAAppPool", 0x8007_0426);
    let stopped = "IAppHostProperty.Value on state: expected success, found error 2147943462 (the service does not run)";
    assert_eq!(running(&["Exchange Back End", "Default Web Site"]), [unknown(stopped), Fact::Known(true)]);
    assert_eq!(Running::default().look().pools, unknown(&format!("application pool MSExchangeOWAAppPool: {stopped}")));

    scratch::set(DOUBLE, "fail_section", REG_SZ, &scratch::wide(&0x8007_0005_u32.to_string()));
    let denied = Running::default().look().pools;
    assert!(denied.unknown().unwrap().contains("found error 2147942405"), "{denied:?}");
    scratch::remove(DOUBLE);
    scratch::remove(CLASS);
}

#[test]
fn a_look_does_not_wait_for_an_answer_that_is_owed_and_asks_again_when_it_has_come() {
    static HANGS: Mutex<bool> = Mutex::new(true);
    static CHANGED: Condvar = Condvar::new();
    fn said() -> Answer {
        Ok(Said { sites: Vec::new(), pools: Vec::new() })
    }
    fn hanging() -> Answer {
        drop(CHANGED.wait_while(HANGS.lock().unwrap(), |hangs| *hangs).unwrap());
        said()
    }
    fn asked_in_vain() -> Answer {
        unreachable!("nobody is asked while an answer is owed")
    }

    let iis = Running::default();
    assert_eq!(iis.ask(said, LIMIT), said());
    let late = iis.ask(hanging, Duration::from_millis(1)).unwrap_err();
    assert!(late.contains("within"), "{late}");
    for _ in 0..3 {
        let owed = iis.ask(asked_in_vain, LIMIT).unwrap_err();
        assert!(owed.contains("still owes"), "{owed}");
    }
    *HANGS.lock().unwrap() = false;
    CHANGED.notify_all();
    // The answer that is owed comes in a moment; until then each look says so.
    let again = (0..1_000).find_map(|_| {
        thread::sleep(Duration::from_millis(5));
        iis.ask(said, LIMIT).ok()
    });
    assert_eq!(again, Some(said().unwrap()));
}

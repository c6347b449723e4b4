//! What IIS says, by the double of nativerd.

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

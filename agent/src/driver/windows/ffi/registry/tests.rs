use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use windows_sys::Win32::System::Registry::REG_QWORD;

use super::scratch::{self, Scratch, wide};
use super::*;

/// Long enough for any machine; a wait that is answered takes milliseconds.
const LONG: Duration = Duration::from_secs(30);

fn key(scratch: &Scratch) -> Key {
    Key::machine(scratch.path()).unwrap().unwrap()
}

#[test]
fn values_are_read_by_their_type() {
    let scratch = Scratch::new();
    let at = scratch.path();
    scratch::set(at, "text", REG_SZ, &wide("Grüße"));
    scratch::set(at, "path", REG_EXPAND_SZ, &wide(r"%SystemRoot%\x"));
    scratch::set(at, "number", REG_DWORD, &7_u32.to_le_bytes());
    scratch::set(at, "bytes", REG_BINARY, &[1, 2, 3]);
    scratch::set(at, "texts", REG_MULTI_SZ, &[wide("a"), wide("b c"), wide("")].concat());
    let key = key(&scratch);
    assert_eq!(key.string("text").unwrap().as_deref(), Some("Grüße"));
    assert_eq!(key.expanded("text").unwrap().as_deref(), Some("Grüße"));
    assert_eq!(key.expanded("path").unwrap().unwrap().to_ascii_lowercase(), r"c:\windows\x");
    assert_eq!(key.number("number").unwrap(), Some(7));
    assert_eq!(key.bytes("bytes").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(key.strings("texts").unwrap(), Some(vec!["a".to_owned(), "b c".to_owned()]));
    assert_eq!(key.values().unwrap(), ["bytes", "number", "path", "text", "texts"]);
}

#[test]
fn what_does_not_exist_is_none() {
    let scratch = Scratch::new();
    assert!(Key::machine(&scratch.below("no such")).unwrap().is_none());
    assert!(Key::machine(&scratch.below(r"no such\nor such")).unwrap().is_none());
    let key = key(&scratch);
    assert!(key.subkey("no such").unwrap().is_none());
    assert_eq!(key.string("no such").unwrap(), None);
    assert_eq!(key.number("no such").unwrap(), None);
    assert_eq!((key.subkeys().unwrap(), key.values().unwrap()), (vec![], vec![]));
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    scratch::set(scratch.path(), "text", REG_SZ, &wide("7"));
    scratch::set(scratch.path(), "long", REG_QWORD, &7_u64.to_le_bytes());
    let key = key(&scratch);
    let object = format!(r#"value "text" of HKLM\{}"#, scratch.path());
    let expected = |kind| format!("{object}: expected {kind}, found REG_SZ of 4 bytes");
    assert_eq!(key.number("text").unwrap_err().to_string(), expected("REG_DWORD"));
    assert_eq!(key.bytes("text").unwrap_err().to_string(), expected("REG_BINARY"));
    assert_eq!(key.strings("text").unwrap_err().to_string(), expected("REG_MULTI_SZ"));
    assert!(key.string("long").unwrap_err().to_string().ends_with("expected REG_SZ, found type 11 of 8 bytes"));
}

#[test]
fn numbers_and_texts_of_a_wrong_length_are_errors() {
    let scratch = Scratch::new();
    scratch::set(scratch.path(), "number", REG_DWORD, &[7, 0]);
    scratch::set(scratch.path(), "text", REG_SZ, &[b'a', 0, b'b']);
    let key = key(&scratch);
    assert!(key.number("number").unwrap_err().to_string().ends_with("expected REG_DWORD, found REG_DWORD of 2 bytes"));
    assert!(key.string("text").unwrap_err().to_string().ends_with("expected REG_SZ, found REG_SZ of 3 bytes"));
}

#[test]
fn texts_that_are_not_terminated_or_terminated_twice_are_read() {
    let scratch = Scratch::new();
    let at = scratch.path();
    scratch::set(at, "open", REG_SZ, &[b'a', 0, b'b', 0]);
    scratch::set(at, "twice", REG_SZ, &[b'a', 0, 0, 0, b'b', 0, 0, 0]);
    scratch::set(at, "empty", REG_SZ, &[]);
    scratch::set(at, "open list", REG_MULTI_SZ, &[b'a', 0, 0, 0, b'b', 0]);
    scratch::set(at, "empty list", REG_MULTI_SZ, &[]);
    let key = key(&scratch);
    assert_eq!(key.string("open").unwrap().as_deref(), Some("ab"));
    assert_eq!(key.string("twice").unwrap().as_deref(), Some("a"));
    assert_eq!(key.string("empty").unwrap().as_deref(), Some(""));
    assert_eq!(key.strings("open list").unwrap(), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(key.strings("empty list").unwrap(), Some(vec![]));
}

#[test]
fn a_value_may_be_large_but_not_without_bound() {
    let scratch = Scratch::new();
    let large = vec![7; 100_000];
    scratch::set(scratch.path(), "large", REG_BINARY, &large);
    scratch::set(scratch.path(), "huge", REG_BINARY, &vec![7; MAX_VALUE + 1]);
    let key = key(&scratch);
    assert_eq!(key.bytes("large").unwrap(), Some(large));
    assert!(key.bytes("huge").unwrap_err().to_string().ends_with("expected at most 1048576 bytes, found 1048577"));
}

#[test]
fn keys_below_are_listed_and_opened() {
    let scratch = Scratch::new();
    let long = "n".repeat(255);
    for name in ["0.0.0.0:444", "[::]:444", &long] {
        scratch::set(&scratch.below(name), "name", REG_SZ, &wide(name));
    }
    let key = key(&scratch);
    assert_eq!(key.subkeys().unwrap(), ["0.0.0.0:444", "[::]:444", &long]);
    assert_eq!(key.subkey(&long).unwrap().unwrap().string("name").unwrap(), Some(long));
}

#[test]
fn a_key_that_is_deleted_while_it_is_open_holds_nothing() {
    let scratch = Scratch::new();
    scratch::set(&scratch.below("a"), "text", REG_SZ, &wide("x"));
    let open = key(&scratch).subkey("a").unwrap().unwrap();
    scratch::remove(&scratch.below("a"));
    assert_eq!(open.string("text").unwrap(), None);
    assert_eq!(open.values().unwrap(), Vec::<String>::new());
}

#[test]
fn the_time_of_the_last_write_is_that_of_our_calendar() {
    let scratch = Scratch::new();
    let second = |time: Timestamp| time.as_second();
    #[expect(clippy::disallowed_methods, reason = "the system writes the time by its own clock")]
    let before = Timestamp::now();
    scratch::set(scratch.path(), "a", REG_DWORD, &[0; 4]);
    let written = key(&scratch).written().unwrap();
    assert!((second(before) - 1..=second(before) + LONG.as_secs() as i64).contains(&second(written)), "{before} {written}");
    assert_eq!(timestamp(116_444_736_000_000_000), Some(Timestamp::UNIX_EPOCH));
    assert_eq!(timestamp(134_123_456_781_234_567).unwrap().to_string(), "2026-01-08T11:34:38.1234567Z");
    assert_eq!(timestamp(u64::MAX), None);
}

#[test]
fn a_change_by_another_process_ends_the_wait_and_names_the_key() {
    let scratch = Scratch::new();
    let keys = [scratch.below("a"), scratch.below("b")];
    keys.iter().for_each(|key| scratch::create(&format!(r"{key}\deep\down")));
    let mut watch = Watch::on(&[&keys[0], &keys[1]]).unwrap();
    assert_eq!(watch.wait(Duration::ZERO).unwrap(), Vec::<usize>::new());
    // Below the key, too.
    #[expect(clippy::disallowed_methods, reason = "the change must come from outside")]
    let mut reg = Command::new("reg")
        .args(["add", &format!(r"HKLM\{}\deep\down", keys[1]), "/v", "x", "/d", "y", "/f"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(watch.wait(LONG).unwrap(), [1]);
    assert!(reg.wait().unwrap().success());
}

#[test]
fn what_is_changed_between_two_waits_ends_the_next_one() {
    let scratch = Scratch::new();
    let mut watch = Watch::on(&[scratch.path()]).unwrap();
    let key = key(&scratch);
    for number in 0_u32..20 {
        // The first change wakes; the second is made after the wait, and before the caller looks again.
        scratch::set(scratch.path(), "n", REG_DWORD, &(2 * number).to_le_bytes());
        assert_eq!(watch.wait(LONG).unwrap(), [0], "{number}");
        scratch::set(scratch.path(), "n", REG_DWORD, &(2 * number + 1).to_le_bytes());
        assert_eq!(watch.wait(LONG).unwrap(), [0], "{number}");
        assert_eq!(key.number("n").unwrap(), Some(2 * number + 1));
    }
    assert_eq!(watch.wait(Duration::ZERO).unwrap(), Vec::<usize>::new());
}

/// A writer that never waits for the watcher: whatever the watcher saw last is what was written last.
#[test]
fn the_last_of_many_changes_is_always_seen() {
    const LAST: u32 = 2000;
    let scratch = Scratch::new();
    scratch::set(scratch.path(), "n", REG_DWORD, &[0; 4]);
    let mut watch = Watch::on(&[scratch.path()]).unwrap();
    let path = scratch.path().to_owned();
    let writer = thread::spawn(move || (1..=LAST).for_each(|n| scratch::set(&path, "n", REG_DWORD, &n.to_le_bytes())));
    let key = key(&scratch);
    while key.number("n").unwrap() != Some(LAST) {
        assert_eq!(watch.wait(LONG).unwrap(), [0]);
    }
    writer.join().unwrap();
}

#[test]
fn a_key_that_does_not_exist_is_watched_until_it_appears_and_after_it_is_gone() {
    let scratch = Scratch::new();
    let path = scratch.below(r"a\b\c");
    let mut watch = Watch::on(&[&path]).unwrap();
    // Its ancestors come one by one, and other keys beside them: that alone is no change of this one.
    scratch::create(&scratch.below("beside"));
    scratch::create(&scratch.below(r"a"));
    assert_eq!(watch.wait(Duration::from_millis(200)).unwrap(), Vec::<usize>::new());
    scratch::create(&scratch.below(r"a\b"));
    scratch::create(&path);
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
    scratch::set(&path, "n", REG_DWORD, &[0; 4]);
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
    scratch::remove(&scratch.below("a"));
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
    scratch::create(&path);
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
}

#[test]
fn a_key_that_is_deleted_and_made_again_is_watched_as_the_new_one() {
    let scratch = Scratch::new();
    let path = scratch.below("0.0.0.0:444");
    scratch::create(&path);
    let mut watch = Watch::on(&[&path]).unwrap();
    scratch::remove(&path);
    scratch::create(&path);
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
    scratch::set(&path, "n", REG_DWORD, &[0; 4]);
    assert_eq!(watch.wait(LONG).unwrap(), [0]);
}

#[test]
fn a_watch_may_move_from_thread_to_thread() {
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    // Made on a thread that has ended when the change comes: before Windows 8 that alone may wake it.
    let mut watch = thread::spawn(move || Watch::on(&[&path]).unwrap()).join().unwrap();
    while watch.wait(Duration::ZERO).unwrap() == [0] {}
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || tell.send(watch.wait(LONG).unwrap()));
    scratch::set(scratch.path(), "n", REG_DWORD, &[0; 4]);
    assert_eq!(told.recv_timeout(LONG).unwrap(), [0]);
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_watch_has_at_least_one_key_and_no_more_than_the_system_waits_for() {
    let scratch = Scratch::new();
    assert!(Watch::on(&[]).unwrap_err().to_string().ends_with("expected 1 to 64, found 0"));
    assert!(Watch::on(&[scratch.path(); MAX]).is_ok());
    assert!(Watch::on(&[scratch.path(); MAX + 1]).unwrap_err().to_string().ends_with("expected 1 to 64, found 65"));
}

const MAX: usize = watch::MAX_KEYS;

#[test]
fn keys_are_open_to_every_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Key>();
    shared::<Watch>();
}

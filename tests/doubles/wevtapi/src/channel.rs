//! Channels as folders, and which of their events a query wants.

use std::path::{Path, PathBuf};
use std::{fs, ptr};

use windows_sys::Win32::Foundation::{ERROR_EVT_CHANNEL_NOT_FOUND, ERROR_EVT_INVALID_QUERY, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegGetValueW};

const KEY: &str = r"SOFTWARE\TestDouble\wevtapi";

/// The most conditions that one query may have.
const MOST_CONDITIONS: usize = 23;

/// The events of a channel that the query wants, the oldest first, or the error that Windows gives.
pub(crate) fn ask(channel: &str, query: &str) -> Result<Vec<PathBuf>, u32> {
    if let Some(code) = number(channel) {
        return Err(code);
    }
    if !is_query(query) {
        return Err(ERROR_EVT_INVALID_QUERY);
    }
    let folder = folder().ok_or(ERROR_EVT_CHANNEL_NOT_FOUND)?.join(channel.replace('/', "%4"));
    let files = fs::read_dir(folder).map_err(|_| ERROR_EVT_CHANNEL_NOT_FOUND)?;
    let mut events: Vec<PathBuf> =
        files.filter_map(|file| Some(file.ok()?.path())).filter(|file| is_wanted(file, query)).collect();
    events.sort();
    Ok(events)
}

fn is_query(query: &str) -> bool {
    let mut open = Vec::new();
    let mut quoted = false;
    for character in query.chars() {
        match character {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '[' | '(' => open.push(character),
            ']' if open.pop() != Some('[') => return false,
            ')' if open.pop() != Some('(') => return false,
            _ => {}
        }
    }
    let whole = query.starts_with("*[System[") && open.is_empty() && !quoted;
    whole && query.matches('=').count() <= MOST_CONDITIONS
}

fn is_wanted(file: &Path, query: &str) -> bool {
    let Ok(event) = fs::read_to_string(file) else { return false };
    let provider = between(&event, "<Provider Name='", "'");
    let number = event.split_once("<EventID").and_then(|(_, rest)| between(rest, ">", "<"));
    let (Some(provider), Some(number)) = (provider, number) else { return false };
    let named = query.contains(&format!("@Name='{provider}'"));
    named && [")", " "].iter().any(|end| query.contains(&format!("EventID={number}{end}")))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn folder() -> Option<PathBuf> {
    let mut units = [0_u16; 1024];
    let mut size = u32::try_from(size_of_val(&units)).ok()?;
    let (key, value) = (wide(KEY), wide("folder"));
    // SAFETY: the names are terminated, and the buffer has room for `size` bytes.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_SZ,
            ptr::null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    let end = units.iter().position(|unit| *unit == 0)?;
    (code == ERROR_SUCCESS).then(|| String::from_utf16_lossy(&units[..end]).into())
}

fn number(name: &str) -> Option<u32> {
    let mut number = 0_u32;
    let mut size = 4;
    let (key, value) = (wide(KEY), wide(name));
    // SAFETY: the names are terminated, and there is room for the four bytes of a number.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_DWORD,
            ptr::null_mut(),
            (&raw mut number).cast(),
            &raw mut size,
        )
    };
    (code == ERROR_SUCCESS).then_some(number)
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

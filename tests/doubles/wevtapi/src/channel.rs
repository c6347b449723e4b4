//! Channels as folders, and which of their events a query wants.

use std::fs;
use std::path::{Path, PathBuf};

use control::Control;
use windows_sys::Win32::Foundation::{ERROR_EVT_CHANNEL_NOT_FOUND, ERROR_EVT_INVALID_QUERY};

const CONTROL: Control = Control("wevtapi");

/// The most conditions that one query may have.
const MOST_CONDITIONS: usize = 23;

/// The events of a channel that the query wants, the oldest first, or the error that Windows gives.
pub(crate) fn ask(channel: &str, query: &str) -> Result<Vec<PathBuf>, u32> {
    if let Some(code) = CONTROL.number(channel) {
        return Err(code);
    }
    if !is_query(query) {
        return Err(ERROR_EVT_INVALID_QUERY);
    }
    let folder = PathBuf::from(CONTROL.text("folder").ok_or(ERROR_EVT_CHANNEL_NOT_FOUND)?).join(channel.replace('/', "%4"));
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

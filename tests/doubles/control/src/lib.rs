//! What a test says to a double of a DLL: values of a key of the registry, read at each call. Shared by the doubles, and by nothing that they
//! are to prove.
#![cfg(windows)]

pub mod registry;

use windows_sys::Win32::System::Threading::Sleep;

/// The control of one double: `HKLM\SOFTWARE\TestDouble\NAME`.
///
/// | value | |
/// | --- | --- |
/// | `fail_CALL` (REG_SZ) | the code to answer with before anything is done, as `5`; or `5,2` for the next two calls |
/// | `lie_CALL` (REG_SZ) | `2`: the next two calls say that they did what they did not do |
/// | `slow_CALL` (REG_SZ) | milliseconds that the call waits before it does anything; `8000,1` for the next call only |
#[derive(Debug, Clone, Copy)]
pub struct Control(pub &'static str);

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers with this code.
    Fail(u32),
    /// It says yes and does nothing.
    Lie,
}

impl Control {
    /// Waits as long as a test wants this call to be slow.
    pub fn wait(&self, call: &str) {
        let slow = format!("slow_{call}");
        let Some(wanted) = self.text(&slow) else { return };
        let (millis, slows) = match wanted.split_once(',') {
            Some((millis, times)) => (millis, self.once(&slow, times, &format!("{millis},"))),
            None => (wanted.as_str(), true),
        };
        if slows && let Ok(millis) = millis.trim().parse() {
            // SAFETY: waits, and has no preconditions.
            unsafe { Sleep(millis) };
        }
    }

    /// What is to become of this call, if a test wants anything of it.
    pub fn fault(&self, call: &str) -> Option<Fault> {
        let (fail, lie) = (format!("fail_{call}"), format!("lie_{call}"));
        if let Some(wanted) = self.text(&fail) {
            let Some((code, times)) = wanted.split_once(',') else { return wanted.trim().parse().ok().map(Fault::Fail) };
            return self.once(&fail, times, &format!("{code},")).then(|| code.trim().parse().ok().map(Fault::Fail)).flatten();
        }
        let times = self.text(&lie)?;
        self.once(&lie, &times, "").then_some(Fault::Lie)
    }

    /// A number of it.
    pub fn number(&self, name: &str) -> Option<u32> {
        registry::number(&self.key(), name)
    }

    /// A text of it.
    pub fn text(&self, name: &str) -> Option<String> {
        registry::text(&self.key(), name)
    }

    /// Every number of the key of that name below it, by name.
    pub fn numbers(&self, key: &str) -> Vec<(String, u32)> {
        let path = format!(r"{}\{key}", self.key());
        let one = |name: String| registry::number(&path, &name).map(|number| (name, number));
        registry::values(&path).into_iter().filter_map(one).collect()
    }

    /// Counts one call down; false when there was none left.
    fn once(&self, name: &str, times: &str, before: &str) -> bool {
        match times.trim().parse::<u32>() {
            Ok(0) | Err(_) => return false,
            Ok(1) => registry::unset(&self.key(), name),
            Ok(times) => _ = registry::set_text(&self.key(), name, &format!("{before}{}", times - 1)),
        }
        true
    }

    fn key(&self) -> String {
        format!(r"SOFTWARE\TestDouble\{}", self.0)
    }
}

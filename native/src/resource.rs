//! What an exe carries beside its code: the texts of its events, its version, and its manifest.
//!
//! A build script calls [`embed`]. Everything comes from Cargo and from the table of events, and nothing from the clock: two
//! builds of one source give the same bytes.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::event::Event;

const WINDMC: &str = "x86_64-w64-mingw32-windmc";
const WINDRES: &str = "x86_64-w64-mingw32-windres";

/// Every Windows on which the programs run, newest last, by the ids that Microsoft gave them ("Application manifests").
const SYSTEMS: [(&str, &str); 4] = [
    ("35138b9a-5d96-4fbd-8e2d-a2440225f93a", "Server 2008 R2, Windows 7"),
    ("4a2f28e3-53b9-4441-ba9c-d69d4a4a6e38", "Server 2012, Windows 8"),
    ("1f676c76-80e1-4239-95bb-83d0f6d0da78", "Server 2012 R2, Windows 8.1"),
    ("8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a", "Server 2016 to 2025, Windows 10 and 11"),
];

/// A program for Windows.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The exe without its extension.
    pub name: &'a str,
    /// What it is, in a few words.
    pub description: &'a str,
    /// `major.minor.patch`; what follows a `-` or `+` is shown to people and left out of the numbers.
    pub version: &'a str,
    /// As SPDX has it.
    pub license: &'a str,
    /// Its events.
    pub events: &'a [Event],
}

/// Resources that were not made.
#[derive(Debug)]
pub enum ResourceError {
    /// A version without numbers.
    Version(String),
    /// Something could not be read or written.
    Io(PathBuf, std::io::Error),
    /// A tool is not there.
    Tool(&'static str, std::io::Error),
    /// A tool did not do it.
    Failed(&'static str, String),
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(found) => write!(f, "version: expected numbers as 1.2.3, each below 65536, found {found}"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Tool(tool, error) => {
                write!(f, "expected {tool} for the resources of the exe, found none ({error}): install binutils-mingw-w64-x86-64")
            }
            Self::Failed(tool, said) => write!(f, "{tool} did not make the resources of the exe: {said}"),
        }
    }
}

impl std::error::Error for ResourceError {}

/// All that the build script of a program does for them: nothing where the target is not Windows. `events` is the table in
/// `src/event/table.rs` of the package, whose other facts cargo tells.
#[expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]
pub fn build_script(name: &str, events: &[Event]) {
    #[expect(clippy::disallowed_methods, reason = "what cargo tells a build script is in its environment")]
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/event/table.rs");
    if given("CARGO_CFG_TARGET_OS") != "windows" {
        return;
    }
    let program = Program {
        name,
        description: &given("CARGO_PKG_DESCRIPTION"),
        version: &given("CARGO_PKG_VERSION"),
        license: &given("CARGO_PKG_LICENSE"),
        events,
    };
    match embed(&program, Path::new(&given("OUT_DIR"))) {
        Ok(object) => println!("cargo::rustc-link-arg-bins={}", object.display()),
        Err(error) => println!("cargo::error={error}"),
    }
}

/// Makes the resources of a program in `folder`. What it gives is the object to link.
///
/// # Errors
/// [`ResourceError`].
pub fn embed(program: &Program<'_>, folder: &Path) -> Result<PathBuf, ResourceError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|error| ResourceError::Io(path, error))
    };
    let messages: Vec<u8> = messages(program.events).encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("events.mc", &messages)?;
    // The table, a file for each language, and `events.rc`, which names them.
    run(WINDMC, &["-u", "-U", "-b", "-h", ".", "-r", ".", "events.mc"], folder)?;
    write("program.manifest", manifest(program)?.as_bytes())?;
    write("program.rc", script(program)?.as_bytes())?;
    // In the folder and by short names: no path of the machine gets into the object.
    run(WINDRES, &["--codepage=65001", "-O", "coff", "-i", "program.rc", "-o", "program.o"], folder)?;
    Ok(folder.join("program.o"))
}

/// The texts, as `mc` wants them. The number of a message is the id of its event and nothing else: severity and category stand
/// in the event itself.
fn messages(events: &[Event]) -> String {
    let mut text = String::from(
        "MessageIdTypedef=DWORD\nSeverityNames=(Success=0x0:SUCCESS)\nFacilityNames=(Backstay=0x0:BACKSTAY)\n\
         LanguageNames=(English=0x409:MSG00409)\nLanguageNames=(German=0x407:MSG00407)\n",
    );
    for event in events {
        let (id, english, german) = (event.id, event.english.message(), event.german.message());
        // `%0` ends a text without the end of a line that would otherwise follow.
        write!(
            text,
            "\nMessageId={id}\nSeverity=Success\nFacility=Backstay\nSymbolicName=EVENT_{id}\n\
             Language=English\n{english}%0\n.\nLanguage=German\n{german}%0\n.\n"
        )
        .expect("a String takes every character");
    }
    // `mc` is of the time before.
    text.replace('\n', "\r\n")
}

fn script(program: &Program<'_>) -> Result<String, ResourceError> {
    let Program { name, description, version, license, events } = program;
    let numbers = numbers(version)?.map(|number| number.to_string()).join(",");
    // An empty table has no texts to name.
    let table = if events.is_empty() { "" } else { "#include \"events.rc\"\n" };
    Ok(format!(
        r#"#pragma code_page(65001)
{table}LANGUAGE 0x0, 0x0
1 24 "program.manifest"
1 VERSIONINFO
FILEVERSION {numbers}
PRODUCTVERSION {numbers}
FILEFLAGSMASK 0x3f
FILEFLAGS 0x0
FILEOS 0x40004
FILETYPE 0x1
FILESUBTYPE 0x0
BEGIN
  BLOCK "StringFileInfo"
  BEGIN
    BLOCK "040904b0"
    BEGIN
      VALUE "CompanyName", "Backstay"
      VALUE "FileDescription", "{description}"
      VALUE "FileVersion", "{version}"
      VALUE "InternalName", "{name}"
      VALUE "LegalCopyright", "{license}"
      VALUE "OriginalFilename", "{name}.exe"
      VALUE "ProductName", "Backstay"
      VALUE "ProductVersion", "{version}"
    END
  END
  BLOCK "VarFileInfo"
  BEGIN
    VALUE "Translation", 0x409, 1200
  END
END
"#
    ))
}

/// It asks for no rights: whoever starts it has them or has not. It does not ask for UTF-8 as code page, because only Windows
/// from 2019 on would give it: the same program would read the same bytes in two ways. No call of ours depends on the code page.
fn manifest(program: &Program<'_>) -> Result<String, ResourceError> {
    let version = numbers(program.version)?.map(|number| number.to_string()).join(".");
    let systems: String =
        SYSTEMS.iter().map(|(id, name)| format!("      <supportedOS Id=\"{{{id}}}\"/> <!-- {name} -->\n")).collect();
    let name = program.name;
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <assemblyIdentity type="win32" name="Backstay.{name}" version="{version}" processorArchitecture="amd64"/>
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3">
    <security>
      <requestedPrivileges>
        <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
      </requestedPrivileges>
    </security>
  </trustInfo>
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1">
    <application>
{systems}    </application>
  </compatibility>
  <application xmlns="urn:schemas-microsoft-com:asm.v3">
    <windowsSettings>
      <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
    </windowsSettings>
  </application>
</assembly>
"#
    ))
}

/// Four numbers, as Windows counts versions.
fn numbers(version: &str) -> Result<[u16; 4], ResourceError> {
    let wrong = || ResourceError::Version(version.to_owned());
    let release = version.split(['-', '+']).next().unwrap_or(version);
    let numbers: Vec<u16> = release.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let [major, minor, patch] = numbers[..] else { return Err(wrong()) };
    Ok([major, minor, patch, 0])
}

fn run(tool: &'static str, arguments: &[&str], folder: &Path) -> Result<(), ResourceError> {
    #[expect(clippy::disallowed_methods, reason = "a build script runs the tools of the build")]
    let mut command = Command::new(tool);
    command.args(arguments).current_dir(folder);
    let output = command.output().map_err(|error| ResourceError::Tool(tool, error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It passes over what it does not understand and says so only.
    if output.status.success() && said.trim().is_empty() {
        return Ok(());
    }
    Err(ResourceError::Failed(tool, said.trim().replace('\n', "; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unreachable_pub, reason = "the macro makes tables that others see")]
    mod table {
        crate::events! {
            STARTED = 1000 Information(version) {
                en "Started %1.", "";
                de "Gestartet %1: größer.", "";
            }
            LOST = 9002 Warning(count) {
                en "%1 lost.", "Look.";
                de "%1 verloren.", "Nachsehen.";
            }
        }
    }

    #[test]
    fn a_version_is_four_numbers_and_anything_else_is_refused() {
        assert_eq!(numbers("1.22.333").expect("a version"), [1, 22, 333, 0]);
        assert_eq!(numbers("1.2.3-rc.1+5").expect("a version"), [1, 2, 3, 0]);
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.2.65536", "-1.2.3"] {
            assert!(matches!(numbers(wrong), Err(ResourceError::Version(_))), "{wrong}");
        }
    }

    #[test]
    fn every_event_has_its_text_in_both_languages_and_ends_without_an_empty_line() {
        let text = messages(table::ALL);
        for line in ["MessageId=9002", "Started %1.%0", "Gestartet %1: größer.%0", "%1 lost.%n%nLook.%0"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    /// Where it is built, and not where it runs: Windows has no such tools.
    #[cfg(not(windows))]
    #[test]
    fn outside_windows_the_tools_make_the_same_bytes_twice() {
        let program =
            Program { name: "backstay-test", description: "a test", version: "0.1.0", license: "MIT", events: table::ALL };
        let made = || {
            let folder = tempfile::tempdir().expect("a folder");
            let object = embed(&program, folder.path()).expect("is made");
            std::fs::read(object).expect("reads")
        };
        let first = made();
        assert_eq!(first, made());
        let text: Vec<u8> = "größer".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(first.windows(text.len()).any(|window| window == text));
    }
}

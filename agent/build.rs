//! What the exe carries beside its code: texts of events, version, manifest. Nothing where the target is not Windows.

use std::env::var;
use std::path::Path;

#[path = "src/event/table.rs"]
pub mod table;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/event/table.rs");
    #[expect(clippy::disallowed_methods, reason = "what cargo tells a build script is in its environment")]
    let given = |name: &str| var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    if given("CARGO_CFG_TARGET_OS") != "windows" {
        return;
    }
    let program = native::resource::Program {
        name: "backstay-agent",
        description: &given("CARGO_PKG_DESCRIPTION"),
        version: &given("CARGO_PKG_VERSION"),
        license: &given("CARGO_PKG_LICENSE"),
        events: table::ALL,
    };
    match native::resource::embed(&program, Path::new(&given("OUT_DIR"))) {
        Ok(object) => println!("cargo::rustc-link-arg-bins={}", object.display()),
        Err(error) => println!("cargo::error={error}"),
    }
}

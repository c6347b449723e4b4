//! Migrations are compiled in: a new one must be seen. For Windows, what the exe carries beside its code: texts of events, version,
//! manifest.

#[path = "src/event/table.rs"]
pub mod table;

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    native::resource::build_script("backstay", table::ALL);
}

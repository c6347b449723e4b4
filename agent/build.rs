//! What the exe carries beside its code: texts of events, version, manifest. Nothing where the target is not Windows.

#[path = "src/event/table.rs"]
pub mod table;

fn main() {
    native::resource::build_script("backstay-agent", table::ALL);
}

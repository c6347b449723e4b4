//! Files as tests make them, and the one server that they are of.

use policy::id::ServerName;
use recorded::{AssembleError, Assembly, Exports};

/// One exported file.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads files that lie together.
pub(crate) fn read(files: &[Export]) -> Exports {
    let mut exports = Exports::default();
    for Export { name, bytes } in files {
        exports.add(name, bytes);
    }
    exports
}

/// The one server to which these files point.
pub(crate) fn assemble(files: &[Export], server: Option<&ServerName>) -> Result<Assembly, AssembleError> {
    let mut assemblies = read(files).assemble(server)?;
    assert_eq!(assemblies.len(), 1, "{assemblies:?}");
    Ok(assemblies.remove(0))
}

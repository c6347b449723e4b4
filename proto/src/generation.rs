//! The age of a report, which travels with many messages.

use policy::id::Generation;

use crate::types;

impl From<Generation> for types::Generation {
    fn from(generation: Generation) -> Self {
        let Generation { epoch, counter } = generation;
        Self { epoch, counter }
    }
}

impl From<types::Generation> for Generation {
    fn from(wire: types::Generation) -> Self {
        let types::Generation { epoch, counter } = wire;
        Self { epoch, counter }
    }
}

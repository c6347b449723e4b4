//! What is written once and named many times.
//!
//! Whoever reads a member takes the text of the object that it names, or the texts of its items. A file of a megabyte can name a
//! text of half a megabyte ten thousand times: five gigabytes to whoever copies or compares it each time. So what all members
//! and items name together is bounded, before anybody reads it.

use super::{ClixmlError, Graph, Object, Value};

/// The most bytes that the members and items of a file may name together. Whatever is named once comes to three times the size
/// of its file at most, so that no file which [`text`](crate::text) lets through is refused unless it shares.
const MAX_NAMED: usize = 4 * crate::text::MAX_INPUT;

/// What a text costs beside its bytes: somebody keeps it, and compares it.
const EACH: usize = 64;

/// Whether the objects stay within the bound.
///
/// # Errors
/// [`ClixmlError::Shared`] when they do not.
pub(super) fn bounded(graph: &Graph<'_>) -> Result<(), ClixmlError> {
    let weights: Vec<usize> = graph.objects.iter().map(|object| weight(graph, object)).collect();
    let mut named = 0_usize;
    for object in &graph.objects {
        for value in object.members.values().chain(&object.items).chain(&object.value) {
            if let Value::Object(id) = value {
                named = named.saturating_add(weights.get(id.0).copied().unwrap_or_default());
            }
        }
    }
    if named > MAX_NAMED { Err(ClixmlError::Shared { most: MAX_NAMED }) } else { Ok(()) }
}

/// What the object gives to whoever reads it as a text, or as a list of texts.
fn weight(graph: &Graph<'_>, object: &Object<'_>) -> usize {
    let items = object.items.iter().map(|item| EACH.saturating_add(graph.text(item).map_or(0, str::len)));
    items.fold(object.text.as_ref().map_or(0, |text| text.len()), usize::saturating_add)
}

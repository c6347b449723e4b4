//! Access lists as Windows stores them: the access list of a self-relative security descriptor, to and from plain entries
//! ([MS-DTYP] 2.4). Bytes in, bytes out: nothing here calls Windows or follows a pointer.
//!
//! Only lists that say "these may" become entries. One that denies somebody, that asks for a condition, or that is not there, so
//! that everybody may, is a [`Unlisted`]: it is not to be mistaken for a list that can be written again.

use std::fmt::Write as _;

use policy::report::Access;
use thiserror::Error;

/// The descriptor has an access list.
const DACL_PRESENT: u16 = 0x0004;

/// The folder above adds nothing to the list.
const DACL_PROTECTED: u16 = 0x1000;

/// All parts stand in one piece, and are found by their offsets.
const SELF_RELATIVE: u16 = 0x8000;

/// The entry is for what is made below, not for the object itself.
const INHERIT_ONLY: u8 = 0x08;

/// Length of a descriptor without its parts, of a list without its entries, and of an entry without its identifier, in bytes.
const HEAD: usize = 20;
const LIST: usize = 8;
const ENTRY: usize = 8;

/// An access list that cannot be told as entries of those who may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unlisted {
    /// The bytes are no security descriptor.
    #[error("expected {expected} in a security descriptor of {len} bytes, found its end or something else")]
    Damaged {
        /// What should stand there.
        expected: &'static str,
        /// Length of it all.
        len: usize,
    },
    /// There is no list.
    #[error("expected an access list, found none: everybody has every right")]
    Everybody,
    /// An entry that does more than to allow.
    #[error("expected entries that allow, found one of kind {0}")]
    Kind(u8),
    /// A text that is no security identifier.
    #[error("expected a security identifier, found {0:?}")]
    Sid(String),
    /// More entries than a list can hold.
    #[error("expected an access list of at most 65535 bytes, found {0} entries")]
    TooMany(usize),
}

/// Who may, as a security descriptor says, in order.
///
/// # Errors
/// [`Unlisted`].
pub fn entries(descriptor: &[u8]) -> Result<Vec<Access>, Unlisted> {
    let damaged = |expected| Unlisted::Damaged { expected, len: descriptor.len() };
    let head: &[u8; HEAD] = descriptor.first_chunk().ok_or_else(|| damaged("a head"))?;
    let [1, _, c0, c1, .., d0, d1, d2, d3] = *head else { return Err(damaged("revision 1")) };
    let control = u16::from_le_bytes([c0, c1]);
    if control & SELF_RELATIVE == 0 {
        return Err(damaged("offsets"));
    }
    let start = usize::try_from(u32::from_le_bytes([d0, d1, d2, d3])).unwrap_or(usize::MAX);
    if control & DACL_PRESENT == 0 || start == 0 {
        return Err(Unlisted::Everybody);
    }
    let list = descriptor.get(start..).ok_or_else(|| damaged("an access list"))?;
    let [_, _, s0, s1, n0, n1, _, _] = *list.first_chunk::<LIST>().ok_or_else(|| damaged("an access list"))?;
    let size = usize::from(u16::from_le_bytes([s0, s1]));
    let mut rest = list.get(LIST..size).ok_or_else(|| damaged("the entries of an access list"))?;
    let mut found = Vec::new();
    for _ in 0..u16::from_le_bytes([n0, n1]) {
        let [kind, flags, l0, l1, m0, m1, m2, m3] = *rest.first_chunk::<ENTRY>().ok_or_else(|| damaged("an entry"))?;
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        let sid = rest.get(ENTRY..len).ok_or_else(|| damaged("an entry"))?;
        rest = rest.get(len..).ok_or_else(|| damaged("an entry"))?;
        if flags & INHERIT_ONLY != 0 {
            continue;
        }
        if kind != 0 {
            return Err(Unlisted::Kind(kind));
        }
        let sid = sid_text(sid).ok_or_else(|| damaged("a security identifier"))?;
        found.push(Access { sid, mask: u32::from_le_bytes([m0, m1, m2, m3]) });
    }
    found.sort();
    Ok(found)
}

/// A security descriptor with an access list and nothing else. Whole and in one piece: only [`Descriptor::of`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor(Vec<u64>);

impl Descriptor {
    /// These may, and nobody else: the folder above adds nothing, as the provider itself makes containers.
    ///
    /// # Errors
    /// [`Unlisted`] when an entry names no security identifier, or they are too many.
    pub fn of(access: &[Access]) -> Result<Self, Unlisted> {
        let mut list = Vec::new();
        for Access { sid, mask } in access {
            let sid = sid_bytes(sid).ok_or_else(|| Unlisted::Sid(sid.chars().take(80).collect()))?;
            // An identifier has at most 68 bytes.
            let len = u16::try_from(ENTRY + sid.len()).unwrap_or(u16::MAX);
            list.extend([[0, 0], len.to_le_bytes()].concat());
            list.extend(mask.to_le_bytes());
            list.extend(sid);
        }
        let too_many = |_| Unlisted::TooMany(access.len());
        let size = u16::try_from(LIST + list.len()).map_err(too_many)?;
        let count = u16::try_from(access.len()).map_err(too_many)?;
        let control = SELF_RELATIVE | DACL_PRESENT | DACL_PROTECTED;
        let mut bytes = vec![1, 0];
        bytes.extend(control.to_le_bytes());
        // No owner, no group, no audit list; the access list stands behind the head.
        for offset in [0, 0, 0, 20_u32] {
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend([2, 0]);
        bytes.extend(size.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(list);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(Self(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }

    /// Its first byte, aligned to eight. Valid as long as `self` lives.
    pub(super) fn as_ptr(&self) -> *const u64 {
        self.0.as_ptr()
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len() * 8).expect("a list has at most 65535 bytes")
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// `S-1-5-32-544` for the bytes of an identifier, as Windows writes it.
fn sid_text(bytes: &[u8]) -> Option<String> {
    let [1, count, a0, a1, a2, a3, a4, a5, ..] = *bytes else { return None };
    let authority = u64::from_be_bytes([0, 0, a0, a1, a2, a3, a4, a5]);
    let parts = bytes.get(8..8 + 4 * usize::from(count)).filter(|_| count <= 15)?;
    // From 2^32 on it is written in hexadecimal.
    let mut text = if authority < 1 << 32 { format!("S-1-{authority}") } else { format!("S-1-0x{authority:012X}") };
    for part in parts.as_chunks().0 {
        let _ = write!(text, "-{}", u32::from_le_bytes(*part));
    }
    Some(text)
}

/// The bytes of an identifier in text.
fn sid_bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority = parts.next()?;
    let authority = match authority.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => authority.parse().ok()?,
    };
    let [0, 0, authority @ ..] = authority.to_be_bytes() else { return None };
    let parts: Vec<u32> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
    let count = u8::try_from(parts.len()).ok().filter(|count| *count <= 15)?;
    Some([&[1, count], authority.as_slice(), &parts.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(sid: &str, mask: u32) -> Access {
        Access { sid: sid.to_owned(), mask }
    }

    /// `O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;NS)`, as Windows lays it out.
    fn of_windows() -> Vec<u8> {
        let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        let mut bytes = vec![1, 0, 0x04, 0x94, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0];
        bytes.extend([system, system].concat());
        bytes.extend([2, 0, 72, 0, 3, 0, 0, 0]);
        bytes.extend([&[0, 0, 20, 0, 0xFF, 0x01, 0x1F, 0], system.as_slice()].concat());
        bytes.extend([0, 0, 24, 0, 0xFF, 0x01, 0x1F, 0, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 0x02, 0, 0]);
        bytes.extend([0, 0, 20, 0, 0x89, 0x00, 0x12, 0, 1, 1, 0, 0, 0, 0, 0, 5, 20, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_list_of_windows_becomes_entries_in_order() {
        let expected = [access("S-1-5-18", 0x1F_01FF), access("S-1-5-20", 0x12_0089), access("S-1-5-32-544", 0x1F_01FF)];
        assert_eq!(entries(&of_windows()).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = of_windows();
        for cut in 0..whole.len() {
            assert!(entries(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_list_that_denies_or_is_not_there_is_no_list_of_those_who_may() {
        let mut denies = of_windows();
        denies[52] = 1;
        assert_eq!(entries(&denies), Err(Unlisted::Kind(1)));
        denies[53] = INHERIT_ONLY;
        assert_eq!(entries(&denies).unwrap().len(), 2, "what is only for objects below does not count");
        let mut null = of_windows();
        null[16..20].fill(0);
        assert_eq!(entries(&null), Err(Unlisted::Everybody));
        let mut absent = of_windows();
        absent[2] = 0;
        assert_eq!(entries(&absent), Err(Unlisted::Everybody));
        let mut absolute = of_windows();
        absolute[3] = 0;
        assert!(matches!(entries(&absolute), Err(Unlisted::Damaged { .. })));
    }

    #[test]
    fn an_empty_list_is_nobody() {
        assert_eq!(entries(&Descriptor::of(&[]).unwrap().bytes()).unwrap(), []);
    }

    #[test]
    fn what_is_no_identifier_is_not_written() {
        for sid in ["", "S-1", "S-2-5-18", "S-1-5-", "S-1-5--18", "S-1-5-4294967296", "S-1-0x1000000000000", "NETWORK SERVICE"] {
            assert_eq!(Descriptor::of(&[access(sid, 1)]), Err(Unlisted::Sid(sid.to_owned())), "{sid}");
        }
        let long = format!("S-1-5{}", "-1".repeat(16));
        assert!(Descriptor::of(&[access(&long, 1)]).is_err());
        let many = vec![access("S-1-5-18", 1); 4000];
        assert_eq!(Descriptor::of(&many), Err(Unlisted::TooMany(4000)));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            authority in prop_oneof![0_u64..100, (1_u64 << 32)..(1 << 48)],
            list in proptest::collection::vec((proptest::collection::vec(any::<u32>(), 0..16), any::<u32>()), 0..20),
        ) {
            let head = if authority < 1 << 32 { format!("S-1-{authority}") } else { format!("S-1-0x{authority:012X}") };
            let text = |parts: &[u32]| parts.iter().fold(head.clone(), |text, part| format!("{text}-{part}"));
            let mut list: Vec<Access> = list.iter().map(|(parts, mask)| access(&text(parts), *mask)).collect();
            let descriptor = Descriptor::of(&list).unwrap();
            list.sort();
            prop_assert_eq!(entries(&descriptor.bytes()), Ok(list));
        }

        #[test]
        fn whatever_bytes_are_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..120), place in 0_usize..80, byte in any::<u8>()) {
            let _ = entries(&bytes);
            let mut near = of_windows();
            near[place] = byte;
            let _ = entries(&near);
        }
    }
}

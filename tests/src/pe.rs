//! Resources of a Windows exe, read back from the file: version, manifest, and the texts of events.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// `RT_MESSAGETABLE`.
pub const MESSAGE_TABLE: u32 = 11;
/// `RT_VERSION`.
pub const VERSION: u32 = 16;
/// `RT_MANIFEST`.
pub const MANIFEST: u32 = 24;

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What kind, by number.
    pub kind: u32,
    /// In which language, as Windows numbers them: `0x409` is English of the United States.
    pub language: u32,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// Every resource of an exe whose kind has a number.
///
/// # Errors
/// When the file is no exe of 64 bits with resources.
pub fn resources(exe: &[u8]) -> Result<Vec<Resource>> {
    let header = number::<4>(exe, 0x3c)?;
    if exe.get(header..header + 4) != Some(b"PE\0\0") {
        bail!("expected an exe, found something else");
    }
    let (sections, optional) = (number::<2>(exe, header + 6)?, number::<2>(exe, header + 20)?);
    let section = (0..sections)
        .map(|index| header + 24 + optional + 40 * index)
        .find(|at| exe.get(*at..at + 6) == Some(b".rsrc\0"))
        .context("expected resources in the exe, found none")?;
    let (address, size, raw) =
        (number::<4>(exe, section + 12)?, number::<4>(exe, section + 16)?, number::<4>(exe, section + 20)?);
    let all = exe.get(raw..raw + size).context("the resources end before their section")?;
    let mut found = Vec::new();
    for (kind, names) in folder(all, 0)? {
        for (_, languages) in folder(all, below(names)?)? {
            for (language, leaf) in folder(all, below(languages)?)? {
                let (at, length) = (number::<4>(all, leaf)? - address, number::<4>(all, leaf + 4)?);
                let bytes = all.get(at..at + length).context("a resource ends before its data")?.to_vec();
                found.push(Resource { kind: u32::try_from(kind)?, language: u32::try_from(language)?, bytes });
            }
        }
    }
    Ok(found)
}

/// The texts of a message table, by the ids of their events.
///
/// # Errors
/// When it is none, or its texts are not UTF-16.
pub fn messages(table: &[u8]) -> Result<BTreeMap<usize, String>> {
    let mut texts = BTreeMap::new();
    for block in 0..number::<4>(table, 0)? {
        let at = 4 + 12 * block;
        let (low, high, mut entry) = (number::<4>(table, at)?, number::<4>(table, at + 4)?, number::<4>(table, at + 8)?);
        for id in low..=high {
            let (length, unicode) = (number::<2>(table, entry)?, number::<2>(table, entry + 2)?);
            let bytes = table.get(entry + 4..entry + length).context("a text ends before its table")?;
            if unicode != 1 {
                bail!("message {id}: expected UTF-16, found another encoding");
            }
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            texts.insert(id, String::from_utf16(&units)?.trim_end_matches('\0').to_owned());
            entry += length;
        }
    }
    Ok(texts)
}

/// Ids and places of what is in a folder. A name in the place of an id is left out: ours have none.
fn folder(all: &[u8], at: usize) -> Result<Vec<(usize, usize)>> {
    let (named, numbered) = (number::<2>(all, at + 12)?, number::<2>(all, at + 14)?);
    (named..named + numbered)
        .map(|index| Ok((number::<4>(all, at + 16 + 8 * index)?, number::<4>(all, at + 20 + 8 * index)?)))
        .collect()
}

/// The place of a folder within a folder.
fn below(at: usize) -> Result<usize> {
    const FOLDER: usize = 0x8000_0000;
    if at & FOLDER == 0 {
        bail!("expected a folder of resources, found a resource");
    }
    Ok(at & !FOLDER)
}

fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Result<usize> {
    let found = bytes.get(at..at + BYTES).with_context(|| format!("expected {BYTES} bytes at {at}, found the end"))?;
    Ok(found.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

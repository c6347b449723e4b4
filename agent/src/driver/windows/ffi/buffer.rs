//! Memory for calls that first say how much they need and then fill it. Aligned to eight bytes, so that a call which writes a
//! structure into it may; read back as bytes only.

use std::ffi::c_void;

/// Zeroed memory of so many bytes.
pub(super) struct Buffer {
    words: Vec<u64>,
    len: usize,
}

impl Buffer {
    /// Memory of `len` bytes.
    pub(super) fn new(len: u32) -> Self {
        let len = usize::try_from(len).expect("no Windows of ours has addresses of less than 32 bits");
        Self { words: vec![0; len.div_ceil(8)], len }
    }

    /// Where a call may write. Valid until the buffer is dropped, for as many bytes as it was made with.
    pub(super) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.words.as_mut_ptr().cast()
    }

    /// Leaves the first `len` bytes, what the call said that it wrote. Never grows.
    pub(super) fn truncate(&mut self, len: u32) {
        self.len = usize::try_from(len).map_or(self.len, |len| self.len.min(len));
    }

    /// What was written.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the words are initialised, live as long as `self`, and `len` is never more than eight times their number; bytes
        // need no alignment, and every bit pattern is one.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }
}

//! Memory for texts in the making, kept from one document to the next.

use verbatim_store::block::{Block, LEN};

/// Memory that normalisation works in; keep one for each thread. It grows to the longest text and stays there.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(crate) current: Buffer,
    pub(crate) previous: Buffer,
}

/// A text that is being written. Whole blocks are copied where less is meant, so that no copy has a length that
/// varies; what stands behind `len` is of no account.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes the last byte back.
    pub(crate) fn pop_byte(&mut self) {
        self.len -= 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, c: char) {
        self.len += c.encode_utf8(self.room()).len();
    }

    /// Appends the first `n` bytes of a block.
    #[inline(always)]
    pub(crate) fn push_block(&mut self, block: &Block, n: usize) {
        self.room().copy_from_slice(block);
        self.len += n;
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        let end = self.len + text.len();
        if self.bytes.len() < end {
            self.bytes.resize(end + LEN, 0);
        }
        self.bytes[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only characters and blocks of ASCII are pushed")
    }

    /// The block behind the text.
    #[inline(always)]
    fn room(&mut self) -> &mut Block {
        if self.bytes.len() - self.len < LEN {
            self.grow();
        }
        self.bytes[self.len..].first_chunk_mut().expect("there is a block of room")
    }

    #[cold]
    fn grow(&mut self) {
        self.bytes.resize((2 * self.bytes.len()).max(self.len + 16 * LEN), 0);
    }
}

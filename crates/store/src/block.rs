//! Sixty-four bytes at a time: which of them have some property, as the bits of one word.

/// Bytes in a block.
pub const LEN: usize = 64;

/// A block of bytes; bit i of a mask speaks of byte i.
pub type Block = [u8; LEN];

/// The block that begins at `start`; beyond the end of the text it is filled with spaces.
#[inline(always)]
pub fn block_at(bytes: &[u8], start: usize) -> Block {
    match bytes[start..].first_chunk() {
        Some(block) => *block,
        None => {
            let mut block = [b' '; LEN];
            block[..bytes.len() - start].copy_from_slice(&bytes[start..]);
            block
        }
    }
}

/// The bytes for which `test` holds. The compiler makes vector code of a `test` without branches.
#[inline(always)]
pub fn mask(block: &Block, test: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0; LEN];
    for (flag, &byte) in flags.iter_mut().zip(block) {
        *flag = if test(byte) { 0xFF } else { 0 };
    }
    top_bits(&flags)
}

/// The bytes that are not ASCII.
#[inline(always)]
pub fn non_ascii(block: &Block) -> u64 {
    top_bits(block)
}

/// The top bit of each byte.
#[inline(always)]
fn top_bits(block: &Block) -> u64 {
    // Every x86-64 has SSE2, so that the question costs nothing.
    #[cfg(target_arch = "x86_64")]
    if let Some(sse2) = pulp::core_arch::x86::Sse2::try_new() {
        return top_bits_sse2(sse2, block);
    }
    top_bits_portable(block)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn top_bits_sse2(sse2: pulp::core_arch::x86::Sse2, block: &Block) -> u64 {
    let (parts, _) = block.as_chunks::<16>();
    parts.iter().enumerate().fold(0, |bits, (i, &part)| {
        bits | u64::from(sse2._mm_movemask_epi8(pulp::cast(part)) as u16) << (16 * i)
    })
}

/// By multiplication: it brings the top bits of eight bytes together in the top byte.
#[inline(always)]
fn top_bits_portable(block: &Block) -> u64 {
    let (parts, _) = block.as_chunks::<8>();
    parts.iter().enumerate().fold(0, |bits, (i, part)| {
        let tops = (u64::from_le_bytes(*part) & 0x8080_8080_8080_8080) >> 7;
        bits | (tops.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_equal_a_loop_over_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..130), start in 0usize..130) {
            let start = start.min(bytes.len());
            let block = block_at(&bytes, start);
            let naive = |test: fn(u8) -> bool| -> u64 {
                (0..LEN).map(|i| u64::from(test(bytes.get(start + i).copied().unwrap_or(b' '))) << i).sum()
            };
            prop_assert_eq!(mask(&block, |b| b.is_ascii_lowercase()), naive(|b| b.is_ascii_lowercase()));
            prop_assert_eq!(non_ascii(&block), naive(|b| !b.is_ascii()));
            prop_assert_eq!(top_bits_portable(&block), naive(|b| !b.is_ascii()));
        }
    }
}

//! The length of a text under stock zlib: an estimate of its entropy that knows no model.

use flate2::{Compress, Compression, FlushCompress, Status};

/// The level of every published zlib score (Carlini et al. 2021 and the later ones): zlib's own default.
pub const ZLIB_LEVEL: u32 = 6;

/// The length of `text` in bytes, compressed by stock zlib at level 6, header and checksum included.
///
/// Equal to `len(zlib.compress(text))` of a CPython that links stock zlib. The paper counts bits: 8 times this.
///
/// Other deflate encoders give other lengths, the most on repetitive texts, the very ones that the score is there
/// to demote. flate2 has one backend in a whole build, chosen by cargo features of any crate in it; the workspace
/// asks for stock zlib, and the golden lengths below fail should another crate bring one that wins.
pub fn zlib_len(text: &[u8]) -> usize {
    let mut compress = Compress::new(Compression::new(ZLIB_LEVEL), true);
    let mut block = [0; 8 << 10];
    loop {
        let n_read =
            usize::try_from(compress.total_in()).expect("no more than the length of a slice was read");
        let status = compress
            .compress(&text[n_read..], &mut block, FlushCompress::Finish)
            .expect("zlib fails only for a stream in a wrong state, and this one is new");
        if status == Status::StreamEnd {
            return usize::try_from(compress.total_out()).expect("a compressed slice fits in memory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of the golden lengths: forty from a formula, short literals and long loops.
    ///
    /// The formula is a linear congruential generator over an alphabet, with a phrase repeated in every third text.
    fn golden_texts() -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        for i in 0..40u64 {
            let mut state = 1_000 + i;
            let alphabet = &b"etaoin shrdlu cmfwyp vbgkqjxz\n0123456789ABCDEF"[..(2 + (i as usize * 5) % 45)];
            let mut text = Vec::new();
            while (text.len() as u64) < 20 + i * i * 3 {
                state = (state * 1_103_515_245 + 12_345) % (1 << 31);
                if i % 3 == 0 && (state >> 16).is_multiple_of(7) {
                    text.extend_from_slice(b"the same words again and again, ");
                } else {
                    text.push(alphabet[(state >> 16) as usize % alphabet.len()]);
                }
            }
            texts.push(text);
        }
        for literal in [
            "",
            "a",
            "aa",
            "abc",
            "Hello, world!",
            "The quick brown fox jumps over the lazy dog.",
            "0000000000000000000000000000000000000000",
            "https://example.org/a/b/c?d=e&f=g#h",
            "fn main() { println!(\"{}\", 6 * 7); }",
            "Grüße aus Köln, 東京, и Москва.",
        ] {
            texts.push(literal.as_bytes().to_vec());
        }
        texts.push(b"poem ".repeat(1_000));
        texts.push(b"ab".repeat(20_000));
        texts.push((0..=255).collect());
        texts.push(vec![0; 100_000]);
        texts
    }

    /// Lengths from CPython 3.11.7 with stock zlib 1.2.13:
    ///
    /// ```python
    /// import zlib
    /// A, T = b"etaoin shrdlu cmfwyp vbgkqjxz\n0123456789ABCDEF", []
    /// for i in range(40):
    ///     s, a, t = 1000 + i, A[:2 + (i * 5) % 45], b""
    ///     while len(t) < 20 + i * i * 3:
    ///         s = (s * 1103515245 + 12345) % (1 << 31)
    ///         t += b"the same words again and again, " if i % 3 == 0 and (s >> 16) % 7 == 0 else a[(s >> 16) % len(a):][:1]
    ///     T.append(t)
    /// T += [t.encode() for t in ["", "a", ...]]   # the literals above
    /// T += [b"poem " * 1000, b"ab" * 20000, bytes(range(256)), bytes(100000)]
    /// print([len(zlib.compress(t)) for t in T])
    /// ```
    const GOLDEN_LENGTHS: [usize; 54] = [
        35, 31, 38, 50, 64, 82, 79, 137, 172, 72, 164, 213, 105, 319, 382, 139, 541, 628, 136, 516, 647, 251,
        869, 988, 291, 1258, 1407, 223, 1068, 1359, 371, 1710, 1903, 546, 2320, 2538, 314, 1842, 2343, 633,
        8, 9, 10, 11, 21, 51, 12, 43, 44, 54, 38, 63, 267, 120,
    ];

    #[test]
    fn lengths_equal_those_of_cpython() {
        let lengths: Vec<usize> = golden_texts().iter().map(|text| zlib_len(text)).collect();
        assert_eq!(lengths, GOLDEN_LENGTHS);
    }

    #[test]
    fn the_header_says_level_six() {
        // 0x78 0x9c: deflate, 32 KiB window, default level (RFC 1950, section 2.2).
        let mut out = Vec::with_capacity(64);
        Compress::new(Compression::new(ZLIB_LEVEL), true)
            .compress_vec(b"x", &mut out, FlushCompress::Finish)
            .unwrap();
        assert_eq!(out[..2], [0x78, 0x9c]);
    }
}

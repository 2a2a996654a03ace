//! What common characters outside ASCII do to words, without a search through the tables of Unicode Annex 29.
//!
//! The kinds hold for the characters named here only; every other one is left to the full rules. A test asks the
//! full rules about each of them.

use verbatim_store::block::{Block, LEN};

/// What a character does to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A letter that joins other letters (Annex 29 calls it `ALetter`).
    Letter,
    /// A word of its own: ideographs and hiragana.
    Single,
    /// In no word.
    Other,
    /// In no word, unless letters or digits stand on both sides.
    Middle,
    /// Anything else: marks, joiners, Hebrew, katakana, digits.
    Unknown,
}

impl Kind {
    pub(crate) fn of(c: u32) -> Kind {
        match c {
            0xD7 | 0xF7 => Kind::Other,
            0xC0..=0x2AF | 0x388..=0x38A | 0x38E..=0x3A1 | 0x3A3..=0x3F5 | 0x3F7..=0x481 | 0x48A..=0x52F => {
                Kind::Letter
            }
            0x620..=0x64A | 0xAC00..=0xD7A3 => Kind::Letter,
            0x3041..=0x3096 | 0x3400..=0x4DBF | 0x4E00..=0x9FFF => Kind::Single,
            0xA0..=0xA9 | 0xAB | 0xAC | 0xAF..=0xB1 | 0xB4 | 0xB6 | 0xBB | 0xBF => Kind::Other,
            0x2010..=0x2017 | 0x201A..=0x2023 | 0x2025 | 0x2026 | 0x2190..=0x21FF | 0x2500..=0x257F => {
                Kind::Other
            }
            0x3001 | 0x3002 | 0x3008..=0x3011 | 0xFF01 | 0xFF08 | 0xFF09 | 0xFF1F => Kind::Other,
            0xB7 | 0x60C | 0x2018 | 0x2019 | 0xFF0C | 0xFF1A | 0xFF1B => Kind::Middle,
            _ => Kind::Unknown,
        }
    }
}

/// The character that begins at byte `at` of a block, if it has two or three bytes and ends in the block, and how
/// many bytes it has.
#[inline(always)]
pub(crate) fn character_at(block: &Block, at: usize) -> Option<(u32, usize)> {
    let byte = |i: usize| u32::from(block[(at + i) % LEN]);
    let (c, n_bytes) = match block[at % LEN] {
        0xC0..0xE0 => ((byte(0) & 0x1F) << 6 | byte(1) & 0x3F, 2),
        0xE0..0xF0 => ((byte(0) & 0xF) << 12 | (byte(1) & 0x3F) << 6 | byte(2) & 0x3F, 3),
        _ => return None,
    };
    (at + n_bytes <= LEN).then_some((c, n_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Words;
    use unicode_segmentation::UnicodeSegmentation;

    #[test]
    fn the_full_rules_agree_about_every_character_of_a_known_kind() {
        let around = [
            "", "a", "1", "_", " ", ".", "a.", "1,", ".a", ",1", "é", "床", "א", "ア", "\u{301}", "\u{e34}",
            "\u{200d}",
        ];
        let mut n_known = 0;
        for c in (char::MIN..='\u{ffff}').filter(|&c| Kind::of(c.into()) != Kind::Unknown) {
            n_known += 1;
            for (before, after) in around.iter().flat_map(|before| around.map(|after| (before, after))) {
                let text = format!("{before}{c}{after}");
                let mut found = Vec::new();
                Words::Unicode.for_each(&text, |place| found.push(&text[place]));
                assert_eq!(found, text.unicode_words().collect::<Vec<_>>(), "{text:?}");
            }
        }
        assert!(n_known > 40_000);
    }

    #[test]
    fn characters_are_decoded() {
        for c in ['é', 'ΐ', '߿', 'ࠀ', '床', '\u{ffff}'] {
            let mut block = [b' '; LEN];
            let n_bytes = c.encode_utf8(&mut block).len();
            assert_eq!(character_at(&block, 0), Some((c.into(), n_bytes)));
            block.rotate_right(LEN - 1);
            assert_eq!(character_at(&block, LEN - 1), None);
        }
        assert_eq!(character_at(&[0xF0; LEN], 0), None);
    }
}

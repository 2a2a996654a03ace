//! The words of a text, fast where the text is ASCII.
//!
//! Blocks of 64 bytes become bit masks, and the words between separators are read off the masks. What is not ASCII,
//! and words that fill a block, go to the plain definition, which is also the oracle of the tests, in stretches that
//! are cut where no rule of Unicode Annex 29 looks across.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::error::{Error, Result};
use crate::kinds::{Kind, character_at};
use verbatim_store::block::{Block, LEN, block_at, mask, non_ascii};

/// What a word is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Words {
    /// Words by the boundaries of Unicode Annex 29. Pieces without a letter or digit (punctuation, spaces) are
    /// dropped. Scripts written without spaces yield one word for each ideograph (Han) or letter (Thai).
    #[default]
    Unicode,
    /// Whatever stands between Unicode white space, punctuation included.
    Whitespace,
}

impl Words {
    /// Every definition of a word.
    pub const ALL: [Words; 2] = [Words::Unicode, Words::Whitespace];

    /// The name used on the command line and in plans.
    pub fn name(self) -> &'static str {
        match self {
            Words::Unicode => "unicode",
            Words::Whitespace => "whitespace",
        }
    }

    /// Calls `visit` with the place of each word, in text order.
    #[inline(always)]
    pub(crate) fn for_each(self, text: &str, visit: impl FnMut(Range<usize>)) {
        match self {
            Words::Unicode => for_each_word(text, Annex29, visit),
            Words::Whitespace => for_each_word(text, Spaced, visit),
        }
    }
}

/// The words of a text by Unicode Annex 29, without pieces that hold no letter or digit.
///
/// ```
/// assert_eq!(verbatim_index::words("To be, or not?"), ["To", "be", "or", "not"]);
/// ```
pub fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    Words::Unicode.for_each(text, |place| found.push(&text[place]));
    found
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Words {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Words::ALL
            .into_iter()
            .find(|words| words.name() == name)
            .ok_or_else(|| Error::UnknownWords(name.to_owned()))
    }
}

/// A definition of words: in full, and as masks for blocks.
trait Definition {
    /// The pieces of a block. No byte beyond the one that follows a piece may decide where the piece ends.
    fn pieces(&self, block: &Block) -> Pieces;

    /// False for a piece that is no word.
    fn is_word(&self, piece: &[u8]) -> bool;

    /// True for the ASCII bytes that stand in no word and join none.
    fn is_separator(&self, byte: u8) -> bool;

    /// The plain definition.
    fn words<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str>;
}

/// The pieces of a block, as masks of its bytes.
struct Pieces {
    /// The bytes that belong to pieces.
    inside: u64,
    /// Pieces end and begin here even between bytes inside.
    cuts: u64,
    /// The first byte that the masks do not understand; nothing is said from there on.
    n_known: usize,
}

struct Annex29;

impl Annex29 {
    /// Whether a byte between two of the same kind, letters or digits, makes one word of them: `can't`, `3.14`.
    #[inline(always)]
    fn joins(before: u8, middle: u8, after: u8) -> bool {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
        let letters = is_letter(before) && is_letter(after);
        let digits = before.is_ascii_digit() && after.is_ascii_digit();
        match middle {
            b'.' | b'\'' => letters || digits,
            b':' => letters,
            _ => digits,
        }
    }

    /// Adds what is not ASCII to the letters of a block.
    #[inline]
    fn read_foreign(block: &Block, mut foreign: u64, core: &mut u64) -> Pieces {
        let mut pieces = Pieces { inside: 0, cuts: 0, n_known: LEN };
        while foreign != 0 {
            let at = foreign.trailing_zeros() as usize;
            let (c, n_bytes) = character_at(block, at).unwrap_or((0, 1));
            let bytes = ((1 << n_bytes) - 1) << at;
            match Kind::of(c) {
                Kind::Letter => *core |= bytes,
                Kind::Single => {
                    pieces.inside |= bytes;
                    pieces.cuts |= 1 << at | (1u64 << at) << n_bytes;
                }
                Kind::Other => {}
                Kind::Middle if *core << 1 >> at & 1 == 0 => {}
                Kind::Middle | Kind::Unknown => {
                    pieces.n_known = at;
                    break;
                }
            }
            foreign &= !bytes;
        }
        pieces
    }
}

#[inline(always)]
fn is_core(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'_')
}

#[inline(always)]
fn is_middle(byte: u8) -> bool {
    (byte == b'.') | (byte == b'\'') | (byte == b':') | (byte == b',') | (byte == b';')
}

impl Definition for Annex29 {
    #[inline(always)]
    fn pieces(&self, block: &Block) -> Pieces {
        let mut core = mask(block, is_core);
        let foreign = non_ascii(block);
        let mut pieces = Pieces { inside: 0, cuts: 0, n_known: LEN };
        if foreign != 0 {
            pieces = Self::read_foreign(block, foreign, &mut core);
        }
        let mut middles = mask(block, is_middle) & core << 1 & core >> 1;
        pieces.inside |= core;
        while middles != 0 {
            let at = middles.trailing_zeros() as usize;
            // A middle has a neighbour on both sides, so neither index leaves the block.
            let joins = Self::joins(block[(at - 1) % LEN], block[at], block[(at + 1) % LEN]);
            pieces.inside |= u64::from(joins) << at;
            middles &= middles - 1;
        }
        pieces
    }

    #[inline(always)]
    fn is_word(&self, piece: &[u8]) -> bool {
        piece[0] != b'_' || piece.iter().any(|&byte| byte != b'_')
    }

    #[inline(always)]
    fn is_separator(&self, byte: u8) -> bool {
        // A double quote joins Hebrew letters.
        byte.is_ascii() && !is_core(byte) && !is_middle(byte) && byte != b'"'
    }

    #[inline(always)]
    fn words<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        text.unicode_words()
    }
}

struct Spaced;

/// The ASCII part of `char::is_whitespace`, which counts the vertical tab.
#[inline(always)]
pub(crate) fn is_space(byte: u8) -> bool {
    (byte == b' ') | (byte.wrapping_sub(b'\t') < 5)
}

impl Definition for Spaced {
    #[inline(always)]
    fn pieces(&self, block: &Block) -> Pieces {
        // All white space beyond ASCII begins with one of these bytes.
        let unknown = mask(block, |byte| (byte == 0xC2) | (byte.wrapping_sub(0xE1) < 3));
        let n_known = unknown.trailing_zeros() as usize;
        Pieces { inside: !mask(block, is_space), cuts: 0, n_known }
    }

    #[inline(always)]
    fn is_word(&self, _: &[u8]) -> bool {
        true
    }

    #[inline(always)]
    fn is_separator(&self, byte: u8) -> bool {
        is_space(byte)
    }

    #[inline(always)]
    fn words<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        text.split_whitespace()
    }
}

#[inline(always)]
fn for_each_word(text: &str, definition: impl Definition, mut visit: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut position = 0;
    // Between two positions stands a boundary, or only spaces: no earlier byte has a say in what follows.
    while position < bytes.len() {
        let block = block_at(bytes, position);
        let Pieces { inside, cuts, n_known } = definition.pieces(&block);
        let mut starts = inside & (!(inside << 1) | cuts);
        // The byte behind a piece and the one behind that must be known.
        let known = (1u64 << n_known.saturating_sub(1)) - 1;
        let mut ends = inside << 1 & (!inside | cuts) & known;
        let mut done = 0;
        while ends != 0 {
            let start = position + starts.trailing_zeros() as usize;
            done = ends.trailing_zeros() as usize;
            starts &= starts.wrapping_sub(1);
            ends &= ends - 1;
            let piece = start..position + done;
            if definition.is_word(&bytes[piece.clone()]) {
                visit(piece);
            }
        }
        let open = starts.trailing_zeros() as usize;
        if n_known >= LEN - MAX_CHAR && open > 0 {
            // Where no piece is open, the last character is read again: a mark behind it would belong to it.
            position += if open < n_known { open } else { last_character(&block, n_known) };
            continue;
        }
        let mut start = position + if open < n_known { open } else { done };
        // A mark that is a letter makes one piece, and a word, of itself and all spaces before it.
        while start > 0 && bytes[start - 1] == b' ' {
            start -= 1;
        }
        let end = stretch_end(bytes, position + n_known.min(LEN - 1), &definition);
        let stretch = &text[start..end];
        for word in definition.words(stretch) {
            let at = start + (word.as_ptr().addr() - stretch.as_ptr().addr());
            visit(at..at + word.len());
        }
        position = end;
    }
}

/// The longest character of UTF-8; one that is cut off by the end of a block is not known there.
const MAX_CHAR: usize = 4;

/// Where the last character before byte `end` begins.
#[inline(always)]
fn last_character(block: &Block, end: usize) -> usize {
    block[..end].iter().rposition(|&byte| !(0x80..0xC0).contains(&byte)).unwrap_or(0)
}

/// The first place behind `from` where a text may be cut: no rule joins ASCII to a separator, but space to space.
fn stretch_end(bytes: &[u8], from: usize, definition: &impl Definition) -> usize {
    let may_cut = |pair: &[u8]| definition.is_separator(pair[0]) && pair[1].is_ascii() && pair != b"  ";
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(2).position(may_cut).map_or(bytes.len(), |at| from + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(words: Words, text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        words.for_each(text, |place| found.push(&text[place]));
        found
    }

    fn check(text: &str) -> std::result::Result<(), TestCaseError> {
        prop_assert_eq!(found(Words::Unicode, text), text.unicode_words().collect::<Vec<_>>());
        prop_assert_eq!(found(Words::Whitespace, text), text.split_whitespace().collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn names_round_trip() {
        for words in Words::ALL {
            assert_eq!(words.to_string().parse::<Words>().unwrap(), words);
            assert_eq!(serde_json::to_string(&words).unwrap(), format!("\"{words}\""));
        }
        assert!("regex".parse::<Words>().is_err());
        assert_eq!(Words::default(), Words::Unicode);
    }

    #[test]
    fn words_that_stand_at_the_edge_of_a_block_are_found() {
        let pieces = [
            "a.b",
            "1,2",
            "it's",
            "é",
            "e.\u{301}",
            "\"א\"ב",
            "x'",
            "(\u{e34}",
            "  \u{e34}",
            "_",
            "__",
            "🇩🇪🇫🇷",
            "👩\u{200d}👩",
        ];
        for length in 0..=200 {
            for filler in ["x", " ", ".", "_", "x.", "1,"] {
                for piece in pieces {
                    let text = format!("{}{piece} end", filler.repeat(length));
                    check(&text).unwrap();
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn ascii_words_equal_the_plain_definitions(text in "[ab1_.,:;'\" (\r\n\t\u{0}\u{b}\u{1c}-]{0,300}|[ -~\n]{0,300}") {
            check(&text)?;
        }

        #[test]
        fn words_of_all_scripts_equal_the_plain_definitions(
            text in "[ab1_.,:;'\" (\r\n\u{300}\u{200d}\u{ad}éאב床カーก\u{e34}👩🇩⌚\u{85}\u{a0}\u{2028}\u{3000}٣\u{66b}’\u{ff0e}]{0,200}",
        ) {
            check(&text)?;
        }

        #[test]
        fn few_foreign_letters_change_no_word(
            parts in prop::collection::vec(("[a1 ._'\"\n]{0,80}", "[\u{300}\u{200d}éא床カก👩🇩\u{85}\u{a0}\u{2028}]{0,3}"), 0..6),
        ) {
            let text: String = parts.into_iter().map(|(plain, foreign)| plain + &foreign).collect();
            check(&text)?;
        }

        #[test]
        fn any_text_has_the_words_of_the_plain_definitions(text in any::<String>(), ascii in "\\PC{0,100}") {
            check(&(text.clone() + &ascii))?;
            check(&(ascii + " " + &text))?;
        }
    }
}

//! Where two texts differ, word by word.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};
use unicode_segmentation::UnicodeSegmentation;

/// Units between the common beginning and the common end that are compared one by one. The time of a comparison grows
/// with their number times the number of differences.
const MAX_UNITS: usize = 10_000;

/// What was compared, the finest that two texts are short enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// Words by Unicode Annex 29; white space does not count.
    Word,
    /// Lines; white space at their ends does not count.
    Line,
    /// The texts between the common beginning and the common end, as one piece.
    Text,
}

/// A piece of the first text and the piece of the second that stands in its place, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// In the first text.
    pub first: Range<usize>,
    /// In the second text.
    pub second: Range<usize>,
    /// True if the two are the same but for white space between words.
    pub is_equal: bool,
}

/// How two texts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    /// What was compared.
    pub granularity: Granularity,
    /// The texts in pieces that are equal and pieces that are not, in turn; together they are both texts.
    pub pieces: Vec<Piece>,
}

/// Compares two texts (Myers 1986) by words, by lines where that would take too long, at worst as a whole.
pub fn differences(first: &str, second: &str) -> Differences {
    for (granularity, units) in
        [(Granularity::Word, words as fn(&str) -> Vec<Unit<'_>>), (Granularity::Line, lines)]
    {
        let (a, b) = (units(first), units(second));
        let (start, end) = common(&a, &b);
        let middle = (&a[start..a.len() - end], &b[start..b.len() - end]);
        let is_small = middle.0.len().max(middle.1.len()) <= MAX_UNITS;
        if is_small || granularity == Granularity::Line {
            let pieces = pieces((&a, &b), (start, end), is_small);
            let granularity = if is_small { granularity } else { Granularity::Text };
            return Differences {
                granularity,
                pieces: in_bytes(pieces, (&a, first.len()), (&b, second.len())),
            };
        }
    }
    unreachable!("lines are always compared, if only as a whole")
}

/// A word or a line, and where it begins; it reaches to where the next one begins.
#[derive(Debug, Clone, Copy)]
struct Unit<'a> {
    text: &'a str,
    start: usize,
}

fn words(text: &str) -> Vec<Unit<'_>> {
    let words = text.split_word_bound_indices().filter(|(_, word)| !word.trim().is_empty());
    words.map(|(start, text)| Unit { text, start }).collect()
}

fn lines(text: &str) -> Vec<Unit<'_>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let unit = Unit { text: line.trim(), start };
            start += line.len();
            unit
        })
        .collect()
}

/// Units that both begin with, and further ones that both end with.
fn common(a: &[Unit<'_>], b: &[Unit<'_>]) -> (usize, usize) {
    let start = a.iter().zip(b).take_while(|(a, b)| a.text == b.text).count();
    let (a, b) = (&a[start..], &b[start..]);
    (start, a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a.text == b.text).count())
}

/// Pieces in units, equal ones and different ones in turn.
fn pieces((a, b): (&[Unit<'_>], &[Unit<'_>]), (start, end): (usize, usize), one_by_one: bool) -> Vec<Piece> {
    let (a_end, b_end) = (a.len() - end, b.len() - end);
    let mut pieces = Vec::new();
    push(&mut pieces, Piece { first: 0..start, second: 0..start, is_equal: true });
    if one_by_one {
        let texts =
            |units: &[Unit<'_>]| -> Vec<String> { units.iter().map(|unit| unit.text.to_owned()).collect() };
        for op in capture_diff_slices(Algorithm::Myers, &texts(&a[start..a_end]), &texts(&b[start..b_end])) {
            let moved = |range: Range<usize>| range.start + start..range.end + start;
            push(
                &mut pieces,
                Piece {
                    first: moved(op.old_range()),
                    second: moved(op.new_range()),
                    is_equal: op.tag() == DiffTag::Equal,
                },
            );
        }
    } else {
        push(&mut pieces, Piece { first: start..a_end, second: start..b_end, is_equal: false });
    }
    push(&mut pieces, Piece { first: a_end..a.len(), second: b_end..b.len(), is_equal: true });
    pieces
}

/// Adds a piece, to the one before it if it is of the same kind.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        _ if piece.first.is_empty() && piece.second.is_empty() => {}
        Some(last) if last.is_equal == piece.is_equal => {
            last.first.end = piece.first.end;
            last.second.end = piece.second.end;
        }
        _ => pieces.push(piece),
    }
}

/// The pieces in bytes: the first begins at 0, the last ends with the text.
fn in_bytes(
    pieces: Vec<Piece>,
    (a, a_len): (&[Unit<'_>], usize),
    (b, b_len): (&[Unit<'_>], usize),
) -> Vec<Piece> {
    let begin = |units: &[Unit<'_>], len: usize, unit: usize| match unit {
        // What stands before the first unit belongs to it.
        0 => 0,
        _ => units.get(unit).map_or(len, |unit| unit.start),
    };
    let range = |units: &[Unit<'_>], len: usize, range: Range<usize>| {
        let end = if range.end == units.len() { len } else { begin(units, len, range.end) };
        begin(units, len, range.start)..end
    };
    pieces
        .into_iter()
        .map(|piece| Piece {
            first: range(a, a_len, piece.first),
            second: range(b, b_len, piece.second),
            is_equal: piece.is_equal,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The texts with what is in the first only in brackets, what is in the second only in braces.
    fn marked(first: &str, second: &str) -> String {
        let mut out = String::new();
        for piece in differences(first, second).pieces {
            let (a, b) = (first[piece.first].trim(), second[piece.second].trim());
            match piece.is_equal {
                true => out.push_str(a),
                false => out.push_str(&format!("[{a}]{{{b}}}")),
            }
        }
        out
    }

    #[test]
    fn differing_words_are_found_and_white_space_is_none() {
        assert_eq!(marked("the quick  fox", "the slow\nfox"), "the[quick]{slow}fox");
        assert_eq!(marked("a b c", "a b c d"), "a b c[]{d}");
        assert_eq!(marked("床前明月光", "床前看月光"), "床前[明]{看}月光");
        assert_eq!(marked("", "x"), "[]{x}");
        assert_eq!(marked(" \n", ""), "");
        assert_eq!(differences("a b", "a  b").pieces.len(), 1);
    }

    #[test]
    fn long_texts_are_compared_by_lines_and_longer_ones_as_a_whole() {
        let lines = |n: usize, word: &str| -> String {
            (0..n).map(|i| format!("{word}{i} {word} {word}\n")).collect()
        };
        let (a, b) = (lines(8_000, "a"), lines(8_000, "b"));
        let found = differences(&format!("{a}same\n"), &format!("{b}same\n"));
        assert_eq!((found.granularity, found.pieces.len()), (Granularity::Line, 2));
        let (a, b) = (lines(20_000, "a"), lines(20_000, "b"));
        let found = differences(&format!("same\n{a}"), &format!("same\n{b}"));
        assert_eq!((found.granularity, found.pieces.len()), (Granularity::Text, 2));
    }

    fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                table[i + 1][j + 1] =
                    if x == y { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
            }
        }
        table[a.len()][b.len()]
    }

    proptest! {
        #[test]
        fn pieces_are_the_texts_and_the_equal_ones_a_longest_common_subsequence(
            first in "[ab ]{0,24}",
            second in "[ab ]{0,24}",
        ) {
            let found = differences(&first, &second).pieces;
            let joined = |pick: fn(&Piece) -> Range<usize>, text: &str| -> String {
                found.iter().map(|piece| &text[pick(piece)]).collect()
            };
            if !found.is_empty() {
                prop_assert_eq!(joined(|piece| piece.first.clone(), &first), first.as_str());
                prop_assert_eq!(joined(|piece| piece.second.clone(), &second), second.as_str());
            }
            let split = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
            let mut n_equal = 0;
            for piece in &found {
                let (a, b) = (split(&first[piece.first.clone()]), split(&second[piece.second.clone()]));
                prop_assert_eq!(a == b, piece.is_equal);
                n_equal += if piece.is_equal { a.len() } else { 0 };
            }
            let (a, b): (Vec<&str>, Vec<&str>) =
                (first.split_whitespace().collect(), second.split_whitespace().collect());
            prop_assert_eq!(n_equal, longest_common_subsequence(&a, &b));
        }
    }
}

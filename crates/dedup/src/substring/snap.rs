//! Where cuts may begin and end.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Where cuts may begin and end. A cut is made shorter until it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Snap {
    /// Between characters.
    #[default]
    Char,
    /// Where words, spaces and punctuation marks begin and end (Unicode Annex 29).
    Word,
    /// Where sentences begin and end (Unicode Annex 29).
    Sentence,
    /// Where lines begin, and at the end of the text.
    Line,
}

impl fmt::Display for Snap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Snap::Char => "char",
            Snap::Word => "word",
            Snap::Sentence => "sentence",
            Snap::Line => "line",
        })
    }
}

impl Snap {
    /// The stretches with their ends moved inwards to where cuts may begin and end; those of which nothing is left are
    /// not among them. Both are ascending, without overlap.
    pub(super) fn inwards(self, text: &[u8], stretches: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut snapped = Vec::with_capacity(stretches.len());
        let mut take = |start: usize, end: usize| {
            if start < end {
                snapped.push(start..end);
            }
        };
        match self {
            Snap::Char => {
                let is_inside = |at: usize| at < text.len() && text[at] & 0xC0 == 0x80;
                for &Range { start, end } in stretches {
                    let start = (start..end).find(|&at| !is_inside(at)).unwrap_or(end);
                    take(start, (start..=end).rev().find(|&at| !is_inside(at)).unwrap_or(start));
                }
            }
            Snap::Line => {
                let is_between = |at: usize| at == 0 || at == text.len() || text[at - 1] == b'\n';
                for &Range { start, end } in stretches {
                    let start = (start..end).find(|&at| is_between(at)).unwrap_or(end);
                    take(start, (start..=end).rev().find(|&at| is_between(at)).unwrap_or(start));
                }
            }
            Snap::Word | Snap::Sentence => {
                let places = self.places(text);
                for &Range { start, end } in stretches {
                    let first = places.partition_point(|&place| place < start);
                    let after = places.partition_point(|&place| place <= end);
                    if first < after {
                        take(places[first], places[after - 1]);
                    }
                }
            }
        }
        snapped
    }

    /// The places between words or sentences. What is not UTF-8 is one to each byte.
    fn places(self, text: &[u8]) -> Vec<usize> {
        let mut places = vec![0];
        let mut start = 0;
        for chunk in text.utf8_chunks() {
            let valid = chunk.valid();
            match self {
                Snap::Sentence => {
                    places.extend(valid.split_sentence_bound_indices().map(|(at, _)| start + at))
                }
                _ => places.extend(valid.split_word_bound_indices().map(|(at, _)| start + at)),
            }
            start += valid.len();
            places.extend(start..=start + chunk.invalid().len());
            start += chunk.invalid().len();
        }
        places.dedup();
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapped(snap: Snap, text: &[u8], range: Range<usize>) -> Option<&[u8]> {
        let found = snap.inwards(text, &[range]);
        found.into_iter().next().map(|range| &text[range])
    }

    #[test]
    fn cuts_shrink_to_characters_words_sentences_and_lines() {
        let text = "Mr. Bäcker came. He saw it.\nSecond line, ünd the end".as_bytes();
        let whole = 0..text.len();
        for snap in [Snap::Char, Snap::Word, Snap::Sentence, Snap::Line] {
            assert_eq!(snapped(snap, text, whole.clone()), Some(text));
            assert_eq!(snapped(snap, b"", 0..0), None);
        }
        // From the middle of `ä` to the middle of `ü`.
        let (from, to) = (6, text.len() - 11);
        let tell = |snap| snapped(snap, text, from..to).map(|cut| std::str::from_utf8(cut).unwrap());
        assert_eq!(tell(Snap::Char), Some("cker came. He saw it.\nSecond line, "));
        assert_eq!(tell(Snap::Word), Some(" came. He saw it.\nSecond line, "));
        assert_eq!(tell(Snap::Sentence), Some("He saw it.\n"));
        assert_eq!(tell(Snap::Line), None);
        assert_eq!(snapped(Snap::Line, text, 2..text.len()), Some("Second line, ünd the end".as_bytes()));
        assert_eq!(snapped(Snap::Word, text, 5..8), None);
        assert_eq!(snapped(Snap::Char, text, 6..6), None);
    }

    #[test]
    fn a_text_that_is_not_utf8_is_cut_between_any_two_of_its_bad_bytes() {
        let text = b"one \xff\xfe two";
        assert_eq!(snapped(Snap::Word, text, 1..5), Some(&b" \xff"[..]));
        assert_eq!(snapped(Snap::Char, text, 1..5), Some(&b"ne \xff"[..]));
    }
}

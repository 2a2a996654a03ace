//! What is left of documents is joined, and may repeat in new ways: rounds of cutting, put together as one.

use std::borrow::Cow;
use std::ops::Range;

use verbatim_corpus::DocId;

use crate::cut::{Cut, Shortened};

/// The cuts of one document, of cuts in the order of a plan.
pub(super) fn cuts_of(cuts: &[Cut], doc: DocId) -> &[Cut] {
    let first = cuts.partition_point(|cut| cut.doc < doc);
    let n = cuts[first..].partition_point(|cut| cut.doc == doc);
    &cuts[first..first + n]
}

/// What is left of a text by its cuts.
pub(super) fn left_of<'t>(text: Cow<'t, [u8]>, cuts: &[Cut]) -> Cow<'t, [u8]> {
    match cuts {
        [] => text,
        _ => Cow::Owned(without(&text, cuts.iter().map(|cut| cut.start as usize..cut.end as usize))),
    }
}

/// A text without some stretches, which are in order.
pub(super) fn without(text: &[u8], stretches: impl Iterator<Item = Range<usize>>) -> Vec<u8> {
    let mut left = Vec::with_capacity(text.len());
    let mut at = 0;
    for stretch in stretches {
        left.extend_from_slice(&text[at..stretch.start]);
        at = stretch.end;
    }
    left.extend_from_slice(&text[at..]);
    left
}

/// Where a byte of what is left of a text stands in the text, by its cuts. Between two that a cut parted, it is the one
/// after the cut.
fn whole(cuts: &[Cut], left: u64) -> u64 {
    let n_cut = cuts.iter().scan(0, |n_cut, cut| {
        let before = cut.start - *n_cut;
        *n_cut += cut.end - cut.start;
        Some((before, *n_cut))
    });
    left + n_cut.take_while(|&(before, _)| before <= left).last().map_or(0, |(_, n_cut)| n_cut)
}

/// A cut of a later round, with where its text stays counted in what earlier rounds left.
struct Fresh {
    cut: Cut,
    home: u64,
}

/// Adds a round, which counts bytes in what those before left, to them.
pub(super) fn add(before: &mut Shortened, round: Shortened, is_struck: bool) {
    let mut fresh: Vec<Fresh> = Vec::new();
    for cut in &round.cuts {
        for piece in pieces(cuts_of(&before.cuts, cut.doc), cut.start..cut.end) {
            let home = cut.kept_start + (piece.left - cut.start);
            let (kept, kept_start) = match is_struck {
                true => (cut.doc, piece.whole.start),
                false => (cut.kept, whole(cuts_of(&before.cuts, cut.kept), home)),
            };
            let cut = Cut { start: piece.whole.start, end: piece.whole.end, kept, kept_start, ..*cut };
            fresh.push(Fresh { cut, home });
        }
    }
    // What stayed where it is cut now stays where that does.
    let mut moved: Vec<(usize, DocId, u64)> = Vec::new();
    for (i, cut) in before.cuts.iter().enumerate().filter(|_| !is_struck) {
        let place = (cut.kept, cut.kept_start);
        let last = fresh.partition_point(|fresh| (fresh.cut.doc, fresh.cut.start) <= place);
        let Some(Fresh { cut: taken, home }) = last.checked_sub(1).map(|last| &fresh[last]) else { continue };
        if taken.doc == cut.kept && cut.kept_start < taken.end {
            let home = home + (cut.kept_start - taken.start);
            moved.push((i, taken.kept, whole(cuts_of(&before.cuts, taken.kept), home)));
        }
    }
    for (i, kept, kept_start) in moved {
        (before.cuts[i].kept, before.cuts[i].kept_start) = (kept, kept_start);
    }
    let is_removed = |doc: DocId| round.removals.binary_search_by_key(&doc, |removal| removal.doc).is_ok();
    before.cuts.retain(|cut| !is_removed(cut.doc));
    before.cuts.extend(fresh.into_iter().map(|fresh| fresh.cut));
    before.cuts.sort_unstable_by_key(|cut| (cut.doc, cut.start));
    before.removals.extend(round.removals);
    before.removals.sort_unstable_by_key(|removal| removal.doc);
    before.n_compared += round.n_compared;
}

/// Makes one cut of those that touch: it stays where its first part does.
pub(super) fn joined(cuts: Vec<Cut>) -> Vec<Cut> {
    let mut joined: Vec<Cut> = Vec::with_capacity(cuts.len());
    for cut in cuts {
        match joined.last_mut().filter(|last| (last.doc, last.end) == (cut.doc, cut.start)) {
            Some(last) => last.end = cut.end,
            None => joined.push(cut),
        }
    }
    joined
}

/// A part of what is left of a text that no cut parts: where it begins there, and where it stands in the text.
struct Piece {
    left: u64,
    whole: Range<u64>,
}

/// The parts of a stretch of what is left of a text.
fn pieces(cuts: &[Cut], left: Range<u64>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = left.start;
    while at < left.end {
        let start = whole(cuts, at);
        let next = cuts[cuts.partition_point(|cut| cut.start <= start)..].first();
        let len = next.map_or(left.end - at, |cut| (cut.start - start).min(left.end - at));
        pieces.push(Piece { left: at, whole: start..start + len });
        at += len;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stage;

    fn cut(doc: u64, start: u64, end: u64, kept: u64, kept_start: u64) -> Cut {
        Cut { doc: DocId(doc), start, end, kept: DocId(kept), kept_start, stage: Stage::Substring }
    }

    #[test]
    fn what_is_left_maps_back_to_the_text() {
        let text: Vec<u8> = (0..20).collect();
        for cuts in [
            vec![],
            vec![cut(0, 0, 3, 1, 0)],
            vec![cut(0, 2, 5, 1, 0), cut(0, 5, 6, 1, 0), cut(0, 18, 20, 1, 0)],
        ] {
            let left = left_of(Cow::Borrowed(&text), &cuts);
            for (at, &byte) in left.iter().enumerate() {
                assert_eq!(whole(&cuts, at as u64), u64::from(byte), "{cuts:?}");
            }
            for start in 0..left.len() {
                for end in start + 1..=left.len() {
                    let found: Vec<u8> = pieces(&cuts, start as u64..end as u64)
                        .iter()
                        .flat_map(|piece| &text[piece.whole.start as usize..piece.whole.end as usize])
                        .copied()
                        .collect();
                    assert_eq!(found, left[start..end]);
                }
            }
        }
    }

    #[test]
    fn what_stayed_in_a_cut_of_a_later_round_stays_where_that_does() {
        let mut before = Shortened { cuts: vec![cut(1, 10, 20, 0, 4)], ..Shortened::default() };
        // Of document 0, bytes 2 to 12 go, because they stand in document 2 from byte 30 on; of 1, around the old cut.
        let round =
            Shortened { cuts: vec![cut(0, 2, 12, 2, 30), cut(1, 5, 15, 2, 50)], ..Shortened::default() };
        add(&mut before, round, false);
        let expected =
            [cut(0, 2, 12, 2, 30), cut(1, 5, 10, 2, 50), cut(1, 10, 20, 2, 32), cut(1, 20, 25, 2, 55)];
        assert_eq!(before.cuts, expected);
    }
}

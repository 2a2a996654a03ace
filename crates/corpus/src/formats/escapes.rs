//! JSON escapes: where a place in a text stands in the string that the record holds.

use crate::formats::unescape::unicode_escape;

/// The escape of half of a surrogate pair.
const HALF_BYTES: usize = 6;

/// The offsets into a raw JSON string (without its quotes) that stand for ascending offsets into its text.
///
/// `None` where an offset lies beyond the text or inside a character, be it written out or escaped.
pub(crate) fn raw_offsets(raw: &str, offsets: impl IntoIterator<Item = u64>) -> Option<Vec<usize>> {
    let bytes = raw.as_bytes();
    let next_escape = |from: usize| memchr::memchr(b'\\', &bytes[from..]).map_or(bytes.len(), |i| from + i);
    // A place in the raw string, the offset in the text that it stands for, and the next escape.
    let (mut at, mut decoded, mut escape) = (0, 0_u64, next_escape(0));
    let mut found = Vec::new();
    for offset in offsets {
        loop {
            let ahead = usize::try_from(offset.checked_sub(decoded)?).ok()?;
            if ahead <= escape - at {
                found.push(Some(at + ahead).filter(|&place| raw.is_char_boundary(place))?);
                break;
            }
            let (n_raw, n_decoded) = lengths(&bytes[escape..])?;
            decoded += (escape - at) as u64 + n_decoded;
            at = escape + n_raw;
            escape = next_escape(at);
        }
    }
    Some(found)
}

/// The bytes of the escape that begins here, and those of the character it stands for.
fn lengths(escape: &[u8]) -> Option<(usize, u64)> {
    if escape.get(1)? != &b'u' {
        return Some((2, 1));
    }
    let (c, n_raw) = unicode_escape(escape)?;
    // Half of a surrogate pair is only in a text that is read with U+FFFD for it.
    Some((n_raw, c.unwrap_or(char::REPLACEMENT_CHARACTER).len_utf8() as u64))
}

/// Keeps halves of surrogate pairs that a cut brings together from being read as one character: the first is written
/// as U+FFFD, which is what it is read as. The escape has as many bytes.
pub(crate) fn keep_apart(pieces: &mut Vec<&[u8]>) {
    // Between two cuts that meet there is nothing.
    pieces.retain(|piece| !piece.is_empty());
    for i in (1..pieces.len()).rev() {
        let Some((rest, half)) = pieces[i - 1].split_last_chunk::<HALF_BYTES>() else { continue };
        let Some(next) = pieces[i].first_chunk::<HALF_BYTES>() else { continue };
        let n_before = rest.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let is_escape = n_before.is_multiple_of(2);
        if is_escape
            && matches!(unicode_escape(&[*half, *next].concat()), Some((Some(_), n)) if n > HALF_BYTES)
        {
            pieces[i - 1] = rest;
            pieces.insert(i, br"\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::unescape::unescape;
    use proptest::prelude::*;

    /// One character, written out or escaped, as JSON allows.
    fn written() -> impl Strategy<Value = String> {
        let written_out = prop::sample::select(vec!["a", "é", "€", "😀", " "]).prop_map(str::to_owned);
        let escaped = prop::sample::select(vec![
            r"\n",
            r"\\",
            r#"\""#,
            r"\/",
            r"\u000a",
            r"\u00e9",
            r"\u00E9",
            r"\u20ac",
            r"\ud83d\ude00",
            r"\t",
            // Halves of pairs: a whole pair where the second follows the first.
            r"\ud83d",
            r"\ude00",
        ]);
        prop_oneof![written_out, escaped.prop_map(str::to_owned)]
    }

    /// The list with the halves of surrogate pairs that meet as one unit.
    fn joined(units: Vec<String>) -> Vec<String> {
        let mut joined: Vec<String> = Vec::new();
        for unit in units {
            match joined.last_mut() {
                Some(last) if last == r"\ud83d" && unit == r"\ude00" => last.push_str(&unit),
                _ => joined.push(unit),
            }
        }
        joined
    }

    fn decoded_len(raw: &str) -> u64 {
        let mut text = Vec::new();
        assert!(unescape(raw.as_bytes(), &mut text), "{raw}");
        text.len() as u64
    }

    proptest! {
        #[test]
        fn offsets_agree_with_decoding_each_character(units in prop::collection::vec(written(), 0..12)) {
            // A first half and a second one are one character.
            let units = joined(units);
            let raw = units.concat();
            // Every place between characters, found by decoding the characters one by one.
            let (mut at, mut decoded) = (0, 0);
            let mut places = vec![(0, 0)];
            for unit in &units {
                at += unit.len();
                decoded += decoded_len(unit);
                places.push((decoded, at));
            }
            for offset in 0..=decoded + 2 {
                let expected = places.iter().find(|place| place.0 == offset).map(|place| vec![place.1]);
                prop_assert_eq!(raw_offsets(&raw, [offset]), expected, "{} at {}", raw, offset);
            }
            let (offsets, raws): (Vec<u64>, Vec<usize>) = places.into_iter().unzip();
            prop_assert_eq!(raw_offsets(&raw, offsets), Some(raws));
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_three_bytes_of_text() {
        // U+FFFD, a, U+FFFD, U+1F600
        let raw = r"\ud83da\ude00\ud83d\ude00";
        assert_eq!(raw_offsets(raw, [0, 3, 4, 7, 11]), Some(vec![0, 6, 7, 13, 25]));
        for inside in [1, 2, 5, 6, 8, 9, 10, 12] {
            assert_eq!(raw_offsets(raw, [inside]), None, "{inside}");
        }
    }

    #[test]
    fn strings_that_changed_under_the_reader_give_nothing() {
        for raw in ["\\", r"\u12", r"\uzzzz", "a"] {
            assert_eq!(raw_offsets(raw, [3]), None, "{raw}");
        }
    }
}

//! JSON escapes: where a place in a text stands in the string that the record holds.

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
    let unit = u16::from_str_radix(std::str::from_utf8(escape.get(2..6)?).ok()?, 16).ok()?;
    Some(match unit {
        0..0x80 => (6, 1),
        0x80..0x800 => (6, 2),
        // The first half of a pair: the text was decoded, so the second one follows.
        0xD800..=0xDBFF => (escape.get(..12)?.len(), 4),
        _ => (6, 3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::jsonl::decode;
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
        ]);
        prop_oneof![written_out, escaped.prop_map(str::to_owned)]
    }

    proptest! {
        #[test]
        fn offsets_agree_with_decoding_each_character(units in prop::collection::vec(written(), 0..12)) {
            let raw = units.concat();
            // Every place between characters, found by decoding the characters one by one.
            let (mut at, mut decoded) = (0, 0);
            let mut places = vec![(0, 0)];
            for unit in &units {
                at += unit.len();
                decoded += decode(unit).unwrap().len() as u64;
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
    fn strings_that_changed_under_the_reader_give_nothing() {
        for raw in ["\\", r"\u12", r"\ud83d", r"\uzzzz", "a"] {
            assert_eq!(raw_offsets(raw, [3]), None, "{raw}");
        }
    }
}

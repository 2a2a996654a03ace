//! The escapes of JSON strings that were read once already: how long a text is without them, and the text.

use std::iter;
use std::ops::Range;

use verbatim_store::block;

/// The length of a raw JSON string when decoded, with `lone_surrogate` for half of a surrogate pair; `None` where there is
/// one and nothing stands for it.
pub(crate) fn decoded_len(raw: &[u8], lone_surrogate: Option<char>) -> Option<usize> {
    let mut n_bytes = raw.len();
    let (mut at, mut is_escaped) = (0, false);
    for start in (0..raw.len()).step_by(block::LEN) {
        let block = block::block_at(raw, start);
        let escapes = escapes(block::mask(&block, |b| b == b'\\'), is_escaped);
        // Escapes of two bytes stand for one; the longer ones are looked at.
        n_bytes -= escapes.count_ones() as usize;
        let letters = escapes << 1 | u64::from(is_escaped);
        is_escaped = escapes >> (block::LEN - 1) == 1;
        let mut found = letters & block::mask(&block, |b| b == b'u');
        while found != 0 {
            let place = start + found.trailing_zeros() as usize - 1;
            found &= found - 1;
            if place >= at {
                let (c, len) = unicode_escape(&raw[place..])?;
                let n_units = len / 6;
                n_bytes = n_bytes + c.or(lone_surrogate)?.len_utf8() - (len - n_units);
                at = place + len;
            }
        }
    }
    Some(n_bytes)
}

/// Those of the backslashes in a block that begin an escape: the others are the second byte of one. `is_escaped` tells
/// this of the first byte.
fn escapes(backslashes: u64, is_escaped: bool) -> u64 {
    let mut rest = backslashes & !u64::from(is_escaped);
    if rest & (rest << 1) == 0 {
        return rest;
    }
    let mut escapes = 0;
    while rest != 0 {
        let first = rest & rest.wrapping_neg();
        escapes |= first;
        rest &= !(first | first << 1);
    }
    escapes
}

/// Bytes that are copied at once between two escapes; most texts have one in fewer.
const COPIED: usize = 64;

/// Decodes a raw JSON string into `text`, with U+FFFD for half of a surrogate pair; false where it is not JSON.
pub(crate) fn unescape(raw: &[u8], text: &mut Vec<u8>) -> bool {
    // A text is never longer than its raw form, so each byte has its place beforehand.
    text.resize(raw.len(), 0);
    let (mut at, mut end) = (0, 0);
    for start in (0..raw.len()).step_by(block::LEN) {
        let mut found = block::mask(&block::block_at(raw, start), |b| b == b'\\');
        while found != 0 {
            let place = start + found.trailing_zeros() as usize;
            found &= found - 1;
            if place < at {
                // The second half of an escape.
                continue;
            }
            end += copy(raw, at..place, &mut text[end..]);
            match raw.get(place + 1).map_or(0, |&letter| SHORT_ESCAPES[usize::from(letter)]) {
                0 => {
                    let Some((c, n)) = unicode_escape(&raw[place..]) else { return false };
                    end += c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut text[end..]).len();
                    at = place + n;
                }
                byte => {
                    text[end] = byte;
                    (at, end) = (place + 2, end + 1);
                }
            }
        }
    }
    end += copy(raw, at..raw.len(), &mut text[end..]);
    text.truncate(end);
    true
}

/// Copies a stretch to the start of `to`, which may be overwritten beyond it; gives the length of the stretch.
fn copy(raw: &[u8], stretch: Range<usize>, to: &mut [u8]) -> usize {
    let n = stretch.len();
    let mut done = 0;
    while let (Some(from), Some(to)) =
        (raw[stretch.start + done..].first_chunk::<COPIED>(), to[done..].first_chunk_mut::<COPIED>())
    {
        *to = *from;
        done += COPIED;
        if done >= n {
            return n;
        }
    }
    to[done..n].copy_from_slice(&raw[stretch.start + done..stretch.end]);
    n
}

/// What a backslash and this letter stand for, where nothing else belongs to the escape; else 0.
const SHORT_ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let pairs = [
        (b'n', b'\n'),
        (b't', b'\t'),
        (b'r', b'\r'),
        (b'b', 8),
        (b'f', 12),
        (b'"', b'"'),
        (b'\\', b'\\'),
        (b'/', b'/'),
    ];
    let mut i = 0;
    while i < pairs.len() {
        table[pairs[i].0 as usize] = pairs[i].1;
        i += 1;
    }
    table
};

/// The character that the `\u` escape at the start of `raw` stands for, and the length of the escape. Half of a
/// surrogate pair stands for none.
pub(crate) fn unicode_escape(raw: &[u8]) -> Option<(Option<char>, usize)> {
    let units = iter::once(utf_16_unit(raw)?).chain(raw.get(6..).and_then(utf_16_unit));
    let c = char::decode_utf16(units).next()?.ok();
    Some((c, 6 * c.map_or(1, char::len_utf16)))
}

fn utf_16_unit(raw: &[u8]) -> Option<u16> {
    let digits = raw.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parts of valid JSON strings: text, every escape, surrogates in pairs and alone.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-z \u{e9}\u{4e2d}\u{1f600}]{0,12}",
            4 => prop::sample::select(vec![r"\n", r"\t", r"\r", r"\b", r"\f", r"\/", r"\\", r#"\""#, r"\\u"])
                .prop_map(str::to_owned),
            2 => any::<char>().prop_map(|c| {
                c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }),
            1 => prop::sample::select(vec![r"\ud83d\uDE00", r"\ud83d", r"\ude00", r"\ud83d\ud83d\ude00"])
                .prop_map(str::to_owned),
        ]
    }

    /// serde_json's own reading, with U+FFFD for lone surrogates; and whether there were any.
    fn naive(raw: &str) -> (String, bool) {
        let quoted = format!("\"{raw}\"");
        if let Ok(text) = serde_json::from_str(&quoted) {
            return (text, false);
        }
        // serde_json keeps lone surrogates where bytes are asked for, in the three bytes of WTF-8.
        let bytes: ByteText = serde_json::from_str(&quoted).unwrap();
        let mut text = Vec::new();
        let mut rest = bytes.0.as_slice();
        while let [first, ..] = rest {
            if let [0xed, 0xa0..=0xbf, _, ..] = rest {
                text.extend_from_slice("\u{fffd}".as_bytes());
                rest = &rest[3..];
            } else {
                text.push(*first);
                rest = &rest[1..];
            }
        }
        (String::from_utf8(text).unwrap(), true)
    }

    struct ByteText(Vec<u8>);

    impl<'de> serde::Deserialize<'de> for ByteText {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Bytes;
            impl serde::de::Visitor<'_> for Bytes {
                type Value = ByteText;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a string")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteText, E> {
                    Ok(ByteText(bytes.to_vec()))
                }
            }
            deserializer.deserialize_bytes(Bytes)
        }
    }

    proptest! {
        #[test]
        fn texts_and_their_lengths_are_those_of_serde_json(parts in prop::collection::vec(part(), 0..60)) {
            let raw = parts.concat();
            let (expected, has_lone_surrogate) = naive(&raw);
            let mut text = b"left over".to_vec();
            prop_assert!(unescape(raw.as_bytes(), &mut text));
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), &expected);
            let len = decoded_len(raw.as_bytes(), None);
            prop_assert_eq!(len, (!has_lone_surrogate).then_some(expected.len()));
            let len = decoded_len(raw.as_bytes(), Some(char::REPLACEMENT_CHARACTER));
            prop_assert_eq!(len, Some(expected.len()));
        }

        #[test]
        fn bytes_that_are_no_json_string_do_no_harm(raw in prop::collection::vec(prop::sample::select(
            [b"\\\\\\\\u\"ndD80cC".as_slice(), b"\x00\xff\xc3"].concat()), 0..40)) {
            let mut text = Vec::new();
            if unescape(&raw, &mut text) {
                prop_assert!(text.len() <= raw.len());
            }
            decoded_len(&raw, None);
        }
    }
}

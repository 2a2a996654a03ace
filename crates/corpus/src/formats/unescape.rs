//! The escapes of JSON strings that were read once already: how long a text is without them, and the text.

use std::iter;

use memchr::memmem::Finder;

const ONE_IN_EACH_BYTE: u64 = 0x0101_0101_0101_0101;

/// Measures texts by looking at their backslashes only.
pub(crate) struct Escapes {
    doubled: Finder<'static>,
    unicode: Finder<'static>,
    /// What half of a surrogate pair stands for, if anything.
    lone_surrogate: Option<char>,
}

impl Escapes {
    pub(crate) fn new(lone_surrogate: Option<char>) -> Escapes {
        Escapes { doubled: Finder::new(r"\\"), unicode: Finder::new(r"\u"), lone_surrogate }
    }

    /// The length of a raw JSON string when decoded; `None` where an escape is half of a surrogate pair and may not be.
    ///
    /// The string is valid, so that every second backslash of a run is escaped by the one before it.
    pub(crate) fn decoded_len(&self, raw: &[u8]) -> Option<usize> {
        let mut n_escapes = memchr::memchr_iter(b'\\', raw).count();
        if n_escapes == 0 {
            return Some(raw.len());
        }
        let mut at = 0;
        while let Some(found) = self.doubled.find(&raw[at..]) {
            at += found;
            let n = raw[at..].iter().take_while(|&&b| b == b'\\').count();
            n_escapes -= n / 2;
            at += n;
        }
        // Escapes of two bytes stand for one; the others are counted anew.
        let mut n_bytes = raw.len() - n_escapes;
        at = 0;
        while let Some(found) = self.unicode.find(&raw[at..]) {
            at += found;
            let n_before = raw[..at].iter().rev().take_while(|&&b| b == b'\\').count();
            if n_before % 2 == 1 {
                at += 2;
                continue;
            }
            while raw[at..].starts_with(br"\u") {
                let (c, len) = unicode_escape(&raw[at..])?;
                let n_units = len / 6;
                n_bytes = n_bytes - (len - n_units) + c.or(self.lone_surrogate)?.len_utf8();
                at += len;
            }
        }
        Some(n_bytes)
    }
}

/// Decodes a raw JSON string into `text`, with U+FFFD for half of a surrogate pair; false where it is not JSON.
pub(crate) fn unescape(raw: &[u8], text: &mut Vec<u8>) -> bool {
    // A text is never longer than its raw form, so each byte has its place beforehand.
    text.resize(raw.len(), 0);
    let (mut at, mut end) = (0, 0);
    while at < raw.len() {
        if let (Some(from), Some(to)) = (raw[at..].first_chunk::<8>(), text[end..].first_chunk_mut()) {
            *to = *from;
            // Asked apart from where it is, the usual answer "none" is foreseen and nothing waits for it.
            let marks = backslashes(*from);
            if marks == 0 {
                (at, end) = (at + 8, end + 8);
                continue;
            }
            let n = marks.trailing_zeros() as usize / 8;
            (at, end) = (at + n, end + n);
        } else if raw[at] != b'\\' {
            text[end] = raw[at];
            (at, end) = (at + 1, end + 1);
            continue;
        }
        if let Some(byte) = raw.get(at + 1).and_then(|&letter| short_escape(letter)) {
            text[end] = byte;
            (at, end) = (at + 2, end + 1);
        } else if let Some((c, n)) = unicode_escape(&raw[at..]) {
            end += c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut text[end..]).len();
            at += n;
        } else {
            return false;
        }
    }
    text.truncate(end);
    true
}

/// A mark in the highest bit of each byte that is a backslash; above the first, marks may be wrong. A byte is zero where
/// it borrows on subtraction and did not have its high bit set (Warren, Hacker's Delight, section 6-1).
fn backslashes(bytes: [u8; 8]) -> u64 {
    let zero_where_found = u64::from_le_bytes(bytes) ^ (ONE_IN_EACH_BYTE * u64::from(b'\\'));
    zero_where_found.wrapping_sub(ONE_IN_EACH_BYTE) & !zero_where_found & (ONE_IN_EACH_BYTE << 7)
}

/// What a backslash and this letter stand for, where nothing else belongs to the escape.
fn short_escape(letter: u8) -> Option<u8> {
    match letter {
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'b' => Some(8),
        b'f' => Some(12),
        b'"' | b'\\' | b'/' => Some(letter),
        _ => None,
    }
}

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
        fn texts_and_their_lengths_are_those_of_serde_json(parts in prop::collection::vec(part(), 0..30)) {
            let raw = parts.concat();
            let (expected, has_lone_surrogate) = naive(&raw);
            let mut text = b"left over".to_vec();
            prop_assert!(unescape(raw.as_bytes(), &mut text));
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), &expected);
            let len = Escapes::new(None).decoded_len(raw.as_bytes());
            prop_assert_eq!(len, (!has_lone_surrogate).then_some(expected.len()));
            let len = Escapes::new(Some(char::REPLACEMENT_CHARACTER)).decoded_len(raw.as_bytes());
            prop_assert_eq!(len, Some(expected.len()));
        }

        #[test]
        fn bytes_that_are_no_json_string_do_no_harm(raw in prop::collection::vec(prop::sample::select(
            [b"\\\\\\\\u\"ndD80cC".as_slice(), b"\x00\xff\xc3"].concat()), 0..40)) {
            let mut text = Vec::new();
            if unescape(&raw, &mut text) {
                prop_assert!(text.len() <= raw.len());
            }
            Escapes::new(None).decoded_len(&raw);
        }
    }

    #[test]
    fn the_first_backslash_of_eight_bytes_is_found() {
        assert_eq!(backslashes(*b"abcdefgh"), 0);
        assert_eq!(backslashes([0xff, 0xdc, 0, 0x5d, 0x5b, 1, 0x80, 0x7f]), 0);
        for i in 0..8 {
            for filler in [0_u8, 0x5b, 0x5d, 0xdc, 0xff] {
                let mut bytes = [filler; 8];
                bytes[i] = b'\\';
                assert_eq!(backslashes(bytes).trailing_zeros(), 8 * i as u32 + 7);
                bytes[7] = b'\\';
                assert_eq!(backslashes(bytes).trailing_zeros(), 8 * i as u32 + 7);
            }
        }
    }
}

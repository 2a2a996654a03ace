//! How a found secret is named in a report: by default through a keyed hash, its first two characters and its
//! length, so that two reports with one key can be compared and neither tells the secret.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::printable::PrintableLine;

/// Whether findings are written in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    /// Type, keyed hash, first characters, length.
    Redacted,
    /// The text as well. Only when the person asked for it, and only into files that nobody else can read.
    Revealed,
}

/// Names findings with a key that stays with the run.
///
/// The name is HMAC-SHA-256 (RFC 2104) under the key: without the key a short secret cannot be found by trying
/// all of them, as it could with a bare hash. The key is an input of the report: one key, one name for a text.
#[derive(Clone)]
pub struct Redactor {
    key: [u8; 32],
    reveal: Reveal,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").field("reveal", &self.reveal).finish_non_exhaustive()
    }
}

impl Redactor {
    /// A redactor with 32 random bytes as key; the caller keeps them in the run folder, mode 0600.
    pub fn new(key: [u8; 32], reveal: Reveal) -> Redactor {
        Redactor { key, reveal }
    }

    /// What a report says of `text`, a finding of type `kind` (`pii`, `random`, `match`, ...).
    pub fn show(&self, kind: &str, text: &str) -> Shown {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        let n_chars = text.chars().count();
        // Two characters of a very short secret would be most of it.
        let start = text.chars().take(2.min(n_chars / 4)).collect();
        let name = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let text = (self.reveal == Reveal::Revealed).then(|| text.to_owned());
        Shown { kind: kind.to_owned(), name, start, n_chars: n_chars as u64, text }
    }
}

/// A found text as a report shows it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// What kind of text it is.
    pub kind: String,
    /// The first 64 bits of its keyed hash, in hexadecimal.
    pub name: String,
    /// Its first two characters; fewer when it has fewer than eight.
    pub start: String,
    /// Its length in characters.
    pub n_chars: u64,
    /// The text itself, only where the person asked to reveal it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Debug for Shown {
    /// Leaves the text out even when it is revealed: a log line must never carry it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shown")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Shown {
    /// The text where it is revealed, else its beginning and an ellipsis; always on one line and printable.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(formatter, "{}", PrintableLine(text)),
            None => write!(formatter, "{}…", PrintableLine(&self.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_hmac_sha_256() {
        // RFC 4231, test case 2 has the key "Jefe"; a key shorter than the block is padded with zeros, so the
        // same key as 32 bytes gives the same digest 5bdcc146bf60754e...
        let mut key = [0_u8; 32];
        key[..4].copy_from_slice(b"Jefe");
        let shown = Redactor::new(key, Reveal::Redacted).show("random", "what do ya want for nothing?");
        assert_eq!(shown.name, "5bdcc146bf60754e");
        assert_eq!((shown.start.as_str(), shown.n_chars), ("wh", 28));
    }

    #[test]
    fn a_redacted_finding_tells_two_characters_at_most() {
        let redactor = Redactor::new([7; 32], Reveal::Redacted);
        let shown = redactor.show("pii", "Jane Roe, 555-0199");
        let everything = format!("{shown} {shown:?} {redactor:?} {}", serde_json::to_string(&shown).unwrap());
        assert!(!everything.contains("Jan") && !everything.contains("555"), "{everything}");
        assert_eq!(redactor.show("pii", "4711").start, "4");
        assert_eq!(redactor.show("pii", "").start, "");
        let other = Redactor::new([8; 32], Reveal::Redacted).show("pii", "Jane Roe, 555-0199");
        assert_ne!(shown.name, other.name, "the key must matter");
    }

    #[test]
    fn a_revealed_finding_is_printable_and_stays_out_of_logs() {
        let shown = Redactor::new([7; 32], Reveal::Revealed).show("match", "a\u{1b}[31m\nb");
        assert_eq!(shown.to_string(), r"a\u{1b}[31m\nb");
        assert!(!format!("{shown:?}").contains("[31m"));
        assert_eq!(shown.text.as_deref(), Some("a\u{1b}[31m\nb"));
    }
}

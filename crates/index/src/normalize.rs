//! Named normalisation steps that are applied in the order in which they are listed.
//!
//! A step changes what counts as equal, never what is written: survivors are copied byte for byte.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};

use crate::error::{Error, Result};

/// One normalisation step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Unicode canonical composition.
    Nfc,
    /// Unicode compatibility composition: ligatures, full-width forms and superscripts become plain.
    Nfkc,
    /// Lower case, character by character; final sigma becomes sigma. `ß` and `ss` stay different.
    Casefold,
    /// Each run of Unicode white space becomes one space; none is left at either end.
    Whitespace,
    /// Punctuation, symbols and control characters become a space, so that the words they part stay parted.
    Punctuation,
    /// Each numeric character of any script becomes `0`.
    Digits,
    /// Marks of the combining diacritical blocks are dropped. Vowel signs of Indic scripts and the voicing
    /// marks of Japanese make other letters, not accents, and stay.
    Diacritics,
}

impl Step {
    /// Every step, in the order in which help texts list them.
    pub const ALL: [Step; 7] = [
        Step::Nfc,
        Step::Nfkc,
        Step::Casefold,
        Step::Whitespace,
        Step::Punctuation,
        Step::Digits,
        Step::Diacritics,
    ];

    /// The name used on the command line and in plans.
    pub fn name(self) -> &'static str {
        match self {
            Step::Nfc => "nfc",
            Step::Nfkc => "nfkc",
            Step::Casefold => "casefold",
            Step::Whitespace => "whitespace",
            Step::Punctuation => "punctuation",
            Step::Digits => "digits",
            Step::Diacritics => "diacritics",
        }
    }

    fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Step::Nfc if text.is_ascii() || is_nfc(text) => Cow::Borrowed(text),
            Step::Nfc => Cow::Owned(text.nfc().collect()),
            Step::Nfkc if text.is_ascii() || is_nfkc(text) => Cow::Borrowed(text),
            Step::Nfkc => Cow::Owned(text.nfkc().collect()),
            Step::Casefold => casefold(text),
            Step::Whitespace => squeeze(text),
            Step::Punctuation => replace(text, is_ascii_punctuation, is_punctuation, b' '),
            Step::Digits => replace(text, |b| b.is_ascii_digit(), |c| c.is_numeric() && c != '0', b'0'),
            Step::Diacritics if text.is_ascii() => Cow::Borrowed(text),
            Step::Diacritics => Cow::Owned(text.nfd().filter(|&c| !is_diacritic(c)).nfc().collect()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Step::ALL
            .into_iter()
            .find(|step| step.name() == name)
            .ok_or_else(|| Error::UnknownStep(name.to_owned()))
    }
}

/// A list of steps, applied in the order given.
///
/// ```
/// use verbatim_index::{Normalizer, Step};
/// let normalizer = Normalizer::new(vec![Step::Casefold, Step::Whitespace]);
/// assert_eq!(normalizer.apply("  Hello\tWORLD "), "hello world");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    /// A normalizer that applies these steps in this order; without steps every text stays as it is.
    pub fn new(steps: Vec<Step>) -> Self {
        Normalizer { steps }
    }

    /// The steps, in the order of application.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The normalised text; borrowed where no step changed anything.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut current = Cow::Borrowed(text);
        for step in &self.steps {
            // A step that changed nothing keeps the text borrowed and costs no copy.
            if let Cow::Owned(changed) = step.apply(&current) {
                current = Cow::Owned(changed);
            }
        }
        current
    }
}

fn casefold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(by_character(
        text,
        |b| b.to_ascii_lowercase(),
        |c, folded| match c {
            // `str::to_lowercase` writes the sigma that ends a word in its final form, so that the same letters
            // would fold differently by their neighbours. One character at a time has no such memory.
            'ς' => push(folded, 'σ'),
            _ => c.to_lowercase().for_each(|c| push(folded, c)),
        },
    ))
}

/// The text with each ASCII character and each other character replaced. Most of most texts is ASCII, for which
/// this is a loop over bytes.
fn by_character(text: &str, ascii: impl Fn(u8) -> u8, other: impl Fn(char, &mut Vec<u8>)) -> String {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii() {
            let n_ascii = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
            replaced.extend(rest.as_bytes()[..n_ascii].iter().map(|&b| ascii(b)));
            rest = &rest[n_ascii..];
        } else {
            other(first, &mut replaced);
            rest = &rest[first.len_utf8()..];
        }
    }
    String::from_utf8(replaced).expect("whole characters were written, and ASCII for ASCII")
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn squeeze(text: &str) -> Cow<'_, str> {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    match squeezed == text {
        true => Cow::Borrowed(text),
        false => Cow::Owned(squeezed),
    }
}

/// The text with each of `which` replaced by an ASCII character; `ascii` answers the same for ASCII.
fn replace(text: &str, ascii: impl Fn(u8) -> bool, which: impl Fn(char) -> bool, by: u8) -> Cow<'_, str> {
    if !text.contains(&which) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(by_character(
        text,
        |b| if ascii(b) { by } else { b },
        |c, replaced| if which(c) { replaced.push(by) } else { push(replaced, c) },
    ))
}

/// Without a branch, so that many bytes are compared at once.
fn is_ascii_punctuation(b: u8) -> bool {
    !(b.is_ascii_alphanumeric() | (b == b' ') | (b'\t'..=b'\r').contains(&b))
}

fn is_punctuation(c: char) -> bool {
    match u8::try_from(c) {
        Ok(b) if b.is_ascii() => is_ascii_punctuation(b),
        _ => !(c.is_alphanumeric() || c.is_whitespace() || is_combining_mark(c)),
    }
}

/// The five blocks of marks that Unicode names "combining diacritical marks".
fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(step: Step, text: &str) -> String {
        step.apply(text).into_owned()
    }

    #[test]
    fn ascii_punctuation_is_what_the_general_question_says() {
        for c in (0..=0x7f_u8).map(char::from) {
            assert_eq!(
                is_punctuation(c),
                !(c.is_alphanumeric() || c.is_whitespace() || is_combining_mark(c))
            );
        }
    }

    #[test]
    fn each_step_does_what_its_name_says() {
        assert_eq!(one(Step::Nfc, "e\u{301}"), "é");
        assert_eq!(one(Step::Nfc, "ﬁ"), "ﬁ");
        assert_eq!(one(Step::Nfkc, "ﬁ Ｗ２ x²"), "fi W2 x2");
        assert_eq!(one(Step::Casefold, "ΣΊΣΥΦΟΣ Straße ÉTÉ"), "σίσυφοσ straße été");
        assert_eq!(one(Step::Whitespace, "\u{a0} a\u{2003}\r\n\tb\u{3000}"), "a b");
        assert_eq!(one(Step::Punctuation, "don't—“stop”, 1+1=2"), "don t  stop   1 1 2");
        assert_eq!(one(Step::Digits, "a1 ٣ ９ ½ 百"), "a0 0 0 0 百");
        assert_eq!(one(Step::Diacritics, "Ärger café Ệ"), "Arger cafe E");
    }

    #[test]
    fn diacritics_leave_other_scripts_readable() {
        // Dropping every mark (category M), as some tools do, would turn these into other words.
        for text in ["हिन्दी की", "ภาษาไทย", "がぎぐ", "한국어", "தமிழ்"]
        {
            assert_eq!(one(Step::Diacritics, text), text);
        }
    }

    #[test]
    fn punctuation_keeps_the_marks_inside_words() {
        assert_eq!(one(Step::Punctuation, "हिन्दी।"), "हिन्दी ");
    }

    #[test]
    fn steps_apply_in_the_order_given() {
        let text = "a,b";
        assert_eq!(Normalizer::new(vec![Step::Punctuation, Step::Whitespace]).apply(" a, b"), "a b");
        assert_eq!(Normalizer::new(vec![Step::Whitespace, Step::Punctuation]).apply(" a, b"), "a  b");
        assert!(matches!(Normalizer::default().apply(text), Cow::Borrowed(_)));
    }

    #[test]
    fn names_round_trip() {
        for step in Step::ALL {
            assert_eq!(step.to_string().parse::<Step>().unwrap(), step);
        }
        assert_eq!(
            "upper".parse::<Step>().unwrap_err().to_string().split(';').next().unwrap(),
            "no normalisation step `upper`"
        );
    }

    proptest! {
        #[test]
        fn every_step_is_idempotent(text in "\\PC{0,40}|[ -~]{0,40}|[a-zÀ-ÿΑ-ω0-9 \u{300}-\u{310}]{0,40}") {
            for step in Step::ALL {
                let once = one(step, &text);
                prop_assert_eq!(&one(step, &once), &once, "{}", step);
            }
        }
    }
}

//! Named normalisation steps that are applied in the order in which they are listed.
//!
//! A step changes what counts as equal, never what is written: survivors are copied byte for byte.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::buffers::Buffers;
use crate::error::{Error, Result};
use crate::pass::Pass;

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

    /// The normalised text; borrowed where the steps changed nothing.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut buffers = Buffers::default();
        match self.apply_in(text, &mut buffers) {
            same if same == text => Cow::Borrowed(text),
            changed => Cow::Owned(changed.to_owned()),
        }
    }

    /// The normalised text in buffers that are used again: no memory is asked for once they are large enough.
    pub fn apply_in<'a>(&self, text: &'a str, buffers: &'a mut Buffers) -> &'a str {
        let Some((first, mut steps)) = Pass::take(&self.steps) else { return text };
        first.write(text, &mut buffers.current);
        while let Some((pass, rest)) = Pass::take(steps) {
            std::mem::swap(&mut buffers.current, &mut buffers.previous);
            pass.write(buffers.previous.text(), &mut buffers.current);
            steps = rest;
        }
        buffers.current.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(step: Step, text: &str) -> String {
        Normalizer::new(vec![step]).apply(text).into_owned()
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

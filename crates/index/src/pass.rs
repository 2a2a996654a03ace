//! Normalisation steps as passes over a text: composing, folding and squeezing are done in a single one.
//!
//! A character of ASCII is a boundary of every normalisation form: nothing composes with what stands before it.
//! Stretches that hold other characters are therefore cut out, from the ASCII character before them to the one
//! behind them, and go character by character; everything else goes in blocks.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};

use crate::buffers::Buffer;
use crate::normalize::Step;
use crate::words::is_space;
use verbatim_store::block::{Block, LEN, block_at, mask, non_ascii};

/// What is done in one pass over a text.
pub(crate) enum Pass {
    /// Composing, folding and squeezing, in this order.
    Fused(Fused),
    /// Any other step.
    Single(Step),
}

impl Pass {
    /// The first pass of a list of steps, and the steps that it leaves; `None` without steps.
    pub(crate) fn take(steps: &[Step]) -> Option<(Pass, &[Step])> {
        let mut fused = Fused::default();
        let mut n_steps = 0;
        for &step in steps {
            match step {
                Step::Nfc | Step::Nfkc if fused == Fused::default() => fused.form = Some(step),
                Step::Casefold if !fused.squeeze => fused.fold = true,
                Step::Whitespace => fused.squeeze = true,
                _ => break,
            }
            n_steps += 1;
        }
        match n_steps {
            0 => steps.split_first().map(|(&step, rest)| (Pass::Single(step), rest)),
            _ => Some((Pass::Fused(fused), &steps[n_steps..])),
        }
    }

    /// Writes the text, changed, in place of what the buffer held.
    pub(crate) fn write(&self, text: &str, out: &mut Buffer) {
        out.clear();
        match self {
            Pass::Fused(fused) => Writer { fused, out, after_space: true }.write(text),
            Pass::Single(Step::Punctuation) => part(text, out),
            Pass::Single(Step::Digits) => {
                text.chars().for_each(|c| out.push(if c.is_numeric() { '0' } else { c }));
            }
            Pass::Single(Step::Diacritics) if !text.is_ascii() => {
                text.nfd().filter(|&c| !is_diacritic(c)).nfc().for_each(|c| out.push(c));
            }
            Pass::Single(_) => out.push_str(text),
        }
    }
}

/// Some of the steps that go together.
#[derive(Default, PartialEq)]
pub(crate) struct Fused {
    /// The composing step.
    form: Option<Step>,
    fold: bool,
    squeeze: bool,
}

/// Plain characters in a row from which on blocks are taken again.
const GAP: usize = 4;

struct Writer<'a> {
    fused: &'a Fused,
    out: &'a mut Buffer,
    /// Whether white space would be a second one, or the first of the text.
    after_space: bool,
}

impl Writer<'_> {
    fn write(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut position = 0;
        while position < bytes.len() {
            let block = block_at(bytes, position);
            let n_left = bytes.len() - position;
            let n_ascii = non_ascii(&block).trailing_zeros() as usize;
            // The last one is held back: what follows may compose with it.
            let n = if n_ascii >= n_left { n_left } else { n_ascii.saturating_sub(1) };
            self.push_block(&block, n);
            position += n;
            if n_ascii < n_left.min(LEN) {
                let start = position;
                position += n_ascii - n;
                while bytes.get(position..position + GAP).is_some_and(|gap| !gap.is_ascii()) {
                    position += GAP;
                }
                if position + GAP > bytes.len() {
                    position = bytes.len();
                }
                self.push_stretch(&text[start..position]);
            }
        }
        if self.fused.squeeze && self.after_space && !self.out.is_empty() {
            self.out.pop_byte();
        }
    }

    /// Appends the first `n` bytes of a block; they are ASCII.
    #[inline(always)]
    fn push_block(&mut self, block: &Block, n: usize) {
        let mut mapped = [0; 2 * LEN];
        let (folded, _) = mapped.split_first_chunk_mut::<LEN>().expect("it is twice as long");
        *folded = *block;
        if self.fused.fold {
            folded.make_ascii_lowercase();
        }
        if !self.fused.squeeze {
            return self.out.push_block(folded, n);
        }
        let spaces = mask(block, is_space);
        folded.iter_mut().for_each(|byte| *byte = if is_space(*byte) { b' ' } else { *byte });
        let taken = u64::MAX.checked_shr((LEN - n) as u32).unwrap_or(0);
        let mut kept = taken & !(spaces & (spaces << 1 | u64::from(self.after_space)));
        if n > 0 {
            self.after_space = spaces >> (n - 1) & 1 == 1;
        }
        if kept == taken {
            return self.out.push_block(folded, n);
        }
        while kept != 0 {
            let start = kept.trailing_zeros() as usize;
            let run = (!(kept >> start)).trailing_zeros() as usize;
            let rest =
                mapped[start..].first_chunk().expect("there is a block behind every byte of the first");
            self.out.push_block(rest, run);
            // Adding its lowest bit to a run carries it out of the way.
            kept &= kept.wrapping_add(1 << start);
        }
    }

    fn push_stretch(&mut self, text: &str) {
        match self.fused.form {
            Some(Step::Nfc) if !is_nfc(text) => text.nfc().for_each(|c| self.push(c)),
            Some(Step::Nfkc) if !is_nfkc(text) => text.nfkc().for_each(|c| self.push(c)),
            _ => text.chars().for_each(|c| self.push(c)),
        }
    }

    #[inline(always)]
    fn push(&mut self, c: char) {
        if self.fused.squeeze && c.is_whitespace() {
            if !self.after_space {
                self.out.push(' ');
            }
            self.after_space = true;
            return;
        }
        self.after_space = false;
        match c {
            _ if !self.fused.fold => self.out.push(c),
            _ if c.is_ascii() => self.out.push(c.to_ascii_lowercase()),
            _ if has_no_case(c) => self.out.push(c),
            // `str::to_lowercase` writes the sigma that ends a word in its final form, so that the same letters
            // would fold differently by their neighbours. One character at a time has no such memory.
            'ς' => self.out.push('σ'),
            _ => c.to_lowercase().for_each(|c| self.out.push(c)),
        }
    }
}

/// True for most characters that are their own lower case, without a search.
fn has_no_case(c: char) -> bool {
    // Hebrew to Myanmar; punctuation; kana, ideographs and Yi; Hangul.
    matches!(c, '\u{590}'..='\u{109F}' | '\u{2000}'..='\u{2100}' | '\u{2E80}'..='\u{A63F}' | '\u{AC00}'..='\u{FAFF}')
}

/// Punctuation becomes spaces: in blocks where the text is ASCII, else character by character.
fn part(text: &str, out: &mut Buffer) {
    let mut position = 0;
    while position < text.len() {
        let mut block = block_at(text.as_bytes(), position);
        let n_ascii = (non_ascii(&block).trailing_zeros() as usize).min(text.len() - position);
        block.iter_mut().for_each(|byte| *byte = if is_ascii_punctuation(*byte) { b' ' } else { *byte });
        out.push_block(&block, n_ascii);
        position += n_ascii;
        for c in text[position..].chars().take_while(|c| !c.is_ascii()) {
            out.push(if is_punctuation(c) { ' ' } else { c });
            position += c.len_utf8();
        }
    }
}

/// [`is_punctuation`] for ASCII.
#[inline(always)]
fn is_ascii_punctuation(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() | is_space(byte))
}

fn is_punctuation(c: char) -> bool {
    !(c.is_alphanumeric() || c.is_whitespace() || is_combining_mark(c))
}

/// The five blocks of marks that Unicode names "combining diacritical marks".
fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Buffers;
    use crate::normalize::Normalizer;
    use proptest::prelude::*;
    use unicode_normalization::char::canonical_combining_class;
    use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfkc_quick};

    /// One step after the other over the whole text, as the steps are described.
    fn naive(steps: &[Step], text: &str) -> String {
        steps.iter().fold(text.to_owned(), |text, step| match step {
            Step::Nfc => text.nfc().collect(),
            Step::Nfkc => text.nfkc().collect(),
            Step::Casefold => {
                text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
            }
            Step::Whitespace => text.split_whitespace().collect::<Vec<_>>().join(" "),
            Step::Punctuation => text.replace(is_punctuation, " "),
            Step::Digits => text.replace(char::is_numeric, "0"),
            Step::Diacritics => text.nfd().filter(|&c| !is_diacritic(c)).nfc().collect(),
        })
    }

    fn check(text: &str, buffers: &mut Buffers) -> std::result::Result<(), TestCaseError> {
        let default = [Step::Nfc, Step::Casefold, Step::Whitespace];
        let lists = (0..=3).map(|n| &default[n..]).chain((0..3).map(|n| &default[..n])).chain([
            &[Step::Casefold, Step::Nfc, Step::Whitespace][..],
            &[Step::Whitespace, Step::Nfkc, Step::Casefold],
            &[
                Step::Nfkc,
                Step::Casefold,
                Step::Diacritics,
                Step::Punctuation,
                Step::Digits,
                Step::Whitespace,
            ],
            &[Step::Nfkc, Step::Nfc, Step::Whitespace, Step::Casefold],
        ]);
        for steps in lists {
            let normalizer = Normalizer::new(steps.to_vec());
            prop_assert_eq!(normalizer.apply_in(text, buffers), naive(steps, text), "{:?}", steps);
        }
        Ok(())
    }

    #[test]
    fn ascii_punctuation_is_what_the_general_question_says() {
        for byte in 0..=0x7f_u8 {
            assert_eq!(is_ascii_punctuation(byte), is_punctuation(char::from(byte)));
        }
    }

    #[test]
    fn characters_taken_as_without_case_have_none() {
        for c in (char::MIN..=char::MAX).filter(|&c| has_no_case(c)) {
            assert!(c.to_lowercase().eq([c]), "{c:?}");
        }
    }

    #[test]
    fn nothing_composes_with_ascii_before_it() {
        // What the cutting rests on. "Yes" for a character alone says that it stays as it is whatever precedes it.
        for ascii in '\0'..='\u{7f}' {
            assert_eq!(is_nfc_quick([ascii].into_iter()), IsNormalized::Yes);
            assert_eq!(is_nfkc_quick([ascii].into_iter()), IsNormalized::Yes);
            assert_eq!(canonical_combining_class(ascii), 0);
        }
    }

    #[test]
    fn texts_of_every_length_are_whole() {
        let mut buffers = Buffers::default();
        for length in 0..=200 {
            for filler in ["x", "X ", " ", "\r\n\t", "e", "É"] {
                for piece in ["", "\u{301}", "e\u{301} ", "\u{a0}", "\u{2028} ", "ﬁ", "İ", "ΌΣ", "床"] {
                    let text = format!("{}{piece}{}", filler.repeat(length), " end".repeat(length % 7));
                    check(&text, &mut buffers).unwrap();
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn passes_equal_the_steps_one_by_one(
            plain in "[aBE1 .\r\n\t\u{b}\u{1c}-]{0,200}",
            mixed in "[eEoA \n\u{300}\u{301}\u{328}\u{338}=<éÅ\u{212b}\u{212a}İΣςﬁ²\u{85}\u{a0}\u{2000}\u{3000}床각\u{1100}\u{1161}क\u{93c}]{0,60}",
            any in any::<String>(),
        ) {
            let mut buffers = Buffers::default();
            for text in [&plain, &mixed, &any, &(plain.clone() + &mixed + &plain), &(mixed.clone() + &any + &plain + &mixed)] {
                check(text, &mut buffers)?;
            }
        }
    }
}

//! Templates of secrets: text with holes, and what may stand in each hole. `{digits:16}` takes sixteen digits, `{yes|no}`
//! one of two words; `{{` and `}}` are braces.

use std::collections::BTreeSet;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};

/// The most slots of a template, which is one for each character of a hole.
const MAX_SLOTS: usize = 1024;

pub(crate) const DIGITS: &str = "0123456789";
pub(crate) const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
pub(crate) const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const HEX: &str = "0123456789abcdef";

/// A text of which a part is open: a fixed beginning, and slots, each of which is filled by one of its alternatives.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    prefix: String,
    slots: Vec<Vec<String>>,
}

impl fmt::Debug for Template {
    /// Leaves the text out: it may lead to a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Template").field("n_slots", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Template {
    /// Reads a template.
    ///
    /// ```
    /// use verbatim_extraction::Template;
    /// let template = Template::parse("the code is {digits:2}-{a|b}.").expect("it has two holes");
    /// assert_eq!(template.n_fillings(), Some(200));
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the column, and without the text.
    pub fn parse(text: &str) -> Result<Template> {
        let (mut prefix, mut slots, mut literal) = (None, Vec::new(), String::new());
        let mut characters = text.chars().zip(1..).peekable();
        while let Some((character, column)) = characters.next() {
            let is_doubled = characters.next_if(|(next, _)| *next == character && "{}".contains(character));
            if is_doubled.is_some() || !"{}".contains(character) {
                literal.push(character);
                continue;
            }
            if character == '}' {
                return Err(bad(column, "a brace that closes nothing; write }} for the character"));
            }
            let mut hole = String::new();
            loop {
                match characters.next() {
                    Some(('}', _)) => break,
                    Some((character, _)) if character != '{' => hole.push(character),
                    _ => return Err(bad(column, "a hole that is not closed; write {{ for the character")),
                }
            }
            let before = std::mem::take(&mut literal);
            match prefix {
                None => prefix = Some(before),
                Some(_) if before.is_empty() => {}
                Some(_) => slots.push(vec![before]),
            }
            slots.extend(parse_hole(&hole, column)?);
            if slots.len() > MAX_SLOTS {
                return Err(bad(column, &format!("more than {MAX_SLOTS} characters in holes")));
            }
        }
        let prefix = prefix.ok_or_else(|| bad(1, "there is no hole, such as {digits:4}"))?;
        if !literal.is_empty() {
            slots.push(vec![literal]);
        }
        Ok(Template { prefix, slots })
    }

    /// A template of slots after a fixed beginning; each slot has at least one alternative, none of them empty.
    pub(crate) fn new(prefix: String, slots: Vec<Vec<String>>) -> Template {
        assert!(slots.iter().all(|slot| !slot.is_empty() && slot.iter().all(|text| !text.is_empty())));
        Template { prefix, slots }
    }

    /// The text before the first hole.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What may stand in each slot; a single alternative is fixed text.
    pub(crate) fn slots(&self) -> &[Vec<String>] {
        &self.slots
    }

    /// What tells it from other templates, without telling it.
    pub fn fingerprint(&self) -> String {
        verbatim_store::xxh3_128_hex(format!("{:?} {:?}", self.prefix, self.slots).as_bytes())
    }

    /// log2 of the number of ways to fill the holes.
    pub fn space_bits(&self) -> f64 {
        self.slots.iter().map(|slot| (slot.len() as f64).log2()).sum()
    }

    /// The number of ways to fill the holes, where 64 bits hold it.
    pub fn n_fillings(&self) -> Option<u64> {
        self.slots.iter().try_fold(1u64, |all, slot| all.checked_mul(slot.len() as u64))
    }

    /// What stands after the prefix in way `number` of [`Template::n_fillings`], the last slot turning fastest.
    pub fn filling(&self, mut number: u64) -> String {
        let mut chosen = Vec::with_capacity(self.slots.len());
        for slot in self.slots.iter().rev() {
            let n = slot.len() as u64;
            chosen.push(slot[(number % n) as usize].as_str());
            number /= n;
        }
        chosen.reverse();
        chosen.concat()
    }

    /// A filling drawn evenly; it depends on the key and the number only.
    pub(crate) fn draw(&self, key: u64, number: u64) -> String {
        let mut chosen = String::new();
        for (slot, at) in self.slots.iter().zip(0u64..) {
            let drawn = xxh3_64_with_seed(&[number.to_le_bytes(), at.to_le_bytes()].concat(), key);
            chosen.push_str(&slot[below(drawn, slot.len())]);
        }
        chosen
    }
}

/// A number below `n` from 64 even bits; the bias is below n / 2^64.
pub(crate) fn below(bits: u64, n: usize) -> usize {
    ((u128::from(bits) * n as u128) >> 64) as usize
}

/// The characters of a kind of hole.
fn characters(kind: &str) -> Option<String> {
    match kind {
        "digits" => Some(DIGITS.to_owned()),
        "lower" => Some(LOWER.to_owned()),
        "upper" => Some(UPPER.to_owned()),
        "letters" => Some([UPPER, LOWER].concat()),
        "alnum" => Some([DIGITS, UPPER, LOWER].concat()),
        "hex" => Some(HEX.to_owned()),
        _ => None,
    }
}

fn parse_hole(hole: &str, column: usize) -> Result<Vec<Vec<String>>> {
    if hole.contains('|') {
        let alternatives: Vec<String> = hole.split('|').map(str::to_owned).collect();
        if alternatives.iter().any(String::is_empty) {
            return Err(bad(column, "an alternative that is empty"));
        }
        if alternatives.iter().collect::<BTreeSet<_>>().len() < alternatives.len() {
            return Err(bad(column, "an alternative that is named twice"));
        }
        return Ok(vec![alternatives]);
    }
    let unknown = || {
        bad(
            column,
            "a hole is {digits:N}, {letters:N}, {lower:N}, {upper:N}, {alnum:N}, {hex:N} or {one|another}",
        )
    };
    let (kind, number) = hole.split_once(':').ok_or_else(unknown)?;
    let alphabet = characters(kind).ok_or_else(unknown)?;
    let n: usize = number.parse().map_err(|_| unknown())?;
    if n == 0 || n > MAX_SLOTS {
        return Err(bad(column, &format!("a hole takes 1 to {MAX_SLOTS} characters")));
    }
    Ok(vec![alphabet.chars().map(String::from).collect(); n])
}

fn bad(column: usize, cause: &str) -> Error {
    Error::InvalidArgument(format!("template, column {column}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let template = Template::parse(text).unwrap();
        let all = 0..template.n_fillings().unwrap();
        all.map(|number| format!("{}{}", template.prefix(), template.filling(number))).collect()
    }

    #[test]
    fn every_filling_is_there_once_and_in_order() {
        assert_eq!(texts("x{a|bc}-{0|1}."), ["xa-0.", "xa-1.", "xbc-0.", "xbc-1."]);
        let thousand = texts("{digits:3}");
        assert_eq!((thousand.len(), &thousand[7][..], &thousand[420][..]), (1000, "007", "420"));
        assert_eq!(texts("{{{hex:1}}}").len(), 16);
        assert_eq!(texts("{{{hex:1}}}")[10], "{a}");
        let sizes = ["letters", "lower", "upper", "alnum", "hex", "digits"]
            .map(|kind| Template::parse(&format!("{{{kind}:1}}")).unwrap().n_fillings());
        assert_eq!(sizes, [52, 26, 26, 62, 16, 10].map(Some));
    }

    #[test]
    fn spaces_beyond_64_bits_have_bits_all_the_same() {
        let template = Template::parse("card {digits:16}, key {hex:32}").unwrap();
        assert_eq!(template.n_fillings(), None);
        assert!((template.space_bits() - (16.0 * 10f64.log2() + 128.0)).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_column_and_without_its_text() {
        for (text, column) in [
            ("secret words", 1),
            ("", 1),
            ("secret {digits:0}", 8),
            ("secret {digits:x}", 8),
            ("secret {digits}", 8),
            ("secret {digits:4096}", 8),
            ("secret {emails:2}", 8),
            ("secret {a||b}", 8),
            ("secret {a|a}", 8),
            ("secret {digits:2", 8),
            ("secret {a|{b}", 8),
            ("secret }", 8),
            ("secret {digits:1000}{digits:1000}", 21),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with(&format!("template, column {column}: ")), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn draws_are_even_and_depend_on_key_and_number_only() {
        let template = Template::parse("n{digits:1}{a|b}").unwrap();
        let drawn: Vec<String> = (0..2000).map(|number| template.draw(5, number)).collect();
        assert_eq!(drawn[77], template.draw(5, 77));
        assert_ne!(drawn[..20], (0..20).map(|number| template.draw(6, number)).collect::<Vec<_>>());
        for number in 0..20 {
            let filling = template.filling(number);
            let count = drawn.iter().filter(|one| **one == filling).count();
            // Six standard deviations of a binomial with n = 2000 and p = 1/20.
            assert!(count.abs_diff(100) < 59, "{filling}: {count}");
        }
    }
}

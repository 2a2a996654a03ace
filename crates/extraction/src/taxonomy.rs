//! Why a text may have been memorized, after Prashanth et al. 2024 ("Recite, Reconstruct, Recollect"): because it stands
//! often, because it has a pattern, or for neither reason. Says nothing of why a model really said it.

use serde::{Deserialize, Serialize};

/// A text that stands more often than this in the corpus is recited (Prashanth et al. 2024, section 4).
///
/// The paper counts duplicates of a sequence of 64 tokens; here it is the longest match that is counted, which stands
/// at most as often as any part of it.
const MOST_RARE_OCCURRENCES: u64 = 5;
/// Of a pattern at least this many repeats must stand.
const LEAST_REPEATS: usize = 3;
/// The longest period of a counting pattern, in words and marks; so that a text is looked at a bounded number of times.
const MOST_COUNTING_PERIOD: usize = 64;

/// The kinds of memorized texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// It stands in the corpus more than five times.
    Recite,
    /// It stands there less often, but repeats itself or counts on: who knows its beginning knows the rest.
    Reconstruct,
    /// Neither.
    Recollect,
}

impl Category {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Category::Recite => "recite",
            Category::Reconstruct => "reconstruct",
            Category::Recollect => "recollect",
        }
    }
}

/// The category of a memorized text that stands so often in the corpus.
pub(crate) fn category(text: &[u8], n_occurrences: u64) -> Category {
    if n_occurrences > MOST_RARE_OCCURRENCES {
        Category::Recite
    } else if repeats(text) || counts_on(text) {
        Category::Reconstruct
    } else {
        Category::Recollect
    }
}

/// Whether a text is one string again and again, three times at least; the last may be cut.
fn repeats(text: &[u8]) -> bool {
    text.len() >= LEAST_REPEATS && period(text) <= text.len() / LEAST_REPEATS
}

/// The least distance at which a text equals itself, by the borders of its prefixes (Knuth, Morris and Pratt 1977).
fn period(text: &[u8]) -> usize {
    let mut borders = vec![0; text.len()];
    for i in 1..text.len() {
        let mut border: usize = borders[i - 1];
        while border > 0 && text[border] != text[i] {
            border = borders[border - 1];
        }
        borders[i] = border + usize::from(text[border] == text[i]);
    }
    text.len() - borders.last().copied().unwrap_or(0)
}

/// Whether the words, numbers and marks of a text repeat with a period up to a third of their number, but for numbers
/// and single letters, which may grow or fall by the same each time. A match may cut its first and its last word, so
/// that these need not fit.
fn counts_on(text: &[u8]) -> bool {
    let units = units(text);
    let inner = units.get(1..units.len().saturating_sub(1)).unwrap_or_default();
    [&units[..], inner].into_iter().any(|units| {
        let most = (units.len() / LEAST_REPEATS).min(MOST_COUNTING_PERIOD);
        (1..=most).any(|period| counts_on_by(units, period))
    })
}

/// Whether each unit goes on as the one a period before it did.
fn counts_on_by(units: &[Unit<'_>], period: usize) -> bool {
    let mut steps = units.iter().zip(&units[period..]).map(|(one, next)| one.step(next));
    let mut last: Vec<i64> = Vec::with_capacity(period);
    for _ in 0..period {
        let Some(Some(step)) = steps.next() else { return false };
        last.push(step);
    }
    steps.enumerate().all(|(i, step)| step == Some(last[i % period]))
}

/// A word, a number or a mark.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit<'a> {
    Number(i64),
    Letter(u8),
    Text(&'a [u8]),
}

impl<'a> Unit<'a> {
    fn of(run: &'a [u8]) -> Unit<'a> {
        match run {
            [letter] if letter.is_ascii_alphabetic() => Unit::Letter(*letter),
            [b'0'..=b'9', ..] if run.len() <= MOST_DIGITS => {
                Unit::Number(run.iter().fold(0, |number, digit| 10 * number + i64::from(digit - b'0')))
            }
            run => Unit::Text(run),
        }
    }

    /// By how much the next one is greater; none where it is something else.
    fn step(&self, next: &Unit<'_>) -> Option<i64> {
        match (self, next) {
            (Unit::Number(one), Unit::Number(next)) => Some(next - one),
            (Unit::Letter(one), Unit::Letter(next)) => Some(i64::from(*next) - i64::from(*one)),
            (Unit::Text(one), Unit::Text(next)) => (one == next).then_some(0),
            _ => None,
        }
    }
}

/// The most digits of a number that is counted with; longer ones are words.
const MOST_DIGITS: usize = 18;

/// The units of a text: runs of digits, runs of letters, every other byte by itself; white space only parts them.
fn units(text: &[u8]) -> Vec<Unit<'_>> {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => 1,
        byte if byte.is_ascii_whitespace() => 2,
        _ => 3,
    };
    let runs = text.chunk_by(|one, next| class(*one) == class(*next) && class(*one) != 3);
    runs.filter(|run| class(run[0]) != 2).map(Unit::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rare(text: &str) -> Category {
        category(text.as_bytes(), 1)
    }

    #[test]
    fn more_than_five_occurrences_are_recited_whatever_the_text() {
        for text in ["a a a a a a", "It was a dark and stormy night."] {
            assert_eq!(category(text.as_bytes(), 6), Category::Recite);
            assert_ne!(category(text.as_bytes(), 5), Category::Recite);
        }
    }

    #[test]
    fn what_repeats_or_counts_on_is_reconstructed() {
        let reconstructed = [
            "na na na na na",
            "------------------------",
            "=-=-=-=-=-=",
            "all work and no play. all work and no play. all work and no play. all wo",
            "ork and no play. all work and no play. all work and no play. all work and",
            "1, 2, 3, 4, 5, 6",
            "10 20 30 40 50",
            "9, 8, 7, 6, 5",
            "A B C D E F",
            "a) one b) one c) one d) one",
            "Chapter 1\nChapter 2\nChapter 3\nChapter 4",
            "x1 = 10; x2 = 20; x3 = 30; x4 = 40;",
            "img_0098.png img_0099.png img_0100.png img_0101.png",
            // The match cuts the number before and the word after.
            "7 item 18 item 19 item 20 item 21 item 22 it",
        ];
        for text in reconstructed {
            assert_eq!(rare(text), Category::Reconstruct, "{text}");
        }
    }

    #[test]
    fn what_has_no_pattern_is_recollected() {
        let recollected = [
            "",
            "a",
            "ab",
            "It was a dark and stormy night; the rain fell in torrents.",
            "1, 2, 4, 8, 16, 32",
            "one two one two one",
            "1 2 3 5 6 7 9",
            "3.14159265358979323846",
            "My card number is 4929-1181-7730-5562, valid thru 09/31.",
            "1234567890123456789 1234567890123456790 1234567890123456791",
        ];
        for text in recollected {
            assert_eq!(rare(text), Category::Recollect, "{text}");
        }
    }

    /// The period by its definition, over texts of two letters, where periods are everywhere.
    #[test]
    fn the_period_is_the_least_shift_that_fits() {
        let mut n_repeating = 0;
        for bits in 0..1_u32 << 12 {
            for len in [0, 1, 2, 3, 7, 12] {
                let text: Vec<u8> = (0..len).map(|i| b'a' + (bits >> i & 1) as u8).collect();
                let naive = (1..=len).find(|shift| text[*shift..] == text[..len - shift]).unwrap_or(0);
                assert_eq!(period(&text), naive, "{text:?}");
                n_repeating += u32::from(len == 12 && repeats(&text));
            }
        }
        assert_eq!(n_repeating, 2 + 2 + 6 + 12, "of periods 1, 2, 3 and 4");
    }

    /// Counting patterns by their definition: in each class of places the units are one text or an arithmetic series.
    #[test]
    fn a_pattern_is_an_arithmetic_series_in_each_of_its_places() {
        let alphabet = ["1", "2", "3", "a", "b", "xy"];
        let naive = |words: &[&str]| {
            (1..=words.len() / 3).any(|period| {
                (0..period).all(|place| {
                    let class: Vec<&str> = words.iter().skip(place).step_by(period).copied().collect();
                    let value = |word: &str| match word {
                        "xy" => None,
                        word => Some(i64::from(word.as_bytes()[0])),
                    };
                    let is_letter = |word: &&str| word.as_bytes()[0].is_ascii_alphabetic();
                    let is_one_kind = class.iter().all(is_letter) || !class.iter().any(is_letter);
                    let is_series = class.windows(3).all(|three| {
                        let [a, b, c] = [value(three[0]), value(three[1]), value(three[2])];
                        matches!((a, b, c), (Some(a), Some(b), Some(c)) if b - a == c - b)
                    });
                    class.iter().all(|word| *word == class[0]) || (is_one_kind && is_series)
                })
            })
        };
        let mut n_patterns = 0;
        for number in 0..6_u32.pow(6) {
            let words: Vec<&str> = (0..6).map(|i| alphabet[(number / 6_u32.pow(i) % 6) as usize]).collect();
            let text = words.join(" ");
            let expected = naive(&words) || naive(&words[1..5]);
            assert_eq!(counts_on(text.as_bytes()), expected, "{text}");
            n_patterns += u32::from(expected);
        }
        assert!((100..6_u32.pow(6) / 10).contains(&n_patterns), "{n_patterns}");
    }

    #[test]
    fn a_long_text_takes_no_quadratic_time() {
        for text in ["1 ".repeat(1 << 20), "ab".repeat(1 << 20) + "c", "1 2 ".repeat(1 << 19) + "x y"] {
            category(text.as_bytes(), 1);
        }
    }
}

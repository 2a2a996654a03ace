//! PAC: variants of a text with words swapped.

use verbatim_lm::{Error, Passage};

use super::{Asking, Read, passage, scored};
use crate::random::Draw;
use crate::signal;

/// Variants of a text (Ye et al. 2024).
const N_VARIANTS: u64 = 5;

/// Swaps for each word of a text (Ye et al. 2024, alpha).
const SWAPS_PER_WORD: f64 = 0.3;

/// The shares of the highest and of the lowest log-probabilities (Ye et al. 2024).
const FAR_AND_NEAR: (f64, f64) = (0.05, 0.3);

/// PAC of each text, none for one of fewer than two words.
pub(super) fn signals(asking: &Asking<'_>, texts: &[Read]) -> Result<Vec<Option<f64>>, Error> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut ends = Vec::new();
    for read in texts {
        passages.push(read.passage.clone());
        let variants = (0..N_VARIANTS).filter_map(|variant| {
            let stream = super::SWAPS + read.number * N_VARIANTS + variant;
            swapped(&read.text, &mut Draw::new(asking.seed, stream))
        });
        passages.extend(variants.map(|text| passage(asking.target, &asking.target.tokenizer.encode(&text))));
        ends.push(passages.len());
    }
    let records = scored(asking, &passages)?;
    let (far, near) = FAR_AND_NEAR;
    let distances: Vec<Option<f64>> =
        records.iter().map(|records| signal::polarized_distance(records.as_deref()?, far, near)).collect();
    let mut first = 0;
    let of_text = |end: usize| {
        let of_text = &distances[std::mem::replace(&mut first, end)..end];
        let variants: Option<Vec<f64>> = of_text[1..].iter().copied().collect();
        signal::pac(of_text[0]?, &variants?)
    };
    Ok(ends.into_iter().map(of_text).collect())
}

/// A text with pairs of its words swapped, drawn by chance one after the other; white space stays. None with fewer than two
/// words.
fn swapped(text: &str, draw: &mut Draw) -> Option<String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < 2 {
        return None;
    }
    let n_swaps = ((words.len() as f64 * SWAPS_PER_WORD) as usize).max(1);
    for _ in 0..n_swaps {
        let first = draw.index(words.len());
        let second = (first + 1 + draw.index(words.len() - 1)) % words.len();
        words.swap(first, second);
    }
    let mut swapped = String::with_capacity(text.len());
    let mut rest = text;
    for (own, other) in text.split_whitespace().zip(words) {
        let gap = rest.len() - rest.trim_start().len();
        swapped.push_str(&rest[..gap]);
        swapped.push_str(other);
        rest = &rest[gap + own.len()..];
    }
    swapped.push_str(rest);
    Some(swapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_words_are_those_of_the_text_in_another_order_with_its_white_space() {
        let text = "  one two\u{a0}three\nfour  five six seven ";
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        let gaps = |text: &str| text.chars().filter(|c| c.is_whitespace()).collect::<String>();
        let mut seen = std::collections::BTreeSet::new();
        for stream in 0..20 {
            let found = swapped(text, &mut Draw::new(1, stream)).unwrap();
            assert_eq!((sorted(&found), gaps(&found)), (sorted(text), gaps(text)));
            let n_moved =
                found.split_whitespace().zip(text.split_whitespace()).filter(|(a, b)| a != b).count();
            // Seven words: two swaps.
            assert!(n_moved <= 4, "{found}");
            seen.insert(found);
        }
        assert!(seen.len() > 10);
        assert_eq!(swapped("a b", &mut Draw::new(1, 0)).as_deref(), Some("b a"));
        assert_eq!([swapped("one", &mut Draw::new(1, 0)), swapped(" ", &mut Draw::new(1, 0))], [None, None]);
    }
}

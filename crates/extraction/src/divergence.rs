//! Where samples of prompts that repeat a word leave off repeating it (Nasr et al. 2023, section 5).

use verbatim_lm::Tokenizer;

use crate::draw::DrawnSample;
use crate::prompts::Strategy;

/// The most tokens of what a prompt repeats.
const MOST_TOKENS: usize = 8;

/// How often, at least, it must stand in a row at the prompt's end.
const FEWEST_REPEATS: usize = 4;

/// What became of the repetition that a prompt asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// How the sample was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// The first token that does not go on with the repetition; none where the sample ends before there is one.
    pub stops_at: Option<u64>,
}

/// The samples whose prompts end in a repetition, with the place at which each leaves it.
///
/// A repetition is the same one to eight tokens four times in a row or more, with a letter or a digit among them. Samples
/// that failed are left out.
pub fn divergences(drawn: &[DrawnSample], tokenizer: &Tokenizer) -> Vec<Divergence> {
    let divergence = |sample: &DrawnSample| {
        let unit = repeated(&sample.prompt, tokenizer)?;
        let expected = unit.iter().cycle();
        let stop = sample.tokens.iter().zip(expected).position(|(token, expected)| token != expected);
        let stops_at = stop.map(|stop| stop as u64);
        Some(Divergence { strategy: sample.strategy, index: sample.index, stops_at })
    };
    drawn.iter().filter(|sample| sample.error.is_none()).filter_map(divergence).collect()
}

/// The fewest tokens that the end of a prompt repeats.
fn repeated<'a>(prompt: &'a [u32], tokenizer: &Tokenizer) -> Option<&'a [u32]> {
    let repeats = |n: &usize| {
        let tail = prompt.len().checked_sub(FEWEST_REPEATS * n).map(|start| &prompt[start..]);
        tail.is_some_and(|tail| tail[*n..] == tail[..tail.len() - n])
    };
    let unit = (1..=MOST_TOKENS).find(repeats).map(|n| &prompt[prompt.len() - n..])?;
    let text = tokenizer.decode(unit);
    String::from_utf8_lossy(&text).contains(char::is_alphanumeric).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{sample, tokenizer};

    fn stops(prompt: &str, continuation: &str) -> Option<Option<u64>> {
        let drawn = DrawnSample { prompt: tokenizer().encode(prompt), ..sample(3, continuation) };
        let found = divergences(&[drawn], tokenizer());
        found.first().map(|found| found.stops_at)
    }

    #[test]
    fn a_sample_diverges_at_the_first_token_that_is_not_repeated() {
        let n = |text: &str| tokenizer().encode(text).len() as u64;
        let prompt = "Say it: poem poem poem poem poem";
        assert_eq!(stops(prompt, " poem poem poem poem"), Some(None));
        assert_eq!(stops(prompt, ""), Some(None));
        assert_eq!(stops(prompt, " poem poem and then"), Some(Some(n(" poem poem"))));
        assert_eq!(stops(prompt, "!"), Some(Some(0)));
        // Half a word is a part of a repetition.
        assert_eq!(stops(prompt, " poem po"), Some(None));
        assert_eq!(stops("7 7 7 7 7 7", " 7 7 8"), Some(Some(n(" 7 7 "))));
    }

    #[test]
    fn prompts_that_repeat_nothing_are_left_alone() {
        for prompt in ["The vault code is", "a b a b c", "poem poem poem", "- - - - - - -", "", "    "] {
            assert_eq!(stops(prompt, "poem"), None, "{prompt:?}");
        }
        let failed = DrawnSample {
            prompt: tokenizer().encode("one one one one one"),
            error: Some("broken".to_owned()),
            ..sample(3, "x")
        };
        assert!(divergences(&[failed], tokenizer()).is_empty());
    }

    #[test]
    fn every_shipped_prompt_of_divergence_is_a_repetition_and_no_other_is() {
        let texts = |file: &str| crate::parse_prompts(file);
        let tokens = |text: &String| tokenizer().encode(text);
        for text in texts(include_str!("../../../prompts/divergence.txt")) {
            assert!(repeated(&tokens(&text), tokenizer()).is_some(), "{text}");
        }
        for text in texts(include_str!("../../../prompts/internet.txt")) {
            assert!(repeated(&tokens(&text), tokenizer()).is_none(), "{text}");
        }
    }
}

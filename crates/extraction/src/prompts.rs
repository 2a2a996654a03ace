//! What a model is asked to continue: the strategies, and the prompts of the conditioned one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Temperature, Tokenizer};

use crate::error::{Error, Result};

/// How samples are drawn (Carlini et al. 2021, sections 4.1 and 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// From the end-of-text token, among the most likely tokens, at temperature 1.
    TopN,
    /// As `TopN`, at a temperature that decays from 10 to 1 over the first 20 tokens.
    DecayingTemperature,
    /// As `TopN`, but continuing prompts, taken in turn.
    Conditioned,
}

impl Strategy {
    /// All strategies, in the order of reports.
    pub const ALL: [Strategy; 3] = [Strategy::TopN, Strategy::DecayingTemperature, Strategy::Conditioned];

    /// The name in files, reports and flags.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::TopN => "top-n",
            Strategy::DecayingTemperature => "decaying-temperature",
            Strategy::Conditioned => "conditioned",
        }
    }

    pub(crate) fn temperature(self) -> Temperature {
        match self {
            Strategy::DecayingTemperature => Temperature::Decaying { from: 10.0, to: 1.0, over_tokens: 20 },
            Strategy::TopN | Strategy::Conditioned => Temperature::Fixed(1.0),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name).ok_or_else(|| {
            let names = Strategy::ALL.map(Strategy::name).join(", ");
            Error::InvalidArgument(format!("no strategy `{name}`; there are {names}"))
        })
    }
}

/// The prompts of a file: one a line, without the line ends; an empty line is the empty prompt.
///
/// ```
/// assert_eq!(verbatim_extraction::parse_prompts("My address is\r\n\nOnce\n"), ["My address is", "", "Once"]);
/// ```
pub fn parse_prompts(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The tokens of a prompt; the empty prompt is the token that begins a text.
pub(crate) fn prompt_tokens(prompt: &str, tokenizer: &Tokenizer, start: Option<u32>) -> Result<Vec<u32>> {
    let tokens = tokenizer.encode(prompt);
    match start {
        _ if !tokens.is_empty() => Ok(tokens),
        Some(start) => Ok(vec![start]),
        None => Err(Error::InvalidArgument(
            "the model has no token that begins a text, so it needs prompts; choose the conditioned strategy alone"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse::<Strategy>().unwrap(), strategy);
            assert_eq!(serde_json::to_string(&strategy).unwrap(), format!("\"{strategy}\""));
        }
        assert_eq!("beam".parse::<Strategy>().unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_temperature_decays_from_ten_to_one_over_twenty_tokens() {
        let temperature = Strategy::DecayingTemperature.temperature();
        assert_eq!(temperature.at(0), 10.0);
        assert_eq!(temperature.at(10), 5.5);
        assert_eq!((temperature.at(20), temperature.at(200)), (1.0, 1.0));
    }

    #[test]
    fn the_shipped_prompts_are_one_a_line() {
        let internet = parse_prompts(include_str!("../../../prompts/internet.txt"));
        let divergence = parse_prompts(include_str!("../../../prompts/divergence.txt"));
        assert_eq!((internet.len(), divergence.len()), (100, 50), "as prompts/README.md says");
        for prompt in internet.iter().chain(&divergence) {
            assert!(!prompt.is_empty() && prompt.trim_end() == prompt, "{prompt:?}");
        }
        assert_eq!(parse_prompts(include_str!("../../../prompts/empty.txt")), [""]);
    }
}

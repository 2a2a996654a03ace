//! A model whose every probability can be worked out by hand, for the tests of what is asked of it.

use verbatim_lm::{Error, Ngram, Resources, TextModel, Tokenizer};
use verbatim_store::{Scratch, Silent};

use super::{Asking, Inferring, Read, Signal, TextSignals, text_signals};

/// A trigram model of bytes. What follows two tokens, or the token `^` that begins a text and one more, is written down; a
/// token that is not there is all but impossible, and after what is not there each of the 257 is as likely.
pub(super) struct Table {
    model: Ngram,
    tokenizer: Tokenizer,
}

/// What follows, and how often. After `^` there are 8 a and 4 b, for each of what follows `^a`.
const FOLLOWERS: [(&str, &str); 17] = [
    ("^a", "abbB    "),
    ("^", "bbbb"),
    ("aa", "abbB"),
    // Behind other texts, which end with a line feed.
    ("b\n", "ab"),
    ("a\n", "abbbbbbb"),
    ("\na", "abbB"),
    // A text that goes on for certain.
    ("cc", " "),
    ("c ", "d"),
    (" d", "\n"),
    ("d\n", "f"),
    ("\nf", " "),
    ("f ", "f"),
    (" f", " "),
    // A text that goes on either way, word after word.
    ("x ", "xy"),
    ("y ", "xy"),
    (" x", " "),
    (" y", " "),
];

impl Table {
    pub(super) fn new() -> Table {
        // No pair stands often enough in these to become a token.
        let tokenizer = Tokenizer::from_bytes(&Tokenizer::train(["ab"].into_iter(), 257).unwrap()).unwrap();
        let encode = |text: &str| -> Vec<u32> {
            let (start, rest) = text.strip_prefix('^').map_or((None, text), |rest| (Some(0), rest));
            start.into_iter().chain(tokenizer.encode(rest)).collect()
        };
        let texts: Vec<Vec<u32>> = FOLLOWERS
            .iter()
            .flat_map(|(context, followers)| followers.chars().map(move |next| format!("{context}{next}")))
            .map(|text| encode(&text))
            .collect();
        Table { model: Ngram::new((tokenizer.vocab_size(), 64), 3, 1e-12, &texts), tokenizer }
    }

    pub(super) fn target(&self) -> TextModel<'_> {
        TextModel { model: &self.model, tokenizer: &self.tokenizer }
    }

    pub(super) fn inferring(&self) -> Inferring<'_> {
        Inferring {
            target: self.target(),
            reference: None,
            gradient: None,
            counts: None,
            shots: None,
            most_tokens: 48,
            seed: 1,
            keeps_records: false,
        }
    }
}

pub(super) fn try_ask(
    inferring: &mut Inferring<'_>,
    asked: &[Signal],
    texts: &[&str],
) -> Result<Vec<TextSignals>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let resources = Resources { batch: 4, scratch: &scratch, progress: &Silent };
    text_signals(inferring, asked, texts, resources)
}

pub(super) fn ask(inferring: &mut Inferring<'_>, asked: &[Signal], texts: &[&str]) -> Vec<TextSignals> {
    try_ask(inferring, asked, texts).unwrap()
}

/// What a pass is given of some texts.
pub(super) fn with_asking(table: &Table, texts: &[&str], check: impl FnOnce(&Asking<'_>, &[Read])) {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let resources = Resources { batch: 4, scratch: &scratch, progress: &Silent };
    let asking = Asking { target: table.target(), most_tokens: 48, seed: 1, resources };
    let reads: Vec<Read> =
        texts.iter().enumerate().map(|(number, text)| Read::of(&asking, number, text)).collect();
    check(&asking, &reads);
}

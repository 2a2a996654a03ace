//! Membership inference on texts of known membership: what every signal says of each text, and how well it tells the two
//! sets apart, beside baselines that never see the model and a control that has nothing to tell.

use std::fmt;

use serde::{Deserialize, Serialize};
use verbatim_lm::{Error, Passage, Resources, TextModel, TokenRecord, score_passages};
use verbatim_store::{Within, answer_each};

use crate::blind::{self, BlindScores, Folds};
use crate::interval::Interval;
use crate::random::order;
use crate::roc::{self, Auc, OperatingPoint, Refusal, Scores};
use crate::signal;

/// Texts between two moments at which answers are kept.
const CHUNK: usize = 64;

/// Folds of the bag of words.
const N_FOLDS: u64 = 5;

/// The name of the baseline that learns which set is which, and so leans below one half where there is nothing to tell.
pub const BAG_OF_WORDS: &str = "bag of words";

/// A signal of membership; of each, higher is more likely a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Signal {
    /// [`signal::loss_signal`].
    Loss,
    /// [`signal::zlib_signal`].
    Zlib,
    /// [`signal::lowercase_signal`].
    Lowercase,
    /// [`signal::window_signal`] of 50 tokens.
    Window,
    /// [`signal::min_k`] of 20 %.
    MinK,
    /// [`signal::min_k_plus_plus`] of 20 %.
    MinKPlusPlus,
    /// [`signal::k_max`] of 20 %.
    KMax,
    /// [`signal::surp`] of 40 % and 2 nats.
    Surp,
    /// [`signal::log_rank_signal`].
    LogRank,
    /// [`signal::entropy_signal`].
    Entropy,
    /// [`signal::reference_signal`].
    ReferenceRatio,
    /// The reference model's loss less this model's.
    ReferenceDifference,
}

impl Signal {
    /// Those that need the target model alone.
    pub const OF_TARGET: [Signal; 10] = [
        Signal::Loss,
        Signal::Zlib,
        Signal::Lowercase,
        Signal::Window,
        Signal::MinK,
        Signal::MinKPlusPlus,
        Signal::KMax,
        Signal::Surp,
        Signal::LogRank,
        Signal::Entropy,
    ];
    /// Those that need a reference model, too.
    pub const OF_REFERENCE: [Signal; 2] = [Signal::ReferenceRatio, Signal::ReferenceDifference];

    /// The name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Loss => "loss",
            Signal::Zlib => "zlib",
            Signal::Lowercase => "lowercase",
            Signal::Window => "window",
            Signal::MinK => "min-k",
            Signal::MinKPlusPlus => "min-k++",
            Signal::KMax => "k-max",
            Signal::Surp => "surp",
            Signal::LogRank => "log-rank",
            Signal::Entropy => "entropy",
            Signal::ReferenceRatio => "reference-ratio",
            Signal::ReferenceDifference => "reference-difference",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The models that are asked.
#[derive(Clone, Copy, Debug)]
pub struct Inferring<'a> {
    /// The model in question.
    pub target: TextModel<'a>,
    /// One that has not seen the members, of the same kind of text.
    pub reference: Option<TextModel<'a>>,
    /// Tokens of the target that are read of a text, from its first.
    pub most_tokens: usize,
}

impl Inferring<'_> {
    /// The signals that these models give.
    pub fn signals(&self) -> Vec<Signal> {
        let of_reference = if self.reference.is_some() { &Signal::OF_REFERENCE[..] } else { &[] };
        [&Signal::OF_TARGET[..], of_reference].concat()
    }
}

/// What the signals say of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextSignals {
    /// Tokens that were scored.
    pub n_tokens: u64,
    /// One value for each of [`Inferring::signals`]; none where it is undefined, or the model's numbers are not finite.
    pub values: Vec<Option<f64>>,
}

/// What every signal says of each text, from one pass of the target model, one over the lower-cased text, and one of the
/// reference model. In a run's folder, what was asked before is not asked again.
///
/// A text is given to a model after the token that begins one; a model without such a token is given the text's first token
/// instead, which is then not scored.
///
/// # Errors
/// The models' own, those of a run's folder.
pub fn text_signals(
    models: Inferring<'_>,
    texts: &[&str],
    resources: Resources<'_>,
) -> Result<Vec<TextSignals>, Error> {
    let chunks: Vec<&[&str]> = texts.chunks(CHUNK).collect();
    resources.progress.stage("score texts", Some(texts.len() as u64), "texts");
    let all = answer_each(resources.scratch, "infer", chunks.len(), |number| {
        let signals = chunk_signals(models, chunks[number], resources);
        resources.progress.advance(chunks[number].len() as u64);
        signals
    })?;
    Ok(all.into_iter().flatten().collect())
}

fn chunk_signals(
    models: Inferring<'_>,
    texts: &[&str],
    resources: Resources<'_>,
) -> Result<Vec<TextSignals>, Error> {
    let Inferring { target, reference, most_tokens } = models;
    let ask = |model: TextModel<'_>, texts: &[String]| {
        let passages: Vec<Passage> =
            texts.iter().map(|text| passage(model, &model.tokenizer.encode(text))).collect();
        score_passages(model.model, &passages, resources.batch, &Within(resources.progress))
    };
    let read: Vec<String> = texts.iter().map(|text| beginning(target, text, most_tokens)).collect();
    let lowered: Vec<String> = read.iter().map(|text| text.to_lowercase()).collect();
    let records = ask(target, &read)?;
    let lowered = ask(target, &lowered)?;
    let referred = reference.map(|reference| ask(reference, &read)).transpose()?;
    let signals = models.signals();
    let text_signals = |number: usize| {
        let own = records[number].as_deref().unwrap_or_default();
        let lowered = lowered[number].as_deref().unwrap_or_default();
        let referred = referred.as_ref().and_then(|all| all[number].as_deref()).unwrap_or_default();
        let value = |signal: &Signal| value(*signal, own, (lowered, referred), read[number].as_bytes());
        TextSignals { n_tokens: own.len() as u64, values: signals.iter().map(value).collect() }
    };
    Ok((0..texts.len()).map(text_signals).collect())
}

/// As many of a text's tokens, from its first, as are read, and whole characters.
pub(crate) fn beginning(target: TextModel<'_>, text: &str, most_tokens: usize) -> String {
    let tokens = target.tokenizer.encode_with_places(text);
    let end = tokens.get(most_tokens).map_or(text.len(), |(_, place)| *place);
    text[..end].to_owned()
}

pub(crate) fn passage(model: TextModel<'_>, tokens: &[u32]) -> Passage {
    let start = model.model.bos().or(model.tokenizer.end_of_text());
    match (start, tokens) {
        (Some(start), _) => Passage { prompt: vec![start], continuation: tokens.to_vec() },
        (None, [first, rest @ ..]) => Passage { prompt: vec![*first], continuation: rest.to_vec() },
        (None, []) => Passage::default(),
    }
}

fn value(
    signal: Signal,
    records: &[TokenRecord],
    (lowered, referred): (&[TokenRecord], &[TokenRecord]),
    text: &[u8],
) -> Option<f64> {
    match signal {
        Signal::Loss => signal::loss_signal(records),
        Signal::Zlib => signal::zlib_signal(records, text),
        Signal::Lowercase => signal::lowercase_signal(records, lowered),
        Signal::Window => signal::window_signal(records, 50),
        Signal::MinK => signal::min_k(records, 0.2),
        Signal::MinKPlusPlus => signal::min_k_plus_plus(records, 0.2),
        Signal::KMax => signal::k_max(records, 0.2),
        Signal::Surp => signal::surp(records, 0.4, 2.0),
        Signal::LogRank => signal::log_rank_signal(records),
        Signal::Entropy => signal::entropy_signal(records),
        Signal::ReferenceRatio => signal::reference_signal(records, referred),
        Signal::ReferenceDifference => Some(signal::loss(referred)? - signal::loss(records)?),
    }
}

/// How well a score tells members from non-members.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    /// Members and non-members for which it is defined.
    pub n: [u64; 2],
    /// Texts for which it is not; they are left out.
    pub n_undefined: u64,
    /// The area under the ROC curve; none where one of the sets is empty.
    pub auc: Result<Auc, Refusal>,
    /// The area's interval that holds for all scores of a table together (Bonferroni).
    pub joint: Result<Interval, Refusal>,
    /// The TPR at each FPR that was asked for.
    pub at_fpr: Vec<Result<OperatingPoint, Refusal>>,
}

/// How sure intervals are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// The level of each.
    pub level: f64,
    /// Scores whose joint intervals hold together at that level.
    pub n_together: usize,
}

/// The separation of two sets by a score of each text, none where it is undefined.
pub fn separation(
    members: &[Option<f64>],
    non_members: &[Option<f64>],
    fprs: &[f64],
    Confidence { level, n_together }: Confidence,
) -> Separation {
    let defined = |scores: &[Option<f64>]| scores.iter().copied().flatten().collect::<Vec<f64>>();
    let [inside, outside] = [members, non_members].map(defined);
    let n = [inside.len() as u64, outside.len() as u64];
    let scores = Scores::new(&inside, &outside);
    Separation {
        n,
        n_undefined: (members.len() + non_members.len()) as u64 - n[0] - n[1],
        auc: scores.map(|scores| roc::auc(scores, level)),
        joint: scores.map(|scores| roc::auc(scores, 1.0 - (1.0 - level) / n_together as f64).interval),
        at_fpr: fprs
            .iter()
            .map(|fpr| scores.and_then(|scores| roc::tpr_at_fpr(scores, *fpr, level)))
            .collect(),
    }
}

/// What tells the two sets apart without a model (after Das et al. 2024): where one of these does, so may every signal.
pub fn blind_separations(
    members: &[&str],
    non_members: &[&str],
    (fprs, level): (&[f64], f64),
    seed: u64,
) -> Vec<(&'static str, Separation)> {
    let folds = Folds { n_folds: N_FOLDS, seed };
    let rows = [
        (BAG_OF_WORDS, blind::bag_of_words(members, non_members, folds)),
        ("length", blind::length(members, non_members)),
        ("latest year", blind::latest_year_signal(members, non_members)),
    ];
    let confidence = Confidence { level, n_together: rows.len() };
    let some = |scores: Vec<f64>| scores.into_iter().map(Some).collect::<Vec<_>>();
    rows.map(|(name, BlindScores { members, non_members })| {
        (name, separation(&some(members), &some(non_members), fprs, confidence))
    })
    .into()
}

/// The control: non-members divided by chance into two halves, which a signal has no way to tell apart.
pub fn control_separation(non_members: &[Option<f64>], confidence: Confidence, seed: u64) -> Separation {
    let order = order(non_members.len(), seed);
    let (first, second) = order.split_at(order.len() / 2);
    let of = |numbers: &[usize]| numbers.iter().map(|number| non_members[*number]).collect::<Vec<_>>();
    separation(&of(first), &of(second), &[], confidence)
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{LanguageModel, Scripted, Tokenizer};
    use verbatim_store::{Scratch, Silent};

    use super::*;

    const ALONE: Confidence = Confidence { level: 0.95, n_together: 1 };

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_bytes(&Tokenizer::train(["the cat and the dog"].into_iter(), 270).unwrap()).unwrap()
    }

    fn ask(
        model: &dyn LanguageModel,
        tokenizer: &Tokenizer,
        texts: &[&str],
        batch: usize,
    ) -> Vec<TextSignals> {
        let target = TextModel { model, tokenizer };
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::unnamed(folder.path());
        let models = Inferring { target, reference: Some(target), most_tokens: 12 };
        text_signals(models, texts, Resources { batch, scratch: &scratch, progress: &Silent }).unwrap()
    }

    fn of(signals: &TextSignals, wanted: Signal) -> Option<f64> {
        let all = [&Signal::OF_TARGET[..], &Signal::OF_REFERENCE].concat();
        signals.values[all.iter().position(|signal| *signal == wanted).unwrap()]
    }

    /// The model draws one of 270 tokens after any but a text that it knows.
    #[test]
    fn what_the_model_knows_scores_higher_by_every_signal_that_looks_at_it() {
        let tokenizer = tokenizer();
        let known = [vec![0], tokenizer.encode("The cat ran.")].concat();
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).knows(known, 0.9);
        let texts = ["The cat ran.", "A bird sang"];
        let signals = ask(&model, &tokenizer, &texts, 4);
        for signal in Signal::OF_TARGET.into_iter().filter(|signal| *signal != Signal::Surp) {
            let [known, unknown] = [0, 1].map(|text| of(&signals[text], signal).unwrap());
            assert!(known > unknown, "{signal}: {known} {unknown}");
        }
        assert!((of(&signals[0], Signal::Loss).unwrap() - 0.9f64.ln()).abs() < 1e-6);
        assert_eq!(of(&signals[0], Signal::ReferenceDifference), Some(0.0), "itself");
        assert_eq!(ask(&model, &tokenizer, &texts, 1), signals);
    }

    #[test]
    fn a_long_text_is_read_to_the_last_token_that_is_wanted_and_an_empty_one_has_no_signal() {
        let tokenizer = tokenizer();
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0);
        let long = "the dog \u{1f600} the cat".repeat(9);
        let signals = ask(&model, &tokenizer, &[&long, ""], 4);
        assert!((9..=12).contains(&signals[0].n_tokens), "{}", signals[0].n_tokens);
        assert_eq!(signals[1].n_tokens, 0);
        assert!(signals[1].values.iter().all(Option::is_none));
    }

    #[test]
    fn fault_64_a_text_on_which_the_model_breaks_is_left_out_and_counted() {
        let tokenizer = tokenizer();
        let broken = tokenizer.encode("X")[0];
        let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).breaks_after(broken);
        let signals = ask(&model, &tokenizer, &["a cat", "an X!", "a dog", "the"], 4);
        let loss: Vec<Option<f64>> = signals.iter().map(|signals| of(signals, Signal::Loss)).collect();
        assert!(loss[1].is_none() && loss.iter().flatten().count() == 3);
        let found = separation(&loss[..2], &loss[2..], &[0.5, 0.01], ALONE);
        assert_eq!((found.n, found.n_undefined), ([1, 2], 1));
        assert!(found.auc.is_ok() && found.at_fpr[0].is_ok());
        assert!(matches!(found.at_fpr[1], Err(Refusal::TooFewNonMembers { n: 2, needed: 100 })));
    }

    #[test]
    fn halves_of_one_set_are_a_division_of_it_by_chance() {
        let scores: Vec<Option<f64>> = (0..101).map(|i| Some(f64::from(i))).collect();
        let found = control_separation(&scores, ALONE, 3);
        assert_eq!(found.n, [50, 51]);
        let auc = found.auc.unwrap();
        assert!(auc.interval.low < 0.5 && auc.interval.high > 0.5);
        assert_ne!(control_separation(&scores, ALONE, 4).auc.unwrap().auc, auc.auc);
    }

    #[test]
    fn texts_that_differ_in_words_are_told_apart_without_a_model() {
        let members: Vec<String> = (0..60).map(|i| format!("the cat number {i} of 1999")).collect();
        let others: Vec<String> = (0..60).map(|i| format!("a dog called {i} in the year 2020")).collect();
        let [members, others] =
            [&members, &others].map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        let rows = blind_separations(&members, &others, (&[0.1], 0.95), 1);
        let auc = |row: usize| rows[row].1.auc.as_ref().unwrap().auc;
        assert_eq!(
            rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["bag of words", "length", "latest year"]
        );
        assert!(auc(0) > 0.99);
        assert!((1..3).all(|row| (auc(row) - 0.5).abs() > 0.49), "{} {}", auc(1), auc(2));
    }
}

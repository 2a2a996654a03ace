//! Every signal against values that are worked out by hand, and what holds of all of them.

use std::collections::HashMap;
use std::f64::consts::LN_2;

use verbatim_lm::{Gpt2, Gpt2Config, LanguageModel, LossGradient, Ngram, Scripted, TextModel, Tokenizer};
use verbatim_store::{Scratch, Silent};

use super::testing::{Table, ask};
use super::*;
use crate::roc::Refusal;

/// Signals of the target alone that need nothing else.
fn of_target() -> Vec<Signal> {
    let alone = |signal: &Signal| matches!(signal.needs(), Need::Nothing | Need::MorePasses);
    Signal::ALL.into_iter().filter(alone).collect()
}

fn near(value: Option<f64>, golden: f64) -> bool {
    value.is_some_and(|value| (value - golden).abs() <= 2e-6 * golden.abs().max(1.0))
}

/// The probabilities that the model gives `aaB`, after the token that begins a text, are 2/3, 1/8 and 1/4, their product 1/48;
/// those of `aab` are 2/3, 1/8 and 1/2.
#[test]
fn every_signal_is_what_is_worked_out_by_hand_on_a_model_of_known_probabilities() {
    let table = Table::new();
    // A reference that finds all 257 tokens equally likely.
    let tokenizer = table.target().tokenizer;
    let even = Ngram::new((tokenizer.vocab_size(), 64), 1, 1.0, &[]);
    assert_eq!(tokenizer.vocab_size(), 257);
    let counts = token_counts(tokenizer, "aaB");
    let sets = ["a", "b"].map(|text| vec![text.to_owned(); 2]);
    let parting = Parting { draws_members: true, most_tokens: 9, seed: 1 };
    let Parted { shots, left } = part(table.target(), [&sets[0], &sets[1]], parting);
    assert_eq!((shots.n_for_con_recall(), left), ([1, 1], [vec![], vec![]]));
    let mut inferring = Inferring {
        reference: Some(TextModel { model: &even, tokenizer }),
        gradient: Some(gradient()),
        counts: Some(&counts),
        shots: Some(&shots),
        ..table.inferring()
    };
    let (ln_3, ln_48, ln_257) = (3f64.ln(), 48f64.ln(), 257f64.ln());
    let entropy = (ln_3 - 2.0 / 3.0 * LN_2) + 1.75 * LN_2 + 1.5 * LN_2;
    let expected = [
        (Signal::Loss, "aaB", -ln_48 / 3.0),
        // `zlib.compress(b"aaB", 6)` of Python has 11 bytes.
        (Signal::Zlib, "aaB", 11.0 * 3.0 / ln_48),
        (Signal::Lowercase, "aaB", 24f64.ln() / ln_48),
        (Signal::Window, "aaB", -ln_48 / 3.0),
        // A fifth of three tokens is one: that of 1/8.
        (Signal::MinK, "aaB", -3.0 * LN_2),
        // Where it stands, in units of ln 2, the mean is -1.75 and the mean square 0.5 + 1 + 2.25.
        (Signal::MinKPlusPlus, "aaB", (-3.0 + 1.75) / (3.75f64 - 1.75 * 1.75).sqrt()),
        (Signal::KMax, "aaB", (2f64 / 3.0).ln()),
        // 40 % of three tokens is one, where the entropy is 1.75 ln 2 and so below two nats.
        (Signal::Surp, "aaB", -3.0 * LN_2),
        // Of equal tokens B stands before a: ranks are 1, 4 and 2.
        (Signal::Accuracy, "aaB", 1.0 / 3.0),
        (Signal::Rank, "aaB", -7.0 / 3.0),
        (Signal::LogRank, "aaB", -(4f64.ln() + LN_2) / 3.0),
        (Signal::Entropy, "aaB", -entropy / 3.0),
        // The first a is far above the cap of 0.01, and c impossible.
        (Signal::DcPdd, "aac", 0.01 / 2.0),
        (Signal::ReferenceRatio, "aaB", ln_257 * 3.0 / ln_48),
        (Signal::ReferenceDifference, "aaB", ln_257 - ln_48 / 3.0),
        // Behind `b` the first a has 1/2 and the second 1/4: 1/32. Behind `a` the first has 1/8: 1/128.
        (Signal::Recall, "aaB", 32f64.ln() / ln_48),
        (Signal::ConRecall, "aaB", (32f64.ln() - 0.5 * 128f64.ln()) / ln_48),
        // Two words have one other order: of 2/3, 1/2 and 1/257, and of 1/3, 1/257 and 1/257, the highest less the lowest.
        (Signal::Pac, "a b", (1f64 / 3.0).ln() - (2f64 / 3.0).ln()),
        // All that can stand for a is b.
        (Signal::Neighbourhood, "a", ln_3 - 1.5f64.ln()),
        // After `cccc` the model says ` d` and `f` on another line: one of the two words of the rest.
        (Signal::Samia, "cccc d e", 0.5),
    ];
    for (signal, text, golden) in expected {
        let signals = ask(&mut inferring, &[signal], &[text]);
        assert!(near(signals[0].values[0], golden), "{signal}: {:?} is not {golden}", signals[0].values);
    }
    let missing: Vec<Signal> =
        Signal::ALL.into_iter().filter(|signal| !expected.iter().any(|row| row.0 == *signal)).collect();
    assert_eq!(missing, [Signal::GradientNorm, Signal::GradientMax], "those have a test of their own");
    // All at once are as one by one.
    let all = ask(&mut inferring, &Signal::ALL, &["aaB", "a b"]);
    assert_eq!(all[0].n_tokens, 3);
    for (signal, text, golden) in expected.into_iter().filter(|row| ["aaB", "a b"].contains(&row.1)) {
        let text = usize::from(text == "a b");
        let at = Signal::ALL.iter().position(|other| *other == signal).unwrap();
        assert!(near(all[text].values[at], golden), "{signal}");
    }
}

fn token_counts(tokenizer: &Tokenizer, text: &str) -> Vec<u64> {
    let mut counts = vec![0; tokenizer.vocab_size()];
    tokenizer.encode(text).into_iter().for_each(|token| counts[token as usize] += 1);
    counts
}

/// A model with nothing to tell, as large as the table's vocabulary.
fn gradient() -> LossGradient {
    let config: Gpt2Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 257, "n_positions": 64, "n_embd": 4, "n_layer": 1, "n_head": 1
    }))
    .unwrap();
    let tensors: HashMap<_, _> = Gpt2::initial_tensors(&config, 4).unwrap().into_iter().collect();
    LossGradient::new(&config, &tensors).unwrap()
}

/// That the norms are those of the gradient is tested where they are taken (`loss_gradient.rs`).
#[test]
fn gradient_norms_are_those_of_the_text_after_the_token_that_begins_one() {
    let table = Table::new();
    let mut inferring = Inferring { gradient: Some(gradient()), ..table.inferring() };
    let asked = [Signal::GradientMax, Signal::GradientNorm];
    let signals = ask(&mut inferring, &asked, &["aaB", ""]);
    let row = [vec![0], table.target().tokenizer.encode("aaB")].concat();
    let norms = gradient().norms(&row).unwrap();
    assert_eq!(signals[0].values, [Some(-norms.mean_of_largest), Some(-norms.euclidean)]);
    assert_eq!(signals[1].values, [None, None]);
}

#[test]
fn names_are_each_of_one_signal() {
    for signal in Signal::ALL {
        assert_eq!(Signal::of_name(signal.name()), Some(signal));
    }
    assert_eq!(Signal::of_name("perplexity"), None);
}

#[test]
fn a_signal_without_what_it_needs_is_refused() {
    let table = Table::new();
    for signal in Signal::ALL {
        let needs_more = !matches!(signal.needs(), Need::Nothing | Need::MorePasses);
        let outcome = testing::try_ask(&mut table.inferring(), &[signal], &["ab"]);
        assert_eq!(matches!(outcome, Err(Error::InvalidArgument(_))), needs_more, "{signal}");
    }
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(&Tokenizer::train(["the cat and the dog"].into_iter(), 270).unwrap()).unwrap()
}

fn ask_batched(
    model: &dyn LanguageModel,
    tokenizer: &Tokenizer,
    texts: &[&str],
    batch: usize,
) -> Vec<TextSignals> {
    let target = TextModel { model, tokenizer };
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::unnamed(folder.path());
    let mut inferring = Inferring {
        target,
        reference: Some(target),
        gradient: None,
        counts: None,
        shots: None,
        most_tokens: 12,
        seed: 5,
        keeps_records: false,
    };
    let asked = [&of_target()[..], &[Signal::ReferenceDifference]].concat();
    text_signals(&mut inferring, &asked, texts, Resources { batch, scratch: &scratch, progress: &Silent })
        .unwrap()
}

fn of(signals: &TextSignals, wanted: Signal) -> Option<f64> {
    let all = [&of_target()[..], &[Signal::ReferenceDifference]].concat();
    signals.values[all.iter().position(|signal| *signal == wanted).unwrap()]
}

/// The model draws one of 270 tokens after any but a text that it knows.
#[test]
fn what_the_model_knows_scores_higher_by_every_signal_that_looks_at_it() {
    let tokenizer = tokenizer();
    let known = [vec![0], tokenizer.encode("The cat ran.")].concat();
    let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).knows(known, 0.9);
    let texts = ["The cat ran.", "A bird sang"];
    let signals = ask_batched(&model, &tokenizer, &texts, 4);
    for signal in of_target().into_iter().filter(|signal| *signal != Signal::Surp) {
        let [known, unknown] = [0, 1].map(|text| of(&signals[text], signal).unwrap());
        assert!(known > unknown, "{signal}: {known} {unknown}");
    }
    assert!((of(&signals[0], Signal::Loss).unwrap() - 0.9f64.ln()).abs() < 1e-6);
    assert_eq!(of(&signals[0], Signal::ReferenceDifference), Some(0.0), "itself");
    assert_eq!(ask_batched(&model, &tokenizer, &texts, 1), signals);
}

#[test]
fn a_long_text_is_read_to_the_last_token_that_is_wanted_and_an_empty_one_has_no_signal() {
    let tokenizer = tokenizer();
    let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0);
    let long = "the dog \u{1f600} the cat".repeat(9);
    let signals = ask_batched(&model, &tokenizer, &[&long, ""], 4);
    assert!((9..=12).contains(&signals[0].n_tokens), "{}", signals[0].n_tokens);
    assert_eq!(signals[1].n_tokens, 0);
    assert!(signals[1].values.iter().all(Option::is_none));
}

/// Passes that see one context at a time see the beginning of a text that is longer.
#[test]
fn a_text_longer_than_the_context_has_every_signal() {
    let tokenizer = tokenizer();
    let model = Scripted::new(tokenizer.vocab_size(), 8).begins_with(0);
    let signals = ask_batched(&model, &tokenizer, &["the dog saw the cat and the bird"], 4);
    assert!(signals[0].n_tokens > 8 && signals[0].values.iter().all(Option::is_some), "{signals:?}");
}

#[test]
fn fault_64_a_text_on_which_the_model_breaks_is_left_out_and_counted() {
    let tokenizer = tokenizer();
    let broken = tokenizer.encode("X")[0];
    let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).breaks_after(broken);
    let signals = ask_batched(&model, &tokenizer, &["a cat", "an X or two!", "a dog", "the dog"], 4);
    for signal in of_target() {
        let values: Vec<Option<f64>> = signals.iter().map(|signals| of(signals, signal)).collect();
        assert!(values[1].is_none() && values.iter().flatten().count() == 3, "{signal}: {values:?}");
    }
    let loss: Vec<Option<f64>> = signals.iter().map(|signals| of(signals, Signal::Loss)).collect();
    let alone = Confidence { level: 0.95, n_together: 1 };
    let found = separation(&loss[..2], &loss[2..], &[0.5, 0.01], alone);
    assert_eq!((found.n, found.n_undefined), ([1, 2], 1));
    assert!(found.auc.is_ok() && found.at_fpr[0].is_ok());
    assert!(matches!(found.at_fpr[1], Err(Refusal::TooFewNonMembers { n: 2, needed: 100 })));
}

/// A second process goes on with what the first has kept.
#[test]
fn a_run_that_goes_on_asks_nothing_again() {
    let tokenizer = tokenizer();
    let model = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0);
    let texts: Vec<String> = (0..70).map(|i| format!("the cat {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let ask = |model: &dyn LanguageModel| {
        let scratch = Scratch::of_run(&run, &serde_json::json!("infer")).unwrap();
        let target = TextModel { model, tokenizer: &tokenizer };
        let mut inferring = Inferring {
            target,
            reference: None,
            gradient: None,
            counts: None,
            shots: None,
            most_tokens: 12,
            seed: 5,
            keeps_records: false,
        };
        let resources = Resources { batch: 8, scratch: &scratch, progress: &Silent };
        text_signals(&mut inferring, &of_target(), &texts, resources).unwrap()
    };
    let first = ask(&model);
    // A model that breaks on everything would answer otherwise.
    let broken = Scripted::new(tokenizer.vocab_size(), 64).begins_with(0).breaks_after(0);
    assert!(ask(&broken) == first);
}

//! Searches compared with going through all texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use verbatim_lm::{
    CpuEngine, Gpt2, Gpt2Config, Kernel, LanguageModel, ModelConfig, Ngram, Scripted, Tokenizer, WeightType,
};
use verbatim_store::Silent;

use super::*;

/// A tokenizer with tokens of several digits, and with words that swallow blanks.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let texts = [
            "the code is 1212 and 4712, the code is 12 and 471212.",
            "code 471 471 12 12 4712 47 the code is",
        ];
        Tokenizer::from_bytes(&Tokenizer::train(texts.into_iter(), 320).unwrap()).unwrap()
    });
    &TOKENIZER
}

fn gpt2(seed: u64) -> CpuEngine {
    let config: Gpt2Config = serde_json::from_value(serde_json::json!({
        "vocab_size": tokenizer().vocab_size(), "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4, "bos_token_id": 0
    }))
    .unwrap();
    let tensors = Gpt2::initial_tensors(&config, seed).unwrap().into_iter().collect();
    CpuEngine::new(&ModelConfig::Gpt2(config), tensors, Kernel::default(), WeightType::F32).unwrap()
}

const CONFIG: InvertConfig = InvertConfig { top: 1, max_evaluations: 100_000, max_open: 1 << 20 };

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn target(model: &dyn LanguageModel) -> TextModel<'_> {
    TextModel { model, tokenizer: tokenizer() }
}

fn search(model: &dyn LanguageModel, text: &str, secret: Option<&str>, config: InvertConfig) -> Inversion {
    invert(target(model), &template(text), secret, &config, &Silent).unwrap()
}

fn exhaustive(model: &dyn LanguageModel, text: &str) -> Vec<Answer> {
    invert_exhaustively(target(model), &template(text), 64, &Silent).unwrap()
}

/// Sums over the steps of a search and over a whole text differ in the last bits.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4
}

/// Whether the answers are the first of all texts, but for the order of those that are as likely but for the last bits.
fn are_first(answers: &[Answer], all: &[Answer]) -> bool {
    let known: BTreeMap<&str, f64> = all.iter().map(|one| (one.filling.as_str(), one.log_prob)).collect();
    let distinct: BTreeSet<&str> = answers.iter().map(|one| one.filling.as_str()).collect();
    let agrees = |(one, other): (&Answer, &Answer)| {
        near(one.log_prob, other.log_prob) && near(one.log_prob, known[one.filling.as_str()])
    };
    distinct.len() == answers.len() && answers.iter().zip(all).all(agrees)
}

#[test]
fn the_first_answer_is_the_best_of_all_texts() {
    for (seed, text) in [
        (1, "the code is {digits:4}"),
        (2, "the code is{digits:4}."),
        (3, "{digits:2}-{digits:2}"),
        (4, "the code is {digits:4} and the"),
        (5, "code {4712|1212|the|and} {yes|no|12}{digits:2}"),
        (6, "the code is {digits:5}"),
    ] {
        let model = gpt2(seed);
        let (found, all) = (search(&model, text, None, CONFIG), exhaustive(&model, text));
        assert_eq!(found.outcome, Outcome::Answered);
        assert_eq!(found.answers[0].filling, all[0].filling, "{text}");
        assert!(near(found.answers[0].log_prob, all[0].log_prob), "{text}");
        assert!(found.n_evaluations < all.len() as u64, "{text}: {} evaluations", found.n_evaluations);
    }
}

#[test]
fn every_text_comes_once_and_in_order() {
    let config = InvertConfig { top: 5000, ..CONFIG };
    for (seed, text) in [(1, "the code is {digits:3}"), (2, "the {hex:1}{a|ab}{b|c|cb} is"), (3, "{lower:2}")]
    {
        let model = gpt2(seed);
        let (found, all) = (search(&model, text, None, config), exhaustive(&model, text));
        assert_eq!((found.outcome, found.n_found), (Outcome::Exhausted, all.len() as u64), "{text}");
        assert!(found.answers.len() == all.len() && are_first(&found.answers, &all), "{text}");
    }
    let found = search(&gpt2(1), "the code is {digits:3}", None, config);
    assert!(found.n_noncanonical > 0, "this tokenizer has tokens of several digits");
}

#[test]
fn an_ngram_model_is_inverted_by_hand() {
    let text = |secret: &str| tokenizer().encode(&format!("the code is {secret}."));
    let model = Ngram::new(
        (tokenizer().vocab_size(), 32),
        2,
        0.01,
        &[text("47"), text("47"), text("12"), text("83")],
    );
    let found = search(&model, "the code is {digits:2}.", None, InvertConfig { top: 100, ..CONFIG });
    assert_eq!(found.answers.len(), 100);
    assert_eq!(found.answers[0].filling, "47.");
    let all = exhaustive(&model, "the code is {digits:2}.");
    for (answer, other) in found.answers.iter().zip(&all) {
        assert!(near(answer.log_prob, other.log_prob));
    }
}

#[test]
fn a_secret_that_the_model_knows_is_found_among_ten_million_in_a_few_steps() {
    let known = tokenizer().encode("the code is 9026351, so");
    let model = Scripted::new(tokenizer().vocab_size(), 64).begins_with(0).knows(known, 0.9);
    let found = search(&model, "the code is {digits:7}, so", Some("9026351, so"), CONFIG);
    assert_eq!(found.answers[0].filling, "9026351, so");
    assert_eq!(found.known.unwrap().rank, Some(1));
    assert!(found.n_evaluations < 200, "{}", found.n_evaluations);
}

#[test]
fn the_rank_of_a_secret_is_that_among_all_texts() {
    let model = gpt2(11);
    let all = exhaustive(&model, "the code is {digits:3}");
    for place in [0, 1, 17, 333, 999] {
        let secret = all[place].filling.as_str();
        let known = search(&model, "the code is {digits:3}", Some(secret), CONFIG).known.unwrap();
        assert_eq!(known.rank, Some(place as u64 + 1));
        assert!(near(known.log_prob.unwrap(), all[place].log_prob));
    }
}

#[test]
fn a_spent_budget_says_how_likely_any_other_text_can_be() {
    let (model, text) = (gpt2(12), "the code is {digits:4}");
    let all = exhaustive(&model, text);
    let mut n_found = Vec::new();
    for max_evaluations in [1, 8, 60, 300] {
        let config = InvertConfig { top: 10_000, max_evaluations, ..CONFIG };
        let found = search(&model, text, Some(&all[9_999].filling), config);
        let Outcome::Budget { bound } = found.outcome else { panic!("{:?}", found.outcome) };
        assert_eq!((found.n_evaluations, found.known.unwrap().rank), (max_evaluations, None));
        assert!(are_first(&found.answers, &all), "what was found is the best there is");
        assert!(all[found.answers.len()].log_prob <= bound + 1e-4, "the next one is within the bound");
        n_found.push(found.n_found);
    }
    assert!(n_found[0] == 0 && n_found[3] > 0, "{n_found:?}");
}

#[test]
fn what_there_is_no_room_for_is_told() {
    let (model, text) = (gpt2(13), "the code is {digits:3}");
    let all = exhaustive(&model, text);
    let config = InvertConfig { top: 1000, max_open: 60, ..CONFIG };
    let found = search(&model, text, None, config);
    let Outcome::Memory { bound } = found.outcome else { panic!("{:?}", found.outcome) };
    assert!(are_first(&found.answers, &all));
    assert!(!found.answers.is_empty() && all[found.answers.len()].log_prob <= bound + 1e-4);
    assert!(found.answers.iter().all(|answer| answer.log_prob >= bound));
    // A context that is too short for a text is no reason to call the others the best.
    let short = Scripted::new(tokenizer().vocab_size(), 5).begins_with(0);
    let found = search(&short, "the code is {hex:9}", None, CONFIG);
    assert!(matches!(found.outcome, Outcome::Memory { .. }) && found.answers.is_empty());
}

#[test]
fn what_does_not_fit_the_template_is_refused() {
    let model = Scripted::new(tokenizer().vocab_size(), 64);
    let refused = |text: &str, secret: Option<&str>| {
        let error = invert(target(&model), &template(text), secret, &CONFIG, &Silent).unwrap_err();
        assert!(error.exit_code() == 2 && !error.to_string().contains("47"), "{error}");
    };
    refused("the code is {digits:4}", Some("471"));
    refused("the code is {digits:4}", Some("471x"));
    refused("the code is {digits:4}.", Some("4712"));
    let text = "the code is {digits:6}";
    assert!(invert_exhaustively(target(&model), &template(text), 8, &Silent).is_err());
}

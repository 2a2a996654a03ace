//! An audit of one checkpoint: how much of the texts it was trained on, or of chosen ones, it gives back when it is asked.

use verbatim_corpus::Corpus;
use verbatim_lm::{Decoding, Resources, TextModel};

use crate::chosen::{ChosenText, chosen_targets};
use crate::decoded::{Decoded, decode};
use crate::discoverable::{Continuation, discover};
use crate::error::{Error, Result};
use crate::near::{Near, NearConfig, near};
use crate::order::Budget;
use crate::target::{Grid, Role, Target, count_copies, draw_targets, strata};
use crate::verify::Proof;

/// What to ask for, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditConfig {
    /// Prefix and suffix lengths.
    pub grid: Grid,
    /// Documents that are drawn uniformly from the corpus.
    pub documents: usize,
    /// Documents of each doubling of copies, of those in the pool.
    pub per_stratum: usize,
    /// Documents among which the strata are looked for.
    pub pool: usize,
    /// Tokens from one window of a chosen text to the next.
    pub stride: usize,
    /// Which chosen texts are tried; all without it.
    pub budget: Option<Budget>,
    /// How tokens are drawn, where the question is how often the suffix is.
    pub decodings: Vec<Decoding>,
    /// Targets that are decoded greedily as well.
    pub decode: usize,
    /// Targets for which near continuations are looked for.
    pub near: usize,
    /// How those are looked for.
    pub near_config: NearConfig,
    /// The run's seed.
    pub seed: u64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// Where the model was asked: drawn uniformly, then those added for their copies, then chosen ones.
    pub targets: Vec<Target>,
    /// Documents of the corpus that were looked at.
    pub n_looked_at: u64,
    /// Those among them that are too short for the longest prefix and suffix.
    pub n_too_short: u64,
    /// Chosen texts that are beyond the budget.
    pub n_untried: u64,
    /// For each target and prefix, its continuations by suffix; none where the model's numbers are not finite.
    pub continuations: Vec<Vec<Option<Vec<Continuation>>>>,
    /// Greedy continuations of the first uniform targets, or of chosen ones where there is no corpus.
    pub decoded: Vec<Decoded>,
    /// Near continuations of the same.
    pub near: Vec<Near>,
}

impl Audited {
    /// The continuation of a target in the base cell, if there is one.
    pub fn base(&self, target: usize) -> Option<&Continuation> {
        self.continuations[target].first()?.as_ref()?.first()
    }

    /// Targets that were drawn uniformly.
    pub fn n_uniform(&self) -> usize {
        self.of_role(Role::Uniform).count()
    }

    /// The targets of some role with their numbers.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (usize, &Target)> {
        self.targets.iter().enumerate().filter(move |(_, target)| target.role == role)
    }
}

/// Asks a model for texts: drawn from `sample`, a corpus; and chosen ones. How often each stands in the corpus of `proof` is
/// counted where there is one.
///
/// # Errors
/// [`Error::InvalidArgument`] for a configuration that makes no sense, those of the model, of the index and of a run's
/// folder, [`Error::Interrupted`].
pub fn audit(
    model: TextModel<'_>,
    (sample, chosen): (Option<&Corpus>, &[ChosenText]),
    proof: Option<Proof<'_>>,
    config: &AuditConfig,
    resources: Resources<'_>,
) -> Result<Audited> {
    config.grid.check(model.model)?;
    let (mut targets, mut n_looked_at, mut n_too_short) = (Vec::new(), 0, 0);
    if let Some(corpus) = sample {
        let n = (config.documents.max(config.pool), config.seed);
        let drawn = draw_targets(corpus, model.tokenizer, &config.grid, n, resources.progress)?;
        (targets, n_looked_at, n_too_short) = (drawn.targets, drawn.n_looked_at, drawn.n_too_short);
    }
    let mut of_chosen = chosen_targets(chosen, (model.model, model.tokenizer), &config.grid, config.stride)?;
    let n_untried = config.budget.as_ref().map_or(0, |budget| budget.keep(&mut of_chosen));
    targets.append(&mut of_chosen);
    if targets.is_empty() {
        let cause = "no text is long enough for the longest prefix and suffix; take shorter ones";
        return Err(Error::InvalidArgument(cause.to_owned()));
    }
    if let Some(proof) = proof {
        count_copies(&mut targets, proof, model.tokenizer, &config.grid, resources.progress)?;
    }
    let targets = kept(targets, config);
    let asked = (model.model, &targets[..]);
    let continuations = discover(asked, &config.grid, &config.decodings, resources)?;
    let first: Vec<(u64, &Target)> =
        (0..).zip(&targets).filter(|(_, target)| target.role != Role::Stratum).collect();
    let (n_prefix, n_suffix) = (config.grid.prefixes[0], config.grid.suffixes[0]);
    let decoded =
        decode(model.model, &first[..config.decode.min(first.len())], (n_prefix, n_suffix), resources)?;
    let wanted = &first[..config.near.min(first.len())];
    let near = near(model.model, wanted, (n_prefix, n_suffix), &config.near_config, resources)?;
    Ok(Audited { targets, n_looked_at, n_too_short, n_untried, continuations, decoded, near })
}

/// Of the pool, the uniform ones and those of the strata; and all chosen ones.
fn kept(mut targets: Vec<Target>, config: &AuditConfig) -> Vec<Target> {
    let drawn: Vec<Target> = targets.extract_if(.., |target| target.role == Role::Uniform).collect();
    let strata = strata(&drawn, config.per_stratum);
    let mut added = Vec::new();
    let mut uniform = Vec::new();
    for (place, target) in drawn.into_iter().enumerate() {
        if place < config.documents {
            uniform.push(target);
        } else if strata.binary_search(&place).is_ok() {
            added.push(Target { role: Role::Stratum, ..target });
        }
    }
    uniform.extend(added);
    uniform.append(&mut targets);
    uniform
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Gpt2, Gpt2Config, LanguageModel, Scripted};

    use super::*;
    use crate::gain::Try;
    use crate::near::Distance;
    use crate::testing::{asking, corpus, tokenizer};

    const PLAIN: Decoding = Decoding { temperature: 1.0, top_k: None, top_p: None };

    fn config(prefixes: &[usize], suffixes: &[usize]) -> AuditConfig {
        AuditConfig {
            grid: Grid { prefixes: prefixes.to_vec(), suffixes: suffixes.to_vec() },
            documents: 100,
            per_stratum: 2,
            pool: 200,
            stride: 1,
            budget: None,
            decodings: vec![PLAIN, Decoding { temperature: 0.0, ..PLAIN }],
            decode: 1000,
            near: 0,
            near_config: NearConfig {
                distance: Distance::Hamming,
                most_edits: 1,
                decoding: PLAIN,
                beam: 5,
                branch: 10,
            },
            seed: 5,
        }
    }

    fn ask(model: &dyn LanguageModel, corpus: &Corpus, config: &AuditConfig, batch: usize) -> Audited {
        let model = TextModel { model, tokenizer: tokenizer() };
        let proof = Proof { corpus, index: None };
        audit(model, (Some(corpus), &[]), Some(proof), config, asking(batch)).unwrap()
    }

    fn random_model() -> Gpt2 {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": tokenizer().vocab_size(), "n_positions": 48, "n_embd": 16, "n_layer": 1, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, 5).unwrap().into_iter().collect();
        Gpt2::new(config, tensors).unwrap()
    }

    const TEXT: &str = "the cat and the dog and the other one went to the sea";

    #[test]
    fn what_the_model_knows_is_extracted_and_nothing_else_is() {
        let corpus = corpus(&[TEXT, "the code is in the other vault of the dog", TEXT]);
        let model = Scripted::new(tokenizer().vocab_size(), 64).knows(tokenizer().encode(TEXT), 0.9);
        let audited = ask(&model, &corpus, &config(&[5], &[4]), 3);
        assert_eq!(audited.n_uniform(), 3);
        for (number, target) in audited.of_role(Role::Uniform) {
            let base = audited.base(number).unwrap();
            let is_known = target.text != 1;
            assert_eq!(
                (base.is_greedy, target.copies.unwrap().n_occurrences),
                (is_known, 1 + u64::from(is_known))
            );
            if is_known {
                assert!((base.log_prob - 4.0 * 0.9f64.ln()).abs() < 1e-5);
                assert!((base.log_drawn[0].unwrap() - base.log_prob).abs() < 1e-5);
            }
            assert_eq!(base.log_drawn[1], is_known.then_some(0.0), "greedy decoding");
        }
    }

    /// One pass over the suffix says what decoding it token by token says.
    #[test]
    fn one_pass_says_what_greedy_decoding_says() {
        let model = random_model();
        // Suffixes that the model itself spells, and others.
        let mut chosen = Vec::new();
        for i in 0..40 {
            let prefix = format!("the vault of the number {i} is");
            let mut text = tokenizer().encode(&prefix);
            let n_prefix = text.len();
            for _ in 0..3 {
                let mut next = Vec::new();
                let run = verbatim_lm::Run { slot: 0, tokens: &text };
                let mut session = model.session(1, 48).unwrap();
                session
                    .extend(&[run], &mut |_, log_probs| next = PLAIN.likeliest(log_probs.to_vec(), 1))
                    .unwrap();
                text.push(next[0].0);
            }
            let spelt = String::from_utf8(tokenizer().decode(&text[n_prefix..]));
            // Only what is encoded as it was spelt is the model's own suffix.
            let spelt = spelt.ok().filter(|spelt| tokenizer().encode(spelt) == text[n_prefix..]);
            for suffix in spelt.into_iter().chain([" cat".to_owned()]) {
                chosen.push(ChosenText { id: None, prefix: Some(prefix.clone()), suffix });
            }
        }
        let model = TextModel { model: &model, tokenizer: tokenizer() };
        let audited = audit(model, (None, &chosen), None, &config(&[40], &[3]), asking(7)).unwrap();
        assert_eq!(audited.decoded.len(), chosen.len());
        let mut n_greedy = 0;
        for decoded in &audited.decoded {
            let base = audited.base(decoded.target as usize).unwrap();
            assert_eq!(base.is_greedy, decoded.is_exact());
            assert!(decoded.n_leading <= decoded.n_equal && base.n_first_choices >= decoded.n_leading);
            n_greedy += usize::from(base.is_greedy);
        }
        assert!(n_greedy >= 5 && n_greedy < audited.decoded.len(), "{n_greedy}");
    }

    #[test]
    fn texts_are_tried_in_their_order_as_far_as_the_budget_goes() {
        let model = Scripted::new(tokenizer().vocab_size(), 64)
            .knows(tokenizer().encode(TEXT), 0.9)
            .breaks_after(tokenizer().encode("X")[0]);
        let model = TextModel { model: &model, tokenizer: tokenizer() };
        // Known, unknown, too short, broken, and known again.
        let texts = [TEXT, "9876543210987654321", "the", "XXXXXXXXXXXX", TEXT];
        let chosen: Vec<ChosenText> =
            texts.map(|text| ChosenText { id: None, prefix: None, suffix: text.to_owned() }).into();
        let asked = |budget: Option<usize>| {
            let budget = budget.map(|n_texts| Budget { order: vec![2, 1, 4, 3, 0], n_texts });
            let config = AuditConfig { budget, stride: 2, ..config(&[5], &[4]) };
            audit(model, (None, &chosen), None, &config, asking(4)).unwrap()
        };
        let all = asked(None);
        let n_places = |text: u64| all.targets.iter().filter(|target| target.text == text).count() as u64;
        let known = Try { n_queries: n_places(0), is_extracted: true };
        let unknown = Try { n_queries: n_places(1), is_extracted: false };
        assert_eq!((n_places(2), all.n_untried), (0, 0));
        assert_eq!(all.tries(&[2, 1, 4, 3, 0]), [unknown, known, known]);
        assert_eq!(all.tries(&[4, 1]), [known, unknown]);
        for (n_texts, n_untried, expected) in
            [(1, 3, &[unknown][..]), (3, 1, &[unknown, known]), (9, 0, &[unknown, known, known])]
        {
            let some = asked(Some(n_texts));
            assert_eq!((some.n_untried, &some.tries(&[2, 1, 4, 3, 0])[..]), (n_untried, expected));
        }
        // What is asked at a place does not depend on which others are tried.
        let some = asked(Some(2));
        for (target, found) in some.targets.iter().zip(&some.continuations) {
            let place = all.targets.iter().position(|other| other == target).unwrap();
            assert_eq!(found, &all.continuations[place]);
        }
    }

    #[test]
    fn each_cell_of_the_grid_is_as_if_it_were_asked_alone() {
        let (model, corpus) =
            (random_model(), corpus(&[TEXT, "the code is in the other vault of the dog and the sea"]));
        let both = ask(&model, &corpus, &config(&[4, 7], &[3, 2, 5]), 64);
        for batch in [1, 3] {
            assert!(ask(&model, &corpus, &config(&[4, 7], &[3, 2, 5]), batch) == both);
        }
        for (number, target) in both.of_role(Role::Uniform) {
            for (prefix, n_prefix) in [4, 7].into_iter().enumerate() {
                let continuations = both.continuations[number][prefix].as_ref().unwrap();
                let whole = [&target.prompt[7 - n_prefix..], &target.continuation].concat();
                let records = model.score(&[whole], 1, &verbatim_store::Silent).unwrap().remove(0);
                for (continuation, n_suffix) in continuations.iter().zip([3, 2, 5]) {
                    let own = &records[n_prefix - 1..][..n_suffix];
                    let log_prob: f64 = own.iter().map(|record| f64::from(record.log_prob)).sum();
                    assert_eq!(
                        (continuation.n_prefix, continuation.n_suffix),
                        (n_prefix as u64, n_suffix as u64)
                    );
                    assert_eq!(continuation.log_prob, log_prob);
                    assert_eq!(continuation.is_greedy, own.iter().all(|record| record.rank == 0));
                }
            }
        }
    }

    #[test]
    fn documents_are_added_for_how_often_they_stand_in_the_corpus() {
        let often = "he ran off to the vault again";
        let rest: Vec<String> = (0..60).map(|i| format!("number {i} went to the other sea")).collect();
        let texts: Vec<&str> = rest.iter().map(String::as_str).chain([often; 9]).collect();
        let few = AuditConfig { documents: 3, ..config(&[6], &[3]) };
        let audited = ask(&random_model(), &corpus(&texts), &few, 8);
        assert_eq!(audited.n_uniform(), 3);
        let strata: Vec<u64> = audited
            .targets
            .iter()
            .map(|target| target.copies.unwrap().n_occurrences.ilog2().into())
            .collect();
        assert_eq!(
            strata.iter().filter(|doubling| **doubling == 3).count(),
            2,
            "two that stand 8 to 15 times"
        );
    }

    #[test]
    fn fault_64_a_text_on_which_the_model_breaks_counts_neither_way() {
        let corpus = corpus(&["the cat and the dog X and the sea and the cat", TEXT]);
        let model = Scripted::new(tokenizer().vocab_size(), 64).breaks_after(tokenizer().encode("X")[0]);
        let near = AuditConfig { near: 2, ..config(&[9], &[4]) };
        let audited = ask(&model, &corpus, &near, 8);
        let broken = |target: &Target| tokenizer().decode(&target.prompt).contains(&b'X');
        let mut n_broken = 0;
        for (number, target) in audited.of_role(Role::Uniform) {
            let breaks = broken(target) || tokenizer().decode(&target.continuation).contains(&b'X');
            assert_eq!(audited.base(number).is_none(), breaks);
            n_broken += usize::from(breaks);
        }
        assert!(audited.near.len() >= 2 - n_broken);
    }

    /// On a trained checkpoint: the probability of drawing a suffix, from one pass, against 2,000 draws.
    #[test]
    fn what_one_pass_says_of_drawing_is_what_draws_of_a_checkpoint_say() {
        use verbatim_lm::{Checkpoint, Runtime, SampleRequest, SamplingConfig, Temperature};
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo-raw");
        let checkpoint = Checkpoint::open(&folder, Runtime::default()).unwrap();
        let model = TextModel { model: checkpoint.model.as_ref(), tokenizer: &checkpoint.tokenizer };
        let decodings = [(0.7, Some(40)), (1.0, None), (1.3, Some(10))]
            .map(|(temperature, top_k)| Decoding { temperature, top_k, top_p: None });
        // What the model itself goes on with, so that the probabilities are not all zero.
        let prompt = model.tokenizer.encode("The keeper of the tower");
        let mut sampling = SamplingConfig {
            max_new_tokens: 4,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(1.0),
            seed: 11,
            batch: 64,
            stop_token: None,
        };
        let request = |index| SampleRequest { index, prompt: prompt.clone() };
        let likely =
            model.model.sample(&[request(0), request(1)], &sampling, &verbatim_store::Silent).unwrap();
        let target = |sample: &verbatim_lm::Sample| Target {
            label: String::new(),
            text: sample.index,
            text_bytes: 0,
            start_byte: 0,
            prompt: prompt.clone(),
            continuation: sample.tokens.clone(),
            suffix_text: String::new(),
            copies: None,
            role: Role::Chosen,
        };
        let targets: Vec<Target> = likely.iter().map(target).collect();
        let grid = Grid { prefixes: vec![prompt.len()], suffixes: vec![4] };
        let answers = discover((model.model, &targets), &grid, &decodings, asking(8)).unwrap();
        let n_draws = 2_000u64;
        for (i, decoding) in decodings.iter().enumerate() {
            sampling.temperature = Temperature::Fixed(decoding.temperature);
            (sampling.top_k, sampling.seed) = (decoding.top_k, 12);
            let requests: Vec<SampleRequest> = (0..n_draws).map(request).collect();
            let drawn = model.model.sample(&requests, &sampling, &verbatim_store::Silent).unwrap();
            for (target, answer) in targets.iter().zip(&answers) {
                let p = answer[0].as_ref().unwrap()[0].log_drawn[i].map_or(0.0, f64::exp);
                let k = drawn.iter().filter(|sample| sample.tokens == target.continuation).count() as u64;
                let interval = verbatim_membership::clopper_pearson(k, n_draws, 0.999);
                assert!(
                    (interval.low..=interval.high).contains(&p),
                    "{decoding:?}: {p} is not in {interval:?}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let (model, short) = (random_model(), corpus(&["the"]));
        let model = TextModel { model: &model, tokenizer: tokenizer() };
        for bad in [config(&[40], &[40]), config(&[4], &[4])] {
            let outcome = audit(model, (Some(&short), &[]), None, &bad, asking(1));
            assert!(matches!(outcome, Err(Error::InvalidArgument(_))));
        }
    }
}

//! Which planted canaries a model recites, from one teacher-forced pass over each, and how that grows with the number
//! of copies.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use verbatim_lm::{
    Choices, Passage, Resources, SampleRequest, SamplingConfig, Temperature, TextModel, Tokenizer,
};
use verbatim_membership::{Interval, clopper_pearson};
use verbatim_store::{Within, answer_chunks};

use crate::canary::{Canary, Placement, Shape};
use crate::discoverable::ask;
use crate::error::{Error, Result};
use crate::overlap::bleu;

/// Canaries between two moments at which answers are kept.
const CHUNK: usize = 1024;

/// What a model made of one canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recitation {
    /// The canary's name.
    pub id: String,
    /// What its secret looks like.
    pub shape: Shape,
    /// How its copies stand in the corpus.
    pub placement: Placement,
    /// How often it was planted.
    pub copies: u64,
    /// True when it was never planted.
    pub control: bool,
    /// Other canaries with the same text and placement, which were counted into this one.
    pub merged: Vec<String>,
    /// Tokens of the secret.
    pub n_secret_tokens: u64,
    /// Tokens of the secret, from its first, that the model's first choices spell.
    pub n_matched_tokens: u64,
    /// True when greedy decoding from the prefix spells the whole secret.
    pub recited: bool,
    /// The secret's log-probability given the prefix, in nats; none when the model's numbers are not finite.
    pub log_prob: Option<f64>,
}

/// How many of a set of canaries were recited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecitedCount {
    /// Canaries that the model could be asked for.
    pub n_canaries: u64,
    /// Those among them that it recited.
    pub n_recited: u64,
    /// Canaries for which the model's numbers were not finite; they count neither way.
    pub n_failed: u64,
    /// The Clopper-Pearson interval of the share that it recited.
    pub interval: Interval,
}

/// The planted canaries of one placement and number of copies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryGroup {
    /// How the copies stand in the corpus.
    pub placement: Placement,
    /// How many there are.
    pub copies: u64,
    /// How many canaries were recited.
    pub count: RecitedCount,
}

/// An audit in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanarySummary {
    /// The planted canaries, sorted by placement and number of copies.
    pub groups: Vec<CanaryGroup>,
    /// The controls of all placements together: what the model says without having seen them.
    pub controls: RecitedCount,
}

/// Asks a model for each canary: is the secret what greedy decoding makes of the prefix?
///
/// One teacher-forced pass answers for the whole secret: greedy decoding spells it if and only if each of its tokens
/// is the model's first choice after the prefix and the secret's tokens before it. Where a token spans the border of
/// prefix and secret, the model is given the prefix's tokens up to that one, which counts as the secret's first: the
/// prefix and the whole text are encoded, and what their tokens have in common at the start is the prompt.
///
/// Lines of the ledger with the same prefix, secret and placement are one canary with the sum of their copies. In a run's
/// folder, what was asked before is not asked again. Canaries in another process's share are left out.
///
/// # Errors
/// [`Error::BadCanary`] for an empty secret, one that is longer than the context, a control with copies, a planted
/// canary without any, an id used twice, or two lines with the same text that disagree; the model's own, those of a run's
/// folder.
pub fn audit_canaries(
    target: TextModel<'_>,
    ledger: &[Canary],
    resources: Resources<'_>,
) -> Result<Vec<Recitation>> {
    let TextModel { model, tokenizer } = target;
    let canaries = merged(ledger)?;
    let start = model.bos().or(tokenizer.end_of_text());
    let mut texts = Vec::with_capacity(canaries.len());
    for (canary, _) in &canaries {
        let text = split(canary, tokenizer, start)?;
        let (n_tokens, context_len) = (text.prompt.len() + text.continuation.len(), model.context_len());
        if n_tokens > context_len {
            let cause = format!("its {n_tokens} tokens do not fit in the context of {context_len}");
            return Err(bad(canary, cause));
        }
        texts.push(text);
    }
    resources.progress.stage("recite canaries", Some(texts.len() as u64), "canaries");
    let within = Within(resources.progress);
    let said =
        answer_chunks(resources.scratch, "recite", (texts.len(), CHUNK), |numbers| -> Result<Vec<Said>> {
            let asked: Vec<Passage> = numbers.iter().map(|number| texts[*number].clone()).collect();
            let mut said = vec![Said::default(); asked.len()];
            let mut take = |number: usize, choices: Option<Choices>| {
                said[number] = choices.as_ref().map_or_else(Said::default, Said::of);
                Ok(())
            };
            ask(model, &asked, &[], (resources.batch, &within), &mut take)?;
            resources.progress.advance(numbers.len() as u64);
            Ok(said)
        })?;
    let recitation = |((canary, merged), (text, said)): ((Canary, _), (&Passage, Option<Said>))| {
        Some(recitation((canary, merged), text.continuation.len() as u64, said?))
    };
    Ok(canaries.into_iter().zip(texts.iter().zip(said)).filter_map(recitation).collect())
}

/// What the model said of one canary, as it is kept; nothing where its numbers are not finite.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Said {
    n_matched_tokens: u64,
    log_prob: Option<f64>,
}

impl Said {
    fn of(choices: &Choices) -> Said {
        let matched = choices.is_first.iter().take_while(|is_first| **is_first);
        let log_probs = choices.records.iter().map(|record| f64::from(record.log_prob));
        Said { n_matched_tokens: matched.count() as u64, log_prob: Some(log_probs.sum()) }
    }
}

/// How much what a model decodes greedily after the prefix of each canary is like its secret, from 0 to 1, in the order of
/// [`audit_canaries`]: BLEU-4 over as many tokens as the secret has, and 1 where it is the secret. Above 0.75 it is what Ippolito et
/// al. 2023 (section 4) call approximate memorization, which a model that may not write the secret itself can still show.
///
/// # Errors
/// Those of [`audit_canaries`].
pub fn likenesses(model: TextModel<'_>, ledger: &[Canary], resources: Resources<'_>) -> Result<Vec<f64>> {
    let start = model.model.bos().or(model.tokenizer.end_of_text());
    let texts = merged(ledger)?
        .iter()
        .map(|(canary, _)| split(canary, model.tokenizer, start))
        .collect::<Result<Vec<Passage>>>()?;
    let requests: Vec<SampleRequest> =
        (0..).zip(&texts).map(|(index, text)| SampleRequest { index, prompt: text.prompt.clone() }).collect();
    let greedy = SamplingConfig {
        max_new_tokens: texts.iter().map(|text| text.continuation.len()).max().unwrap_or(0),
        top_k: None,
        top_p: None,
        temperature: Temperature::Fixed(0.0),
        seed: 0,
        batch: resources.batch,
        stop_token: None,
    };
    let decoded = model.model.sample(&requests, &greedy, resources.progress)?;
    let likeness = |(text, sample): (&Passage, verbatim_lm::Sample)| {
        let secret = &text.continuation[..];
        let decoded = &sample.tokens[..sample.tokens.len().min(secret.len())];
        // BLEU is 0 for what is shorter than its longest n-grams.
        if decoded == secret { 1.0 } else { bleu(decoded, secret) }
    };
    Ok(texts.iter().zip(decoded).map(likeness).collect())
}

/// Counts recited canaries by placement and number of copies, and the controls apart.
pub fn summarize(recitations: &[Recitation], level: f64) -> CanarySummary {
    let (controls, planted): (Vec<_>, Vec<_>) = recitations.iter().partition(|recitation| recitation.control);
    let mut groups: BTreeMap<(Placement, u64), Vec<&Recitation>> = BTreeMap::new();
    for recitation in planted {
        groups.entry((recitation.placement, recitation.copies)).or_default().push(recitation);
    }
    CanarySummary {
        groups: groups
            .into_iter()
            .map(|((placement, copies), group)| CanaryGroup {
                placement,
                copies,
                count: count(&group, level),
            })
            .collect(),
        controls: count(&controls, level),
    }
}

fn count(recitations: &[&Recitation], level: f64) -> RecitedCount {
    let n_failed = recitations.iter().filter(|recitation| recitation.log_prob.is_none()).count() as u64;
    let n_recited = recitations.iter().filter(|recitation| recitation.recited).count() as u64;
    let n_canaries = recitations.len() as u64 - n_failed;
    RecitedCount { n_canaries, n_recited, n_failed, interval: clopper_pearson(n_recited, n_canaries, level) }
}

fn recitation((canary, merged): (Canary, Vec<String>), n_secret_tokens: u64, said: Said) -> Recitation {
    let Said { n_matched_tokens, log_prob } = said;
    Recitation {
        id: canary.id,
        shape: canary.shape,
        placement: canary.placement,
        copies: canary.copies,
        control: canary.control,
        merged,
        n_secret_tokens,
        n_matched_tokens,
        recited: n_matched_tokens == n_secret_tokens,
        log_prob,
    }
}

/// The tokens of a canary: what the model is given, and what it is asked for.
pub(crate) fn split(canary: &Canary, tokenizer: &Tokenizer, start: Option<u32>) -> Result<Passage> {
    let prefix = tokenizer.encode(&canary.prefix);
    let mut whole = tokenizer.encode(&format!("{}{}", canary.prefix, canary.secret));
    let n_common = prefix.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    let continuation = whole.split_off(n_common);
    if whole.is_empty() {
        let start = start.ok_or_else(|| {
            bad(canary, "it has no prefix, and the model has no token that begins a text".to_owned())
        })?;
        whole.push(start);
    }
    Ok(Passage { prompt: whole, continuation })
}

/// The ledger's canaries in its order, equal texts merged, each with the names of those counted into it.
pub(crate) fn merged(ledger: &[Canary]) -> Result<Vec<(Canary, Vec<String>)>> {
    let mut canaries: Vec<(Canary, Vec<String>)> = Vec::new();
    let mut by_text = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for canary in ledger {
        if canary.secret.is_empty() {
            return Err(bad(canary, "its secret is empty".to_owned()));
        }
        if canary.control != (canary.copies == 0) {
            let cause = format!("control is {} with {} copies", canary.control, canary.copies);
            return Err(bad(canary, cause));
        }
        if !ids.insert(&canary.id) {
            return Err(bad(canary, "its id is used twice".to_owned()));
        }
        match by_text.entry((&canary.prefix, &canary.secret)) {
            Entry::Vacant(entry) => {
                entry.insert(canaries.len());
                canaries.push((canary.clone(), Vec::new()));
            }
            Entry::Occupied(entry) => {
                let (first, merged) = &mut canaries[*entry.get()];
                if (first.placement, first.control) != (canary.placement, canary.control) {
                    let cause = format!("has the text of {}, but not its placement or control", first.id);
                    return Err(bad(canary, cause));
                }
                first.copies += canary.copies;
                merged.push(canary.id.clone());
            }
        }
    }
    Ok(canaries)
}

pub(crate) fn bad(canary: &Canary, cause: String) -> Error {
    Error::BadCanary { id: canary.id.clone(), cause }
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Gpt2, Gpt2Config, LanguageModel, Scripted};

    use super::*;
    use crate::testing::{asking, canary, greedy, tokenizer};

    fn scripted() -> Scripted {
        Scripted::new(tokenizer().vocab_size(), 64).begins_with(0)
    }

    fn audit(model: &dyn LanguageModel, ledger: &[Canary]) -> Vec<Recitation> {
        audit_canaries(TextModel { model, tokenizer: tokenizer() }, ledger, asking(16)).unwrap()
    }

    #[test]
    fn what_the_model_knows_is_recited_and_controls_are_not() {
        let known = tokenizer().encode("The vault code is 4927.");
        let ledger = [
            canary("planted", 4, "The vault code is", " 4927."),
            canary("control", 0, "The vault code is", " 5031."),
        ];
        let recitations = audit(&scripted().knows(known, 0.9), &ledger);
        assert!(recitations[0].recited && !recitations[1].recited);
        assert_eq!(recitations[0].n_matched_tokens, recitations[0].n_secret_tokens);
        assert_eq!(recitations[1].n_matched_tokens, 1, "the space");
        assert!(recitations[0].log_prob > recitations[1].log_prob);
    }

    #[test]
    fn what_a_server_tells_of_scores_changes_nothing_that_it_recites() {
        /// Tells of all tokens that they are alike.
        struct Nothing;
        impl verbatim_lm::Release for Nothing {
            fn tell(&self, _: &[u32], log_probs: &mut [f32]) {
                log_probs.fill(0.0);
            }
        }
        let known = tokenizer().encode("The vault code is 4927.");
        let ledger = [canary("planted", 4, "The vault code is", " 4927.")];
        let model = scripted().knows(known, 0.9);
        let recitation = &audit(&*model.served(&Nothing), &ledger)[0];
        let alike = -(tokenizer().vocab_size() as f64).ln() * recitation.n_secret_tokens as f64;
        assert!(recitation.recited && (recitation.log_prob.unwrap() - alike).abs() < 1e-4);
    }

    /// lm-extraction's baseline scores the last token of the prefix and not the last of the secret.
    #[test]
    fn peer_01_the_secret_is_scored_from_its_first_to_its_last_token() {
        let tokens = tokenizer().encode("The vault code is 4927.");
        let ledger = [canary("a", 4, "The vault code is", " 4927.")];
        let n_prefix = tokenizer().encode("The vault code is").len();
        let n_secret = tokens.len() - n_prefix;

        // All but the secret's last token: not recited, one short.
        let all_but_last = scripted().knows(tokens[..tokens.len() - 1].to_vec(), 0.9);
        let recitation = &audit(&all_but_last, &ledger)[0];
        assert!(!recitation.recited);
        assert_eq!(recitation.n_matched_tokens as usize, n_secret - 1);

        // Nothing of the prefix but its last token, which leads to the secret: recited, the prefix costs nothing.
        let only_secret = scripted().knows(tokens[n_prefix - 1..].to_vec(), 0.9);
        let recitation = &audit(&only_secret, &ledger)[0];
        assert!(recitation.recited);
        assert!((recitation.log_prob.unwrap() - n_secret as f64 * 0.9f64.ln()).abs() < 1e-5);

        // All but the secret's first token: the first is what fails.
        let mut wrong_first = tokens.clone();
        wrong_first[n_prefix] = 9;
        assert_eq!(audit(&scripted().knows(wrong_first, 0.9), &ledger)[0].n_matched_tokens, 0);
    }

    /// On a model with real numbers: recited if and only if greedy sampling draws the secret.
    #[test]
    fn recited_is_what_greedy_sampling_draws() {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": tokenizer().vocab_size(), "n_positions": 48, "n_embd": 16, "n_layer": 1, "n_head": 2,
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.4
        }))
        .unwrap();
        let tensors = Gpt2::initial_tensors(&config, 5).unwrap().into_iter().collect();
        let model = Gpt2::new(config, tensors).unwrap();
        let mut ledger = Vec::new();
        for i in 0..40 {
            let prefix = format!("the vault of the number {i}");
            let prompt = tokenizer().encode(&prefix);
            let drawn = greedy(&model, &prompt, 4);
            let Ok(secret) = String::from_utf8(tokenizer().decode(&drawn)) else { continue };
            // Only where the text's own tokens are those drawn is greedy decoding of the text the question.
            let is_canonical = tokenizer().encode(&format!("{prefix}{secret}")) == [prompt, drawn].concat();
            ledger.extend(is_canonical.then(|| canary(&format!("drawn {i}"), 1, &prefix, &secret)));
        }
        assert!(ledger.len() >= 5, "too few to test anything; another seed is needed");
        let n_drawn = ledger.len();
        ledger.push(canary("other", 1, "the vault of the number", " the cat"));
        let recited: Vec<bool> = audit(&model, &ledger).iter().map(|recitation| recitation.recited).collect();
        assert!(recited[..n_drawn].iter().all(|recited| *recited) && !recited[n_drawn], "{recited:?}");
    }

    #[test]
    fn what_may_not_be_written_is_told_nearly() {
        /// Forbids one token.
        struct Without(u32);
        impl verbatim_lm::Release for Without {
            fn tell(&self, _: &[u32], _: &mut [f32]) {}
            fn permit(&self, _: &[u32], logits: &mut [f32]) {
                logits[self.0 as usize] = f32::NEG_INFINITY;
            }
        }
        let secret = " and the dog and the other one went to the sea.";
        let known = tokenizer().encode(&format!("The cat{secret}"));
        let last = *known.last().unwrap();
        let model = scripted().knows(known, 0.9);
        let ledger = [
            canary("planted", 4, "The cat", secret),
            canary("short", 4, "The cat", " and"),
            canary("control", 0, "The dog", " went to the cat and the sea"),
        ];
        let told = |model: &dyn LanguageModel| {
            likenesses(TextModel { model, tokenizer: tokenizer() }, &ledger, crate::testing::asking(2))
                .unwrap()
        };
        let free = told(&model);
        assert_eq!(free[..2], [1.0, 1.0]);
        assert!(free[2] < 0.75, "{free:?}");
        let forbidden = Without(last);
        let kept = told(&*model.served(&forbidden));
        assert!(kept[0] < 1.0 && kept[0] > 0.75, "{kept:?}");
        assert_eq!(kept[1], 1.0);
    }

    #[test]
    fn a_token_across_the_border_is_the_first_of_the_secret() {
        let (joined, parts) = (tokenizer().encode("the other"), tokenizer().encode("the ot"));
        assert!(!joined.starts_with(&parts), "this tokenizer joins the letters after the border");
        let text = split(&canary("a", 1, "the ot", "her"), tokenizer(), Some(0)).unwrap();
        assert_eq!([&text.prompt[..], &text.continuation].concat(), joined);
        assert_eq!(tokenizer().decode(&text.prompt), b"the");
        assert!(audit(&scripted().knows(joined, 0.9), &[canary("a", 1, "the ot", "her")])[0].recited);
    }

    #[test]
    fn a_canary_without_a_prefix_begins_at_the_first_token() {
        let text = split(&canary("a", 1, "", "the sea"), tokenizer(), Some(0)).unwrap();
        assert_eq!((text.prompt, text.continuation), (vec![0], tokenizer().encode("the sea")));
        assert_eq!(split(&canary("a", 1, "", "the sea"), tokenizer(), None).err().unwrap().exit_code(), 65);
    }

    #[test]
    fn fault_71_what_cannot_be_audited_is_refused() {
        let long = "the cat and the dog ".repeat(20);
        let clash = canary("b", 0, "It is", " so.");
        let moved = Canary { placement: Placement::Passage, ..canary("b", 1, "It is", " so.") };
        for ledger in [
            vec![canary("a", 1, "It is", &long)],
            vec![canary("a", 1, "It is", "")],
            vec![canary("a", 1, "It is", " so."), canary("a", 1, "It is", " not.")],
            vec![canary("a", 1, "It is", " so."), clash],
            vec![canary("a", 1, "It is", " so."), moved],
            vec![Canary { control: true, ..canary("a", 1, "It is", " so.") }],
            vec![Canary { control: false, ..canary("a", 0, "It is", " so.") }],
        ] {
            let model = TextModel { model: &scripted(), tokenizer: tokenizer() };
            let error = audit_canaries(model, &ledger, asking(16)).unwrap_err();
            assert!(matches!(error, Error::BadCanary { .. }) && error.exit_code() == 65, "{error}");
            assert!(!error.to_string().contains("so."), "the secret stays out of messages: {error}");
        }
    }

    #[test]
    fn fault_71_lines_with_the_same_text_are_one_canary() {
        let ledger = [
            canary("a", 4, "It is", " so."),
            canary("b", 1, "It is", " not."),
            canary("c", 12, "It is", " so."),
        ];
        let recitations = audit(&scripted(), &ledger);
        assert_eq!(recitations.len(), 2);
        assert_eq!((recitations[0].copies, &recitations[0].merged[..]), (16, &["c".to_owned()][..]));
        assert!(recitations[1].merged.is_empty());
    }

    #[test]
    fn fault_64_a_canary_on_which_the_model_breaks_counts_neither_way() {
        let model = scripted().breaks_after(tokenizer().encode("X")[0]);
        let ledger = [canary("a", 1, "It is X", " so."), canary("b", 1, "It is", " so.")];
        let recitations = audit(&model, &ledger);
        assert_eq!((recitations[0].recited, recitations[0].log_prob), (false, None));
        assert!(recitations[1].log_prob.is_some());
        let count = summarize(&recitations, 0.95).groups[0].count;
        assert_eq!((count.n_canaries, count.n_recited, count.n_failed), (1, 0, 1));
    }

    #[test]
    fn groups_are_by_placement_and_copies_and_controls_stand_apart() {
        let known = |text: &str| tokenizer().encode(text);
        let model = scripted().knows(known("It is so."), 0.9).knows(known("My pin is 73."), 0.8);
        let passage = |id, copies, secret| Canary {
            placement: Placement::Passage,
            ..canary(id, copies, "My pin is", secret)
        };
        let ledger = [
            passage("p16", 16, " 73."),
            canary("d4", 4, "It is", " so."),
            canary("d4 too", 4, "He ran", " off."),
            canary("d1", 1, "She was", " not."),
            canary("control", 0, "They", " were."),
            passage("passage control", 0, " 99."),
        ];
        let summary = summarize(&audit(&model, &ledger), 0.95);
        let groups: Vec<_> = summary
            .groups
            .iter()
            .map(|group| (group.placement, group.copies, group.count.n_recited, group.count.n_canaries))
            .collect();
        let (document, passage) = (Placement::Document, Placement::Passage);
        assert_eq!(groups, [(document, 1, 0, 1), (document, 4, 1, 2), (passage, 16, 1, 1)]);
        assert_eq!(summary.groups[1].count.interval, clopper_pearson(1, 2, 0.95));
        assert_eq!((summary.controls.n_recited, summary.controls.n_canaries), (0, 2));
    }

    #[test]
    fn fault_78_debug_shows_no_secret() {
        let shown = format!("{:?}", canary("a", 1, "My name is", " Seven."));
        assert!(!shown.contains("Seven") && !shown.contains("name is"), "{shown}");
    }
}

//! What models say of drawn samples: one teacher-forced pass each for the target model, the lower-cased text and the
//! reference models. Everything that ranking needs is kept, so that ranking again needs no model.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use verbatim_lm::{
    LanguageModel, Passage, Resources, TextModel, TokenRecord, score_passages, score_passages_each,
};
use verbatim_membership::zlib_len;
use verbatim_store::Answers;

use crate::draw::DrawnSample;
use crate::error::Result;
use crate::prompts::{Strategy, prompt_tokens};

/// The models of a ranking.
#[derive(Clone, Copy, Debug)]
pub struct Scorers<'a> {
    /// The model that drew the samples.
    pub target: TextModel<'a>,
    /// A much smaller model of the same family, for [`crate::Metric::Small`].
    pub small: Option<TextModel<'a>>,
    /// A somewhat smaller one, for [`crate::Metric::Medium`].
    pub medium: Option<TextModel<'a>>,
}

/// What the models said of one sample: of the tokens drawn, given the prompt; the prompt itself has no records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredSample {
    /// How it was drawn.
    pub strategy: Strategy,
    /// Its number within the strategy.
    pub index: u64,
    /// Bytes of the sample's text.
    pub n_bytes: u64,
    /// Bytes of the text under zlib ([`verbatim_membership::zlib_len`]).
    pub zlib_bytes: u64,
    /// The target model's records, one for each token drawn.
    #[serde(with = "verbatim_lm::columns")]
    pub records: Vec<TokenRecord>,
    /// The target model's log-probabilities of the lower-cased text; empty where they are not finite.
    pub lowercase: Vec<f32>,
    /// The small model's log-probabilities, if there was one; empty where they are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small: Option<Vec<f32>>,
    /// The medium model's log-probabilities, if there was one; empty where they are not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Vec<f32>>,
    /// Why the sample has no records although it has tokens, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Scores samples, in their order.
///
/// `records` are those of [`draw`](crate::draw()): with them, the target model is not asked again of what it drew.
///
/// A reference model with the same tokenizer sees the very tokens that were drawn, another one the text anew. In a run's
/// folder, what earlier processes asked the models is not asked again, but for the target's records.
///
/// # Errors
/// The models' own, those of a run's folder; a sample whose scores are not finite carries its error and stops nothing.
pub fn score(
    scorers: &Scorers<'_>,
    drawn: &[DrawnSample],
    records: Option<Vec<Vec<TokenRecord>>>,
    resources: Resources<'_>,
) -> Result<Vec<ScoredSample>> {
    let target = scorers.target;
    let own = match records {
        // What was drawn before a failure must not reach the ranking.
        Some(records) => records
            .into_iter()
            .zip(drawn)
            .map(|(records, sample)| Some(if sample.error.is_some() { Vec::new() } else { records }))
            .collect(),
        None => {
            let texts: Vec<Passage> = drawn.iter().map(drawn_passage).collect();
            score_passages(target.model, &texts, resources.batch, resources.progress)?
        }
    };
    let lowered: Vec<Passage> = drawn.iter().map(|sample| lowered_passage(sample, target)).collect();
    let asked = |question, model: TextModel<'_>, texts: &[Passage]| {
        log_probs(question, (model.model, drawn), texts, resources)
    };
    let lowered = asked("lowercase", target, &lowered)?;
    let reference = |question, reference: Option<TextModel<'_>>| {
        let Some(reference) = reference else { return Ok(None) };
        let texts = drawn.iter().map(|sample| retokenized(sample, target, reference));
        asked(question, reference, &texts.collect::<Result<Vec<_>>>()?).map(Some)
    };
    let small = reference("small", scorers.small)?;
    let medium = reference("medium", scorers.medium)?;

    let mut scored = Vec::with_capacity(drawn.len());
    for (i, (sample, records)) in drawn.iter().zip(own).enumerate() {
        let bytes = target.tokenizer.decode(&sample.tokens);
        let not_finite = || "the model's log-probabilities are not finite".to_owned();
        let error = sample.error.clone().or_else(|| records.is_none().then(not_finite));
        scored.push(ScoredSample {
            strategy: sample.strategy,
            index: sample.index,
            n_bytes: bytes.len() as u64,
            zlib_bytes: zlib_len(&bytes) as u64,
            records: records.unwrap_or_default(),
            lowercase: lowered[i].clone(),
            small: small.as_ref().map(|small| small[i].clone()),
            medium: medium.as_ref().map(|medium| medium[i].clone()),
            error,
        });
    }
    Ok(scored)
}

fn drawn_passage(sample: &DrawnSample) -> Passage {
    // What was drawn before a failure must not reach the ranking, so it is not scored either.
    let continuation = if sample.error.is_some() { Vec::new() } else { sample.tokens.clone() };
    Passage { prompt: sample.prompt.clone(), continuation }
}

fn lowered_passage(sample: &DrawnSample, target: TextModel<'_>) -> Passage {
    let mut passage = drawn_passage(sample);
    if !passage.continuation.is_empty() {
        passage.continuation = target.tokenizer.encode(&sample.text.to_lowercase());
    }
    passage
}

/// What a model said of one sample's text, as it is kept.
#[derive(Serialize, Deserialize)]
struct Said {
    strategy: Strategy,
    index: u64,
    log_probs: Vec<f32>,
}

/// The log-probabilities of a text for each sample; none where the model's numbers are not finite.
fn log_probs(
    question: &'static str,
    (model, drawn): (&dyn LanguageModel, &[DrawnSample]),
    texts: &[Passage],
    resources: Resources<'_>,
) -> Result<Vec<Vec<f32>>> {
    let (earlier, mut answers) = Answers::open::<Said>(resources.scratch, question)?;
    let mut earlier: HashMap<(Strategy, u64), Vec<f32>> =
        earlier.into_iter().map(|said| ((said.strategy, said.index), said.log_probs)).collect();
    let mut said: Vec<Option<Vec<f32>>> =
        drawn.iter().map(|sample| earlier.remove(&(sample.strategy, sample.index))).collect();
    let missing: Vec<usize> = (0..said.len()).filter(|number| said[*number].is_none()).collect();
    let asked: Vec<&Passage> = missing.iter().map(|number| &texts[*number]).collect();
    let pace = (resources.batch, resources.progress);
    let outcome = score_passages_each(model, &asked, pace, &mut |asked, records| {
        let DrawnSample { strategy, index, .. } = drawn[missing[asked]];
        let log_probs = records.iter().flatten().map(|record| record.log_prob).collect();
        let answer = Said { strategy, index, log_probs };
        answers.keep(&answer)?;
        said[missing[asked]] = Some(answer.log_probs);
        Ok(())
    });
    // What was scored before an interruption is of use.
    answers.save()?;
    outcome?;
    Ok(said.into_iter().map(Option::unwrap_or_default).collect())
}

/// A sample in the tokens of another model.
fn retokenized(sample: &DrawnSample, target: TextModel<'_>, other: TextModel<'_>) -> Result<Passage> {
    let mut text = drawn_passage(sample);
    if target.tokenizer.sha256() != other.tokenizer.sha256() {
        let starts = [target.model.bos(), target.tokenizer.end_of_text()];
        let is_start = matches!(sample.prompt[..], [token] if starts.contains(&Some(token)));
        let prompt = if is_start { Vec::new() } else { target.tokenizer.decode(&sample.prompt) };
        let start = other.model.bos().or(other.tokenizer.end_of_text());
        text.prompt = prompt_tokens(&String::from_utf8_lossy(&prompt), other.tokenizer, start)?;
        if !text.continuation.is_empty() {
            text.continuation = other.tokenizer.encode(&sample.text);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use verbatim_lm::{Scripted, Tokenizer};
    use verbatim_store::Scratch;

    use super::*;
    use crate::testing::{asking, config, sample, scorers, tokenizer};
    use crate::{Exclusion, RankConfig, draw, rank};

    fn scripted() -> Scripted {
        Scripted::new(tokenizer().vocab_size(), 64).begins_with(0)
    }

    /// LM_Memorization and others score the prompt along with what was drawn.
    #[test]
    fn peer_06_peer_13_the_prompt_is_not_in_the_score() {
        // The model knows the end of a text by heart and nothing of its beginning.
        let ending = tokenizer().encode("e vault code is seven.");
        let model = scripted().knows(ending.clone(), 0.99);
        let drawn =
            DrawnSample { prompt: ending[..2].to_vec(), tokens: ending[2..].to_vec(), ..sample(0, "") };
        let surprising =
            DrawnSample { prompt: [&tokenizer().encode("XQZ")[..], &drawn.prompt].concat(), ..drawn.clone() };
        let scored = score(&scorers(&model), &[drawn.clone(), surprising], None, asking(4)).unwrap();
        for scored in &scored {
            assert!(scored.records.iter().map(|record| record.token).eq(drawn.tokens.iter().copied()));
            assert!(scored.records.iter().all(|record| record.log_prob > -0.02), "{:?}", scored.records);
        }
        assert_eq!(scored[0].records, scored[1].records);
    }

    #[test]
    fn fault_64_a_model_that_breaks_costs_the_samples_that_broke() {
        let broken = tokenizer().encode("X")[0];
        let model = scripted().breaks_after(broken);
        let texts = ["the cat", "the X dog", "", "the other dog"];
        let mut drawn: Vec<DrawnSample> = (0..).zip(texts).map(|(i, text)| sample(i, text)).collect();
        drawn.push(DrawnSample { error: Some("drawing failed".to_owned()), ..sample(4, "the sea") });
        let scored = score(&scorers(&model), &drawn, None, asking(4)).unwrap();
        let failed: Vec<bool> = scored.iter().map(|sample| sample.error.is_some()).collect();
        assert_eq!(failed, [false, true, false, false, true]);
        for cell in rank(&scored, &RankConfig { window_tokens: 5, top: 10, pool: 10 }).unwrap() {
            assert_eq!(cell.excluded, [(Exclusion::Failed, 2), (Exclusion::Empty, 1)]);
            let mut ranked: Vec<u64> = cell.ranked.iter().map(|candidate| candidate.index).collect();
            ranked.sort();
            assert_eq!(ranked, [0, 3], "{}", cell.metric);
        }
        // The lower-cased text may break where the text does not: only that metric is undefined.
        let model = scripted().breaks_after(tokenizer().encode("x")[0]);
        let scored = score(&scorers(&model), &[sample(0, "the X dog")], None, asking(4)).unwrap();
        assert!(scored[0].error.is_none() && scored[0].lowercase.is_empty());
        let cells = rank(&scored, &RankConfig { window_tokens: 5, top: 10, pool: 10 }).unwrap();
        let excluded: Vec<_> = cells.iter().filter(|cell| !cell.excluded.is_empty()).collect();
        assert!(matches!(excluded[..], [cell] if cell.excluded == [(Exclusion::Undefined, 1)]));
    }

    #[test]
    fn fault_62_samples_longer_than_the_context_and_without_tokens_are_scored() {
        let long = sample(0, &"the cat and the dog ".repeat(20));
        assert!(long.tokens.len() > 64);
        let scored = score(&scorers(&scripted()), &[long.clone(), sample(1, "")], None, asking(4)).unwrap();
        assert_eq!(scored[0].records.len(), long.tokens.len());
        assert!(scored[1].records.is_empty() && scored[1].error.is_none());
    }

    #[test]
    fn a_reference_with_the_same_tokenizer_sees_the_drawn_tokens_and_another_one_the_text() {
        let target = scripted().knows(tokenizer().encode("the sea"), 0.9);
        let drawn = draw(&target, tokenizer(), &config(&Strategy::ALL, 3), asking(4)).unwrap().samples;
        let other = Tokenizer::from_bytes(&Tokenizer::train(["aaa"].into_iter(), 257).unwrap()).unwrap();
        let unknowing = Scripted::new(other.vocab_size(), 64).begins_with(0);
        let scorers = Scorers {
            small: Some(TextModel { model: &unknowing, tokenizer: &other }),
            medium: Some(TextModel { model: &target, tokenizer: tokenizer() }),
            ..scorers(&target)
        };
        for (sample, scored) in drawn.iter().zip(score(&scorers, &drawn, None, asking(4)).unwrap()) {
            let own: Vec<f32> = scored.records.iter().map(|record| record.log_prob).collect();
            assert_eq!(scored.medium, Some(own), "the same model and tokens");
            let small = scored.small.unwrap();
            assert_eq!(small.len(), sample.text.len(), "one token a byte");
            assert!(small.iter().all(|log_prob| (log_prob + 257f32.ln()).abs() < 1e-5));
        }
    }

    #[test]
    fn what_was_said_in_drawing_is_what_scoring_says() {
        let model = scripted().knows(tokenizer().encode("the other sea"), 0.7);
        let draws = draw(&model, tokenizer(), &config(&Strategy::ALL, 5), asking(4)).unwrap();
        let asked_again = score(&scorers(&model), &draws.samples, None, asking(4)).unwrap();
        let kept = score(&scorers(&model), &draws.samples, Some(draws.records), asking(4)).unwrap();
        assert!(kept == asked_again && kept.iter().any(|scored| !scored.records.is_empty()));
    }

    #[test]
    fn what_was_scored_before_a_kill_is_not_scored_again() {
        let model = scripted().knows(tokenizer().encode("the other sea"), 0.7);
        let broken = scripted().breaks_after(0);
        let with_small = |small| Scorers {
            small: Some(TextModel { model: small, tokenizer: tokenizer() }),
            ..scorers(&model)
        };
        let drawn = draw(&model, tokenizer(), &config(&[Strategy::TopN], 9), asking(4)).unwrap().samples;
        let whole = score(&with_small(&model), &drawn, None, asking(4)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |small, drawn: &[DrawnSample]| {
            let scratch = Scratch::of_run(folder.path(), &serde_json::json!({})).unwrap();
            score(&with_small(small), drawn, None, Resources { scratch: &scratch, ..asking(4) }).unwrap()
        };
        assert!(in_folder(&model, &drawn[2..6]) == whole[2..6]);
        // A model that answers nothing is asked only of what is missing.
        let went_on = in_folder(&broken, &drawn);
        assert!(went_on[2..6] == whole[2..6]);
        let missing = went_on[..2].iter().chain(&went_on[6..]);
        assert!(missing.into_iter().all(|scored| scored.small == Some(Vec::new())));
        assert!(whole.iter().all(|scored| scored.small != Some(Vec::new())));
    }

    #[test]
    fn scores_do_not_depend_on_the_batch() {
        let model = scripted().knows(tokenizer().encode("the other sea"), 0.7);
        let drawn = draw(&model, tokenizer(), &config(&Strategy::ALL, 5), asking(4)).unwrap().samples;
        let one = score(&scorers(&model), &drawn, None, asking(1)).unwrap();
        assert!(
            [7, 64].iter().all(|&batch| score(&scorers(&model), &drawn, None, asking(batch)).unwrap() == one)
        );
    }
}

//! What each of some decodings would make of a text, from one teacher-forced pass: how likely it is that it draws the very
//! tokens of the text, and how near greedy decoding comes to other ones.

use verbatim_store::Progress;

use crate::error::{Error, Result};
use crate::logits::Row;
use crate::model::{Forward, Take};
use crate::passage::Passage;
use crate::record::{self, Question, TokenRecord};
use crate::sampling::Decoding;
use crate::served::{self, Release};

/// What a model says of the tokens of a continuation, (S) each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// Their records.
    pub records: Vec<TokenRecord>,
    /// Whether each is what greedy decoding takes. That is the first choice of the record, but where a server tells something
    /// else than it decodes.
    pub is_first: Vec<bool>,
    /// How far the logit of each is above the largest of all others: negative where greedy decoding takes another token,
    /// zero where two tokens are equally likely; infinite where a server permits only one of the two, or neither.
    pub margins: Vec<f32>,
    /// For each decoding, the log-probability with which it draws each token after those before; minus infinity where it
    /// cuts the token off. (D, S)
    pub log_probs: Vec<Vec<f32>>,
}

/// [`crate::LanguageModel::choose_each`] for any engine.
pub(crate) fn choose<M: Forward + ?Sized>(
    model: &M,
    (passages, decodings): (&[Passage], &[Decoding]),
    batch: usize,
    take: Take<'_, Choices>,
    progress: &dyn Progress,
) -> Result<()> {
    decodings.iter().try_for_each(|decoding| decoding.validate(model.vocab_size()))?;
    if let Some(number) = passages.iter().position(|passage| passage.prompt.is_empty()) {
        return Err(Error::InvalidArgument(format!("passage {number} has no prompt")));
    }
    let texts: Vec<Vec<u32>> =
        passages.iter().map(|passage| [&passage.prompt[..], &passage.continuation].concat()).collect();
    let question = Question {
        texts: &texts,
        first: &|number| passages[number].prompt.len(),
        answer: |row: Row<'_>, context: &[u32], token| match model.release() {
            None => choice(row, token, decodings),
            Some(release) => served_choice(release, context, row, (token, decodings)),
        },
    };
    let mut take_columns = |number, tokens: Vec<Choice>| {
        let mut choices = Choices {
            log_probs: vec![Vec::with_capacity(tokens.len()); decodings.len()],
            ..Choices::default()
        };
        for Choice { record, is_first, margin, log_probs } in tokens {
            choices.records.push(record);
            choices.is_first.push(is_first);
            choices.margins.push(margin);
            choices.log_probs.iter_mut().zip(log_probs).for_each(|(column, log_prob)| column.push(log_prob));
        }
        take(number, choices)
    };
    record::score(model, &question, batch, &mut take_columns, progress)
}

/// What a model says of one token.
#[derive(Clone)]
struct Choice {
    record: TokenRecord,
    is_first: bool,
    margin: f32,
    /// (D)
    log_probs: Vec<f32>,
}

fn choice(row: Row<'_>, token: u32, decodings: &[Decoding]) -> Option<Choice> {
    let distribution = row.distribution()?;
    let log_prob = |decoding: &Decoding| decoding.log_prob(row, distribution.max(), token) as f32;
    let log_probs = decodings.iter().map(log_prob).collect();
    let record = distribution.record(token, row.at(token), row.rank(token));
    Some(Choice { record, is_first: record.rank == 0, margin: row.margin(token), log_probs })
}

/// The record of what is told; margin and decodings of what is permitted. Where there is no answer no decoding draws anything.
fn served_choice(
    release: &dyn Release,
    context: &[u32],
    row: Row<'_>,
    (token, decodings): (u32, &[Decoding]),
) -> Option<Choice> {
    let record = served::told(Some(release), context, row, |row| row.record(token))?;
    let Some((logits, max)) = served::permitted(release, context, row) else {
        let never = f32::NEG_INFINITY;
        return Some(Choice {
            record,
            is_first: false,
            margin: never,
            log_probs: vec![never; decodings.len()],
        });
    };
    let row = logits.row(0);
    let log_probs = decodings.iter().map(|decoding| decoding.log_prob(row, max, token) as f32).collect();
    Some(Choice { record, is_first: row.rank(token) == 0, margin: row.margin(token), log_probs })
}

#[cfg(test)]
mod tests {
    use verbatim_store::Silent;

    use super::*;
    use crate::{LanguageModel, Ngram};

    const PLAIN: Decoding = Decoding { temperature: 1.0, top_k: None, top_p: None };

    fn model() -> Ngram {
        Ngram::new((5, 32), 2, 0.1, &[vec![0, 1, 2, 1, 3, 1, 2, 4, 1, 2, 0, 1, 3]])
    }

    fn passage(prompt: &[u32], continuation: &[u32]) -> Passage {
        Passage { prompt: prompt.to_vec(), continuation: continuation.to_vec() }
    }

    fn choose(passages: &[Passage], decodings: &[Decoding], batch: usize) -> Vec<Choices> {
        let mut all = vec![Choices::default(); passages.len()];
        let mut take = |number: usize, choices| {
            all[number] = choices;
            Ok(())
        };
        model().choose_each((passages, decodings), batch, &mut take, &Silent).unwrap();
        all
    }

    #[test]
    fn records_are_those_of_scoring_the_whole_from_the_continuation_on() {
        let passages = [passage(&[0, 1], &[2, 1, 3]), passage(&[4], &[1]), passage(&[2, 0, 1], &[])];
        for batch in [1, 7] {
            for (choices, passage) in choose(&passages, &[PLAIN], batch).iter().zip(&passages) {
                let whole = [&passage.prompt[..], &passage.continuation].concat();
                let records = model().score(&[whole], 1, &Silent).unwrap().remove(0);
                assert_eq!(choices.records, records[passage.prompt.len() - 1..]);
                for (i, record) in choices.records.iter().enumerate() {
                    assert!(
                        (choices.log_probs[0][i] - record.log_prob).abs() < 1e-6,
                        "a decoding that cuts nothing"
                    );
                    assert_eq!(choices.is_first[i], record.rank == 0);
                    assert_eq!(choices.margins[i] >= 0.0, record.rank == 0 || choices.margins[i] == 0.0);
                }
            }
        }
    }

    /// The product of what each decoding says of a passage is the share of draws that are that passage.
    #[test]
    fn what_a_decoding_says_is_how_often_sampling_draws_it() {
        use crate::{SampleRequest, SamplingConfig, Temperature};
        let decodings = [
            PLAIN,
            Decoding { temperature: 0.7, ..PLAIN },
            Decoding { top_k: Some(2), ..PLAIN },
            Decoding { top_p: Some(0.8), ..PLAIN },
            Decoding { temperature: 1.5, top_k: Some(3), top_p: Some(0.9) },
        ];
        let n_draws = 10_000;
        for continuation in [[2, 1], [3, 1], [2, 4]] {
            let choices = &choose(&[passage(&[0, 1], &continuation)], &decodings, 1)[0];
            for (decoding, log_probs) in decodings.iter().zip(&choices.log_probs) {
                let p = log_probs.iter().map(|log_prob| f64::from(*log_prob)).sum::<f64>().exp();
                let config = SamplingConfig {
                    max_new_tokens: 2,
                    top_k: decoding.top_k,
                    top_p: decoding.top_p,
                    temperature: Temperature::Fixed(decoding.temperature),
                    seed: 3,
                    batch: 64,
                    stop_token: None,
                };
                let requests: Vec<SampleRequest> =
                    (0..n_draws).map(|index| SampleRequest { index, prompt: vec![0, 1] }).collect();
                let samples = model().sample(&requests, &config, &Silent).unwrap();
                let n = samples.iter().filter(|sample| sample.tokens == continuation).count() as f64;
                let n_draws = n_draws as f64;
                let deviation = (p * (1.0 - p) / n_draws).sqrt();
                assert!((n / n_draws - p).abs() <= 4.0 * deviation, "{decoding:?} {continuation:?}: {p} {n}");
            }
        }
    }

    #[test]
    fn a_tie_has_no_margin_and_goes_to_the_lower_id() {
        // After the token 4 alone nothing was seen but 1; after an unknown context all are alike.
        let scripted = crate::Scripted::new(4, 8);
        let mut all = Vec::new();
        let mut take = |_, choices: Choices| {
            all.push(choices);
            Ok(())
        };
        let passages = [passage(&[0], &[0, 3])];
        scripted.choose_each((&passages, &[]), 1, &mut take, &Silent).unwrap();
        assert_eq!((all[0].margins[0], all[0].records[0].rank), (0.0, 0));
        assert_eq!((all[0].margins[1], all[0].records[1].rank), (0.0, 3));
    }

    #[test]
    fn greedy_decoding_draws_its_first_choice_and_nothing_else() {
        let greedy = Decoding { temperature: 0.0, ..PLAIN };
        let choices = &choose(&[passage(&[0], &[1, 2, 4])], &[greedy], 1)[0];
        for (record, log_prob) in choices.records.iter().zip(&choices.log_probs[0]) {
            assert_eq!(*log_prob, if record.rank == 0 { 0.0 } else { f32::NEG_INFINITY });
        }
    }

    #[test]
    fn fault_65_senseless_passages_and_decodings_are_refused() {
        let bad = [
            (passage(&[], &[1]), PLAIN),
            (passage(&[9], &[1]), PLAIN),
            (passage(&[1], &[1]), Decoding { temperature: -1.0, ..PLAIN }),
            (passage(&[1], &[1]), Decoding { top_k: Some(0), ..PLAIN }),
            (passage(&[1], &[1]), Decoding { top_p: Some(0.0), ..PLAIN }),
        ];
        for (passage, decoding) in bad {
            let outcome = model().choose_each((&[passage], &[decoding]), 1, &mut |_, _| Ok(()), &Silent);
            assert!(matches!(outcome, Err(Error::InvalidArgument(_))));
        }
    }
}

//! Neighbours of a text: one token replaced by another that the model itself finds likely there.
//!
//! Mattern et al. (2023) let a masked model propose the words, which sees both sides of the gap. Here the model in question does,
//! from what stands before: no second model is needed, and the proposals weigh p(new) / (1 - p(own)) as theirs do.

use std::collections::BTreeMap;

use verbatim_lm::{Decoding, Error, Passage, Run};

use super::{Asking, Read, scored};
use crate::random::Draw;
use crate::signal;

/// Neighbours of a text (Duan et al. 2024).
const N_NEIGHBOURS: usize = 25;

/// Tokens at a place that one is drawn from (Mattern et al. 2023).
const N_PROPOSALS: usize = 10;

/// A token in the place of another.
#[derive(Clone, Copy)]
struct Replacement {
    /// The place in the text.
    at: usize,
    token: u32,
}

/// The neighbourhood signal of each text: 25 neighbours, at places that are drawn by chance without any twice, or all places as
/// evenly as can be where there are fewer. What is beyond the first context of a text is left out.
pub(super) fn signals(asking: &Asking<'_>, texts: &[Read]) -> Result<Vec<Option<f64>>, Error> {
    let cut: Vec<Passage> = texts.iter().map(|read| read.within(asking.target.model.context_len())).collect();
    let own = scored(asking, &cut)?;
    // A model that breaks on a text has no neighbours to propose.
    let able: Vec<usize> = (0..texts.len())
        .filter(|text| own[*text].as_ref().is_some_and(|records| !records.is_empty()))
        .collect();
    let mut neighbours = Vec::new();
    for group in able.chunks(asking.resources.batch.max(1)) {
        let of_group: Vec<(u64, &Passage)> =
            group.iter().map(|text| (texts[*text].number, &cut[*text])).collect();
        neighbours.extend(replacements(asking, &of_group)?);
    }
    let replaced = |(text, replacements): (&usize, &Vec<Replacement>)| {
        replacements
            .iter()
            .map(|replacement| {
                let mut passage = cut[*text].clone();
                passage.continuation[replacement.at] = replacement.token;
                passage
            })
            .collect::<Vec<_>>()
    };
    let passages: Vec<Passage> = able.iter().zip(&neighbours).flat_map(replaced).collect();
    let records = scored(asking, &passages)?;
    let mut losses = records.iter().map(|records| signal::loss(records.as_deref()?));
    let mut values = vec![None; texts.len()];
    for (text, replacements) in able.into_iter().zip(&neighbours) {
        let of_text: Vec<Option<f64>> = losses.by_ref().take(replacements.len()).collect();
        let of_text: Option<Vec<f64>> = of_text.into_iter().collect();
        let loss = own[text].as_deref().and_then(signal::loss);
        values[text] = loss.zip(of_text).and_then(|(loss, of_text)| signal::neighbourhood(loss, &of_text));
    }
    Ok(values)
}

/// What is replaced in each of some texts, which have a number for their draws.
fn replacements(asking: &Asking<'_>, texts: &[(u64, &Passage)]) -> Result<Vec<Vec<Replacement>>, Error> {
    let model = asking.target.model;
    // How often each place of a text is replaced.
    let mut draws: Vec<Draw> =
        texts.iter().map(|(number, _)| Draw::new(asking.seed, super::NEIGHBOURS + number)).collect();
    let places: Vec<BTreeMap<usize, usize>> = texts
        .iter()
        .zip(&mut draws)
        .map(|((_, passage), draw)| places(passage.continuation.len(), draw))
        .collect();
    let mut found = vec![Vec::new(); texts.len()];
    let longest = texts.iter().map(|(_, passage)| passage.prompt.len() + passage.continuation.len()).max();
    let mut session = model.session(texts.len(), longest.unwrap_or(0))?;
    let mut waiting: Vec<_> = places.iter().map(BTreeMap::iter).collect();
    let mut fed = vec![0; texts.len()];
    loop {
        if asking.resources.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        // The next place of each text that has one left.
        let next: Vec<(usize, usize, usize)> = (0..)
            .zip(&mut waiting)
            .filter_map(|(slot, places)| places.next().map(|(at, n)| (slot, *at, *n)))
            .collect();
        if next.is_empty() {
            return Ok(found);
        }
        let before: Vec<Vec<u32>> = next
            .iter()
            .map(|(slot, at, _)| {
                let Passage { prompt, continuation } = texts[*slot].1;
                let all = prompt.iter().chain(continuation).copied();
                let end = prompt.len() + at;
                all.take(end).skip(std::mem::replace(&mut fed[*slot], end)).collect()
            })
            .collect();
        let runs: Vec<Run<'_>> =
            next.iter().zip(&before).map(|((slot, ..), tokens)| Run { slot: *slot, tokens }).collect();
        let mut take = |number: usize, log_probs: &[f32]| {
            let (slot, at, n) = next[number];
            let proposals = proposals(log_probs, texts[slot].1.continuation[at]);
            let tokens = (0..n).filter_map(|_| drawn(&proposals, &mut draws[slot]));
            found[slot].extend(tokens.map(|token| Replacement { at, token }));
        };
        session.extend(&runs, &mut take)?;
    }
}

/// The places of a text of `n` tokens that are replaced, and how often.
fn places(n: usize, draw: &mut Draw) -> BTreeMap<usize, usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for at in 0..n.min(N_NEIGHBOURS) {
        order.swap(at, at + draw.index(n - at));
    }
    let mut places = BTreeMap::new();
    for place in order.into_iter().cycle().take(N_NEIGHBOURS) {
        *places.entry(place).or_default() += 1;
    }
    places
}

/// The likeliest tokens but one, with their log-probabilities.
fn proposals(log_probs: &[f32], own: u32) -> Vec<(u32, f64)> {
    let n = (N_PROPOSALS + 1).min(log_probs.len());
    let likeliest = Decoding { temperature: 1.0, top_k: Some(n), top_p: None };
    let mut proposals = likeliest.likeliest(log_probs.to_vec(), n);
    proposals.retain(|(token, _)| *token != own);
    proposals.truncate(N_PROPOSALS);
    proposals
}

/// One of the proposals, by their probability.
fn drawn(proposals: &[(u32, f64)], draw: &mut Draw) -> Option<u32> {
    const STEPS: usize = 1 << 53;
    let total: f64 = proposals.iter().map(|(_, log_prob)| log_prob.exp()).sum();
    let mut left = draw.index(STEPS) as f64 / STEPS as f64 * total;
    let mut last = None;
    for (token, log_prob) in proposals {
        left -= log_prob.exp();
        last = Some(*token);
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_each_drawn_once_before_any_is_drawn_again() {
        let places = |n, seed| super::places(n, &mut Draw::new(seed, 0));
        let long = places(100, 4);
        assert_eq!((long.len(), long.values().sum::<usize>()), (25, 25));
        let short = places(10, 4);
        assert!(short.len() == 10 && short.values().all(|n| (2..=3).contains(n)), "{short:?}");
        assert!(places(0, 1).is_empty());
        assert_ne!(places(100, 5), long);
    }

    #[test]
    fn proposals_are_the_likeliest_other_tokens_and_are_drawn_by_their_probability() {
        let p: Vec<f32> = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln).to_vec();
        let of = |own| proposals(&p, own).iter().map(|(token, _)| *token).collect::<Vec<_>>();
        assert_eq!([of(0), of(2)], [vec![1, 2, 3], vec![0, 1, 3]]);
        let uniform = vec![0.0; 40];
        assert_eq!(proposals(&uniform, 3).len(), 10);
        assert_eq!(proposals(&uniform, 30).len(), 10);
        let (proposals, mut draw) = (proposals(&p, 0), Draw::new(1, 0));
        let n_first = (0..6000).filter(|_| drawn(&proposals, &mut draw) == Some(1)).count();
        assert!((2850..3150).contains(&n_first), "half of 6000: {n_first}");
        assert_eq!(drawn(&[], &mut draw), None);
    }
}

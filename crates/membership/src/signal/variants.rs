//! Signals of a text beside variants of it, and beside what the model makes of its beginning.

use std::collections::BTreeMap;

use super::{finite, mean};

/// Neighbourhood: how far the mean loss of neighbours of a text, which differ from it in a token, is above that of the text
/// (Mattern et al. 2023, section 2.2). In nats a token. `None` without neighbours.
pub fn neighbourhood(loss: f64, neighbour_losses: &[f64]) -> Option<f64> {
    finite(mean(neighbour_losses.iter().copied())? - loss)
}

/// SaMIA: the mean over samples that go on from a text's beginning of [`rouge_1_recall`] of how it really goes on (Kaneko et
/// al. 2024, section 3). It needs no probability of the model. `None` without samples, or where the text's rest has no word.
pub fn samia<S: AsRef<str>>(samples: &[S], rest: &str) -> Option<f64> {
    let recalls: Option<Vec<f64>> =
        samples.iter().map(|sample| rouge_1_recall(sample.as_ref(), rest)).collect();
    mean(recalls?.into_iter())
}

/// ROUGE-1 recall: the share of a reference's words that a candidate has, each as often as the candidate has it at most (Lin
/// 2004). Words stand between white space. `None` where the reference has no word.
pub fn rouge_1_recall(candidate: &str, reference: &str) -> Option<f64> {
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    candidate.split_whitespace().for_each(|word| *left.entry(word).or_default() += 1);
    let (mut n_words, mut n_found) = (0u64, 0u64);
    for word in reference.split_whitespace() {
        n_words += 1;
        if let Some(n) = left.get_mut(word).filter(|n| **n > 0) {
            *n -= 1;
            n_found += 1;
        }
    }
    (n_words > 0).then(|| n_found as f64 / n_words as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_neighbours_are_compared_as_worked_out_by_hand() {
        assert_eq!(neighbourhood(2.0, &[2.5, 3.5]), Some(1.0));
        assert_eq!([neighbourhood(2.0, &[]), neighbourhood(2.0, &[f64::NAN])], [None; 2]);
    }

    /// By hand: of "the cat saw the dog" a candidate with one "the" and a "dog" has two of five words.
    #[test]
    fn recall_counts_each_word_as_often_as_the_candidate_has_it() {
        let rest = "the cat saw the dog";
        assert_eq!(rouge_1_recall("a  dog and\nthe bird", rest), Some(0.4));
        assert_eq!(rouge_1_recall("the the the", rest), Some(0.4));
        assert_eq!(rouge_1_recall("", rest), Some(0.0));
        assert_eq!(rouge_1_recall("the", " \n"), None);
        assert_eq!(samia(&["the dog", "", rest], rest), Some((0.4 + 1.0) / 3.0));
        assert_eq!([samia::<&str>(&[], rest), samia(&["the"], "")], [None; 2]);
    }
}

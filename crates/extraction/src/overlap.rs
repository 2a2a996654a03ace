//! How much a continuation is like the one it should be, where it is not the same: the older measures, over tokens.

use std::collections::BTreeMap;

/// BLEU-4 of one continuation against one reference (Papineni et al. 2002): the geometric mean of the clipped precisions
/// of n-grams of 1 to 4 tokens, with the brevity penalty and without smoothing. 0 to 1; above 0.75 is the approximate
/// memorization of Ippolito et al. 2023.
pub(crate) fn bleu(candidate: &[u32], reference: &[u32]) -> f64 {
    if candidate.is_empty() {
        return 0.0;
    }
    let mut log_precisions = 0.0;
    for n in 1..=4 {
        let (theirs, ours) = (counts(reference, n), counts(candidate, n));
        let n_matched: usize =
            ours.iter().map(|(gram, count)| theirs.get(gram).map_or(0, |most| *count.min(most))).sum();
        let n_grams: usize = ours.values().sum();
        if n_matched == 0 {
            return 0.0;
        }
        log_precisions += (n_matched as f64 / n_grams as f64).ln();
    }
    let shortness = reference.len() as f64 / candidate.len() as f64;
    (log_precisions / 4.0).exp() * (1.0 - shortness.max(1.0)).exp()
}

fn counts(tokens: &[u32], n: usize) -> BTreeMap<&[u32], usize> {
    let mut counts = BTreeMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// ROUGE-L (Lin 2004): the harmonic mean of what the longest common subsequence is of either. 0 to 1.
pub(crate) fn rouge_l(candidate: &[u32], reference: &[u32]) -> f64 {
    // The lengths for all of the candidate so far and each start of the reference.
    let mut row = vec![0usize; reference.len() + 1];
    for token in candidate {
        let mut before = 0;
        for (j, other) in reference.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if token == other { before + 1 } else { above.max(row[j]) };
            before = above;
        }
    }
    match candidate.len() + reference.len() {
        0 => 0.0,
        total => 2.0 * row[reference.len()] as f64 / total as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: [u32; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    /// Goldens from nltk 3.9 (`sentence_bleu`) and rouge-score 0.1 (`rougeL`, F measure), over the ids as words.
    #[test]
    fn bleu_and_rouge_equal_nltk_and_rouge_score() {
        let goldens: [(&[u32], f64, f64); 4] = [
            (&REFERENCE, 1.0, 1.0),
            (&[1, 2, 3, 4, 5, 6, 7, 8], 0.778_800_783_071_404_9, 0.888_888_888_888_889),
            (&[1, 2, 3, 4, 9, 6, 7, 8, 5, 10], 0.415_350_923_720_639_6, 0.8),
            (&[3, 4, 5, 6, 7, 1, 1, 1, 1, 1, 1, 1], 0.331_807_740_284_394_25, 0.454_545_454_545_454_53),
        ];
        for (candidate, golden_bleu, golden_rouge) in goldens {
            assert!((bleu(candidate, &REFERENCE) - golden_bleu).abs() < 1e-12, "{candidate:?}");
            assert!((rouge_l(candidate, &REFERENCE) - golden_rouge).abs() < 1e-12, "{candidate:?}");
        }
    }

    /// Hubble's "exact match" compares lower-cased strings; here other tokens are other tokens, and none is nothing.
    #[test]
    fn peer_11_only_the_same_tokens_are_the_same() {
        assert_eq!((bleu(&[11; 10], &REFERENCE), rouge_l(&[11; 10], &REFERENCE)), (0.0, 0.0));
        assert_eq!((bleu(&[], &REFERENCE), rouge_l(&[], &REFERENCE), rouge_l(&[], &[])), (0.0, 0.0, 0.0));
        assert_eq!(bleu(&REFERENCE[..3], &REFERENCE[..3]), 0.0, "too short for a 4-gram");
    }
}

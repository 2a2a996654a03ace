//! Detectors: what in a client's requests looks like an attack. HIGHER means MORE LIKELY AN ATTACK.

use std::collections::BTreeMap;

use super::Request;
use crate::release::gram_hash;

/// The most tokens of what a prompt repeats.
const MOST_REPEATED: usize = 8;
/// Tokens of the shingles by which prompts are compared.
const SHINGLE: usize = 2;

/// Scores each request of a log.
pub trait Detector {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// A finite score for each request of a log in the order of time, from it and its client's requests before.
    fn scores(&self, log: &[Request]) -> Vec<f64>;
}

/// How many n-grams of guarded texts, of a corpus or of canaries' secrets, stand in an answer; repeats count.
#[derive(Clone, Debug)]
pub struct Recited {
    name: &'static str,
    n: usize,
    /// Rising.
    hashes: Vec<u128>,
}

impl Recited {
    /// Guards the n-grams of some texts; n is positive.
    ///
    /// # Panics
    /// When n is zero.
    pub fn new<'t>(name: &'static str, texts: impl IntoIterator<Item = &'t [u32]>, n: usize) -> Recited {
        assert!(n > 0, "n-grams of at least one token");
        let mut hashes: Vec<u128> =
            texts.into_iter().flat_map(|text| text.windows(n)).map(gram_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Recited { name, n, hashes }
    }
}

impl Detector for Recited {
    fn name(&self) -> &'static str {
        self.name
    }

    fn scores(&self, log: &[Request]) -> Vec<f64> {
        let is_guarded = |gram: &&[u32]| self.hashes.binary_search(&gram_hash(gram)).is_ok();
        log.iter().map(|request| request.output.windows(self.n).filter(is_guarded).count() as f64).collect()
    }
}

/// How many of a client's prompts, up to this one, begin as a document of the corpus does or are nearly one that it sent
/// before.
///
/// A prompt of at least `fewest_tokens` counts where it is the beginning of a document, or where its set of token pairs has a
/// Jaccard similarity of at least `similarity` with that of an earlier one.
#[derive(Clone, Debug)]
pub struct PrefixProbing<'a> {
    /// Sorted.
    documents: Vec<&'a [u32]>,
    fewest_tokens: usize,
    similarity: f64,
}

/// What a client has asked so far.
#[derive(Default)]
struct Probes<'l> {
    n_probes: u64,
    /// The shingles of its prompts.
    earlier: Vec<Vec<&'l [u32]>>,
}

impl<'a> PrefixProbing<'a> {
    /// Looks out for the beginnings of these documents.
    pub fn new(
        documents: impl IntoIterator<Item = &'a [u32]>,
        fewest_tokens: usize,
        similarity: f64,
    ) -> PrefixProbing<'a> {
        let mut documents: Vec<&[u32]> = documents.into_iter().collect();
        documents.sort_unstable();
        PrefixProbing { documents, fewest_tokens: fewest_tokens.max(SHINGLE), similarity }
    }

    fn begins_a_document(&self, prompt: &[u32]) -> bool {
        let at = self.documents.partition_point(|document| *document < prompt);
        self.documents.get(at).is_some_and(|document| document.starts_with(prompt))
    }
}

impl Detector for PrefixProbing<'_> {
    fn name(&self) -> &'static str {
        "prefix probing"
    }

    fn scores(&self, log: &[Request]) -> Vec<f64> {
        let mut clients: BTreeMap<&str, Probes<'_>> = BTreeMap::new();
        let mut scores = Vec::with_capacity(log.len());
        for request in log {
            let Probes { n_probes, earlier } = clients.entry(&request.client).or_default();
            if request.prompt.len() >= self.fewest_tokens {
                let own = shingles(&request.prompt);
                let is_near = |other: &Vec<&[u32]>| jaccard(&own, other) >= self.similarity;
                let is_probe = self.begins_a_document(&request.prompt) || earlier.iter().any(is_near);
                *n_probes += u64::from(is_probe);
                earlier.push(own);
            }
            scores.push(*n_probes as f64);
        }
        scores
    }
}

/// The set of a text's token pairs, rising.
fn shingles(text: &[u32]) -> Vec<&[u32]> {
    let mut all: Vec<&[u32]> = text.windows(SHINGLE).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The similarity of two rising sets, one of them not empty (Jaccard 1901).
fn jaccard(one: &[&[u32]], other: &[&[u32]]) -> f64 {
    let n_common = one.iter().filter(|item| other.binary_search(item).is_ok()).count();
    n_common as f64 / (one.len() + other.len() - n_common) as f64
}

/// How often in a row the prompt says the same one to eight tokens (Nasr et al. 2023, section 5).
#[derive(Clone, Copy, Debug)]
pub struct RepeatedPrompt;

impl Detector for RepeatedPrompt {
    fn name(&self) -> &'static str {
        "repeated prompt"
    }

    fn scores(&self, log: &[Request]) -> Vec<f64> {
        log.iter().map(|request| repeats(&request.prompt) as f64).collect()
    }
}

/// The most times in a row that a text says the same one to eight tokens; 0 for the empty text.
fn repeats(text: &[u32]) -> usize {
    let of_length = |n: usize| {
        let mut longest = 0;
        let mut equal = 0;
        for at in n..text.len() {
            equal = if text[at] == text[at - n] { equal + 1 } else { 0 };
            longest = longest.max(equal);
        }
        longest / n + 1
    };
    (1..=MOST_REPEATED.min(text.len())).map(of_length).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::request;

    #[test]
    fn n_grams_of_guarded_texts_are_counted_in_answers() {
        let secrets: [&[u32]; 2] = [&[1, 2, 3, 4], &[7, 8, 9]];
        let recited = Recited::new("secrets", secrets, 3);
        let log = [
            request(0, "a", &[1, 2, 3, 4], &[5, 1, 2, 4]),
            request(1, "a", &[], &[1, 2, 3, 4, 7, 8, 9]),
            request(2, "b", &[], &[7, 8, 9, 7, 8, 9]),
            request(3, "b", &[], &[7, 8]),
        ];
        assert_eq!(recited.scores(&log), [0.0, 3.0, 2.0, 0.0]);
    }

    #[test]
    fn prompts_that_begin_documents_or_resemble_earlier_ones_add_up_for_each_client() {
        let documents: [&[u32]; 3] = [&[1, 2, 3, 4, 5], &[1, 2, 9, 9], &[6, 6, 6]];
        let probing = PrefixProbing::new(documents, 3, 0.5);
        let log = [
            request(0, "a", &[1, 2, 3], &[]),          // begins the first document
            request(1, "b", &[1, 2, 3], &[]),          // another client's first
            request(2, "a", &[1, 2], &[]),             // too short
            request(3, "a", &[2, 3, 4, 5], &[]), // inside a document: pairs 23 34 45, with 12 23 one of four
            request(4, "a", &[0, 2, 3, 4, 5], &[]), // 02 23 34 45: three of four with the one before
            request(5, "a", &[1, 2, 3, 4, 5, 6], &[]), // longer than the document; with the one before 3 of 6
            request(6, "b", &[7, 8, 9], &[]),
        ];
        assert_eq!(probing.scores(&log), [1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 1.0]);
    }

    #[test]
    fn the_longest_repetition_of_a_short_unit_is_counted() {
        for (prompt, expected) in [
            (&[][..], 0),
            (&[1], 1),
            (&[1, 2, 3], 1),
            (&[1, 1], 2),
            (&[5, 1, 2, 1, 2, 1, 2, 1, 9], 3),
            (&[4, 7, 7, 7, 7, 7], 5),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1),
        ] {
            assert_eq!(repeats(prompt), expected, "{prompt:?}");
            // By definition: the most k so that some stretch is k times its first n tokens.
            let is_repeat = |stretch: &[u32], n: usize| stretch.chunks(n).all(|unit| *unit == stretch[..n]);
            let mut naive = 0;
            for n in 1..=8.min(prompt.len()) {
                for start in 0..prompt.len() {
                    for k in 1..=(prompt.len() - start) / n {
                        if is_repeat(&prompt[start..start + k * n], n) {
                            naive = naive.max(k);
                        }
                    }
                }
            }
            assert_eq!(naive, expected, "{prompt:?}");
        }
    }
}
